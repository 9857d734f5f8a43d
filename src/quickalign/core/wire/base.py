"""What all types of the native API share."""

from typing import Annotated, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

T = TypeVar("T")

Timestamp = Annotated[float, Field(description="Seconds since 1970-01-01 UTC.")]
Name = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]


class Wire(BaseModel):
    """A type of the native API: unknown fields are refused, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class Page(Wire, Generic[T]):
    """A part of a list, newest first."""

    items: tuple[T, ...]
    next: str | None = Field(default=None, description="Give this as `after` for the next page; null on the last.")


class Problem(BaseModel):
    """An error as of RFC 9457. `field`, `value` and `remedy` say what to change."""

    model_config = ConfigDict(extra="allow", frozen=True)

    type: str = Field(default="about:blank", description="`urn:quickalign:problem:<code>`.")
    title: str = Field(description="The kind of error.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="One sentence: which value, and why it cannot be.")
    field: str | None = Field(default=None, description="The field at fault.")
    value: str | None = Field(default=None, description="What was found there, shortened.")
    remedy: str | None = Field(default=None, description="What to do.")
