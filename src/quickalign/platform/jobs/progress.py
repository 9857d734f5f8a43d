"""Taking a run's news over from its folder: events once each, progress as it stands."""

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from quickalign.core.wire.jobs import Progress
from quickalign.platform.config import Config
from quickalign.platform.db.tables import InputRow, JobRow
from quickalign.platform.jobs.moves import append

EVENTS_FILE, STATUS_FILE, ERROR_FILE, RESULT_FILE = "events.jsonl", "status.json", "error.json", "result.json"
_MAX_BYTES = 1 << 20
_MAX_MESSAGE = 20_000


def has_news(output: Path, offset: int, progress: dict[str, Any] | None) -> bool:
    """Whether `take_over` would change anything."""
    try:
        if (output / EVENTS_FILE).stat().st_size > offset:
            return True
    except FileNotFoundError:
        pass
    now = read_progress(output)
    return now is not None and now != progress


def take_over(session: Session, row: JobRow, output: Path, config: Config, now: float) -> bool:
    """Add the run's new events to the job and set its progress, in the transaction of `session`.

    Returns:
        Whether there is more to take.
    """
    lines, end, more = _new_lines(output / EVENTS_FILE, row.journal_offset)
    for line in lines:
        event = _parsed(line)
        if event is None:
            continue
        append(session, row, event["kind"], event["message"], event["data"], config, event["created_at"] or now)
        if event["kind"] == "data":
            _record_digest(session, row, event["data"])
    row.journal_offset = end
    row.progress = read_progress(output) or row.progress
    return more


def read_progress(output: Path) -> dict[str, Any] | None:
    """How far the run is; None where it has not said."""
    values = read_json(output / STATUS_FILE)
    if values is None:
        return None
    try:
        return Progress.model_validate(values).model_dump()
    except ValidationError:
        return None


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a file that a run has replaced as a whole; None where there is none."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _new_lines(path: Path, offset: int) -> tuple[list[bytes], int, bool]:
    try:
        with path.open("rb") as stream:
            stream.seek(offset)
            content = stream.read(_MAX_BYTES)
    except FileNotFoundError:
        return [], offset, False
    whole = content[: content.rfind(b"\n") + 1]
    if not whole and len(content) == _MAX_BYTES:  # one line of more than a megabyte is no news
        return [], offset + len(content), True
    return whole.splitlines(), offset + len(whole), len(content) == _MAX_BYTES


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
        return {
            "created_at": float(value.get("created_at") or 0),
            "kind": str(value["kind"])[:40],
            "message": str(value["message"]).replace("\0", "")[:_MAX_MESSAGE],
            "data": value.get("data") if isinstance(value.get("data"), dict) else {},
        }
    except (ValueError, KeyError, AttributeError, TypeError):
        return None


def _record_digest(session: Session, row: JobRow, data: dict[str, Any]) -> None:
    """A remote input is frozen by what the run first read of it."""
    digest, source = data.get("sha256"), data.get("uri")
    if not isinstance(digest, str) or not isinstance(source, str):
        return
    mine = select(InputRow).where(InputRow.job == row.number, InputRow.source == source, InputRow.blob.is_(False))
    for one in session.scalars(mine).all():
        if one.sha256 is None:
            fields = (InputRow.job == row.number, InputRow.field == one.field)
            session.execute(update(InputRow).where(*fields).values(sha256=digest))
