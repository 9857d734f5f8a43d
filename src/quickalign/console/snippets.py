"""A job as text to copy: for the SDK, the command line and curl. All three make the very same job."""

import json
import pprint
import shlex
from typing import Any

from quickalign.core.wire.jobs import JobCreate, TrainRequest

_RECIPE_FIELDS = (
    "data_format", "safe_rlhf_preference", "bad_rows", "sample_prompts", "sample_tokens", "closing_rows", "strategy",
)  # fmt: skip
_WIDTH = 96


def all_of(request: JobCreate, endpoint: str) -> dict[str, str]:
    """The texts by the name of their tab."""
    return {"SDK": sdk(request), "CLI": cli(request), "curl": curl(request, endpoint)}


def sdk(request: JobCreate) -> str:
    """As a Python program."""
    spec = request.spec
    arguments: dict[str, Any] = {"model_name": spec.model, "hyperparameters": spec.hyperparameters}
    if spec.model_revision:
        arguments["model_version"] = spec.model_revision
    arguments |= _changed(spec, _RECIPE_FIELDS)
    if request.gpus is not None:
        arguments["instance_type"] = f"gpu:{request.gpus}" if request.gpus else "cpu"
    if request.workers != 1:
        arguments["instance_count"] = request.workers
    arguments |= {name: getattr(request, name) for name in ("priority", "max_retries") if _differs(request, name)}
    if request.metadata:
        arguments["labels"] = request.metadata
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
        f"recipe = ModelTrainingRecipe(\n{_python_arguments(arguments)})\n"
        f"recipe.train({inputs!r}{more})\n"
        "print(recipe.model_data())\n"
    )


def cli(request: JobCreate) -> str:
    """As a command line."""
    spec = request.spec
    words: list[str] = []
    for name, value in spec.hyperparameters.items():
        words.append(f"--{name.replace('_', '-')} {_shell(value)}")
    for name, value in _changed(spec, (*_RECIPE_FIELDS, "validation", "model_revision")).items():
        if name == "sample_prompts":
            words.extend(f"--sample-prompt {_shell(prompt)}" for prompt in value)
        else:
            words.append(f"--{name.replace('_', '-')} {_shell(value)}")
    words.extend(
        f"--{name.replace('_', '-')} {_shell(getattr(request, name))}"
        for name in ("name", "output", "gpus", "workers", "priority", "max_retries")
        if _differs(request, name)
    )
    words.extend(f"--label {_shell(f'{key}={value}')}" for key, value in request.metadata.items())
    first = f"quickalign train {_shell(spec.model)} {_shell(spec.train)}"
    return " \\\n    ".join([first, *words]) + "\n"


def curl(request: JobCreate, endpoint: str) -> str:
    """As a call of the API."""
    body = json.dumps(request.model_dump(mode="json", exclude_defaults=True), ensure_ascii=False, indent=2)
    address = f"{endpoint.rstrip('/')}/api/v1/jobs"
    return (
        f"curl {_shell(address)} \\\n"
        '    -H "Authorization: Bearer $QUICKALIGN_TOKEN" \\\n'
        "    -H 'Content-Type: application/json' \\\n"
        f"    -d {_shell(body)}\n"
    )


def _changed(spec: TrainRequest, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(spec, name) for name in names if _differs(spec, name)}


def _differs(value: Any, name: str) -> bool:
    return bool(getattr(value, name) != type(value).model_fields[name].default)


def _python_arguments(arguments: dict[str, Any]) -> str:
    lines = []
    for name, value in arguments.items():
        text = pprint.pformat(value, width=_WIDTH - 8, sort_dicts=False)
        if isinstance(value, dict) and value:
            inner = "".join(f"        {key!r}: {item!r},\n" for key, item in value.items())
            text = f"{{\n{inner}    }}"
        lines.append(f"    {name}={text},\n")
    return "".join(lines)


def _shell(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return shlex.quote(str(value))
