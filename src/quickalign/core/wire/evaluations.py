"""Evaluations on the wire: what is measured, and how."""

from collections.abc import Collection
from typing import Literal

from pydantic import ConfigDict, Field

from quickalign.core.errors import OptionError
from quickalign.core.hyperparameters import Precision
from quickalign.core.spec import BadRows, DataFormat
from quickalign.core.wire.answers import check_answers
from quickalign.core.wire.base import Wire

OF_ANSWERS = (
    "answer_tokens",
    "refusals",
    "repetition",
    "language_drift",
    "unfinished",
    "bleu",
    "rouge1",
    "rougeL",
)
"""Figures that are made from greedy answers to prompts."""
METRICS = (
    "accuracy",
    "margin",
    "likelihood_accuracy",
    "chosen_shift",
    "rejected_shift",
    "kl",
    "perplexity",
    *OF_ANSWERS,
)
"""Every figure that a report may hold, and that a limit can be set for; `evaluate/figures.py` says what each one is."""


class EvaluateRequest(Wire):
    """What to evaluate. On a server, models may be named by the job that made them."""

    model_config = ConfigDict(allow_inf_nan=False)

    model: str = Field(
        min_length=1,
        max_length=2000,
        description="A run's folder, an adapter's or a model's folder, a model card's name, or a Hugging Face id; on a "
        "server also a job's id.",
    )
    data: str = Field(
        min_length=1, max_length=2000, description="Data the model was not trained on: a local path or a URI."
    )
    base: str | None = Field(
        default=None,
        min_length=1,
        max_length=2000,
        description="The model to compare with; by default the one that was trained on.",
    )
    against: str | None = Field(
        default=None,
        min_length=1,
        max_length=2000,
        description="Another model, measured on the same rows and compared row by row.",
    )
    data_format: DataFormat = Field(default="auto", description="The data's format; auto recognises it and says which.")
    safe_rlhf_preference: Literal["better", "safer"] = Field(
        default="better", description="For PKU-SafeRLHF rows: which of its two judgements says what is chosen."
    )
    bad_rows: BadRows = Field(
        default="error", description="What to do with rows that cannot be used: stop, or drop and count."
    )
    rows: int = Field(default=0, ge=0, le=10**7, description="Measure the first so many rows; 0 measures all.")
    prompts: int = Field(
        default=32,
        ge=0,
        le=100_000,
        description="Answer the first so many different prompts with each model, greedily; 0 answers none.",
    )
    answer_tokens: int = Field(default=128, ge=1, le=8192, description="Longest answer, in tokens.")
    kl_rows: int = Field(
        default=64, ge=0, le=10**7, description="Measure the divergence from the base on the first so many rows."
    )
    seq_length: int | None = Field(
        default=None, ge=8, le=1_048_576, description="Longest prompt plus answer; 1024, or the training's if longer."
    )
    system_prompt: str | None = Field(
        default=None, max_length=20_000, description="Replaces the system prompt of the training; empty adds none."
    )
    precision: Precision = Field(
        default="auto", description="What is computed in; auto takes the training's where the chip has it."
    )
    confidence: float = Field(
        default=0.95, ge=0.5, le=0.999, description="How sure the intervals are: the share of repetitions they hold."
    )
    resamples: int = Field(default=2000, ge=100, le=100_000, description="Bootstrap repetitions.")
    seed: int = Field(default=42, ge=0, le=2**31 - 1, description="Seed of the bootstrap.")
    fail_below: dict[str, float] = Field(
        default={}, description="Lowest value allowed by figure; the evaluation fails below it."
    )
    fail_above: dict[str, float] = Field(
        default={}, description="Highest value allowed by figure; the evaluation fails above it."
    )


def check(spec: EvaluateRequest, tasks: Collection[str] = ()) -> None:
    """Refuse what cannot be honoured, before anything is loaded.

    Args:
        spec: what is asked for.
        tasks: whose numbers limits may name as TASK:METRIC.

    Raises:
        OptionError: a limit for a figure that does not exist or will not be measured, or an option without effect.
    """
    check_answers(spec.prompts, spec.answer_tokens, default=EvaluateRequest.model_fields["answer_tokens"].default)
    for option, limits in (("fail_below", spec.fail_below), ("fail_above", spec.fail_above)):
        for name in limits:
            if name not in METRICS and name.rpartition(":")[0] not in (*tasks,):
                raise OptionError(f"{option} names the figure {name!r}, which does not exist.", _listed())
    needs = {"kl": ("kl_rows", spec.kl_rows), **dict.fromkeys(OF_ANSWERS, ("prompts", spec.prompts))}
    for name in (*spec.fail_below, *spec.fail_above):
        option, value = needs.get(name, ("", 1))
        if value == 0:
            raise OptionError(f"A limit for {name!r} has no effect with {option}=0.", f"Set {option} above 0.")


def _listed() -> str:
    return f"There are {', '.join(METRICS)}."
