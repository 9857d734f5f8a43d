"""The way from this program to its cluster."""

# ruff: noqa: PLC0415 - Ray is an extra, and takes long to import

from __future__ import annotations

import logging
import os
import socket

from quickalign.cluster.service_keeper import NAMESPACE
from quickalign.cluster.service_spec import ServiceSpec
from quickalign.core import extras
from quickalign.core.errors import UnavailableError

_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Where Ray tells a job's program the environment of all that it starts."""
_CONNECT_SECONDS = 10.0


class ClusterAwayError(UnavailableError):
    """The cluster cannot be reached, or is gone."""


def connect(spec: ServiceSpec) -> str:
    """Connect this process to the cluster; returns the address of the machine that it runs on, as others reach it.

    Raises:
        OptionError: Ray is not installed. ClusterAwayError: the cluster does not answer.
    """
    # Ray Serve's own actors outlive this program, and must not carry the mark by which its processes are ended.
    os.environ.pop(_JOB, None)
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0"}
    try:
        import ray
        from ray import serve  # noqa: F401 - whether that part is installed
    except ImportError:
        raise extras.refusal("ray", "Services on a cluster need Ray.") from None
    address = os.environ.get("RAY_ADDRESS", spec.cluster) if spec.cluster == "auto" else spec.cluster
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    try:
        _knock(address)
        ray.init(address=address, namespace=NAMESPACE, logging_level=logging.WARNING)
    except (ConnectionError, RuntimeError, OSError) as error:
        raise ClusterAwayError(f"The cluster {address} cannot be reached: {error}.") from None
    return str(ray.util.get_node_ip_address())


def _knock(address: str) -> None:
    """Refuse an address at which nobody listens at once; Ray would try it for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS).close()
