"""What `comparison.json` holds."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from quickalign.evaluate.compare.contest import Contest
from quickalign.evaluate.compare.spec import ComparisonSpec


class ModelAnswers(BaseModel):
    """One model and its answers, in the order of the prompts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    precision: str
    answers: tuple[str, ...]
    mean_tokens: float


class Comparison(BaseModel):
    """A finished comparison."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    quickalign: str = Field(description="Version of quickalign.")
    spec: ComparisonSpec
    prompts: tuple[str, ...]
    models: tuple[ModelAnswers, ...]
    contests: tuple[Contest, ...]
