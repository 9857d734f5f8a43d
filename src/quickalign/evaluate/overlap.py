"""How much an answer has in common with the reference of its row: BLEU and ROUGE, by sacrebleu and rouge-score.

Both libraries are the extra `eval`. BLEU is that of the single answer (Papineni et al. 2002; exponential smoothing,
Chen and Cherry 2014), so that its mean over rows has an interval like every other figure; ROUGE is the F-measure (Lin
2004) without stemming. Chinese and Japanese characters count as words: rouge-score's own tokenizer would drop them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from quickalign.core import extras
from quickalign.core.errors import OptionError
from quickalign.evaluate.statistics import Floats

NAMES = ("bleu", "rouge1", "rougeL")
_IDEOGRAPHS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_IDEOGRAPHS}]|[^\W_{_IDEOGRAPHS}]+")
_IDEOGRAPH = re.compile(f"[{_IDEOGRAPHS}]")


def missing() -> str:
    """Why BLEU and ROUGE cannot be had here; empty where they can."""
    if names := extras.missing("eval"):
        return f"BLEU and ROUGE are left out, because {names[0]} is not installed: {extras.command('eval')}."
    return ""


def demand(limits: Sequence[str]) -> None:
    """Refuse limits for what cannot be had.

    Raises:
        OptionError: a library is not installed.
    """
    asked = next((name for name in limits if name in NAMES), None)
    if asked and missing():
        raise OptionError(
            f"A limit for {asked!r} needs sacrebleu and rouge-score.", f"Install them: {extras.command('eval')}."
        )


def overlaps(answers: Sequence[str], references: Sequence[str]) -> dict[str, Floats]:
    """BLEU and ROUGE by name, [answers], each from 0 to 1."""
    from rouge_score.rouge_scorer import RougeScorer  # noqa: PLC0415 - an extra
    from sacrebleu.metrics.bleu import BLEU  # noqa: PLC0415 - an extra

    bleu = {name: BLEU(tokenize=name, effective_order=True) for name in ("13a", "zh")}
    rouge = RougeScorer(list(NAMES[1:]), tokenizer=_Words())
    found: dict[str, list[float]] = {name: [] for name in NAMES}
    for answer, reference in zip(answers, references, strict=True):
        tokenizer = "zh" if _IDEOGRAPH.search(reference) else "13a"
        found["bleu"].append(bleu[tokenizer].sentence_score(answer, [reference]).score / 100)
        for name, score in rouge.score(reference, answer).items():
            found[name].append(score.fmeasure)
    return {name: np.array(values) for name, values in found.items()}


class _Words:
    """What rouge-score counts as words."""

    def tokenize(self, text: str) -> list[str]:
        return _WORD.findall(text.lower())
