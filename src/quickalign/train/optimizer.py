"""The optimiser and its state as named tensors, so that checkpoints are plain safetensors."""

from typing import Any

import torch
from torch import Tensor, nn

from quickalign.core.errors import RunError
from quickalign.core.hyperparameters import Hyperparameters

BETAS = (0.9, 0.999)
EPSILON = 1e-8


def make_optimizer(trainable: dict[str, nn.Parameter], parameters: Hyperparameters) -> torch.optim.Optimizer:
    """AdamW (Loshchilov and Hutter 2019) over `trainable`; vectors (biases, norms) are not decayed."""
    tensors = list(trainable.values())
    groups: list[dict[str, Any]] = [
        {"params": [p for p in tensors if p.ndim > 1], "weight_decay": parameters.weight_decay},
        {"params": [p for p in tensors if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    settings: dict[str, Any] = {"lr": parameters.learning_rate, "betas": BETAS, "eps": EPSILON}
    if parameters.optimizer == "adamw":
        return torch.optim.AdamW(groups, **settings, fused=True)
    from bitsandbytes.optim.adamw import AdamW8bit, PagedAdamW8bit  # noqa: PLC0415 - with PyTorch's compiler, seconds

    if parameters.optimizer == "adamw_8bit":
        return AdamW8bit(groups, **settings)
    return PagedAdamW8bit(groups, **settings)


def set_learning_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    """Use `value` in the next step."""
    for group in optimizer.param_groups:
        group["lr"] = value


def state_tensors(optimizer: torch.optim.Optimizer, trainable: dict[str, nn.Parameter]) -> dict[str, Tensor]:
    """The optimiser's state as `parameter name/state name` -> tensor; numbers become tensors of one element."""
    tensors: dict[str, Tensor] = {}
    for name, parameter in trainable.items():
        for key, value in optimizer.state.get(parameter, {}).items():
            tensor = value.detach() if isinstance(value, Tensor) else torch.tensor(value)
            tensors[f"{name}/{key}"] = tensor.cpu().contiguous().clone()
    return tensors


def load_state_tensors(
    optimizer: torch.optim.Optimizer, trainable: dict[str, nn.Parameter], tensors: dict[str, Tensor]
) -> None:
    """The inverse of `state_tensors`.

    Raises:
        RunError: the state is of other parameters.
    """
    names = {key.rsplit("/", 1)[0] for key in tensors}
    if unknown := names - trainable.keys():
        raise RunError(f"The checkpoint holds optimiser state for {sorted(unknown)[0]!r}, which is not trained here.")
    for name, parameter in trainable.items():
        stored = {key.rsplit("/", 1)[1]: value for key, value in tensors.items() if key.rsplit("/", 1)[0] == name}
        if stored:
            optimizer.state[parameter] = {key: _restore(key, value, parameter) for key, value in stored.items()}


def _restore(key: str, value: Tensor, parameter: nn.Parameter) -> Any:
    """PyTorch keeps `step` as a tensor, bitsandbytes as an integer (saved as int64)."""
    if key == "step" and value.dtype == torch.int64:
        return int(value)
    return value.to(parameter.device)
