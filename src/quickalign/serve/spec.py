"""What one replica is asked to do: a JSON file, or the same as flags."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from quickalign.core import spec_file
from quickalign.core.errors import OptionError
from quickalign.core.hyperparameters import Precision
from quickalign.core.wire.services import SHARE_BASE, Weights

LOOPBACK = ("127.0.0.1", "::1", "localhost")


class ServeSpec(BaseModel):
    """One replica. `python -m quickalign.serve SPEC.json` runs it."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False)

    model: str = Field(
        min_length=1,
        description="A run's folder, an adapter's or a model's folder, a model card's name, or a Hugging Face id.",
    )
    revision: str | None = Field(default=None, description="A revision of a model that is not a folder.")
    adapter: Path | None = Field(default=None, description="The folder of an adapter to put on the model.")
    name: str | None = Field(
        default=None, min_length=1, max_length=200, description="What requests call the model; its own name if unset."
    )
    system_prompt: str | None = Field(
        default=None, description="Replaces the system prompt of the training; empty adds none."
    )
    host: str = Field(default="127.0.0.1", min_length=1, description="The address to listen at.")
    port: int = Field(default=0, ge=0, le=65535, description="The port to listen at; 0 takes a free one.")
    tokens: tuple[str, ...] = Field(default=(), description="Bearer tokens that open the endpoint; none needs none.")
    token_files: tuple[Path, ...] = Field(default=(), description="Files that hold one bearer token a line.")
    engine: str = Field(default="auto", description="What computes: auto or an engine's name.")
    precision: Precision = Field(
        default="auto", description="What is computed in; auto takes the training's where the chip has it."
    )
    weights: Weights = Field(
        default="auto",
        description="What weights are kept in: auto keeps the precision; int8 and int4 round the weights alone.",
    )
    max_concurrency: int = Field(default=16, ge=1, le=1024, description="Answers computed at once; further ones wait.")
    max_waiting: int = Field(
        default=64, ge=0, le=100_000, description="Answers that may wait; further ones are refused with 429."
    )
    context: int | None = Field(
        default=None, ge=8, le=1_048_576, description="Tokens of prompt and answer together; the model's own if unset."
    )
    share_base: bool | None = Field(default=None, description=SHARE_BASE)
    ready_file: Path | None = Field(
        default=None, description="Where to write, when ready, the line that standard output is told."
    )
    drain_seconds: float = Field(
        default=30.0, ge=0, le=3600, description="How long open answers may go on after the replica is told to end."
    )
    cache_gb: float = Field(
        default=20.0,
        ge=0,
        description="What converted models may take on the disk, in GB; the one used longest ago goes first.",
    )
    prove: bool = Field(default=True, description="Check before the replica is ready that it serves what was trained.")


S = TypeVar("S", bound=ServeSpec)


def load(path: Path) -> ServeSpec:
    """Read a spec file.

    Raises:
        OptionError: it cannot be read, is no JSON, or holds a value that cannot be.
    """
    return parse(spec_file.read(path), str(path))


def parse(values: dict[str, Any], name: str = "serve") -> ServeSpec:
    """Validate the values of a spec; `name` is used in errors."""
    return validated(ServeSpec, values, name)


def validated(kind: type[S], values: dict[str, Any], name: str) -> S:
    """The same for a spec that says more than `ServeSpec`.

    Raises:
        OptionError: a value that cannot be.
    """
    try:
        spec = kind.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise OptionError(f"{name}: {where}: {first['msg']}.") from None
    if spec.host not in LOOPBACK and not all_tokens(spec):
        raise OptionError(
            f"host={spec.host!r} would open the model to the network without a token.",
            "Give a token (--token-file), or listen at 127.0.0.1.",
        )
    return spec


def all_tokens(spec: ServeSpec) -> tuple[str, ...]:
    """The tokens that open the endpoint, from the spec and from its files.

    Raises:
        OptionError: a file cannot be read or holds no token.
    """
    tokens = list(spec.tokens)
    for file in spec.token_files:
        try:
            lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            raise OptionError(f"The token file {file} cannot be read: {error}.") from None
        found = [line for line in lines if line]
        if not found:
            raise OptionError(f"The token file {file} holds no token.", "Write one token a line into it.")
        tokens += found
    return tuple(tokens)
