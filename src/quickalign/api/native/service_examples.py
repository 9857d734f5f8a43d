"""Values that the reference shows of services. Ids in paths become real ones where the examples run as tests."""

from quickalign.core.wire.base import Page
from quickalign.core.wire.jobs import Event, LogChunk, Reason
from quickalign.core.wire.services import (
    Check,
    Limits,
    ReplicaView,
    Revision,
    RevisionSpec,
    Service,
    ServiceCreate,
    ServiceMetrics,
    ServiceState,
    ServiceToken,
    ServiceTokenSecret,
    Source,
)

SERVICE_ID = "service-h6w2zq4nkt7cy3xv5mrb2dpe"
TOKEN_ID = "token-b4m7yq2zxk6cw3hv5trn4jpa"  # noqa: S105 - the name of one that was made up
_NOW = 1_790_000_000.0
_SPEC = RevisionSpec(source=Source(model="qwen2-tiny-instruct"), max_concurrency=8)

CREATE = ServiceCreate(name="support", spec=_SPEC, limits=Limits(requests_per_minute=600), metadata={"team": "support"})
UPDATE = {"replicas": 2, "limits": {"requests_per_minute": 1200}}
_REVISION = Revision(
    number=1,
    spec=_SPEC,
    state="serving",
    engine="transformers",
    precision="fp32",
    model_path="/opt/models/qwen2-tiny-instruct",
    context=512,
    weights_bytes=9_967_616,
    proof=(Check(name="answers", passed=True, seen="3 greedy answers are those of transformers."),),
    created_at=_NOW,
)
_REPLICA = ReplicaView(
    id="replica-k7x3vq5mzt2cw4hb6yrn3jpd",
    revision=1,
    state="ready",
    device="cpu",
    pid=4711,
    port=40_871,
    memory_bytes=620_000_000,
    ready_at=_NOW + 6,
)
SERVICE = Service(
    id=SERVICE_ID,
    name="support",
    state=ServiceState.RUNNING,
    revision=1,
    target=1,
    revisions=(_REVISION,),
    wanted_replicas=1,
    replicas=(_REPLICA,),
    limits=Limits(requests_per_minute=600),
    metadata={"team": "support"},
    path="/services/support/v1",
    created_at=_NOW,
    updated_at=_NOW + 6,
    last_request_at=_NOW + 90,
)
SERVICES = Page[Service](items=(SERVICE,), next=SERVICE_ID)
UPDATED = SERVICE.model_copy(update={"state": ServiceState.UPDATING, "target": 2})
STOPPING = SERVICE.model_copy(
    update={
        "state": ServiceState.STOPPING,
        "reason": Reason(code="user", message="It was stopped; start brings it back."),
    }
)
DELETING = SERVICE.model_copy(update={"state": ServiceState.DELETING})
EVENTS = Page[Event](
    items=(
        Event(sequence=1, created_at=_NOW, kind="state", message="The service is pending.", data={"to": "pending"}),
    ),
    next="1",
)
LOG = LogChunk(offset=0, next_offset=21, text='{"model": "support"}\n', complete=False)
METRICS = ServiceMetrics(
    requests=120,
    errors=0,
    open_requests=2,
    tokens_out=9_600,
    time_to_first_token_p50=0.04,
    time_to_first_token_p95=0.09,
    tokens_per_second=33.0,
)
_TEXT = "qs-Q1f2w3x4y5z6a7b8c9d0e1f2g3h4i5j6k7l8m9n0o1p"
OWN = ServiceTokenSecret(token=_TEXT)
SECRET = ServiceTokenSecret(token=_TEXT, id=TOKEN_ID)
TOKENS = Page[ServiceToken](items=(ServiceToken(id=TOKEN_ID, name="the support team", created_at=_NOW),))
