"""The job state machine as data: which state may follow which, and which states must not last."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from quickalign.core.wire.jobs import JobState

S = JobState

MOVES: Mapping[JobState, frozenset[JobState]] = MappingProxyType(
    {
        # A queued job is started, or a user takes it out; it fails where its inputs are gone.
        S.QUEUED: frozenset({S.STARTING, S.PAUSED, S.CANCELLED, S.FAILED}),
        # Back to the queue: it never began, or crashed at once.
        S.STARTING: frozenset({S.RUNNING, S.QUEUED, S.PAUSING, S.CANCELLING, S.SUCCEEDED, S.FAILED}),
        # Back to the queue: it crashed and goes on from its last checkpoint.
        S.RUNNING: frozenset({S.QUEUED, S.PAUSING, S.CANCELLING, S.SUCCEEDED, S.FAILED}),
        # A run may finish, or fail by itself, before it hears that it should pause.
        S.PAUSING: frozenset({S.PAUSED, S.CANCELLING, S.SUCCEEDED, S.FAILED}),
        S.PAUSED: frozenset({S.RESUMING, S.CANCELLED}),
        S.RESUMING: frozenset({S.QUEUED, S.PAUSED, S.CANCELLED}),
        S.CANCELLING: frozenset({S.CANCELLED, S.SUCCEEDED}),
        S.SUCCEEDED: frozenset(),
        # What made it fail may be gone: a full disk, an expired key, a broken driver. Its checkpoints are still there.
        S.FAILED: frozenset({S.RESUMING}),
        S.CANCELLED: frozenset(),
    }
)

Limit = Literal["start_seconds", "stop_seconds"]

DEADLINES: Mapping[JobState, Limit] = MappingProxyType(
    {S.STARTING: "start_seconds", S.RESUMING: "start_seconds", S.PAUSING: "stop_seconds", S.CANCELLING: "stop_seconds"}
)
"""The setting that limits each transitional state."""

OCCUPYING = frozenset({S.STARTING, S.RUNNING, S.PAUSING, S.CANCELLING})
"""States in which a process may exist, so that its device counts as taken."""

FINAL = frozenset(state for state in S if state.is_final)


def is_allowed(before: JobState, after: JobState) -> bool:
    """Whether `after` may follow `before`."""
    return after in MOVES[before]
