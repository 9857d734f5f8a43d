"""Our types in the shapes of the published API."""

import time
from typing import Any

from quickalign.api.openai import ids
from quickalign.api.openai.mapping import BASE_LEARNING_RATE
from quickalign.core.hyperparameters import Hyperparameters
from quickalign.core.wire.files import StoredFile
from quickalign.core.wire.jobs import Checkpoint, Event, Job, JobState
from quickalign.core.wire.system import ModelSummary
from quickalign.platform.services.routes import Route

Json = dict[str, Any]

_STATUSES = {
    JobState.QUEUED: "queued",
    JobState.RESUMING: "queued",
    JobState.STARTING: "validating_files",
    JobState.RUNNING: "running",
    JobState.PAUSING: "running",
    JobState.CANCELLING: "running",
    JobState.PAUSED: "paused",
    JobState.SUCCEEDED: "succeeded",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "cancelled",
}
_VALIDATING = frozenset({"", "model", "data"})
"""Phases of a run before its data is known to be good."""

_WARNINGS = frozenset({"warning", "retry", "notice"})


def of_job(job: Job, trained_tokens: int | None = None) -> Json:
    """A `fine_tuning.job`. `trained_tokens` is known for finished jobs only."""
    numbers = _hyperparameters(job)
    own = {name: value for name, value in numbers.items() if name != "beta"}
    spec = job.training
    kind = "dpo" if spec.hyperparameters.get("training_strategy") == "dpo" else "supervised"
    succeeded = job.state is JobState.SUCCEEDED
    return {
        "id": ids.of_job(job.id),
        "object": "fine_tuning.job",
        "created_at": int(job.created_at),
        "finished_at": None if job.finished_at is None else int(job.finished_at),
        "model": spec.model,
        "fine_tuned_model": ids.of_model(job) if succeeded else None,
        "organization_id": "quickalign",
        "status": _status(job),
        "hyperparameters": own,
        "method": {"type": kind, kind: {"hyperparameters": numbers if kind == "dpo" else own}},
        "training_file": spec.train,
        "validation_file": spec.validation,
        "result_files": [ids.of_results(job.id)] if succeeded else [],
        "trained_tokens": trained_tokens if succeeded else None,
        "error": _error(job),
        "seed": spec.hyperparameters.get("seed", Hyperparameters.model_fields["seed"].default),
        "estimated_finish": _estimated_finish(job),
        "integrations": [],
        "metadata": job.metadata,
        "user_provided_suffix": job.name,
        "shared_with_openai": False,
    }


def _status(job: Job) -> str:
    if job.state is JobState.RUNNING and (job.progress is None or job.progress.phase in _VALIDATING):
        return "validating_files"
    return _STATUSES[job.state]


def _hyperparameters(job: Job) -> Json:
    """Theirs from ours: what was left open is `auto` until the job starts, then what it trains with."""
    given = job.training.hyperparameters
    defaults = {name: field.default for name, field in Hyperparameters.model_fields.items()}
    known = given if job.attempt == 0 else defaults | given
    numbers: Json = {"n_epochs": known.get("num_train_epochs", "auto")}
    if "gradient_accumulation_steps" in known or "per_device_train_batch_size" in known:
        both = ("gradient_accumulation_steps", "per_device_train_batch_size")
        rows, steps = (known.get(name, defaults[name]) for name in both)
        numbers["batch_size"] = rows * steps
    else:
        numbers["batch_size"] = "auto"
    rate = known.get("learning_rate")
    numbers["learning_rate_multiplier"] = "auto" if rate is None else round(rate / BASE_LEARNING_RATE, 9)
    numbers["beta"] = known.get("dpo_beta", "auto")
    return numbers


def _error(job: Job) -> Json | None:
    if job.state is not JobState.FAILED:
        return None
    if job.reason is None:
        return {"code": "failed", "message": "The job failed and left no reason.", "param": None}
    param = "training_file" if job.reason.exit_code == 3 else None
    return {"code": job.reason.code, "message": job.reason.message, "param": param}


def _estimated_finish(job: Job) -> int | None:
    if job.state is not JobState.RUNNING or job.progress is None or job.progress.seconds_left is None:
        return None
    return int(time.time() + job.progress.seconds_left)


def of_event(job_id: str, event: Event) -> Json:
    """A `fine_tuning.job.event`."""
    failed = event.kind == "state" and event.data.get("to") == "failed"
    level = "error" if failed else "warn" if event.kind in _WARNINGS else "info"
    return {
        "id": ids.of_event(job_id, event.sequence),
        "object": "fine_tuning.job.event",
        "created_at": int(event.created_at),
        "level": level,
        "message": event.message,
        "type": "metrics" if event.kind == "evaluation" else "message",
        "data": {"kind": event.kind, **event.data},
    }


def of_checkpoint(job: Job, checkpoint: Checkpoint) -> Json:
    """A `fine_tuning.job.checkpoint`. Token accuracies are not measured here and are null."""
    values = checkpoint.metrics
    return {
        "id": ids.of_checkpoint(job.id, checkpoint.step),
        "object": "fine_tuning.job.checkpoint",
        "created_at": int(checkpoint.created_at),
        "fine_tuning_job_id": ids.of_job(job.id),
        "fine_tuned_model_checkpoint": f"{ids.of_model(job)}:ckpt-step-{checkpoint.step}",
        "step_number": checkpoint.step,
        "metrics": {
            "step": checkpoint.step,
            "train_loss": values.get("loss"),
            "train_mean_token_accuracy": None,
            "valid_loss": values.get("validation_loss"),
            "valid_mean_token_accuracy": None,
            "full_valid_loss": values.get("validation_loss"),
            "full_valid_mean_token_accuracy": None,
        },
    }


def of_file(file: StoredFile) -> Json:
    """A `file`."""
    return _file(file.id, file.filename, file.bytes, file.created_at, file.purpose)


def of_results(job: Job, size: int) -> Json:
    """The `file` that a finished job's metrics are."""
    created = job.finished_at or job.created_at
    return _file(ids.of_results(job.id), "metrics.jsonl", size, created, "fine-tune-results")


def _file(identity: str, name: str, size: int, created: float, purpose: str) -> Json:
    return {
        "id": identity,
        "object": "file",
        "bytes": size,
        "created_at": int(created),
        "filename": name,
        "purpose": purpose,
        "status": "processed",
        "status_details": None,
        "expires_at": None,
    }


def of_card(card: ModelSummary) -> Json:
    """A `model` that can be trained; cards have no date."""
    return {"id": card.name, "object": "model", "created": 0, "owned_by": card.provider}


def of_service(service: Route) -> Json:
    """A `model` that a service answers for."""
    return {"id": service.name, "object": "model", "created": int(service.created_at), "owned_by": "quickalign"}


def of_trained(job: Job) -> Json:
    """A `model` that a job trained."""
    created = int(job.finished_at or job.created_at)
    return {"id": ids.of_model(job), "object": "model", "created": created, "owned_by": "quickalign"}
