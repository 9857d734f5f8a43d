"""The bare engine: `python -m benchmarks.in_process --model MODEL --engine ENGINE`, for `benchmarks.gateway_overhead`.

It writes a line when it has loaded. Then it reads lines of JSON: how many tokens of the prompt to take, and for each
stream its requests: how many seconds after the answer before, and for how many tokens. It writes for each the seconds
that they took in all, and those from each request to its first token, stream by stream.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

from quickalign.data.records import Message
from quickalign.hub import source
from quickalign.serve.chat import make_prompts
from quickalign.serve.engine import Core, Generation, Load, Sampling
from quickalign.serve.engines.registry import loader, resolve_engine
from quickalign.serve.source import find
from quickalign.serve.spec import ServeSpec

TOKENS = 48
PROMPT = "Tell me about the town where you would like to live, and why. " * 4
SLOTS, CONTEXT = 16, 1024


def read_prompt(model: str) -> list[int]:
    """The prompt's token ids, of every way the same."""
    return make_prompts(find(ServeSpec(model=model)), None).chat([Message("user", PROMPT)])


class Streams:
    """Streams of requests to the engine, each of which asks again a while after it was answered.

    A request that comes while the engine computes a step is taken in after it, and has waited since it came.

    Args:
        core: the engine.
        prompt: what every request asks.
        wanted: for each stream its requests: seconds after the answer before, and how many tokens.
    """

    def __init__(self, core: Core, prompt: tuple[int, ...], wanted: list[list[tuple[float, int]]]) -> None:
        self._core, self._prompt = core, prompt
        self._wanted = [iter(one) for one in wanted]
        self._due: dict[int, tuple[float, int]] = {}
        self._waiting: dict[int, float] = {}
        self.firsts: list[list[float]] = [[] for _ in wanted]

    def run(self) -> float:
        """Answer all requests; returns the seconds that it took."""
        started = time.perf_counter()
        for stream in range(len(self.firsts)):
            self._plan(stream)
        while self._due or not self._core.idle:
            self._take()
            if self._core.idle:
                time.sleep(max(min(when for when, _ in self._due.values()) - time.perf_counter(), 0))
                continue
            for stream, told in self._core.step():
                if stream in self._waiting:
                    self.firsts[stream].append(time.perf_counter() - self._waiting.pop(stream))
                if told.finish is not None:
                    self._plan(stream)
        return time.perf_counter() - started

    def _plan(self, stream: int) -> None:
        request = next(self._wanted[stream], None)
        if request is not None:
            self._due[stream] = (time.perf_counter() + request[0], request[1])

    def _take(self) -> None:
        """Give the engine the requests that have come."""
        now = time.perf_counter()
        for stream, (when, tokens) in list(self._due.items()):
            if when <= now:
                del self._due[stream]
                self._waiting[stream] = when
                self._core.add(stream, Generation(self._prompt, Sampling(max_tokens=tokens, temperature=0)))


def main() -> None:
    """Load, and answer until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", required=True)
    parser.add_argument("--engine", default="auto")
    given = parser.parse_args()
    engine = resolve_engine(given.engine)
    weights = str(source.resolve(given.model).path)
    core = loader(engine)(Load(engine, weights, None, "none", ("auto",), SLOTS, CONTEXT))
    prompt = tuple(read_prompt(given.model))
    print("loaded", flush=True)
    for line in sys.stdin:
        length, streams = json.loads(line)
        asked = Streams(core, prompt[:length], streams)
        print(json.dumps([asked.run(), asked.firsts]), flush=True)


if __name__ == "__main__":
    main()
