"""Limits that a model must keep, for scripts: a figure below or above one ends the program with its own exit code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict

from quickalign.core.errors import OptionError, QualityError
from quickalign.evaluate.checks import Check
from quickalign.evaluate.spec import EvaluationSpec


class Gate(BaseModel):
    """One limit and whether it is kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    figure: str
    limit: float
    kind: str
    value: float
    passed: bool


def gates(spec: EvaluationSpec, values: Mapping[str, float]) -> tuple[Gate, ...]:
    """All limits of `spec` against the measured `values`.

    Raises:
        OptionError: a limit for a figure that this model does not have.
    """
    found = []
    for kind, limits in (("below", spec.fail_below), ("above", spec.fail_above)):
        for name, limit in limits.items():
            if name not in values:
                raise OptionError(
                    f"fail_{kind} names {name!r}, which cannot be measured here.",
                    f"Give a base or preference pairs, or name one of {', '.join(values)}.",
                )
            value = values[name]
            passed = value >= limit if kind == "below" else value <= limit
            found.append(Gate(figure=name, limit=limit, kind=kind, value=value, passed=passed))
    return tuple(found)


def demand(kept: Sequence[Gate], found: Sequence[Check]) -> None:
    """End with an error where a limit is not kept; with any limit set, a failed check counts as well.

    Raises:
        QualityError: names the limits, or the check.
    """
    if not kept:
        return
    missed = [f"{gate.figure} is {gate.value:.4g}, {gate.kind} {gate.limit:g}" for gate in kept if not gate.passed]
    missed += [f"the check of the {check.name} failed: {check.seen.rstrip('.')}" for check in found if not check.passed]
    if missed:
        raise QualityError(f"The model does not keep its limits: {'; '.join(missed)}.", "The report shows the figures.")
