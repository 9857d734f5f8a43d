"""Measuring the validation rows: loss, preference accuracy, margin, log-probs."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from quickalign.data.encode import EncodedRow
from quickalign.train.distributed import Processes
from quickalign.train.model import Policy, autocast
from quickalign.train.objective import SUMS, Objective
from quickalign.train.observer import Evaluation
from quickalign.train.scoring.reference import evaluating
from quickalign.train.weights import Weights

CHUNK_ROWS = 32


def evaluate(
    policy: Policy,
    weights: Weights,
    objective: Objective,
    rows: Sequence[EncodedRow],
    processes: Processes,
    step: int,
) -> Evaluation:
    """Measure all `rows`, shared among the processes, without dropout or gradient."""
    sums = torch.zeros(len(SUMS), dtype=torch.float64, device=processes.device)
    mine = range(processes.rank, len(rows), processes.world_size)
    chunks = [mine[start : start + CHUNK_ROWS] for start in range(0, len(mine), CHUNK_ROWS)]
    idle = weights.idle_passes(lambda: sum(len(objective.scorer.cut([rows[i] for i in part])) for part in chunks))
    with torch.no_grad(), evaluating(policy.model), autocast(policy, processes.device):
        for part in chunks:
            chunk = [rows[i] for i in part]
            for micro in objective.scorer.cut(chunk):
                sums += objective.scores(policy.model, micro, chunk).sums
        for _ in range(idle):
            objective.idle(policy.model)
    objective.share()
    values = dict(zip(SUMS, processes.sum(sums).tolist(), strict=True))
    count = values["rows"]
    pairs = not objective.per_token
    margin = (values["rewards_chosen"] - values["rewards_rejected"]) / count
    return Evaluation(
        step=step,
        loss=values["loss"] / (count if pairs else values["answer_tokens"]),
        accuracy=values["correct"] / count if pairs else None,
        margin=margin if pairs else None,
        logps_chosen=values["logps_chosen"] / count,
        logps_rejected=values["logps_rejected"] / count if pairs else None,
        rows=int(count),
    )
