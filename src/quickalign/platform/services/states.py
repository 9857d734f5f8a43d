"""The state machines of services and of replicas as data: which state may follow which, and which must not last."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Literal

from quickalign.core.wire.services import ServiceState

S = ServiceState


class ReplicaState(StrEnum):
    """Where a replica stands. Its row goes when its process is proven gone."""

    WAITING = "waiting"
    STARTING = "starting"
    READY = "ready"
    BACKING_OFF = "backing_off"
    STOPPING = "stopping"


R = ReplicaState

MOVES: Mapping[ServiceState, frozenset[ServiceState]] = MappingProxyType(
    {
        # No replica of what is wanted has a place yet.
        S.PENDING: frozenset({S.STARTING, S.STOPPING, S.DELETING, S.FAILED}),
        S.STARTING: frozenset({S.PENDING, S.RUNNING, S.UPDATING, S.STOPPING, S.DELETING, S.FAILED}),
        # Back to starting: all of its replicas crashed, and are started again.
        S.RUNNING: frozenset({S.STARTING, S.UPDATING, S.STOPPING, S.DELETING}),
        # The old revision answers while the new one starts; it goes on where the new one fails.
        S.UPDATING: frozenset({S.RUNNING, S.STARTING, S.STOPPING, S.DELETING}),
        S.STOPPING: frozenset({S.STOPPED, S.PENDING, S.DELETING}),
        S.STOPPED: frozenset({S.PENDING, S.DELETING}),
        S.FAILED: frozenset({S.PENDING, S.STOPPING, S.DELETING}),
        S.DELETING: frozenset({S.DELETED}),
        S.DELETED: frozenset(),
    }
)

UP = frozenset({S.PENDING, S.STARTING, S.RUNNING, S.UPDATING})
"""States in which replicas are wanted."""

AT_REST = frozenset({S.STOPPED, S.FAILED, S.DELETED})
"""States in which nothing is to be done, once no replica is left."""

REPLICA_MOVES: Mapping[ReplicaState, frozenset[ReplicaState]] = MappingProxyType(
    {
        R.WAITING: frozenset({R.STARTING, R.STOPPING}),
        # Back to waiting: its process never began.
        R.STARTING: frozenset({R.READY, R.WAITING, R.BACKING_OFF, R.STOPPING}),
        R.READY: frozenset({R.BACKING_OFF, R.STOPPING}),
        R.BACKING_OFF: frozenset({R.WAITING, R.STOPPING}),
        R.STOPPING: frozenset(),
    }
)

Limit = Literal["service_start_seconds", "service_stop_seconds"]

DEADLINES: Mapping[ReplicaState, Limit] = MappingProxyType(
    {R.STARTING: "service_start_seconds", R.STOPPING: "service_stop_seconds"}
)
"""The setting that limits each transitional state; a service's own last as long as its replicas' do."""

OCCUPYING = frozenset({R.STARTING, R.READY, R.STOPPING})
"""States in which a process may exist, so that its memory counts as taken."""


def is_allowed(before: ServiceState, after: ServiceState) -> bool:
    """Whether `after` may follow `before`."""
    return after in MOVES[before]


def may_follow(before: ReplicaState, after: ReplicaState) -> bool:
    """Likewise for a replica."""
    return after in REPLICA_MOVES[before]
