"""Which figures can come about at all: some need preference pairs, some single answers, some a base."""

from __future__ import annotations

from collections.abc import Iterable

from quickalign.core.errors import OptionError
from quickalign.core.wire.evaluations import METRICS, EvaluateRequest
from quickalign.evaluate import overlap

_OF_PAIRS = {"accuracy", "margin", "likelihood_accuracy", "rejected_shift"}
_OF_SINGLE_ANSWERS = set(overlap.NAMES)
_AGAINST_THE_BASE = {"accuracy", "margin", "chosen_shift", "rejected_shift", "kl"}


def check_limits(limits: Iterable[str], *, pairs: bool, base: bool) -> None:
    """Refuse limits for figures that this data, or a model without a base, cannot have.

    Args:
        limits: names of figures; those of lm-eval's tasks are left alone.
        pairs: whether the data holds preference pairs; otherwise single answers.
        base: whether there is a base to compare with.

    Raises:
        OptionError: names the first one.
    """
    lacking = {} if base else dict.fromkeys(_AGAINST_THE_BASE, "a base to compare with, and the model has none")
    if pairs:
        lacking |= dict.fromkeys(_OF_SINGLE_ANSWERS, "single answers, and the data holds preference pairs")
    else:
        lacking |= dict.fromkeys(_OF_PAIRS, "preference pairs, and the data holds single answers")
    for name in limits:
        if name in lacking:
            others = ", ".join(other for other in METRICS if other not in lacking)
            raise OptionError(f"A limit for {name!r} needs {lacking[name]}.", f"Limits can be set here for {others}.")


def check_divergence(spec: EvaluateRequest, *, base: bool) -> None:
    """Refuse a number of rows for the divergence from a base that there is not; 0 and the default may stand.

    Raises:
        OptionError: it was set.
    """
    if not base and spec.kl_rows not in (0, EvaluateRequest.model_fields["kl_rows"].default):
        raise OptionError(
            f"kl_rows={spec.kl_rows} has no effect on a model that has no base to compare with.",
            "Name the base, or leave kl_rows out.",
        )
