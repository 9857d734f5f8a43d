"""Objects by bucket and key. Their bytes are stored files, so that a job can read an object as it reads an upload."""

import hashlib
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from sqlalchemy import func, select

from quickalign.core.errors import ConflictError, NotFoundError, OptionError
from quickalign.platform.db.cloud_tables import ObjectRow
from quickalign.platform.db.engine import Database
from quickalign.platform.files.service import Files, Upload

PURPOSE = "user_data"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
_MAX_KEY_BYTES = 1023
_MAX_PAGE = 1000


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object. `file` is None for one of no bytes; `etag` is its MD5 in upper-case hexadecimal digits."""

    bucket: str
    key: str
    bytes: int
    etag: str
    content_type: str
    modified_at: float
    file: str | None


class Putting:
    """An object on its way in; use it in a `with` block, so that a cut-off upload leaves nothing."""

    def __init__(self, objects: "Objects", bucket: str, key: str, content_type: str) -> None:
        self._objects, self._bucket, self._key, self._type = objects, bucket, key, content_type
        self._upload: Upload | None = None
        self._md5 = hashlib.md5(usedforsecurity=False)

    def __enter__(self) -> "Putting":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._upload is not None:
            self._upload.__exit__(kind, error, trace)

    @property
    def md5(self) -> bytes:
        """The MD5 of what has arrived."""
        return self._md5.digest()

    def write(self, content: bytes) -> None:
        """Take the next bytes.

        Raises:
            TooLargeError: there are too many. StorageError: the disk is full.
        """
        if not content:
            return
        if self._upload is None:
            self._upload = self._objects.files.begin(self._key.rstrip("/").rpartition("/")[2] or "object", PURPOSE)
        self._upload.write(content)
        self._md5.update(content)

    def commit(self, etag: str | None = None) -> StoredObject:
        """Put the object in its place, instead of an earlier one of that key. `etag` stands for the MD5."""
        stored = self._upload.commit() if self._upload is not None else None
        row = ObjectRow(
            bucket=self._bucket,
            key=self._key,
            file=stored.id if stored else None,
            bytes=stored.bytes if stored else 0,
            etag=etag or self._md5.hexdigest().upper(),
            content_type=self._type[:255],
            modified_at=self._objects.clock(),
        )
        self._objects.replace(row)
        return _object(row)


class Objects:
    """The objects of this home."""

    def __init__(self, database: Database, files: Files, clock: Callable[[], float] = time.time) -> None:
        self._database, self.files, self.clock = database, files, clock

    def put(self, bucket: str, key: str, content_type: str = "application/octet-stream") -> Putting:
        """Begin to store an object.

        Raises:
            OptionError: the bucket's or the object's name cannot be.
        """
        return Putting(self, check_bucket(bucket), check_key(key), content_type)

    def get(self, bucket: str, key: str) -> StoredObject:
        """One object.

        Raises:
            NotFoundError: there is none.
        """
        with self._database.read() as session:
            row = session.get(ObjectRow, (bucket, key))
        if row is None:
            raise NotFoundError(f"There is no object {key[:200]!r} in {bucket[:63]!r}.", field="key", value=key)
        return _object(row)

    def path(self, found: StoredObject) -> Path | None:
        """The object's bytes, read only; None for one of no bytes."""
        return None if found.file is None else self.files.path(found.file)

    def list(self, bucket: str, prefix: str, after: str = "", limit: int = _MAX_PAGE) -> tuple[StoredObject, ...]:
        """Objects whose keys begin with `prefix` and come behind `after`, by key."""
        query = select(ObjectRow).where(ObjectRow.bucket == bucket, ObjectRow.key > after)
        # not LIKE, which takes upper case for lower case in SQLite
        query = query.where(func.substr(ObjectRow.key, 1, len(prefix)) == prefix) if prefix else query
        with self._database.read() as session:
            rows = session.scalars(query.order_by(ObjectRow.key).limit(min(limit, _MAX_PAGE))).all()
        return tuple(map(_object, rows))

    def replace(self, row: ObjectRow) -> None:
        """Put `row` in the place of one with the same key, whose bytes go when nothing reads them any more."""
        with self._database.write() as session:
            old = session.get(ObjectRow, (row.bucket, row.key))
            before = old.file if old is not None else None
            session.merge(row)
        self._drop(before)

    def delete(self, bucket: str, key: str) -> None:
        """Delete an object; one that is not there is no error, as in the protocol.

        Raises:
            ConflictError: a job that is not over reads it.
        """
        with self._database.read() as session:
            row = session.get(ObjectRow, (bucket, key))
        if row is None:
            return
        if row.file is not None:
            self.files.delete(row.file)
        with self._database.write() as session:
            if (still := session.get(ObjectRow, (bucket, key))) is not None and still.file == row.file:
                session.delete(still)

    def _drop(self, file: str | None) -> None:
        """Delete the file of an object that was replaced, unless a job still reads it: its job keeps the bytes."""
        if file is not None:
            with suppress(ConflictError, NotFoundError):
                self.files.delete(file)


def check_bucket(name: str) -> str:
    """A bucket's name as it is.

    Raises:
        OptionError: it cannot be one.
    """
    if not _BUCKET.fullmatch(name):
        raise OptionError(
            f"{name[:63]!r} cannot be a bucket's name.",
            "Use 3 to 63 lower-case letters, digits and hyphens.",
            field="bucket",
            value=name,
        )
    return name


def check_key(key: str) -> str:
    """An object's key as it is.

    Raises:
        OptionError: it cannot be one.
    """
    encodable = key == key.encode("utf-8", "ignore").decode()
    if not encodable or not 1 <= len(key.encode("utf-8")) <= _MAX_KEY_BYTES or key[0] in "/\\" or "\0" in key:
        raise OptionError(
            f"{key[:100]!r} cannot be an object's key.",
            f"Use 1 to {_MAX_KEY_BYTES} bytes of UTF-8 that do not begin with a slash.",
            field="key",
            value=key,
        )
    return key


def _object(row: ObjectRow) -> StoredObject:
    return StoredObject(row.bucket, row.key, row.bytes, row.etag, row.content_type, row.modified_at, row.file)
