"""The state folder: what lies where."""

import errno
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from quickalign.core import atomic, paths
from quickalign.core.errors import StorageError

_ASIDE = ".trash-"


@dataclass(frozen=True, slots=True)
class Home:
    """Paths inside `QUICKALIGN_HOME`."""

    root: Path

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.root / "quickalign.db"

    @property
    def lock(self) -> Path:
        """Held by the one server of this home, or shared by those of a home with a PostgreSQL database."""
        return self.root / "lock"

    def lock_of(self, what: str) -> Path:
        """A lock for a moment, between the servers of this home."""
        return self.root / f"lock.{what}"

    @property
    def blobs(self) -> Path:
        """File contents by their SHA-256."""
        return self.root / "blobs"

    @property
    def uploads(self) -> Path:
        """Uploads that are not complete: on the disk of the contents that they become, wherever that is."""
        return self.blobs / "arriving"

    @property
    def multipart(self) -> Path:
        """Objects that arrive in parts."""
        return self.root / "multipart"

    @property
    def jobs(self) -> Path:
        """One folder a job."""
        return self.root / "jobs"

    @property
    def services(self) -> Path:
        """One folder a service."""
        return self.root / "services"

    @property
    def secrets(self) -> Path:
        """Keys from which tokens are derived."""
        return self.root / "secrets"

    @property
    def trash(self) -> Path:
        """What is being deleted."""
        return self.root / "trash"

    def job(self, job_id: str) -> Path:
        """The folder of a job."""
        return self.jobs / job_id

    def output(self, job_id: str) -> Path:
        """The run's folder of a job."""
        return self.jobs / job_id / "output"

    def attempt(self, job_id: str, attempt: int) -> Path:
        """What one start of a job left: wrapper.json, heartbeat, exit.json, stdout.log."""
        return self.jobs / job_id / "attempts" / str(attempt)

    def service(self, service_id: str) -> Path:
        """The folder of a service."""
        return self.services / service_id

    def set_aside(self, folder: Path, name: str) -> Path:
        """Move a folder to where it is only left over; returns that."""
        first, second = self.asides(folder, name)
        try:
            return folder.rename(first)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
        return folder.rename(second)

    def asides(self, folder: Path, name: str) -> tuple[Path, Path]:
        """Where a folder can be set aside; the second is for one on another disk than the home's, as of jobs that were
        moved to a larger one by a link."""
        return self.trash / name, folder.with_name(f"{_ASIDE}{name}")

    def leftovers(self) -> Iterator[Path]:
        """What was set aside and is still there."""
        yield from self.trash.iterdir()
        for place in (self.jobs, self.services):
            yield from place.glob(f"{_ASIDE}*")
            yield from place.glob(f"*/{_ASIDE}*")

    def identity(self) -> str:
        """The home's own name for itself, whatever path leads to it; made when it is first asked for.

        Raises:
            StorageError: the home cannot be written.
        """
        file = self.root / "home.id"
        try:
            content = file.read_bytes() if file.exists() else atomic.create_once(file, secrets.token_hex(16).encode())
        except OSError as error:
            raise unwritable(self.root, error) from None
        return content.decode("ascii", "replace").strip()

    def is_used(self) -> bool:
        """Whether anything lies here that a database knows."""
        return any(True for place in ("blobs/??/*", "jobs/*", "services/*") for _ in self.root.glob(place))

    def make(self) -> None:
        """Create the folders, readable by their owner only.

        Raises:
            StorageError: the home cannot be written.
        """
        try:
            inside = (self.blobs, self.uploads, self.jobs, self.services, self.secrets, self.trash, self.root / "log")
            paths.make_home(self.root)
            for folder in inside:
                folder.mkdir(exist_ok=True, mode=0o700)
        except OSError as error:
            raise unwritable(self.root, error) from None
        if not os.access(self.root, os.W_OK, effective_ids=True):
            raise unwritable(self.root, PermissionError("it is read-only for this user"))


def unwritable(root: Path, error: OSError) -> StorageError:
    """The error for a home that cannot be written."""
    return StorageError(
        f"The home {root} cannot be written: {error.strerror or error}.",
        "Give this user write access and room there, or set QUICKALIGN_HOME to another folder.",
    )
