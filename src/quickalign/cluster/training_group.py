"""The workers of a run as a group of Ray Train: placed together or not at all, started anew when one is lost."""

# ruff: noqa: PLC0415 - Ray is an extra, and takes long to import

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quickalign.cluster.training_worker import work
from quickalign.core import extras
from quickalign.core.errors import UnavailableError

RESTARTS = 3
"""How often one driver lets Ray start all workers anew; after that it ends, and whoever started it decides."""

# Ray tells nobody outside what runs here, says every line in black, and leaves workers in their folder.
_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_COLOR_PREFIX": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
}
_SHUTDOWN = "TORCH_PROCESS_GROUP_SHUTDOWN_TIMEOUT_S"
# A worker that has lost another one cannot leave the process group in order; waiting for it only takes time.
_SHUTDOWN_SECONDS = "5"


@dataclass(frozen=True, slots=True)
class Share:
    """What each worker takes of the cluster; 0 bytes reserve no memory."""

    cpus: float = 1.0
    gpus: int = 0
    memory_bytes: int = 0

    def __str__(self) -> str:
        parts = [f"{self.cpus:g} CPU"] + [f"{self.gpus} GPU"] * bool(self.gpus)
        return " and ".join(parts + [f"{self.memory_bytes / 1e9:.1f} GB"] * bool(self.memory_bytes))

    @property
    def resources(self) -> dict[str, float]:
        """By Ray's names."""
        asked = {"CPU": self.cpus, "GPU": float(self.gpus), "memory": float(self.memory_bytes)}
        return {name: value for name, value in asked.items() if value}


def connect(address: str | None) -> None:
    """Connect this process to the cluster at `address`, or to the one that started it.

    `local` starts one of this machine, for as long as this process lives.

    Raises:
        OptionError: Ray is not installed. UnavailableError: the cluster does not answer.
    """
    os.environ |= _SETTINGS
    try:
        import ray
        import ray.train.torch
    except ImportError:
        raise extras.refusal("ray", "Training on a cluster needs Ray.") from None
    settings: dict[str, Any] = {"runtime_env": {"env_vars": {_SHUTDOWN: _SHUTDOWN_SECONDS}}}
    where = address or os.environ.get("RAY_ADDRESS") or "auto"
    if where == "local":
        settings["include_dashboard"] = False
    try:
        ray.init(address=where, logging_level=logging.WARNING, **settings)
    except (ConnectionError, RuntimeError, OSError) as error:
        raise UnavailableError(
            f"The cluster {where} cannot be reached: {error}", "See that it runs, or name another with --address."
        ) from None


def disconnect() -> None:
    """Leave the cluster; the workers of this process go with it."""
    import ray

    ray.shutdown()


def room_for(workers: int, share: Share) -> str | None:
    """Why `workers` have to wait, by what the cluster has free now; None where they have not."""
    import ray

    free = ray.available_resources()
    for name, each in share.resources.items():
        if free.get(name, 0.0) < workers * each:
            total = ray.cluster_resources().get(name, 0.0)
            return (
                f"{workers} workers of {share} each wait for room: of {_amount(name, total)} the cluster has "
                f"{_amount(name, free.get(name, 0.0))} free."
            )
    return None


def fit(workers: int, share: Share, config: dict[str, Any], storage: Path) -> None:
    """Run `workers` to their end; Ray starts all of them anew when one is lost.

    Raises:
        ray.train.TrainingFailedError: one failed more than `RESTARTS` times, or Ray itself did.
    """
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    # the lease is the mark by which an executor knows what its attempt has started
    names = ("PYTHONPATH", "QUICKALIGN_LEASE")
    carried = {name: os.environ[name] for name in names if name in os.environ}
    settings: dict[str, Any] = {
        "name": "ray",
        "storage_path": str(storage),
        "failure_config": FailureConfig(max_failures=RESTARTS),
        "worker_runtime_env": {"env_vars": carried},
    }
    TorchTrainer(
        work,
        train_loop_config=config,
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=share.gpus > 0, resources_per_worker=share.resources),
        run_config=RunConfig(**settings),
    ).fit()


def _amount(name: str, value: float) -> str:
    return f"{value / 1e9:.1f} GB" if name == "memory" else f"{value:g} {name}"
