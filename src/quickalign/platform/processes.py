"""Which process is meant: a process id alone is reused, so it goes with its start time and the machine's boot.

The start time is counted by the kernel from the boot, so no change of the clock can shift it, and the boot's own
random id tells two boots apart.
"""

import os
import signal
from collections.abc import Iterable
from enum import Enum
from functools import cache
from pathlib import Path

import psutil
from pydantic import BaseModel, ConfigDict

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_PID_NAMESPACE = Path("/proc/self/ns/pid")


class Sight(Enum):
    """What looking for a process found; UNKNOWN where nobody can say."""

    ALIVE = "alive"
    GONE = "gone"
    UNKNOWN = "unknown"


class Identity(BaseModel):
    """A process: its id, its start in seconds since the boot, and the boot."""

    model_config = ConfigDict(frozen=True)

    pid: int
    create_time: float
    boot_id: str


@cache
def boot_id() -> str:
    """The id of this machine's boot; its time where the kernel gives none."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return str(int(psutil.boot_time()))


@cache
def place() -> str:
    """Where process ids mean what they mean here: this boot, and this container."""
    try:
        return f"{boot_id()}/{_PID_NAMESPACE.readlink().name}"
    except OSError:  # not Linux
        return boot_id()


def identify(pid: int) -> Identity | None:
    """The process that has this id now; None where there is none, or only a dead one that nobody collected."""
    start = _start(pid)
    return None if start is None else Identity(pid=pid, create_time=start, boot_id=boot_id())


def look(identity: Identity) -> Sight:
    """Whether that very process runs."""
    if identity.boot_id != boot_id():
        return Sight.GONE
    try:
        start = _start(identity.pid)
    except (PermissionError, psutil.AccessDenied):
        return Sight.UNKNOWN
    return Sight.ALIVE if start == identity.create_time else Sight.GONE


def send(identity: Identity, signal_number: int, *, group: bool = False) -> bool:
    """Signal that very process (or the group it leads); whether there was one to signal."""
    if look(identity) is not Sight.ALIVE:
        return False
    try:
        if group:
            os.killpg(identity.pid, signal_number)
        else:
            os.kill(identity.pid, signal_number)
    except ProcessLookupError:
        return False
    return True


def members(leader: Identity, mark: str) -> tuple[Identity, ...]:
    """The processes that `leader` and its session began and that are there, itself included, whether it lives or not.

    Those that left the session are found by `mark`, a variable in the environment that they were given.
    """
    if leader.boot_id != boot_id():
        return ()
    session = None if _is_reused(leader) else leader.pid
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        if _session(int(folder.name)) != session and not _was_given(folder, mark):
            continue
        one = identify(int(folder.name))
        if one is not None and one.create_time >= leader.create_time:
            found.append(one)
    return tuple(found)


def marked(mark: str) -> tuple[Identity, ...]:
    """The processes here that were given the variable `mark`, whoever began them; not this one."""
    folders = (folder for folder in Path("/proc").glob("[0-9]*") if int(folder.name) != os.getpid())
    found = (identify(int(folder.name)) for folder in folders if _was_given(folder, mark))
    return tuple(one for one in found if one is not None)


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return -1


def _was_given(folder: Path, mark: str) -> bool:
    """Whether the process in `/proc` began with the variable `mark`, written NAME=value."""
    try:
        return mark.encode() in (folder / "environ").read_bytes().split(b"\0")
    except OSError:  # it ended, or is somebody else's
        return False


def _is_reused(leader: Identity) -> bool:
    """Whether its process id belongs to another process now, so that a session of that number is not its own."""
    now = identify(leader.pid)
    return now is not None and now != leader


def resident_bytes(processes: Iterable[Identity]) -> int:
    """The memory that these processes hold; those that are gone count nothing."""
    total = 0
    for one in processes:
        if one.boot_id != boot_id():
            continue  # on another machine
        try:
            total += psutil.Process(one.pid).memory_info().rss
        except psutil.Error:
            continue
    return total


def kill_holders(file: Path) -> None:
    """Kill every process of this user that has `file` open; a handle on the process keeps its id from being reused."""
    wanted = str(file.resolve())
    for folder in Path("/proc").glob("[0-9]*"):
        pid = int(folder.name)
        if pid == os.getpid() or not _has_open(folder, wanted):
            continue
        try:
            handle = os.pidfd_open(pid)
        except (ProcessLookupError, PermissionError):
            continue
        try:
            if _has_open(folder, wanted):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        except ProcessLookupError:
            continue
        finally:
            os.close(handle)


def _has_open(folder: Path, wanted: str) -> bool:
    try:
        return any(str(link.readlink()) == wanted for link in (folder / "fd").iterdir())
    except OSError:  # it ended, or is somebody else's
        return False


def _start(pid: int) -> float | None:
    """When the process started, in seconds since the boot; None where it does not run."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None if Path("/proc/self/stat").exists() else _start_by_psutil(pid)
    # The command's name stands in parentheses and may itself hold any character.
    fields = text.rpartition(")")[2].split()
    if fields[0] in ("Z", "X"):
        return None
    return int(fields[19]) / os.sysconf("SC_CLK_TCK")


def _start_by_psutil(pid: int) -> float | None:
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return float(process.create_time())
    except psutil.NoSuchProcess:
        return None
