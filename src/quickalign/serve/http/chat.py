"""`POST /v1/chat/completions`."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from quickalign.serve.engine import TokenOut
from quickalign.serve.http.answers import Answers, Piece
from quickalign.serve.http.body import ChatBody
from quickalign.serve.http.messages import read_messages
from quickalign.serve.http.replica import Replica
from quickalign.serve.http.respond import DONE, EventStream, event, while_connected
from quickalign.serve.http.shapes import least, respond_json, usage


async def complete_chat(replica: Replica, request: Request) -> Response:
    """Answer a chat, whole or as a stream."""
    arrived = time.monotonic()
    body = await replica.read(request, ChatBody)
    replica.check_messages(len(body.messages))
    messages = read_messages(body.messages)
    prompt = await replica.encode(lambda: replica.prompts.chat(messages))
    answers = replica.answer(body, [prompt], arrived)
    maker = _Maker(replica, body, prompt, answers)
    if body.stream:
        return EventStream(maker.stream(), answers.cancel)
    try:
        return respond_json(await while_connected(request, maker.whole()))
    finally:
        answers.cancel()


class _Maker:
    """Makes one chat's response."""

    def __init__(self, replica: Replica, body: ChatBody, prompt: Sequence[int], answers: Answers) -> None:
        self._replica = replica
        self._body = body
        self._prompt = prompt
        self._answers = answers
        self._head = {
            "id": f"chatcmpl-{secrets.token_hex(12)}",
            "created": int(time.time()),
            "model": replica.name,
            "system_fingerprint": None,
        }

    @property
    def _usage(self) -> dict[str, Any]:
        return usage(len(self._prompt), self._answers.tokens)

    async def whole(self) -> dict[str, Any]:
        """The response in one piece."""
        pieces: list[list[Piece]] = [[] for _ in range(self._body.n or 1)]
        async with aclosing(self._answers.pieces()) as coming:
            async for piece in coming:
                pieces[piece.choice].append(piece)
        choices = [self._choice(index, of_choice) for index, of_choice in enumerate(pieces)]
        response = {**self._head, "object": "chat.completion", "choices": choices, "usage": self._usage}
        return response | ({"prompt_token_ids": list(self._prompt)} if self._body.return_token_ids else {})

    def _choice(self, index: int, pieces: Sequence[Piece]) -> dict[str, Any]:
        tokens = [token for piece in pieces for token in piece.tokens]
        choice: dict[str, Any] = {
            "index": index,
            "message": {"role": "assistant", "content": "".join(piece.text for piece in pieces), "refusal": None},
            "logprobs": self._logprobs(tokens),
            "finish_reason": pieces[-1].finish,
        }
        return choice | self._ids(tokens)

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """The response as events: a role for each choice, its text, its end, and the usage where asked for."""
        options = self._body.stream_options
        with_usage = bool(options and options.include_usage)
        running = bool(options and options.continuous_usage_stats)
        async with aclosing(self._answers.pieces()) as coming:
            for index in range(self._body.n or 1):
                ids = {"prompt_token_ids": list(self._prompt)} if self._body.return_token_ids else {}
                delta = {"role": "assistant", "content": ""}
                yield self._chunk([_delta(index, delta)], with_usage, running, **ids)
            async for piece in coming:
                if piece.text or piece.tokens:
                    part = _delta(piece.choice, {"content": piece.text}, self._logprobs(piece.tokens))
                    yield self._chunk([part | self._ids(piece.tokens)], with_usage, running)
                if piece.finish:
                    yield self._chunk([_delta(piece.choice, {}, None, piece.finish)], with_usage, running)
        if with_usage:
            yield self._chunk([], True, True)
        yield DONE

    def _chunk(self, choices: list[dict[str, Any]], with_usage: bool, told: bool, **more: Any) -> bytes:
        chunk = {**self._head, "object": "chat.completion.chunk", "choices": choices, **more}
        if with_usage or told:
            chunk["usage"] = self._usage if told else None
        return event(chunk)

    def _ids(self, tokens: Sequence[TokenOut]) -> dict[str, Any]:
        return {"token_ids": [told.token for told in tokens]} if self._body.return_token_ids else {}

    def _logprobs(self, tokens: Sequence[TokenOut]) -> dict[str, Any] | None:
        if not self._body.logprobs:
            return None
        return {"content": [self._scored(told) for told in tokens if told.score], "refusal": None}

    def _scored(self, told: TokenOut) -> dict[str, Any]:
        assert told.score is not None
        score = told.score
        top = [self._token(token, logprob) for token, logprob in score.top]
        return self._token(score.token, score.logprob) | {"top_logprobs": top}

    def _token(self, token: int, logprob: float) -> dict[str, Any]:
        content = self._replica.vocabulary.content(token)
        return {"token": content.decode("utf-8", "replace"), "logprob": least(logprob), "bytes": list(content)}


def _delta(
    index: int, delta: dict[str, Any], logprobs: dict[str, Any] | None = None, finish: str | None = None
) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
