"""What a run leaves while it goes, read for those who follow it: logs, metrics, checkpoints, artefacts."""

import json
import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal

import orjson

from quickalign.core.errors import NotFoundError
from quickalign.core.wire.jobs import Checkpoint, LogChunk, MetricsPage

MetricsKind = Literal["steps", "evaluations"]
STEPS_FILE = "metrics.jsonl"
_FILES: dict[MetricsKind, str] = {"steps": STEPS_FILE, "evaluations": "evaluations.jsonl"}
_MAX_LOG = 4 << 20
_MAX_LINES = 10_000
_KEPT_FILES = 256


def read_log(files: Sequence[Path], offset: int, limit: int, *, over: bool) -> LogChunk:
    """Up to `limit` bytes from `offset` of the files taken as one; whole characters only.

    A file that grows is read to where it is now. `over` says that nothing will be added.
    """
    offset, limit = max(0, offset), max(4, min(limit, _MAX_LOG))
    content, position = bytearray(), 0
    for file in files:
        size = file.stat().st_size
        if offset < position + size and len(content) < limit:
            with file.open("rb") as stream:
                stream.seek(max(0, offset - position))
                content += stream.read(min(limit - len(content), size - max(0, offset - position)))
        position += size
    at_end = offset + len(content) >= position
    whole = bytes(content) if at_end and over else _whole_characters(bytes(content))
    following = min(offset, position) + len(whole) if whole else max(offset, 0)
    text = whole.decode("utf-8", "replace")
    return LogChunk(offset=offset, next_offset=following, text=text, complete=over and at_end)


def read_metrics(output: Path, kind: MetricsKind, offset: int, limit: int, *, over: bool) -> MetricsPage:
    """Lines from number `offset` (from 0) on. A run that went back to a checkpoint writes the same lines again."""
    offset, limit = max(0, offset), max(1, min(limit, _MAX_LINES))
    lines = _LINES.read(output / _FILES[kind], offset, limit + 1)
    items = _objects(lines[:limit])
    # not validated: of ten thousand lines as the run wrote them that would take longer than to read them
    return MetricsPage.model_construct(
        items=items, next_offset=offset + len(items), complete=over and len(lines) <= limit
    )


def read_checkpoints(output: Path) -> tuple[Checkpoint, ...]:
    """Complete checkpoints on disk, oldest first, each with the metrics of its step."""
    found = []
    for folder in sorted((output / "checkpoints").glob("step-*")):
        try:
            step, created = int(folder.name.removeprefix("step-")), (folder / "state.json").stat().st_mtime
        except (ValueError, FileNotFoundError):  # it was replaced by a newer one just now
            continue
        metrics = _metrics_at(output, step)
        found.append(Checkpoint(step=step, created_at=created, path=str(folder), metrics=metrics))
    return tuple(found)


def last_step(output: Path) -> int:
    """The step of the newest checkpoint; 0 where there is none."""
    found = read_checkpoints(output)
    return found[-1].step if found else 0


def artifact(output: Path, name: str) -> Path:
    """A file in the run's folder by its path inside.

    Raises:
        NotFoundError: there is none, or the name leads out of the folder.
    """
    missing = NotFoundError(f"This job has no file {name!r}.", "report.html and report.json are there when it is over.")
    if "\0" in name or name.startswith("/"):
        raise missing
    try:
        path, base = (output / name).resolve(), output.resolve()
        if base not in path.parents or not path.is_file() or path.name.startswith("."):
            raise missing
    except OSError:
        raise missing from None
    return path


def _metrics_at(output: Path, step: int) -> dict[str, float]:
    if step < 1:
        return {}
    lines = _LINES.read(output / _FILES["steps"], step - 1, 1)
    values = parsed(lines[0]) if lines else {}
    kept = {name: float(value) for name, value in values.items() if isinstance(value, int | float) and name != "step"}
    for line in _LINES.read(output / _FILES["evaluations"], 0, _MAX_LINES):
        evaluation = parsed(line)
        if evaluation.get("step") == step:
            numbers = {name: value for name, value in evaluation.items() if isinstance(value, int | float)}
            kept |= {f"validation_{name}": float(value) for name, value in numbers.items() if name != "step"}
    return kept


def _objects(lines: list[bytes]) -> tuple[dict[str, Any], ...]:
    try:
        found = tuple(map(orjson.loads, lines))
    except orjson.JSONDecodeError:
        return tuple(map(parsed, lines))
    return found if all(isinstance(one, dict) for one in found) else tuple(map(parsed, lines))


def parsed(line: bytes) -> dict[str, Any]:
    """The values of a line. NaN and Infinity, which other writers than ours leave, count as missing; a line that is no
    object is an empty one, so that those behind it keep their numbers."""
    try:
        value = json.loads(line, parse_constant=lambda _: None)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _whole_characters(content: bytes) -> bytes:
    """`content` without the beginning of a character at its end."""
    for back in range(1, min(4, len(content)) + 1):
        byte = content[-back]
        if byte < 0x80:
            return content
        if byte >= 0xC0:
            needed = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return content if back >= needed else content[:-back]
    return content


@dataclass(slots=True)
class _Known:
    """A file as far as it was read: where its lines begin, where the last one ends, and that line itself."""

    inode: int
    starts: list[int] = field(default_factory=list)
    end: int = 0
    last: bytes = b""


class _Lines:
    """Complete lines of growing files by number; remembers where the lines of recently read files begin."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[Path, _Known] = OrderedDict()

    def read(self, path: Path, first: int, count: int) -> list[bytes]:
        """Up to `count` lines from number `first` (from 0) on."""
        try:
            with path.open("rb") as stream, self._lock:
                known = self._scan(path, stream)
                if first >= len(known.starts):
                    return []
                begin, last = known.starts[first], first + count
                stop = known.starts[last] if last < len(known.starts) else known.end
                stream.seek(begin)
                return stream.read(stop - begin).splitlines()
        except FileNotFoundError:
            return []

    def _scan(self, path: Path, stream: BinaryIO) -> _Known:
        known = self._known.get(path)
        if known is None or not _is_same(known, stream):
            known = _Known(os.fstat(stream.fileno()).st_ino)
        stream.seek(known.end)
        for line in stream:
            if not line.endswith(b"\n"):
                break
            known.starts.append(known.end)
            known.end += len(line)
            known.last = line
        self._known[path] = known
        self._known.move_to_end(path)
        while len(self._known) > _KEPT_FILES:
            self._known.popitem(last=False)
        return known


def _is_same(known: _Known, stream: BinaryIO) -> bool:
    """Whether the file only grew; a run that goes on from a checkpoint writes a shorter one in its place."""
    if os.fstat(stream.fileno()).st_ino != known.inode:
        return False
    stream.seek(known.end - len(known.last))
    return stream.read(len(known.last)) == known.last


_LINES = _Lines()
