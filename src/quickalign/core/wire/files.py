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


class Turn(Wire):
    """A message of a prompt."""

    role: str
    content: str


class RowTexts(Wire):
    """A row as it is understood: a pair (`rejected` is set), a sample, or what is wrong with it (`problem`)."""

    row: int = Field(description="Its number in the file, from 1.")
    prompt: tuple[Turn, ...] = ()
    chosen: str = Field(default="", description="The chosen answer of a pair, or the answer of a sample.")
    rejected: str | None = None
    category: str | None = None
    problem: str | None = None


class RowTextsPage(Wire):
    """Rows as they are understood, in the file's order."""

    format: str
    items: tuple[RowTexts, ...]
    offset: int
    next_offset: int | None = Field(description="Give this as `offset` to go on; null at the end.")


class TokenPiece(Wire):
    """A token as text, and whether `seq_length` cuts it away."""

    id: int
    text: str
    cut: bool = False


class RowTokens(Wire):
    """A row as the model sees it under its template."""

    row: int
    prompt: tuple[TokenPiece, ...]
    chosen: tuple[TokenPiece, ...]
    rejected: tuple[TokenPiece, ...] | None


class RowTokensPage(Wire):
    """Rows as tokens."""

    seq_length: int
    items: tuple[RowTokens, ...]
