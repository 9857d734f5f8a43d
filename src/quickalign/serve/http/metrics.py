"""What the replica counts, in Prometheus' form."""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from quickalign.serve.engine import Engine, TokenOut

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """The counters of one replica.

    Args:
        engine: whose open answers are shown.
        model: the label of all of them.
    """

    def __init__(self, engine: Engine, model: str) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "quickalign_requests", "Requests, by path and status.", ("model", "path", "status"), registry=registry
        )
        prompt = Counter("quickalign_prompt_tokens", "Tokens of prompts.", ("model",), registry=registry)
        made = Counter("quickalign_generation_tokens", "Tokens of answers.", ("model",), registry=registry)
        first = Histogram(
            "quickalign_time_to_first_token_seconds",
            "From a request's arrival to its first token.",
            ("model",),
            buckets=_SECONDS,
            registry=registry,
        )
        between = Histogram(
            "quickalign_time_per_token_seconds",
            "From one token of a request to its next.",
            ("model",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._model = model
        self._prompt, self._made = prompt.labels(model), made.labels(model)
        self._first, self._between = first.labels(model), between.labels(model)
        opened = Gauge("quickalign_open_answers", "Answers that are made or wait.", ("model",), registry=registry)
        opened.labels(model).set_function(lambda: engine.running)
        most = Gauge(
            "quickalign_open_answers_limit",
            "The most open answers; further ones get 429.",
            ("model",),
            registry=registry,
        )
        most.labels(model).set(engine.capacity)

    def request(self, path: str, status: int) -> None:
        """Count a finished request."""
        self._requests.labels(self._model, path, str(status)).inc()

    def watch(self, prompt_tokens: int, arrived: float) -> Watch:
        """Follow a request that arrived at monotonic time `arrived`."""
        self._prompt.inc(prompt_tokens)
        return Watch(self._made, self._first, self._between, arrived)

    def text(self) -> bytes:
        """All of them, in Prometheus' text form."""
        return generate_latest(self._registry)


class Watch:
    """The times of one request's tokens."""

    def __init__(self, made: Counter, first: Histogram, between: Histogram, arrived: float) -> None:
        self._made = made
        self._next = first
        self._between = between
        self._last = arrived

    def token(self, told: TokenOut) -> None:
        """Count what the engine told."""
        if told.token is None:
            return
        now = time.monotonic()
        self._made.inc()
        self._next.observe(now - self._last)
        self._next, self._last = self._between, now
