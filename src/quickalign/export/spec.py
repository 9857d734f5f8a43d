"""What one export is asked to do: a JSON file, or the same as options of `quickalign export`."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from quickalign.core.wire.exports import GGUF, LIMITS, Compression, ExportRequest, Stored

__all__ = ["GGUF", "LIMITS", "Compression", "ExportSpec", "Stored"]


class ExportSpec(ExportRequest):
    """One export. `python -m quickalign.export SPEC.json` runs it."""

    output: Path = Field(description="The folder to make; it appears when it is whole and its parity is proven.")
