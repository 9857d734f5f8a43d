"""What HTTP costs: `python -m benchmarks.gateway_overhead [--model MODEL] [--engine ENGINE] [--rounds N]
[--first-rounds N]`.

The same prompt is answered by the engine called in-process, by one replica asked directly, and by that replica through
the gateway, in turn, with one stream and with eight, so that whatever else the machine does falls on all alike. Shown
are tokens a second together, the processor time that the replica's endpoint and the gateway take for a token, which
depends less on how busy the machine is, and the time to the first token. The exit code is 1 where a bound is not kept.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path

import psutil
import uvicorn
import uvloop

from benchmarks.in_process import TOKENS, read_prompt
from benchmarks.thin_client import ThinClient
from quickalign.api.app import make_app
from quickalign.api.server import bind, endpoint_of, settings_of
from quickalign.core.scheduling import answer_soon
from quickalign.core.wire.services import Limits, ServiceMetrics, ServiceState
from quickalign.platform import Config, Platform
from quickalign.platform.services.routes import Route, Upstream

TOKEN = "token"  # noqa: S105 - opens a gateway that lives as long as the benchmark
STREAMS = (1, 8)
LEAST_RATIO, MOST_ADDED_MS = 0.95, 5.0
# The time to the first token is asked for often and with a short prompt: the engine's own part of it, and how much that
# part varies, are then small beside what HTTP adds. A stream asks again a while after it was answered, so that requests
# come whenever they come; the first ones, which come all at once, are left out.
FIRST_PROMPT, FIRST_ANSWERS, FIRST_TOKENS, FIRST_PAUSE = 8, 6, (8, 24), 0.03


class OneService:
    """`platform.services.endpoints` of a server whose one service has one replica."""

    def __init__(self, url: str) -> None:
        replica = Upstream("replica", 1, url, TOKEN, 1000)
        self._route = Route("service", "one", ServiceState.RUNNING, None, Limits(), (replica,), ("one",), 0.0)
        self.open_requests = lambda replica_id: 0
        self.metrics = lambda service_id: ServiceMetrics(requests=0, errors=0, open_requests=0, tokens_out=0)

    def find(self, name: str) -> Route | None:
        """See `Endpoints`."""
        return self._route if name in ("one", "service") else None

    def all(self) -> tuple[Route, ...]:
        """See `Endpoints`."""
        return (self._route,)

    def verify(self, service_id: str, text: str) -> str | None:
        """See `Endpoints`."""
        return "service" if text == TOKEN else None

    def touch(self, service_id: str) -> None:
        """See `Endpoints`."""

    def broken(self, replica_id: str) -> None:
        """See `Endpoints`."""
        sys.stderr.write("the replica broke\n")


@dataclass(frozen=True)
class Load:
    """What is asked: so many tokens of the prompt, and for each stream its requests, one after another.

    Of a request, how many seconds after the answer before it comes, and how many tokens it asks for.
    """

    prompt: int
    streams: list[list[tuple[float, int]]]

    @property
    def tokens(self) -> int:
        """The tokens of all answers."""
        return sum(tokens for stream in self.streams for _, tokens in stream)


def spread(streams: int) -> Load:
    """Streams that ask on and on, each at times of its own."""
    draw = random.Random(streams)  # the same for every way
    each = range(FIRST_ANSWERS)
    asked = [[(draw.uniform(0, FIRST_PAUSE), draw.randint(*FIRST_TOKENS)) for _ in each] for _ in range(streams)]
    return Load(FIRST_PROMPT, asked)


@dataclass
class Seen:
    """What answers by one way have shown: tokens a second, milliseconds to the first token, and the time spent."""

    rates: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    spent: float = 0.0
    tokens: int = 0

    @property
    def rate(self) -> float:
        """Tokens a second of all streams together."""
        return statistics.median(self.rates)

    @property
    def first_ms(self) -> float:
        """Milliseconds to the first token."""
        return statistics.median(self.first)

    @property
    def microseconds(self) -> float:
        """Processor time a token."""
        return self.spent / self.tokens * 1e6


Ask = Callable[[Load], tuple[float, list[list[float]]]]
"""Has a load answered; returns seconds in all, and to each first token, stream by stream."""


@contextmanager
def over_http(url: str, prompt: list[int]) -> Iterator[Ask]:
    """Streams of the server at `url`, over connections that are kept, as clients keep them."""
    fixed = {"model": "default", "stream": True, "temperature": 0, "ignore_eos": True}

    async def opened() -> list[ThinClient]:
        return [await ThinClient.connect(url, TOKEN) for _ in range(max(STREAMS))]

    async def together(load: Load) -> tuple[float, list[list[float]]]:
        begun = time.perf_counter()
        firsts = await asyncio.gather(*map(stream, clients, repeat(prompt[: load.prompt]), load.streams))
        return time.perf_counter() - begun, firsts

    async def stream(client: ThinClient, asked: list[int], requests: list[tuple[float, int]]) -> list[float]:
        firsts = []
        for pause, tokens in requests:
            await asyncio.sleep(pause)
            firsts.append(await client.ask(fixed | {"prompt": asked, "max_tokens": tokens}))
        return firsts

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        clients = runner.run(opened())
        yield lambda load: runner.run(together(load))
        for client in clients:
            client.close()


def in_process(process: subprocess.Popen[str]) -> Ask:
    """Answers of the engine in `benchmarks.in_process`."""

    def ask(load: Load) -> tuple[float, list[list[float]]]:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{json.dumps([load.prompt, load.streams])}\n")
        process.stdin.flush()
        seconds, firsts = json.loads(process.stdout.readline())
        return seconds, firsts

    return ask


def measure(ways: dict[str, Ask], watched: dict[str, int], load: Load, rounds: int) -> dict[str, Seen]:
    """Ask by every way in turn; `watched` names the process whose time is counted for some of them."""
    seen = {way: Seen() for way in ways}
    processes = {way: psutil.Process(pid) for way, pid in watched.items()}
    for ask in ways.values():
        ask(load)
    for number in range(rounds):
        for way, ask in sorted(ways.items(), reverse=bool(number % 2)):
            before = sum(processes[way].cpu_times()[:2]) if way in processes else 0.0
            seconds, firsts = ask(load)
            seen[way].spent += sum(processes[way].cpu_times()[:2]) - before if way in processes else 0.0
            seen[way].tokens += load.tokens
            seen[way].rates.append(load.tokens / seconds)
            seen[way].first += [first * 1e3 for stream in firsts for first in stream[1:]]
    return seen


def tell_rates(streams: int, seen: dict[str, Seen]) -> bool:
    """Print tokens a second; whether the bound is kept."""
    engine, replica, gateway = seen["engine"], seen["replica"], seen["gateway"]
    ratio = gateway.rate / engine.rate
    print(
        f"{streams} streams: engine {engine.rate:.1f} tokens/s, replica {replica.rate:.1f} "
        f"({replica.rate / engine.rate:.3f}x), gateway {gateway.rate:.1f} ({ratio:.3f}x); processor time a token: "
        f"{replica.microseconds:.0f} us at the endpoint, {gateway.microseconds:.0f} us in the gateway",
        flush=True,
    )
    return ratio >= LEAST_RATIO


def tell_first(streams: int, seen: dict[str, Seen]) -> bool:
    """Print the times to the first token; whether the bound is kept."""
    engine, replica, gateway = seen["engine"], seen["replica"], seen["gateway"]
    added = gateway.first_ms - engine.first_ms
    print(
        f"{streams} streams: first token {engine.first_ms:.1f} ms in process, {replica.first_ms:.1f} ms from the "
        f"replica, {gateway.first_ms:.1f} ms through the gateway ({added:+.1f} ms)",
        flush=True,
    )
    return added <= MOST_ADDED_MS


@contextmanager
def started(*command: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A program, and the first line that it writes."""
    process = subprocess.Popen([sys.executable, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait(30)


def serve_gateway(url: str) -> None:
    """The gateway alone, with the settings of the server."""
    with tempfile.TemporaryDirectory() as home:
        platform = Platform.open(Path(home))
        app = make_app(platform, endpoints=OneService(url))
        config = Config(port=0)
        with bind(config) as listener:
            print(endpoint_of(config, listener), flush=True)
            answer_soon()
            uvicorn.Server(settings_of(app, config)).run(sockets=[listener])
        platform.close()


def main() -> int:
    """Start all three, and measure; returns 1 where a bound is not kept."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default="qwen2-tiny-instruct")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--first-rounds", type=int, default=10, help="rounds of requests that come whenever they come")
    parser.add_argument("--gateway", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.gateway:
        serve_gateway(given.gateway)
        return 0
    model, prompt = ("--model", given.model, "--engine", given.engine), read_prompt(given.model)
    with (
        started("-m", "quickalign.serve", *model, "--no-proof", "--context", "1024") as (endpoint, told),
        started("-m", "benchmarks.in_process", *model) as (engine, _),
        started("-m", "benchmarks.gateway_overhead", "--gateway", json.loads(told)["endpoint"]) as (gateway, address),
        over_http(f"{json.loads(told)['endpoint']}/v1/completions", prompt) as replica,
        over_http(f"{address}/services/one/v1/completions", prompt) as through,
    ):
        ways: dict[str, Ask] = {"engine": in_process(engine), "replica": replica, "gateway": through}
        watched = {"replica": endpoint.pid, "gateway": gateway.pid}
        kept = []
        for streams in STREAMS:
            whole = Load(len(prompt), [[(0.0, TOKENS)]] * streams)
            kept.append(tell_rates(streams, measure(ways, watched, whole, given.rounds)))
            kept.append(tell_first(streams, measure(ways, watched, spread(streams), given.first_rounds)))
    return int(not all(kept))


if __name__ == "__main__":
    sys.exit(main())
