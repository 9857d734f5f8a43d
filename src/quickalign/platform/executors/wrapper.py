"""`python -m quickalign.platform.executors.wrapper FOLDER TOKEN`: runs one attempt and writes down how it ended.

It leads a session of its own, so that nothing that ends the server ends it; `--apart` makes one, where what starts it
does not. What it starts dies with it: the kernel is asked to (`prctl`), and both hold the job's lock, which no later
attempt gets before the last of them is gone.
"""

import contextlib
import ctypes
import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from quickalign.core.errors import QuickalignError
from quickalign.platform.crashpoints import reach
from quickalign.platform.executors import records
from quickalign.platform.executors.records import Claim, Exit, Lease
from quickalign.platform.executors.results import copy_results
from quickalign.platform.executors.watch import Watch
from quickalign.platform.processes import Identity, identify, place

CRASHED, UNSEEN = 70, 71
APART = "--apart"
_LOOK_SECONDS = 0.5
_LOCK_SECONDS = 30.0
_PR_SET_PDEATHSIG = 1


class _Stopped(BaseException):
    """SIGTERM came while results were copied."""


class _Signals:
    """SIGTERM and SIGINT: handed to the command, once, because a second one would end it without saving."""

    def __init__(self) -> None:
        self.child: subprocess.Popen[bytes] | None = None
        self.copying = False
        self._asked = self._passed_on = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._handle)

    def started(self, child: subprocess.Popen[bytes]) -> None:
        """The command runs; what came before it is handed on now."""
        self.child = child
        self._pass_on()

    def ask(self) -> None:
        """The command should stop, as if a signal had said so."""
        self._asked = True
        self._pass_on()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._asked = True
        if self.copying:
            raise _Stopped
        self._pass_on()

    def _pass_on(self) -> None:
        if self._asked and self.child is not None and not self._passed_on:
            self._passed_on = True
            with contextlib.suppress(ProcessLookupError):
                self.child.send_signal(signal.SIGTERM)


def main(arguments: list[str]) -> int:
    """Run the attempt in the folder of the first argument, if its lease still has the token of the second."""
    if APART in arguments and (code := _part()) is not None:
        return code
    folder, token = Path(arguments[0]), arguments[1]
    signals = _Signals()
    if APART in arguments and not folder.is_dir():
        print(f"{folder} is not there on this node: the home must lie on a disk that all nodes share.", file=sys.stderr)  # noqa: T201
        return UNSEEN
    lease = records.read(folder / records.LEASE, Lease)
    if lease is None or lease.lease_token != token:
        return 0
    with _run_lock(folder.parent.parent / records.RUN_LOCK) as lock:
        reach("wrapper.before_claim")
        me = identify(os.getpid())
        claim = Claim(attempt=lease.attempt, lease_token=token, wrapper=me, place=place())
        if lock is None or not records.create(folder / records.CLAIM, claim):
            return 0
        reach("wrapper.claimed")
        code, message = _run(folder, lease, claim, lock, signals)
        reach("wrapper.before_exit")
        ended = Exit(
            lease_token=token,
            code=code if code >= 0 else None,
            signal=-code if code < 0 else None,
            message=message,
            finished_at=time.time(),
        )
        _leave(folder / records.EXIT, ended)
        reach("wrapper.after_exit")
    return 0


def _leave(path: Path, ended: Exit) -> None:
    """Write down how it ended; on a full disk, which may be why it did, as soon as there is room."""
    while True:
        try:
            return records.replace(path, ended)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
        time.sleep(_LOOK_SECONDS)


def _run(folder: Path, lease: Lease, claim: Claim, lock: int, signals: _Signals) -> tuple[int, str | None]:
    watch = Watch(folder, lease)  # now: whoever started this may be gone as soon as the command is there
    records.touch(folder / records.HEARTBEAT)
    with (folder / records.LOG).open("ab") as log:
        try:
            child = subprocess.Popen(
                lease.command,
                cwd=lease.folder,
                env=os.environ | lease.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(lock,),
                preexec_fn=dies_with(os.getpid()),  # noqa: PLW1509 - this process has one thread so far
            )
        except OSError as error:
            return CRASHED, f"{lease.command[0]} cannot be started: {error.strerror or error}."
    reach("wrapper.spawned")
    records.replace(folder / records.CLAIM, claim.model_copy(update={"child": identify(child.pid)}))
    signals.started(child)
    watch.start()
    code = _wait(child, watch, signals, claim.wrapper)
    reach("wrapper.child_ended")
    if code == 0 and lease.copy_to and lease.results:
        watch.copying = True
        code, message = _copy(Path(lease.results), lease.copy_to, signals)
    else:
        message = watch.condemned if code == -signal.SIGKILL else None
    watch.end()
    return code, message


def _wait(child: subprocess.Popen[bytes], watch: Watch, signals: _Signals, me: Identity | None) -> int:
    while True:
        try:
            return child.wait(timeout=_LOOK_SECONDS)
        except subprocess.TimeoutExpired:
            watch.look()
        if watch.condemned:
            child.kill()
            watch.kill(me)
        elif watch.asked:
            signals.ask()


def _copy(results: Path, target: str, signals: _Signals) -> tuple[int, str | None]:
    try:
        signals.copying = True
        copy_results(results, target)
        signals.copying = False
    except _Stopped:
        return 130, None
    except QuickalignError as error:
        return error.exit_code, f"The run is finished, but its results cannot be copied to {target}: {error}"
    return 0, None


def _part() -> int | None:
    """Go on in a process with a session of its own (None), while this one waits for it: the code of its end.

    What started this process kills the session that it made when it ends itself; the run should not end with it.
    """
    child = os.fork()
    if child == 0:
        os.setsid()
        return None

    def pass_on(number: int, frame: FrameType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGTERM)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, pass_on)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@contextmanager
def _run_lock(path: Path) -> Iterator[int | None]:
    """The job's lock as a descriptor that children inherit; None where an earlier attempt does not let go."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        until = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    yield None
                    return
                time.sleep(0.05)
        yield descriptor
    finally:
        os.close(descriptor)


def dies_with(parent: int, number: int = signal.SIGKILL) -> Callable[[], None]:
    """What a new process does before it begins: ask the kernel to send it the signal when `parent` dies."""
    try:
        prctl = ctypes.CDLL(None, use_errno=True).prctl
    except (OSError, AttributeError):  # not Linux; the lock still keeps a second run away
        return lambda: None

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
        if os.getppid() != parent:  # it died before the kernel was asked
            os._exit(CRASHED)

    return ask


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
