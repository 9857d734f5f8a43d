"""The report's warnings: sentences about what in the data or its encoding a user should know."""

from collections.abc import Iterator

from quickalign.data.encode import Encoder
from quickalign.data.report import DataReport, TokenFacts
from quickalign.data.statistics import KEPT_BAD_ROWS

_BIASED_SHARE = 0.65
_BIASED_RATIO = 1.5
_MUCH_CUT = 0.05
_TRAINED_ON_ELSEWHERE = frozenset(
    {
        "system", "system_prompt", "history", "input", "tools", "functions", "rejected_response", "rejected_messages",
        "image", "images", "video", "videos", "audio", "audios",
    }
)  # fmt: skip
"""Fields that are part of a row for other tools; here they are only listed as unused."""


def of_rows(report: DataReport) -> Iterator[str]:
    """What the rows themselves show."""
    if report.bad > len(report.bad_rows):
        yield f"Only the first {KEPT_BAD_ROWS} of {report.bad} bad rows are listed."
    if report.chosen_equals_rejected:
        yield f"{_rows(report.chosen_equals_rejected)} the same text as chosen and rejected: nothing is learnt from it."
    if unused := sorted(_TRAINED_ON_ELSEWHERE.intersection(report.unused_fields)):
        yield f"Nothing of the fields {', '.join(unused)} is used, which other tools train on."
    if report.repetition.contradictions:
        yield (
            f"{_rows(report.repetition.contradictions)} the opposite preference of an earlier row with the same prompt "
            "and answers; the two cancel out."
        )
    if report.repetition.duplicates:
        yield f"{_rows(report.repetition.duplicates)} exactly what an earlier row has, and counts twice."


def of_context(facts: TokenFacts, context: int) -> Iterator[str]:
    """What lies beyond the positions that the model knows, which training refuses."""
    length = facts.truncation.seq_length
    longest = min(facts.lengths.total.max, length)
    if longest > context:
        yield (
            f"The longest row has {longest} tokens at seq_length={length}, and the model was made for {context} at "
            f"most: `plan` and `train` refuse that; set seq_length to {context} or less."
        )


def of_tokens(facts: TokenFacts, rows: int) -> Iterator[str]:
    """What lengths and cuts show, over `rows` encoded rows."""
    cut = facts.truncation
    if cut.rows_cut > _MUCH_CUT * rows:
        yield (
            f"seq_length={cut.seq_length} cuts {cut.rows_cut} of {rows} examples ({cut.rows_cut / rows:.0%}); "
            f"{cut.keeps_95} keeps 95 % of them whole, {cut.keeps_100} all."
        )
    if cut.question_lost:
        yield f"{_rows(cut.question_lost)} nothing left of the last question at seq_length={cut.seq_length}."
    if cut.end_token_lost:
        yield f"{_rows(cut.end_token_lost)} an answer without its end token, which does not teach the model to stop."
    if bias := facts.length_bias:
        long, short = max(bias.chosen_mean, bias.rejected_mean), min(bias.chosen_mean, bias.rejected_mean)
        which, share = ("chosen", bias.chosen_longer)
        if bias.rejected_longer > bias.chosen_longer:
            which, share = "rejected", bias.rejected_longer
        if share > _BIASED_SHARE or long > _BIASED_RATIO * short:
            change = "longer" if which == "chosen" else "shorter"
            yield (
                f"The {which} answer is the longer one in {share:.0%} of the pairs (mean {bias.chosen_mean:.0f} tokens "
                f"chosen, {bias.rejected_mean:.0f} rejected): the model will also learn to write {change} answers."
            )
    marks = facts.special_tokens
    if marks.doubled_end:
        yield f"{_rows(marks.doubled_end)} an answer that ends with the end token as text; one is kept."
    if marks.doubled_begin:
        yield f"{_rows(marks.doubled_begin)} a prompt that begins with the begin token as text; one is kept."
    if marks.in_texts:
        yield (
            f"{_rows(marks.in_texts)} marks of the model as text, such as {marks.in_texts_first!r}, and the model "
            "reads them as marks: rows that were rendered before need apply_chat_template=false."
        )
    if facts.answers_changed:
        yield f"{_rows(facts.answers_changed)} an answer that the chat template writes differently (its own rules)."


def of_validation(in_both: int, examples: int) -> Iterator[str]:
    """What validation data of so many `examples` has in common with the training data."""
    if in_both:
        yield (
            f"{in_both} of {examples} validation examples are in the training data too: figures on them say nothing "
            "about new data."
        )


def of_evaluation(trained_on: int, examples: int) -> Iterator[str]:
    """What data of so many `examples`, on which a model is measured, has in common with its training."""
    if trained_on:
        yield f"The model was trained on {trained_on} of these {examples} examples: figures on them say little."


def of_encoder(encoder: Encoder) -> Iterator[str]:
    """What the model's template does that its user may not expect."""
    template = encoder.template
    if template and template.own_system and not encoder.system_prompt:
        yield (
            "system_prompt is empty, and the chat template then writes its own system message into rows that bring "
            f"none: {template.own_system!r}."
        )
    if encoder.end_id is None:
        yield "The chat template writes no end token behind an answer: the model is not taught to stop."


def _rows(count: int) -> str:
    return "1 row has" if count == 1 else f"{count} rows have"
