"""The files by which a driver and its workers know of each other, on the disk that all nodes of a cluster share.

FOLDER/current          the token of the driver that counts: a newer one replaces it
FOLDER/TOKEN/
  beat                  touched by the driver while it lives
  environment.json      the driver's environment, for workers on other machines
  begun                 a line for each time that the workers have begun
  lines                 what the main worker says
  stop                  the driver's wish that the run is saved and stopped
  failure.json          why the run cannot go on, by the first worker that found out
  reserve               room for that where the disk is full

All of it works without the cluster's head: a worker ends itself when its driver is gone or was replaced.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from quickalign.core import atomic
from quickalign.core.errors import QuickalignError

SILENT_SECONDS = 30.0
"""A worker whose driver has not been heard of for so long ends itself, before anybody starts the run again."""

ORPHANED = 75
_LOOK_SECONDS = 1.0
_RESERVE_BYTES = 64 << 10
# What belongs to a machine or to Ray, and is not taken from one to another.
_OWN = ("RAY_", "CUDA_", "NVIDIA_", "LD_", "PYTHON", "OMP_", "HOSTNAME", "PWD", "SHLVL", "_")
# What a worker takes even where it has something else.
_TAKEN = ("QUICKALIGN_",)


@dataclass(frozen=True, slots=True)
class Failure:
    """What a run ended with that another start would end with too, or that its user asked for."""

    exit_code: int
    message: str
    kind: str


class TrainingLink:
    """One driver's files; `token` is made anew for each driver."""

    def __init__(self, folder: Path, token: str) -> None:
        self._current = folder / "current"
        self._token = token
        self.folder = folder / token

    # The driver's side.

    def open(self) -> None:
        """Make the files, and be the driver that counts."""
        self.folder.mkdir(mode=0o700, parents=True)
        environment = {name: value for name, value in os.environ.items() if not name.startswith(_OWN)}
        file = self.folder / "environment.json"
        file.touch(mode=0o600)
        file.write_text(json.dumps(environment), encoding="utf-8")
        (self.folder / "reserve").write_bytes(os.urandom(_RESERVE_BYTES))  # no disk can make less of it
        (self.folder / "beat").touch()
        self.beat()
        atomic.write_text(self._current, self._token)

    def beat(self) -> None:
        """Show that the driver lives; over what is there, which takes no room of a full disk."""
        with (self.folder / "beat").open("r+b") as stream:
            stream.write(f"{time.time():.6f}".encode())

    def ask_to_stop(self) -> None:
        """Let the run save and stop after its current step."""
        (self.folder / "stop").touch()

    def starts(self) -> int:
        """How often the workers have begun."""
        return len(_lines(self.folder / "begun"))

    def failure(self) -> Failure | None:
        """Why the run ended, where a worker said so."""
        try:
            return Failure(**json.loads((self.folder / "failure.json").read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None

    def close(self) -> None:
        """Remove the files; workers that are still there end themselves."""
        if _read(self._current) == self._token:
            atomic.write_text(self._current, "")
        shutil.rmtree(self.folder, ignore_errors=True)

    # The workers' side.

    def take_environment(self) -> None:
        """Complete this process's environment by the driver's."""
        for name, value in json.loads((self.folder / "environment.json").read_text(encoding="utf-8")).items():
            if name.startswith(_TAKEN):
                os.environ[name] = value
            else:
                os.environ.setdefault(name, value)

    def begin(self) -> int:
        """Note that the workers begin; returns how often they have."""
        with (self.folder / "begun").open("a", encoding="ascii") as stream:
            stream.write(f"{time.time()}\n")
        return self.starts()

    def lines(self) -> IO[str]:
        """Where the main worker writes what the driver is to say."""
        return (self.folder / "lines").open("a", encoding="utf-8")

    def is_stop_asked(self) -> bool:
        """Whether the run is to save and stop."""
        return (self.folder / "stop").exists()

    def fail(self, error: QuickalignError) -> None:
        """Say why the run ends; what was said first stays."""
        if self.failure() is None:
            values = {"exit_code": error.exit_code, "message": str(error), "kind": type(error).__name__}
            try:
                atomic.write_text(self.folder / "failure.json", json.dumps(values))
            except OSError:  # the disk is full, which may be what there is to say
                (self.folder / "reserve").unlink(missing_ok=True)
                atomic.write_text(self.folder / "failure.json", json.dumps(values))

    def watch(self) -> None:
        """End this process, from a thread, when its driver is gone or another one has taken its place."""
        threading.Thread(target=self._watch, name="driver watch", daemon=True).start()

    def _watch(self) -> None:
        beat, heard = "", time.monotonic()
        while time.monotonic() - heard < SILENT_SECONDS:
            time.sleep(_LOOK_SECONDS)
            found = _read(self.folder / "beat")
            if found not in (None, "", beat):
                beat, heard = str(found), time.monotonic()
            if _read(self._current) not in (None, self._token):
                break
        os._exit(ORPHANED)


class Tail:
    """Copies what is added to a file."""

    def __init__(self, path: Path, target: IO[str]) -> None:
        self._path, self._target, self._offset = path, target, 0

    def copy(self) -> None:
        """Copy whole lines that are new."""
        try:
            with self._path.open("rb") as stream:
                stream.seek(self._offset)
                content = stream.read()
        except FileNotFoundError:
            return
        whole = content[: content.rfind(b"\n") + 1]
        if whole:
            self._offset += len(whole)
            self._target.write(whole.decode("utf-8", "replace"))
            self._target.flush()


def _lines(path: Path) -> list[str]:
    return (_read(path) or "").splitlines()


def _read(path: Path) -> Any:
    """The file's text; None where it cannot be read now."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return None
