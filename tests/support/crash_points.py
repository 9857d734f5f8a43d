"""Every moment of a job's life at which a process can be made to die, and what brings a process there.

A test holds that this table names just the points that there are in the source, so that a new statement of a transition
cannot escape the chaos.
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

PACKAGE = Path(__file__).resolve().parents[2] / "src" / "quickalign"

PROVOKED_BY: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("blob.written", "blob.stored", "job.create.frozen", "job.create.done"), "create"),
        **dict.fromkeys(("reconciler.announced", "local.leased", "local.spawned", "reconciler.started"), "create"),
        **dict.fromkeys(("wrapper.before_claim", "wrapper.claimed", "wrapper.spawned"), "create"),
        **dict.fromkeys(("wrapper.child_ended", "wrapper.before_exit", "wrapper.after_exit"), "create"),
        **dict.fromkeys(("reconciler.before_running", "reconciler.after_running", "reconciler.news"), "create"),
        **dict.fromkeys(("reconciler.before_succeeded", "reconciler.after_succeeded"), "create"),
        **dict.fromkeys(("reconciler.before_failed", "reconciler.after_failed"), "fail"),
        **dict.fromkeys(("job.paused", "reconciler.before_paused", "reconciler.after_paused"), "pause"),
        "reconciler.signalled": "pause",
        **dict.fromkeys(("job.resumed", "reconciler.before_queued", "reconciler.after_queued"), "resume"),
        **dict.fromkeys(("job.cancelled", "reconciler.before_cancelled", "reconciler.after_cancelled"), "cancel"),
        **dict.fromkeys(("reconciler.crash_seen", "reconciler.crash_done"), "crash"),
        **dict.fromkeys(("job.delete.moved", "job.delete.rows"), "delete"),
        "local.revoked": "orphan",
    }
)
