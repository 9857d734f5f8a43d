"""What one export is asked to do: a JSON file, or the same as options of `quickalign export`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from quickalign.core.spec import DataFormat

Stored = Literal["fp32", "bf16", "fp16"]
Compression = Literal["none", "int8", "int4"]

LIMITS: dict[str, float] = {"fp32": 1e-3, "fp16": 0.02, "bf16": 0.1, "int8": 0.25, "int4": 1.0}
"""The parity limit of each kind of export in nats per token, where none is given."""


class ExportSpec(BaseModel):
    """One export. `python -m quickalign.export SPEC.json` runs it."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False)

    model: str = Field(min_length=1, description="A finished run's folder, or the folder of an adapter or checkpoint.")
    output: Path = Field(description="The folder to make; it appears when it is whole and its parity is proven.")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        default="auto", description="What weights are stored in; auto takes the precision of the training."
    )
    compression: Compression = Field(
        default="none", description="Weight-only int8 (LLM.int8) or int4 (NF4) by bitsandbytes, for GPUs and CPUs."
    )
    data: str | None = Field(
        default=None, min_length=1, description="Rows to prove parity on; by default those the run keeps."
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
