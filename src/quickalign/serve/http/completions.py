"""`POST /v1/completions`: texts or token ids that are gone on from as they are."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from quickalign.serve.engine import TokenScore
from quickalign.serve.http.answers import Answers, Piece
from quickalign.serve.http.body import CompletionBody
from quickalign.serve.http.messages import read_prompts
from quickalign.serve.http.offsets import Offsets
from quickalign.serve.http.replica import Replica
from quickalign.serve.http.respond import DONE, EventStream, event, while_connected
from quickalign.serve.http.shapes import least, respond_json, usage


async def complete_text(replica: Replica, request: Request) -> Response:
    """Go on from texts or token ids, whole or as a stream."""
    arrived = time.monotonic()
    body = await replica.read(request, CompletionBody)
    given = read_prompts(body.prompt, replica.engine.info.vocabulary)
    replica.check_count(len(given), body.n or 1)
    prompts = await _encoded(replica, given)
    answers = replica.answer(body, prompts, arrived)
    maker = _Maker(replica, body, given, prompts, answers)
    if body.stream:
        return EventStream(maker.stream(), answers.cancel)
    try:
        return respond_json(await while_connected(request, maker.whole()))
    finally:
        answers.cancel()


async def _encoded(replica: Replica, given: Sequence[str | list[int]]) -> list[list[int]]:
    """The prompts in token ids; those that are given so need no tokenizer."""
    ids = [one for one in given if not isinstance(one, str)]
    if len(ids) == len(given):
        return ids
    text = replica.prompts.text
    return await replica.encode(lambda: [text(one) if isinstance(one, str) else one for one in given])


class _Maker:
    """Makes the response to one request."""

    def __init__(
        self,
        replica: Replica,
        body: CompletionBody,
        given: Sequence[str | list[int]],
        prompts: Sequence[list[int]],
        answers: Answers,
    ) -> None:
        self._replica = replica
        self._body = body
        self._given = given
        self._prompts = prompts
        self._answers = answers
        self._each = body.n or 1
        self._shown = [0] * (len(prompts) * self._each)
        self._offsets = [Offsets(replica.vocabulary) for _ in self._shown]
        self._head = {
            "id": f"cmpl-{secrets.token_hex(12)}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": replica.name,
            "system_fingerprint": None,
        }

    @property
    def _usage(self) -> dict[str, Any]:
        return usage(sum(len(ids) for ids in self._prompts), self._answers.tokens)

    async def whole(self) -> dict[str, Any]:
        """The response in one piece."""
        pieces: list[list[Piece]] = [[] for _ in self._shown]
        async with aclosing(self._answers.pieces()) as coming:
            async for piece in coming:
                pieces[piece.choice].append(piece)
        choices = []
        for index, parts in enumerate(pieces):
            prompt = next((piece.prompt for piece in parts if piece.prompt is not None), None)
            tokens = tuple(token for piece in parts for token in piece.tokens)
            text = "".join(piece.text for piece in parts)
            choices.append(self._choice(Piece(index, text, tokens, parts[-1].finish, prompt, parts[-1].end)))
        return {**self._head, "choices": choices, "usage": self._usage}

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """The response as events, and the usage where asked for."""
        options = self._body.stream_options
        with_usage = bool(options and options.include_usage)
        running = bool(options and options.continuous_usage_stats)
        async with aclosing(self._answers.pieces()) as coming:
            async for piece in coming:
                told = {"usage": self._usage if running else None} if with_usage or running else {}
                yield event({**self._head, "choices": [self._choice(piece)], **told})
        if with_usage:
            yield event({**self._head, "choices": [], "usage": self._usage})
        yield DONE

    def _choice(self, piece: Piece) -> dict[str, Any]:
        """One piece as a choice; the first piece of a choice brings the prompt where it is echoed."""
        index = piece.choice
        first = self._shown[index] == 0 and self._body.echo
        echoed = self._prompt_text(index) if first else ""
        text = echoed + piece.text
        choice = {
            "index": index,
            "text": text,
            "logprobs": self._logprobs(piece, echoed),
            "finish_reason": piece.finish,
        }
        self._shown[index] += max(len(text), 1 if first else 0)
        if self._body.return_token_ids:
            choice["token_ids"] = [told.token for told in piece.tokens]
            choice["prompt_token_ids"] = self._prompts[index // self._each]
        return choice

    def _prompt_text(self, index: int) -> str:
        given = self._given[index // self._each]
        if isinstance(given, str):
            return given
        return str(self._replica.prompts.tokenizer.decode(given, skip_special_tokens=False))

    def _logprobs(self, piece: Piece, echoed: str) -> dict[str, Any] | None:
        if self._body.logprobs is None:
            return None
        columns = _Columns(self._replica, self._offsets[piece.choice])
        begins = self._shown[piece.choice] + len(echoed)
        if self._body.echo and self._shown[piece.choice] == 0:
            columns.prompt(self._prompts[piece.choice // self._each], piece.prompt or (), echoed)
        # The end token comes last: whoever scores an echoed prompt counts on one token behind it (lm-eval does).
        for told in (*piece.tokens, *([piece.end] if piece.end else ())):
            if told.score is not None:
                columns.add(told.score, piece.text, begins)
        return columns.shape


class _Columns:
    """The log-probs of a completion: four lists of the same length."""

    def __init__(self, replica: Replica, offsets: Offsets) -> None:
        self._vocabulary = replica.vocabulary
        self._places = offsets
        self._tokens: list[str] = []
        self._logprobs: list[float | None] = []
        self._top: list[dict[str, float] | None] = []
        self._offsets: list[int] = []

    def prompt(self, ids: Sequence[int], scores: Sequence[TokenScore], text: str) -> None:
        """The prompt's tokens; the first has nothing in front of it that it could be scored by."""
        first, *places = self._places.take_all(ids, text)
        self._append(ids[0], None, None, first)
        for score, place in zip(scores, places, strict=False):
            self._scored(score, place)
        self._places.jump(len(text))

    def add(self, score: TokenScore, text: str, begins: int) -> None:
        """A scored token of a text that is not over yet."""
        self._scored(score, self._places.take(score.token, text, begins))

    def _scored(self, score: TokenScore, place: int) -> None:
        """A token among the likeliest it is shown with, even where it is not one of them."""
        top: dict[str, float] = {}
        for token, logprob in (*score.top, (score.token, score.logprob)):
            top.setdefault(self._name(token), least(logprob))
        self._append(score.token, least(score.logprob), top, place)

    @property
    def shape(self) -> dict[str, Any]:
        """In OpenAI's form."""
        return {
            "tokens": self._tokens,
            "token_logprobs": self._logprobs,
            "top_logprobs": self._top,
            "text_offset": self._offsets,
        }

    def _append(self, token: int, logprob: float | None, top: dict[str, float] | None, offset: int) -> None:
        self._tokens.append(self._name(token))
        self._logprobs.append(logprob)
        self._top.append(top)
        self._offsets.append(offset)

    def _name(self, token: int) -> str:
        """A token's text; one that is a part of a character is named by its bytes, as OpenAI names it."""
        content = self._vocabulary.content(token)
        try:
            return content.decode()
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in content)
