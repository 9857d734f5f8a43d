"""How an application is described to Ray Serve: pure functions from a specification to its options."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from quickalign.cluster.service_spec import ServiceSpec
from quickalign.core.wire.services import Autoscaling

DEPLOYMENT = "replica"
_LONGEST_ANSWER_SECONDS = 3600.0
"""How long a replica that is no longer needed may still answer; open answers are never cut for want of work."""
_PASSED_ON = ("QUICKALIGN_", "HF_", "OMP_", "PYTHONPATH", "TOKENIZERS_PARALLELISM", "AWS_", "OSS_")
"""Variables that replicas get as this program has them."""


def options(spec: ServiceSpec, environment: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """The options of the one deployment of an application."""
    return {
        "name": DEPLOYMENT,
        # A replica that is full says so itself, at once and with the time to come back; Ray lets it be asked.
        "max_ongoing_requests": spec.capacity + spec.max_concurrency,
        "max_queued_requests": spec.capacity * spec.autoscaling.max,
        "graceful_shutdown_wait_loop_s": 0.5,
        "graceful_shutdown_timeout_s": _LONGEST_ANSWER_SECONDS,
        "health_check_period_s": 2,
        "health_check_timeout_s": 30,
        "max_constructor_retry_count": 1,
        "ray_actor_options": _actor(spec, environment),
        **_count(spec.autoscaling),
    }


def _count(wanted: Autoscaling) -> dict[str, Any]:
    if wanted.min == wanted.max:
        return {"num_replicas": wanted.max}
    return {
        "autoscaling_config": {
            "min_replicas": wanted.min,
            "max_replicas": wanted.max,
            "initial_replicas": max(1, wanted.min),  # the first one proves what is served
            "target_ongoing_requests": wanted.ongoing_requests,
            "metrics_interval_s": 1,
            "look_back_period_s": 3,
            "upscale_delay_s": 1,
            "downscale_delay_s": wanted.quiet_seconds,
            "downscale_to_zero_delay_s": wanted.quiet_seconds,
        }
    }


def _actor(spec: ServiceSpec, environment: Mapping[str, str]) -> dict[str, Any]:
    variables = {name: value for name, value in environment.items() if name.startswith(_PASSED_ON)}
    found: dict[str, Any] = {"num_cpus": spec.cpus, "runtime_env": {"env_vars": variables}}
    if spec.gpus:
        found["num_gpus"] = spec.gpus
    if spec.memory_bytes:
        found["memory"] = spec.memory_bytes
    return found
