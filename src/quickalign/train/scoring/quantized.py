"""A guard for 4-bit models on the CPU."""

from torch import nn


def keep_differentiable(model: nn.Module) -> None:
    """Stop bitsandbytes from repacking 4-bit weights for inference the first time a layer runs in evaluation mode.

    On CPUs with AVX512-BF16 it would do so for good. Products with repacked weights have no gradient: training after an
    evaluation would silently lose the gradient of every earlier layer. They round otherwise than what was trained, and
    matrices whose width is no multiple of a block of 64 cannot be repacked at all.
    """
    for layer in model.modules():
        if hasattr(layer, "support_avx512bf16_for_cpu"):
            setattr(layer, "support_avx512bf16_for_cpu", False)  # noqa: B010 - unknown to nn.Module's type
