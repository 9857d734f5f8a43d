"""Waiting for a service: until it answers, serves a new revision, has its replicas, is stopped, or is gone."""

import time
from collections.abc import Callable

from quickalign.core.errors import ConflictError
from quickalign.core.wire.services import Removal, Service, ServiceState
from quickalign.sdk.problems import error_of_service
from quickalign.sdk.service_calls import Services

Condition = Callable[[Service], bool]
"""Whether a service is as wanted; raises where it can no longer become so."""

Show = Callable[[Service], None]
"""Told how a service stands, each time it was looked at."""

_LOOK_SECONDS = 0.25

_LEAVING = (ServiceState.STOPPING, ServiceState.STOPPED, ServiceState.DELETING, ServiceState.DELETED)


def wait_until(services: Services, service: Service, holds: Condition, *, show: Show | None = None) -> Service:
    """Look at a service until the condition holds; returns how it stands then.

    Raises:
        QuickalignError: it can no longer hold.
    """
    while True:
        if show:
            show(service)
        if holds(service):
            return service
        time.sleep(_LOOK_SECONDS)
        service = services.get(service.id)


def answers(service: Service) -> bool:
    """It is running: a replica of the wanted revision has proved itself.

    Raises:
        QuickalignError: it failed. ConflictError: somebody stopped or deleted it.
    """
    _refuse_failure(service)
    if service.state in _LEAVING:
        stops = service.state in (ServiceState.STOPPING, ServiceState.STOPPED)
        raise ConflictError(
            f"Service {service.name} is {service.state.value}.",
            f"`quickalign services start {service.name}`." if stops else "Make a new one.",
        )
    return service.state is ServiceState.RUNNING


def serves(revision: int) -> Condition:
    """It answers with that revision.

    Raises:
        QuickalignError: the revision failed its checks; the one before goes on serving.
    """

    def holds(service: Service) -> bool:
        for each in service.revisions:
            if each.number == revision and each.state == "failed":
                raise error_of_service(service.name, each.reason or service.reason, revision)
        return answers(service) and service.revision == revision

    return holds


def has_replicas(count: int) -> Condition:
    """So many replicas are ready, and no others are left."""

    def holds(service: Service) -> bool:
        ready = [replica for replica in service.replicas if replica.state == "ready"]
        return answers(service) and len(ready) == count == len(service.replicas)

    return holds


def is_stopped(service: Service) -> bool:
    """It has no process any more, and can be started again."""
    _refuse_failure(service)
    if service.state in (ServiceState.DELETING, ServiceState.DELETED):
        raise ConflictError(f"Service {service.name} is {service.state.value}.")
    return service.state is ServiceState.STOPPED


def is_deleted(service: Service) -> bool:
    """It is gone, and what it held was found to be free."""
    return service.state is ServiceState.DELETED


def delete(services: Services, name: str, *, wait: bool = True, show: Show | None = None) -> Removal | None:
    """Delete a service, and wait until what it held is free; returns what that was."""
    service = services.delete(name)
    return wait_until(services, service, is_deleted, show=show).removal if wait else None


class Teller:
    """Says how a service stands when that has changed.

    Args:
        say: what takes a line.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._told = ""

    def __call__(self, service: Service) -> None:
        """See `Show`."""
        if (line := standing(service)) != self._told:
            self._told = line
            self._say(line)


def standing(service: Service) -> str:
    """State and reason on one line, with the replicas' own reasons where the service has none."""
    reasons = [service.reason, *(replica.reason for replica in service.replicas)]
    why = next((reason.message for reason in reasons if reason), None)
    return service.state.value + (f": {why}" if why else "")


def _refuse_failure(service: Service) -> None:
    if service.state is ServiceState.FAILED:
        raise error_of_service(service.name, service.reason)
