"""A home that lies elsewhere by now: paths into it that rows keep are written anew when a server opens it.

What they lead to is known by the job's id, whatever the home was called before. A copy of a home thus reads its own
files, and not those of the home that it was copied from.
"""

import re
from typing import Any

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from quickalign.platform.db.engine import Database
from quickalign.platform.db.service_tables import RevisionRow
from quickalign.platform.db.tables import InputRow, JobRow
from quickalign.platform.home import Home

_OF_A_JOB = re.compile(r"/.*/jobs/(job-[a-z2-7]{24}/.+)")


def settle(database: Database, home: Home) -> None:
    """Let all that rows say of jobs' folders be about those of `home`."""
    with database.write() as session:
        for row, name, value in _found(session, home):
            setattr(row, name, value)


def _found(session: Session, home: Home) -> list[tuple[Any, str, Any]]:
    """Rows with the column to change and its new value."""
    jobs = session.scalars(select(JobRow).where(_is_elsewhere(JobRow.model_path, home)))
    inputs = session.scalars(select(InputRow).where(InputRow.blob.is_(False), _is_elsewhere(InputRow.source, home)))
    revisions = session.scalars(select(RevisionRow).where(RevisionRow.job.is_not(None)))
    kept = (
        *((row, "model_path", row.model_path) for row in jobs),
        *((row, "source", row.source) for row in inputs),
        *((row, "source", row.source) for row in revisions),
    )
    found = ((row, name, before, _own(before, home)) for row, name, before in kept)
    return [(row, name, now) for row, name, before, now in found if now != before]


def _is_elsewhere(column: InstrumentedAttribute[Any], home: Home) -> ColumnElement[bool]:
    here = column.startswith(f"{home.root}/", autoescape=True)
    return column.startswith("/") & column.contains("/jobs/job-") & ~here


def _own(value: Any, home: Home) -> Any:
    """`value`, but paths into a job's folder lead into that of `home`, where it has what is there."""
    if isinstance(value, dict):
        return {name: _own(one, home) for name, one in value.items()}
    if isinstance(value, list):
        return [_own(one, home) for one in value]
    if not isinstance(value, str) or (inside := _OF_A_JOB.fullmatch(value)) is None:
        return value
    here = home.jobs / inside[1]
    return str(here) if here.exists() else value
