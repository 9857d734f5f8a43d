"""`safe-rlhf`: the rows of PKU-SafeRLHF as published: two responses, and two judgements on which is preferred.

    {"prompt", "response_0", "response_1", "better_response_id": 0 or 1, "safer_response_id": 0 or 1}

The option `safe_rlhf_preference` says which judgement decides. `is_response_0_safe` and `is_response_1_safe` may be
there; they do not change the pair.
"""

from quickalign.data.containers.json_row import Row
from quickalign.data.formats.base import Choices, Format
from quickalign.data.formats.fields import text, value
from quickalign.data.formats.turns import preference
from quickalign.data.problem import RowProblem, describe
from quickalign.data.records import Message, PreferenceRecord

_FIELDS = ("prompt", "response_0", "response_1")
_JUDGEMENTS = frozenset({"better_response_id", "safer_response_id"})
_SAFETY = frozenset({"is_response_0_safe", "is_response_1_safe"})
_IDS = {0: 0, 1: 1, "0": 0, "1": 1}  # CSV knows texts only


def _matches(row: Row) -> bool:
    return all(name in row for name in _FIELDS) and not _JUDGEMENTS.isdisjoint(row)


def _convert(number: int, row: Row, choices: Choices) -> list[PreferenceRecord]:
    prompt, *responses = (text(row, name) for name in _FIELDS)
    name = f"{choices.safe_rlhf_preference}_response_id"
    judged = value(row, name, "0 or 1")
    if isinstance(judged, bool) or not isinstance(judged, int | str) or judged not in _IDS:
        raise RowProblem(name, describe(judged), "0 or 1")
    preferred = _IDS[judged]
    return preference(number, row, (Message("user", prompt),), responses[preferred], responses[1 - preferred])


FORMAT = Format("safe-rlhf", "preference", _FIELDS, _matches, _convert, _JUDGEMENTS | _SAFETY)
