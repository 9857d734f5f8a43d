"""PAI's training methods (`LoRA_LLM`, `QLoRA_LLM`, `Standard`): what each promises about the options of a run."""

from collections.abc import Mapping
from typing import Any

from quickalign.core import options
from quickalign.core.errors import OptionError

_ADAPTER = ("lora_llm", "lora")
_QUANTIZED = ("qlora_llm", "qlora")
_FULL = ("standard", "full_llm", "full")
_NEEDS_LORA = "Set lora_dim above 0, or method='Standard'."


def apply_method(method: str | None, hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """The options that `method` and `hyperparameters` ask for together, as they are sent: those set by hand.

    `LoRA_LLM` trains adapters on a base as `load_in_4bit` and `load_in_8bit` say (4 bits by default), `QLoRA_LLM` on a
    quantised one, and `Standard` trains all weights.

    Raises:
        OptionError: the method is unknown, or says something else than an option; both are named.
    """
    asked = dict(hyperparameters)
    parsed = options.parse(asked)
    match (method or "").lower():
        case "":
            return asked
        case name if name in _ADAPTER:
            _need(parsed.lora_dim > 0, method, f"lora_dim={parsed.lora_dim}", _NEEDS_LORA)
        case name if name in _QUANTIZED:
            _need(parsed.lora_dim > 0, method, f"lora_dim={parsed.lora_dim}", _NEEDS_LORA)
            _need(
                parsed.quantization != "none",
                method,
                "load_in_4bit=false without load_in_8bit=true",
                "Set one of them to true, or method='LoRA_LLM'.",
            )
        case name if name in _FULL:
            _need(
                parsed.lora_dim == 0 or "lora_dim" not in parsed.model_fields_set,
                method,
                f"lora_dim={parsed.lora_dim}",
                "Leave lora_dim out, or set method='LoRA_LLM'.",
            )
            asked["lora_dim"] = 0
            options.parse(asked)
        case _:
            raise OptionError(
                f"method={method!r} is no training method.",
                "Take 'LoRA_LLM', 'QLoRA_LLM' or 'Standard', or leave it out.",
            )
    return asked


def _need(holds: bool, method: str | None, option: str, remedy: str) -> None:
    if not holds:
        raise OptionError(f"method={method!r} and {option} exclude each other.", remedy)
