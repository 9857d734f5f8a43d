"""What runs jobs and replicas, as the operator's settings say: this machine, or a Ray cluster."""

import logging
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from quickalign.core.errors import UnavailableError
from quickalign.platform.config import Config, RayConfig
from quickalign.platform.devices import Device, find_devices
from quickalign.platform.executors.base import Executor
from quickalign.platform.executors.local import LocalExecutor
from quickalign.platform.executors.ray import RayExecutor
from quickalign.platform.executors.ray_jobs import Node, RayJobs, read_token
from quickalign.platform.executors.ray_local import LocalCluster
from quickalign.platform.executors.ray_probe import check_nodes
from quickalign.platform.home import Home

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Machines:
    """What runs jobs, what runs replicas, what there is, and how to let go of it."""

    jobs: Executor
    replicas: Executor
    devices: tuple[Device, ...]
    close: Callable[[], None]


def find_machines(config: Config, home: Home, devices: tuple[Device, ...] | None = None) -> Machines:
    """The executors of the settings, with `devices` in place of what is found.

    A cluster that does not answer now is no error: jobs wait for it, and say so.

    Raises:
        OptionError: what answers is no cluster, or too old, or none of its nodes can run what lies in the home.
        AccessError: the cluster refuses the token, or its file can be read by others.
        UnavailableError: a local cluster does not start.
    """
    if config.executor == "local":
        found = find_devices(config.cpu_jobs, config.gpu_jobs) if devices is None else devices
        return Machines(LocalExecutor(home.jobs), LocalExecutor(home.services), found, lambda: None)
    ray = config.ray
    cluster = LocalCluster(home.root / "log" / "ray.log") if ray.address == "local" else None
    jobs: RayJobs | None = None
    try:
        address, token = (cluster.address, cluster.token) if cluster else (str(ray.address), _token(ray))
        jobs = RayJobs(address, token)
        executors = [_executor(folder, jobs, ray) for folder in (home.jobs, home.services)]
        found = _look(jobs, home, ray)
    except BaseException:
        _close(cluster, jobs)
        raise
    return Machines(executors[0], executors[1], found if devices is None else devices, lambda: _close(cluster, jobs))


def pool(nodes: list[Node], ray: RayConfig) -> tuple[Device, ...]:
    """The cluster as devices: its processors, and its GPUs where it has any."""
    memory = [int(node.memory_bytes) for node in nodes] or [psutil.virtual_memory().total]
    name = f"Ray cluster, {len(nodes)} nodes, {sum(node.cpus for node in nodes):g} CPUs"
    processors = Device("cpu", 0, name, sum(memory), ray.jobs, largest_bytes=max(memory))
    cards = sum(int(node.gpus) for node in nodes)
    if not cards and ray.card_gb is None:
        return (processors,)
    card = max((node.card_bytes for node in nodes), default=0) or int((ray.card_gb or 0) * 1e9)
    if not card:
        _LOG.warning("The cluster does not say how much memory its GPUs have; set ray.card_gb.")
        return (processors,)
    return (processors, Device("cuda", 0, f"{cards} GPUs", cards * card, ray.jobs, largest_bytes=card))


def _executor(root: Path, jobs: RayJobs, ray: RayConfig) -> RayExecutor:
    path = os.environ.get("PYTHONPATH")
    return RayExecutor(root, jobs, python=ray.python or sys.executable, cpus=ray.cpus, path=path)


def _token(ray: RayConfig) -> str | None:
    return read_token(ray.token_file.expanduser()) if ray.token_file else None


def _look(jobs: RayJobs, home: Home, ray: RayConfig) -> tuple[Device, ...]:
    try:
        jobs.check()
        check_nodes(jobs, home, ray.python or sys.executable, os.environ.get("PYTHONPATH"))
        return pool(jobs.nodes(), ray)
    except UnavailableError as error:
        _LOG.warning("%s Jobs wait for it.", error)
        return pool([], ray)


def _close(cluster: LocalCluster | None, jobs: RayJobs | None) -> None:
    if jobs is not None:
        jobs.close()
    if cluster is not None:
        cluster.stop()
