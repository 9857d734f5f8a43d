"""Uploads in parts: each part a file of its own, until all of them become one object."""

import hashlib
import json
import re
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from quickalign.core import atomic
from quickalign.core.errors import NotFoundError, OptionError, StorageError
from quickalign.platform import ids
from quickalign.platform.objects.store import Objects, StoredObject, check_bucket, check_key

MOST_PARTS = 10_000
_ID = re.compile(r"upload-[a-z2-7]{24}")
_BLOCK = 1 << 20
_STALE_SECONDS = 7 * 24 * 3600.0
_META = "upload.json"


@dataclass(frozen=True, slots=True)
class Part:
    """A part that has arrived; `etag` is its MD5 in upper-case hexadecimal digits."""

    number: int
    bytes: int
    etag: str
    modified_at: float


class PartWriter:
    """A part on its way in; it counts when `commit` was reached."""

    def __init__(self, folder: Path, number: int, most_bytes: int) -> None:
        self._target, self._most = folder / f"{number:05d}", most_bytes
        self._number = number
        self._temporary = folder / f".{number:05d}-{ids.new('x')}"
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._bytes = 0
        self._stream = self._temporary.open("wb")

    def __enter__(self) -> "PartWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self._temporary.unlink(missing_ok=True)

    @property
    def md5(self) -> bytes:
        """The MD5 of what has arrived."""
        return self._md5.digest()

    def write(self, content: bytes) -> None:
        """Take the next bytes.

        Raises:
            OptionError: there are more than an object may have. StorageError: the disk is full.
        """
        self._bytes += len(content)
        if self._bytes > self._most:
            raise OptionError(
                f"The part has more than {self._most:,} bytes.", "Send smaller parts.", field="partNumber"
            )
        try:
            self._stream.write(content)
        except OSError as error:
            raise StorageError(f"The part cannot be written: {error.strerror or error}.", "Make room.") from None
        self._md5.update(content)

    def commit(self) -> Part:
        """Put the part in its place, instead of an earlier one of its number."""
        self._stream.close()
        etag = self._md5.hexdigest().upper()
        atomic.write_text(self._target.with_suffix(".etag"), etag)
        self._temporary.replace(self._target)
        return Part(self._number, self._bytes, etag, time.time())


class MultipartUploads:
    """The uploads in parts of this home."""

    def __init__(self, folder: Path, objects: Objects, most_bytes: int, clock: Callable[[], float] = time.time) -> None:
        self._root, self._objects, self._most, self._clock = folder, objects, most_bytes, clock

    def begin(self, bucket: str, key: str, content_type: str) -> str:
        """Begin an upload; returns its id."""
        meta = {"bucket": check_bucket(bucket), "key": check_key(key), "content_type": content_type}
        identity = ids.new("upload")
        folder = self._root / identity
        folder.mkdir(parents=True, mode=0o700)
        atomic.write_text(folder / _META, json.dumps(meta))
        return identity

    def part(self, upload: str, bucket: str, key: str, number: int) -> PartWriter:
        """Begin to store a part.

        Raises:
            NotFoundError: there is no such upload. OptionError: the number cannot be.
        """
        if not 1 <= number <= MOST_PARTS:
            raise OptionError(f"A part cannot have the number {number}.", f"Use 1 to {MOST_PARTS}.", field="partNumber")
        return PartWriter(self._folder(upload, bucket, key), number, self._most)

    def parts(self, upload: str, bucket: str, key: str) -> tuple[Part, ...]:
        """The parts that have arrived, by number."""
        folder = self._folder(upload, bucket, key)
        files = sorted(file for file in folder.iterdir() if file.name.isdigit())
        return tuple(_part(file) for file in files)

    def complete(self, upload: str, bucket: str, key: str, wanted: Sequence[tuple[int, str]]) -> StoredObject:
        """Join the `wanted` parts (number and ETag) into the object.

        Raises:
            NotFoundError: there is no such upload. OptionError: a part is missing, another one, or out of order.
        """
        folder = self._folder(upload, bucket, key)
        known = {part.number: part for part in self.parts(upload, bucket, key)}
        numbers = [number for number, _ in wanted]
        if not numbers or numbers != sorted(set(numbers)):
            raise OptionError("The parts are not named in their order, each once.", field="Part")
        digest = hashlib.md5(usedforsecurity=False)
        for number, etag in wanted:
            if number not in known or known[number].etag != etag.strip('"').upper():
                raise OptionError(f"The part {number} is not there, or is another one.", "Send it again.", field="Part")
            digest.update(bytes.fromhex(known[number].etag))
        meta = json.loads((folder / _META).read_text(encoding="utf-8"))
        with self._objects.put(bucket, key, meta["content_type"]) as putting:
            for number in numbers:
                with (folder / f"{number:05d}").open("rb") as stream:
                    while block := stream.read(_BLOCK):
                        putting.write(block)
            made = putting.commit(f"{digest.hexdigest().upper()}-{len(numbers)}")
        shutil.rmtree(folder, ignore_errors=True)
        return made

    def abort(self, upload: str, bucket: str, key: str) -> None:
        """Forget an upload with its parts."""
        shutil.rmtree(self._folder(upload, bucket, key), ignore_errors=True)

    def remove_stale(self) -> None:
        """Forget uploads that nobody has gone on with for a week."""
        for folder in self._root.iterdir() if self._root.is_dir() else ():
            if self._clock() - folder.stat().st_mtime > _STALE_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)

    def _folder(self, upload: str, bucket: str, key: str) -> Path:
        folder = self._root / upload
        if _ID.fullmatch(upload) and (folder / _META).is_file():
            meta = json.loads((folder / _META).read_text(encoding="utf-8"))
            if (meta["bucket"], meta["key"]) == (bucket, key):
                return folder
        raise NotFoundError(f"There is no upload {upload[:50]!r} of this object.", field="uploadId", value=upload)


def _part(file: Path) -> Part:
    stat = file.stat()
    etag = file.with_suffix(".etag").read_text(encoding="utf-8")
    return Part(int(file.name), stat.st_size, etag, stat.st_mtime)
