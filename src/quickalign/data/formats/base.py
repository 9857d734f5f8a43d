"""What a format is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from quickalign.core.spec import DataFormat
from quickalign.data.containers.json_row import Row
from quickalign.data.records import Record
from quickalign.data.report import Kind

Judgement = Literal["better", "safer"]

COMMON_FIELDS = frozenset({"category", "language"})
"""Fields that every format keeps where a row has them."""


@dataclass(frozen=True, slots=True)
class Choices:
    """What the user chose where a format leaves a choice: which judgement of PKU-SafeRLHF says what is chosen."""

    safe_rlhf_preference: Judgement = "better"


@dataclass(frozen=True, slots=True)
class Format:
    """One format: how it is recognised and read.

    `required` are the fields that make a row of this format, `optional` those it also uses; all others are reported as
    unused. `matches` looks at a row's shape only. `convert` makes the records of one row (several where one row holds
    several examples) and raises `RowProblem` where the row cannot be used.
    """

    name: DataFormat
    kind: Kind
    required: tuple[str, ...]
    matches: Callable[[Row], bool]
    convert: Callable[[int, Row, Choices], Sequence[Record]]
    optional: frozenset[str] = field(default_factory=frozenset)

    def unused(self, row: Row) -> set[str]:
        """Names of the row's fields that this format does not use."""
        return row.keys() - set(self.required) - self.optional - COMMON_FIELDS
