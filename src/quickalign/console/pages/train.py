"""The form that makes a job: model, data, options, and what it would need before anything is spent."""

from dataclasses import dataclass, field
from typing import Any, get_args

from starlette.responses import Response
from starlette.routing import Route

from quickalign.console import options_form
from quickalign.console.form_values import checked, filled
from quickalign.console.guard import page
from quickalign.console.sample import SAMPLE_TRAIN, SAMPLE_VALIDATION, first_settings
from quickalign.console.snippets import training
from quickalign.console.visit import Visit
from quickalign.core.errors import NotFoundError, OptionError, QuickalignError
from quickalign.core.spec import DataFormat
from quickalign.core.wire.jobs import EstimateRequest, Job, JobCreate, TrainRequest
from quickalign.core.wire.system import ModelDetail

_FILES_SHOWN = 50


@dataclass(frozen=True, slots=True)
class Begin:
    """What the form begins with."""

    model: str
    settings: dict[str, Any]
    train: str = ""
    validation: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    cloned_from: str = ""


def _form(visit: Visit) -> Response:
    begin = _begin(visit)
    card = _card(visit, begin.model)
    schema = card.hyperparameters if card else _any_schema(visit)
    return visit.page(
        "train.html",
        begin=begin,
        card=card,
        source=_job_named(visit, begin.model),
        cards=visit.platform.models.list(),
        groups=options_form.groups(schema),
        files=visit.platform.files.list(limit=_FILES_SHOWN).items,
        gpus=[device for device in visit.platform.devices if device.kind == "cuda"],
        sample={"train": SAMPLE_TRAIN, "validation": SAMPLE_VALIDATION},
        formats=[name for name in get_args(DataFormat) if name != "auto"],
    )


def _begin(visit: Visit) -> Begin:
    if clone := visit.query("clone"):
        return _begin_of_job(visit.platform.jobs.get(clone))
    model = visit.query("model") or visit.platform.models.list()[0].name
    card = _card(visit, model)
    settings = first_settings(embedded=bool(card and card.embedded))
    return Begin(model=model, settings=settings, train=visit.query("data"))


def _begin_of_job(job: Job) -> Begin:
    spec = job.training
    values = spec.model_dump(include={"data_format", "bad_rows", "sample_prompts"})
    values |= {"name": job.name, "priority": job.priority, "output": job.output or ""}
    return Begin(spec.model, spec.hyperparameters, spec.train, spec.validation or "", values, job.id)


def _any_schema(visit: Visit) -> dict[str, Any]:
    return visit.platform.models.get(visit.platform.models.list()[0].name).hyperparameters


def _card(visit: Visit, model: str) -> ModelDetail | None:
    """The card of a model, or of what the model of a job was made from."""
    source = _job_named(visit, model)
    try:
        return visit.platform.models.get(source.model if source else model)
    except QuickalignError:
        return None


def _job_named(visit: Visit, model: str) -> Job | None:
    """The job whose model is named to be trained further, where `model` is a job's id."""
    try:
        return visit.platform.jobs.get(model) if model.startswith("job-") else None
    except NotFoundError:
        return None


def _submit(visit: Visit) -> Response:
    request, key, job = request_of(visit), visit.given("key") or None, _cloned(visit)
    if job is None:
        made = visit.platform.jobs.create(request, idempotency_key=key)
    else:
        made = visit.platform.jobs.clone(job.id, _changes(visit, job), idempotency_key=key)
    return visit.go(f"/console/jobs/{made.id}")


def _estimate(visit: Visit) -> Response:
    request = request_of(visit)
    asked = EstimateRequest(spec=request.spec, gpus=request.gpus, workers=request.workers)
    found = visit.platform.estimate(asked, visit.given("clone") or None)
    own = request.spec.train.startswith("file-")
    about = found.validation_report or {"warnings": []}
    return visit.page(
        "parts/estimate.html",
        plan=found.plan,
        report=found.report,
        shows_report=not own,
        validation_warnings=about["warnings"],
    )


def _code(visit: Visit) -> Response:
    request, job = request_of(visit), _cloned(visit)
    if job is None:
        return visit.page("parts/code.html", code=training.all_of(request, visit.endpoint))
    cannot = visit.words.gettext("Of a clone, the command line cannot change:")
    return visit.page("parts/code.html", code=training.all_of_clone(job, request, visit.endpoint, cannot))


def request_of(visit: Visit) -> JobCreate:
    """The job that a form asks for; a clone has from its job what the form has no field for.

    Raises:
        OptionError: a field that cannot be; the platform checks the rest.
    """
    values = _asked(visit)
    if not values["spec"]["train"]:
        raise OptionError(
            visit.words.gettext("The job has no training data yet."),
            visit.words.gettext("Upload a file, choose one, or take the sample set."),
            field="train",
        )
    if (job := _cloned(visit)) is not None:
        kept: dict[str, Any] = {"workers": job.resources.workers, "gpus": job.resources.gpus}
        kept |= {"max_retries": job.max_retries, "metadata": job.metadata}
        kept["spec"] = job.training.model_dump() | _spec_changes(values["spec"], job.training)
        kept["spec"]["hyperparameters"] = values.pop("spec")["hyperparameters"]
        values = kept | {name: value for name, value in values.items() if name != "gpus" or value is not None}
    return checked(JobCreate, values, "spec")


def _asked(visit: Visit) -> dict[str, Any]:
    """What the form's fields say."""
    spec = {
        "model": visit.given("model").strip(),
        "train": visit.given("train").strip(),
        "validation": visit.given("validation").strip() or None,
        "data_format": visit.given("data_format") or "auto",
        "bad_rows": visit.given("bad_rows") or "error",
        "sample_prompts": _lines(visit.given("sample_prompts")),
        "hyperparameters": options_form.read(visit.form, _any_schema(visit)),
    }
    return {
        "name": visit.given("name").strip() or None,
        "output": visit.given("output").strip() or None,
        "gpus": filled(visit.form, "gpus"),
        "priority": filled(visit.form, "priority") or 0,
        "spec": spec,
    }


def _cloned(visit: Visit) -> Job | None:
    clone = visit.given("clone")
    return visit.platform.jobs.get(clone) if clone else None


def _changes(visit: Visit, job: Job) -> dict[str, Any]:
    """What the form changes of the job that it began with. Data that is not named anew is the job's own copy."""
    values = _asked(visit)
    options = dict.fromkeys(job.training.hyperparameters) | values["spec"]["hyperparameters"]
    values["spec"] = _spec_changes(values["spec"], job.training) | {"hyperparameters": options}
    if values["gpus"] is None:
        del values["gpus"]
    return values


def _spec_changes(asked: dict[str, Any], before: TrainRequest) -> dict[str, Any]:
    """The fields in which the form differs from what it began with, but for the options."""
    began = before.model_dump() | {"sample_prompts": _lines("\n".join(before.sample_prompts))}
    found = {name: value for name, value in asked.items() if name != "hyperparameters" and value != began[name]}
    return found | ({"model_revision": None} if "model" in found else {})


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


ROUTES = (
    Route("/train", page(_form), methods=["GET"]),
    Route("/train", page(_submit), methods=["POST"]),
    Route("/train/estimate", page(_estimate), methods=["POST"]),
    Route("/train/code", page(_code), methods=["POST"]),
)
