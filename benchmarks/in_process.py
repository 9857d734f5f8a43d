"""The bare engine: `python -m benchmarks.in_process --model MODEL --engine ENGINE`, for `benchmarks.gateway_overhead`.

It writes a line when it has loaded. Then it reads how many answers to make at once, a number a line, and writes for
each the seconds that they took and those to the first token, as JSON.
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


def answer(core: Core, prompt: tuple[int, ...], count: int) -> tuple[float, float]:
    """Answer the prompt `count` times at once: seconds in all, and to the first token."""
    sampling = Sampling(max_tokens=TOKENS, temperature=0)
    started, first = time.perf_counter(), 0.0
    for number in range(count):
        core.add(number, Generation(prompt, sampling))
    while not core.idle:
        if core.step():
            first = first or time.perf_counter() - started
    return time.perf_counter() - started, first


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
        print(json.dumps(answer(core, prompt, int(line))), flush=True)


if __name__ == "__main__":
    main()
