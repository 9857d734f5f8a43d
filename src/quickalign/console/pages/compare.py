"""Several jobs over one another: their settings with what differs marked, their results, their curves."""

from dataclasses import dataclass
from typing import Any

from starlette.responses import Response
from starlette.routing import Route

from quickalign.console.guard import page
from quickalign.console.job_view import ran_seconds
from quickalign.console.visit import Visit
from quickalign.core.hyperparameters import Hyperparameters
from quickalign.core.wire.jobs import Job

MOST = 8


@dataclass(frozen=True, slots=True)
class Setting:
    """One option over all compared jobs."""

    name: str
    values: tuple[Any, ...]

    @property
    def differs(self) -> bool:
        """Whether not all jobs have the same."""
        return len({repr(value) for value in self.values}) > 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a job reached."""

    job: Job
    seconds: float | None
    loss: float | None
    accuracy: float | None
    margin: float | None
    validation_loss: float | None
    validation_accuracy: float | None


def _compare(visit: Visit) -> Response:
    wanted = list(dict.fromkeys(visit.request.query_params.getlist("job")))[:MOST]
    jobs = [job for job in map(visit.platform.jobs.get, wanted) if job.kind == "train"]
    recent = visit.platform.jobs.list(kinds=("train",), limit=50).items
    return visit.page(
        "compare.html",
        jobs=jobs,
        recent=recent,
        settings=_settings(jobs) if len(jobs) > 1 else [],
        outcomes=[_outcome(visit, job) for job in jobs],
        most=MOST,
    )


def _settings(jobs: list[Job]) -> list[Setting]:
    found = [Setting("model", tuple(job.spec.model for job in jobs))]
    found.append(Setting("train", tuple(job.inputs.get("train", job.training.train)[:12] for job in jobs)))
    for name, default in Hyperparameters().model_dump(mode="json").items():
        found.append(Setting(name, tuple(job.training.hyperparameters.get(name, default) for job in jobs)))
    return sorted(found, key=lambda setting: not setting.differs)


def _outcome(visit: Visit, job: Job) -> Outcome:
    _, lines = visit.shared.series.state(job.id)
    last = visit.platform.jobs.metrics(job.id, offset=max(lines - 1, 0), limit=1).items
    evaluations = visit.platform.jobs.metrics(job.id, kind="evaluations", limit=10_000).items
    step, evaluation = (last[-1] if last else {}), (evaluations[-1] if evaluations else {})
    return Outcome(
        job=job,
        seconds=ran_seconds(job),
        loss=step.get("loss"),
        accuracy=step.get("rewards_accuracy"),
        margin=step.get("rewards_margin"),
        validation_loss=evaluation.get("loss"),
        validation_accuracy=evaluation.get("accuracy"),
    )


ROUTES = (Route("/compare", page(_compare), methods=["GET"]),)
