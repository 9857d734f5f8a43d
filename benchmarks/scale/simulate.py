"""A day of the queue and the reconciler in small steps: what rounds that take time cost the devices."""

from __future__ import annotations

import heapq
import math
import random
import statistics
from collections import deque
from dataclasses import dataclass

_SIGMA = 1.0
"""Spread of the logarithm of a job's length: most are short, some last for hours."""
_PAUSE = 1.0
"""Seconds from the beginning of a round to that of the next, where it takes less."""


@dataclass(frozen=True)
class Costs:
    """Seconds of the reconciler: for each job that runs in each round, to start and end one, and for a round itself."""

    running: float
    start: float
    end: float
    fixed: float = 0.002
    share: float = 1.0
    """Of a core; what else the process does takes the rest."""


@dataclass(frozen=True)
class Day:
    """What came of it. `lost` is the share of the devices' time in which one was free, a job waited, and no round had
    come to it yet."""

    jobs: int
    used: float
    lost: float
    wait_p50: float
    wait_p99: float
    round_p50: float
    round_max: float


def day(jobs_a_day: float, devices: int, offered: float, costs: Costs, *, hours: float = 24.0, seed: int = 0) -> Day:
    """Jobs arrive at random; their lengths are such that they would keep the share `offered` of the devices busy."""
    dice = random.Random(seed)
    mean = offered * devices * 86_400 / jobs_a_day
    mu = math.log(mean) - _SIGMA**2 / 2
    rate, span = jobs_a_day / 86_400, hours * 3600
    arrival, now = dice.expovariate(rate), 0.0
    waiting: deque[float] = deque()
    ends: list[float] = []  # of the jobs that run, as they happen
    waits, rounds = [], []
    busy = lost = 0.0
    while now < span:
        while arrival <= now:
            waiting.append(arrival)
            arrival += dice.expovariate(rate)
        freed = deque[float]()
        while ends and ends[0] <= now:
            freed.append(heapq.heappop(ends))
        running = len(ends)
        started = min(len(waiting), devices - running)
        looked = costs.fixed + costs.running * running + costs.end * len(freed)
        length = (looked + costs.start * started) / costs.share
        for number in range(started):
            at, asked = now + (looked + costs.start * number) / costs.share, waiting.popleft()
            waits.append(at - asked)
            lost += at - max(freed.popleft() if freed else asked, asked)
            last = dice.lognormvariate(mu, _SIGMA)
            busy += min(last, span - at)
            heapq.heappush(ends, at + last)
        rounds.append(length)
        now += max(_PAUSE, length)
    ordered = sorted(waits) or [0.0]
    return Day(
        jobs=len(waits),
        used=round(busy / (devices * span), 4),
        lost=round(lost / (devices * span), 5),
        wait_p50=round(statistics.median(ordered), 2),
        wait_p99=round(ordered[int(0.99 * (len(ordered) - 1))], 2),
        round_p50=round(statistics.median(rounds), 3),
        round_max=round(max(rounds), 3),
    )
