"""Evaluations and exports as requests: models, data and places as a program names them, resolved for its server."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from quickalign.core.wire.evaluations import EvaluateRequest
from quickalign.core.wire.exports import ExportRequest
from quickalign.core.wire.jobs import EvaluationCreate, ExportCreate
from quickalign.sdk.checks import checked
from quickalign.sdk.inputs import resolve_input, resolve_output
from quickalign.sdk.service_request import resolve_source
from quickalign.sdk.session import Session

MODELS = ("model", "base", "against")
_CALLED = {"name": "job_name", "metadata": "labels"}


def evaluation(session: Session, options: Mapping[str, Any], job: Mapping[str, Any]) -> EvaluationCreate:
    """A job that evaluates: `options` are fields of an evaluation, `job` those of a job.

    Raises:
        OptionError, StorageError: a value that cannot be, or data that is not there.
    """
    spec = checked(EvaluateRequest, _resolved(session, options))
    return checked(EvaluationCreate, {"spec": spec, **_of_job(session, job)}, _CALLED)


def export(session: Session, options: Mapping[str, Any], job: Mapping[str, Any]) -> ExportCreate:
    """A job that exports; `output` of `job` gets the exported folder's files.

    Raises:
        OptionError, StorageError: a value that cannot be, or data that is not there.
    """
    spec = checked(ExportRequest, _resolved(session, options))
    return checked(ExportCreate, {"spec": spec, **_of_job(session, job)}, _CALLED)


def _resolved(session: Session, options: Mapping[str, Any]) -> dict[str, Any]:
    values = {name: value for name, value in options.items() if value is not None}
    for name in MODELS:
        if name in values:
            found = resolve_source(session, os.fspath(values[name]))
            values[name] = found.get("job") or found["model"]
    if "data" in values:
        values["data"] = resolve_input(session, values["data"])
    return values


def _of_job(session: Session, job: Mapping[str, Any]) -> dict[str, Any]:
    values = {name: value for name, value in job.items() if value is not None}
    if "output" in values:
        values["output"] = resolve_output(session, values["output"])
    return values
