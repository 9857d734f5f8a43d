"""`python -m quickalign.cluster.train SPEC.json --workers N`: a run on several workers of a Ray cluster.

To whoever starts it, it is `python -m quickalign.train SPEC.json`: the same lines, files and exit codes, and the same
answer to SIGTERM. It waits until all workers have a place at once. Where one is lost, all begin anew at the last
checkpoint. `--cpus`, `--gpus` and `--memory BYTES` are what each worker takes; `--address` is the cluster's, by default
the one that this program runs in, and `local` is one of this machine alone, for the time of the run.
"""

from __future__ import annotations

import argparse
import secrets
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from types import FrameType

from quickalign.cluster.training_group import Share, connect, disconnect, fit, room_for
from quickalign.cluster.training_link import Tail, TrainingLink
from quickalign.core import disk
from quickalign.core import spec as specs
from quickalign.core.distribution import check_distribution
from quickalign.core.errors import Interrupted
from quickalign.core.program import CRASHED, exit_code, leave

LINKS = "workers"
"""The folder beside the specification in which driver and workers meet."""

_LOOK_SECONDS = 0.2
_BEAT_SECONDS = 1.0
_ROOM_SECONDS = 10.0
# What is said at the very end is on the shared disk a little after Ray knows that it is the end.
_LAST_WORDS_SECONDS = 5.0


class _Signals:
    """SIGTERM and SIGINT: the first lets the run save and stop, the second ends it at once."""

    def __init__(self) -> None:
        self.count = 0
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.count += 1


class _Fit(threading.Thread):
    """Ray Train at work, in a thread of its own: the main one listens to signals and shows that the driver lives."""

    def __init__(self, workers: int, share: Share, config: dict[str, str], storage: Path) -> None:
        super().__init__(name="ray train", daemon=True)
        self._arguments = (workers, share, config, storage)
        self.error: BaseException | None = None

    def run(self) -> None:
        """Run the workers to their end."""
        try:
            fit(*self._arguments)
        except BaseException as error:  # it is the main thread's to tell
            self.error = error


class Driver:
    """Takes one run from its specification to its end."""

    def __init__(self, spec: Path, output: Path, workers: int, share: Share) -> None:
        self._output = output
        self._spec, self._workers, self._share = spec.absolute(), workers, share
        token = secrets.token_hex(8)
        links = self._spec.parent / LINKS
        self._link = TrainingLink(links, token)
        self._config = {"link": str(links), "token": token, "spec": str(self._spec), "folder": str(Path.cwd())}
        self._tail = Tail(self._link.folder / "lines", sys.stdout)
        self._signals = _Signals()

    def drive(self) -> int:
        """Train; returns the exit code.

        Raises:
            Interrupted: it was stopped before its workers had begun.
        """
        self._link.open()
        training = _Fit(self._workers, self._share, self._config, self._link.folder)
        try:
            training.start()
            self._follow(training)
            self._tail.copy()
            return self._outcome(training)
        finally:
            disconnect()
            self._link.close()

    def _follow(self, training: _Fit) -> None:
        beat = room = time.monotonic()
        said: str | None = None
        while training.is_alive() and self._link.failure() is None:
            training.join(_LOOK_SECONDS)
            self._tail.copy()
            now = time.monotonic()
            if now - beat >= _BEAT_SECONDS:
                beat = now
                self._link.beat()
            begun = self._link.starts() > 0
            if self._signals.count:
                self._stop(begun=begun)
            if not begun and now - room >= _ROOM_SECONDS:
                room = now
                said = self._say(room_for(self._workers, self._share), said)

    def _stop(self, *, begun: bool) -> None:
        if not begun or self._signals.count > 1:
            raise Interrupted("Stopped before the next checkpoint.", "The same command goes on from the last one.")
        self._link.ask_to_stop()

    def _say(self, reason: str | None, said: str | None) -> str | None:
        if reason and reason != said:
            from quickalign.train.journal import Journal  # noqa: PLC0415 - loads PyTorch, and is seldom needed

            sys.stdout.write(f"[workers] {reason}\n")
            sys.stdout.flush()
            Journal(self._output).phase("workers", reason)
        return reason

    def _outcome(self, training: _Fit) -> int:
        failure = self._link.failure()
        if failure is not None:
            if failure.kind == Interrupted.__name__:
                training.join(_LAST_WORDS_SECONDS)
                self._tail.copy()
            sys.stderr.write(f"error: {failure.message}\n")
            return failure.exit_code
        if training.error is not None:
            traceback.print_exception(training.error)
            return CRASHED
        return 0


def main(arguments: list[str]) -> int:
    """Run what the arguments say; returns the exit code of `core.errors`, or `CRASHED`."""
    asked = _parser().parse_args(arguments)
    return exit_code(lambda: _drive(asked))


def _drive(asked: argparse.Namespace) -> int:
    spec = specs.load(asked.spec)
    check_distribution(spec.strategy, spec.hyperparameters, asked.workers)
    connect(asked.address)
    share = Share(asked.cpus, asked.gpus, asked.memory)
    with disk.explained(spec.output):
        return Driver(asked.spec, spec.output, asked.workers, share).drive()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m quickalign.cluster.train", description=__doc__)
    parser.add_argument("spec", type=Path, help="the run specification's JSON file")
    parser.add_argument("--workers", type=_positive, required=True, help="how many processes train together")
    parser.add_argument("--cpus", type=float, default=1.0, help="CPUs of each worker")
    parser.add_argument("--gpus", type=int, default=0, help="GPUs of each worker: 0 or 1")
    parser.add_argument("--memory", type=int, default=0, help="bytes of memory of each worker; 0 reserves none")
    parser.add_argument("--address", help="the cluster's address")
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is no number of workers.")
    return value


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
