"""Which of this program's processes the kernel lets run first where all of them want to: who answers, or who computes.

An engine computes on every core, and what it made reaches nobody before an endpoint and the gateway have run, which
need little and need it at once. Neither call changes a process's share of the processor, and where one is not possible
answers only come a little later. (Linux from 6.12 on: what has a shorter slice is due earlier, `sched_setattr(2)`.)
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import struct

_SLICE_NANOSECONDS = 100_000
"""The shortest that Linux has; the usual is some milliseconds. Who has a shorter one goes first when it wakes."""
_CALLS = {"x86_64": 314, "aarch64": 274}
"""The number of sched_setattr(2), for which there is no function in C libraries."""
_ATTRIBUTES = struct.Struct("=IIQiIQQQ")
"""struct sched_attr: size, policy, flags, nice, priority, runtime, deadline, period."""
_RESET_ON_FORK = 1
"""Threads and processes that this thread starts are as others."""


def answer_soon() -> None:
    """Let this thread go first when it wakes, for short times."""
    number = _CALLS.get(platform.machine())
    if number is None or not _is_ordinary():
        return
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    asked = _ATTRIBUTES.pack(_ATTRIBUTES.size, 0, _RESET_ON_FORK, nice, 0, _SLICE_NANOSECONDS, 0, 0)
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).syscall(number, 0, asked, 0)  # an older kernel takes it and does nothing


def step_aside() -> None:
    """Let others go first when they wake. Threads that start later are as the one that calls."""
    if _is_ordinary():
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def _is_ordinary() -> bool:
    """Whether this is Linux, and nobody has chosen a policy for this process, which would be theirs to keep."""
    return platform.system() == "Linux" and os.sched_getscheduler(0) == os.SCHED_OTHER
