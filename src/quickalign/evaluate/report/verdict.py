"""Is it better? One sentence for the model and one for the comparison, and no more than the intervals bear."""

from __future__ import annotations

from collections.abc import Sequence

from quickalign.evaluate.checks import Check
from quickalign.evaluate.report.model import Difference, FigureReport, Verdict
from quickalign.train.report.formats import percent

CHANCE = 0.5


def judge(figures: Sequence[FigureReport], found: Sequence[Check], rows: int) -> Verdict:
    """What the checks and the preference accuracy say; for single answers the perplexity against that of the base."""
    failed = [check for check in found if not check.passed]
    if failed:
        names = ", ".join(check.name for check in failed)
        return Verdict(outcome="broken", sentence=f"Something is wrong with this model: {names}. {failed[0].seen}")
    by_name = {figure.name: figure for figure in figures}
    if "accuracy" in by_name:
        return _of_accuracy(by_name["accuracy"], rows)
    change = by_name["perplexity"].change if "perplexity" in by_name else None
    if change is None:
        return Verdict(
            outcome="unmeasured",
            sentence="There is no base to compare with, so whether the model got better cannot be told.",
        )
    base = by_name["perplexity"].base
    assert base is not None
    numbers = f"from {base.value:.3g} to {by_name['perplexity'].model.value:.3g} on {rows:,} rows"
    if change.low <= 0 <= change.high:
        return Verdict(outcome="unclear", sentence=f"The perplexity of the answers went {numbers}: no clear change.")
    better = change.value < 0
    word = "fell" if better else "rose"
    return Verdict(outcome="better" if better else "worse", sentence=f"The perplexity of the answers {word} {numbers}.")


def _of_accuracy(accuracy: FigureReport, rows: int) -> Verdict:
    found = accuracy.model
    numbers = f"{percent(found.value)} of {rows:,} pairs ({percent(found.low)} to {percent(found.high)})"
    if found.low > CHANCE:
        return Verdict(
            outcome="better",
            sentence=f"The model has moved towards the preferred answers: in {numbers} it gained more than the other.",
        )
    if found.high < CHANCE:
        return Verdict(outcome="worse", sentence=f"The model has moved away from the preferred answers: {numbers}.")
    return Verdict(
        outcome="unclear",
        sentence=f"No clear change: the preferred answer gained more in {numbers}, and 50 % would be chance.",
    )


def compare(differences: Sequence[Difference], name: str, other: str, rows: int) -> str:
    """Which of two models is better, and how sure that is."""
    by_name = {one.name: one for one in differences}
    found = by_name.get("accuracy") or by_name.get("likelihood_accuracy")
    if found is None or found.test is None:
        return f"{name} and {other} share no judgement of pairs, so none of them can be called better."
    test = found.test
    chance = "less than 1 in 1,000" if test.p_value < 0.001 else f"{percent(test.p_value)}"
    numbers = f"{percent(found.model)} against {percent(found.other)} of {rows:,} pairs"
    if found.difference.low <= 0 <= found.difference.high:
        return f"{name} and {other} cannot be told apart by {found.title.lower()}: {numbers}."
    better, worse = (name, other) if found.difference.value > 0 else (other, name)
    return (
        f"{better} is better than {worse} by {found.title.lower()}: {numbers} for {name} and {other}. Where they "
        f"differ it is {test.wins:,} to {test.losses:,}; the chance of a split that uneven is {chance}."
    )
