"""From a fine-tuning request of the published API to a job of ours. What cannot be honoured is refused by name."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from quickalign.core.errors import OptionError
from quickalign.core.wire.jobs import JobCreate, TrainRequest

BASE_LEARNING_RATE = 5e-5
"""What `learning_rate_multiplier` multiplies: the default of `learning_rate`."""

Values = dict[str, Any]
_STRATEGIES = {"supervised": "sft", "dpo": "dpo"}
_THEIRS = {
    "n_epochs": ("num_train_epochs",),
    "batch_size": ("gradient_accumulation_steps", "per_device_train_batch_size"),
    "learning_rate_multiplier": ("learning_rate",),
    "beta": ("dpo_beta",),
}
_TYPES: dict[str, type] = {"n_epochs": int, "batch_size": int}


class Part(BaseModel):
    """The settings of one method."""

    model_config = ConfigDict(extra="forbid")

    hyperparameters: Values | None = None


class Method(BaseModel):
    """How to train."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["supervised", "dpo", "reinforcement"]
    supervised: Part | None = None
    dpo: Part | None = None
    reinforcement: Values | None = None


class CreateJob(BaseModel):
    """The body of `POST /v1/fine_tuning/jobs`."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    model: str = Field(min_length=1, max_length=500)
    training_file: str = Field(min_length=1, max_length=2000)
    validation_file: str | None = Field(default=None, min_length=1, max_length=2000)
    hyperparameters: Values | None = None
    method: Method | None = None
    seed: int | None = Field(default=None, ge=0, le=2**31 - 1)
    suffix: str | None = Field(default=None, min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+$")
    metadata: dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]] | None = Field(
        default=None, max_length=16
    )


def to_job(body: CreateJob) -> JobCreate:
    """The job that `body` asks for.

    Raises:
        OptionError: it asks for something that is not supported, or twice for the same thing.
    """
    _refuse_unsupported(body)
    kind, given = _method(body)
    options = {"training_strategy": _STRATEGIES[kind], **_options(kind, given)}
    if body.seed is not None:
        _set(options, "seed", body.seed, "seed")
    spec = TrainRequest(
        model=body.model, train=body.training_file, validation=body.validation_file, hyperparameters=options
    )
    return JobCreate(name=body.suffix, spec=spec, metadata=body.metadata or {})


def _refuse_unsupported(body: CreateJob) -> None:
    for name, value in (body.model_extra or {}).items():
        if value is not None and value != []:
            raise OptionError(
                f"{name!r} is not supported by this server.", "Leave it out.", field=name[:100], value=value
            )


def _method(body: CreateJob) -> tuple[str, Values]:
    """The kind of training and the hyperparameters that were given for it."""
    method = body.method
    if method is None:
        return "supervised", body.hyperparameters or {}
    if method.type == "reinforcement" or method.reinforcement is not None:
        raise OptionError(
            "The method 'reinforcement' is not supported by this server.",
            "Use 'supervised' or 'dpo'.",
            field="method.type",
            value="reinforcement",
        )
    if body.hyperparameters:
        raise OptionError(
            "hyperparameters and method are both given.",
            f"Put all hyperparameters into method.{method.type}.hyperparameters.",
            field="hyperparameters",
        )
    other = method.dpo if method.type == "supervised" else method.supervised
    if other is not None:
        name = "dpo" if method.type == "supervised" else "supervised"
        raise OptionError(
            f"method.type is {method.type!r}, and method.{name} is given.",
            f"Use method.{method.type}, or another type.",
            field=f"method.{name}",
        )
    part = method.supervised if method.type == "supervised" else method.dpo
    return method.type, (part.hyperparameters if part else None) or {}


def _options(kind: str, given: Values) -> Values:
    """Our options for hyperparameters of theirs; ours among them pass as they are."""
    options: Values = {}
    for name, value in given.items():
        if name not in _THEIRS:
            _set(options, name, value, f"method.{kind}.hyperparameters.{name}")
            continue
        if name == "beta" and kind != "dpo":
            raise OptionError(
                "beta has no meaning for the method 'supervised'.",
                "Leave it out, or use the method 'dpo'.",
                field=f"method.{kind}.hyperparameters.beta",
                value=value,
            )
        if value is None or value == "auto":
            continue
        for option, translated in _translated(name, value, kind).items():
            _set(options, option, translated, f"method.{kind}.hyperparameters.{name}")
    _check_strategy(kind, options)
    return options


def _translated(name: str, value: Any, kind: str) -> Values:
    number = _TYPES.get(name, float)
    if isinstance(value, bool) or not isinstance(value, int if number is int else int | float) or value <= 0:
        raise OptionError(
            f"{name}={value!r} is not possible: it must be 'auto' or a positive {number.__name__}.",
            "Correct it, or leave it out.",
            field=f"method.{kind}.hyperparameters.{name}",
            value=value,
        )
    match name:
        case "batch_size":
            return {"gradient_accumulation_steps": value, "per_device_train_batch_size": 1}
        case "learning_rate_multiplier":
            return {"learning_rate": value * BASE_LEARNING_RATE}
        case _:
            return {_THEIRS[name][0]: value}


def _set(options: Values, name: str, value: Any, field: str) -> None:
    if name in options:
        raise OptionError(
            f"{name} is given twice, once as {field.rpartition('.')[2]!r}.", "Give it once.", field=field, value=value
        )
    options[name] = value


def _check_strategy(kind: str, options: Values) -> None:
    asked = options.pop("training_strategy", None)
    if asked is not None and asked != _STRATEGIES[kind]:
        raise OptionError(
            f"method.type is {kind!r}, and training_strategy is {asked!r}.",
            "Leave training_strategy out; the method says it.",
            field=f"method.{kind}.hyperparameters.training_strategy",
            value=asked,
        )
