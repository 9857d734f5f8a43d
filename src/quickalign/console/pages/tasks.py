"""What is made of a trained model besides a service: an evaluation on data, or an export to take away."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, get_args

from starlette.responses import Response
from starlette.routing import Route

from quickalign.console.form_values import checked, filled, text
from quickalign.console.guard import page
from quickalign.console.job_view import actions
from quickalign.console.sample import SAMPLE_VALIDATION
from quickalign.console.snippets import tasks
from quickalign.console.visit import Visit
from quickalign.core.errors import ConflictError, OptionError
from quickalign.core.wire import evaluations, exports
from quickalign.core.wire.evaluations import EvaluateRequest
from quickalign.core.wire.exports import ExportRequest
from quickalign.core.wire.jobs import EvaluationCreate, ExportCreate, JobState

_SHOWN = 50
_LIMITS = ("fail_below", "fail_above")
FIELDS: Mapping[str, tuple[str, ...]] = {
    "export": ("compression", "precision", "license", "rows", "prompts", "answer_tokens", "parity_limit", "data"),
    "evaluate": (
        "data", "against", *_LIMITS, "data_format", "bad_rows", "rows", "prompts", "answer_tokens", "kl_rows",
    ),
}  # fmt: skip
"""The fields of each form, by the kind of job that it makes."""
_PLAIN: Mapping[str, int] = {"export": 3, "evaluate": 4}
"""How many of them everybody sees; the others are folded in."""
_REQUESTS: Mapping[str, type[ExportRequest | EvaluateRequest]] = {"export": ExportRequest, "evaluate": EvaluateRequest}


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its choices, or what it holds at first where it is text."""

    name: str
    hint: str
    choices: tuple[str, ...]
    default: str
    required: bool


def fields(kind: str) -> list[Field]:
    """The fields of a form in their order."""
    known = _REQUESTS[kind].model_fields
    return [
        Field(
            name,
            known[name].description or "",
            get_args(known[name].annotation) if isinstance(known[name].default, str) else (),
            "" if known[name].is_required() or not known[name].default else str(known[name].default),
            known[name].is_required(),
        )
        for name in FIELDS[kind]
    ]


def _form(visit: Visit, kind: str) -> Response:
    job = visit.platform.jobs.get(visit.path("job"))
    if kind not in actions(job):
        raise ConflictError(
            f"The job {job.id} has no model: it is {job.state}, and its kind is {job.kind}.",
            "Name a job that has succeeded in training or exporting.",
        )
    others = visit.platform.jobs.list(states=[JobState.SUCCEEDED], kinds=["train"], limit=_SHOWN).items
    return visit.page(
        "task.html",
        job=job,
        kind=kind,
        plain=fields(kind)[: _PLAIN[kind]],
        folded=fields(kind)[_PLAIN[kind] :],
        files=visit.platform.files.list(limit=_SHOWN).items,
        sample=SAMPLE_VALIDATION,
        others=[other for other in others if other.id != job.id],
    )


def _submit(visit: Visit, kind: str) -> Response:
    job = visit.platform.jobs.create(_request(visit, kind), idempotency_key=text(visit.form, "key") or None)
    return visit.go(f"/console/jobs/{job.id}")


def _code(visit: Visit, kind: str) -> Response:
    needs_folder = visit.words.gettext("The command line also copies the result, here to the folder")
    request = _request(visit, kind)
    if isinstance(request, ExportCreate):
        exports.check(request.spec)
    else:
        evaluations.check(request.spec)
    return visit.page("parts/code.html", code=tasks.all_of(request, visit.endpoint, needs_folder))


def _request(visit: Visit, kind: str) -> EvaluationCreate | ExportCreate:
    """The job that the form asks for.

    Raises:
        OptionError: a field that cannot be.
    """
    spec: dict[str, Any] = {"model": visit.path("job")}
    for name in FIELDS[kind]:
        if (value := filled(visit.form, name)) is not None:
            spec[name] = _limits(name, value) if name in _LIMITS else value
    values = {"name": filled(visit.form, "name"), "spec": spec}
    if kind == "export":
        return checked(ExportCreate, values | {"kind": kind, "output": filled(visit.form, "output")}, "spec")
    return checked(EvaluationCreate, values | {"kind": kind}, "spec")


def _limits(name: str, value: str) -> dict[str, str]:
    """`accuracy=0.7, margin=0.1` as figures by name; the request says what is no number."""
    found = {}
    for one in filter(None, (part.strip() for part in value.split(","))):
        figure, sign, limit = one.partition("=")
        if not sign:
            raise OptionError(f"The limit {one!r} has no value.", "Write it as accuracy=0.7.", field=f"spec.{name}")
        if figure.strip() in found:
            raise OptionError(f"{name} names {figure.strip()!r} twice.", "Name it once.", field=f"spec.{name}")
        found[figure.strip()] = limit.strip()
    return found


ROUTES = tuple(
    Route(f"/jobs/{{job}}/{kind}{more}", page(partial(do, kind=kind)), methods=[method])
    for kind in FIELDS
    for do, method, more in ((_form, "GET", ""), (_submit, "POST", ""), (_code, "POST", "/code"))
)
