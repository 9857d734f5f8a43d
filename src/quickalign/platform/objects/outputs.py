"""What jobs have made, seen as objects: the folder of a job's result under the prefix that its maker gave it."""

import mimetypes
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import ColumnElement, and_, func, or_, select

from quickalign.core.wire.jobs import JobState
from quickalign.platform.db.engine import Database
from quickalign.platform.db.tables import JobRow

LABEL = "oss_output"
"""The label of a job that says where its result is seen: `<bucket>/<prefix>/`."""


@dataclass(frozen=True, slots=True)
class OutputFile:
    """A file of a job's result, as an object. Its `etag` tells size and time, as no digest is kept of it."""

    bucket: str
    key: str
    path: Path
    bytes: int
    etag: str
    content_type: str
    modified_at: float


class Outputs:
    """Results of succeeded jobs by bucket and key; read only."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def job(self, bucket: str, key: str) -> str | None:
        """The id of the job whose result lies at, or holds, `key`."""
        row = self._row(bucket, key)
        return None if row is None else row.id

    def get(self, bucket: str, key: str) -> OutputFile | None:
        """One file; None where no job has made it."""
        row = self._row(bucket, key)
        if row is None or row.model_path is None:
            return None
        root = Path(row.model_path)
        inside = f"{bucket}/{key}".removeprefix(str(row.labels[LABEL]))
        path = (root / inside).resolve()
        if not inside or not path.is_relative_to(root.resolve()) or not path.is_file():
            return None
        return _file(bucket, key, path)

    def list(self, bucket: str, prefix: str) -> list[OutputFile]:
        """All files whose keys begin with `prefix`, by key."""
        label = JobRow.labels[LABEL].as_string()
        whole = f"{bucket}/{prefix}"
        inside = func.substr(label, 1, len(whole)) == whole
        query = select(JobRow).where(or_(inside, label.in_(_folders(bucket, prefix))), _finished())
        with self._database.read() as session:
            rows = session.scalars(query.order_by(JobRow.number)).all()
        found = [file for row in rows for file in self._files(row, bucket) if file.key.startswith(prefix)]
        return sorted(found, key=lambda file: file.key)

    def _row(self, bucket: str, key: str) -> JobRow | None:
        label = JobRow.labels[LABEL].as_string()
        query = select(JobRow).where(label.in_(_folders(bucket, key.rstrip("/") + "/")), _finished())
        with self._database.read() as session:
            return session.scalars(query.order_by(JobRow.number.desc()).limit(1)).first()

    def _files(self, row: JobRow, bucket: str) -> Iterable[OutputFile]:
        root = Path(row.model_path or "")
        before = str(row.labels[LABEL]).removeprefix(f"{bucket}/")
        paths = (path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
        return (_file(bucket, before + path.relative_to(root).as_posix(), path) for path in paths)


def _finished() -> ColumnElement[bool]:
    return and_(JobRow.state == str(JobState.SUCCEEDED), JobRow.model_path.is_not(None))


def _folders(bucket: str, key: str) -> list[str]:
    """The label of every folder that `key` lies in."""
    parts = key.split("/")[:-1]
    return [f"{bucket}/{'/'.join(parts[:count])}/" for count in range(1, len(parts) + 1)]


def _file(bucket: str, key: str, path: Path) -> OutputFile:
    stat = path.stat()
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return OutputFile(bucket, key, path, stat.st_size, f"{stat.st_mtime_ns:X}-{stat.st_size:X}", kind, stat.st_mtime)
