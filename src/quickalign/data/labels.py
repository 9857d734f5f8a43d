"""What rows carry besides the tokens that a model sees: their category, and the question that is asked last."""

from dataclasses import dataclass

from quickalign.data.feed import Feed
from quickalign.data.formats.base import Choices
from quickalign.data.prepare import DataRequest
from quickalign.data.read import open_rows
from quickalign.data.report import BadRow


@dataclass(frozen=True, slots=True)
class Label:
    """One row's category, empty where it names none, and the text of the last message of its (first) prompt."""

    category: str
    question: str


def labels(request: DataRequest) -> dict[int, Label]:
    """The label of each usable row of the request's file, by the row's number.

    Raises:
        DataError: the file cannot be read, or its format is not known.
        StorageError: the file cannot be opened.
    """
    choices = Choices(safe_rlhf_preference=request.safe_rlhf_preference)
    with open_rows(request.uri) as source:
        feed = Feed(request.uri, source, request.data_format, request.strategy, choices)
        records = (records[0] for records in feed if not isinstance(records, BadRow) and records)
        return {
            record.row: Label(record.category or "", record.prompt[-1].content if record.prompt else "")
            for record in records
        }
