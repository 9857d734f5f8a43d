"""What the dialect says of how a model is trained and served, in specifications that come back with later calls.

A client sends back of a specification only what its own protocol has a place for, so the method travels as the image of
the algorithm and the model as the URI of its channel.
"""

from collections.abc import Mapping
from typing import Any, get_args, get_origin

from quickalign.api.pai import places
from quickalign.core.hyperparameters import Hyperparameters
from quickalign.platform import Platform

METHODS = ("LoRA_LLM", "QLoRA_LLM", "Standard")
PROCESSOR = "quickalign"
_IMAGE = "quickalign/train:"
_TYPES: dict[Any, str] = {bool: "Bool", int: "Int", float: "Float", str: "String"}
_FIXED = {
    "LoRA_LLM": {},
    "QLoRA_LLM": {},
    "Standard": {"lora_dim": "0", "load_in_4bit": "false", "load_in_8bit": "false"},
}


def training_spec(platform: Platform, uri: str, region: str) -> dict[str, Any]:
    """Method to specification, for a model whose weights are at `uri`."""
    instances = list(instance_types(platform))
    inputs = [
        {"Name": "model", "InputUri": uri},
        {"Name": "train", "InputUri": places.SAMPLE.format(region=region)},
    ]
    return {
        method: {
            "AlgorithmSpec": algorithm(method, instances),
            "ComputeResource": {"EcsCount": 1, "EcsSpec": instances[0]},
            "HyperParameters": [{"Name": name, "Value": value} for name, value in _FIXED[method].items()],
            "InputChannels": inputs,
            "SupportedInstanceTypes": instances,
        }
        for method in METHODS
    }


def inference_spec() -> dict[str, Any]:
    """How a model is served; the client adds where its weights are as `model_path`."""
    return {"processor": PROCESSOR, "metadata": {"instance": 1}, "cloud": {}}


def algorithm(method: str, instances: list[str]) -> dict[str, Any]:
    """The training program by one method."""
    return {
        "Command": ["quickalign", "train"],
        "Image": _IMAGE + method,
        "JobType": "PyTorchJob",
        "InputChannels": [_channel("model", required=True), _channel("train", required=True), _channel("validation")],
        "OutputChannels": [_channel("model", required=True)],
        "HyperParameters": definitions(method),
        "SupportedInstanceTypes": instances,
        "SupportsDistributedTraining": False,
    }


def method_of(algorithm_spec: Mapping[str, Any]) -> str | None:
    """The method that `algorithm` was made for; None where it is none of ours."""
    method = str(algorithm_spec.get("Image", "")).removeprefix(_IMAGE)
    return method if method in METHODS else None


def definitions(method: str) -> list[dict[str, Any]]:
    """The options as the dialect lists them, each with its default as text."""
    fixed = _FIXED[method]
    return [
        {
            "Name": name,
            "Type": _type(field.annotation),
            "DefaultValue": fixed.get(name) or default_text(name),
            "Description": (field.description or "") + _choices(field.annotation),
            "Required": False,
        }
        for name, field in Hyperparameters.model_fields.items()
    ]


def default_text(name: str) -> str:
    """An option's default, as text."""
    value = Hyperparameters.model_fields[name].default
    return str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)


def instance_types(platform: Platform) -> tuple[str, ...]:
    """Names of what a job can run on here, the best first: `gpu:1` where there is a GPU, and `cpu`."""
    gpus = [device for device in platform.devices if device.kind == "cuda"]
    return ("gpu:1", "cpu") if gpus else ("cpu",)


def _type(annotation: Any) -> str:
    return _TYPES.get(annotation, "String")


def _channel(name: str, *, required: bool = False) -> dict[str, Any]:
    return {"Name": name, "Required": required, "SupportedChannelTypes": ["oss"]}


def _choices(annotation: Any) -> str:
    return f" One of {', '.join(map(str, get_args(annotation)))}." if get_origin(annotation) else ""
