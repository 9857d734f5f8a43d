"""Models that a job names by the job that made them: resolved when it is made, and kept meanwhile."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.orm import Session

from quickalign.core.errors import ConflictError, ModelError, NotFoundError
from quickalign.core.wire.jobs import JobState
from quickalign.hub.folder import refuse_gguf
from quickalign.platform.db.tables import InputRow, JobRow
from quickalign.platform.inputs import Frozen
from quickalign.platform.jobs.states import FINAL
from quickalign.platform.models import trained_job, trained_name

MODELS = ("model", "base", "against")


@dataclass(frozen=True, slots=True)
class Reference:
    """A job that is named as a model. `base` is the name of what it was trained on, `input` where its weights are."""

    job: str
    base: str
    input: Frozen


def find_references(session: Session, spec: BaseModel) -> tuple[Reference, ...]:
    """The jobs that `spec`, of a job of any kind, names as models.

    Raises:
        NotFoundError: there is no such job. ConflictError: it has no model.
    """
    asked = {field: getattr(spec, field, None) for field in MODELS}
    return tuple(_find(session, field, text) for field, text in asked.items() if text and is_job(text))


def is_job(text: str) -> bool:
    """Whether `text` names a job, by its id or by the `ft:` id of its model."""
    return ("/" not in text and text.startswith("job-")) or trained_job(text) is not None


def check_unused(session: Session, job_id: str) -> None:
    """Refuse to delete a job whose model another one still has to read.

    Raises:
        ConflictError: names that one.
    """
    named = (InputRow.name == job_id, InputRow.field.in_(MODELS), JobRow.state.not_in([str(state) for state in FINAL]))
    user = session.scalar(select(JobRow.id).join(InputRow, InputRow.job == JobRow.number).where(*named))
    if user is not None:
        raise ConflictError(
            f"The job {user} reads the model of {job_id}.", f"Wait for {user}, or cancel it.", field="state"
        )


def _find(session: Session, field: str, text: str) -> Reference:
    wanted = trained_job(text) or text
    row = session.scalar(select(JobRow).where(JobRow.id == wanted))
    where = f"spec.{field}"
    if row is None or text not in (row.id, trained_name(row.model, row.name, row.id)):
        raise NotFoundError(
            f"There is no job {text!r}.", "`quickalign jobs list` shows them all.", field=where, value=text
        )
    if row.state != JobState.SUCCEEDED or row.model_path is None:
        raise ConflictError(
            f"The job {row.id} has no model: it is {row.state}, and its kind is {row.kind}.",
            "Name a job that has succeeded in training or exporting.",
            field=where,
            value=text,
        )
    try:
        refuse_gguf(Path(row.model_path))
    except ModelError as error:
        error.field, error.value = where, text
        raise
    return Reference(row.id, row.model, Frozen(field, row.model_path, row.id, row.adapter_sha256, blob=False))
