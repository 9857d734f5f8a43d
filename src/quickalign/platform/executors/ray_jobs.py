"""Ray Jobs over HTTP: as much of it as an executor needs, without Ray in the server."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from packaging.version import InvalidVersion, Version

from quickalign.core.errors import AccessError, OptionError, UnavailableError

OLDEST = "2.60"
_SECONDS = httpx.Timeout(5.0, connect=2.0)
_QUIET_SECONDS = 5.0
"""How long a cluster that did not answer is not asked again, so that nobody waits for it in every round."""
_EXISTS = "already exists"
_MAX_MESSAGE = 2000


@dataclass(frozen=True, slots=True)
class RayJob:
    """A job as Ray knows it. `status` is PENDING, RUNNING, SUCCEEDED, STOPPED or FAILED."""

    status: str
    message: str
    error_type: str | None = None
    exit_code: int | None = None

    @property
    def is_over(self) -> bool:
        """Whether Ray does nothing more about it."""
        return self.status in ("SUCCEEDED", "STOPPED", "FAILED")


@dataclass(frozen=True, slots=True)
class Node:
    """What a node of the cluster offers, and the memory of its largest card."""

    cpus: float
    gpus: float
    memory_bytes: float
    card_bytes: int = 0


class RayJobs:
    """The Ray Jobs of the cluster whose dashboard answers at `address`.

    Every call raises UnavailableError where it does not answer, and AccessError where it refuses the token.
    """

    def __init__(
        self,
        address: str,
        token: str | None = None,
        *,
        transport: httpx.BaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.address, self._clock = address.rstrip("/"), clock
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.Client(
            base_url=self.address, headers=headers, timeout=_SECONDS, transport=transport, trust_env=False
        )
        self._silent_until, self._said = 0.0, ""

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def check(self) -> None:
        """Check that this is a cluster whose version is known here.

        Raises:
            OptionError: it is none, or too old.
        """
        answer = self._ask("GET", "/api/version").json()
        found = str(answer.get("ray_version")) if isinstance(answer, dict) else "None"
        try:
            is_old = Version(found) < Version(OLDEST)
        except InvalidVersion:
            raise OptionError(
                f"What answers at {self.address} is no Ray cluster.",
                "Set ray.address to the address of the cluster's dashboard, such as http://head:8265.",
                field="ray.address",
                value=self.address,
            ) from None
        if is_old:
            raise OptionError(
                f"The Ray cluster at {self.address} has version {found}; {OLDEST} is the oldest that is known here.",
                "Upgrade Ray on all nodes of the cluster.",
                field="ray.address",
                value=self.address,
            )
        self._ask("GET", "/api/jobs/not-there", allowed=(404,))  # a token is asked for here, not for the version

    def session(self) -> str:
        """The name of this life of the cluster: another one after each start of its head."""
        return str(self._ask("GET", "/api/version").json().get("session_name"))

    def submit(self, job_id: str, entrypoint: str, environment: dict[str, str], share: dict[str, float]) -> None:
        """Hand a job over; one that Ray has already under that id stays as it is."""
        body: dict[str, Any] = {
            "submission_id": job_id,
            "entrypoint": entrypoint,
            "runtime_env": {"env_vars": environment},
        } | {f"entrypoint_{name}": value for name, value in share.items()}
        answer = self._ask("POST", "/api/jobs/", body, allowed=(400, 500))
        if answer.status_code != 200 and _EXISTS not in answer.text:
            raise self._fail(f"it answers {answer.status_code}: {_last_line(answer.text)}")

    def find(self, job_id: str) -> RayJob | None:
        """The job; None where Ray knows of none."""
        answer = self._ask("GET", f"/api/jobs/{job_id}", allowed=(404,))
        if answer.status_code == 404:
            return None
        found = answer.json()
        message = str(found.get("message") or "")[:_MAX_MESSAGE]
        return RayJob(str(found["status"]), message, found.get("error_type"), found.get("driver_exit_code"))

    def stop(self, job_id: str) -> None:
        """Ask Ray to stop a job, if it knows it."""
        self._ask("POST", f"/api/jobs/{job_id}/stop", allowed=(400, 404, 500))

    def forget(self, job_id: str) -> None:
        """Let Ray forget a job that is over."""
        self._ask("DELETE", f"/api/jobs/{job_id}", allowed=(404, 500))

    def nodes(self) -> list[Node]:
        """The nodes that are alive."""
        answer = self._ask("GET", "/nodes?view=summary")
        try:
            found = answer.json()["data"]["summary"]
            return [_node(one) for one in found if one.get("raylet", {}).get("state") == "ALIVE"]
        except (ValueError, KeyError, TypeError, AttributeError):
            raise self._fail("it does not list its nodes") from None

    def _ask(
        self, method: str, path: str, body: dict[str, Any] | None = None, *, allowed: tuple[int, ...] = ()
    ) -> httpx.Response:
        if self._clock() < self._silent_until:
            raise self._unavailable()
        try:
            answer = self._http.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise self._fail(str(error) or type(error).__name__) from None
        if answer.status_code in (401, 403):
            raise AccessError(
                f"The Ray cluster at {self.address} refuses the token.",
                "Set ray.token_file to a file with the cluster's token (RAY_AUTH_TOKEN of its head).",
                field="ray.token_file",
            )
        if answer.status_code != 200 and answer.status_code not in allowed:
            raise self._fail(f"it answers {answer.status_code}: {_last_line(answer.text)}")
        return answer

    def _fail(self, said: str) -> UnavailableError:
        self._silent_until, self._said = self._clock() + _QUIET_SECONDS, said
        return self._unavailable()

    def _unavailable(self) -> UnavailableError:
        return UnavailableError(
            f"The Ray cluster at {self.address} does not answer: {self._said}.",
            "Start its head again, or correct ray.address in config.toml.",
        )


def read_token(file: Path) -> str:
    """The cluster's token.

    Raises:
        AccessError: there is none, or others than its owner may read the file.
    """
    try:
        mode = file.stat().st_mode
        token = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise AccessError(
            f"The token file {file} cannot be read: {error}.", "Correct ray.token_file.", field="ray.token_file"
        ) from None
    if mode & 0o077:
        raise AccessError(
            f"The token file {file} can be read by others than its owner.",
            f"Run `chmod 600 {file}`; whoever has the token can run anything on the cluster.",
            field="ray.token_file",
        )
    if not token:
        raise AccessError(f"The token file {file} is empty.", "Write the cluster's token into it.")
    return token


def _node(found: dict[str, Any]) -> Node:
    offered = found["raylet"].get("resourcesTotal") or {}
    cards = [int(card.get("memoryTotal") or 0) << 20 for card in found.get("gpus") or () if isinstance(card, dict)]
    return Node(
        cpus=float(offered.get("CPU", 0)),
        gpus=float(offered.get("GPU", 0)),
        memory_bytes=float(offered.get("memory", 0)),
        card_bytes=max(cards, default=0),
    )


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "nothing"
