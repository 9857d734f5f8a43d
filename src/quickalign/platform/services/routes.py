"""Where requests for a service go: what the gateway knows of it, in memory."""

from dataclasses import dataclass

from quickalign.core.wire.jobs import Reason
from quickalign.core.wire.services import Limits, ServiceState


@dataclass(frozen=True, slots=True)
class Upstream:
    """A replica that is ready. `limit` is how many answers it takes at once, the waiting ones too."""

    replica_id: str
    revision: int
    base_url: str
    token: str
    limit: int


@dataclass(frozen=True, slots=True)
class Route:
    """A service with the ready replicas of the revision that serves."""

    service_id: str
    name: str
    state: ServiceState
    reason: Reason | None
    limits: Limits
    replicas: tuple[Upstream, ...]
    model_names: tuple[str, ...]
