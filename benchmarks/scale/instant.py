"""An executor without processes, so that what is measured is the control plane alone."""

from __future__ import annotations

import json
from pathlib import Path

from quickalign.platform.executors.base import Attempt, Launch, Observation, Phase, Recovery
from quickalign.platform.processes import Identity


class Instant:
    """See `quickalign.platform.executors.base.Executor`. What it is given runs until `finish`, and ends well then."""

    def __init__(self) -> None:
        self._finished = False

    def finish(self) -> None:
        """From now on everything has ended well."""
        self._finished = True

    def submit(self, attempt: Attempt, launch: Launch) -> None:
        """See `Executor`."""
        if launch.results is not None:
            launch.results.mkdir(parents=True, exist_ok=True)
            result = {"adapter": str(launch.results), "adapter_sha256": "0" * 64, "steps": 1}
            (launch.results / "result.json").write_text(json.dumps(result))

    def observe(self, attempt: Attempt) -> Observation:
        """See `Executor`."""
        return Observation(Phase.FINISHED, exit_code=0) if self._finished else Observation(Phase.RUNNING)

    def cancel(self, attempt: Attempt, *, force: bool) -> None:
        """See `Executor`."""

    def processes(self, attempt: Attempt) -> tuple[Identity, ...]:
        """See `Executor`."""
        return ()

    def logs(self, job: str) -> list[Path]:
        """See `Executor`."""
        return []

    def recover(self, attempt: Attempt) -> Recovery:
        """See `Executor`."""
        return Recovery.REATTACH
