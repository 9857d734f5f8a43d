"""What the gateway counts for each service: for Prometheus, and for people."""

import statistics
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from quickalign.core.wire.services import ServiceMetrics

_RECENT = 1000
"""Answers that the percentiles are taken from."""
_FIRST_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_TOKENS_PER_SECOND = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


class _Distribution:
    """A histogram, and the most recent values themselves."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0
        self._recent: deque[float] = deque(maxlen=_RECENT)

    def add(self, value: float) -> None:
        self._counts[next((i for i, bound in enumerate(self._bounds) if value <= bound), len(self._bounds))] += 1
        self._sum += value
        self._recent.append(value)

    def percentile(self, percent: int) -> float | None:
        """Of the recent values; None where there are none."""
        values = list(self._recent)
        if len(values) < 2:
            return values[0] if values else None
        return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]

    def add_to(self, family: HistogramMetricFamily, labels: list[str]) -> None:
        total, buckets = 0, []
        for bound, count in zip([*map(str, self._bounds), "+Inf"], self._counts, strict=True):
            total += count
            buckets.append((bound, total))
        family.add_metric(labels, buckets, sum_value=self._sum)


@dataclass
class ServiceFigures:
    """The figures of one service since the server started.

    Attributes:
        answers: how requests ended: a status, `broken` for an answer that broke off, `left` for a client that did.
        retried: requests that were given to a second replica.
        open: requests that are being answered.
        waiting: those of them that wait for a replica to be ready.
        tokens: tokens of all answers.
    """

    name: str
    answers: Counter[str] = field(default_factory=Counter)
    retried: int = 0
    open: int = 0
    waiting: int = 0
    tokens: int = 0
    first: _Distribution = field(default_factory=lambda: _Distribution(_FIRST_SECONDS))
    speed: _Distribution = field(default_factory=lambda: _Distribution(_TOKENS_PER_SECOND))

    @property
    def errors(self) -> int:
        """Requests that a service failed at: statuses from 500 on, and answers that broke off."""
        return sum(number for how, number in self.answers.items() if how == "broken" or how.startswith("5"))

    def shown(self) -> ServiceMetrics:
        """The figures on the wire."""
        return ServiceMetrics(
            requests=sum(self.answers.values()) + self.open,
            errors=self.errors,
            open_requests=self.open,
            tokens_out=self.tokens,
            time_to_first_token_p50=self.first.percentile(50),
            time_to_first_token_p95=self.first.percentile(95),
            tokens_per_second=self.speed.percentile(50),
        )


class Figures(Collector):
    """The figures of all services. Those of a service that is gone are forgotten when a new one is first used."""

    def __init__(self, exists: Callable[[str], bool]) -> None:
        self._exists = exists
        self._services: dict[str, ServiceFigures] = {}

    def of(self, service_id: str, name: str) -> ServiceFigures:
        """The figures of a service, begun where there are none."""
        found = self._services.get(service_id)
        if found is None:
            self._services = {known: figures for known, figures in self._services.items() if self._exists(known)}
            found = self._services[service_id] = ServiceFigures(name)
        return found

    def shown(self, service_id: str) -> ServiceMetrics:
        """The figures of a service on the wire."""
        return self._services.get(service_id, ServiceFigures("")).shown()

    def collect(self) -> Iterator[Metric]:
        """See `Collector`."""
        services = list(self._services.values())
        answers = CounterMetricFamily(
            "quickalign_service_requests", "Requests by how they ended.", labels=["service", "status"]
        )
        for each in services:
            for how, number in sorted(each.answers.items()):
                answers.add_metric([each.name, how], number)
        yield answers
        for name, text, count in _COUNTERS:
            counter = CounterMetricFamily(name, text, labels=["service"])
            for each in services:
                counter.add_metric([each.name], count(each))
            yield counter
        for name, text, count in _GAUGES:
            gauge = GaugeMetricFamily(name, text, labels=["service"])
            for each in services:
                gauge.add_metric([each.name], count(each))
            yield gauge
        for name, text, take in _HISTOGRAMS:
            histogram = HistogramMetricFamily(name, text, labels=["service"])
            for each in services:
                take(each).add_to(histogram, [each.name])
            yield histogram

    def describe(self) -> Iterator[Metric]:
        """See `Collector`."""
        return iter(())


_COUNTERS: tuple[tuple[str, str, Callable[[ServiceFigures], float]], ...] = (
    ("quickalign_service_errors", "Requests that a service failed at.", lambda each: each.errors),
    ("quickalign_service_retries", "Requests that went on to a second replica.", lambda each: each.retried),
    ("quickalign_service_tokens", "Tokens of answers.", lambda each: each.tokens),
)
_GAUGES: tuple[tuple[str, str, Callable[[ServiceFigures], float]], ...] = (
    ("quickalign_service_open_requests", "Requests that are being answered.", lambda each: each.open),
    ("quickalign_service_waiting_requests", "Requests that wait for a replica.", lambda each: each.waiting),
)
_HISTOGRAMS: tuple[tuple[str, str, Callable[[ServiceFigures], _Distribution]], ...] = (
    (
        "quickalign_service_time_to_first_token_seconds",
        "From a request's arrival to its first token.",
        lambda each: each.first,
    ),
    ("quickalign_service_tokens_per_second", "Of one answer, from its first token on.", lambda each: each.speed),
)
