"""Exports on the wire: what is taken away, and in which form."""

from typing import Literal

from pydantic import ConfigDict, Field

from quickalign.core.errors import OptionError
from quickalign.core.spec import DataFormat
from quickalign.core.wire.answers import check_answers
from quickalign.core.wire.base import Wire

Stored = Literal["fp32", "bf16", "fp16"]
Compression = Literal["none", "int8", "int4", "gguf", "gguf-q8_0", "gguf-q4_0"]
GGUF = "gguf"
"""What the names of compressions to a GGUF file begin with; the one of that name stores weights in the precision."""

LIMITS: dict[str, float] = {
    "fp32": 1e-3,
    "fp16": 0.02,
    "bf16": 0.1,
    "int8": 0.25,
    "int4": 1.0,
    "gguf-q8_0": 0.25,
    "gguf-q4_0": 1.0,
}
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
        default="none",
        description="Weight-only int8 (LLM.int8) or int4 (NF4) by bitsandbytes, for GPUs and CPUs; or one GGUF file "
        "for llama.cpp and what is built on it, in the precision (gguf), in 8 bits (gguf-q8_0) or in 4 (gguf-q4_0).",
    )
    data: str | None = Field(
        default=None,
        min_length=1,
        max_length=2000,
        description="Rows to prove parity on; by default those the run keeps.",
    )
    data_format: DataFormat = Field(default="auto", description="The data's format; auto recognises it and says which.")
    rows: int | None = Field(
        default=None,
        ge=1,
        le=100_000,
        description="How many rows parity is proven on; by default 64, and for GGUF 16, because llama.cpp goes through "
        "their answers token by token.",
    )
    prompts: int = Field(
        default=16, ge=0, le=10_000, description="How many prompts are answered greedily before and after."
    )
    answer_tokens: int = Field(default=32, ge=1, le=8192, description="Longest answer, in tokens.")
    parity_limit: float | None = Field(
        default=None,
        gt=0,
        le=100,
        description="The most that an answer's log-probability may change, in nats per token; by default "
        f"{', '.join(f'{limit:g} for {kind}' for kind, limit in LIMITS.items())}; GGUF has at least 0.02.",
    )
    license: str | None = Field(
        default=None, min_length=1, max_length=200, description="The licence the card names; by default the base's."
    )

    @property
    def proven_rows(self) -> int:
        """How many rows parity is proven on."""
        return self.rows or (16 if self.compression.startswith(GGUF) else 64)


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
    if spec.compression.startswith(f"{GGUF}-") and spec.precision != "auto":
        raise OptionError(
            f"precision={spec.precision!r} has no effect with compression={spec.compression!r}, which rounds fp32.",
            "Leave precision out, or set compression=gguf.",
        )
