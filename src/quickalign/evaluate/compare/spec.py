"""What one comparison is asked to do: a JSON file, or the same as options of `quickalign compare`."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, model_validator

from quickalign.core.hyperparameters import Precision

KEY_VARIABLE = "QUICKALIGN_JUDGE_KEY"
"""The environment variable that holds the judge's API key; it is never written anywhere."""


class JudgeSpec(BaseModel):
    """A judge behind an endpoint that speaks OpenAI's chat completions."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    endpoint: str = Field(
        pattern=r"^https?://", description="The address in front of /chat/completions, such as https://host/v1."
    )
    model: str = Field(min_length=1, description="The judge's name at that endpoint.")
    price_in: float = Field(default=0.0, ge=0, description="Price of a million prompt tokens, in any currency.")
    price_out: float = Field(default=0.0, ge=0, description="Price of a million tokens of its answers.")
    timeout: float = Field(default=120.0, gt=0, le=3600, description="Seconds to wait for one verdict.")


class ComparisonSpec(BaseModel):
    """One comparison. `python -m quickalign.evaluate.compare SPEC.json` runs it."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    models: tuple[str, ...] = Field(
        min_length=2, max_length=20, description="What is compared; every other model is compared with the first."
    )
    prompts: str = Field(
        min_length=1, description="A file of prompts: JSON texts, rows with a prompt, or one prompt a line."
    )
    count: int = Field(default=0, ge=0, le=100_000, description="Ask the first so many prompts; 0 asks all.")
    output: Path = Field(description="The comparison's folder: comparison.json, comparison.html, and all answers.")
    answer_tokens: int = Field(default=256, ge=1, le=8192, description="Longest answer, in tokens.")
    precision: Precision = Field(default="auto", description="What is computed in; auto takes each model's own.")
    system_prompt: str | None = Field(
        default=None, max_length=20_000, description="Replaces the system prompt of the training; empty adds none."
    )
    judge: JudgeSpec | None = Field(default=None, description="A model that judges the answers, asked in both orders.")
    votes: str | None = Field(
        default=None,
        min_length=1,
        description="A file of people's votes, one a line, also the console's; `stored` is this home's.",
    )
    seed: int = Field(default=42, ge=0, le=2**31 - 1, description="Seed of the bootstrap.")

    @model_validator(mode="after")
    def _different(self) -> ComparisonSpec:
        if len(set(self.models)) < len(self.models):
            raise ValueError("a model is named twice")
        return self
