"""The server about itself."""

from typing import Any

from pydantic import Field

from quickalign.core.wire.base import Timestamp, Wire
from quickalign.core.wire.jobs import Reason, Resources


class SharedBase(Wire):
    """A base that lies in a device's memory once, for all services that share it."""

    name: str
    memory_bytes: int = Field(description="Counted once in what is reserved.")
    services: tuple[str, ...] = Field(description="Names of the services on it.")


class DeviceInfo(Wire):
    """A device that jobs and services run on."""

    name: str
    kind: str = Field(description="cpu or cuda")
    index: int
    total_bytes: int
    reserved_bytes: int = Field(description="Admitted to jobs and services.")
    jobs: tuple[str, ...] = ()
    services: tuple[str, ...] = Field(default=(), description="Names of services with a replica there.")
    bases: tuple[SharedBase, ...] = Field(default=(), description="Bases that services share there.")


class QueueEntry(Wire):
    """A waiting job."""

    job: str
    position: int
    priority: int
    resources: Resources
    reason: Reason


class SystemInfo(Wire):
    """Versions, devices and queue."""

    version: str
    versions: dict[str, str]
    started_at: Timestamp
    database: str = Field(description="sqlite or postgresql")
    home: str
    devices: tuple[DeviceInfo, ...]
    queue: tuple[QueueEntry, ...]
    jobs: dict[str, int] = Field(description="Number of jobs by state.")


class ModelSummary(Wire):
    """A model card, short."""

    name: str
    title: str
    family: str
    provider: str
    parameters: int
    context_length: int
    license: str
    instruct: bool
    embedded: bool
    languages: tuple[str, ...]
    methods: tuple[str, ...]
    strategies: tuple[str, ...]
    gpu_memory_gb: dict[str, float]


class ModelDetail(ModelSummary):
    """A model card, whole."""

    huggingface: str | None
    modelscope: str | None
    revision: str
    mission_gpu: str | None
    hyperparameters: dict[str, Any] = Field(description="JSON schema of the options, with defaults and bounds.")
