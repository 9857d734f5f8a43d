"""The tables. What a user asked for is kept as JSON; what is searched or compared has a column."""

from typing import Any

from sqlalchemy import JSON, BigInteger, Float, ForeignKey, Index, Integer, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

Json = dict[str, Any]
BIG = BigInteger().with_variant(Integer, "sqlite")
"""A number of 64 bits that counts up by itself as a key, in both databases."""


class Base(DeclarativeBase):
    """All tables."""

    type_annotation_map = {Json: JSON, float: Float(53)}  # noqa: RUF012 - how SQLAlchemy reads it


class JobRow(Base):
    """A job. `attempt` and `lease_token` fence: a result counts only where both still match.

    `number` counts jobs in the order they were made. `deadline_at` is when a transitional state is given up, `retry_at`
    when a crashed job may start again. `crashes` counts crashes since the last new checkpoint, `crash_step` is the step
    of that checkpoint. `journal_offset` is how far the run's events were taken over.
    """

    __tablename__ = "jobs"
    __table_args__ = (Index("ix_jobs_state_order", "state", "priority", "number"),)

    number: Mapped[int] = mapped_column(BIG, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(40), unique=True)
    kind: Mapped[str] = mapped_column(String(20))
    name: Mapped[str] = mapped_column(String(100))
    model: Mapped[str] = mapped_column(String(500), index=True)
    state: Mapped[str] = mapped_column(String(20))
    reason: Mapped[Json | None]
    request: Mapped[Json]
    gpus: Mapped[int]
    memory_bytes: Mapped[int] = mapped_column(BIG)
    device: Mapped[int | None]
    priority: Mapped[int]
    labels: Mapped[Json]
    max_retries: Mapped[int]
    attempt: Mapped[int] = mapped_column(default=0)
    lease_token: Mapped[str | None] = mapped_column(String(64))
    deadline_at: Mapped[float | None]
    retry_at: Mapped[float | None]
    crashes: Mapped[int] = mapped_column(default=0)
    crash_step: Mapped[int] = mapped_column(default=0)
    events: Mapped[int] = mapped_column(default=0)
    journal_offset: Mapped[int] = mapped_column(BIG, default=0)
    progress: Mapped[Json | None]
    created_at: Mapped[float]
    started_at: Mapped[float | None]
    finished_at: Mapped[float | None]
    model_path: Mapped[str | None] = mapped_column(Text)
    adapter_sha256: Mapped[str | None] = mapped_column(String(64))
    results: Mapped[Json | None]
    cloned_from: Mapped[str | None] = mapped_column(String(40))


class InputRow(Base):
    """An input of a job. `sha256` is null until the run has read a remote one; `blob` says that its bytes are kept."""

    __tablename__ = "inputs"

    job: Mapped[int] = mapped_column(ForeignKey("jobs.number", ondelete="CASCADE"), primary_key=True)
    field: Mapped[str] = mapped_column(String(20), primary_key=True)
    source: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)
    sha256: Mapped[str | None] = mapped_column(String(64), index=True)
    blob: Mapped[bool]
    file: Mapped[str | None] = mapped_column(String(40), index=True)


class EventRow(Base):
    """Something that happened to a job; rows are added and, the oldest first, dropped, but never changed."""

    __tablename__ = "events"

    job: Mapped[int] = mapped_column(ForeignKey("jobs.number", ondelete="CASCADE"), primary_key=True)
    sequence: Mapped[int] = mapped_column(primary_key=True)
    created_at: Mapped[float]
    kind: Mapped[str] = mapped_column(String(40))
    message: Mapped[str] = mapped_column(Text)
    data: Mapped[Json]


class AttemptRow(Base):
    """One start of a job and how it ended."""

    __tablename__ = "attempts"

    job: Mapped[int] = mapped_column(ForeignKey("jobs.number", ondelete="CASCADE"), primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    lease_token: Mapped[str] = mapped_column(String(64))
    device: Mapped[int | None]
    started_at: Mapped[float]
    ended_at: Mapped[float | None]
    outcome: Mapped[Json | None]


class FileRow(Base):
    """An uploaded file; its bytes are the blob named by `sha256`."""

    __tablename__ = "files"

    number: Mapped[int] = mapped_column(BIG, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(40), unique=True)
    filename: Mapped[str] = mapped_column(Text)
    purpose: Mapped[str] = mapped_column(String(20), index=True)
    bytes: Mapped[int] = mapped_column(BIG)
    sha256: Mapped[str] = mapped_column(String(64), index=True)
    created_at: Mapped[float]


class KeyRow(Base):
    """An idempotency key: the job or service it made, and of which request."""

    __tablename__ = "idempotency_keys"

    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64))
    made: Mapped[str] = mapped_column(String(40))
    created_at: Mapped[float] = mapped_column(index=True)


class TokenRow(Base):
    """A bearer token; only its SHA-256 is known here."""

    __tablename__ = "tokens"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[float]
    revoked_at: Mapped[float | None]
