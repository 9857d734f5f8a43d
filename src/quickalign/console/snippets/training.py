"""A training as text to copy.

A clone reads the copy of the data that its job has, which no name leads to, so its texts ask for a clone.
"""

import pprint
from collections.abc import Mapping
from typing import Any

from quickalign.console.snippets.words import WIDTH, arguments, call, changed, command, differs, option, plain, shell
from quickalign.core.hyperparameters import Hyperparameters
from quickalign.core.wire.jobs import Job, JobCreate, TrainRequest

_RECIPE_FIELDS = (
    "data_format", "safe_rlhf_preference", "bad_rows", "sample_prompts", "sample_tokens", "closing_rows", "strategy",
)  # fmt: skip
_CLONE_OPTIONS = ("name", "output", "priority")


def all_of(request: JobCreate, endpoint: str) -> dict[str, str]:
    """The texts by the name of their tab."""
    return {"SDK": sdk(request), "CLI": cli(request), "curl": curl(request, endpoint)}


def all_of_clone(job: Job, request: JobCreate, endpoint: str, cannot: str) -> dict[str, str]:
    """The same for the clone of `job` that `request` describes; `cannot` comes before what the command line
    does not change."""
    changes = _changes(job, request)
    return {
        "SDK": _clone_sdk(job, changes),
        "CLI": _clone_cli(job, changes, cannot),
        "curl": call(f"{endpoint.rstrip('/')}/api/v1/jobs/{job.id}/clone", changes),
    }


def sdk(request: JobCreate) -> str:
    """As a Python program."""
    spec = request.spec
    given: dict[str, Any] = {"model_name": spec.model, "hyperparameters": spec.hyperparameters}
    if spec.model_revision:
        given["model_version"] = spec.model_revision
    given |= changed(spec, _RECIPE_FIELDS)
    if request.gpus is not None:
        given["instance_type"] = f"gpu:{request.gpus}" if request.gpus else "cpu"
    if request.workers != 1:
        given["instance_count"] = request.workers
    given |= {name: getattr(request, name) for name in ("priority", "max_retries") if differs(request, name)}
    if request.metadata:
        given["labels"] = request.metadata
    inputs = {"train": spec.train} | ({"validation": spec.validation} if spec.validation else {})
    more = "".join(
        f", {name}={value!r}"
        for name, value in (
            ("outputs", {"model": request.output} if request.output else None),
            ("job_name", request.name),
        )
        if value
    )
    return (
        "from quickalign.model import ModelTrainingRecipe\n\n"
        f"recipe = ModelTrainingRecipe(\n{arguments(given)})\n"
        f"recipe.train({inputs!r}{more})\n"
        "print(recipe.model_data())\n"
    )


def cli(request: JobCreate) -> str:
    """As a command line."""
    spec = request.spec
    words = [f"quickalign train {shell(spec.model)} {shell(spec.train)}"]
    words.extend(option(name, value) for name, value in spec.hyperparameters.items())
    for name, value in changed(spec, (*_RECIPE_FIELDS, "validation", "model_revision")).items():
        if name == "sample_prompts":
            words.extend(option("sample_prompt", prompt) for prompt in value)
        else:
            words.append(option(name, value))
    words.extend(
        option(name, getattr(request, name))
        for name in ("name", "output", "gpus", "workers", "priority", "max_retries")
        if differs(request, name)
    )
    words.extend(option("label", f"{key}={value}") for key, value in request.metadata.items())
    return command(words)


def curl(request: JobCreate, endpoint: str) -> str:
    """As a call of the API."""
    return call(f"{endpoint.rstrip('/')}/api/v1/jobs", request.model_dump(mode="json", exclude_defaults=True))


def _changes(job: Job, request: JobCreate) -> dict[str, Any]:
    """What differs from the job, as the API takes it: an option that is no longer set is null."""
    before, after = job.training, request.spec
    spec = {
        name: value
        for name, value in after.model_dump(mode="json", exclude={"hyperparameters"}).items()
        if getattr(after, name) != getattr(before, name)
    }
    defaults = Hyperparameters().model_dump()
    options = {
        name: after.hyperparameters.get(name)
        for name in (before.hyperparameters | after.hyperparameters)
        if _option(before, name, defaults) != _option(after, name, defaults)
    }
    had = {name: getattr(job, name) for name in _CLONE_OPTIONS} | {"gpus": job.resources.gpus}
    changes = {name: getattr(request, name) for name, value in had.items() if getattr(request, name) != value}
    spec |= {"hyperparameters": options} if options else {}
    return changes | ({"spec": spec} if spec else {})


def _option(spec: TrainRequest, name: str, defaults: Mapping[str, Any]) -> Any:
    return spec.hyperparameters.get(name, defaults[name])


def _clone_sdk(job: Job, changes: Mapping[str, Any]) -> str:
    given = [repr(job.id)] + ([pprint.pformat(changes, width=WIDTH - 4, sort_dicts=False)] if changes else [])
    text = "".join(f"    {one}".replace("\n", "\n    ") + ",\n" for one in given)
    return (
        "from quickalign.session import get_default_session\n\n"
        f"job = get_default_session().jobs.clone(\n{text})\n"
        "print(job.id)\n"
    )


def _clone_cli(job: Job, changes: Mapping[str, Any], cannot: str) -> str:
    spec = dict(changes.get("spec", {}))
    options = spec.pop("hyperparameters", {})
    # an empty name or output stands for the job's own there
    other = [name for name in changes if name != "spec" and (name not in _CLONE_OPTIONS or changes[name] is None)]
    if spec or other:
        return f"# {cannot} {', '.join([*spec, *other])}\n"
    defaults = Hyperparameters().model_dump()
    set_to = {name: defaults[name] if value is None else value for name, value in options.items()}
    words = [f"quickalign jobs clone {job.id}"]
    words.extend(option("set", f"{name}={plain(value)}") for name, value in set_to.items())
    words.extend(option(name, changes[name]) for name in _CLONE_OPTIONS if name in changes)
    return command(words)
