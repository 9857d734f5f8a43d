"""Where the reference's log-probs come from: the base model itself, with the adapter switched off."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from quickalign.data.encode import EncodedRow
from quickalign.train.scoring.base import MicroBatch, Scorer


class Reference(Protocol):
    """Gives the log-probs of answers under the frozen reference model."""

    def logps(self, model: nn.Module, micro: MicroBatch, rows: Sequence[EncodedRow]) -> Tensor:
        """[rows, answers] sums as in `AnswerLogps.sums`, without gradient. `rows` are the micro-batch's own rows."""

    def flush(self) -> None:
        """Put everything computed so far where a resumed run finds it; due before each checkpoint."""

    @property
    def to_share(self) -> bool:
        """Whether this process has computed something that the others of its run do not know."""

    def share(self) -> None:
        """Let all processes know what each has computed; all of them call it, at the same step."""


class LiveReference:
    """Runs the base, the adapter off, on the very micro-batch that the policy scores. Loads no second model."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer

    def logps(self, model: nn.Module, micro: MicroBatch, rows: Sequence[EncodedRow]) -> Tensor:
        """See `Reference.logps`; `model` must be a PEFT model."""
        del rows
        return self._scorer.logps(model, micro, adapter=False).sums

    def flush(self) -> None:
        """Nothing is kept."""

    @property
    def to_share(self) -> bool:
        """Nothing is kept."""
        return False

    def share(self) -> None:
        """Nothing is kept."""


@contextmanager
def base_alone(model: nn.Module) -> Iterator[None]:
    """Switch the adapter of `model`, a PEFT model, and dropout and gradients off inside the block.

    PEFT's own switch looks at every weight and `eval` calls every module, both twice: 66 ms of each micro-batch,
    with a base of 24 layers, in which all cores but one wait. Here the flags that they set are set, which takes 6.
    """
    if not isinstance(model, PeftModel):
        message = "A live reference needs an adapter to switch off; full fine-tuning computes it beforehand."
        raise TypeError(message)
    modules = list(model.modules())
    acting = [module for module in modules if isinstance(module, BaseTunerLayer) and not module.disable_adapters]
    training = [module for module in modules if module.training]
    try:
        _set(acting, "_disable_adapters", value=True)
        _set(training, "training", value=False)
        with torch.no_grad():
            yield
    finally:
        _set(acting, "_disable_adapters", value=False)
        _set(training, "training", value=True)


def _set(modules: Sequence[nn.Module], name: str, *, value: bool) -> None:
    """Set a flag, past `nn.Module.__setattr__`, which would look for weights of that name."""
    for module in modules:
        vars(module)[name] = value


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Switch dropout off inside the block."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
