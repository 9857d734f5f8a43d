"""Services with real processes that serve no model, made and deleted round by round."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from quickalign.core.wire.services import RevisionSpec, Service, ServiceCreate, ServiceState, Source
from quickalign.platform.config import Config
from quickalign.platform.context import Platform
from quickalign.platform.executors.local import LocalExecutor
from tests.support.platforms import cpu
from tests.support.services import write_model

S = ServiceState
STUB = (sys.executable, "-S", "-E", str(Path(__file__).with_name("stub_replica.py")))
_QUICK_WRAPPER = str(Path(__file__).with_name("quick_wrapper.py"))
BRISK = Config(
    retry_seconds=0.05,
    retry_seconds_max=0.2,
    service_start_seconds=60,
    service_stop_seconds=5,
    service_retries=2,
)


class QuickExecutor(LocalExecutor):
    """This machine's executor with a wrapper that starts in a twentieth of the time."""

    def _begin(self, attempt: Any, folder: Path) -> None:
        # Its output goes elsewhere: it outlives its server, whose pipe would otherwise stay open when that is killed.
        with (folder / "wrapper.log").open("ab") as log:
            wrapper = subprocess.Popen(
                [sys.executable, "-S", "-E", _QUICK_WRAPPER, str(folder), attempt.lease_token],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._wrappers.append(wrapper)


def open_rounds(home: Path, **options: Any) -> Platform:
    """A platform whose replicas are stubs."""
    return Platform.open(home, **({"config": BRISK, "devices": cpu(), "server": STUB} | options))


def stub_service(home: Path, name: str, *, trouble: str | None = None, replicas: int = 1) -> ServiceCreate:
    """A service of the stub engine, with the trouble that its docstring names."""
    model = write_model(home.parent / "model")
    spec = RevisionSpec(source=Source(model=str(model)), system_prompt=trouble)
    return ServiceCreate(name=name, spec=spec, replicas=replicas)


def drive(platform: Platform, until: Callable[[], bool], seconds: float = 120) -> None:
    """Tick until it is so."""
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, "it did not happen in time"
        platform.service_reconciler.tick()
        time.sleep(0.05)


def drive_to(platform: Platform, service: Service, *states: ServiceState, seconds: float = 120) -> Service:
    """Tick until the service is in one of `states`."""
    drive(platform, lambda: platform.services.get(service.id).state in states, seconds)
    return platform.services.get(service.id)


def processes_of(home: Path) -> list[int]:
    """Processes whose command line names something in `home`."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if str(home).encode() in words and int(folder.name) != os.getpid():
            found.append(int(folder.name))
    return found


def end_all(home: Path) -> None:
    """Kill what a test that failed has left running in `home`."""
    for pid in processes_of(home):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def open_files() -> int:
    """How many descriptors this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))
