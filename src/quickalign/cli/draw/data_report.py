"""The data report on a terminal."""

from collections.abc import Iterable, Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from quickalign.cli.draw import parts
from quickalign.cli.draw.row import first_row
from quickalign.cli.words import count, printable, share, size
from quickalign.data.report import FIRST_BAD_ROWS, BadRow, DataReport, Quantiles, TokenFacts, Truncation


def full(report: DataReport, *, marks: bool) -> Group:
    """Everything a person wants to see before training; `marks` shows token borders without colours."""
    blocks: list[RenderableType] = [parts.heading("Data", report.uri), parts.facts(_facts(report))]
    if report.bad_rows:
        blocks += ["", parts.heading("Bad rows", _shown(report)), parts.indented(_bad_rows(report.bad_rows))]
    if report.tokens:
        blocks += ["", parts.heading("Tokens", "under the model's template, before anything is cut")]
        blocks += [parts.indented(_quantiles(report.tokens)), "", parts.facts(_token_facts(report.tokens))]
        blocks += ["", *first_row(report.tokens.first_row, marks=marks)]
    if report.warnings:
        blocks += ["", *(parts.caution(warning) for warning in report.warnings)]
    return Group(*blocks)


def short(report: DataReport) -> Group:
    """What a training run shows of its data, with every warning."""
    pairs: list[tuple[str, RenderableType]] = [("rows", _verdict(report)), ("format", _format(report))]
    if report.tokens:
        total = report.tokens.lengths.total
        lengths = f"median {total.p50:,}, 95 % up to {total.p95:,}, longest {total.max:,}"
        pairs += [("tokens a row", lengths), ("cut", _cut(report.tokens.truncation, report.examples))]
    return Group(parts.facts(pairs), *(parts.caution(warning) for warning in report.warnings))


def _facts(report: DataReport) -> Iterator[tuple[str, RenderableType]]:
    yield "rows", _verdict(report)
    if report.examples != report.ok:
        yield "examples", count(report.examples)
    yield "format", _format(report)
    yield "file", f"{report.container}, {size(report.bytes)}, sha256 {report.sha256[:12]}"
    repetition = report.repetition
    yield "prompts", f"{repetition.prompts:,} different, {repetition.prompts_with_several_rows:,} with several rows"
    yield "duplicates", _alarming(repetition.duplicates)
    if report.kind != "supervised":
        yield "contradictions", _alarming(repetition.contradictions)
        yield "chosen = rejected", _alarming(report.chosen_equals_rejected)
    yield "empty answers", _alarming(report.empty_answers)
    for name, values in (("languages", report.languages), ("categories", report.categories)):
        if values:
            yield name, _counts(values)
    if report.unused_fields:
        yield "unused fields", ", ".join(report.unused_fields)


def _verdict(report: DataReport) -> Text:
    text = Text.assemble((f"{report.rows:,}", "value"), "  ", (f"✓ {report.ok:,} usable", "good"))
    if left := report.bad - report.dropped:
        text.append(f"  ✗ {left:,} bad", style="bad")
    if report.dropped:
        text.append(f"  – {report.dropped:,} bad, dropped", style="caution")
    return text


def _format(report: DataReport) -> Text:
    return Text.assemble((report.format, "value"), f"  {printable(report.recognised_by)}")


def _alarming(number: int) -> Text:
    return Text(f"{number:,}", style="caution" if number else "")


def _counts(values: dict[str, int]) -> str:
    most = sorted(values.items(), key=lambda item: -item[1])
    rest = f", and {len(most) - 8} more" if len(most) > 8 else ""
    return ", ".join(f"{name} {number:,}" for name, number in most[:8]) + rest


def _shown(report: DataReport) -> str:
    shown = min(FIRST_BAD_ROWS, len(report.bad_rows))
    return f"the first {shown} of {report.bad:,}; --json lists more" if report.bad > shown else ""


def _bad_rows(rows: Iterable[BadRow]) -> Table:
    table = parts.table("row", "field", "found", "expected", right=[0])
    for bad in list(rows)[:FIRST_BAD_ROWS]:
        table.add_row(f"{bad.row:,}", parts.plain(bad.field or "–"), parts.plain(bad.found, "bad"), bad.expected)
    return table


def _quantiles(facts: TokenFacts) -> Table:
    table = parts.table("", "mean", "median", "90 %", "95 %", "99 %", "longest", right=range(1, 7))
    lengths = facts.lengths
    rows = [("prompt", lengths.prompt), ("chosen" if lengths.rejected else "answer", lengths.answer)]
    if lengths.rejected:
        rows.append(("rejected", lengths.rejected))
    for name, quantiles in [*rows, ("row", lengths.total)]:
        table.add_row(name, *_cells(quantiles))
    return table


def _cells(values: Quantiles) -> list[str]:
    return [f"{values.mean:,.1f}", *(f"{v:,}" for v in (values.p50, values.p90, values.p95, values.p99, values.max))]


def _token_facts(facts: TokenFacts) -> Iterator[tuple[str, RenderableType]]:
    cut = facts.truncation
    yield "cut", _cut(cut, None)
    if cut.rows_cut:
        yield "", f"{cut.prompt_cut:,} lose prompt text, {cut.answer_cut:,} answer text, {cut.end_token_lost:,} the end"
    yield "whole rows", f"95 % at {cut.keeps_95:,}, 99 % at {cut.keeps_99:,}, all at seq_length {cut.keeps_100:,}"
    if bias := facts.length_bias:
        means = f"chosen {bias.chosen_mean:.1f} against rejected {bias.rejected_mean:.1f} tokens in the mean"
        yield "length bias", f"{means}; chosen longer in {share(bias.chosen_longer)} of pairs"
    special = facts.special_tokens
    doubled = special.doubled_begin + special.doubled_end
    ends = f"answers end with {special.end_token}" if special.end_token else "nothing ends an answer"
    yield "begin and end", Text(f"{ends}; doubled in {doubled:,} rows", style="caution" if doubled else "")
    if facts.answers_changed:
        yield "changed answers", _alarming(facts.answers_changed)


def _cut(cut: Truncation, rows: int | None) -> Text:
    of = f" of {rows:,}" if rows is not None else ""
    if not cut.rows_cut:
        return Text(f"no row at seq_length {cut.seq_length:,}")
    lost = f"; {cut.tokens_lost:,} tokens lost"
    return Text(f"{cut.rows_cut:,}{of} rows at seq_length {cut.seq_length:,}{lost}", style="caution")
