"""Uploaded files: begin, write, commit; list, look into, delete."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, get_args

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from quickalign.core.errors import ConflictError, DataError, NotFoundError, OptionError
from quickalign.core.hyperparameters import DEFAULT_SYSTEM_PROMPT
from quickalign.core.wire.base import Page
from quickalign.core.wire.files import RowPreview, RowTextsPage, RowTokensPage, StoredFile
from quickalign.platform import ids
from quickalign.platform.config import Config
from quickalign.platform.crashpoints import reach
from quickalign.platform.db import paging
from quickalign.platform.db.engine import Database
from quickalign.platform.db.tables import FileRow, InputRow, JobRow
from quickalign.platform.files import report as reports
from quickalign.platform.files.blobs import Blobs
from quickalign.platform.files.preview import preview
from quickalign.platform.files.understood import MAX_ROWS, row_texts, row_tokens
from quickalign.platform.jobs.states import FINAL

PURPOSES: tuple[str, ...] = get_args(StoredFile.model_fields["purpose"].annotation)
_MAX_NAME_BYTES = 255
_MAX_PAGE = 1000


class Upload:
    """A file on its way in; use it in a `with` block, so that a cut-off upload leaves nothing."""

    def __init__(self, files: "Files", filename: str, purpose: str, limit: int) -> None:
        self._files, self._filename, self._purpose = files, filename, purpose
        self._writing = files.blobs.writing(limit)

    def __enter__(self) -> "Upload":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writing.abort()

    @property
    def size(self) -> int:
        """How many bytes have arrived."""
        return self._writing.bytes

    def write(self, content: bytes) -> None:
        """Take the next bytes.

        Raises:
            TooLargeError: there are too many. StorageError: the disk is full.
        """
        self._writing.write(content)

    def commit(self, expected_sha256: str | None = None) -> StoredFile:
        """Complete the upload.

        Raises:
            DataError: the file is empty, or is not what was expected.
        """
        if not self._writing.bytes:
            raise DataError(
                f"The file {self._filename!r} is empty.", "Send a file with rows.", field="file", value=self._filename
            )
        return self._files.add(self._writing.finish, expected_sha256, self._filename, self._purpose, self.size)


class Files:
    """The uploaded files of this home."""

    def __init__(
        self, database: Database, blobs: Blobs, config: Config, clock: Callable[[], float] = time.time
    ) -> None:
        self._database, self.blobs, self._config, self._clock = database, blobs, config, clock

    def begin(self, filename: str, purpose: str = "fine-tune") -> Upload:
        """Begin an upload.

        Raises:
            OptionError: the name or the purpose cannot be. StorageError: the disk is full.
        """
        if purpose not in PURPOSES:
            raise OptionError(
                f"There is no purpose {purpose!r}.",
                f"Use one of {', '.join(PURPOSES)}.",
                field="purpose",
                value=purpose,
            )
        return Upload(self, checked_name(filename), purpose, self._config.max_upload_bytes)

    def add(
        self, finish: Callable[[str | None], str], expected: str | None, filename: str, purpose: str, size: int
    ) -> StoredFile:
        """Complete an upload; `finish` puts its bytes into the store."""
        with self.blobs.keeping():  # no collection between the content and its row
            digest = finish(expected)
            row = FileRow(
                id=ids.new("file"),
                filename=filename,
                purpose=purpose,
                bytes=size,
                sha256=digest,
                created_at=self._clock(),
            )
            with self._database.write() as session:
                session.add(row)
        return _wire(row, 0)

    def get(self, file_id: str) -> StoredFile:
        """One file.

        Raises:
            NotFoundError: there is none.
        """
        with self._database.read() as session:
            row = self.row(session, file_id)
            return _wire(row, _users(session, [file_id]).get(file_id, 0))

    def list(self, *, purpose: str | None = None, after: str | None = None, limit: int = 20) -> Page[StoredFile]:
        """Files, newest first, from behind `after`: the `next` of the page before, or the id of its last file."""
        wanted = max(1, min(limit, _MAX_PAGE))
        query = select(FileRow).order_by(FileRow.number.desc()).limit(wanted + 1)
        if purpose is not None:
            query = query.where(FileRow.purpose == purpose)
        with self._database.read() as session:
            if after is not None:
                query = query.where(FileRow.number < paging.place(session, after, self.row))
            rows = list(session.scalars(query))
            users = _users(session, [row.id for row in rows])
        items = tuple(_wire(row, users.get(row.id, 0)) for row in rows[:wanted])
        return Page(items=items, next=paging.following(rows[wanted - 1]) if len(rows) > wanted else None)

    def path(self, file_id: str) -> Path:
        """The file's bytes; read only."""
        return self.blobs.path(self.content(file_id)[0])

    def delete(self, file_id: str) -> None:
        """Delete a file; its content stays as long as a job or another file has it.

        Raises:
            NotFoundError: there is none. ConflictError: a job that is not over reads it.
        """
        with self._database.write() as session:
            row = self.row(session, file_id)
            if users := _users(session, [file_id]).get(file_id, 0):
                raise ConflictError(
                    f"The file {file_id} is read by {users} job{'s' if users > 1 else ''} not yet over.",
                    "Wait for them, or cancel them.",
                    field="file_id",
                    value=file_id,
                )
            digest = row.sha256
            session.delete(row)
        reach("file.deleted")
        self.collect(digest)

    def rows(self, file_id: str, *, offset: int = 0, limit: int = 20) -> RowPreview:
        """Some rows as they were read.

        Raises:
            DataError: the file holds no rows that can be read.
        """
        digest, filename = self.content(file_id)
        return preview(self.blobs.path(digest), filename, offset=offset, limit=limit)

    def texts(self, file_id: str, *, offset: int = 0, limit: int = 20) -> RowTextsPage:
        """Some rows as they are understood.

        Raises:
            NotFoundError; DataError: the file cannot be read, or its format is not known.
        """
        digest, filename = self.content(file_id)
        return row_texts(self.blobs.path(digest), filename, offset=offset, limit=limit)

    def tokens(
        self,
        file_id: str,
        *,
        model: str,
        seq_length: int,
        system_prompt: str = DEFAULT_SYSTEM_PROMPT,
        offset: int = 0,
        limit: int = 20,
    ) -> RowTokensPage:
        """Some rows as `model` sees them, with what `seq_length` cuts. Takes seconds: a tokenizer is loaded.

        Raises:
            NotFoundError; DataError, ModelError: the file or the tokenizer cannot be read.
        """
        digest, filename = self.content(file_id)
        request = {"model": model, "seq_length": seq_length, "system_prompt": system_prompt}
        request |= {"offset": max(0, offset), "limit": max(1, min(limit, MAX_ROWS))}
        return row_tokens(self.blobs.path(digest), filename, request, self._config.estimate_seconds)

    def report(
        self, file_id: str, *, model: str | None = None, options: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """The data report; with a `model` it counts tokens as that one does.

        `options` may name data_format, safe_rlhf_preference, seq_length, system_prompt and apply_chat_template.
        """
        digest, filename = self.content(file_id)
        path = self.blobs.path(digest)
        return reports.data_report(path, filename, model, options or {}, self._config.estimate_seconds)

    def content(self, file_id: str) -> tuple[str, str]:
        """The SHA-256 and the name of a file.

        Raises:
            NotFoundError: there is none.
        """
        with self._database.read() as session:
            query = select(FileRow.sha256, FileRow.filename).where(FileRow.id == file_id)
            found = session.execute(query).one_or_none()
        if found is None:
            raise _missing(file_id)
        return found[0], found[1]

    def collect(self, *digests: str) -> None:
        """Delete those of these contents that nothing refers to any more."""
        with self.blobs.collecting() as may:
            if not may:
                return
            with self._database.read() as session:
                kept = _referred(session, digests)
            for digest in set(digests) - kept:
                self.blobs.remove(digest)

    def sweep(self) -> None:
        """Delete all contents that nothing refers to, such as those of a server that was killed between two steps."""
        self.collect(*self.blobs.digests())

    def row(self, session: Session, file_id: str) -> FileRow:
        """The row of a file.

        Raises:
            NotFoundError: there is none.
        """
        row = session.scalar(select(FileRow).where(FileRow.id == file_id))
        if row is None:
            raise _missing(file_id)
        return row


def _missing(file_id: str) -> NotFoundError:
    return NotFoundError(
        f"There is no file {file_id!r}.", "`quickalign files list` shows them all.", field="file_id", value=file_id
    )


def checked_name(filename: str) -> str:
    """The last part of a file's name, as a client may send a whole path.

    Raises:
        OptionError: nothing usable is left of it.
    """
    name = filename.replace("\\", "/").rpartition("/")[2].strip()
    if name in ("", ".", "..") or any(ord(c) < 32 or ord(c) == 127 for c in name):
        raise OptionError(
            f"{filename!r} cannot be a file's name.", "Use a name such as pairs.json.", field="filename", value=filename
        )
    if len(name.encode("utf-8", "surrogatepass")) > _MAX_NAME_BYTES or name != name.encode("utf-8", "ignore").decode():
        raise OptionError(
            f"The file name {name[:40]!r} is too long or no Unicode text.", "Use a shorter one.", field="filename"
        )
    return name


def _wire(row: FileRow, used_by: int) -> StoredFile:
    values = {name: getattr(row, name) for name in ("id", "filename", "purpose", "bytes", "sha256", "created_at")}
    return StoredFile(**values, used_by=used_by)


def _users(session: Session, file_ids: Sequence[str]) -> dict[str, int]:
    """How many jobs that are not over read each file."""
    query = (
        select(InputRow.file, func.count(func.distinct(InputRow.job)))
        .join(JobRow, JobRow.number == InputRow.job)
        .where(InputRow.file.in_(file_ids), JobRow.state.not_in([str(state) for state in FINAL]))
        .group_by(InputRow.file)
    )
    return {str(file): int(count) for file, count in session.execute(query)}


def _referred(session: Session, digests: tuple[str, ...]) -> set[str]:
    wanted = list(digests) if len(digests) < 100 else None
    files, inputs = select(FileRow.sha256), select(InputRow.sha256).where(InputRow.blob)
    if wanted is not None:
        files, inputs = files.where(FileRow.sha256.in_(wanted)), inputs.where(InputRow.sha256.in_(wanted))
    return {str(digest) for query in (files, inputs) for digest in session.scalars(query) if digest}
