"""The tables of services: what is wanted, its revisions, the processes that answer, what happened, and tokens."""

from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from quickalign.platform.db.tables import BIG, Base, Json


class ServiceRow(Base):
    """A service. `version` fences: it grows with every change, and a conclusion holds only while it is the same.

    `taken_name` is the name while nobody else may have it. `revision` answers, `target` is wanted. `idle` says that it
    was stopped for want of requests. `token_generation` counts rotations of its own token. `removal` gathers what
    deleting it has freed.
    """

    __tablename__ = "services"
    __table_args__ = (Index("ix_services_state", "state", "number"),)

    number: Mapped[int] = mapped_column(BIG, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(40), unique=True)
    name: Mapped[str] = mapped_column(String(63), index=True)
    taken_name: Mapped[str | None] = mapped_column(String(63), unique=True)
    state: Mapped[str] = mapped_column(String(20))
    reason: Mapped[Json | None]
    version: Mapped[int] = mapped_column(default=0)
    revision: Mapped[int | None]
    target: Mapped[int]
    wanted_replicas: Mapped[int]
    gpus: Mapped[int]
    limits: Mapped[Json]
    idle_stop_seconds: Mapped[float | None]
    idle: Mapped[bool] = mapped_column(default=False)
    labels: Mapped[Json]
    token_generation: Mapped[int] = mapped_column(default=1)
    events: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[float]
    updated_at: Mapped[float]
    last_request_at: Mapped[float | None]
    removal: Mapped[Json | None]


class RevisionRow(Base):
    """What a service serves, frozen when it was asked for. `job` is whose folder that is; `proof` holds `checks`.

    `shared_key` is equal for revisions that share a base; `shared_base` is its name, `shared_bytes` what of
    `memory_bytes` it takes.
    """

    __tablename__ = "service_revisions"

    service: Mapped[int] = mapped_column(ForeignKey("services.number", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    spec: Mapped[Json]
    source: Mapped[Json]
    job: Mapped[str | None] = mapped_column(String(40), index=True)
    state: Mapped[str] = mapped_column(String(20))
    proven: Mapped[bool] = mapped_column(default=False)
    memory_bytes: Mapped[int] = mapped_column(BIG)
    shared_key: Mapped[str | None] = mapped_column(String(64))
    shared_base: Mapped[str | None] = mapped_column(Text)
    shared_bytes: Mapped[int | None] = mapped_column(BIG)
    engine: Mapped[str | None] = mapped_column(String(40))
    precision: Mapped[str | None] = mapped_column(String(80))
    context: Mapped[int | None]
    weights_bytes: Mapped[int | None] = mapped_column(BIG)
    proof: Mapped[Json | None]
    reason: Mapped[Json | None]
    created_at: Mapped[float]


class ReplicaRow(Base):
    """A process of a service, or one that should be. `attempt` and `lease_token` fence as those of a job do.

    `memory_bytes` is reserved, `held_bytes` was measured. `crashes` counts starts in a row that did not get ready.
    `processes` holds the `identities` of those that were last seen, `answers` is how many it takes at once. `keeper` is
    who keeps the base that it shares, with `identities` of its own.
    """

    __tablename__ = "service_replicas"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    service: Mapped[int] = mapped_column(ForeignKey("services.number", ondelete="CASCADE"), index=True)
    revision: Mapped[int]
    state: Mapped[str] = mapped_column(String(20), index=True)
    reason: Mapped[Json | None]
    device: Mapped[int | None]
    gpus: Mapped[int]
    memory_bytes: Mapped[int] = mapped_column(BIG)
    held_bytes: Mapped[int | None] = mapped_column(BIG)
    attempt: Mapped[int] = mapped_column(default=0)
    lease_token: Mapped[str | None] = mapped_column(String(64))
    restarts: Mapped[int] = mapped_column(default=0)
    crashes: Mapped[int] = mapped_column(default=0)
    deadline_at: Mapped[float | None]
    retry_at: Mapped[float | None]
    pid: Mapped[int | None]
    processes: Mapped[Json | None]
    keeper: Mapped[Json | None]
    endpoint: Mapped[str | None] = mapped_column(String(100))
    answers: Mapped[int | None]
    ready_at: Mapped[float | None]
    created_at: Mapped[float]


class ServiceEventRow(Base):
    """Something that happened to a service."""

    __tablename__ = "service_events"

    service: Mapped[int] = mapped_column(ForeignKey("services.number", ondelete="CASCADE"), primary_key=True)
    sequence: Mapped[int] = mapped_column(primary_key=True)
    created_at: Mapped[float]
    kind: Mapped[str] = mapped_column(String(40))
    message: Mapped[str] = mapped_column(Text)
    data: Mapped[Json]


class ServiceTokenRow(Base):
    """A named token of a service; only its SHA-256 is known here."""

    __tablename__ = "service_tokens"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    service: Mapped[int] = mapped_column(ForeignKey("services.number", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(100))
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[float]
    revoked_at: Mapped[float | None]
