"""How the workers of one run share its weights, and which options go with that."""

from typing import Literal

from quickalign.core.errors import OptionError
from quickalign.core.hyperparameters import Hyperparameters

Distribution = Literal["ddp", "fsdp2"]
"""ddp: every worker holds all weights. fsdp2: each holds a piece of every decoder layer, put together when needed."""


def check_distribution(strategy: Distribution, parameters: Hyperparameters, workers: int) -> None:
    """Refuse what sharded weights cannot do.

    Raises:
        OptionError: the option, why, and what to set instead.
    """
    if strategy == "ddp":
        return
    if workers == 1:
        raise _refusal(
            "strategy='fsdp2' spreads the weights over several workers, and this run has one.",
            "Ask for more workers (--workers 2), or leave strategy out.",
        )
    if parameters.quantization != "none":
        option = f"load_in_{parameters.quantization}=true"
        raise _refusal(
            f"strategy='fsdp2' is not possible with {option}: a quantised layer is one block of bytes with tables "
            "beside it, and cannot be cut into pieces.",
            "Set load_in_4bit=false and load_in_8bit=false, or strategy to ddp: the small base fits into each worker.",
        )
    if parameters.optimizer != "adamw":
        raise _refusal(
            f"strategy='fsdp2' is not possible with optimizer={parameters.optimizer!r}: its state is in blocks of "
            "256 numbers, which the pieces of the weights would cut.",
            "Set optimizer to adamw, whose state is cut as well.",
        )
    if parameters.precision == "fp16":
        raise no_fp16("precision='fp16'")


def no_fp16(what: str) -> OptionError:
    """The refusal of scaled losses; `what` says where fp16 comes from."""
    return _refusal(
        f"strategy='fsdp2' computes in bf16 or fp32, and this run would in fp16 ({what}).",
        "Set precision to fp32, or strategy to ddp.",
    )


def _refusal(message: str, remedy: str) -> OptionError:
    return OptionError(message, remedy, field="strategy", value="fsdp2")
