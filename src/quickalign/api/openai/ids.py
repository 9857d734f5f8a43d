"""Names of the dialect, each made from one of ours so that nothing has to be remembered between the two."""

from quickalign.core.errors import NotFoundError
from quickalign.core.wire.jobs import Job
from quickalign.platform.models import trained_job, trained_name

_JOB, _THEIR_JOB = "job-", "ftjob-"
_EVENT, _CHECKPOINT, _RESULTS = "ftevent-", "ftckpt-", "file-metrics-"


def of_job(job_id: str) -> str:
    """`ftjob-...` for `job-...`."""
    return _THEIR_JOB + job_id.removeprefix(_JOB)


def to_job(identity: str) -> str:
    """`job-...` for `ftjob-...`.

    Raises:
        NotFoundError: it is no such id.
    """
    if not identity.startswith(_THEIR_JOB):
        raise NotFoundError(
            f"There is no fine-tuning job {identity[:100]!r}.", field="fine_tuning_job_id", value=identity
        )
    return _JOB + identity.removeprefix(_THEIR_JOB)


def of_event(job_id: str, sequence: int) -> str:
    """The id of a job's event."""
    return f"{_EVENT}{job_id.removeprefix(_JOB)}-{sequence}"


def of_checkpoint(job_id: str, step: int) -> str:
    """The id of a job's checkpoint."""
    return f"{_CHECKPOINT}{job_id.removeprefix(_JOB)}-{step}"


def number_in(identity: str, job_id: str, field: str = "after") -> int:
    """The number at the end of an event's or a checkpoint's id.

    Raises:
        NotFoundError: it is none of this job.
    """
    for prefix in (_EVENT, _CHECKPOINT):
        before = f"{prefix}{job_id.removeprefix(_JOB)}-"
        number = identity.removeprefix(before)
        if identity.startswith(before) and number.isascii() and number.isdigit() and len(number) < 12:
            return int(number)
    raise NotFoundError(f"There is no {identity[:100]!r} in this list.", field=field, value=identity)


def of_results(job_id: str) -> str:
    """The id under which a job's metrics are a file."""
    return _RESULTS + job_id.removeprefix(_JOB)


def to_results(identity: str) -> str | None:
    """The job whose metrics are the file `identity`; None where it is another file."""
    return _JOB + identity.removeprefix(_RESULTS) if identity.startswith(_RESULTS) else None


def of_model(job: Job) -> str:
    """The name of what a job trained: `ft:<base>:quickalign:<suffix>:<id>`."""
    return trained_name(job.model or job.spec.model, job.name, job.id)


def to_model_job(name: str) -> str | None:
    """The job that trained the model `name`; None where it is no fine-tuned one."""
    return trained_job(name)
