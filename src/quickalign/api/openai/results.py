"""What a finished job left, as far as the dialect tells of it."""

from functools import lru_cache
from pathlib import Path

import orjson

from quickalign.core.errors import ConflictError, NotFoundError
from quickalign.core.wire.jobs import Job, JobState
from quickalign.platform import Platform


def metrics_of(platform: Platform, job_id: str, file_id: str) -> tuple[Job, Path]:
    """A finished job and its metrics file.

    Raises:
        NotFoundError: there is no such result.
    """
    missing = NotFoundError(
        f"There is no file {file_id[:100]!r}.", "A job's result_files names its results.", field="file_id"
    )
    try:
        job = platform.jobs.get(job_id)
        if job.state is not JobState.SUCCEEDED:
            raise missing
        return job, platform.jobs.artifact(job_id, "metrics.jsonl")
    except NotFoundError:
        raise missing from None


def refuse_deletion(file_id: str) -> ConflictError:
    """The error for deleting a result on its own."""
    return ConflictError(
        f"The file {file_id} belongs to its job.", "Delete the fine-tuned model; that removes both.", field="file_id"
    )


def trained_tokens(platform: Platform, job: Job) -> int | None:
    """Tokens that went into training, prompts counted once a row; None where the run's report does not tell."""
    if job.state is not JobState.SUCCEEDED:
        return None
    try:
        return _tokens(platform.jobs.artifact(job.id, "report.json"))
    except NotFoundError:
        return None


@lru_cache(maxsize=1024)
def _tokens(report: Path) -> int | None:
    """Tokens of an epoch, times the share of the epochs that the steps went through."""
    try:
        found = orjson.loads(report.read_bytes())
        plan, steps = found["plan"], found["metrics"]["steps"]
        epochs = found["spec"]["hyperparameters"]["num_train_epochs"]
        share = min(steps * plan["rows_per_step"] / max(plan["rows"], 1), epochs)
        tokens: int = round(plan["tokens_per_epoch"] * share)
        return tokens
    except (OSError, ValueError, KeyError, TypeError):
        return None
