"""Which scorer a model gets: the packed one where its attention allows it, else the plain one, with the reason."""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from quickalign.core.errors import first_line
from quickalign.data.encode import EncodedPair, EncodedRow
from quickalign.train.scoring.attention import use_packed_attention
from quickalign.train.scoring.base import Scorer
from quickalign.train.scoring.graphs import CudaRecord, GraphScorer
from quickalign.train.scoring.last_layer import ScoredPlaces
from quickalign.train.scoring.own_attention import leave_own_attention, use_own_attention
from quickalign.train.scoring.packed import PackedScorer
from quickalign.train.scoring.parts import causal_model
from quickalign.train.scoring.plain import PlainScorer
from quickalign.train.scoring.reference import evaluating

# How far packed and plain log-probs of the probe may lie apart, relative to 1 + |log-prob|: rounding, no other mask.
TOLERANCE: Final = {torch.float64: 1e-6, torch.float32: 1e-3, torch.bfloat16: 0.05, torch.float16: 0.05}


def choose_scorer(
    model: nn.Module,
    *,
    token_budget: int,
    rows_per_micro: int,
    longest_row: int,
    pad_id: int,
    device: torch.device,
    graphs: bool = False,
    tell: Callable[[str], None] = lambda reason: None,
) -> tuple[Scorer, str | None]:
    """The fastest scorer that is exact for `model`, and why it is not the packed one (None where it is).

    Args:
        model: a causal language model with its adapter; it is switched to packed attention where that works.
        token_budget: tokens per packed micro-batch; 0 asks for plain rows.
        rows_per_micro: rows per plain micro-batch.
        longest_row: the longest prompt plus answer that will be scored, in tokens.
        pad_id: a token id for padding; it never changes a result.
        device: where the model is.
        graphs: replay packed passes as CUDA graphs.
        tell: is told why, where that turns out to be impossible; see `GraphScorer`.
    """
    plain = PlainScorer(pad_id=pad_id, rows_per_micro=rows_per_micro, device=device)
    if not token_budget:
        return plain, "packing is switched off"
    base = causal_model(model)
    if reason := packing_obstacle(base, longest_row):
        return plain, reason
    packed = PackedScorer(token_budget=token_budget, device=device)
    before = base.config._attn_implementation
    use_packed_attention(base)
    use_own_attention(base)
    last = ScoredPlaces(base)
    if reason := _disagreement(model, plain, packed):
        base.set_attn_implementation(before)
        last.remove()
        leave_own_attention(base)
        return plain, reason
    return GraphScorer(packed, model, CudaRecord(), tell) if graphs else packed, None


def packing_obstacle(model: PreTrainedModel, longest_row: int) -> str | None:
    """Why `model` cannot score packed rows of up to `longest_row` tokens each; None where nothing speaks against it."""
    config = model.config.get_text_config()
    if not getattr(model, "_supports_attention_backend", False) or config.is_encoder_decoder:
        return f"the attention of {type(model).__name__} takes no mask of packed rows"
    if reason := _layer_obstacle(config, longest_row):
        return reason
    for name in ("attention_dropout", "attn_pdrop"):
        if dropout := getattr(config, name, 0.0):
            return f"the model drops attention weights ({name}={dropout})"
    if cap := getattr(config, "attn_logit_softcapping", None):
        return f"the model caps attention scores (attn_logit_softcapping={cap})"
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type") in {"dynamic", "longrope"}:
        return f"the model's rotary embedding ({rope['rope_type']}) depends on the longest row of a batch"
    return None


def _layer_obstacle(config: PretrainedConfig, longest_row: int) -> str | None:
    window = getattr(config, "sliding_window", None)
    slides = window is not None and getattr(config, "use_sliding_window", True)
    kinds = set(getattr(config, "layer_types", None) or (["sliding_attention"] if slides else ["full_attention"]))
    if others := sorted(kinds - {"full_attention", "sliding_attention"}):
        return f"the model has layers of {others[0].replace('_', ' ')}"
    if "sliding_attention" in kinds and window is not None and window < longest_row:
        return f"the model's sliding window of {window} tokens is shorter than a row of {longest_row}"
    return None


def _disagreement(model: nn.Module, plain: Scorer, packed: Scorer) -> str | None:
    """Score a few made-up rows both ways; what differs beyond rounding would be trained wrongly, whatever the cause."""
    base = causal_model(model)
    rows = _probe(int(base.config.get_text_config().vocab_size))
    with torch.no_grad(), evaluating(model):
        expected = _in_order(plain, model, rows)
    try:
        with torch.no_grad(), evaluating(model):
            found = _in_order(packed, model, rows)
    except (RuntimeError, TypeError, ValueError, AttributeError, NotImplementedError) as error:
        return f"packed rows fail with {type(base).__name__}: {first_line(error)}"
    tolerance = TOLERANCE.get(base.dtype, 0.05)
    worst = float(((found - expected).abs() / (1 + expected.abs())).max())
    if not worst <= tolerance:
        return f"packed rows give other log-probs than plain ones with {type(base).__name__} (off by {worst:.2g})"
    return None


def _probe(vocabulary: int) -> list[EncodedRow]:
    """Rows that share a prompt, stand beside each other, and have answers of one and of several tokens."""
    ids = (np.arange(1, 61, dtype=np.int64) * 7919 % vocabulary).astype(np.int32)
    cuts = [(0, 8, 15, 21), (0, 8, 27, 28), (30, 35, 41, 50)]
    return [
        EncodedPair(number, ids[start:prompt], ids[prompt:chosen], ids[chosen:rejected])
        for number, (start, prompt, chosen, rejected) in enumerate(cuts)
    ]


def _in_order(scorer: Scorer, model: nn.Module, rows: Sequence[EncodedRow]) -> Tensor:
    """[rows, answers] sums in the order of `rows`."""
    sums: dict[int, Tensor] = {}
    for micro in scorer.cut(rows):
        sums.update(zip(micro.rows, scorer.logps(model, micro).sums, strict=True))
    return torch.stack([sums[position] for position in range(len(rows))])
