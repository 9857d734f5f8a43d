"""What a format is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from quickalign.core.spec import DataFormat
from quickalign.data.containers.json_row import Row
from quickalign.data.records import Record
from quickalign.data.report import Kind

Judgement = Literal["better", "safer"]

COMMON_FIELDS = frozenset({"category", "language"})
"""Fields that every format keeps where a row has them."""

_NOTHING: tuple[Any, ...] = (None, "", [], {})


@dataclass(frozen=True, slots=True)
class Choices:
    """What the user chose where a format leaves a choice: which judgement of PKU-SafeRLHF says what is chosen."""

    safe_rlhf_preference: Judgement = "better"


@dataclass(frozen=True, slots=True)
class Format:
    """One format: how it is recognised and read.

    `required` are the fields that make a row of this format, `optional` those it also uses, `inside` those it uses of
    the messages in them; all others are reported as unused. `matches` looks at a row's shape only. `convert` makes the
    records of one row (several where one row holds several examples) and raises `RowProblem` where the row cannot be
    used.
    """

    name: DataFormat
    kind: Kind
    required: tuple[str, ...]
    matches: Callable[[Row], bool]
    convert: Callable[[int, Row, Choices], Sequence[Record]]
    optional: frozenset[str] = field(default_factory=frozenset)
    inside: frozenset[str] = field(default_factory=frozenset)

    def unused(self, row: Row) -> set[str]:
        """Names of the row's fields that this format does not use; those of messages as `chosen[].name`."""
        used = row.keys() & (set(self.required) | self.optional)
        found = row.keys() - used - COMMON_FIELDS
        return found.union(*(_unused_inside(name, row[name], self.inside) for name in used)) if self.inside else found


def _unused_inside(place: str, value: Any, used: frozenset[str], levels: int = 2) -> set[str]:
    """Names of fields that hold something in the objects that `value` is or lists; in Parquet all objects have all."""
    found: set[str] = set()
    listed = isinstance(value, list)
    where = f"{place}[]" if listed else place
    for item in value if listed else (value,):
        if not isinstance(item, dict):
            continue
        for name, content in item.items():
            if name not in used:
                found |= set() if content in _NOTHING else {f"{where}.{name}"}
            elif levels > 1 and isinstance(content, list | dict):
                found |= _unused_inside(f"{where}.{name}", content, used, levels - 1)
    return found
