"""What `report.json` of an evaluation holds: one typed model."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from quickalign.data.report import DataReport
from quickalign.evaluate.checks import Check
from quickalign.evaluate.figures import Better, Unit
from quickalign.evaluate.gates import Gate
from quickalign.evaluate.lm_eval.result import TaskResult
from quickalign.evaluate.spec import EvaluationSpec
from quickalign.evaluate.statistics import Interval, SignTest

Outcome = Literal["better", "unclear", "worse", "unmeasured", "broken"]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Verdict(_Value):
    """What the figures say, in a sentence and no more than they bear."""

    outcome: Outcome = Field(description="better or worse where the interval excludes no change; broken by a check.")
    sentence: str


class Model(_Value):
    """What was measured."""

    source: str = Field(description="As it was asked for.")
    weights: str = Field(description="The folder of the (base) weights.")
    adapter: str | None = Field(description="The folder of the adapter on them.")
    base: str | None = Field(description="What it is compared with.")
    method: str | None = Field(description="How it was trained; None where it was not trained here.")
    precision: str
    beta: float = Field(description="What log-ratios are multiplied by to be rewards.")


class FigureReport(_Value):
    """One figure. `base` and `change` are None where the base has no figure of its own."""

    name: str
    title: str
    unit: Unit
    better: Better
    meaning: str
    model: Interval
    base: Interval | None
    change: Interval | None = Field(description="Model minus base on the same rows.")
    change_test: SignTest | None = Field(description="For judgements of pairs: the rows the two judge differently.")


class CategoryReport(_Value):
    """The rows of one category."""

    name: str
    rows: int
    figures: dict[str, Interval]


class Difference(_Value):
    """A figure of this model minus that of the other one, on the same rows."""

    name: str
    title: str
    unit: Unit
    better: Better
    model: float
    other: float
    difference: Interval
    test: SignTest | None


class Comparison(_Value):
    """Two models on the same rows."""

    other: Model
    sentence: str
    differences: tuple[Difference, ...]


class AnswerReport(_Value):
    """The greedy answers to one prompt; None where there is no such model."""

    prompt: str
    model: str
    base: str | None
    other: str | None
    remarks: tuple[str, ...] = Field(description="What a stated rule finds in the model's answer.")


class EvaluationReport(_Value):
    """A finished evaluation."""

    schema_version: Literal[1] = 1
    name: str
    quickalign: str = Field(description="Version of quickalign.")
    spec: EvaluationSpec
    model: Model
    rows: int
    verdict: Verdict
    checks: tuple[Check, ...]
    figures: tuple[FigureReport, ...]
    categories: tuple[CategoryReport, ...]
    comparison: Comparison | None
    tasks: tuple[TaskResult, ...] = Field(default=(), description="What lm-eval found.")
    gates: tuple[Gate, ...]
    answers: tuple[AnswerReport, ...]
    data: DataReport
    notes: tuple[str, ...]
    finished_at: datetime = Field(description="UTC.")
    seconds: float
    versions: dict[str, str]

    def values(self) -> dict[str, float]:
        """The figures of the model by name."""
        return {figure.name: figure.model.value for figure in self.figures}
