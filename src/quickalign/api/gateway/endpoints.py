"""What the gateway asks of the platform: `platform.services.endpoints`."""

from collections.abc import Callable
from typing import Protocol

from quickalign.core.wire.services import ServiceMetrics
from quickalign.platform.services.routes import Route


class Endpoints(Protocol):
    """Services as they stand, in memory: none of these calls waits for anything."""

    open_requests: Callable[[str], int]
    """Given by the gateway: how many requests are open at a replica. An old one is kept until it says 0."""

    metrics: Callable[[str], ServiceMetrics]
    """Given by the gateway: what was counted for a service."""

    def find(self, name: str) -> Route | None:
        """The service with this name, id, or name of a trained model."""

    def all(self) -> tuple[Route, ...]:
        """Every service that is not deleted."""

    def verify(self, service_id: str, text: str) -> str | None:
        """The name of the token that opens this service; None where the text is none."""

    def touch(self, service_id: str) -> None:
        """Tell that a request came. A service that was stopped for idleness starts."""

    def sleeps(self, service_id: str) -> bool:
        """Whether a service is stopped for want of requests, and starts with the next one."""

    def broken(self, replica_id: str) -> None:
        """Tell that a replica failed at a request."""
