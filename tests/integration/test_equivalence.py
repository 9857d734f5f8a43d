"""Every way to compute an optimiser step must be the same step.

Plain rows one at a time are the oracle. In fp64 the losses and every gradient agree within 1e-9, in fp32 within 1e-5.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import Qwen2Config, Qwen2ForCausalLM
from transformers.models.qwen2.modeling_qwen2 import Qwen2RMSNorm

from quickalign.core.hyperparameters import Hyperparameters, LossType
from quickalign.data.encode import EncodedPair, EncodedSample
from quickalign.train.model import add_adapter, load_base
from quickalign.train.objective import Objective
from quickalign.train.scoring.attention import use_packed_attention
from quickalign.train.scoring.base import MicroBatch
from quickalign.train.scoring.cached import CachedReference, precompute
from quickalign.train.scoring.fused import FusedFeedForward, FusedNorm, fuse
from quickalign.train.scoring.last_layer import ScoredPlaces
from quickalign.train.scoring.own_attention import OwnAttention, use_own_attention
from quickalign.train.scoring.packed import PackedScorer
from quickalign.train.scoring.plain import PlainScorer
from quickalign.train.scoring.records import RecordFile
from quickalign.train.scoring.reference import LiveReference, Reference

CPU = torch.device("cpu")
VOCAB = 211
STEPS = 3


def make_base(dtype: torch.dtype = torch.float64) -> Qwen2ForCausalLM:
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=VOCAB,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        use_cache=False,
        initializer_range=0.15,
    )
    model = Qwen2ForCausalLM(config)
    if dtype == torch.float64:
        _exact_norms(model)
    nn.Module.to(model, dtype)
    return model


def _exact_norms(model: nn.Module) -> None:
    """Qwen2's own RMSNorm rounds to fp32 inside, which would hide differences below 1e-6; torch's does not."""
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, Qwen2RMSNorm):
                norm = nn.RMSNorm(child.weight.shape[0], eps=child.variance_epsilon)
                norm.variance_epsilon = child.variance_epsilon  # by which `fuse` knows a norm
                setattr(parent, name, norm)


def make_rows() -> list[EncodedPair]:
    """Prompts that are shared or begin alike, answers that do, answers of one token, rows longer than small budgets."""
    source = np.random.default_rng(1)

    def ids(low: int, high: int) -> np.ndarray:
        return source.integers(0, VOCAB, source.integers(low, high), dtype=np.int32)

    frame = ids(6, 7)
    prompts = [ids(1, 40), *(np.concatenate([frame, ids(1, 40)]) for _ in range(3))]
    prompts.append(np.concatenate([prompts[3], ids(5, 6)]))
    rows = [EncodedPair(i, prompts[i % 5 if i % 3 else 0], ids(1, 25), ids(1, 25)) for i in range(STEPS * 6)]
    rows[4] = EncodedPair(4, prompts[1], ids(1, 2), ids(1, 2))
    rows[7] = EncodedPair(7, prompts[2], rows[7].chosen, np.concatenate([rows[7].chosen[:3], ids(1, 9)]))
    return rows


@dataclass
class Trajectory:
    """Losses of every step, gradients of every step by name."""

    losses: list[float]
    gradients: list[dict[str, Tensor]]


def policy_of(base: Any, parameters: Hyperparameters) -> Any:
    """The adapter of the run, with B moved off zero so that all gradients are there from the first step."""
    model = base if parameters.lora_dim == 0 else add_adapter(base, parameters)
    if parameters.lora_dim:
        torch.manual_seed(2)
        for name, weight in model.named_parameters():
            if "lora_" in name:
                weight.data = weight.data.to(base.dtype)
            if "lora_B" in name:
                nn.init.normal_(weight, std=0.05)
    return model.train()


def run(
    model: Any, rows: Sequence[Any], scorer: Any, reference: Reference | None, parameters: Hyperparameters
) -> Trajectory:
    """SGD, whose steps do not blow up rounding as Adam's do."""
    objective = Objective(scorer, reference, parameters)
    weights = {name: p for name, p in model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.SGD(weights.values(), lr=0.01, momentum=0.9)
    losses, gradients = [], []
    for start in range(0, len(rows), 6):
        batch = rows[start : start + 6]
        micros = scorer.cut(batch)
        divisor = sum(int(micro.lengths.sum()) for micro in micros) if objective.per_token else len(batch)
        total = 0.0
        for micro in micros:
            loss = objective.scores(model, micro, batch).loss / divisor
            loss.backward()
            total += float(loss.detach())
        losses.append(total)
        gradients.append({name: p.grad.clone() for name, p in weights.items() if p.grad is not None})
        optimizer.step()
        optimizer.zero_grad()
    return Trajectory(losses, gradients)


def assert_same(found: Trajectory, expected: Trajectory, tolerance: float) -> None:
    assert found.losses == pytest.approx(expected.losses, rel=tolerance, abs=tolerance)
    for one, other in zip(found.gradients, expected.gradients, strict=True):
        assert one.keys() == other.keys()
        assert one
        for name, gradient in other.items():
            scale = max(1.0, float(gradient.abs().max()))
            assert torch.allclose(one[name], gradient, rtol=0, atol=tolerance * scale), name


def plain(rows_per_micro: int = 1) -> PlainScorer:
    return PlainScorer(pad_id=0, rows_per_micro=rows_per_micro, device=CPU)


def packed(token_budget: int) -> PackedScorer:
    return PackedScorer(token_budget=token_budget, device=CPU)


def options(**changes: Any) -> Hyperparameters:
    return Hyperparameters(training_strategy="dpo", lora_dim=4, dpo_beta=0.3, load_in_4bit=False).model_copy(
        update=changes
    )


def trajectory(
    scorer: Any,
    parameters: Hyperparameters | None = None,
    *,
    dtype: torch.dtype = torch.float64,
    rows: Sequence[Any] | None = None,
    prepare: Callable[[Any], None] = lambda base: None,
    reference: Callable[[Any, Reference, Sequence[Any]], Reference] = lambda model, live, rows: live,
    base: Any = None,
) -> Trajectory:
    parameters = parameters or options()
    rows = make_rows() if rows is None else rows
    base = make_base(dtype) if base is None else base
    if isinstance(scorer, PackedScorer):
        use_packed_attention(base)
        use_own_attention(base)
        ScoredPlaces(base)
        assert any(isinstance(module, OwnAttention) for module in base.modules())
    prepare(base)
    model = policy_of(base, parameters)
    if isinstance(scorer, PackedScorer) and parameters.lora_dim:
        fuse(model)
        kinds = {type(module) for module in model.modules()}
        assert {FusedNorm, FusedFeedForward} <= kinds
    chosen = None if parameters.reference_free else reference(model, LiveReference(scorer), rows)
    return run(model, rows, scorer, chosen, parameters)


class TwoShares(PackedScorer):
    """Cuts every other row apart, as two processes do whose gradients are then summed."""

    def cut(self, rows: Sequence[Any]) -> list[MicroBatch]:
        shares = [range(rank, len(rows), 2) for rank in range(2)]
        return [
            replace(micro, rows=tuple(share[position] for position in micro.rows))
            for share in shares
            for micro in super(TwoShares, self).cut([rows[at] for at in share])
        ]


@pytest.fixture(scope="module")
def oracle() -> Trajectory:
    return trajectory(plain())


class TestOneTrajectory:
    def test_the_oracle_learns(self, oracle: Trajectory) -> None:
        assert len(set(oracle.losses)) == STEPS
        assert all(float(gradient.abs().max()) > 0 for step in oracle.gradients for gradient in step.values())

    @pytest.mark.parametrize("rows_per_micro", [2, 6])
    def test_plain_batches(self, oracle: Trajectory, rows_per_micro: int) -> None:
        assert_same(trajectory(plain(rows_per_micro)), oracle, 1e-9)

    @pytest.mark.parametrize("token_budget", [1, 100, 10_000])
    def test_shared_and_packed(self, oracle: Trajectory, token_budget: int) -> None:
        assert_same(trajectory(packed(token_budget)), oracle, 1e-9)

    def test_two_shares(self, oracle: Trajectory) -> None:
        assert_same(trajectory(TwoShares(token_budget=100, device=CPU)), oracle, 1e-9)

    @pytest.mark.parametrize("scorer", [plain(3), packed(150)], ids=["plain", "packed"])
    def test_checkpointed(self, oracle: Trajectory, scorer: Any) -> None:
        def checkpoint(base: Any) -> None:
            base.gradient_checkpointing_enable({"use_reentrant": False})

        assert_same(trajectory(scorer, prepare=checkpoint), oracle, 1e-9)

    def test_cached_after_the_first_epoch(self, tmp_path: Path) -> None:
        rows = make_rows()
        twice = [*rows, *rows]
        found = trajectory(
            packed(150),
            rows=twice,
            reference=lambda model, live, rows: CachedReference(live, RecordFile(tmp_path / "x")),
        )
        assert_same(found, trajectory(plain(), rows=twice), 1e-9)

    def test_cached_beforehand(self, oracle: Trajectory, tmp_path: Path) -> None:
        def fill(model: Any, live: Reference, rows: Sequence[Any]) -> Reference:
            records = RecordFile(tmp_path / "x")
            with model.disable_adapter():
                return precompute(model, packed(300), records, rows, rows_per_batch=5)

        assert_same(trajectory(packed(150), reference=fill), oracle, 1e-9)

    @pytest.mark.parametrize("loss_type", get_args(LossType))
    def test_every_loss(self, loss_type: LossType) -> None:
        parameters = options(loss_type=loss_type, sft_weight=0.0 if loss_type == "orpo" else 0.2)
        assert_same(trajectory(packed(150), parameters), trajectory(plain(), parameters), 1e-9)

    def test_sft(self) -> None:
        rows = [EncodedSample(row.row, row.prompt, row.chosen) for row in make_rows()]
        parameters = options(training_strategy="sft")
        expected = trajectory(plain(), parameters, rows=rows)
        assert_same(trajectory(packed(150), parameters, rows=rows), expected, 1e-9)

    @pytest.mark.parametrize("tied", [True, False])
    def test_full_fine_tuning(self, tied: bool, tmp_path: Path) -> None:
        def prepare(base: Any) -> None:
            if not tied:
                base.lm_head.weight = nn.Parameter(base.lm_head.weight.detach() * 1.1)
            base.requires_grad_(True)

        def fill(scorer: Any) -> Callable[[Any, Reference, Sequence[Any]], Reference]:
            records = RecordFile(tmp_path / f"{type(scorer).__name__}")
            return lambda model, live, rows: precompute(model, scorer, records, rows, rows_per_batch=6)

        parameters = options(lora_dim=0)
        runs = [trajectory(s, parameters, prepare=prepare, reference=fill(s)) for s in (plain(), packed(150))]
        assert_same(runs[1], runs[0], 1e-9)
        assert ("lm_head.weight" in runs[0].gradients[0]) is not tied

    def test_fp32(self) -> None:
        expected = trajectory(plain(), dtype=torch.float32)
        for scorer in (plain(6), packed(1), packed(150), packed(10_000)):
            assert_same(trajectory(scorer, dtype=torch.float32), expected, 1e-5)

    def test_4_bit_against_4_bit(self, tmp_path: Path) -> None:
        make_base(torch.float32).save_pretrained(tmp_path)

        def quantised(scorer: Any) -> Trajectory:
            base = load_base(tmp_path, dtype=torch.float32, quantization="4bit")
            return trajectory(scorer, dtype=torch.float32, base=base)

        expected = quantised(plain())
        assert_same(quantised(packed(150)), expected, 1e-5)
        unquantised = trajectory(plain(), dtype=torch.float32)
        assert unquantised.losses != pytest.approx(expected.losses, rel=1e-4)
