"""Jobs on the wire."""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from quickalign.core.distribution import Distribution
from quickalign.core.errors import OptionError
from quickalign.core.spec import BadRows, DataFormat
from quickalign.core.wire.base import Name, Timestamp, Wire
from quickalign.core.wire.evaluations import EvaluateRequest
from quickalign.core.wire.exports import ExportRequest

Kind = Literal["train", "evaluate", "export"]

MOST_WORKERS = 1024
"""The most processes of one job."""


class JobState(StrEnum):
    """Where a job stands; `platform.jobs.states` holds the table of allowed moves."""

    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    PAUSING = "pausing"
    PAUSED = "paused"
    RESUMING = "resuming"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether nothing follows by itself; a failed job can be resumed."""
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


class Reason(Wire):
    """Why a job is where it is."""

    code: str = Field(description="A short word for programs: waiting_for_gpu, crashed, failed, deadline, user, ...")
    message: str = Field(description="A sentence for people; for a failed job its whole error message.")
    exit_code: int | None = Field(default=None, description="The training program's exit code, where it has one.")


class TrainRequest(Wire):
    """What to train. Inputs are a file's id (`file-...`), a local path the server may read, or an allowed URI."""

    model: str = Field(
        min_length=1,
        max_length=500,
        description="A model card's name, a repository, a folder, or a job's id, whose model is trained further.",
    )
    model_revision: str | None = Field(default=None, max_length=200)
    train: str = Field(min_length=1, max_length=2000, description="Training data: a file's id, a path or a URI.")
    validation: str | None = Field(default=None, max_length=2000, description="Validation data, likewise.")
    data_format: DataFormat = "auto"
    safe_rlhf_preference: Literal["better", "safer"] = "better"
    bad_rows: BadRows = "error"
    sample_prompts: tuple[str, ...] = Field(default=(), max_length=64)
    sample_tokens: int = Field(default=128, ge=0, le=4096)
    closing_rows: int = Field(default=16, ge=0, le=1000, description="Rows of the closing evaluation; 0 leaves it out.")
    strategy: Distribution = Field(
        default="ddp", description="How several workers share the weights: ddp holds them whole, fsdp2 in pieces."
    )
    hyperparameters: dict[str, Any] = Field(default={}, description="Options by the names of the reference page.")


class Resources(Wire):
    """What a job takes from the machine while it runs. Zero GPUs is a CPU job."""

    gpus: int = Field(default=0, ge=0, le=64)
    memory_bytes: int = Field(default=0, ge=0, description="Device memory by the estimate, for each process.")
    workers: int = Field(default=1, ge=1, description="Processes that train together, each with these GPUs.")


class JobRequest(Wire):
    """What new jobs of all kinds have in common."""

    name: Name | None = Field(default=None, description="A name for people; made up when missing.")
    output: str | None = Field(default=None, description="Where results are copied at the end: a path or a URI.")
    gpus: int | None = Field(default=None, ge=0, le=64, description="GPUs to use; all that one process can by default.")
    priority: int = Field(default=0, ge=-100, le=100, description="Higher starts first; equal ones in order.")
    metadata: dict[str, str] = Field(default={}, max_length=16, description="Up to 16 labels of your own.")
    max_retries: int = Field(default=3, ge=0, le=20, description="Restarts from the last checkpoint after a crash.")


class JobCreate(JobRequest):
    """A new job that trains."""

    kind: Literal["train"] = "train"
    spec: TrainRequest
    workers: int = Field(
        default=1,
        ge=1,
        le=MOST_WORKERS,
        description="Processes that train together on a cluster; `gpus` is what each of them uses.",
    )


class EvaluationCreate(JobRequest):
    """A new job that evaluates a model."""

    kind: Literal["evaluate"] = "evaluate"
    spec: EvaluateRequest


class ExportCreate(JobRequest):
    """A new job that exports what was trained; `output` gets the exported folder's files."""

    kind: Literal["export"] = "export"
    spec: ExportRequest


def _kind_of(value: Any) -> Any:
    return value.get("kind", "train") if isinstance(value, dict) else getattr(value, "kind", "train")


AnyJobCreate = Annotated[
    Annotated[JobCreate, Tag("train")]
    | Annotated[EvaluationCreate, Tag("evaluate")]
    | Annotated[ExportCreate, Tag("export")],
    Discriminator(
        _kind_of,
        custom_error_type="kind",
        custom_error_message="a job's kind is train, evaluate or export",
    ),
]
"""A new job of any kind; one that names no kind trains."""

NewJob = JobCreate | EvaluationCreate | ExportCreate
JobSpec = TrainRequest | EvaluateRequest | ExportRequest


class Progress(Wire):
    """How far a running job is."""

    phase: str = Field(default="", description="data, model, train, evaluate, ...")
    step: int = 0
    total_steps: int | None = None
    seconds_left: float | None = None
    loss: float | None = None
    rewards_accuracy: float | None = None


class Job(Wire):
    """A job as it stands."""

    id: str
    kind: Kind = "train"
    name: str
    model: str = Field(
        default="", description="The model it is about; of one that was trained here, what it was trained on."
    )
    state: JobState
    reason: Reason | None = None
    spec: JobSpec
    inputs: dict[str, str] = Field(default={}, description="SHA-256 of each frozen input, by field.")
    output: str | None = None
    resources: Resources = Resources()
    priority: int = 0
    metadata: dict[str, str] = Field(default={})
    max_retries: int = 3
    attempt: int = Field(default=0, description="How often it was started; 0 before the first time.")
    progress: Progress | None = None
    created_at: Timestamp
    started_at: Timestamp | None = None
    finished_at: Timestamp | None = None
    ran_seconds: float = Field(default=0.0, description="How long its starts that have ended ran, together.")
    running_since: Timestamp | None = Field(default=None, description="When the start that has not ended began.")
    queue_position: int | None = Field(default=None, description="1 is next; null when not queued.")
    model_path: str | None = Field(
        default=None, description="The trained adapter or model folder, or the exported folder, on the server."
    )
    adapter_sha256: str | None = None
    results: dict[str, Any] | None = Field(
        default=None, description="What it found: figures of the model, or the parity of an export."
    )
    cloned_from: str | None = None

    def ran_until(self, now: float) -> float:
        """For how many seconds it has run up to `now`, without the time in which it was paused or waited."""
        return self.ran_seconds + (0.0 if self.running_since is None else max(0.0, now - self.running_since))

    @property
    def training(self) -> TrainRequest:
        """What a training job was asked to do.

        Raises:
            OptionError: it is a job of another kind.
        """
        if isinstance(self.spec, TrainRequest):
            return self.spec
        raise OptionError(
            f"The job {self.id} does not train: its kind is {self.kind}.",
            "Name a training job.",
            field="job_id",
            value=self.id,
        )


class Event(Wire):
    """Something that happened to a job; append-only, numbered from 1 within a job."""

    sequence: int
    created_at: Timestamp
    kind: str = Field(description="state, warning, note, checkpoint, evaluation, retry, ...")
    message: str
    data: dict[str, Any] = Field(default={})


class Checkpoint(Wire):
    """A checkpoint on disk that a job can go on from."""

    step: int
    created_at: Timestamp
    path: str
    metrics: dict[str, float] = Field(default={})


class LogChunk(Wire):
    """A piece of a job's log. Offsets are bytes in the whole log over all attempts."""

    offset: int
    next_offset: int
    text: str
    complete: bool = Field(description="Whether the job is over and nothing follows.")


class MetricsPage(Wire):
    """Lines of the job's metrics, as written: one per optimiser step, or per evaluation."""

    items: tuple[dict[str, Any], ...]
    next_offset: int = Field(description="Give this as `offset` to go on.")
    complete: bool


class EstimateRequest(Wire):
    """What would this job need?"""

    spec: TrainRequest
    gpus: int | None = None
    workers: int = Field(default=1, ge=1, le=MOST_WORKERS)


class Estimate(Wire):
    """The plan before anything is spent: memory by part, steps, tokens, and whether it fits."""

    plan: dict[str, Any]
    report: dict[str, Any] = Field(description="The data report.")
    validation_report: dict[str, Any] | None = Field(
        default=None, description="That of the validation data, where the request names any."
    )
    resources: Resources
