"""Training jobs: made, shown, listed, their logs, ended."""

from typing import Any

from quickalign.api.pai import places, specs
from quickalign.api.pai.call import WORKSPACE, Call, Refused, invalid, missing, unsupported, validated
from quickalign.core import options
from quickalign.core.errors import NotFoundError
from quickalign.core.hyperparameters import Hyperparameters
from quickalign.core.wire.jobs import MOST_WORKERS, Job, JobCreate, JobState, TrainRequest
from quickalign.core.wire.pages import log_chunks
from quickalign.platform.objects.outputs import LABEL

S = JobState
_STATUS = {
    S.QUEUED: "Initializing",
    S.STARTING: "Initializing",
    S.RUNNING: "Running",
    S.PAUSING: "Running",
    S.PAUSED: "Initializing",
    S.RESUMING: "Initializing",
    S.CANCELLING: "Running",
    S.SUCCEEDED: "Succeed",
    S.FAILED: "Failed",
    S.CANCELLED: "Terminated",
}
"""Never CreateFailed, for which the client would wait without an end."""

_NO_CLOUD = "a job runs on the machine of this server, where there is nothing of the kind"
_OWN_PROGRAM = "a job runs quickalign's own program, never code that comes with a request"
_REFUSED = {
    "Environments": _OWN_PROGRAM,
    "PythonRequirements": _OWN_PROGRAM,
    "UserVpc": _NO_CLOUD,
    "ExperimentConfig": _NO_CLOUD,
    "Settings": _NO_CLOUD,
    "ResourceType": _NO_CLOUD,
    "RoleArn": _NO_CLOUD,
}
_SEEN = ("checkpoints", "tensorboard")
"""Outputs that a client may name; both lie in the job's own folder, which the native API shows."""


def create(call: Call) -> dict[str, Any]:
    """CreateTrainingJob."""
    _refuse(call)
    method = _method(call)
    inputs = {entry["Name"]: entry for entry in call.entries("InputChannels") if isinstance(entry.get("Name"), str)}
    if unknown := sorted(set(inputs) - {"model", "train", "validation"}):
        raise unsupported("InputChannels", unknown[0], "a training job reads model, train and validation")
    for name in ("model", "train"):
        if name not in inputs:
            raise invalid("InputChannels", sorted(inputs), f"the channel {name} is missing")
    given = {name: _uri(name, entry) for name, entry in inputs.items()}
    data = {name: places.to_input(call.platform, name, uri) for name, uri in given.items() if name != "model"}
    model = places.to_model(call.platform, "model", given["model"])
    spec = {"model": model, **data, "hyperparameters": _hyperparameters(call, method)}
    job = {
        "name": call.text("TrainingJobName"),
        "spec": validated(TrainRequest, spec, {"model": "InputChannels.model"}),
        "gpus": _gpus(call),
        "workers": _workers(call),
        "metadata": call.pairs("Labels") | _output(call),
    }
    request = validated(JobCreate, job, {"name": "TrainingJobName", "metadata": "Labels"})
    return {"TrainingJobId": call.platform.jobs.create(request).id}


def get(call: Call) -> dict[str, Any]:
    """GetTrainingJob."""
    return _shown(call, _job(call))


def list_all(call: Call) -> dict[str, Any]:
    """ListTrainingJobs."""
    number, size = call.page()
    wanted = call.query.get("Status")
    states = tuple(state for state, status in _STATUS.items() if status == wanted) if wanted else ()
    if wanted and not states:
        return {"TrainingJobs": [], "TotalCount": 0}
    counts = call.platform.jobs.count(kinds=("train",))
    total = sum(count for state, count in counts.items() if not states or S(state) in states)
    name = call.query.get("TrainingJobName")
    found: list[Job] = []
    after: str | None = None
    while len(found) < number * size:
        page = call.platform.jobs.list(states=states, kinds=("train",), text=name, after=after, limit=1000)
        found += page.items
        after = page.next
        if after is None:
            total = len(found)
            break
    return {
        "TrainingJobs": [_shown(call, job) for job in found[(number - 1) * size : number * size]],
        "TotalCount": total,
    }


def logs(call: Call) -> dict[str, Any]:
    """ListTrainingJobLogs. Only whole lines, so that a page never changes once it is full."""
    number, size = call.page()
    job = _job(call)
    chunks = log_chunks(lambda offset: call.platform.jobs.logs(job.id, offset=offset, limit=1 << 20))
    lines = "".join(chunk.text for chunk in chunks).split("\n")
    whole = lines if job.state.is_final and lines[-1] else lines[:-1]
    if job.state.is_final and job.reason is not None:
        whole = [*whole, job.reason.message]
    return {"Logs": whole[(number - 1) * size : number * size], "TotalCount": len(whole)}


def stop(call: Call) -> dict[str, Any]:
    """StopTrainingJob."""
    call.platform.jobs.cancel(_job(call).id)
    return {}


def delete(call: Call) -> dict[str, Any]:
    """DeleteTrainingJob."""
    call.platform.jobs.delete(_job(call).id)
    return {}


def _job(call: Call) -> Job:
    try:
        job = call.platform.jobs.get(call.path["id"])
    except NotFoundError:
        raise missing("TrainingJob", call.path["id"]) from None
    if job.kind != "train":
        raise missing("TrainingJob", job.id)
    return job


def _refuse(call: Call) -> None:
    for name, why in _REFUSED.items():
        value = call.body.get(name)
        if value and not (isinstance(value, dict) and not any(value.values())):
            raise unsupported(name, value, why)
    scheduler = call.body.get("Scheduler")
    if isinstance(scheduler, dict) and scheduler.get("MaxRunningTimeInSeconds"):
        why = "a job has no time limit; max_steps or num_train_epochs says how long it trains"
        raise unsupported("Scheduler.MaxRunningTimeInSeconds", scheduler["MaxRunningTimeInSeconds"], why)


def _method(call: Call) -> str:
    spec = call.body.get("AlgorithmSpec")
    if not isinstance(spec, dict):
        raise Refused(400, "InvalidAlgorithm", "AlgorithmSpec is missing; take that of a model of this server.")
    method = specs.method_of(spec)
    if method is None or spec.get("CodeDir"):
        raise Refused(400, "InvalidAlgorithm", f"AlgorithmSpec is none of this server's: {_OWN_PROGRAM}.")
    return method


def _uri(name: str, entry: Any) -> str:
    if entry.get("DatasetId"):
        raise unsupported(
            f"InputChannels.{name}.DatasetId", entry["DatasetId"], "there are no datasets of the cloud here"
        )
    uri = entry.get("InputUri")
    if not isinstance(uri, str) or not uri:
        raise invalid(f"InputChannels.{name}", entry, "it needs an InputUri")
    return uri


def _hyperparameters(call: Call, method: str) -> dict[str, Any]:
    """Options that say something else than their defaults: the client sends every default along, and whoever sets
    load_in_8bit has not set load_in_4bit by hand."""
    given = call.pairs("HyperParameters", "Name")
    kept: dict[str, Any] = {}
    for name, value in given.items():
        field = Hyperparameters.model_fields.get(name)
        text = value.lower() if field is not None and field.annotation is bool else value
        if field is None or text != specs.default_text(name):
            kept[name] = text
    if method == "Standard":
        kept = {name: value for name, value in kept.items() if not name.startswith("load_in_")} | {"lora_dim": 0}
    parsed = options.parse(kept)
    return {name: getattr(parsed, name) for name in kept}


def _output(call: Call) -> dict[str, str]:
    label: dict[str, str] = {}
    for entry in call.entries("OutputChannels"):
        name, uri = entry.get("Name"), entry.get("OutputUri")
        if name in _SEEN:
            continue
        if name != "model" or not isinstance(uri, str):
            raise unsupported("OutputChannels", entry, "the output of a training job is model, at an OutputUri")
        label = places.output_label(uri)
    return label


def _resource(call: Call) -> dict[str, Any]:
    asked = call.body.get("ComputeResource") or {}
    if not isinstance(asked, dict):
        raise invalid("ComputeResource", asked, "it must be an object")
    return asked


def _workers(call: Call) -> int:
    asked = _resource(call)
    count = asked.get("EcsCount", asked.get("InstanceCount")) or 1
    if count != 1 and call.platform.config.executor == "local":
        raise unsupported("ComputeResource.EcsCount", count, "a job runs on one machine")
    if not isinstance(count, int) or not 1 <= count <= MOST_WORKERS:
        raise invalid("ComputeResource.EcsCount", count, f"it must be a number from 1 to {MOST_WORKERS}")
    return count


def _gpus(call: Call) -> int | None:
    asked = _resource(call)
    for name in ("ResourceId", "SpotSpec"):
        if asked.get(name):
            raise unsupported(f"ComputeResource.{name}", asked[name], _NO_CLOUD)
    kind = asked.get("EcsSpec")
    if kind is None:
        return None
    known = specs.instance_types(call.platform)
    if kind not in known:
        raise invalid("ComputeResource.EcsSpec", kind, f"this machine has {' and '.join(known)}")
    return 0 if kind == "cpu" else 1


def _shown(call: Call, job: Job) -> dict[str, Any]:
    reason, spec = job.reason, job.training
    label = job.metadata.get(LABEL)
    return {
        "TrainingJobId": job.id,
        "TrainingJobName": job.name,
        "TrainingJobUrl": f"{call.base_url}/console/jobs/{job.id}",
        "WorkspaceId": WORKSPACE,
        "Status": _STATUS[job.state],
        "ReasonCode": reason.code if reason else "",
        "ReasonMessage": reason.message if reason else "",
        "HyperParameters": [{"Name": name, "Value": _text(value)} for name, value in spec.hyperparameters.items()],
        "InputChannels": [
            {"Name": name, "InputUri": uri}
            for name, uri in (("model", spec.model), ("train", spec.train), ("validation", spec.validation))
            if uri
        ],
        "OutputChannels": [{"Name": "model", "OutputUri": f"oss://{label}"}] if label else [],
        "Labels": [{"Key": key, "Value": value} for key, value in job.metadata.items() if key != LABEL],
        "ComputeResource": {"EcsCount": job.resources.workers, "EcsSpec": "gpu:1" if job.resources.gpus else "cpu"},
    }


def _text(value: Any) -> str:
    """A value as PAI has it, to whom everything is text."""
    return str(value).lower() if isinstance(value, bool) else str(value)
