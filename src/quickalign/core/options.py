"""From loose option values to validated hyperparameters: unknown names, bad values and impossible combinations.

Promise 1 of the project lives here: what cannot be honoured is an error that names the options and the way out. An
option that has no effect may still be passed with its default value, so that forms can send every field.
"""

import difflib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache
from typing import Any, Protocol

from pydantic import TypeAdapter, ValidationError

from quickalign.core.errors import OptionError
from quickalign.core.hyperparameters import Hyperparameters

_DPO_ONLY = (
    "dpo_beta",
    "loss_type",
    "label_smoothing",
    "sft_weight",
    "simpo_gamma",
    "dpop_lambda",
    "reference",
)
CLOSING_ROWS = 16
"""Rows of the sample set that end a run without validation data, where no other number is asked for."""

_LORA_ONLY = ("lora_alpha", "lora_dropout", "target_modules", "use_rslora", "use_dora")

# What other trainers call the same thing.
_OTHER_NAMES = {
    "lr": "learning_rate",
    "beta": "dpo_beta",
    "epochs": "num_train_epochs",
    "num_epochs": "num_train_epochs",
    "batch_size": "per_device_train_batch_size",
    "max_length": "seq_length",
    "max_seq_length": "seq_length",
    "cutoff_len": "seq_length",
    "lora_r": "lora_dim",
    "lora_rank": "lora_dim",
    "r": "lora_dim",
    "optim": "optimizer",
    "method": "training_strategy",
    "stage": "training_strategy",
    "pref_loss": "loss_type",
    "rpo_alpha": "sft_weight",
    "system": "system_prompt",
}


class _Asked(Protocol):
    """What a run is asked for besides its hyperparameters, as far as it goes together with them."""

    @property
    def validation(self) -> str | None: ...
    @property
    def sample_prompts(self) -> tuple[str, ...]: ...
    @property
    def sample_tokens(self) -> int: ...
    @property
    def closing_rows(self) -> int: ...


def parse(values: Mapping[str, Any]) -> Hyperparameters:
    """Validate `values` and their combination.

    Raises:
        OptionError: an unknown name (with the nearest valid one), a value out of bounds or of the wrong type, or a
            combination that cannot be honoured.
    """
    for name in values:
        if name not in Hyperparameters.model_fields:
            raise OptionError(f"There is no option {name!r}.", _nearest(name))
    try:
        parameters = Hyperparameters.model_validate(dict(values))
    except ValidationError as error:
        raise _bad_value(error) from None
    _check_quantization(parameters)
    _check_strategy(parameters)
    _check_loss(parameters)
    _check_machine(parameters)
    return parameters


def typed(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same values, with numbers and truths in place of texts that stand for them; what cannot be stays as it is."""
    found = dict(values)
    for name, value in values.items():
        if isinstance(value, str) and name in Hyperparameters.model_fields:
            with suppress(ValidationError):
                found[name] = _adapter(name).validate_python(value)
    return found


@cache
def _adapter(name: str) -> TypeAdapter[Any]:
    annotation = Hyperparameters.model_fields[name].annotation
    assert annotation is not None
    return TypeAdapter(annotation)


def check_together(asked: _Asked, parameters: Hyperparameters) -> None:
    """Refuse what has no effect beside the rest of a run.

    Raises:
        OptionError: names the option, and what takes its effect away.
    """
    split, every = parameters.validation_split, parameters.eval_steps
    if asked.validation is not None and split:
        raise OptionError(
            f"validation_split={split} has no effect beside a validation file.",
            "Leave one of the two out.",
            field="hyperparameters",
            value=split,
        )
    validates = asked.validation is not None or split > 0
    if every and not validates:
        raise OptionError(
            f"eval_steps={every} has no effect without validation data.",
            "Give a validation file, set validation_split above 0, or leave eval_steps out.",
            field="hyperparameters",
            value=every,
        )
    if asked.sample_prompts and not asked.sample_tokens:
        raise OptionError(
            "sample_prompts has no effect with sample_tokens=0.",
            "Set sample_tokens above 0, or leave sample_prompts out.",
            field="sample_prompts",
            value=asked.sample_prompts,
        )
    if validates and asked.closing_rows not in (0, CLOSING_ROWS):
        raise OptionError(
            f"closing_rows={asked.closing_rows} has no effect with validation data, which gives a run's last figures.",
            "Leave closing_rows out, or set it to 0 for no closing evaluation.",
            field="closing_rows",
            value=asked.closing_rows,
        )


def nearest(name: str, among: Iterable[str] = Hyperparameters.model_fields) -> str | None:
    """The valid option that `name` most likely means: what other trainers call it, or the closest in spelling."""
    plain = name.lower().lstrip("-").replace("-", "_")
    known = list(among)
    if (meant := _OTHER_NAMES.get(plain)) in known:
        return meant
    close = difflib.get_close_matches(plain, known, n=1, cutoff=0.5)
    return close[0] if close else None


def _nearest(name: str) -> str:
    found = nearest(name)
    if found is None:
        return "`quickalign train --help` lists all options."
    called = _OTHER_NAMES.get(name.lower().lstrip("-").replace("-", "_")) == found
    return f"It is called {found!r} here." if called else f"Did you mean {found!r}?"


def _bad_value(error: ValidationError) -> OptionError:
    first = error.errors(include_url=False)[0]
    name = ".".join(str(part) for part in first["loc"])
    field = Hyperparameters.model_fields.get(name)
    meaning = f" ({field.description})" if field and field.description else ""
    message = f"{name}={first['input']!r} is not possible: {first['msg'][0].lower()}{first['msg'][1:]}.{meaning}"
    return OptionError(message, f"Correct it, or leave it out for {field.default!r}." if field else None)


def _changed(parameters: Hyperparameters, names: tuple[str, ...]) -> list[str]:
    """The options among `names` that were set to something else than their default."""
    fields = Hyperparameters.model_fields
    return [name for name in names if getattr(parameters, name) != fields[name].default]


def _check_quantization(parameters: Hyperparameters) -> None:
    by_hand = parameters.model_fields_set
    both = {"load_in_4bit", "load_in_8bit"} <= by_hand
    if both and parameters.load_in_4bit and parameters.load_in_8bit:
        raise OptionError(
            "load_in_4bit=true and load_in_8bit=true exclude each other.",
            "Set one of them; load_in_8bit=true alone is enough for 8 bits.",
        )
    if parameters.lora_dim > 0:
        return
    asked = [n for n in ("load_in_4bit", "load_in_8bit") if n in by_hand and getattr(parameters, n)]
    if asked:
        raise OptionError(
            f"{asked[0]}=true needs LoRA, and lora_dim=0 asks for full fine-tuning.",
            f"Set lora_dim above 0, or {asked[0]}=false.",
        )
    if useless := _changed(parameters, _LORA_ONLY):
        raise OptionError(
            f"{useless[0]}={getattr(parameters, useless[0])!r} has no effect with lora_dim=0.",
            f"Set lora_dim above 0, or leave {useless[0]} out.",
        )


def _check_strategy(parameters: Hyperparameters) -> None:
    if parameters.training_strategy == "sft" and (useless := _changed(parameters, _DPO_ONLY)):
        raise OptionError(
            f"{useless[0]}={getattr(parameters, useless[0])!r} has no effect with training_strategy='sft'.",
            f"Set training_strategy='dpo', or leave {useless[0]} out.",
        )
    if not parameters.apply_chat_template and "system_prompt" in _changed(parameters, ("system_prompt",)):
        raise OptionError(
            "system_prompt has no effect with apply_chat_template=false.",
            "Put the text into the prompts, or set apply_chat_template=true.",
        )


def _check_loss(parameters: Hyperparameters) -> None:
    needs = {
        "label_smoothing": ("sigmoid", "robust"),
        "simpo_gamma": ("simpo",),
        "dpop_lambda": ("dpop",),
    }
    for name, losses in needs.items():
        if _changed(parameters, (name,)) and parameters.loss_type not in losses:
            raise OptionError(
                f"{name}={getattr(parameters, name)!r} has no effect with loss_type={parameters.loss_type!r}.",
                f"Use loss_type {' or '.join(losses)}, or leave {name} out.",
            )
    if parameters.loss_type == "orpo" and _changed(parameters, ("sft_weight",)):
        raise OptionError(
            "loss_type='orpo' already contains the likelihood of the chosen answers, so sft_weight would add it twice.",
            "Leave sft_weight out.",
        )
    if parameters.reference_free and parameters.reference != "auto":
        raise OptionError(
            f"reference={parameters.reference!r} has no effect: loss_type={parameters.loss_type!r} uses no reference.",
            "Leave reference out.",
        )


def _check_machine(parameters: Hyperparameters) -> None:
    if parameters.token_budget and parameters.packing == "off":
        raise OptionError(
            f"token_budget={parameters.token_budget} has no effect with packing='off'.",
            "Set packing to auto or on, or leave token_budget out.",
        )
    if parameters.use_dora and parameters.quantization == "8bit":
        raise OptionError(
            "use_dora=true does not work on an 8-bit base (load_in_8bit=true).",
            "Use load_in_4bit=true, or set use_dora=false.",
        )
