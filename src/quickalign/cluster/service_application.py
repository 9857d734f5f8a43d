"""An application of Ray Serve: deployed, looked at, asked, deleted."""

# ruff: noqa: PLC0415 - Ray is an extra, and takes long to import

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar

from quickalign.cluster import service_deployment as deployment
from quickalign.cluster.service_messages import Asked, FullError, LostError, Told
from quickalign.cluster.service_replica import ModelReplica
from quickalign.cluster.service_spec import ServiceSpec
from quickalign.serve.http.errors import ApiError

T = TypeVar("T")
_QUIET = {"log_level": "WARNING", "enable_access_log": False}
_FAILED = "The replica failed at this request; its log says why."
_CALLS = ThreadPoolExecutor(8, thread_name_prefix="cluster")
"""Threads that wait for the cluster: not the event loop's own, whose end would wait for a cluster that is gone."""


class Standing(Enum):
    """How an application stands. UNWELL: its replicas fail, and Ray goes on trying."""

    STARTING = "starting"
    RUNNING = "running"
    UNWELL = "unwell"
    FAILED = "failed"
    GONE = "gone"


_STANDINGS = {
    "RUNNING": Standing.RUNNING,
    "DEPLOY_FAILED": Standing.FAILED,
    "UNHEALTHY": Standing.UNWELL,
    "DELETING": Standing.GONE,
}


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen of an application: how it stands, how many replicas can answer, and what Ray says of it."""

    standing: Standing
    running: int = 0
    message: str = ""


class Application:
    """The application of one start of a service.

    Attributes:
        running: how many replicas could answer when it was looked at last.
    """

    def __init__(self, spec: ServiceSpec) -> None:
        self.running = 0
        self._spec = spec
        self._handle: Any = None

    async def deploy(self) -> None:
        """Ask the cluster for it; `look` says when it is there."""
        await waited(self._deploy)

    async def look(self) -> Look:
        """How it stands."""
        seen = await waited(self._look)
        self.running = seen.running
        return seen

    async def delete(self) -> None:
        """Take it away; returns when nothing of it is left."""
        from ray import serve

        await waited(lambda: serve.delete(self._spec.application))

    async def describe(self) -> dict[str, Any]:
        """What one of its replicas serves, and what it has proved."""
        found: dict[str, Any] = await (await self._asking()).describe.remote()
        return found

    async def ask(self, asked: Asked) -> AsyncGenerator[Told, None]:
        """See `Replicas`."""
        from ray.exceptions import RayError, RayTaskError
        from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError

        is_over = False
        response = (await self._asking()).options(stream=True).ask.remote(asked)
        try:
            async for told in response:
                yield told
            is_over = True
        except BackPressureError:
            raise FullError from None
        except RayTaskError as error:
            raise ApiError(500, _FAILED, code="internal_error") from error
        except (RayError, DeploymentUnavailableError) as error:
            raise LostError(type(error).__name__) from None
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise LostError("the replica was ended") from None  # so Ray says it when a replica drops what it does
        finally:
            if not is_over:
                response.cancel()

    async def _asking(self) -> Any:
        if self._handle is None:
            from ray import serve

            self._handle = await waited(lambda: serve.get_app_handle(self._spec.application))
        return self._handle

    def _deploy(self) -> None:
        from ray import serve

        # Replicas are asked by this program alone, which looks at tokens; no port of Ray Serve's opens them.
        serve.start(proxy_location="Disabled", logging_config=_QUIET)
        made = serve.deployment(**deployment.options(self._spec))(ModelReplica)
        target = serve.RunTarget(
            made.bind(_values(self._spec)), name=self._spec.application, route_prefix=None, logging_config=_QUIET
        )
        serve.run_many([target], wait_for_ingress_deployment_creation=False, wait_for_applications_running=False)

    def _look(self) -> Look:
        from ray import serve

        found = serve.status().applications.get(self._spec.application)
        if found is None:
            return Look(Standing.GONE)
        deployed = found.deployments.get(deployment.DEPLOYMENT)
        states = deployed.replica_states if deployed else {}
        running = sum(count for state, count in states.items() if state == "RUNNING")  # they come as plain text
        message = found.message or (deployed.message if deployed else "")
        return Look(_STANDINGS.get(str(found.status.value), Standing.STARTING), running, message)


async def waited(call: Callable[[], T]) -> T:
    """The result of a call that waits for the cluster."""
    return await asyncio.get_running_loop().run_in_executor(_CALLS, call)


def _values(spec: ServiceSpec) -> dict[str, Any]:
    """What a replica is told: it listens nowhere, so that it needs no token."""
    return spec.model_dump(mode="json") | {"host": "127.0.0.1", "tokens": (), "token_files": ()}
