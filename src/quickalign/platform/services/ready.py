"""What a replica writes when it is ready."""

import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from quickalign.core.wire.services import Check


class Keeper(BaseModel):
    """Who keeps the base that a replica shares: see `serve.engine.KeeperInfo`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    key: str
    pid: int
    mark: str


class Ready(BaseModel):
    """The ready file of one start of a replica; what this server does not know of is left alone."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    endpoint: str
    pid: int
    engine: str
    precision: str
    device: str | None = None
    context: int | None = None
    weights_bytes: int | None = None
    limit: int = 1
    proof: tuple[Check, ...] | None = None
    keeper: Keeper | None = None


def read(file: Path) -> Ready | None:
    """What the file says; None where there is none, or it is none of a replica."""
    try:
        return Ready.model_validate(json.loads(file.read_bytes()))
    except (OSError, ValueError, ValidationError):
        return None
