"""Files on the wire."""

from typing import Any, Literal

from pydantic import Field

from quickalign.core.wire.base import Timestamp, Wire


class StoredFile(Wire):
    """An uploaded file. Two uploads of the same bytes are two records that share their content."""

    id: str = Field(description="`file-...`")
    filename: str
    purpose: Literal["fine-tune", "assistants", "batch", "user_data", "evals", "vision"] = "fine-tune"
    bytes: int
    sha256: str
    created_at: Timestamp
    used_by: int = Field(default=0, description="Jobs that are not over and read it.")


class RowPreview(Wire):
    """Some rows of a data file as they were read."""

    format: str
    rows: tuple[dict[str, Any], ...]
    offset: int
    next_offset: int | None
