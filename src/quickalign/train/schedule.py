"""The learning rate as a pure function of the step, so that a resumed run needs no scheduler state."""

import math

from quickalign.core.hyperparameters import Hyperparameters


def warmup_steps(parameters: Hyperparameters, total_steps: int) -> int:
    """Steps over which the learning rate rises, rounded up."""
    return math.ceil(parameters.warmup_ratio * total_steps)


def learning_rate(step: int, total_steps: int, parameters: Hyperparameters) -> float:
    """The learning rate of optimiser step `step` (from 0) of `total_steps`.

    Linear and cosine fall to 0 just after the last step, as in Hugging Face's schedules.
    """
    warmup = warmup_steps(parameters, total_steps)
    peak = parameters.learning_rate
    if step < warmup:
        return peak * step / warmup
    if parameters.lr_scheduler_type == "constant":
        return peak
    progress = (step - warmup) / max(1, total_steps - warmup)
    if parameters.lr_scheduler_type == "cosine":
        return peak * 0.5 * (1 + math.cos(math.pi * progress))
    return peak * (1 - progress)
