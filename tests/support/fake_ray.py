"""A double of Ray Jobs: what its dashboard answers, with entrypoints run as processes or only written down."""

import json
import os
import subprocess
from dataclasses import dataclass, field
from typing import Any

import httpx

from quickalign.platform.executors.ray_jobs import RayJobs

URL = "http://head:8265"


@dataclass
class Known:
    """A job that the head knows."""

    body: dict[str, Any]
    status: str = "PENDING"
    message: str = ""
    error_type: str | None = None
    exit_code: int | None = None
    process: subprocess.Popen[bytes] | None = None


@dataclass
class FakeRay:
    """The cluster. `room` is how many jobs it starts; `away` says that its head does not answer."""

    room: int = 0
    away: bool = False
    version: str = "2.60.0"
    token: str | None = None
    jobs: dict[str, Known] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)
    nodes: list[dict[str, Any]] = field(default_factory=lambda: [node(), node(), node()])
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def client(self, token: str | None = None, **options: Any) -> RayJobs:
        """What an executor asks it with."""
        return RayJobs(URL, token, transport=httpx.MockTransport(self.answer), **options)

    def forget_all(self) -> None:
        """As a head does that was killed and started again; what it had started lives on."""
        self.jobs.clear()

    def answer(self, request: httpx.Request) -> httpx.Response:  # noqa: PLR0911 - a table of routes
        """One request."""
        self.asked.append(f"{request.method} {request.url.path}")
        if self.away:
            raise httpx.ConnectError("connection refused")
        path = request.url.path
        if path == "/api/version":
            return httpx.Response(200, json={"ray_version": self.version, "session_name": "session-1"})
        if self.token and request.headers.get("authorization") != f"Bearer {self.token}":
            return httpx.Response(401, text="Unauthorized")
        if path == "/nodes":
            return httpx.Response(200, json={"result": True, "data": {"summary": self.nodes}})
        self._look()
        if request.method == "POST" and path == "/api/jobs/":
            return self._submit(json.loads(request.content))
        name = path.removeprefix("/api/jobs/").removesuffix("/stop")
        known = self.jobs.get(name)
        if known is None:
            return httpx.Response(404, text=f"Job {name} does not exist")
        if path.endswith("/stop"):
            return self._stop(known)
        if request.method == "DELETE":
            del self.jobs[name]
            self.forgotten.append(name)
            return httpx.Response(200, json={"deleted": True})
        found = {name: getattr(known, name) for name in ("status", "message", "error_type")}
        return httpx.Response(200, json=found | {"driver_exit_code": known.exit_code})

    def _submit(self, body: dict[str, Any]) -> httpx.Response:
        name = body["submission_id"]
        if name in self.jobs:
            return httpx.Response(500, text=f"ValueError: Job with submission_id {name} already exists.")
        self.jobs[name] = Known(body)
        self._look()
        return httpx.Response(200, json={"submission_id": name, "job_id": name})

    def _stop(self, known: Known) -> httpx.Response:
        if known.status == "PENDING":
            known.status = "STOPPED"
        return httpx.Response(200, json={"stopped": True})

    def _look(self) -> None:
        for known in self.jobs.values():
            if known.process is not None and known.status == "RUNNING" and (code := known.process.poll()) is not None:
                known.status, known.exit_code = ("FAILED" if code else "SUCCEEDED"), code
                known.error_type = "JOB_ENTRYPOINT_COMMAND_ERROR" if code else None
                known.message = f"Job entrypoint command failed with exit code {code}" if code else ""
        for known in self.jobs.values():
            if known.status == "PENDING" and sum(other.status == "RUNNING" for other in self.jobs.values()) < self.room:
                known.status = "RUNNING"
                known.process = subprocess.Popen(
                    known.body["entrypoint"],
                    shell=True,
                    start_new_session=True,
                    env=os.environ | known.body["runtime_env"]["env_vars"],
                )
                self.processes.append(known.process)


def node(
    cpus: float = 1, gpus: float = 0, memory: float = 2e9, card_mb: int = 0, state: str = "ALIVE"
) -> dict[str, Any]:
    """A node as the dashboard lists it."""
    offered = {"CPU": cpus, "memory": memory} | ({"GPU": gpus} if gpus else {})
    return {
        "raylet": {"state": state, "resourcesTotal": offered},
        "gpus": [{"memoryTotal": card_mb}] if card_mb else [],
    }
