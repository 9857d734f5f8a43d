"""How a transformers model attends within a packed sequence: an attention function of our own, no changed model code.

`use_packed_attention` switches a model to the function registered here. It gets the sequence's `PackedLayout` as a
keyword argument of the model's forward; without one (evaluation of plain rows, generation) it is SDPA as ever.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from quickalign.train.gpus import has_triton
from quickalign.train.scoring.blocks import Run, block_attention, only_queries
from quickalign.train.scoring.flex import flex_packed_attention, make_block_mask

# How a packed sequence attends: block by block, by FlexAttention, or by PyTorch's own kernels with a dense mask.
AttentionKind = Literal["blocks", "flex", "dense"]

NAME = "quickalign_packed"
# What some models ask of their attention beyond masked softmax: capped scores, sinks, learned biases.
_NOT_PACKED = ("softcap", "s_aux", "position_bias")


@dataclass(frozen=True, slots=True)
class PackedLayout:
    """Which tokens of a packed sequence see each other, in the form that its device needs, and which are scored.

    Attributes:
        runs: runs of queries, for attention block by block; otherwise empty.
        scored_runs: the same with the tokens at `places` as queries, and no others.
        mask: a FlexAttention `BlockMask`; elsewhere a stand-in of shape [1, 1, 1, 1]. Handed to the model as its
            attention mask, a 4-D mask is taken as it is, so that the model builds none of its own.
        places: [places] where something is predicted; `last_layer` leaves out the others.
        reach: [length] where each token is no longer seen, for attention with a dense mask; otherwise None.
        dense: that mask, within a pass.
    """

    runs: tuple[Run, ...]
    scored_runs: tuple[Run, ...]
    mask: Any
    places: Tensor
    reach: Tensor | None = None
    dense: "DenseMask | None" = None


def attention_kind(device: torch.device) -> AttentionKind:
    """How packed sequences attend on `device`."""
    if device.type != "cuda":
        return "blocks"
    return "flex" if has_triton(device) else "dense"


def make_layout(runs: tuple[Run, ...], mask: Sequence[Tensor], places: Tensor, length: int) -> PackedLayout:
    """The layout of a sequence of `length` tokens from its runs or, if there are none, its `flex.mask_parts`, or from
    its reach alone."""
    if len(mask) > 1:
        return PackedLayout((), (), make_block_mask(mask, length), places)
    no_mask = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=places.device)
    if mask:
        return PackedLayout((), (), no_mask, places, mask[0])
    return PackedLayout(runs, tuple(only_queries(runs, places.tolist())), no_mask, places)


class DenseMask:
    """What is added to scores of a packed sequence: zero where a query sees a key, else minus infinity.

    Made once for all layers, in the first one that attends.

    Args:
        reach: [length] where each token is no longer seen.
    """

    def __init__(self, reach: Tensor) -> None:
        self._reach = reach
        self._added: Tensor | None = None

    def added(self, dtype: torch.dtype) -> Tensor:
        """[1, 1, length, length], queries by keys."""
        if self._added is None or self._added.dtype != dtype:
            places = torch.arange(len(self._reach), device=self._reach.device)
            seen = (places <= places[:, None]) & (places[:, None] < self._reach)
            mask = torch.zeros(seen.shape, dtype=dtype, device=seen.device)
            self._added = mask.masked_fill_(~seen, float("-inf"))[None, None]
        return self._added


def for_a_pass(layout: PackedLayout) -> PackedLayout:
    """`layout` as one forward pass takes it: a dense mask is made in each, so that a recorded pass makes it anew."""
    return layout if layout.reach is None else replace(layout, dense=DenseMask(layout.reach))


def use_packed_attention(model: PreTrainedModel) -> None:
    """Let `model` take a `packed_layout`; its plain forward passes stay what they are with SDPA."""
    model.set_attn_implementation(NAME)


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    packed_layout: PackedLayout | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Query [1, heads, length, dim], key and value [1, kv_heads, length, dim] -> [1, length, heads, dim]."""
    if packed_layout is None:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, dropout=dropout, **others
        )
    if unknown := [name for name in _NOT_PACKED if others.get(name) is not None]:
        message = f"attention with {unknown[0]} cannot be packed"
        raise NotImplementedError(message)
    if dropout:
        message = "attention with dropout cannot be packed"
        raise NotImplementedError(message)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    if packed_layout.runs:
        return block_attention(query, key, value, scale, packed_layout.runs), None
    if packed_layout.dense is not None:
        return _dense_attention(query, key, value, scale, packed_layout.dense), None
    return flex_packed_attention(query, key, value, scale, packed_layout.mask), None


def _dense_attention(query: Tensor, key: Tensor, value: Tensor, scale: float, mask: DenseMask) -> Tensor:
    """As `blocks.block_attention`, with keys and values repeated: the kernel that takes a mask wants as many heads."""
    groups = query.shape[1] // key.shape[1]
    keys, values = (states.repeat_interleave(groups, 1) for states in (key, value))
    out = F.scaled_dot_product_attention(query, keys, values, attn_mask=mask.added(query.dtype), scale=scale)
    return out.transpose(1, 2)


AttentionInterface.register(NAME, _attend)
AttentionMaskInterface.register(NAME, sdpa_mask)
