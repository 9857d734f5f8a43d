"""Jobs: the list, one job's page, and what can be done with it."""

import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from starlette.responses import Response
from starlette.routing import Route

from quickalign.console.guard import page
from quickalign.console.job_view import head, ran_seconds, samples, what_delete_frees
from quickalign.console.visit import Visit
from quickalign.core.hyperparameters import Hyperparameters
from quickalign.core.wire.jobs import Job, JobState

_PAGE = 20
_EVENTS = 400
_MOVING = (JobState.STARTING, JobState.RUNNING, JobState.PAUSING, JobState.RESUMING, JobState.CANCELLING)
_MOVING_SECONDS, _QUEUED_SECONDS = 3, 10


def _list(visit: Visit) -> Response:
    states = [state for state in visit.request.query_params.getlist("state") if state in set(JobState)]
    asked = {"text": visit.query("text"), "state": states[0] if states else "", "model": visit.query("model")}
    asked["after"] = visit.query("after")
    found = visit.platform.jobs.list(
        states=states,
        model=asked["model"] or None,
        text=asked["text"] or None,
        after=asked["after"] or None,
        limit=_PAGE,
    )
    values: dict[str, Any] = {
        "jobs": found.items,
        "following": found.next,
        "asked": asked,
        "counts": visit.platform.jobs.count(),
        "ran_seconds": ran_seconds,
        "pause": _pause(found.items),
    }
    return visit.page("parts/job_table.html" if visit.is_partial else "jobs.html", **values)


def _pause(jobs: Sequence[Job]) -> int | None:
    """After how many seconds the list is worth another look; None where nothing on it moves by itself."""
    states = {job.state for job in jobs}
    if states.intersection(_MOVING):
        return _MOVING_SECONDS
    return _QUEUED_SECONDS if JobState.QUEUED in states else None


def _show(visit: Visit) -> Response:
    job = visit.platform.jobs.get(visit.path("job"))
    if job.kind == "train":
        # while the page is made, and the browser loads the scripts that will ask for them
        visit.shared.series.prepare(job.id)
    events = visit.platform.jobs.events(job.id, limit=_EVENTS).items
    last_event = events[-1].sequence if events else 0
    return visit.page(
        "job.html",
        **head(visit, job),
        events=events,
        last_event=last_event,
        # of the curves nothing is known yet: a page must not wait for a hundred thousand lines
        seen=visit.shared.pulses.head(job, last_event),
        log_size=visit.platform.jobs.log_size(job.id),
        samples=samples(visit, job),
        checkpoints=visit.platform.jobs.checkpoints(job.id),
        settings=_settings(job) if job.kind == "train" else _asked(job),
        request_json=json.dumps(job.model_dump(mode="json"), ensure_ascii=False, indent=2),
    )


def _settings(job: Job) -> list[tuple[str, Any, bool]]:
    """All options in effect, and whether each was set by hand."""
    given, defaults = job.training.hyperparameters, Hyperparameters().model_dump(mode="json")
    return [(name, given.get(name, default), name in given) for name, default in defaults.items()]


def _asked(job: Job) -> list[tuple[str, Any, bool]]:
    """The same of a job that does not train: its whole specification."""
    given = job.spec.model_dump(mode="json")
    defaults = {name: field.default for name, field in type(job.spec).model_fields.items()}
    return [(name, value, value != defaults[name]) for name, value in given.items()]


def _act(visit: Visit, action: str) -> Response:
    job = visit.path("job")
    calls: dict[str, Callable[[str], Any]] = {
        "pause": visit.platform.jobs.pause,
        "resume": visit.platform.jobs.resume,
        "cancel": visit.platform.jobs.cancel,
    }
    if action == "delete":
        known = visit.platform.jobs.get(job)
        frees = what_delete_frees(visit, known)
        visit.platform.jobs.delete(job)
        said = visit.words.gettext("%(name)s is deleted; %(size)s are free.")
        return visit.go("/console/jobs", said % {"name": known.name, "size": visit.words.size(frees)})
    calls[action](job)
    return visit.go(f"/console/jobs/{job}")


ROUTES = (
    Route("/jobs", page(_list), methods=["GET"]),
    Route("/jobs/{job}", page(_show), methods=["GET"]),
    *(
        Route(f"/jobs/{{job}}/{action}", page(partial(_act, action=action)), methods=["POST"])
        for action in ("pause", "resume", "cancel", "delete")
    ),
)
