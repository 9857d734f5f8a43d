"""A file's bytes on their way in: hashed, counted, unpacked where they are gzip."""

import gzip
import hashlib
import io
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, BinaryIO

from quickalign.core.errors import DataError
from quickalign.data.containers.limits import EXPANSION_FREE, MAX_EXPANSION

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

Progress = Callable[[int, int | None], None]
"""Receives bytes read and bytes in all (None where unknown)."""

_GZIP_MAGIC = b"\x1f\x8b"
_PEEK = 1 << 16
_PROGRESS_EVERY = 1 << 20


class _Counted(io.RawIOBase):
    """Passes a stream through, keeping its SHA-256 and its length."""

    def __init__(self, stream: BinaryIO, total: int | None, progress: Progress | None) -> None:
        self._stream, self._total, self._progress = stream, total, progress
        self._digest = hashlib.sha256()
        self._told = 0
        self.count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer).cast("B")
        content = self._stream.read(len(view))
        view[: len(content)] = content
        self._digest.update(content)
        self.count += len(content)
        self._tell(final=not content)
        return len(content)

    def sha256(self) -> str:
        return self._digest.hexdigest()

    def _tell(self, final: bool) -> None:
        if self._progress and (final or self.count - self._told >= _PROGRESS_EVERY):
            self._told = self.count
            self._progress(self.count, self._total)


class _Unpacked(io.RawIOBase):
    """The content of a gzip stream; damage and absurd expansion become a `DataError`."""

    def __init__(self, packed: "io.BufferedReader[Any]", counted: _Counted, uri: str) -> None:
        self._gzip = gzip.GzipFile(fileobj=packed, mode="rb")
        self._counted, self._uri = counted, uri
        self._given = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer).cast("B")
        try:
            content = self._gzip.read(len(view))
        except EOFError:
            raise DataError(
                f"{self._uri} is a gzip file that ends too early, after {self._given} unpacked bytes.",
                "Copy or download it again.",
            ) from None
        except (OSError, zlib.error) as error:
            raise DataError(f"{self._uri} is a damaged gzip file: {error}.", "Copy or download it again.") from None
        self._given += len(content)
        if self._given > EXPANSION_FREE and self._given > MAX_EXPANSION * self._counted.count:
            raise DataError(
                f"{self._uri} unpacks to more than {MAX_EXPANSION} times its size, which no text does by itself.",
                "If you trust the file, unpack it with gunzip and give the result.",
            )
        view[: len(content)] = content
        return len(content)


class ByteStream:
    """A file opened once: `reader` gives its content unpacked, `packed` says whether it was gzip."""

    def __init__(self, uri: str, stream: BinaryIO, total: int | None, progress: Progress | None) -> None:
        self._finished: tuple[str, int] | None = None
        self._counted = _Counted(stream, total, progress)
        self._outer: io.BufferedReader[Any] = io.BufferedReader(self._counted, _PEEK)
        self.packed = self._outer.peek(len(_GZIP_MAGIC))[: len(_GZIP_MAGIC)] == _GZIP_MAGIC
        self.reader: io.BufferedReader[Any] = self._outer
        if self.packed:
            self.reader = io.BufferedReader(_Unpacked(self._outer, self._counted, uri), _PEEK)

    def head(self) -> bytes:
        """The first bytes of the content, not consumed."""
        return self.reader.peek(_PEEK)

    def finish(self) -> tuple[str, int]:
        """Read what is left, once, and return the SHA-256 and the length of the file as it is stored."""
        if self._finished:
            return self._finished
        while self.reader.read(_PEEK):
            pass
        while self._outer.read(_PEEK):
            pass
        self._finished = self._counted.sha256(), self._counted.count
        return self._finished
