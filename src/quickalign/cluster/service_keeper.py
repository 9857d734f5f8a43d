"""The actor that takes away applications whose program is gone.

An application of Ray Serve outlives the program that made it. Where that program is killed, nobody else knows of the
application, so one small actor for all of a cluster's services hears from each program every few seconds.
"""

# ruff: noqa: PLC0415 - Ray is an extra, and takes long to import

from __future__ import annotations

import logging
import threading
import time
from typing import Any

from quickalign.cluster.service_leases import LAPSE_SECONDS, Leases
from quickalign.cluster.service_spec import PREFIX

NAMESPACE = "quickalign"
_NAME = "keeper"
_LOOK_SECONDS = 4.0
_IDLE_SECONDS = 3 * LAPSE_SECONDS
_log = logging.getLogger(__name__)


class Keeper:
    """Hears from programs, and deletes the applications of those that fell silent."""

    def __init__(self) -> None:
        self._leases = Leases()
        self._lock = threading.Lock()
        threading.Thread(target=self._watch, name="keeper", daemon=True).start()

    def hear(self, application: str) -> None:
        """The application's program lives."""
        with self._lock:
            self._leases.hear(application, time.monotonic())

    def leave(self, application: str) -> None:
        """The application is gone. Where nothing is left to keep, the keeper goes too."""
        import ray

        with self._lock:
            left = self._leases.forget(application)
        if not left:
            ray.actor.exit_actor()

    def _watch(self) -> None:
        """Look again and again; where there has been nothing to keep for a while, end."""
        import ray

        busy_at = time.monotonic()
        while time.monotonic() - busy_at < _IDLE_SECONDS:
            time.sleep(_LOOK_SECONDS)
            try:
                busy = self._look()
            except Exception:  # Ray Serve's controller is started anew now and then
                _log.warning("Applications could not be looked at.", exc_info=True)
                busy = True
            busy_at = time.monotonic() if busy else busy_at
        ray.kill(ray.get_runtime_context().current_actor)

    def _look(self) -> bool:
        """Delete what is not wanted any more; whether there is anything to keep."""
        from ray import serve

        there = [name for name in serve.status().applications if name.startswith(PREFIX)]
        with self._lock:
            lapsed = self._leases.lapsed(there, time.monotonic())
        for name in lapsed:
            _log.warning("The program of %s is gone, and so its application goes.", name)
            serve.delete(name, _blocking=False)
        return bool(there)


def keeper() -> Any:
    """A handle on the cluster's keeper, which is made where there is none."""
    import ray

    options = {"name": _NAME, "namespace": NAMESPACE, "lifetime": "detached", "get_if_exists": True}
    return ray.remote(Keeper).options(num_cpus=0, max_restarts=-1, **options).remote()
