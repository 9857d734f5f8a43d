"""What `report.json` holds: one typed model, from what was asked for to what came out."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from quickalign.core.spec import RunSpec
from quickalign.data.report import DataReport
from quickalign.train.manifest import BaseReference
from quickalign.train.observer import Evaluation, SampleAnswer, StepMetrics
from quickalign.train.plan import Plan

Outcome = Literal["better", "unclear", "worse", "unmeasured"]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Verdict(_Value):
    """Whether the run did what it is for, judged on the validation data."""

    outcome: Outcome = Field(
        description="better or worse where the difference is more than two standard errors, else unclear."
    )
    sentence: str


class Machine(_Value):
    """Where the run took place."""

    device: str
    kind: str
    cores: int
    memory_bytes: int
    processes: int
    system: str
    python: str


class Memory(_Value):
    """Predicted against measured peak memory of the main process, in bytes."""

    predicted_peak_bytes: int
    measured_peak_bytes: int

    @property
    def error(self) -> float:
        """(predicted - measured) / measured."""
        return self.predicted_peak_bytes / max(self.measured_peak_bytes, 1) - 1


class MetricsSummary(_Value):
    """The training metrics in short; `metrics.jsonl` holds every step."""

    steps: int
    first: StepMetrics | None
    last: StepMetrics | None
    lowest_loss: float | None
    mean_tokens_per_second: float | None
    mean_pairs_per_second: float | None


class Result(_Value):
    """The trained weights."""

    folder: str = Field(description="Relative to the run's folder: adapter or model.")
    sha256: str = Field(description="Of the safetensors files.")
    bytes: int


class Timing(_Value):
    """When, and how long."""

    finished_at: datetime = Field(description="UTC.")
    seconds: float = Field(description="Wall-clock time of all parts of the run.")
    resumed_from: int = Field(description="The step that this part went on from; 0 where it began at the start.")


class Report(_Value):
    """A finished run."""

    schema_version: Literal[1] = 1
    name: str = Field(description="The run folder's name.")
    quickalign: str = Field(description="Version of quickalign.")
    spec: RunSpec
    base: BaseReference
    method: str
    precision: str
    options_changed: tuple[str, ...] = Field(description="Hyperparameters that differ from their default.")
    verdict: Verdict
    metrics: MetricsSummary
    evaluations: tuple[Evaluation, ...]
    samples: tuple[SampleAnswer, ...]
    data: DataReport
    validation_data: DataReport | None
    plan: Plan
    memory: Memory
    result: Result
    timing: Timing
    machine: Machine
    versions: dict[str, str]
    warnings: tuple[str, ...]
