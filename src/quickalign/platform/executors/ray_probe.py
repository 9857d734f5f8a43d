"""Whether a node of the cluster sees the home and has quickalign: asked once for each cluster, by a small job."""

import secrets
import shlex
import time

from quickalign.core import atomic
from quickalign.core.errors import OptionError
from quickalign.platform.executors.ray_jobs import RayJob, RayJobs
from quickalign.platform.home import Home

_SECONDS = 60.0
_PAUSE_SECONDS = 0.3
_UNSEEN, _NOT_INSTALLED = 21, 22
_SHARE = {"memory": 1 << 20}
"""Next to nothing, but said: a job that reserves nothing always runs on the head."""


def check_nodes(jobs: RayJobs, home: Home, python: str, path: str | None) -> None:
    """Check that the cluster can run what lies in the home, unless that is known of this very cluster.

    One node stands for all; on the others every job looks for itself. A cluster without room says nothing.

    Raises:
        OptionError: it cannot, with what is missing. UnavailableError: it does not answer.
    """
    session, known = jobs.session(), home.root / "ray-cluster"
    if known.exists() and known.read_text(encoding="utf-8") == session:
        return
    name = f"quickalign-probe-{secrets.token_hex(6)}"
    mark = home.jobs / f".{name}"
    try:
        mark.touch()
        jobs.submit(name, _script(str(mark), python), {"PYTHONPATH": path} if path else {}, dict(_SHARE))
        job = _wait(jobs, name)
    finally:
        mark.unlink(missing_ok=True)
    if job is None:
        jobs.stop(name)
        return
    jobs.forget(name)
    _judge(job, home, python)
    atomic.write_text(known, session)


def _script(mark: str, python: str) -> str:
    seen = f"test -f {shlex.quote(mark)} || exit {_UNSEEN}"
    return f"{seen}; {shlex.quote(python)} -c 'import quickalign.platform' || exit {_NOT_INSTALLED}"


def _wait(jobs: RayJobs, name: str) -> RayJob | None:
    for _ in range(max(1, round(_SECONDS / _PAUSE_SECONDS))):
        job = jobs.find(name)
        if job is not None and job.is_over:
            return job
        time.sleep(_PAUSE_SECONDS)
    return None


def _judge(job: RayJob, home: Home, python: str) -> None:
    if job.exit_code == _UNSEEN:
        raise OptionError(
            f"The nodes of the Ray cluster do not see the home {home.root}.",
            "Put QUICKALIGN_HOME on a disk that all nodes have under the same path, such as NFS.",
            field="ray.address",
        )
    if job.exit_code == _NOT_INSTALLED:
        raise OptionError(
            f"The nodes of the Ray cluster have no quickalign at {python}.",
            "Install `quickalign[ray]` on all nodes, and set ray.python to the interpreter that has it.",
            field="ray.python",
            value=python,
        )
    if job.status == "FAILED":
        raise OptionError(f"The Ray cluster cannot run jobs: {job.message}", "Its own log says more.", field="ray")
