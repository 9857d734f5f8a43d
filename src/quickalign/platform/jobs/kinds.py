"""What differs between the kinds of jobs: how a request is checked, what it needs, and what its program is given."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import TypeAdapter

from quickalign.core import extras, options
from quickalign.core.errors import QuickalignError
from quickalign.core.wire import evaluations, exports
from quickalign.core.wire.jobs import AnyJobCreate, EvaluationCreate, ExportCreate, JobCreate, Kind, NewJob, Resources
from quickalign.hub.cards import find_card
from quickalign.platform.config import Config
from quickalign.platform.devices import Device
from quickalign.platform.inputs import Inputs
from quickalign.platform.jobs import requests
from quickalign.platform.jobs.references import MODELS, Reference, is_job
from quickalign.platform.queue import needs

PROGRAMS: Mapping[Kind, tuple[str, ...]] = MappingProxyType(
    {
        "train": (sys.executable, "-m", "quickalign.train"),
        "evaluate": (sys.executable, "-m", "quickalign.evaluate"),
        "export": (sys.executable, "-m", "quickalign.export"),
    }
)
"""The command of each kind, to which the specification's path is added."""

SPREAD = (sys.executable, "-m", "quickalign.cluster.train")
"""The command that trains on several workers of a cluster."""

EXPORTED = "model"
"""The exported folder in an export's folder of results."""

_ANY: TypeAdapter[NewJob] = TypeAdapter(AnyJobCreate)


def parse(values: dict[str, Any]) -> NewJob:
    """The request that a row keeps, with options as what they are: a command line and PAI's client send texts."""
    request = _ANY.validate_python(values)
    if not isinstance(request, JobCreate):
        return request
    known = options.typed(request.spec.hyperparameters)
    return request.model_copy(update={"spec": request.spec.model_copy(update={"hyperparameters": known})})


def check(request: NewJob, inputs: Inputs, config: Config) -> None:
    """Refuse what no job can do, by the rules of its kind.

    Raises:
        OptionError, ModelError, AccessError: with the field at fault.
    """
    if isinstance(request, JobCreate):
        parameters = requests.check_spec(request.spec, inputs)
        requests.check_workers(request.spec, parameters, request.workers, config)
        return
    if isinstance(request, EvaluationCreate):
        evaluations.check(request.spec)
    if isinstance(request, ExportCreate):
        exports.check(request.spec)
        if request.spec.compression.startswith(exports.GGUF) and config.executor == "local":
            extras.demand_gguf("spec.compression")
    for field in MODELS:
        text = getattr(request.spec, field, None)
        if text is not None and not is_job(text):
            _check_model(f"spec.{field}", text, inputs)


def _check_model(field: str, text: str, inputs: Inputs) -> None:
    try:
        inputs.check_model(text)
        if "/" not in text:
            find_card(text)
    except QuickalignError as error:
        error.field, error.value = field, text
        raise


def resources(request: NewJob, references: Sequence[Reference], devices: tuple[Device, ...]) -> Resources:
    """What the job takes of the machine.

    Raises:
        CapacityError: no device here can ever hold it. OptionError: more GPUs than one program can use.
    """
    if isinstance(request, JobCreate):
        parameters = options.parse(request.spec.hyperparameters)
        pieces = request.workers if request.spec.strategy == "fsdp2" else 1
        model = base_name(request, references)
        needed = needs.resources(model, parameters, request.gpus, devices, pieces)
        return needed.model_copy(update={"workers": request.workers})
    return needs.for_two_copies(base_name(request, references), request.gpus, devices)


def workers(request: NewJob) -> int:
    """How many processes do the job together."""
    return request.workers if isinstance(request, JobCreate) else 1


def base_name(request: NewJob, references: Sequence[Reference]) -> str:
    """The model that the job is about: of one that was trained here, what it was trained on."""
    return next((one.base for one in references if one.input.field == "model"), request.spec.model)[:500]


def made_up_name(request: NewJob, references: Sequence[Reference]) -> str:
    """A name for people, where none was given."""
    model = request.spec.model.rstrip("/").rpartition("/")[2] or request.spec.model
    word: str = request.kind
    if isinstance(request, JobCreate):
        word = request.spec.hyperparameters.get("training_strategy", "sft")
    if references and references[0].input.field == "model":
        model = f"{references[0].base.rpartition('/')[2]} of {references[0].job}"
    return f"{word} {model}"[:100]


def writes_model(request: NewJob) -> bool:
    """Whether a training job trains all weights, so that a model is among its results in place of an adapter."""
    return isinstance(request, JobCreate) and options.parse(request.spec.hyperparameters).lora_dim == 0


def results_of(request: NewJob, output: Path) -> Path:
    """The folder in a job's folder of results that is copied to where its maker wants it."""
    return output / EXPORTED if request.kind == "export" else output


def program_spec(request: NewJob, paths: dict[str, str], output: Path) -> dict[str, Any]:
    """The specification of the job's program as JSON; `paths` says what is read for each input."""
    if isinstance(request, JobCreate):
        return requests.run_spec(request.spec, paths, str(output))
    return request.spec.model_dump(mode="json") | paths | {"output": str(results_of(request, output))}


def arguments(request: NewJob, spec: Path, output: Path) -> tuple[str, ...]:
    """What the program is called with: a training run leaves its news where its results are, the others are told."""
    return (str(spec),) if isinstance(request, JobCreate) else (str(spec), str(output))


def spread(spec: Path, taken: Resources, cpus: float) -> tuple[str, ...]:
    """The command that trains on several workers of a cluster, each with `cpus` and what is `taken`."""
    # with a GPU the memory is the card's, and a cluster counts that of its machines
    memory = 0 if taken.gpus else taken.memory_bytes
    asked = {"workers": taken.workers, "cpus": cpus, "gpus": taken.gpus, "memory": memory}
    options = (
        text for name, value in asked.items() for text in (f"--{name}", f"{value:g}" if name == "cpus" else str(value))
    )
    return (*SPREAD, str(spec), *options)
