"""The reference from the cache: computed once for every answer, whichever run or epoch needs it first."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn

from quickalign.core.errors import RunError
from quickalign.data.encode import EncodedRow
from quickalign.train.scoring.base import MicroBatch, Scorer
from quickalign.train.scoring.records import Digest, RecordFile, digest_of
from quickalign.train.scoring.reference import Reference, evaluating

# Micro-batches whose log-probs stay on the device before they are fetched and stored together.
FLUSH_AFTER = 64

Gather: TypeAlias = Callable[[dict[Digest, float]], list[dict[Digest, float]]]


class CachedReference:
    """Reads log-probs from `records`; those that are missing come from `live` and are stored.

    A micro-batch is read from the cache only when all of its answers are there. Nothing is fetched from the device per
    micro-batch. `flush` must be called before a checkpoint is written, and at the end: a resumed run then reads the
    very numbers that the first one computed.

    Args:
        live: where missing log-probs come from; None when all must be there already (`precompute`).
        records: an open file of the reference cache.
        write: whether to write to disk, which a full cache forbids; the numbers are kept in memory in any case.
        gather: gives what every process has of something, where there are several. What one has computed is then known
            to all after `share`: a run that was interrupted reads from disk what another process computed, and has to
            find the same number that one which was not would have.
    """

    def __init__(
        self, live: Reference | None, records: RecordFile, *, write: bool = True, gather: Gather | None = None
    ) -> None:
        self._live = live
        self._records = records
        self._write = write
        self._gather = gather
        self._unshared: dict[Digest, float] = {}
        self._pending: list[tuple[list[Digest], Tensor]] = []
        self._pending_digests: set[Digest] = set()

    def logps(self, model: nn.Module, micro: MicroBatch, rows: Sequence[EncodedRow]) -> Tensor:
        """See `Reference.logps`.

        Raises:
            RunError: a log-prob is missing and there is no live reference.
        """
        digests = [digest_of(row.prompt, answer) for row in rows for answer in row.answers]
        if not self._pending_digests.isdisjoint(digests):
            self.flush()
        values = [self._find(digest) for digest in digests]
        found = [value for value in values if value is not None]
        if len(found) == len(values):
            wide = torch.float64 if _computes_in_fp64(model) else torch.float32
            sums = torch.tensor(found, dtype=wide).view(len(rows), -1)
            return sums.to(micro.lengths.device, non_blocking=True)
        if self._live is None:
            raise RunError(
                "The reference log-probs of some rows are missing.",
                "The reference cache was changed while the run was going; start it again.",
            )
        sums = self._live.logps(model, micro, rows)
        self._pending.append((digests, sums))
        self._pending_digests.update(digests)
        if len(self._pending) >= FLUSH_AFTER:
            self.flush()
        return sums

    def flush(self) -> None:
        """Fetch and store what was computed since the last time; waits for the device once."""
        if not self._pending:
            return
        values = torch.cat([sums.flatten().double() for _, sums in self._pending]).tolist()
        digests = [digest for group, _ in self._pending for digest in group]
        # The first value of an answer that was computed twice stays, as it would with an earlier flush.
        found = dict(zip(reversed(digests), reversed(values), strict=True))
        if self._gather is None:
            self._records.add(found, write=self._write)
        else:
            self._unshared = found | self._unshared
        self._pending.clear()
        self._pending_digests.clear()

    @property
    def to_share(self) -> bool:
        """See `Reference.to_share`."""
        return self._gather is not None and bool(self._pending or self._unshared)

    def share(self) -> None:
        """See `Reference.share`."""
        if self._gather is None:
            return
        self.flush()
        known: dict[Digest, float] = {}
        for found in self._gather(self._unshared):
            known = found | known
        self._records.add(known, write=self._write)
        self._unshared = {}

    def _find(self, digest: Digest) -> float | None:
        return self._unshared[digest] if digest in self._unshared else self._records.find(digest)


def precompute(
    model: nn.Module,
    scorer: Scorer,
    records: RecordFile,
    rows: Sequence[EncodedRow],
    *,
    rows_per_batch: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
    write: bool = True,
) -> CachedReference:
    """Score all `rows` under `model` as it is now, before full fine-tuning changes it; what is stored is not repeated.

    Args:
        model: the model at its initial weights.
        scorer: how to score.
        records: where to store; an interrupted call goes on from there.
        rows: all rows that will be trained or evaluated.
        rows_per_batch: rows that are cut into micro-batches together.
        progress: called with the rows done and their total.
        write: as in `CachedReference`.

    Returns:
        The reference that reads what is stored now.
    """
    filler = CachedReference(_AsItIs(scorer), records, write=write)
    try:
        for start in range(0, len(rows), rows_per_batch):
            batch = [rows[at] for at in range(start, min(start + rows_per_batch, len(rows)))]
            # All or none: a batch cut differently after an interruption would round differently.
            if not all(_is_stored(row, records) for row in batch):
                for micro in scorer.cut(batch):
                    filler.logps(model, micro, [batch[position] for position in micro.rows])
            progress(start + len(batch), len(rows))
    finally:
        filler.flush()
    return CachedReference(None, records)


class _AsItIs:
    """The model itself, at its present weights, as its own reference."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer

    def logps(self, model: nn.Module, micro: MicroBatch, rows: Sequence[EncodedRow]) -> Tensor:
        """See `Reference.logps`."""
        del rows
        with torch.no_grad(), evaluating(model):
            return self._scorer.logps(model, micro).sums

    def flush(self) -> None:
        """Nothing is kept."""

    @property
    def to_share(self) -> bool:
        """Nothing is kept."""
        return False

    def share(self) -> None:
        """Nothing is kept."""


def _is_stored(row: EncodedRow, records: RecordFile) -> bool:
    return all(records.find(digest_of(row.prompt, answer)) is not None for answer in row.answers)


def _computes_in_fp64(model: nn.Module) -> bool:
    return any(parameter.dtype == torch.float64 for parameter in model.parameters())
