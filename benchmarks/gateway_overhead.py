"""What the gateway costs: `python -m benchmarks.gateway_overhead [--model MODEL] [--rounds N]`.

One replica is asked directly and through the gateway in turn, with one stream and with eight, so that whatever else the
machine does falls on both alike. Shown are tokens a second together, the time to the first token, and the processor
time that the gateway takes for a token, which does not depend on how busy the machine is. What the replica itself costs
against its engine called in-process is in `benchmarks.serve_vs_peers`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import psutil
import uvicorn

from quickalign.api.app import make_app
from quickalign.core.wire.services import Limits, ServiceMetrics, ServiceState
from quickalign.platform import Platform
from quickalign.platform.services.routes import Route, Upstream

TOKENS, TOKEN = 48, "token"
PROMPT = "Tell me about the town where you would like to live, and why. " * 4


class OneService:
    """`platform.services.endpoints` of a server whose one service has one replica."""

    def __init__(self, url: str) -> None:
        replica = Upstream("replica", 1, url, TOKEN, 1000)
        self._route = Route("service", "one", ServiceState.RUNNING, None, Limits(), (replica,), ("one",))
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


@dataclass
class Seen:
    """What answers by one way have shown."""

    rates: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)


async def _one(session: aiohttp.ClientSession, url: str) -> tuple[float, int]:
    """Seconds to the first token, and how many events with text came."""
    body = {
        "model": "default",
        "messages": [{"role": "user", "content": PROMPT}],
        "stream": True,
        "max_tokens": TOKENS,
        "temperature": 0,
        "ignore_eos": True,
    }
    begun, first, events = time.perf_counter(), 0.0, 0
    async with session.post(url, json=body, headers={"Authorization": f"Bearer {TOKEN}"}) as answer:
        assert answer.status == 200, await answer.text()
        async for line in answer.content:
            if b'"content":"' in line and b'"role"' not in line:
                first = first or time.perf_counter() - begun
                events += 1
    return first, events


async def _round(session: aiohttp.ClientSession, url: str, streams: int, seen: Seen) -> int:
    begun = time.perf_counter()
    answers = await asyncio.gather(*(_one(session, url) for _ in range(streams)))
    seen.rates.append(streams * TOKENS / (time.perf_counter() - begun))
    seen.first += [first for first, _ in answers]
    return sum(events for _, events in answers)


async def _measure(replica: str, gateway: str, process: psutil.Process, rounds: int) -> None:
    ways = {
        "replica": f"{replica}/v1/chat/completions",
        "gateway": f"{gateway}/services/one/v1/chat/completions",
    }
    async with aiohttp.ClientSession() as session:
        for streams in (1, 8):
            for url in ways.values():
                await _round(session, url, streams, Seen())
            seen = {way: Seen() for way in ways}
            spent, events = 0.0, 0
            for number in range(rounds):
                for way, url in sorted(ways.items(), reverse=bool(number % 2)):
                    before = sum(process.cpu_times()[:2])
                    came = await _round(session, url, streams, seen[way])
                    if way == "gateway":
                        spent, events = spent + sum(process.cpu_times()[:2]) - before, events + came
            _tell(streams, seen, spent / events)


def _tell(streams: int, seen: dict[str, Seen], cpu: float) -> None:
    direct, through = seen["replica"], seen["gateway"]
    ratio = statistics.median(through.rates) / statistics.median(direct.rates)
    first = statistics.median(direct.first) * 1e3
    added = statistics.median(through.first) * 1e3 - first
    print(
        f"{streams} streams: {statistics.median(direct.rates):.1f} tokens/s direct, "
        f"{statistics.median(through.rates):.1f} through the gateway ({ratio:.3f}x); "
        f"first token {first:.1f} ms direct, {added:+.1f} ms through the gateway; "
        f"{cpu * 1e6:.0f} us of its processor time an event"
    )


@contextmanager
def _started(*command: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A program, and the first line that it writes."""
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait(30)


def _serve_gateway(url: str) -> None:
    with tempfile.TemporaryDirectory() as home:
        platform = Platform.open(Path(home))
        app = make_app(platform, endpoints=OneService(url))
        config = uvicorn.Config(app, port=0, http="h11", lifespan="off", log_level="error", access_log=False)
        with config.bind_socket() as listener:
            print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
            uvicorn.Server(config).run(sockets=[listener])
        platform.close()


def main() -> None:
    """Start both, and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default="qwen2-tiny-instruct")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--gateway", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.gateway:
        _serve_gateway(given.gateway)
        return
    replica = ("-m", "quickalign.serve", "--model", given.model, "--no-proof")
    with _started(*replica) as (_, told):
        url = json.loads(told)["endpoint"]
        with _started("-m", "benchmarks.gateway_overhead", "--gateway", url) as (process, address):
            asyncio.run(_measure(url, address, psutil.Process(process.pid), given.rounds))


if __name__ == "__main__":
    main()
