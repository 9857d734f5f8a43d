"""The model's own marks (special tokens) that stand in a row as text, where the tokenizer reads them as marks."""

import re

from transformers import PreTrainedTokenizerBase

from quickalign.data.records import PreferenceRecord, Record


class Marks:
    """Finds marks in records. `end_id` is the token that ends answers: at an answer's end it is no finding, because
    one is kept there and the others are counted and removed.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, end_id: int | None) -> None:
        added = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
        marks = sorted(added.union(map(str, tokenizer.all_special_tokens)) - {""}, key=len, reverse=True)
        self._marks = re.compile("|".join(map(re.escape, marks)) or r"(?!)")
        end = None if end_id is None else str(tokenizer.convert_ids_to_tokens(end_id))
        self._ending = re.compile(rf"(?:\s*{re.escape(end)})+\s*\Z") if end else None

    def first(self, record: Record) -> str:
        """The first mark that stands in the record as text; an empty text where there is none."""
        answers = (record.chosen, record.rejected) if isinstance(record, PreferenceRecord) else (record.response,)
        for text in (*(message.content for message in record.prompt), *map(self._without_ending, answers)):
            if found := self._marks.search(text):
                return found[0]
        return ""

    def _without_ending(self, answer: str) -> str:
        found = self._ending.search(answer) if self._ending else None
        return answer[: found.start()] if found else answer
