"""Exports on the wire: what is taken away, and in which form."""

from typing import Any, Literal

from pydantic import ConfigDict, Field, field_validator

from quickalign.core.errors import OptionError
from quickalign.core.spec import DataFormat
from quickalign.core.wire.answers import check_answers
from quickalign.core.wire.base import Wire

Stored = Literal["fp32", "bf16", "fp16"]
Compression = Literal["none", "int8", "int4"]

LIMITS: dict[str, float] = {"fp32": 1e-3, "fp16": 0.02, "bf16": 0.1, "int8": 0.25, "int4": 1.0}
"""The parity limit of each kind of export in nats per token, where none is given."""


class ExportRequest(Wire):
    """What to export. On a server, the run may be named by its job."""

    model_config = ConfigDict(allow_inf_nan=False)

    model: str = Field(
        min_length=1,
        max_length=2000,
        description="A finished run's folder, or the folder of an adapter or checkpoint; on a server also a job's id.",
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        default="auto", description="What weights are stored in; auto takes the precision of the training."
    )
    compression: Compression = Field(
        default="none", description="Weight-only int8 (LLM.int8) or int4 (NF4) by bitsandbytes, for GPUs and CPUs."
    )
    data: str | None = Field(
        default=None,
        min_length=1,
        max_length=2000,
        description="Rows to prove parity on; by default those the run keeps.",
    )
    data_format: DataFormat = Field(default="auto", description="The data's format; auto recognises it and says which.")
    rows: int = Field(default=64, ge=1, le=100_000, description="How many rows parity is proven on.")
    prompts: int = Field(
        default=16, ge=0, le=10_000, description="How many prompts are answered greedily before and after."
    )
    answer_tokens: int = Field(default=32, ge=1, le=8192, description="Longest answer, in tokens.")
    parity_limit: float | None = Field(
        default=None,
        gt=0,
        le=100,
        description="The most that an answer's log-probability may change, in nats per token; by default "
        f"{', '.join(f'{limit:g} for {kind}' for kind, limit in LIMITS.items())}.",
    )
    license: str | None = Field(
        default=None, min_length=1, max_length=200, description="The licence the card names; by default the base's."
    )

    @field_validator("compression", mode="before")
    @classmethod
    def _no_gguf(cls, value: Any) -> Any:
        if str(value).lower() == "gguf":
            raise ValueError(
                "no package makes GGUF; convert_hf_to_gguf.py of llama.cpp takes the folder that an export leaves"
            )
        return value


def check(spec: ExportRequest) -> None:
    """Refuse what has no effect, before anything is loaded.

    Raises:
        OptionError: names the option.
    """
    check_answers(spec.prompts, spec.answer_tokens, default=ExportRequest.model_fields["answer_tokens"].default)
    if spec.data is None and spec.data_format != "auto":
        raise OptionError(
            f"data_format={spec.data_format!r} has no effect without data.", "Name the rows, or leave data_format out."
        )
