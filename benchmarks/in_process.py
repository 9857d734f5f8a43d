"""The bare engine: `python -m benchmarks.in_process --model MODEL --engine ENGINE`, for `benchmarks.gateway_overhead`.

It writes a line when it has loaded. Then it reads lines of JSON: how many answers to make at once, how many tokens of
the prompt to take, and how many to answer with; and writes for each the seconds that they took in all, and those to
each one's first token.
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


def answer(core: Core, prompt: tuple[int, ...], count: int, tokens: int) -> tuple[float, list[float]]:
    """Answer the prompt `count` times at once: seconds in all, and to each first token."""
    sampling = Sampling(max_tokens=tokens, temperature=0)
    started, first = time.perf_counter(), dict[int, float]()
    for number in range(count):
        core.add(number, Generation(prompt, sampling))
    while not core.idle:
        for number, _ in core.step():
            first.setdefault(number, time.perf_counter() - started)
    return time.perf_counter() - started, list(first.values())


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
        count, length, tokens = json.loads(line)
        print(json.dumps(answer(core, prompt[:length], count, tokens)), flush=True)


if __name__ == "__main__":
    main()
