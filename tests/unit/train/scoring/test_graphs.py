"""Everything about recorded passes but the recording: here work is done again as it stands. `test_gpu` records it."""

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from quickalign.core.errors import OptionError
from quickalign.data.encode import EncodedPair
from quickalign.train.scorers import run_without_graphs
from quickalign.train.scoring import graphs
from quickalign.train.scoring.attention import AttentionKind, use_packed_attention
from quickalign.train.scoring.graphs import GraphScorer
from quickalign.train.scoring.packed import PackedScorer
from quickalign.train.scoring.reference import LiveReference
from tests.support.loops import Recorder
from tests.support.runs import dpo

LENGTHS = ((7, 5, 9), (4, 8, 2), (11, 3, 3))


class Record:
    """Does work now and whenever it is asked again, and counts."""

    def __init__(self) -> None:
        self.recorded = self.replayed = 0

    def __call__(self, work: Callable[[], None]) -> Callable[[], Any]:
        self.recorded += 1
        work()

        def again() -> None:
            self.replayed += 1
            work()

        return again


@pytest.fixture
def model(toys: SimpleNamespace) -> Any:
    model = toys.with_adapter(toys.tiny_model())
    use_packed_attention(model.get_base_model())
    return model


def packed(attention: AttentionKind | None = None) -> PackedScorer:
    return PackedScorer(token_budget=512, device=torch.device("cpu"), attention=attention)


def pairs(seed: int, lengths: tuple[tuple[int, int, int], ...] = LENGTHS) -> list[EncodedPair]:
    """Rows of these lengths that are laid out alike: what they and their answers begin with has the same order."""
    random = np.random.default_rng(seed)
    rows = []
    for row, sizes in enumerate(lengths):
        parts = [random.integers(10, 97, size).astype(np.int32) for size in sizes]
        for part, first in zip(parts, (row, 8, 9), strict=True):
            part[0] = first
        rows.append(EncodedPair(row, *parts))
    return rows


def step(scorer: Any, model: Any, rows: list[EncodedPair], toys: SimpleNamespace) -> tuple[torch.Tensor, Any]:
    """Log-probs, and gradients of a sum that weighs every answer otherwise."""
    (micro,) = scorer.cut(rows)
    sums = scorer.logps(model, micro).sums
    (sums * torch.arange(1.0, 1 + sums.numel()).view_as(sums)).sum().backward()
    return sums.detach(), taken(model, toys)


def taken(model: Any, toys: SimpleNamespace) -> dict[str, torch.Tensor]:
    """The gradients, which recorded passes will write over, taken away."""
    return {name: gradient.clone() for name, gradient in toys.gradients(model).items()}


def test_replayed_passes_give_what_the_passes_give(model: Any, toys: SimpleNamespace) -> None:
    record = Record()
    scorer = GraphScorer(packed(), model, record)
    for seed in range(5):
        expected, expected_gradients = step(packed(), model, pairs(seed), toys)
        found, gradients = step(scorer, model, pairs(seed), toys)
        assert torch.equal(found, expected)
        for name, gradient in expected_gradients.items():
            assert torch.allclose(gradients[name], gradient, rtol=1e-12, atol=1e-12), name
    assert (record.recorded, record.replayed) == (2, 10)


def test_a_replayed_pass_makes_the_dense_mask_of_its_own_micro_batch(model: Any, toys: SimpleNamespace) -> None:
    record = Record()
    scorer = GraphScorer(packed("dense"), model, record)
    layouts = []
    for order in ((0, 1, 2), (2, 0, 1), (1, 2, 0)):
        rows = pairs(0, tuple(LENGTHS[row] for row in order))
        layouts.append(packed("dense").cut(rows)[0].inputs["packed_layout"].reach.tolist())
        expected, expected_gradients = step(packed(), model, rows, toys)
        found, gradients = step(scorer, model, rows, toys)
        assert torch.allclose(found, expected, rtol=1e-12, atol=1e-12)
        for name, gradient in expected_gradients.items():
            assert torch.allclose(gradients[name], gradient, rtol=1e-12, atol=1e-12), name
    assert layouts[0] != layouts[1] != layouts[2]
    assert (record.recorded, record.replayed) == (2, 6)


def test_gradients_of_replayed_and_other_passes_add_up(model: Any, toys: SimpleNamespace) -> None:
    scorer = GraphScorer(packed(), model, Record())
    batches = [pairs(0), pairs(1), pairs(2, ((3, 4, 5),)), pairs(3)]

    def total(of: Any) -> Any:
        for rows in batches:
            (micro,) = of.cut(rows)
            of.logps(model, micro).sums.sum().backward()
        return taken(model, toys)

    expected = total(packed())
    for _ in range(2):  # with passes that are recorded first, and without
        for name, gradient in total(scorer).items():
            assert torch.allclose(gradient, expected[name], rtol=1e-12, atol=1e-12), name


def test_the_reference_is_replayed_without_the_adapter(model: Any) -> None:
    record = Record()
    live, expected = LiveReference(GraphScorer(packed(), model, record)), LiveReference(packed())
    for seed in range(3):
        (micro,) = packed().cut(pairs(seed))
        found = live.logps(model, micro, pairs(seed))
        assert torch.equal(found, expected.logps(model, micro, pairs(seed)))
        assert not found.requires_grad
    assert (record.recorded, record.replayed) == (1, 3)


def test_only_the_last_pass_goes_backward(model: Any) -> None:
    scorer = GraphScorer(packed(), model, Record())
    (micro,) = packed().cut(pairs(0))
    scorer.logps(model, micro).sums.sum().backward()
    first = scorer.logps(model, micro).sums.sum()
    scorer.logps(model, micro, adapter=False)
    with pytest.raises(RuntimeError, match="Only the last pass"):
        first.backward()
    scorer.logps(model, micro).sums.sum().backward()


def fails(work: Callable[[], None]) -> Callable[[], Any]:
    raise RuntimeError("operation not permitted\nwhile capturing")


def test_where_nothing_can_be_recorded_passes_run_as_they_are_and_that_is_said_once(
    model: Any, toys: SimpleNamespace
) -> None:
    observer = Recorder()
    scorer = GraphScorer(packed(), model, fails, partial(run_without_graphs, dpo(), observer))
    for seed in range(3):
        expected, expected_gradients = step(packed(), model, pairs(seed), toys)
        found, gradients = step(scorer, model, pairs(seed), toys)
        assert torch.equal(found, expected)
        for name, gradient in expected_gradients.items():
            assert torch.equal(gradients[name], gradient), name
    (message,) = observer.warnings
    assert "CUDA graphs" in message
    assert message.endswith("operation not permitted")


def test_graphs_that_were_asked_for_and_cannot_be_recorded_are_an_error(model: Any) -> None:
    scorer = GraphScorer(packed(), model, fails, partial(run_without_graphs, dpo(cuda_graphs="on"), Recorder()))
    (micro,) = scorer.cut(pairs(0))
    with pytest.raises(OptionError, match=r"cuda_graphs='on' is not possible: .*operation not permitted") as refused:
        scorer.logps(model, micro)
    assert "auto or off" in str(refused.value.remedy)


def test_sizes_that_come_seldom_are_forgotten(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "KEPT", 2)
    record = Record()
    scorer = GraphScorer(packed(), model, record)
    with torch.no_grad():
        for size in (4, 8, 12, 16, 16, 12, 8):
            (micro,) = packed().cut(pairs(0, ((size, size, size),)))
            scorer.logps(model, micro)
    assert record.recorded == 5  # 4, 8, 12, 16, and 8 again


def test_another_model_is_scored_as_it_is(model: Any, toys: SimpleNamespace) -> None:
    record = Record()
    scorer = GraphScorer(packed(), model, record)
    other = toys.tiny_model()
    use_packed_attention(other)
    (micro,) = packed().cut(pairs(0))
    for _ in range(3):
        assert torch.equal(scorer.logps(other, micro).sums, packed().logps(other, micro).sums)
    assert not record.recorded
