"""The vocabulary projection and its log-softmax in one pass over tiles of the vocabulary.

For a scored token with hidden state h and target t, over the rows W_v of the head:

    log p(t) = h W_t - log sum_v exp(h W_v),        d log p(t) / d h = W_t - sum_v p(v) W_v.

The mean row, sum_v p(v) W_v, depends on h alone, so it is gathered in the forward pass while the tile of logits is
still at hand, with running maximum and sum as in an online softmax (Milakov and Gimelshein 2018). The backward pass
scales it by the token's upstream gradient, which is exact for every loss. Logits never exist for more than a tile. A
head that is trained, or is more than a linear layer, is run as it is, a few tokens at a time, and again in the backward
pass.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

from quickalign.train.device import DeviceKind
from quickalign.train.narrow import NarrowLinear
from quickalign.train.scoring.compiled import one_kernel, wide_mm
from quickalign.train.scoring.sizes import TILE_COLUMNS, tile_size

# Columns of a tile come in multiples of this: a GPU multiplies matrices of odd sizes at a fraction of its speed.
_COLUMNS = 128
# Tokens at once through a head that is trained, on any device.
TRAINED_TOKENS = 256


@dataclass(frozen=True, slots=True)
class Head:
    """A model's output projection: logits = cap(scale * projection(hidden)), cap(x) = softcap * tanh(x / softcap)."""

    projection: nn.Module
    scale: float = 1.0
    softcap: float | None = None

    @property
    def matrix(self) -> tuple[Tensor, Tensor | None]:
        """The weight [vocabulary, hidden] and bias of a linear projection."""
        assert isinstance(self.projection, nn.Linear)
        return self.projection.weight, self.projection.bias

    def logits(self, hidden: Tensor) -> Tensor:
        """[tokens, vocabulary] of [tokens, hidden], at least fp32."""
        return self.finish(self.projection(hidden))

    def finish(self, products: Tensor) -> Tensor:
        """Scale and cap the projection's output, at least in fp32."""
        return _finish(products, self.scale, self.softcap)

    def slope(self, logits: Tensor) -> Tensor | float:
        """d logits / d products, from the logits."""
        return _slope(logits, self.scale, self.softcap)


def _finish(products: Tensor, scale: float, softcap: float | None) -> Tensor:
    logits = products.to(torch.promote_types(products.dtype, torch.float32))
    if scale != 1.0:
        logits = logits * scale
    return logits if softcap is None else softcap * torch.tanh(logits / softcap)


def _slope(logits: Tensor, scale: float, softcap: float | None) -> Tensor | float:
    return scale if softcap is None else scale * (1 - (logits / softcap) ** 2)


def token_logps(head: Head, hidden: Tensor, which: Tensor, targets: Tensor) -> Tensor:
    """Log-probabilities of tokens.

    Args:
        head: the model's head.
        hidden: [places, hidden] final hidden states.
        which: [scored] the place that predicts each token.
        targets: [scored] token ids.

    Returns:
        [scored] in fp32, or fp64 for fp64 hidden states; differentiable with respect to `hidden` and to a trained head.
    """
    if _is_frozen_linear(head.projection):
        return _FrozenHead.apply(head, hidden, which, targets)  # type: ignore[no-any-return, no-untyped-call]
    return _trained_head(head, hidden, which, targets)


def _is_frozen_linear(projection: nn.Module) -> bool:
    """Whether the projection is exactly a linear layer, wide or narrow, without gradient (or none is asked for)."""
    if type(projection) not in (nn.Linear, NarrowLinear):
        return False
    trained = torch.is_grad_enabled() and any(weight.requires_grad for weight in projection.parameters())
    return not trained and not torch.is_autocast_enabled(next(projection.parameters()).device.type)


def _trained_head(head: Head, hidden: Tensor, which: Tensor, targets: Tensor) -> Tensor:
    """Scored tokens are taken in slices, so a place that predicts several of them may be projected several times."""
    parts = [
        checkpoint(_slice_logps, head, hidden, places, ids, use_reentrant=False, preserve_rng_state=False)
        for places, ids in zip(which.split(TRAINED_TOKENS), targets.split(TRAINED_TOKENS), strict=True)
    ]
    return torch.cat(parts)


def _slice_logps(head: Head, hidden: Tensor, which: Tensor, targets: Tensor) -> Tensor:
    logits = head.logits(hidden[which])
    return logits.gather(-1, targets[:, None]).squeeze(-1) - logits.logsumexp(-1)


@one_kernel
def _weigh(
    products: Tensor, top: Tensor, scale: float, softcap: float | None, with_weights: bool
) -> tuple[Tensor | None, Tensor, Tensor, Tensor]:
    """What a tile of products adds to a softmax whose maximum so far is `top`.

    Returns:
        exp(logits - new maximum), times the slopes of a capped head, in the dtype of `products`; [places, 1] the sum of
        those exponentials; the new maximum; exp(top - new maximum).
    """
    logits = _finish(products, scale, softcap)
    slopes = _slope(logits, scale, softcap) if with_weights and softcap is not None else None
    higher = torch.maximum(top, logits.amax(-1, keepdim=True))
    weights = logits.sub_(higher).exp_()
    added = weights.sum(-1, keepdim=True)
    if slopes is not None:
        weights = weights.mul_(slopes)
    return weights.to(products.dtype) if with_weights else None, added, higher, (top - higher).exp_()


class _FrozenHead(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, head: Head, hidden: Tensor, which: Tensor, targets: Tensor) -> Tensor:
        weight, bias = head.matrix
        norms, means = _norms_and_means(head, hidden, with_means=ctx.needs_input_grad[1])
        rows = weight[targets]
        products = (hidden[which].to(norms.dtype) * rows).sum(-1)
        logits = head.finish(products if bias is None else products + bias[targets])
        ctx.save_for_backward(means, which, targets, head.slope(logits) * torch.ones_like(logits))
        ctx.weight, ctx.dtype = weight, hidden.dtype
        return logits - norms[which]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        means, which, targets, slopes = ctx.saved_tensors
        rows = (grad * slopes)[:, None] * ctx.weight[targets]
        totals = grad.new_zeros(len(means)).index_add_(0, which, grad)
        grad_hidden = (means * -totals[:, None]).index_add_(0, which, rows)
        return None, grad_hidden.to(ctx.dtype), None, None


def _norms_and_means(head: Head, hidden: Tensor, *, with_means: bool) -> tuple[Tensor, Tensor]:
    """[places] log-normalisers and [places, hidden] mean rows (with slopes), the latter empty unless asked for."""
    weight, bias = head.matrix
    wide = torch.promote_types(hidden.dtype, torch.float32)
    places, size = hidden.shape
    top = torch.full((places, 1), -torch.inf, dtype=wide, device=hidden.device)
    total = torch.zeros_like(top)
    means = torch.zeros((places, size if with_means else 0), dtype=wide, device=hidden.device)
    kind: DeviceKind = "cpu" if hidden.device.type == "cpu" else "cuda"
    tile = max(tile_size(kind, places) // max(places, 1) // _COLUMNS * _COLUMNS, TILE_COLUMNS)
    for start in range(0, weight.shape[0], tile):
        rows = weight[start : start + tile].to(hidden.dtype)
        products = F.linear(hidden, rows, None if bias is None else bias[start : start + tile])
        weights, added, higher, shrink = _weigh(products, top, head.scale, head.softcap, with_means)
        del products  # the next tile's would stand beside it
        total.mul_(shrink).add_(added)
        if weights is not None:
            means.mul_(shrink).add_(wide_mm(weights, rows, wide))
        del weights
        top = higher
    if with_means:
        means.div_(total if head.softcap is not None else total / head.scale)
    return (top + total.log()).squeeze(-1), means
