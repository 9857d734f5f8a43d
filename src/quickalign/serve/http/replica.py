"""What the routes share: the engine, its prompts, its name, and the way from a request's bytes to answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

from starlette.requests import ClientDisconnect, Request

from quickalign.serve.chat import Prompts
from quickalign.serve.engine import Engine
from quickalign.serve.http.answers import Answers
from quickalign.serve.http.body import Body, ChatBody, CompletionBody, parse
from quickalign.serve.http.door import MOST_BYTES
from quickalign.serve.http.errors import ApiError, bad_value
from quickalign.serve.http.metrics import Metrics
from quickalign.serve.http.requests import make_generations
from quickalign.serve.http.respond import ClientGoneError
from quickalign.serve.http.shapes import DEFAULT
from quickalign.serve.vocabulary import Vocabulary

T = TypeVar("T")
B = TypeVar("B", ChatBody, CompletionBody)


@dataclass(frozen=True)
class Replica:
    """One model behind the routes, whose weights were saved at `created`. `default` stands for its name in requests."""

    engine: Engine
    prompts: Prompts
    name: str
    metrics: Metrics
    created: int
    # Templates and tokenizers are not made for two threads, and a long prompt must not hold the event loop up.
    _encoder: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="encoder"))

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The bytes of the model's tokens."""
        return Vocabulary(self.prompts.tokenizer)

    async def read(self, request: Request, kind: type[B]) -> B:
        """The request's body, checked.

        Raises:
            ApiError: it cannot be honoured.
        """
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise ApiError(415, "The body must be JSON, with Content-Type: application/json.", code="bad_content_type")
        raw = bytearray()
        try:
            async for chunk in request.stream():
                raw += chunk
                if len(raw) > MOST_BYTES:
                    raise ApiError(413, f"The body is larger than {MOST_BYTES} bytes.", code="too_large")
        except ClientDisconnect:
            raise ClientGoneError from None
        body = parse(kind, bytes(raw))
        self.check_name(body.model)
        return body

    def check_name(self, name: str) -> None:
        """Refuse a name that is not this model's."""
        if name not in (self.name, DEFAULT):
            raise ApiError(
                404,
                f"There is no model {name[:100]!r} here; this replica serves {self.name!r}.",
                code="model_not_found",
                param="model",
            )

    def check_count(self, prompts: int, choices: int) -> None:
        """Refuse more answers in one request than are ever taken at once, before any prompt is looked at.

        Raises:
            ApiError: 400. Later they would be told to ask again, which could never help.
        """
        most = self.engine.capacity
        if prompts * choices > most:
            raise bad_value(
                f"{prompts} prompts with n={choices} are {prompts * choices} answers, and {most} is the most that this "
                "replica takes at once; send fewer prompts in a request.",
                "prompt",
            )

    def check_messages(self, count: int) -> None:
        """Refuse a chat that has no room even with a token a message; tens of thousands take minutes to encode.

        Raises:
            ApiError: 400.
        """
        context = self.engine.info.context
        if count > context:
            raise bad_value(
                f"This model's context is {context} tokens, and the chat has {count} messages; shorten it.",
                "messages",
                "context_length_exceeded",
            )

    async def encode(self, work: Callable[[], T]) -> T:
        """Do work with the tokenizer, off the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._encoder, work)

    def answer(self, body: Body, prompts: Sequence[Sequence[int]], arrived: float) -> Answers:
        """Start the answers to a request that arrived at monotonic time `arrived`.

        Raises:
            ApiError: an option cannot be honoured, or there is no room for a prompt.
            EngineBusyError: too many answers are open.
        """
        info = self.engine.info
        generations = make_generations(body, prompts, info, self.prompts.end_tokens(info.end_tokens))
        stream = self.engine.submit(generations)
        watch = self.metrics.watch(sum(len(ids) for ids in prompts), arrived)
        goes_on = isinstance(body, CompletionBody)  # a chat's answer is a text of its own
        before = [one.prompt if goes_on else () for one in generations for _ in range(one.choices)]
        return Answers(stream, before, self.prompts.decode, body.stops, watch.token)
