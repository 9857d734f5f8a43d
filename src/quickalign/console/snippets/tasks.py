"""An evaluation or an export as text to copy."""

from typing import Any

from quickalign.console.snippets.words import arguments, call, changed, command, option, shell
from quickalign.core.wire.jobs import EvaluationCreate, ExportCreate

_LIMITS = ("fail_below", "fail_above")
_FOLDER = "exported"
_RECIPES = {"evaluate": "evaluation", "export": "compression"}


def all_of(request: EvaluationCreate | ExportCreate, endpoint: str, needs_folder: str) -> dict[str, str]:
    """The texts by the name of their tab; `needs_folder` comes before a command that copies an export to a folder
    because it must have one."""
    body = {"kind": request.kind} | request.model_dump(mode="json", exclude_defaults=True)
    return {
        "SDK": _sdk(request),
        "CLI": _cli(request, needs_folder),
        "curl": call(f"{endpoint.rstrip('/')}/api/v1/jobs", body),
    }


def _sdk(request: EvaluationCreate | ExportCreate) -> str:
    options = _options(request)
    recipe = {"model_name": request.spec.model, "recipe_type": _RECIPES[request.kind]}
    inputs = {name: options.pop(name) for name in ("data", "against") if name in options}
    given = {
        "inputs": inputs,
        "outputs": {"model": request.output} if request.output else None,
        "job_name": request.name,
    }
    results = "print(job.report())\n" if request.kind == "evaluate" else "print(job.record.model_path)\n"
    return (
        "from quickalign.model import ModelRecipe\n\n"
        f"recipe = ModelRecipe(\n{arguments(recipe | ({'hyperparameters': options} if options else {}))})\n"
        f"job = recipe.run({', '.join(f'{name}={value!r}' for name, value in given.items() if value)})\n"
        f"{results}"
    )


def _cli(request: EvaluationCreate | ExportCreate, needs_folder: str) -> str:
    options = _options(request)
    if request.kind == "evaluate":
        words, comment = [f"quickalign eval {shell(request.spec.model)} {shell(options.pop('data'))}"], ""
    else:
        words = [f"quickalign export {shell(request.spec.model)} {shell(request.output or _FOLDER)}"]
        comment = "" if request.output else f"# {needs_folder} {_FOLDER}\n"
    for name, value in options.items():
        if name in _LIMITS:
            words.extend(option(name, f"{figure}={limit!r}") for figure, limit in value.items())
        else:
            words.append(option(name, value))
    if request.output and request.kind == "evaluate":
        words.append(option("output", request.output))
    if request.name:
        words.append(option("name", request.name))
    return comment + command(words)


def _options(request: EvaluationCreate | ExportCreate) -> dict[str, Any]:
    """What was set, but for the model; an evaluation's data always is."""
    return changed(request.spec, (name for name in type(request.spec).model_fields if name != "model"))
