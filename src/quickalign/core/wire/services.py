"""Services on the wire: a named model behind an OpenAI-compatible endpoint."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, model_validator

from quickalign.core.hyperparameters import Precision
from quickalign.core.wire.base import Timestamp, Wire
from quickalign.core.wire.jobs import Reason

ServiceName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([a-z0-9_.-]*[a-z0-9])?$")]
EngineChoice = Literal["auto", "transformers", "openvino", "vllm"]
Weights = Literal["auto", "int8", "int4"]
SHARE_BASE = "Whether services of one base share it in memory (vLLM); if unset, on a GPU where it was not quantised."


class ServiceState(StrEnum):
    """Where a service stands; `platform.services.states` holds the table of allowed moves."""

    PENDING = "pending"
    STARTING = "starting"
    RUNNING = "running"
    UPDATING = "updating"
    STOPPING = "stopping"
    STOPPED = "stopped"
    DELETING = "deleting"
    DELETED = "deleted"
    FAILED = "failed"


class Source(Wire):
    """What is served: the result of a job (or one of its checkpoints), or a model with or without an adapter."""

    job: str | None = Field(default=None, description="A job's id, or the `ft:` id of its model.")
    checkpoint: int | None = Field(default=None, ge=1, description="A step of the job whose checkpoint is served.")
    model: str | None = Field(default=None, max_length=500, description="A card's name, a repository, or a folder.")
    model_revision: str | None = Field(default=None, max_length=200)
    adapter: str | None = Field(default=None, max_length=2000, description="A folder of an adapter on the model.")

    @model_validator(mode="after")
    def _one(self) -> "Source":
        if (self.job is None) == (self.model is None and self.adapter is None):
            raise ValueError("give either a job, or a model and/or an adapter")
        if self.checkpoint is not None and self.job is None:
            raise ValueError("a checkpoint needs the job that it belongs to")
        if self.model_revision is not None and self.model is None:
            raise ValueError("model_revision needs a model")
        return self


class Autoscaling(Wire):
    """How many replicas a cluster keeps: as many as the open requests need, between two bounds."""

    min: int = Field(default=1, ge=0, le=1000, description="Replicas that stay; 0 keeps none while nobody asks.")
    max: int = Field(ge=1, le=1000, description="The most replicas.")
    ongoing_requests: int = Field(
        default=8, ge=1, le=1024, description="Open requests that one replica should have; more make more replicas."
    )
    quiet_seconds: float = Field(
        default=300, ge=1, le=86_400, description="How long there must be less to do before a replica goes."
    )

    @model_validator(mode="after")
    def _ordered(self) -> "Autoscaling":
        if self.min > self.max:
            raise ValueError(f"min is {self.min} and max is {self.max}; min must not be above max")
        return self


class RevisionSpec(Wire):
    """What an update can change: the model and how it is computed. A change makes a new revision."""

    source: Source
    engine: EngineChoice = Field(default="auto", description="auto takes the best that is installed, and says which.")
    precision: Precision = Field(default="auto", description="auto takes the training's where the device has it.")
    weights: Weights = Field(default="auto", description="auto keeps the precision; int8 and int4 are weights only.")
    system_prompt: str | None = Field(default=None, description="Replaces the training's; empty adds none.")
    context: int | None = Field(default=None, ge=8, le=1_048_576, description="Tokens of prompt and answer together.")
    max_concurrency: int = Field(default=16, ge=1, le=1024, description="Answers a replica computes at once.")
    max_waiting: int = Field(default=64, ge=0, le=100_000, description="Answers that may wait; beyond them 429.")
    share_base: bool | None = Field(default=None, description=SHARE_BASE)
    autoscaling: Autoscaling | None = Field(
        default=None, description="On a cluster: how many replicas there are. Without it, one."
    )


class Limits(Wire):
    """What one token may ask of the gateway."""

    requests_per_minute: int | None = Field(default=None, ge=1)
    concurrency: int | None = Field(default=None, ge=1)


class ServiceCreate(Wire):
    """A new service. Send an `Idempotency-Key` to be able to send it again."""

    name: ServiceName
    spec: RevisionSpec
    replicas: int = Field(default=1, ge=1, le=64)
    gpus: int | None = Field(default=None, ge=0, le=64, description="GPUs a replica; one where there are any.")
    limits: Limits = Limits()
    idle_stop_seconds: float | None = Field(
        default=None, ge=1, description="Stop after so long without a request, and start with the next one."
    )
    metadata: dict[str, str] = Field(default={}, max_length=16)


class ServiceUpdate(Wire):
    """Changes. What is left out stays. A change of `spec` starts a new revision beside the old one."""

    spec: RevisionSpec | None = None
    replicas: int | None = Field(default=None, ge=1, le=64)
    limits: Limits | None = None
    idle_stop_seconds: float | None = Field(default=None, ge=1)
    metadata: dict[str, str] | None = Field(default=None, max_length=16)


class Check(Wire):
    """One check of the proof that a replica serves what was trained."""

    name: str
    passed: bool
    seen: str


class Revision(Wire):
    """A revision: what it serves, and what its first replica has proved."""

    number: int
    spec: RevisionSpec
    state: Literal["starting", "serving", "retired", "failed"]
    engine: str | None = Field(default=None, description="The engine that `auto` became.")
    precision: str | None = None
    model_path: str | None = None
    adapter_path: str | None = None
    context: int | None = None
    weights_bytes: int | None = None
    shared_base: str | None = Field(default=None, description="The base that it shares with other services of it.")
    proof: tuple[Check, ...] = ()
    reason: Reason | None = Field(default=None, description="Why it failed.")
    created_at: Timestamp


class ReplicaView(Wire):
    """One process of a service."""

    id: str
    revision: int
    state: Literal["waiting", "starting", "ready", "backing_off", "stopping"]
    device: str | None = None
    pid: int | None = None
    keeper: int | None = Field(default=None, description="The process that keeps the base it shares.")
    port: int | None = None
    restarts: int = 0
    memory_bytes: int | None = None
    ready_at: Timestamp | None = None
    reason: Reason | None = None


class Removal(Wire):
    """What deleting a service has freed, each found gone by looking."""

    processes: tuple[int, ...] = Field(description="Processes that are gone.")
    ports: tuple[int, ...] = Field(description="Ports at which nobody listens any more.")
    memory_bytes: int = Field(description="What the processes held.")
    folder: str = Field(description="The folder that is gone.")


class Service(Wire):
    """A service as it stands."""

    id: str
    name: str
    state: ServiceState
    reason: Reason | None = None
    revision: int | None = Field(default=None, description="The revision that answers.")
    target: int = Field(description="The revision that is wanted.")
    revisions: tuple[Revision, ...] = Field(description="Newest first.")
    wanted_replicas: int
    replicas: tuple[ReplicaView, ...] = ()
    limits: Limits = Limits()
    idle_stop_seconds: float | None = None
    metadata: dict[str, str] = Field(default={})
    path: str = Field(description="Where it answers on this server: `/services/{name}/v1`.")
    created_at: Timestamp
    updated_at: Timestamp
    last_request_at: Timestamp | None = None
    removal: Removal | None = Field(default=None, description="With a deleted service: what was freed.")


class ServiceToken(Wire):
    """A named token that opens one service."""

    id: str
    name: str
    created_at: Timestamp
    revoked_at: Timestamp | None = None


class ServiceTokenSecret(Wire):
    """A token with its text."""

    token: str
    id: str | None = Field(default=None, description="Null for the service's own token.")


class ServiceMetrics(Wire):
    """What the gateway has counted for a service since the server started."""

    requests: int
    errors: int
    open_requests: int
    tokens_out: int
    time_to_first_token_p50: float | None = Field(default=None, description="Seconds.")
    time_to_first_token_p95: float | None = None
    tokens_per_second: float | None = Field(default=None, description="Of one answer, at the median.")
