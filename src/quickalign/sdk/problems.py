"""From a server's problem document, or a failed job's reason, to the exception of `core.errors` that it means."""

import re

import httpx
from pydantic import ValidationError

from quickalign.core import errors
from quickalign.core.errors import (
    AccessError,
    ConflictError,
    NotFoundError,
    OptionError,
    QuickalignError,
    RunError,
    TooLargeError,
    UnavailableError,
)
from quickalign.core.wire.base import Problem
from quickalign.core.wire.jobs import Job, Kind, Reason

_PREFIX = "urn:quickalign:problem:"

_BY_STATUS: dict[int, type[QuickalignError]] = {
    400: OptionError,
    401: AccessError,
    403: AccessError,
    404: NotFoundError,
    409: ConflictError,
    413: TooLargeError,
    422: OptionError,
    429: UnavailableError,
}
"""What an answer means that names no kind of its own, as those of a proxy in between."""

_RESUMING: dict[Kind, str] = {
    "train": "goes on from its last checkpoint",
    "evaluate": "goes on with what it has computed",
    "export": "makes the export again",
}

_LONGEST = 500


def error_of(response: httpx.Response) -> QuickalignError:
    """The exception that an answer of 400 or above stands for, with the server's whole sentence."""
    problem = _problem(response)
    unknown = UnavailableError if response.status_code >= 500 else QuickalignError
    fallback = _BY_STATUS.get(response.status_code, unknown)
    if problem is None:
        text = " ".join(response.text.split())[:_LONGEST] or "no explanation"
        return fallback(
            f"{response.request.method} {response.request.url} was answered with {response.status_code}: {text}.",
            "Check that the address is that of a quickalign server.",
        )
    kind = _kinds().get(_plain(problem.type.removeprefix(_PREFIX)), fallback)
    return kind(problem.detail, problem.remedy, field=problem.field, value=problem.value)


def error_of_job(job: Job) -> QuickalignError:
    """The exception that a failed job ends with: the kind by its exit code, and the whole message."""
    remedy = (
        f"`quickalign jobs logs {job.id}` shows its log. When the cause is gone, `quickalign jobs resume {job.id}` "
        f"{_RESUMING[job.kind]}."
    )
    return _failure(f"Job {job.id}", job.reason, remedy)


def error_of_service(name: str, reason: Reason | None, revision: int | None = None) -> QuickalignError:
    """The exception that a failed service stands for, or a failed update of one to `revision`."""
    what = f"Service {name}" if revision is None else f"Service {name} (revision {revision})"
    return _failure(what, reason, f"`quickalign services logs {name}` shows its log.")


def _failure(what: str, reason: Reason | None, remedy: str) -> QuickalignError:
    if reason is None:
        return RunError(f"{what} failed and left no reason.", remedy)
    kind = errors.kind_of(reason.exit_code or 0) or RunError
    return kind(f"{what} failed: {reason.message}", remedy)


def _problem(response: httpx.Response) -> Problem | None:
    try:
        return Problem.model_validate_json(response.content)
    except ValidationError:
        return None


def _kinds() -> dict[str, type[QuickalignError]]:
    """Every kind of error by the word for it: `notfound` for `NotFoundError`."""
    return {_plain(kind.__name__): kind for kind in errors.all_kinds()}


def _plain(word: str) -> str:
    return re.sub(r"[^a-z]", "", word.lower()).removesuffix("error")
