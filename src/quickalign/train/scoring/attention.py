"""How a transformers model attends within a packed sequence: an attention function of our own, no changed model code.

`use_packed_attention` switches a model to the function registered here. It gets the sequence's `PackedLayout` as a
keyword argument of the model's forward; without one (evaluation of plain rows, generation) it is SDPA as ever.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from quickalign.train.scoring.blocks import Run, block_attention, only_queries
from quickalign.train.scoring.flex import flex_packed_attention, make_block_mask

NAME = "quickalign_packed"
# What some models ask of their attention beyond masked softmax: capped scores, sinks, learned biases.
_NOT_PACKED = ("softcap", "s_aux", "position_bias")


@dataclass(frozen=True, slots=True)
class PackedLayout:
    """Which tokens of a packed sequence see each other, in the form that its device needs, and which are scored.

    Attributes:
        runs: runs of queries, for devices without FlexAttention; otherwise empty.
        scored_runs: the same with the tokens at `places` as queries, and no others.
        mask: a FlexAttention `BlockMask` on CUDA; elsewhere a stand-in of shape [1, 1, 1, 1]. Handed to the model as
            its attention mask, a 4-D mask is taken as it is, so that the model builds none of its own.
        places: [places] where something is predicted; `last_layer` leaves out the others.
    """

    runs: tuple[Run, ...]
    scored_runs: tuple[Run, ...]
    mask: Any
    places: Tensor


def make_layout(runs: tuple[Run, ...], mask: Sequence[Tensor], places: Tensor, length: int) -> PackedLayout:
    """The layout of a sequence of `length` tokens from its runs or, if there are none, its `flex.mask_parts`."""
    if not runs:
        return PackedLayout((), (), make_block_mask(mask, length), places)
    no_mask = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=places.device)
    return PackedLayout(runs, tuple(only_queries(runs, places.tolist())), no_mask, places)


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
    return flex_packed_attention(query, key, value, scale, packed_layout.mask), None


AttentionInterface.register(NAME, _attend)
AttentionMaskInterface.register(NAME, sdpa_mask)
