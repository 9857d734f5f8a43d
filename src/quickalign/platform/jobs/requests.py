"""Checking a request before a job is made of it: every option, the model, the room there is."""

from typing import Any

from pydantic import ValidationError

from quickalign.core import options
from quickalign.core.distribution import check_distribution
from quickalign.core.errors import OptionError, QuickalignError
from quickalign.core.hyperparameters import Hyperparameters
from quickalign.core.spec import RunSpec
from quickalign.core.wire.jobs import NewJob, TrainRequest
from quickalign.hub.cards import find_card
from quickalign.platform.config import Config
from quickalign.platform.inputs import Inputs
from quickalign.platform.jobs.references import is_job


def check_spec(spec: TrainRequest, inputs: Inputs) -> Hyperparameters:
    """The options of `spec`, validated.

    Raises:
        OptionError: an option that does not exist or cannot be honoured; ModelError: there is no such card;
        AccessError: a folder that jobs may not read.
    """
    try:
        parameters = options.parse(spec.hyperparameters)
    except QuickalignError as error:
        error.field = error.field or "spec.hyperparameters"
        raise
    try:
        options.check_together(spec, parameters)
    except QuickalignError as error:
        error.field = f"spec.{error.field}"
        raise
    if is_job(spec.model):
        if spec.model_revision is not None:
            raise OptionError(
                f"model_revision={spec.model_revision!r} has no effect on {spec.model}, which was trained here.",
                "Leave model_revision out.",
                field="spec.model_revision",
                value=spec.model_revision,
            )
        return parameters
    try:
        inputs.check_model(spec.model)
        if "/" not in spec.model:
            find_card(spec.model)
    except QuickalignError as error:
        error.field, error.value = "spec.model", spec.model
        raise
    return parameters


def check_workers(spec: TrainRequest, parameters: Hyperparameters, workers: int, config: Config) -> None:
    """Refuse workers that there is no place for, and weights that cannot be shared among them as asked.

    Raises:
        OptionError: with the field at fault.
    """
    if workers > 1 and config.executor == "local":
        raise OptionError(
            f"workers={workers} is not possible: this server runs each job on its own machine, as one process.",
            'Set workers to 1, or let a Ray cluster run jobs: executor = "ray" in config.toml.',
            field="workers",
            value=workers,
        )
    try:
        check_distribution(spec.strategy, parameters, workers)
    except QuickalignError as error:
        error.field = f"spec.{error.field}"
        raise


def run_spec(spec: TrainRequest, paths: dict[str, str], output: str) -> dict[str, Any]:
    """The run specification of a job as JSON; `paths` says what is read for each input and for a job's model."""
    values = spec.model_dump(mode="json") | {"validation": None} | paths
    values |= {"output": output, "resume": "auto"}
    assert values.keys() <= RunSpec.model_fields.keys()
    return values


def changed(request: NewJob, changes: dict[str, Any]) -> NewJob:
    """`request` with `changes`: fields of a job, or of its spec; options are changed one by one, null removes one.

    Raises:
        OptionError: there is no such field, or the value cannot be.
    """
    values = request.model_dump()
    given = dict(changes)
    asked = given.pop("spec", None) or {}
    if not isinstance(asked, dict):
        raise OptionError("spec must be an object.", "Name the fields to change.", field="spec", value=asked)
    values["spec"] = _merged(values["spec"], dict(asked))
    try:
        return type(request).model_validate(values | given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise OptionError(
            f"{where}: {first['msg']}.", "Name fields of a job.", field=where, value=first["input"]
        ) from None


def _merged(spec: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    if "hyperparameters" not in spec:
        return spec | asked
    options_now = spec["hyperparameters"] | (asked.pop("hyperparameters", None) or {})
    return spec | asked | {"hyperparameters": {name: value for name, value in options_now.items() if value is not None}}
