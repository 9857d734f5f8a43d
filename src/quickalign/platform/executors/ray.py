"""The executor of a Ray cluster: Ray finds the place and starts the wrapper there; all else is known by files.

Ray's word counts only as long as nobody has claimed an attempt. What Ray has forgotten, because its head was lost, it
is told again: the claim lets only one wrapper run, whoever started it. The home must lie on a disk that all nodes
share.
"""

import hashlib
import logging
import re
import shlex
import signal
import sys
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path

from quickalign.core.errors import QuickalignError
from quickalign.platform.executors import records
from quickalign.platform.executors.base import Attempt, Launch, Observation, Phase, Recovery
from quickalign.platform.executors.files import FileExecutor, lease_of, mark_of
from quickalign.platform.executors.local import WRAPPER
from quickalign.platform.executors.pulse import Pulse
from quickalign.platform.executors.ray_jobs import Node, RayJob, RayJobs
from quickalign.platform.executors.records import Claim, Lease, Share
from quickalign.platform.executors.wrapper import APART, CRASHED
from quickalign.platform.processes import Identity, marked, members, place, send

_LOG = logging.getLogger(__name__)
FENCE_SECONDS = 20.0
"""A wrapper that could not touch its heartbeat for so long has ended its command."""
GONE_SECONDS = 60.0
"""A heartbeat that stands still for so long is given up: three times that, for clocks and disks that lag."""
_DRIVER_BYTES = 512 << 20
"""What the driver of several workers takes by itself. It takes no CPU: it waits for them."""
_KEPT_SECONDS = 60.0
"""How long Ray keeps a job that is over, for those who look at its dashboard."""
_ENVIRONMENT = {"RAY_DEDUP_LOGS": "0", "RAY_USAGE_STATS_ENABLED": "0"}
_LOST = frozenset({"RUNTIME_ENV_SETUP_FAILURE", "JOB_ENTRYPOINT_COMMAND_ERROR", "JOB_ENTRYPOINT_COMMAND_START_ERROR"})
"""Ends of which another try by Ray would say the same; after all others, Ray is told again."""


class RayExecutor(FileExecutor):
    """Runs attempts as Ray Jobs.

    Args:
        root: a folder for each thing it runs, on a disk that all nodes share.
        python: the interpreter on the nodes, with quickalign installed.
        cpus: what a job reserves, and so the threads it computes with.
        path: `PYTHONPATH` on the nodes.
        here: where process ids mean what they mean here.
    """

    def __init__(
        self,
        root: Path,
        jobs: RayJobs,
        *,
        python: str = sys.executable,
        cpus: float = 1.0,
        path: str | None = None,
        here: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(root)
        self._jobs, self._python, self._cpus = jobs, python, cpus
        self._environment = _ENVIRONMENT | ({"PYTHONPATH": path} if path else {})
        self._here = place() if here is None else here
        self._pulse, self._clock = Pulse(clock), clock
        self._over: deque[tuple[float, str]] = deque()

    def observe(self, attempt: Attempt) -> Observation:
        """See `Executor`."""
        seen = super().observe(attempt)
        name = self._name(attempt)
        if seen.phase in (Phase.FINISHED, Phase.VANISHED, Phase.NEVER_RAN):
            if seen.phase is not Phase.VANISHED:  # which is known by the heartbeat alone, and must stay so
                self._pulse.forget(self._folder(attempt) / records.HEARTBEAT)
            if all(name != other for _, other in self._over):
                self._over.append((self._clock() + _KEPT_SECONDS, name))
        return seen

    def cancel(self, attempt: Attempt, *, force: bool) -> None:
        """See `Executor`. It is asked by a file, wherever it runs, and by a signal where it runs here."""
        claim = self._claim(attempt)
        if claim is None or claim.wrapper is None:
            return
        records.touch(self._folder(attempt) / (records.KILL if force else records.STOP))
        if claim.place == self._here:
            super().cancel(attempt, force=force)

    def processes(self, attempt: Attempt) -> tuple[Identity, ...]:
        """See `Executor`. Of an attempt on another machine: its wrapper and its command, while they beat."""
        claim = self._claim(attempt)
        if claim is None or claim.wrapper is None:
            return ()
        if claim.place == self._here:
            return members(claim.wrapper, mark_of(attempt))
        if self.observe(attempt).phase is not Phase.RUNNING:
            return marked(mark_of(attempt))
        return (claim.wrapper, claim.child) if claim.child else (claim.wrapper,)

    def recover(self, attempt: Attempt) -> Recovery:
        """See `Executor`. Ray need not answer for that; it is told, so that it does not start what would not run."""
        answer = super().recover(attempt)
        if answer is Recovery.REQUEUE:
            _quietly(lambda: self._jobs.stop(self._name(attempt)))
        return answer

    def _lease(self, attempt: Attempt, launch: Launch) -> Lease:
        several = launch.workers > 1
        on_gpu = launch.gpus > 0 and not several
        # models and reference log-probs lie in the home, which the nodes share, and not in each node's own
        environment = {"QUICKALIGN_HOME": str(self._root.parent)}
        if not on_gpu:
            environment["CUDA_VISIBLE_DEVICES"] = ""
        lease = lease_of(attempt, launch, environment)
        command = lease.command
        if command[0] == sys.executable:
            command = (self._python, *command[1:])
        # Memory of a job with a GPU is the card's, and Ray counts that of the machine.
        memory = _DRIVER_BYTES if several else 0 if on_gpu else launch.memory_bytes
        cpus = 0.0 if several else launch.cpus * self._cpus
        share = Share(cpus=cpus, gpus=0 if several else launch.gpus, memory_bytes=memory)
        values = {"command": command, "fence_seconds": FENCE_SECONDS, "yields": on_gpu or several, "share": share}
        return lease.model_copy(update=values)

    def _begin(self, attempt: Attempt, folder: Path) -> None:
        """Tell Ray; where it does not answer now, `observe` tells it later."""
        while self._over and self._over[0][0] < self._clock():  # Ray keeps them for ever otherwise
            name = self._over.popleft()[1]
            _quietly(partial(self._jobs.forget, name))
        lease = records.read(folder / records.LEASE, Lease)
        if lease is not None:
            _quietly(lambda: self._tell(attempt, lease))

    def _tell(self, attempt: Attempt, lease: Lease) -> None:
        command = [self._python, "-m", WRAPPER, str(self._folder(attempt)), attempt.lease_token, APART]
        wanted = lease.share or Share()
        share = {"num_cpus": wanted.cpus, "num_gpus": wanted.gpus, "memory": wanted.memory_bytes}
        self._jobs.submit(self._name(attempt), shlex.join(command), self._environment, share)

    def _unclaimed(self, attempt: Attempt) -> Observation:
        """Nobody has claimed it: see what Ray has made of it, and tell Ray again what it has forgotten."""
        lease = records.read(self._folder(attempt) / records.LEASE, Lease)
        if lease is None or lease.lease_token != attempt.lease_token:
            return Observation(Phase.WAITING)
        try:
            job = self._jobs.find(self._name(attempt))
            if job is None:
                self._tell(attempt, lease)
                return Observation(Phase.PENDING, message="The Ray cluster was told to start it.")
            if job.status == "PENDING":
                return Observation(Phase.PENDING, message=lacking(lease.share or Share(), self._jobs.nodes()))
            return self._settle(attempt, job) if job.is_over else Observation(Phase.WAITING)
        except QuickalignError as error:
            return Observation(Phase.PENDING, message=error.message)

    def _settle(self, attempt: Attempt, job: RayJob) -> Observation:
        """Ray is done with it, and nobody has claimed it."""
        if job.status == "FAILED" and job.error_type not in _LOST:  # a node was lost, or it waited too long for Ray
            self._jobs.forget(self._name(attempt))
            return Observation(Phase.PENDING, message=f"The Ray cluster did not start it: {_sentence(job.message)}")
        if super().recover(attempt) is not Recovery.REQUEUE:
            return Observation(Phase.WAITING)  # claimed just now
        if job.status == "FAILED":
            return Observation(Phase.FINISHED, exit_code=CRASHED, message=job.message)
        return Observation(Phase.NEVER_RAN)

    def _claimed(self, attempt: Attempt, claim: Claim, wrapper: Identity) -> Observation:
        if claim.place == self._here:
            return super()._claimed(attempt, claim, wrapper)
        still = self._pulse.still_seconds(self._folder(attempt) / records.HEARTBEAT)
        if still is None:
            return Observation(Phase.UNKNOWN)
        if still <= GONE_SECONDS:
            return Observation(Phase.RUNNING, silent_seconds=still)
        # Its wrapper has ended its command by now, if it lives; should it come back, it finds that it must not run.
        records.touch(self._folder(attempt) / records.KILL)
        return self._ended(attempt) or self._after_wrapper(attempt, claim)

    def _after_wrapper(self, attempt: Attempt, claim: Claim) -> Observation:
        """What it has left here, as workers that a driver elsewhere had, must be gone too."""
        orphans = marked(mark_of(attempt))
        for one in orphans:
            send(one, signal.SIGKILL)
        if orphans:
            return Observation(Phase.UNKNOWN)
        return super()._after_wrapper(attempt, claim)

    def _name(self, attempt: Attempt) -> str:
        """The attempt's name in Ray: the same each time, so that telling Ray twice starts nothing twice."""
        job = re.sub(r"[^A-Za-z0-9_-]", "-", attempt.job)
        digest = hashlib.blake2b(f"{self._folder(attempt)} {attempt.lease_token}".encode(), digest_size=8)
        return f"quickalign-{job}-{attempt.number}-{digest.hexdigest()}"


def lacking(share: Share, nodes: list[Node]) -> str:
    """Why a job that takes `share` waits, in a sentence."""
    parts = [f"{share.cpus:g} CPUs"] if share.cpus else []
    parts += [f"{share.gpus} GPUs"] if share.gpus else []
    parts += [f"{share.memory_bytes / 1e9:.1f} GB of memory"] if share.memory_bytes else []
    wanted = " and ".join(parts) or "it"
    if any(_holds(node, share) for node in nodes):
        return f"No node of the Ray cluster has {wanted} free now."
    return f"None of the {len(nodes)} nodes of the Ray cluster has {wanted}; it waits for one that has."


def _holds(node: Node, share: Share) -> bool:
    return node.cpus >= share.cpus and node.gpus >= share.gpus and node.memory_bytes >= share.memory_bytes


def _quietly(call: Callable[[], None]) -> None:
    """Ask Ray for something that can also be done later, or need not be: where it fails, the log says why."""
    try:
        call()
    except QuickalignError as error:
        _LOG.warning("%s", error)


def _sentence(message: str) -> str:
    return message.strip().splitlines()[0] if message.strip() else "it did not say why."
