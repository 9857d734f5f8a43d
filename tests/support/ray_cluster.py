"""A Ray cluster of several nodes on this machine, whose nodes can be killed and whose head can be lost and replaced.

Every node is a raylet of its own with one CPU by default, and with a network of its own where the cluster is given one:
then its wire can be cut. Requests need the cluster's token, which is this process's
own, so that nobody else on this machine can run anything in it. `close` ends all by the handles it has kept.
"""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil

from tests.support.network import Network, Place

HOST = "127.0.0.1"
NODE = "127.0.0.2"
"""The nodes' address. Ray takes 127.0.0.1 for a mistake and puts the machine's own in its place."""
TOKEN = secrets.token_hex(32)
_GIB = 1 << 30
_START = "from ray.scripts.scripts import main; main()"
ENVIRONMENT = {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": TOKEN,
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_TRAIN_V2_ENABLED": "1",
}
"""What this process and all that it starts has to have, from before the first import of Ray."""
HASTY = {
    "RAY_health_check_period_ms": "2000",
    "RAY_health_check_timeout_ms": "5000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "30",
}
"""Sooner than by itself, the head gives a silent node up, and a node ends that has lost the head."""


class RayCluster:
    """A head and `nodes - 1` others. The head is like the others: it takes work as well."""

    def __init__(
        self, nodes: int = 3, cpus: int = 1, memory_bytes: int = 2 * _GIB, network: Network | None = None
    ) -> None:
        self._network, self._plugged = network, list[PluggedNode]()
        self._ip = network.address if network else NODE
        os.environ.update(ENVIRONMENT)
        os.environ.pop("RAY_ADDRESS", None)
        self._folder = Path(tempfile.mkdtemp(prefix="qa-"))  # short: names of sockets have 107 bytes
        (self._folder / "ray").mkdir()
        os.environ["RAY_TMPDIR"] = str(self._folder)  # so that neither other clusters here nor /tmp/ray are touched
        self._gcs_port, self._dashboard_port = _free_port(), _free_port()
        self._share = {"num_cpus": cpus, "memory": memory_bytes, "object_store_memory": 80 << 20}
        from ray.cluster_utils import Cluster

        self._cluster: Any = Cluster(initialize_head=False)
        self.start_head()
        for _ in range(nodes - 1):
            self.add_node()

    @property
    def has_wires(self) -> bool:
        """Whether its nodes can be cut off."""
        return self._network is not None

    @property
    def url(self) -> str:
        """Where the dashboard answers, and with it Ray Jobs."""
        return f"http://{HOST}:{self._dashboard_port}"

    @property
    def address(self) -> str:
        """What a driver in this process connects to: `ray.init(address=...)`."""
        return f"{self._ip}:{self._gcs_port}"

    @property
    def nodes(self) -> list[Any]:
        """The nodes beside the head, oldest first."""
        return self._plugged or sorted(self._cluster.worker_nodes, key=lambda node: node.node_id)

    def start_head(self) -> None:
        """Start the head, or a new one in place of one that was killed: it knows nothing of before."""
        self._start(
            gcs_server_port=self._gcs_port,
            include_dashboard=True,
            dashboard_host=HOST,
            dashboard_port=self._dashboard_port,
            dashboard_agent_listen_port=_free_port(),
        )
        self.wait_for_jobs()

    def add_node(self) -> Any:
        """Start one more node."""
        if self._network is None:
            return self._start()
        node = PluggedNode(self._network, self.address, self._share, self._folder)
        self._plugged.append(node)
        return node

    def kill_node(self, node: Any) -> None:
        """Kill a node as if its power had failed: everything that it started goes with it."""
        victims = _with_descendants(node)
        self._remove(node)
        _kill(victims)

    def cut_node(self, node: Any, seconds: float) -> None:
        """Cut a node off for so long. Where that ends it, as it should when the head has given it up, start another."""
        assert self._network is not None
        self._network.cut(node.place)
        time.sleep(seconds)
        self._network.mend(node.place)
        end = time.monotonic() + seconds
        while not node.dead_processes() and time.monotonic() < end:
            time.sleep(0.2)
        if node.dead_processes():
            self._remove(node)
            self.add_node()

    def kill_head(self, *, with_its_work: bool = False) -> None:
        """Kill the head's processes; what it had started as a node only goes too if that is asked for."""
        victims = _with_descendants(self._cluster.head_node) if with_its_work else []
        self._cluster.remove_node(self._cluster.head_node, allow_graceful=False)
        _kill(victims)

    def replace_lost_nodes(self, nodes: int = 3, seconds: float = 60) -> None:
        """Start new nodes for those that a new head does not know, when they have ended by themselves."""
        end = time.monotonic() + seconds
        for node in list(self.nodes):
            while not node.dead_processes() and time.monotonic() < end:
                time.sleep(0.2)
            self._remove(node)
        while len(self.nodes) < nodes - 1:
            self.add_node()

    def wait_for_jobs(self, seconds: float = 120) -> None:
        """Until Ray Jobs takes jobs: its agents come some time after the dashboard."""
        end = time.monotonic() + seconds
        while not self._takes_jobs():
            assert time.monotonic() < end, "Ray Jobs takes no jobs"
            time.sleep(0.2)

    def close(self) -> None:
        """End all nodes, and what they started."""
        nodes = [*self._cluster.list_all_nodes(), *self._plugged]
        victims = [process for node in nodes for process in _with_descendants(node)]
        with contextlib.suppress(Exception):
            self._cluster.shutdown()
        _kill([*victims, *self._processes()])
        for node in list(self._plugged):
            self._remove(node)
        os.environ.pop("RAY_TMPDIR", None)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _remove(self, node: Any) -> None:
        if isinstance(node, PluggedNode):
            self._plugged.remove(node)
            node.remove()
        else:
            self._cluster.remove_node(node, allow_graceful=False)

    def _start(self, **options: Any) -> Any:
        """Start a node; again where a busy machine took longer than Ray waits, without what is left of the first try."""
        common = {"node_ip_address": self._ip, "temp_dir": str(self._folder / "ray"), **self._share}
        for further in (3, 2, 1, 0):
            before = self._processes()
            try:
                return self._cluster.add_node(**common, **options)
            except Exception:  # Ray has no other for it
                if not further:
                    raise
                _kill(list(self._processes() - before))
        return None

    def _processes(self) -> set[psutil.Process]:
        """Everything that names the cluster's folder."""
        named = (
            one for one in psutil.process_iter(["cmdline"]) if str(self._folder) in " ".join(one.info["cmdline"] or ())
        )
        return set(named)

    def _takes_jobs(self) -> bool:
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/api/jobs/", b'{"entrypoint": "true"}', headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


class PluggedNode:
    """A node with a network of its own; told apart from Ray's own nodes by nobody but the cluster."""

    def __init__(self, network: Network, head: str, share: dict[str, int], logs: Path) -> None:
        self._network = network
        self.place: Place = network.plug()
        self._log = logs / f"{self.place.namespace}.log"
        options = [
            "--block", f"--address={head}", f"--node-ip-address={self.place.address}", "--disable-usage-stats",
            f"--num-cpus={share['num_cpus']}", f"--memory={share['memory']}",
            f"--object-store-memory={share['object_store_memory']}",
        ]  # fmt: skip
        self._command = [*self.place.enter, sys.executable, "-c", _START, "start", *options]
        self._process = self._begin()
        for _ in range(3):  # a busy machine takes longer than Ray waits
            if self._is_up():
                break
            self._process = self._begin()
        self.all_processes = {"start": [SimpleNamespace(process=self._process)]}

    def _begin(self) -> subprocess.Popen[bytes]:
        with self._log.open("wb") as out:
            return subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
            )

    def _is_up(self) -> bool:
        """Wait until it is there, or has ended."""
        while self._process.poll() is None:
            if b"Ray runtime started" in self._log.read_bytes():
                return True
            time.sleep(0.1)
        return False

    def dead_processes(self) -> list[int]:
        """Its first process, which ends when any of the others does."""
        return [] if self._process.poll() is None else [self._process.pid]

    def remove(self) -> None:
        """Kill what is left of it, and take its network away."""
        _kill(_with_descendants(self))
        self._process.kill()
        self._process.wait()
        self._network.unplug(self.place)


@contextlib.contextmanager
def ray_cluster(nodes: int = 3, **options: Any) -> Iterator[RayCluster]:
    """A cluster for the time of the block: `with ray_cluster() as cluster`."""
    cluster = RayCluster(nodes, **options)
    try:
        yield cluster
    finally:
        cluster.close()


def _with_descendants(node: Any) -> list[psutil.Process]:
    found: list[psutil.Process] = []
    for infos in node.all_processes.values():
        for info in infos:
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(info.process.pid)
                found += [process, *process.children(recursive=True)]
    return found


def _kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.Error):  # psutil looks at the start time: no stranger with the same id is hit
            process.send_signal(signal.SIGKILL)


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as listener:
        return int(listener.getsockname()[1])
