"""llama.cpp with a GGUF file: asked for tokens, rendered chats, log-probabilities and greedy answers over its own HTTP.

It is a process of its own on loopback, with a key, that ends with its standard input, and so with this one.
"""

from __future__ import annotations

import secrets
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from quickalign.core.errors import ModelError, RunError

SLOTS = 8
_PROGRAM = Path(__file__).with_name("server.py")
_FORCED = 1e4
"""Added to the logit of a token that is to be chosen; the log-probability that is told is the one without it."""
_LIKELIEST, _ALL = 100, 1 << 30
_SECONDS = 600.0
T = TypeVar("T")
R = TypeVar("R")


class LlamaCpp:
    """llama.cpp on one file, as a context manager.

    Args:
        file: what it loads.
        context: how many tokens the longest request has, answer included.

    Raises:
        ModelError: llama.cpp does not load the file.
        RunError: it does not answer.
    """

    def __init__(self, file: Path, context: int) -> None:
        self._file, self._context = file, context

    def __enter__(self) -> Self:
        key = secrets.token_urlsafe()
        self._log = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [sys.executable, str(_PROGRAM), str(self._file), str(SLOTS), str(self._context)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            with suppress(BrokenPipeError):  # it has ended, and says why below
                self._process.stdin.write(key + "\n")
                self._process.stdin.flush()
            address = self._process.stdout.readline().strip()
            if not address:
                raise ModelError(f"llama.cpp does not load {self._file}: {self._last_words()}.")
        except BaseException:
            self._end()
            raise
        headers = {"Authorization": f"Bearer {key}"}
        self._client = httpx.Client(base_url=address, headers=headers, timeout=_SECONDS, trust_env=False)
        self._letter = self.tokens("a", special=False)[0]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()
        self._end()

    def tokens(self, text: str, *, special: bool) -> list[int]:
        """The ids of `text`, in which special tokens may be written out; with `special` after what texts begin with."""
        asked = {"content": text, "add_special": special, "parse_special": True}
        found: list[int] = self._ask("/tokenize", asked)["tokens"]
        return found

    def rendered(self, messages: Sequence[dict[str, str]]) -> str:
        """A chat as the file's template writes it, open for an answer."""
        return str(self._ask("/apply-template", {"messages": list(messages)})["prompt"])

    def ends(self, token: int) -> bool:
        """Whether an answer is over with `token`."""
        told = self._complete([token], 0, n_predict=2, logit_bias=[[token, _FORCED]])
        return bool(told["stop_type"] == "eos")

    def logp(self, prompt: Sequence[int], answer: Sequence[int], slot: int) -> float:
        """The log-probability of `answer` after `prompt`, in nats; one request a token, each of which computes one."""
        ids = [*prompt, *answer]
        return sum(self._logp_of(ids[:place], ids[place], slot) for place in range(len(prompt), len(ids)))

    def answer(self, prompt: Sequence[int], most: int, slot: int) -> list[int]:
        """The likeliest tokens after `prompt`, one by one, with the one that ends the answer."""
        found: list[int] = self._complete(prompt, slot, n_predict=most)["tokens"]
        return found

    def each(self, do: Callable[[T, int], R], items: Sequence[T]) -> list[R]:
        """`do(item, slot)` of every item, as many at once as there are slots."""
        free: SimpleQueue[int] = SimpleQueue()
        for slot in range(SLOTS):
            free.put(slot)

        def one(item: T) -> R:
            slot = free.get()
            try:
                return do(item, slot)
            finally:
                free.put(slot)

        with ThreadPoolExecutor(SLOTS) as pool:
            return list(pool.map(one, items))

    def _logp_of(self, prompt: Sequence[int], token: int, slot: int) -> float:
        told = self._complete(prompt, slot, n_predict=1, n_probs=1, logit_bias=[[token, _FORCED]])
        if of_chosen := told.get("completion_probabilities"):
            return float(of_chosen[0]["logprob"])
        # Nothing is told of a chosen token that ends the answer or is half a character, but it stands among the others
        # of one that is neither.
        for many in (_LIKELIEST, _ALL):
            told = self._complete(prompt, slot, n_predict=1, n_probs=many, logit_bias=[[self._letter, _FORCED]])
            listed = told["completion_probabilities"][0]["top_logprobs"]
            for one in listed:
                if one["id"] == token:
                    return float(one["logprob"])
        raise RunError(f"llama.cpp does not tell the probability of token {token}.")

    def _complete(self, prompt: Sequence[int], slot: int, **more: Any) -> dict[str, Any]:
        always = {"id_slot": slot, "temperature": 0.0, "cache_prompt": True, "return_tokens": True}
        return self._ask("/completion", {"prompt": list(prompt), **always, **more})

    def _ask(self, path: str, content: dict[str, Any]) -> dict[str, Any]:
        try:
            answer = self._client.post(path, json=content)
        except httpx.HTTPError:
            raise RunError(f"llama.cpp stopped answering about {self._file}: {self._last_words()}.") from None
        told: dict[str, Any] = answer.json()
        if answer.is_error:
            raise RunError(f"llama.cpp refuses a request about {self._file}: {told['error']['message']}")
        return told

    def _last_words(self) -> str:
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").splitlines()
        said = [line for line in lines if " E " in line] or lines[-1:] or ["it says nothing"]
        return said[0].split(" E ", 1)[-1].strip().rstrip(".")

    def _end(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._log.close()
