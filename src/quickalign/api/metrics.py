"""Figures for Prometheus at `/metrics`."""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from quickalign.platform import Platform

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class _ByState(Collector):
    """Jobs or services by state, counted when asked for."""

    def __init__(self, name: str, text: str, count: Callable[[], dict[str, int]]) -> None:
        self._name, self._text, self._count = name, text, count

    def collect(self) -> Iterator[Metric]:
        """See `Collector`."""
        family = GaugeMetricFamily(self._name, self._text, labels=["state"])
        for state, number in self._count().items():
            family.add_metric([state], number)
        yield family

    def describe(self) -> Iterator[Metric]:
        """See `Collector`; keeps the registry from counting at the start."""
        yield GaugeMetricFamily(self._name, self._text, labels=["state"])


class Metrics:
    """The figures of one server."""

    def __init__(self, platform: Platform) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_ByState("quickalign_jobs", "Jobs by state.", platform.jobs.count))
        self._registry.register(_ByState("quickalign_services", "Services by state.", platform.services.count))
        labels = ["method", "route", "status"]
        self.requests = Counter("quickalign_http_requests", "Answered requests.", labels, registry=self._registry)
        self.seconds = Histogram(
            "quickalign_http_request_seconds",
            "Time to the beginning of the answer.",
            ["method", "route"],
            buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60),
            registry=self._registry,
        )
        self.uploaded = Counter("quickalign_uploaded_bytes", "Bytes of complete uploads.", registry=self._registry)
        self.followers = Gauge("quickalign_followers", "Open event streams.", registry=self._registry)

    def add(self, collector: Collector) -> None:
        """Show the figures of `collector` too."""
        self._registry.register(collector)

    def text(self) -> bytes:
        """All figures in Prometheus' text format."""
        return generate_latest(self._registry)
