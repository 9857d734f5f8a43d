"""The first page, and the three steps of a first run on the model that ships with quickalign."""

from starlette.responses import Response
from starlette.routing import Route

from quickalign.console.guard import page
from quickalign.console.job_view import head, samples
from quickalign.console.sample import (
    FIRST_PROMPTS,
    FIRST_RUN,
    SAMPLE_TRAIN,
    SAMPLE_VALIDATION,
    TINY_MODEL,
    TINY_SETTINGS,
)
from quickalign.console.visit import Visit
from quickalign.core.wire.jobs import Job, JobCreate, TrainRequest


def _front(visit: Visit) -> Response:
    has_jobs = bool(visit.platform.jobs.list(limit=1).items)
    return visit.go("/console/models" if has_jobs else "/console/start")


def _steps(visit: Visit) -> Response:
    job = _first_run(visit)
    values = head(visit, job) | {"samples": samples(visit, job)} if job else {"job": None, "samples": []}
    return visit.page("parts/start_steps.html" if visit.is_partial else "start.html", model=TINY_MODEL, **values)


def _train(visit: Visit) -> Response:
    """Make the job of the first step. Pressed twice, it is still one job."""
    spec = TrainRequest(
        model=TINY_MODEL,
        train=SAMPLE_TRAIN,
        validation=SAMPLE_VALIDATION,
        sample_prompts=FIRST_PROMPTS,
        sample_tokens=48,
        hyperparameters=dict(TINY_SETTINGS),
    )
    request = JobCreate(name=visit.words.gettext("First run"), spec=spec, metadata=dict(FIRST_RUN))
    visit.platform.jobs.create(request, idempotency_key=visit.given("key") or None)
    return visit.go("/console/start")


def _first_run(visit: Visit) -> Job | None:
    """The newest; a clone of one has its label, and is none."""
    after = None
    while True:
        found = visit.platform.jobs.list(metadata=FIRST_RUN, after=after)
        if (first := next((job for job in found.items if job.cloned_from is None), None)) or found.next is None:
            return first
        after = found.next


ROUTES = (
    Route("/", page(_front), methods=["GET"]),
    Route("/start", page(_steps), methods=["GET"]),
    Route("/start/train", page(_train), methods=["POST"]),
)
