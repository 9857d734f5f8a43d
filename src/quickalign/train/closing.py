"""The small evaluation that ends every run: what its validation already told, else a few rows of the sample set.

It only looks: the weights are on disk before it begins, it draws no random number, and whatever goes wrong in it is a
warning. On the sample set it says whether a model that was trained for something else still prefers what people do.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import PeftModel

from quickalign.core import paths
from quickalign.data.encode import EncodedRow
from quickalign.data.prepare import DataRequest, prepare
from quickalign.train.answer import adapter_off
from quickalign.train.loop import Setup
from quickalign.train.model import autocast
from quickalign.train.observer import Evaluation, Observer
from quickalign.train.scoring.reference import evaluating

SECONDS = 10.0
"""After so long no further rows are begun."""

_ROWS_AT_ONCE = 8


def closing_evaluation(
    setup: Setup, first: Evaluation | None, last: Evaluation | None, observer: Observer
) -> dict[str, Any] | None:
    """The figures of the trained model and of its base; None where they are switched off or could not be had."""
    if setup.spec.closing_rows == 0:
        return None
    if first is not None and last is not None:
        return _of_validation(first, last)
    try:
        found = _of_sample(setup)
    except Exception as error:  # nothing here may cost a run whose weights are made
        observer.warning(f"The closing evaluation could not be made: {type(error).__name__}: {error}")
        return None
    observer.note(_sentence(found))
    return found


def _of_validation(first: Evaluation, last: Evaluation) -> dict[str, Any]:
    """What the run has measured anyway, at its first and at its last step."""
    names = ("loss", "accuracy", "margin", "logps_chosen", "logps_rejected")
    now, before = (_numbers({name: getattr(one, name) for name in names}) for one in (last, first))
    return {"data": "validation", "rows": last.rows, "figures": now, "base": before}


def _of_sample(setup: Setup) -> dict[str, Any]:
    rows = _sample_rows(setup)
    base = setup.policy.model if isinstance(setup.policy.model, PeftModel) else None
    until = time.monotonic() + SECONDS
    now: list[np.ndarray] = []
    before: list[np.ndarray] = []
    lengths: list[np.ndarray] = []
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        chunk = rows[start : start + _ROWS_AT_ONCE]
        sums, tokens = _score(setup, chunk)
        now.append(sums)
        lengths.append(tokens)
        if base is not None:
            with adapter_off(base):
                before.append(_score(setup, chunk)[0])
        if time.monotonic() > until:
            break
    tokens, after = np.concatenate(lengths), np.concatenate(now)
    figures, of_base = _likelihood(after, tokens), {}
    if before:
        reference = np.concatenate(before)
        of_base = _likelihood(reference, tokens)
        figures |= _rewards(after - reference, setup.spec.hyperparameters.dpo_beta)
    return {"data": "sample", "rows": len(after), "figures": figures, "base": of_base}


def _sample_rows(setup: Setup) -> Sequence[EncodedRow]:
    parameters = setup.spec.hyperparameters
    request = DataRequest(
        uri=str(paths.assets() / "sample" / "heldout.json"),
        data_format="auto",
        strategy=None,
        bad_rows="drop",
        safe_rlhf_preference="better",
        seq_length=parameters.seq_length,
        apply_chat_template=parameters.apply_chat_template,
        system_prompt=parameters.system_prompt if parameters.apply_chat_template else "",
    )
    with tempfile.TemporaryDirectory(prefix="quickalign-closing-") as folder:
        return list(prepare(request, setup.tokenizer, Path(folder)).store[: setup.spec.closing_rows])


def _score(setup: Setup, rows: Sequence[EncodedRow]) -> tuple[np.ndarray, np.ndarray]:
    """Log-probabilities and numbers of tokens, [rows, answers], by the run's own scorer and so in its memory."""
    model, scorer = setup.policy.model, setup.objective.scorer
    sums, lengths = np.zeros((2, len(rows), 2))
    with torch.no_grad(), evaluating(model), autocast(setup.policy, setup.processes.device):
        for micro in scorer.cut(rows):
            found = scorer.logps(model, micro)
            sums[list(micro.rows)] = found.sums.double().cpu().numpy()
            lengths[list(micro.rows)] = found.lengths.cpu().numpy()
    return sums, lengths


def _likelihood(logps: np.ndarray, tokens: np.ndarray) -> dict[str, float]:
    average = logps / tokens
    return _numbers(
        {
            "likelihood_accuracy": _share(average[:, 0] - average[:, 1]),
            "perplexity": float(np.exp(-logps[:, 0].sum() / tokens[:, 0].sum())),
        }
    )


def _rewards(shift: np.ndarray, beta: float) -> dict[str, float]:
    margin = beta * (shift[:, 0] - shift[:, 1])
    return _numbers({"accuracy": _share(margin), "margin": float(margin.mean())})


def _share(margin: np.ndarray) -> float:
    """How often it is positive; ties count one half."""
    return float(((margin > 0) + 0.5 * (margin == 0)).mean())


def _numbers(values: dict[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in values.items() if value is not None and np.isfinite(value)}


def _sentence(found: dict[str, Any]) -> str:
    figures, base = found["figures"], found["base"]
    before = f" (base: {base['perplexity']:.3g})" if "perplexity" in base else ""
    return (
        f"On {found['rows']} rows of the sample set the chosen answer is the likelier one in "
        f"{figures['likelihood_accuracy']:.0%} of cases; perplexity {figures['perplexity']:.3g}{before}."
    )
