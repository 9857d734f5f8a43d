"""Tokens a second of the engines in a process, of the replica over HTTP, and of other servers, at 1 and 8 streams.

    python -m benchmarks.serve_vs_peers --model FOLDER [--engines openvino openvino:int8 transformers] [--rounds 2]
        [--precision auto] [--peer NAME='COMMAND with {model} and {port}']

FOLDER holds a model, such as Qwen2-0.5B's true shape with random weights (scripts/make_random_model.py). An engine may
be followed by what its weights are rounded to. A peer is any server of OpenAI's chat API, in an environment of its own
and in the same precision, such as

    --peer vllm='/path/to/venv/bin/python -m vllm.entrypoints.openai.api_server --model {model} --port {port}'
    --peer transformers='transformers serve --continuous-batching --dtype float32 --port {port} {model}'
    --peer llama.cpp='/path/to/venv/bin/python benchmarks/llama_cpp.py FILE.gguf {port}'

One contestant runs at a time, and they take turns, round after round, so that a busy machine slows all of them: read
the ratios. Prints a table and writes benchmarks/results/.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import random
import shlex
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import httpx

from quickalign.data.records import Message
from quickalign.data.tokenizer import load_tokenizer
from quickalign.serve.chat import make_prompts
from quickalign.serve.engine import Generation, Load, Sampling
from quickalign.serve.engines.registry import loader
from quickalign.serve.source import find
from quickalign.serve.spec import ServeSpec

RESULTS = Path(__file__).parent / "results"
STREAMS = (1, 8)
NEW_TOKENS = 48
PROMPT_TOKENS = 200
START_SECONDS = 600.0
CONTEXT = 1024

Speeds = dict[str, float]


def in_process(model: str, engine: str, precision: str) -> Speeds:
    """The engine's core, stepped in this process."""
    name, _, weights = engine.partition(":")
    compression: Any = weights or "auto"
    core = loader(name)(Load(name, model, None, "none", (precision,), max(STREAMS), CONTEXT, compression))
    sampling = Sampling(max_tokens=NEW_TOKENS, temperature=0)
    speeds: Speeds = {}
    texts, prompts = questions(model), make_prompts(find(ServeSpec(model=model)), None)
    for streams in (*STREAMS, *STREAMS):  # the first time warms up
        asked = [tuple(prompts.chat([Message("user", next(texts))])) for _ in range(streams)]
        started = time.perf_counter()
        for number, prompt in enumerate(asked):
            core.add(number, Generation(prompt, sampling))
        made, first = 0, 0.0
        while not core.idle:
            made += len(core.step())
            first = first or (time.perf_counter() - started if made else 0.0)
        speeds[f"tokens/s at {streams}"] = made / (time.perf_counter() - started)
        speeds[f"first token at {streams}, ms"] = first * 1000
    return speeds


def questions(model: str) -> Iterator[str]:
    """Texts of about `PROMPT_TOKENS` tokens that differ from their first word on.

    No two are alike, in the warming up neither: servers keep what they computed of earlier prompts.
    """
    tokenizer = load_tokenizer(Path(model))
    words = ("the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "and", "runs", "along")
    for number in count():
        draw, text = random.Random(number), f"{number}"
        while len(tokenizer.encode(text)) < PROMPT_TOKENS:
            text += " " + " ".join(draw.choices(words, k=8))
        yield text


async def over_http(endpoint: str, model: str, folder: str) -> Speeds:
    """Streamed chats of a server, all at once."""
    speeds: Speeds = {}
    texts = questions(folder)
    async with httpx.AsyncClient(base_url=endpoint, timeout=600, trust_env=False) as client:
        extra = await _extra(client, model)
        for streams in (*STREAMS, *STREAMS):
            asked = [next(texts) for _ in range(streams)]
            started = time.perf_counter()
            firsts = await asyncio.gather(*(_chat(client, model, text, extra) for text in asked))
            speeds[f"tokens/s at {streams}"] = streams * NEW_TOKENS / (time.perf_counter() - started)
            speeds[f"first token at {streams}, ms"] = statistics.median(firsts) * 1000
    return speeds


async def _extra(client: httpx.AsyncClient, model: str) -> dict[str, Any]:
    """How the server is told to go on behind an end: `transformers serve` knows no way, and refuses to hear of it."""
    ask = {"model": model, "messages": [{"role": "user", "content": "0"}], "max_tokens": 1, "ignore_eos": True}
    answer = await client.post("/v1/chat/completions", json=ask)
    return {} if answer.status_code in (400, 422) else {"ignore_eos": True}


async def _chat(client: httpx.AsyncClient, model: str, text: str, extra: dict[str, Any]) -> float:
    """One answer; returns after how many seconds its first token came.

    Raises:
        ValueError: it ended before its length.
    """
    asked = {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": NEW_TOKENS}
    body = asked | {"temperature": 0, "stream": True} | extra
    started, first, finish = time.perf_counter(), 0.0, None
    async with client.stream("POST", "/v1/chat/completions", json=body) as response:
        response.raise_for_status()
        async for line in response.aiter_lines():
            event = line.removeprefix("data: ")
            if line.startswith("data: ") and event != "[DONE]":
                choice = (json.loads(event).get("choices") or [{}])[0]
                if choice.get("delta", {}).get("content"):
                    first = first or time.perf_counter() - started
                finish = choice.get("finish_reason") or finish
    if finish != "length":
        raise ValueError(f"an answer ended with {finish!r} before its {NEW_TOKENS} tokens")
    return first


@contextmanager
def replica(model: str, engine: str, precision: str) -> Iterator[str]:
    """Our own server, ready."""
    name, _, weights = engine.partition(":")
    command = [sys.executable, "-m", "quickalign.serve", "--model", model, "--engine", name]
    command += ["--precision", precision, "--no-proof", "--max-concurrency", str(max(STREAMS))]
    command += ["--context", str(CONTEXT), *(["--weights", weights] if weights else [])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield str(json.loads(process.stdout.readline())["endpoint"])
        finally:
            process.terminate()


@contextmanager
def peer(command: str, model: str) -> Iterator[str]:
    """Another server, when it is up."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = shlex.split(command.format(model=model, port=port))
    endpoint = f"http://127.0.0.1:{port}"
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _wait_for(endpoint, process)
            yield endpoint
        finally:
            process.terminate()


def _wait_for(endpoint: str, process: subprocess.Popen[Any]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"it ended with exit code {process.returncode}")
        for path in ("/health", "/v1/models"):  # of one or the other: `transformers serve` asks a hub for its models
            with suppress(httpx.HTTPError):
                if httpx.get(endpoint + path, timeout=5, trust_env=False).status_code == httpx.codes.OK:
                    return
        time.sleep(0.5)
    raise RuntimeError(f"it was not ready in {START_SECONDS:.0f} s")


def contestants(
    model: str, engines: list[str], precision: str, peers: dict[str, str]
) -> dict[str, Callable[[], Speeds]]:
    """What is measured, by name."""
    found: dict[str, Callable[[], Speeds]] = {}
    for engine in engines:
        found[f"{engine}, in process"] = partial(_in_a_process, model, engine, precision)
        found[f"{engine}, replica"] = partial(_through, partial(replica, model, engine, precision), "default", model)
    for name, command in peers.items():
        found[name] = partial(_through, partial(peer, command, model), model, model)
    return found


def _through(server: Callable[[], AbstractContextManager[str]], model: str, folder: str) -> Speeds:
    with server() as endpoint:
        return asyncio.run(over_http(endpoint, model, folder))


def _in_a_process(model: str, engine: str, precision: str) -> Speeds:
    """`in_process`, in a process that ends, so that its memory is free for the next."""
    command = [sys.executable, "-m", "benchmarks.serve_vs_peers", "--model", model, "--in-process", engine]
    command += ["--precision", precision]
    told = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return {name: float(value) for name, value in json.loads(told.splitlines()[-1]).items()}


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--engines", nargs="*", default=["openvino", "transformers"])
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=COMMAND")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--in-process", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.in_process:
        print(json.dumps(in_process(arguments.model, arguments.in_process, arguments.precision)))
        return
    measured: dict[str, list[Speeds]] = {}
    failed: dict[str, str] = {}
    peers = dict(one.split("=", 1) for one in arguments.peer)
    for _ in range(arguments.rounds):
        for name, measure in contestants(arguments.model, arguments.engines, arguments.precision, peers).items():
            try:
                measured.setdefault(name, []).append(measure())
            except (RuntimeError, OSError, httpx.HTTPError, subprocess.CalledProcessError, ValueError) as error:
                failed[name] = str(error)
            print(name, measured.get(name, [{}])[-1:] or failed.get(name), file=sys.stderr)
    _tell(arguments.model, measured, failed)


def _tell(model: str, measured: dict[str, list[Speeds]], failed: dict[str, str]) -> None:
    best = {name: {key: max(run[key] for run in runs) for key in runs[0]} for name, runs in measured.items() if runs}
    for name, speeds in best.items():
        print(f"{name:28}" + "".join(f"{speeds[f'tokens/s at {streams}']:10.1f}" for streams in STREAMS))
    for name, reason in failed.items():
        print(f"{name:28} not measured: {reason}")
    now = datetime.now(UTC)
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"serve-vs-peers-{now:%Y-%m-%dT%H%M}.json"
    result = {
        "at": now.isoformat(timespec="seconds"),
        "machine": platform.processor() or platform.machine(),
        "model": Path(model).name,
        "prompt_tokens": PROMPT_TOKENS,
        "new_tokens": NEW_TOKENS,
        "runs": measured,
        "not_measured": failed,
    }
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(path)


if __name__ == "__main__":
    main()
