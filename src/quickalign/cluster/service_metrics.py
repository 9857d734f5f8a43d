"""What the endpoint of a service on the cluster counts, in Prometheus' form."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest


class Metrics:
    """The counters of one endpoint. `model` is the label of all of them."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "quickalign_requests", "Requests, by path and status.", ("model", "path", "status"), registry=registry
        )
        lost = Counter("quickalign_lost_answers", "Answers whose replica went away.", ("model",), registry=registry)
        self._lost = lost.labels(model)

    def show(self, name: str, about: str, value: Callable[[], float]) -> None:
        """Show a figure that is asked for whenever somebody reads."""
        gauge = Gauge(f"quickalign_{name}", about, ("model",), registry=self._registry)
        gauge.labels(self._model).set_function(value)

    def request(self, path: str, status: int) -> None:
        """Count a finished request."""
        self._requests.labels(self._model, path, str(status)).inc()

    def lost(self) -> None:
        """Count an answer whose replica went away in its midst."""
        self._lost.inc()

    def text(self) -> bytes:
        """All of them, in Prometheus' text form."""
        return generate_latest(self._registry)
