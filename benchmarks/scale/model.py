"""From what was measured to what is needed: each part's demand at the target, and what it can do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_DAY = 86_400.0


@dataclass(frozen=True)
class Target:
    """How large it shall be, and what is assumed of its use; none of these is measured."""

    gpus: int = 1000
    jobs_a_day: int = 100_000
    services: int = 10_000
    servers: int = 3
    requests_a_second_each: float = 0.05
    tokens_an_answer: int = 200
    waiting: int = 1000
    adapter_bytes: float = 323e6
    """LoRA of rank 32 on all linear layers of a 7B model with Qwen2's shape: 80.7 million weights in fp32."""
    checkpoints_kept: int = 2
    checkpoint_ratio: float = 3.0
    """A checkpoint's bytes for each of the adapter's: the weights and AdamW's two moments."""

    @property
    def jobs_a_second(self) -> float:
        """Jobs that come in a second."""
        return self.jobs_a_day / _DAY

    @property
    def requests_a_second(self) -> float:
        """Requests of all services together."""
        return self.services * self.requests_a_second_each


@dataclass(frozen=True)
class Part:
    """A part of the system: what it needs at the target and what there is of it, in the same unit."""

    name: str
    unit: str
    needed: float
    available: float
    basis: str
    remedy: str

    @property
    def load(self) -> float:
        """Needed for each of what is available; above 1 it does not hold."""
        return self.needed / self.available


def parts(measured: Mapping[str, Any], target: Target) -> list[Part]:
    """All parts, those first that are exhausted first."""
    found = [*_leader(measured, target), *_database(measured, target), *_faces(measured, target)]
    return sorted(found, key=lambda part: -part.load)


def _leader(measured: Mapping[str, Any], target: Target) -> list[Part]:
    """What only the server that leads does, each loop in one thread, and all of its threads in one interpreter."""
    jobs, services = measured["jobs"], measured["services"]
    a_job = jobs["submitted"]["cpu_ms"] / target.servers + jobs["started_and_ended"]["cpu_ms"]
    rounds = target.gpus * jobs["a_round_with_news"]["cpu_ms"] + target.jobs_a_second * a_job
    a_service = services["a_round"]["cpu_ms"]
    routes = target.services * services["a_reading_of_routes"]["cpu_ms"]
    core, by = 1000.0, "processor time, measured"
    return [
        Part("loop of jobs", "ms/s", rounds, core, by, "look only at what has news; several loops, by job"),
        Part("loop of services", "ms/s", target.services * a_service, core, by, "look at services by what changed"),
        Part("table of routes", "ms/s", routes, core, by, "read what changed, not the table"),
        Part(
            "queue's places and reasons", "ms/s", _waiting_ms(measured, target), core, by, "reasons for a page, not all"
        ),
    ]


def _waiting_ms(measured: Mapping[str, Any], target: Target) -> float:
    known = measured["queue"]
    larger: float = (target.waiting / known["waiting"]) * (target.gpus / known["devices"])
    return float(known["cpu_ms"]) * larger


def _database(measured: Mapping[str, Any], target: Target) -> list[Part]:
    jobs = measured["jobs"]
    a_job = jobs["submitted"]["writes"] + jobs["started_and_ended"]["writes"]
    writes = target.gpus * jobs["a_round_with_news"]["writes"] + target.jobs_a_second * a_job
    basis, remedy = "one writer's transactions, measured", "news of many jobs in one transaction"
    return [
        Part(f"transactions, {name}", "1/s", writes, one["undisturbed_a_second"], basis, remedy)
        for name, one in measured["databases"].items()
    ]


def _faces(measured: Mapping[str, Any], target: Target) -> list[Part]:
    gateway, jobs = measured["gateway"], measured["jobs"]
    answer = gateway["an_answer_cpu_ms"] + target.tokens_an_answer * gateway["an_event_cpu_ms"]
    submitting = target.jobs_a_second * jobs["submitted"]["cpu_ms"]
    available, by = 1000.0 * target.servers, "processor time, measured"
    more = "more servers: they share nothing here"
    return [
        Part("gateway, all servers", "ms/s", target.requests_a_second * answer, available, by, more),
        Part("submissions, all servers", "ms/s", submitting, available, by, more),
    ]


def storage(measured: Mapping[str, Any], target: Target) -> dict[str, float]:
    """What a day leaves on the disk, in GB: reckoned, but for the rows."""
    checkpoints = target.checkpoints_kept * target.checkpoint_ratio * target.adapter_bytes
    return {
        "adapters": round(target.jobs_a_day * target.adapter_bytes / 1e9, 1),
        "checkpoints_while_they_run": round(target.gpus * checkpoints / 1e9, 1),
        "rows": round(target.jobs_a_day * measured["bytes_a_job"] / 1e9, 3),
        "written_a_second": round(target.jobs_a_second * (target.adapter_bytes + checkpoints) / 1e9, 3),
    }


def training(target: Target) -> dict[str, float]:
    """What the numbers themselves say of training: seconds a job has, and what its workers exchange for a step."""
    return {
        "gpu_seconds_a_job": round(target.gpus * _DAY / target.jobs_a_day, 1),
        "exchange_gb_a_step": round(2 * target.adapter_bytes / 1e9, 3),
        "exchange_seconds_at_25_gbit": round(2 * target.adapter_bytes / (25e9 / 8), 3),
    }


def holds_to(measured: Mapping[str, Any], target: Target) -> dict[str, float]:
    """How many jobs at once, and how many services, one loop looks at within a second."""
    return {
        "jobs_a_round_of_a_second": round(1000 / measured["jobs"]["a_round_with_news"]["cpu_ms"]),
        "services_a_round_of_a_second": round(1000 / measured["services"]["a_round"]["cpu_ms"]),
        "services_read_once_a_second": round(1000 / measured["services"]["a_reading_of_routes"]["cpu_ms"]),
    }
