"""One pass over a feed: encode in batches, count everything on the way, and say what was found."""

from collections.abc import Iterator, Sequence

from transformers import PreTrainedTokenizerBase

from quickalign.data import advice
from quickalign.data.encode import EncodedRecord, EncodedRow, Encoder
from quickalign.data.feed import Feed
from quickalign.data.problem import RowProblem
from quickalign.data.records import Record
from quickalign.data.report import BadRow, DataReport, RowView, SpecialTokens, TokenFacts
from quickalign.data.row_view import view
from quickalign.data.statistics import RowStatistics
from quickalign.data.token_statistics import TokenStatistics

_BATCH_EXAMPLES = 1024
_BATCH_CHARACTERS = 4 << 20


class Survey:
    """Goes through `feed` once. Without an encoder nothing is encoded and the report has no token counts."""

    def __init__(self, feed: Feed, encoder: Encoder | None, tokenizer: PreTrainedTokenizerBase | None) -> None:
        self._feed, self._encoder, self._tokenizer = feed, encoder, tokenizer
        self._rows = RowStatistics()
        self._tokens = TokenStatistics(encoder.seq_length) if encoder else None
        self._first: RowView | None = None

    def batches(self) -> Iterator[list[EncodedRow]]:
        """Encoded examples in the file's order; the survey is complete when the iteration ends."""
        for batch in _batched(self._feed, self._rows):
            if self._encoder is None:
                for records in batch:
                    self._rows.add(records)
                continue
            yield self._encode(batch, self._encoder)

    def report(self, *, dropping: bool) -> DataReport:
        """What was found. `dropping` says that bad rows are left out because the user asked for it."""
        rows, source, recognised = self._rows, self._feed.source, self._feed.recognised
        tokens = self._token_facts()
        report = DataReport(
            uri=self._feed.uri,
            sha256=source.sha256,
            bytes=source.bytes,
            container=source.container,
            format=recognised.format.name,
            recognised_by=recognised.reason,
            kind=self._feed.kind,
            rows=rows.rows,
            ok=rows.ok,
            bad=rows.bad,
            dropped=rows.bad if dropping else 0,
            examples=rows.examples,
            bad_rows=tuple(sorted(rows.bad_rows, key=lambda bad: bad.row)),
            chosen_equals_rejected=rows.same_answers,
            empty_answers=rows.empty_answers,
            repetition=rows.repetition(),
            unused_fields=tuple(sorted(self._feed.unused_fields)),
            categories=dict(rows.categories.most_common()),
            languages=dict(rows.languages.most_common()),
            tokens=tokens,
            warnings=(),
        )
        return report.model_copy(update={"warnings": tuple(self._warnings(report))})

    def _warnings(self, report: DataReport) -> Iterator[str]:
        yield from advice.of_rows(report)
        if report.tokens:
            yield from advice.of_tokens(report.tokens, report.examples)
        if self._encoder:
            yield from advice.of_encoder(self._encoder)

    def _encode(self, batch: list[Sequence[Record]], encoder: Encoder) -> list[EncodedRow]:
        """Encode whole rows: a row of several examples is used with all of them or not at all."""
        assert self._tokens is not None
        encoded = iter(encoder.encode([record for records in batch for record in records]))
        good: list[EncodedRecord] = []
        for records in batch:
            outcomes = [next(encoded) for _ in records]
            problem = next((item for item in outcomes if isinstance(item, RowProblem)), None)
            if problem:
                self._rows.add_bad(problem.at(records[0].row))
                continue
            self._rows.add(records)
            good.extend(item for item in outcomes if isinstance(item, EncodedRecord))
        self._tokens.add([item.facts for item in good])
        if self._first is None and good and self._tokenizer is not None:
            self._first = view(good[0].example, self._tokenizer)
        return [item.example for item in good]

    def _token_facts(self) -> TokenFacts | None:
        if self._tokens is None or self._encoder is None or self._first is None or self._tokenizer is None:
            return None
        pairs = self._feed.kind == "preference"
        begin, end = self._encoder.prevented
        end_id = self._encoder.end_id
        return TokenFacts(
            lengths=self._tokens.lengths(pairs),
            length_bias=self._tokens.length_bias() if pairs else None,
            truncation=self._tokens.truncation(),
            special_tokens=SpecialTokens(
                doubled_begin=self._tokens.doubled_begin,
                doubled_end=self._tokens.doubled_end,
                begin_prevented=begin,
                end_prevented=end,
                end_token=None if end_id is None else str(self._tokenizer.convert_ids_to_tokens(end_id)),
                in_texts=self._tokens.marked,
                in_texts_first=self._tokens.mark,
            ),
            answers_changed=self._tokens.answers_changed,
            first_row=self._first,
        )


def _batched(feed: Feed, statistics: RowStatistics) -> Iterator[list[Sequence[Record]]]:
    """Usable rows in batches bounded by examples and characters; bad ones are counted and left out."""
    batch: list[Sequence[Record]] = []
    examples = characters = 0
    for records in feed:
        if isinstance(records, BadRow):
            statistics.add_bad(records)
            continue
        batch.append(records)
        examples += len(records)
        characters += sum(_characters(record) for record in records)
        if examples >= _BATCH_EXAMPLES or characters >= _BATCH_CHARACTERS:
            yield batch
            batch, examples, characters = [], 0, 0
    if batch:
        yield batch


def _characters(record: Record) -> int:
    return sum(len(message.content) for message in record.prompt) + sum(map(len, record.answers))
