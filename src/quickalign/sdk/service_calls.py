"""The calls of the native API about services, one method each, with the wire's types."""

import uuid
from collections.abc import Iterable, Iterator
from urllib.parse import quote

from quickalign.core.wire.base import Page
from quickalign.core.wire.jobs import Event, LogChunk
from quickalign.core.wire.pages import all_items
from quickalign.core.wire.services import (
    Service,
    ServiceCreate,
    ServiceMetrics,
    ServiceState,
    ServiceToken,
    ServiceTokenSecret,
    ServiceUpdate,
)
from quickalign.sdk.client import Client


class Services:
    """Services of a server. `name` is a service's name or its id; one that is deleted is known by its id alone."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def create(self, request: ServiceCreate, *, key: str | None = None) -> Service:
        """Make a service. The same `key` makes one however often it is sent; a fresh one is taken when None."""
        return self._client.post("/services", Service, request, key=key or uuid.uuid4().hex)

    def get(self, name: str) -> Service:
        """One service as it stands."""
        return self._client.get(_path(name), Service)

    def list(
        self,
        *,
        states: Iterable[ServiceState] = (),
        text: str | None = None,
        after: str | None = None,
        limit: int | None = None,
    ) -> Page[Service]:
        """A page of services, newest first; deleted ones only where their state is asked for."""
        query = {"state": [state.value for state in states] or None, "text": text}
        return self._client.get("/services", Page[Service], **query, after=after, limit=limit)

    def all(
        self, *, states: Iterable[ServiceState] = (), text: str | None = None, page_size: int = 100
    ) -> Iterator[Service]:
        """All services that match, newest first, fetched page by page."""
        wanted = tuple(states)
        return all_items(lambda after: self.list(states=wanted, text=text, after=after, limit=page_size))

    def update(self, name: str, changes: ServiceUpdate) -> Service:
        """Change what is set in `changes`; a change of `spec` starts a new revision beside the old one."""
        return self._client.patch(_path(name), Service, changes)

    def start(self, name: str) -> Service:
        """Start a service that is stopped."""
        return self._client.post(f"{_path(name)}/start", Service)

    def stop(self, name: str) -> Service:
        """Stop its processes until `start`; name, token and revisions stay."""
        return self._client.post(f"{_path(name)}/stop", Service)

    def rollback(self, name: str) -> Service:
        """Go back to the revision before the wanted one."""
        return self._client.post(f"{_path(name)}/rollback", Service)

    def delete(self, name: str) -> Service:
        """Delete a service; returns how it stands then. Ask by its id until it is `deleted`, with what was freed."""
        found = self.get(name)
        self._client.delete(_path(found.id))
        return self.get(found.id)

    def events(self, name: str, *, after: int = 0, limit: int | None = None) -> Page[Event]:
        """What happened, oldest first, after the event of number `after`."""
        return self._client.get(f"{_path(name)}/events", Page[Event], after=after, limit=limit)

    def logs(self, name: str, *, replica: str | None = None, offset: int = 0, limit: int | None = None) -> LogChunk:
        """A piece of the log, of one replica where one is named."""
        return self._client.get(f"{_path(name)}/logs", LogChunk, replica=replica, offset=offset, limit=limit)

    def metrics(self, name: str) -> ServiceMetrics:
        """What has been counted since the server started."""
        return self._client.get(f"{_path(name)}/metrics", ServiceMetrics)

    def token(self, name: str) -> str:
        """The service's own token."""
        return self._client.get(f"{_path(name)}/token", ServiceTokenSecret).token

    def rotate_token(self, name: str) -> str:
        """A new token of the service's own; the old one opens nothing from now on."""
        return self._client.post(f"{_path(name)}/token/rotate", ServiceTokenSecret).token

    def create_token(self, name: str, token_name: str) -> ServiceTokenSecret:
        """A token with a name, that opens this service alone; its text is shown this once."""
        return self._client.post(f"{_path(name)}/tokens", ServiceTokenSecret, {"name": token_name})

    def tokens(self, name: str) -> tuple[ServiceToken, ...]:
        """The tokens with names, without their texts."""
        return self._client.get(f"{_path(name)}/tokens", Page[ServiceToken]).items

    def revoke_token(self, name: str, token_id: str) -> None:
        """A token with a name opens nothing from now on."""
        self._client.delete(f"{_path(name)}/tokens/{quote(token_id, safe='')}")


def service_address(endpoint: str, service: Service) -> str:
    """Where a service is on its server: its chat page; requests go to `v1` below it."""
    return endpoint + service.path.removesuffix("/v1")


def _path(name: str) -> str:
    return f"/services/{quote(name, safe='')}"
