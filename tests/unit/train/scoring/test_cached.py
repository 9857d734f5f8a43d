from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from quickalign.core.errors import RunError
from quickalign.data.encode import EncodedRow
from quickalign.train.scoring.base import MicroBatch
from quickalign.train.scoring.cached import FLUSH_AFTER, CachedReference, precompute
from quickalign.train.scoring.plain import PlainScorer
from quickalign.train.scoring.records import RecordFile
from quickalign.train.scoring.reference import LiveReference

SCORER = PlainScorer(pad_id=0, rows_per_micro=2, device=torch.device("cpu"))


class Counting:
    """A live reference that counts how often it is asked."""

    def __init__(self) -> None:
        self.calls = 0
        self._live = LiveReference(SCORER)

    def logps(self, model: nn.Module, micro: MicroBatch, rows: Sequence[EncodedRow]) -> Tensor:
        self.calls += 1
        return self._live.logps(model, micro, rows)

    def flush(self) -> None:
        """Nothing is kept."""


def epoch(reference: Any, model: nn.Module, rows: list[Any]) -> Tensor:
    parts = [reference.logps(model, micro, [rows[at] for at in micro.rows]) for micro in SCORER.cut(rows)]
    return torch.cat(parts)


def test_the_second_epoch_asks_nothing_and_gets_the_same(toys: SimpleNamespace, tmp_path: Path) -> None:
    model, rows = toys.with_adapter(toys.tiny_model()), toys.random_pairs(5)
    live = Counting()
    reference = CachedReference(live, RecordFile(tmp_path / "x"))
    first = epoch(reference, model, rows)
    assert live.calls == 3
    reference.flush()
    assert torch.equal(epoch(reference, model, rows[::-1]), first.flip(0))
    assert live.calls == 3
    assert torch.equal(epoch(CachedReference(None, RecordFile(tmp_path / "x")), model, rows), first)


def test_the_live_reference_is_equalled_within_rounding(toys: SimpleNamespace, tmp_path: Path) -> None:
    model, rows = toys.with_adapter(toys.tiny_model(torch.float32), torch.float32), toys.random_pairs(5)
    reference = CachedReference(LiveReference(SCORER), RecordFile(tmp_path / "x"))
    epoch(reference, model, rows)
    reference.flush()
    cached = epoch(reference, model, rows)
    assert cached.dtype == torch.float32
    assert torch.equal(cached, epoch(LiveReference(SCORER), model, rows))


def test_an_answer_that_waits_to_be_stored_counts_as_known(toys: SimpleNamespace, tmp_path: Path) -> None:
    model, rows = toys.with_adapter(toys.tiny_model()), toys.random_pairs(2)
    live = Counting()
    reference = CachedReference(live, RecordFile(tmp_path / "x"))
    epoch(reference, model, [*rows, *rows])
    assert live.calls == 1


def test_it_is_stored_after_some_micro_batches_by_itself(toys: SimpleNamespace, tmp_path: Path) -> None:
    model, rows = toys.with_adapter(toys.tiny_model()), toys.random_pairs(2 * FLUSH_AFTER)
    epoch(CachedReference(LiveReference(SCORER), RecordFile(tmp_path / "x")), model, rows)
    assert len(RecordFile(tmp_path / "x")) == 4 * FLUSH_AFTER


def test_without_writing_it_still_remembers(toys: SimpleNamespace, tmp_path: Path) -> None:
    model, rows = toys.with_adapter(toys.tiny_model()), toys.random_pairs(4)
    live = Counting()
    reference = CachedReference(live, RecordFile(tmp_path / "x"), write=False)
    epoch(reference, model, rows)
    reference.flush()
    epoch(reference, model, rows)
    assert live.calls == 2
    assert not (tmp_path / "x").exists()


def test_precomputing_keeps_the_initial_model_and_goes_on_where_it_stopped(
    toys: SimpleNamespace, tmp_path: Path
) -> None:
    model, rows = toys.tiny_model(), toys.random_pairs(9)
    records = RecordFile(tmp_path / "x")
    seen: list[int] = []

    def stop(done: int, total: int) -> None:
        seen.append(done)
        if done >= 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        precompute(model, SCORER, records, rows, rows_per_batch=2, progress=stop)
    assert seen == [2, 4]
    assert len(RecordFile(tmp_path / "x")) == 8
    reference = precompute(model, SCORER, RecordFile(tmp_path / "x"), rows, rows_per_batch=2)
    expected = torch.stack([toys.by_oracle(model, row) for row in rows])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)
    assert torch.allclose(epoch(reference, model, rows), expected, atol=1e-9)


def test_a_missing_number_without_a_live_reference_is_an_error(toys: SimpleNamespace, tmp_path: Path) -> None:
    model, rows = toys.tiny_model(), toys.random_pairs(1)
    with pytest.raises(RunError, match="missing"):
        epoch(CachedReference(None, RecordFile(tmp_path / "x")), model, rows)


def test_what_one_process_computes_all_read_after_sharing(toys: SimpleNamespace, tmp_path: Path) -> None:
    model, rows = toys.with_adapter(toys.tiny_model()), toys.random_pairs(5)
    before: list[dict[Any, float]] = []  # what processes with lower numbers have

    def gather(own: dict[Any, float]) -> list[dict[Any, float]]:
        return [*before, own]

    main = CachedReference(LiveReference(SCORER), RecordFile(tmp_path / "x"), gather=gather)
    first = epoch(main, model, rows)
    assert main.to_share
    main.share()
    assert not main.to_share
    written = RecordFile(tmp_path / "x")
    assert torch.equal(epoch(CachedReference(None, written), model, rows), first)

    before.append(dict.fromkeys(map(tuple, written._sorted[["high", "low"]].tolist()), -3.5))
    other = CachedReference(LiveReference(SCORER), RecordFile(tmp_path / "y"), write=False, gather=gather)
    assert torch.equal(epoch(other, model, rows), first)
    other.share()
    assert torch.equal(epoch(other, model, rows), torch.full_like(first, -3.5))
    assert not (tmp_path / "y").exists()
