"""The last layer's feed-forward part, where something is predicted from it and nowhere else.

After its attention, a token of the last layer matters only to its own prediction, and most tokens of a packed sequence,
all prompts among them, have none. Their rows skip that part, as the vocabulary projection does: they keep what the
attention left, which nobody reads. One layer in 24 costs 4 % of a step, and with long prompts most of it is saved.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from quickalign.train.scoring.parts import decoder_of


class ScoredPlaces:
    """Hooks on the last layer of `model`, where that has a feed-forward part of the usual kind; else it does nothing.

    The places are learnt from the `packed_layout` with which the layer's attention is called, right before: in the
    forward pass, and again where the backward pass recomputes the layer. Without a layout all tokens pass.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self._places: Tensor | None = None
        self._length = 0
        self._handles: list[RemovableHandle] = []
        layers = getattr(decoder_of(model), "layers", None)
        last = layers[-1] if isinstance(layers, nn.ModuleList) and len(layers) else None
        attention, part = getattr(last, "self_attn", None), getattr(last, "mlp", None)
        if not isinstance(attention, nn.Module) or not isinstance(part, nn.Module) or _is_hooked(part):
            return
        # Experts may return more than their result; a projection down to the stream tells that this is none of them.
        if hasattr(part, "down_proj"):
            self._handles = [
                attention.register_forward_pre_hook(self._learn, with_kwargs=True),
                part.register_forward_pre_hook(self._take),
                part.register_forward_hook(self._put_back),
            ]

    def remove(self) -> None:
        """Let the layer be what it was."""
        for handle in self._handles:
            handle.remove()

    def _learn(self, _: nn.Module, __: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        self._places = getattr(keywords.get("packed_layout"), "places", None)

    def _take(self, _: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        if self._places is None:
            return arguments
        stream, *others = arguments
        self._length = stream.shape[1]
        return (stream[:, self._places], *others)

    def _put_back(self, _: nn.Module, __: tuple[Any, ...], output: Tensor) -> Tensor:
        if self._places is None:
            return output
        places, self._places = self._places, None
        rows = output.new_zeros(1, self._length, output.shape[-1])
        return rows.index_copy(1, places, output)


def _is_hooked(part: nn.Module) -> bool:
    """Whether this was done before: a model may be given a scorer more than once."""
    return any(isinstance(getattr(hook, "__self__", None), ScoredPlaces) for hook in part._forward_hooks.values())
