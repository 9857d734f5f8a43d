"""Which format a file is in: named by the user, or recognised from its first rows."""

from collections.abc import Sequence
from dataclasses import dataclass

from quickalign.core.errors import DataError
from quickalign.core.hyperparameters import Strategy
from quickalign.core.spec import DataFormat
from quickalign.data.containers.json_row import Row
from quickalign.data.formats import chat_rows, hh_rlhf, instruction, messages, openai, prompt, safe_rlhf, sharegpt
from quickalign.data.formats.base import Format
from quickalign.data.report import Kind

FORMATS = (
    prompt.FORMAT,
    messages.FORMAT,
    openai.FORMAT,
    safe_rlhf.FORMAT,
    hh_rlhf.FORMAT,
    sharegpt.PREFERENCE,
    sharegpt.SUPERVISED,
    instruction.FORMAT,
    chat_rows.FORMAT,
)

FIRST_ROWS = 100
"""How many rows the recognition looks at."""

_RARE = 0.1
_KINDS: dict[Strategy, Kind] = {"dpo": "preference", "sft": "supervised"}
_SHOWN_FIELDS = 8


@dataclass(frozen=True, slots=True)
class Recognised:
    """A format, and the sentence that says why it was taken."""

    format: Format
    reason: str


def recognise(uri: str, rows: Sequence[Row], wanted: DataFormat, strategy: Strategy | None) -> Recognised:
    """The format of the file `uri` that begins with `rows` (at least one). `strategy` None takes either kind.

    Raises:
        DataError: no format fits, several do, or the file is of the other strategy's kind.
    """
    found = _named(uri, rows, wanted, strategy) if wanted != "auto" else _recognised(uri, rows, strategy)
    if strategy and found.format.kind != _KINDS[strategy]:
        raise _other_kind(uri, found.format, strategy)
    return found


def _named(uri: str, rows: Sequence[Row], wanted: DataFormat, strategy: Strategy | None) -> Recognised:
    choices = [item for item in FORMATS if item.name == wanted]
    best = max(choices, key=lambda item: sum(item.matches(row) for row in rows))
    if not any(best.matches(row) for row in rows) and strategy:
        best = next((item for item in choices if item.kind == _KINDS[strategy]), best)
    return Recognised(best, f"data_format={wanted} was given.")


def _recognised(uri: str, rows: Sequence[Row], strategy: Strategy | None) -> Recognised:
    matches = [[item for item in FORMATS if item.matches(row)] for row in rows]
    known = sum(1 for formats in matches if formats)
    if not known:
        raise _unknown(uri, rows)
    counts = {item: sum(item in formats for formats in matches) for item in FORMATS}
    likely = [item for item in FORMATS if counts[item] > _RARE * known]
    if strategy and len(likely) > 1 and all(counts[item] >= (1 - _RARE) * known for item in likely):
        likely = [item for item in likely if item.kind == _KINDS[strategy]] or likely
    if len(likely) > 1:
        raise _ambiguous(uri, likely, counts, len(rows))
    best = likely[0]
    fields = ", ".join(repr(name) for name in best.required)
    return Recognised(best, f"{counts[best]} of the first {len(rows)} rows have the fields {fields}.")


def _unknown(uri: str, rows: Sequence[Row]) -> DataError:
    names = list(rows[0])
    shown = ", ".join(repr(name) for name in names[:_SHOWN_FIELDS]) or "none"
    nearest = max(FORMATS, key=lambda item: _nearness(item, rows[0]))
    wanted = ", ".join(repr(name) for name in nearest.required)
    return DataError(
        f"The format of {uri} is not known: its rows have the fields {shown}.",
        f"The nearest format, {nearest.name}, needs {wanted}; the user guide lists all formats.",
    )


def _nearness(format_: Format, row: Row) -> tuple[int, bool]:
    """How many of its fields the row has; before one that has all, and still does not fit, one that lacks some."""
    there = len(row.keys() & set(format_.required))
    return there, there < len(format_.required)


def _ambiguous(uri: str, likely: Sequence[Format], counts: dict[Format, int], rows: int) -> DataError:
    parts = " and ".join(f"{item.name} ({counts[item]} of the first {rows} rows)" for item in likely)
    names = " or ".join(f"--data-format {name}" for name in dict.fromkeys(item.name for item in likely))
    return DataError(f"{uri} looks like {parts}.", f"Say which it is: {names}.")


def _other_kind(uri: str, found: Format, strategy: Strategy) -> DataError:
    holds = "preference pairs" if found.kind == "preference" else "single answers"
    other = next(name for name, kind in _KINDS.items() if kind == found.kind)
    return DataError(
        f"{uri} holds {holds} (format {found.name}), and training_strategy={strategy} cannot train on them.",
        f"Set training_strategy={other}, or give a file of the other kind.",
    )
