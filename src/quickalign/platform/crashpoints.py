"""Moments at which a test kills the process, to show that a crash between any two statements loses nothing."""

import os
import signal

VARIABLE = "QUICKALIGN_CRASH_AT"
"""The environment variable that names the point; `name:3` means the third time it is reached."""

ONCE = "QUICKALIGN_CRASH_ONCE"
"""Names a file: who can create it dies, and nobody after."""

_reached: dict[str, int] = {}


def reach(name: str) -> None:
    """Do nothing, unless the environment asks this process to die here."""
    wanted = os.environ.get(VARIABLE)
    if wanted is None:
        return
    point, _, count = wanted.partition(":")
    if point != name:
        return
    _reached[name] = _reached.get(name, 0) + 1
    if _reached[name] >= int(count or 1) and _is_first():
        die()


def die() -> None:
    """End this process as the kernel does when memory runs out: at once, with no word to anybody."""
    os.kill(os.getpid(), signal.SIGKILL)


def _is_first() -> bool:
    mark = os.environ.get(ONCE)
    if mark is None:
        return True
    try:
        os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True
