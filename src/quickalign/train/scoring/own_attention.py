"""A layer's attention over a packed sequence on a CPU, from its input to its output projection.

transformers rotates queries and keys by an operation for each half, each sign and each sum, and computes the last
layer's queries for every token. Here the rotation (Su et al. 2021, RoFormer, eq. 34) is one function, rounded as
theirs, with a backward pass of its own; and the last layer's queries are only those of tokens from which something is
predicted: nobody reads what the others would find.

A layer is switched only where it gives the same as before on a few made-up tokens, as in `fused`. Called without a
packed layout, or on a device that has no runs, it does what it always did.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers import PreTrainedModel

from quickalign.train.scoring.attention import PackedLayout, make_layout
from quickalign.train.scoring.blocks import block_attention, cut_runs
from quickalign.train.scoring.parts import decoder_of

_TOKENS = 5


def use_own_attention(model: PreTrainedModel) -> None:
    """Switch the attention layers of `model`, which takes packed layouts, where that changes nothing."""
    if model.device.type == "cuda":  # no layout has runs there
        return
    decoder = decoder_of(model)
    layers, rotary = getattr(decoder, "layers", None), getattr(decoder, "rotary_emb", None)
    if not isinstance(layers, nn.ModuleList) or not isinstance(rotary, nn.Module):
        return
    for layer in layers:
        attention = getattr(layer, "self_attn", None)
        if isinstance(attention, nn.Module) and not isinstance(attention, OwnAttention):
            _switch(attention, rotary, only_scored=layer is layers[-1])


def leave_own_attention(model: nn.Module) -> None:
    """Let the layers be what they were."""
    for module in model.modules():
        if isinstance(module, OwnAttention):
            module.__class__ = type(module).before  # type: ignore[assignment]


class OwnAttention(nn.Module):
    """Goes before the class of a layer.

    Attributes:
        before: that class.
        only_scored: whether only scored places have queries.
    """

    before: type[nn.Module]
    only_scored: bool
    q_proj: nn.Module
    k_proj: nn.Module
    v_proj: nn.Module
    o_proj: nn.Module
    head_dim: int
    scaling: float

    def forward(
        self,
        hidden_states: Tensor,
        position_embeddings: tuple[Tensor, Tensor],
        packed_layout: PackedLayout | None = None,
        **others: Any,
    ) -> tuple[Tensor, None]:
        """[1, length, hidden] -> [1, length, hidden], which is zero at places without a query."""
        if packed_layout is None or not packed_layout.runs:
            named = {"position_embeddings": position_embeddings, "packed_layout": packed_layout, **others}
            return super().forward(hidden_states, **named)  # type: ignore[no-any-return]
        asking, runs = hidden_states, packed_layout.runs
        key_rotation = query_rotation = Rotation.of(*position_embeddings)
        if self.only_scored:
            asking, runs = hidden_states[:, packed_layout.places], packed_layout.scored_runs
            query_rotation = key_rotation.at(packed_layout.places)
        query = query_rotation.apply(self._heads(self.q_proj, asking, "q_norm")).transpose(1, 2)
        key = key_rotation.apply(self._heads(self.k_proj, hidden_states, "k_norm")).transpose(1, 2)
        value = self._heads(self.v_proj, hidden_states).transpose(1, 2)
        found = block_attention(query, key, value, self.scaling, runs)
        out: Tensor = self.o_proj(found.flatten(2))
        if self.only_scored:
            out = out.new_zeros(hidden_states.shape).index_copy(1, packed_layout.places, out)
        return out, None

    def _heads(self, projection: nn.Module, stream: Tensor, norm: str = "") -> Tensor:
        """[1, tokens, hidden] -> [1, tokens, heads, head_dim], normalised where the model does that."""
        heads: Tensor = projection(stream).unflatten(-1, (-1, self.head_dim))
        return getattr(self, norm)(heads) if hasattr(self, norm) else heads


@dataclass(frozen=True, slots=True)
class Rotation:
    """The rotary embedding of some tokens, for all of a token's heads: [1, tokens, 1, head_dim].

    Attributes:
        cos: the cosines of a head's angles, which its two halves share.
        sin: their sines, negative in the first half.
    """

    cos: Tensor
    sin: Tensor

    @classmethod
    def of(cls, cos: Tensor, sin: Tensor) -> "Rotation":
        """From the [1, tokens, head_dim] that transformers' rotary embeddings give."""
        half = sin.shape[-1] // 2
        return cls(cos[:, :, None], torch.cat([-sin[..., :half], sin[..., half:]], -1)[:, :, None])

    def at(self, places: Tensor) -> "Rotation":
        """Those of the tokens at `places`."""
        return Rotation(self.cos[:, places], self.sin[:, places])

    def apply(self, heads: Tensor) -> Tensor:
        """[1, tokens, heads, head_dim], rotated."""
        return _Rotated.apply(heads, self.cos, self.sin)  # type: ignore[no-any-return, no-untyped-call]


class _Rotated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _rotated(heads, cos, sin)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return _rotated(grad, cos, _swapped(sin)), None, None


def _rotated(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    return (heads * cos).add_(_swapped(heads) * sin)


def _swapped(heads: Tensor) -> Tensor:
    """The two halves of each head, swapped."""
    return heads.roll(heads.shape[-1] // 2, -1)


def _switch(attention: nn.Module, rotary: nn.Module, *, only_scored: bool) -> None:
    """Give `attention` a class of `OwnAttention`, unless that gives something else."""
    before: Any = type(attention)
    weight = next(attention.parameters())
    dtype = weight.dtype if weight.is_floating_point() else torch.float32
    layout, positions = _made_up()
    named: dict[str, Any] = {"attention_mask": layout.mask, "packed_layout": layout}
    with torch.no_grad():
        try:
            size = int(getattr(attention, "q_proj").in_features)  # noqa: B009 - for nn.Module's type
            stream = torch.randn(1, _TOKENS, size, generator=torch.Generator().manual_seed(0)).to(weight.device, dtype)
            named["position_embeddings"] = rotary(stream, positions)
            expected = attention(hidden_states=stream, **named)[0][:, layout.places]
            attention.__class__, attention.only_scored = _own_class(before), only_scored  # type: ignore[assignment]
            found = attention(hidden_states=stream, **named)[0][:, layout.places]
            rounding = 4 * torch.finfo(expected.dtype).eps * float(expected.abs().max())
            same = torch.allclose(found, expected, rtol=0, atol=rounding)
        except (RuntimeError, AttributeError, TypeError, ValueError, IndexError):
            same = False
    if not same:
        attention.__class__ = before


@cache
def _own_class(before: type[nn.Module]) -> type[nn.Module]:
    return type(f"Own{before.__name__}", (OwnAttention, before), {"before": before})


def _made_up() -> tuple[PackedLayout, Tensor]:
    """A prompt of two tokens with answers of one and two; from all tokens but the first, something is predicted."""
    runs = tuple(cut_runs(np.array([5, 5, 3, 5, 5], dtype=np.int32)))
    return make_layout(runs, [], torch.tensor([1, 2, 3, 4]), _TOKENS), torch.tensor([[0, 1, 2, 2, 3]])
