"""Did it get better? One sentence, and no more than the measurement bears."""

import math

from quickalign.train.observer import Evaluation
from quickalign.train.report.formats import percent
from quickalign.train.report.model import Outcome, Verdict

STANDARD_ERRORS = 2.0


def judge(first: Evaluation | None, last: Evaluation | None) -> Verdict:
    """Compare the first and the last evaluation of the validation data."""
    if first is None or last is None or first.step == last.step:
        return Verdict(
            outcome="unmeasured",
            sentence="Nothing was measured on data the model was not trained on. Give a validation file, or set "
            "validation_split, to see whether the model got better.",
        )
    if first.accuracy is None or last.accuracy is None:
        return _judge_loss(first, last)
    difference = last.accuracy - first.accuracy
    outcome = _outcome(difference, _standard_error(first.accuracy, last.accuracy, last.rows))
    numbers = f"from {percent(first.accuracy)} to {percent(last.accuracy)} of {last.rows:,} validation pairs"
    sentences: dict[Outcome, str] = {
        "better": f"The model prefers the chosen answer more often than before: {numbers}.",
        "worse": f"The model prefers the chosen answer less often than before: {numbers}.",
        "unclear": f"Preference accuracy went {numbers}; that is within what {last.rows:,} pairs can tell apart.",
    }
    return Verdict(outcome=outcome, sentence=sentences[outcome])


def _judge_loss(first: Evaluation, last: Evaluation) -> Verdict:
    """For sft: the loss alone, without a standard error, because rows are long and unequal."""
    outcome: Outcome = "better" if last.loss < first.loss else "worse"
    word = "fell" if outcome == "better" else "rose"
    return Verdict(
        outcome=outcome,
        sentence=f"The loss on {last.rows:,} validation rows {word} from {first.loss:.3f} to {last.loss:.3f} nats.",
    )


def _outcome(difference: float, error: float) -> Outcome:
    if abs(difference) <= STANDARD_ERRORS * error or difference == 0:
        return "unclear"
    return "better" if difference > 0 else "worse"


def _standard_error(before: float, after: float, rows: int) -> float:
    """Of the difference of two shares of `rows` independent rows (binomial, unpaired: an upper bound for pairs that
    are judged twice and agree more often than not)."""
    return math.sqrt((before * (1 - before) + after * (1 - after)) / max(rows, 1))
