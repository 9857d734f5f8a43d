"""File contents by their SHA-256: each stored once, whole or not at all, never changed."""

import errno
import fcntl
import hashlib
import os
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from quickalign.core import atomic
from quickalign.core.errors import ConflictError, DataError, StorageError, TooLargeError
from quickalign.platform.crashpoints import reach
from quickalign.platform.home import Home, unwritable
from quickalign.platform.lock import flocked, try_flock

_STALE_SECONDS = 24 * 3600.0


class Writing:
    """Bytes on their way into the store; nothing is left of them unless `finish` is reached.

    Raises (from `write`):
        TooLargeError: more than `limit` bytes. StorageError: the disk is full.
    """

    def __init__(self, store: "Blobs", limit: int | None) -> None:
        self._store, self._limit = store, limit
        self._digest = hashlib.sha256()
        self.bytes = 0
        with store.guard():
            descriptor, name = tempfile.mkstemp(prefix="part-", dir=store.home.uploads)
        self._path = Path(name)
        self._stream = os.fdopen(descriptor, "wb")

    def __enter__(self) -> "Writing":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()

    def write(self, content: bytes) -> None:
        """Take the next bytes."""
        self.bytes += len(content)
        if self._limit is not None and self.bytes > self._limit:
            self.abort()
            raise TooLargeError(
                f"The file has more than the {self._limit:,} bytes that this server takes.",
                "Send less, or let the operator raise max_upload_bytes.",
                field="file",
                value=self.bytes,
            )
        self._digest.update(content)
        with self._store.guard():
            self._stream.write(content)

    def finish(self, expected_sha256: str | None = None) -> str:
        """Put the bytes into the store; returns their SHA-256.

        Raises:
            DataError: they are not what was expected.
        """
        digest = self._digest.hexdigest()
        if expected_sha256 is not None and expected_sha256.strip().lower() != digest:
            self.abort()
            raise DataError(
                f"The bytes that arrived have the SHA-256 {digest}, not {expected_sha256}.",
                "Send the file again; it was changed on the way.",
                field="X-Content-SHA256",
                value=expected_sha256,
            )
        with self._store.guard():
            self._stream.flush()
            self._stream.close()
            reach("blob.written")
            self._store.take(self._path, digest)
        reach("blob.stored")
        return digest

    def abort(self) -> None:
        """Forget the bytes; does nothing once they are in the store."""
        try:
            self._stream.close()
        except OSError:
            pass
        finally:
            self._path.unlink(missing_ok=True)


class Blobs:
    """The store. `pinned` keeps contents from being collected while no row refers to them yet.

    Of several servers of a home, one collects only while no other keeps anything: whatever it leaves, a later `sweep`
    finds.
    """

    def __init__(self, home: Home, *, is_shared: bool = False) -> None:
        self.home, self._is_shared = home, is_shared
        self._pins: Counter[str] = Counter()
        self._kept, self._descriptor = 0, -1
        self.lock = threading.RLock()

    def path(self, sha256: str) -> Path:
        """Where a content lies."""
        return self.home.blobs / sha256[:2] / sha256

    def writing(self, limit: int | None = None) -> Writing:
        """Begin to store bytes."""
        return Writing(self, limit)

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """Let nobody collect anything until the block ends."""
        with self.lock:
            self._keep()
            try:
                yield
            finally:
                self._let_go()

    @contextmanager
    def collecting(self) -> Iterator[bool]:
        """A block in which nobody begins to keep anything; whether contents may be removed in it."""
        with self.lock:
            if not self._is_shared:
                yield True
                return
            descriptor = None if self._kept else try_flock(self._kept_file, fcntl.LOCK_EX)
            try:
                yield descriptor is not None
            finally:
                if descriptor is not None:
                    os.close(descriptor)

    @contextmanager
    def pinned(self, *digests: str) -> Iterator[None]:
        """Keep these contents until the block ends."""
        for digest in digests:
            self.pin(digest)
        try:
            yield
        finally:
            for digest in digests:
                self.unpin(digest)

    def pin(self, digest: str) -> None:
        """Keep a content until `unpin`."""
        with self.lock:
            self._keep()
            self._pins[digest] += 1

    def unpin(self, digest: str) -> None:
        """Undo one `pin`."""
        with self.lock:
            self._pins[digest] -= 1
            self._pins = +self._pins
            self._let_go()

    def take(self, part: Path, digest: str) -> None:
        """Make the complete file `part` the content `digest`; a content that is there already stays."""
        target = self.path(digest)
        target.parent.mkdir(exist_ok=True, mode=0o700)
        part.chmod(0o400)
        with self.lock:
            if target.exists():
                part.unlink()
                return
            atomic.sync_file(part)
            part.replace(target)
        atomic.sync_folder(target.parent)

    def remove(self, digest: str) -> None:
        """Delete a content that nobody refers to, unless it is pinned."""
        with self.lock:
            if not self._pins[digest]:
                self.path(digest).unlink(missing_ok=True)

    def digests(self) -> Iterator[str]:
        """All contents."""
        for file in self.home.blobs.glob("??/*"):
            if len(file.name) == 64:
                yield file.name

    def remove_stale(self, *, nothing_arrives: bool = False) -> None:
        """Delete what uploads left that were cut off by the end of a server.

        `nothing_arrives` says that this server takes none yet: where it has no others beside it, all that is there is
        left over then, and may be what filled the disk.
        """
        old = float("inf") if nothing_arrives and not self._is_shared else time.time() - _STALE_SECONDS
        older = self.home.root.glob("uploads/part-*")  # where they were before
        for part in (*self.home.uploads.glob("part-*"), *older):
            try:
                if part.stat().st_mtime < old:
                    part.unlink()
            except FileNotFoundError:
                continue

    @property
    def _kept_file(self) -> Path:
        return self.home.lock_of("contents")

    def _keep(self) -> None:
        if self._is_shared and not self._kept:
            self._descriptor = flocked(self._kept_file, fcntl.LOCK_SH)
        self._kept += 1

    def _let_go(self) -> None:
        self._kept -= 1
        if self._is_shared and not self._kept:
            os.close(self._descriptor)

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Turn errors of the disk into sentences."""
        try:
            yield
        except ValueError:
            raise ConflictError("This upload was ended before.", "Begin a new one.") from None
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StorageError(
                    f"The disk that holds {self.home.root} is full.", "Make room and send the file again."
                ) from None
            raise unwritable(self.home.root, error) from None
