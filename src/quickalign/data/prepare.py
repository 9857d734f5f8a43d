"""A file of training data checked, and encoded into a store, in one pass over its rows."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from quickalign.core.errors import DataError, OptionError
from quickalign.core.hyperparameters import Strategy
from quickalign.core.spec import BadRows, DataFormat, RunSpec
from quickalign.data import advice
from quickalign.data.containers.stream import Progress
from quickalign.data.encode import Encoder
from quickalign.data.feed import Feed
from quickalign.data.formats import safe_rlhf
from quickalign.data.formats.base import Choices, Judgement
from quickalign.data.read import RowSource, open_rows
from quickalign.data.report import DataReport
from quickalign.data.split import split
from quickalign.data.store import TokenStore, write_store
from quickalign.data.survey import Survey

__all__ = ["DataRequest", "Prepared", "check", "check_choices", "prepare", "split"]


@dataclass(frozen=True, slots=True)
class DataRequest:
    """What to read and how; the names are those of the run specification and its options.

    `strategy` None takes preference pairs and single answers alike. `one_of_several` files need not be of the format
    that a choice is for: whoever reads them calls `check_choices` with the formats of all.
    """

    uri: str
    data_format: DataFormat = "auto"
    strategy: Strategy | None = None
    bad_rows: BadRows = "error"
    safe_rlhf_preference: Judgement = "better"
    seq_length: int = 128
    apply_chat_template: bool = True
    system_prompt: str = ""
    one_of_several: bool = False

    @classmethod
    def from_spec(cls, spec: RunSpec, uri: str | None = None) -> "DataRequest":
        """The request of a run's training data, or of its other file `uri`."""
        options = spec.hyperparameters
        return cls(
            uri=uri or spec.train,
            data_format=spec.data_format,
            strategy=options.training_strategy,
            bad_rows=spec.bad_rows,
            safe_rlhf_preference=spec.safe_rlhf_preference,
            seq_length=options.seq_length,
            apply_chat_template=options.apply_chat_template,
            system_prompt=options.system_prompt,
            one_of_several=spec.validation is not None,
        )

    def encoder(self, tokenizer: PreTrainedTokenizerBase) -> Encoder:
        """The encoder that these options ask for.

        Raises:
            OptionError: the tokenizer cannot do what they ask.
        """
        return Encoder(
            tokenizer,
            seq_length=self.seq_length,
            apply_chat_template=self.apply_chat_template,
            system_prompt=self.system_prompt if self.apply_chat_template else "",
        )


@dataclass(frozen=True, slots=True)
class Prepared:
    """What was found, and the encoded rows."""

    report: DataReport
    store: TokenStore


def prepare(
    request: DataRequest, tokenizer: PreTrainedTokenizerBase, folder: Path, progress: Progress | None = None
) -> Prepared:
    """Check and encode the request's file into `folder`, which appears only when everything went well.

    Raises:
        DataError: the file cannot be read, its format is not known, it has bad rows and `bad_rows` is `error`, or no
            row is left.
        OptionError: the tokenizer cannot do what the options ask, or one has no effect on the file's format.
        StorageError: the file cannot be opened.
    """
    encoder = request.encoder(tokenizer)
    with open_rows(request.uri, progress) as source:
        feed = _feed(request, source)
        with write_store(folder, feed.kind) as writer:
            survey = Survey(feed, encoder, tokenizer)
            for examples in survey.batches():
                writer.add(examples)
            report = survey.report(dropping=request.bad_rows == "drop")
            _ensure_usable(report, request.bad_rows)
    return Prepared(report, TokenStore(folder))


def check(
    request: DataRequest,
    tokenizer: PreTrainedTokenizerBase | None,
    progress: Progress | None = None,
    *,
    context: int | None = None,
) -> DataReport:
    """Check the request's file and write nothing. Bad rows are counted in the report, never raised.

    Without a tokenizer the report has no token counts. With the model's `context`, in tokens, it warns of rows that are
    longer.

    Raises:
        DataError: the file as a whole cannot be read, or its format is not known.
        OptionError: the tokenizer cannot do what the options ask, or one has no effect on the file's format.
        StorageError: the file cannot be opened.
    """
    encoder = request.encoder(tokenizer) if tokenizer is not None else None
    with open_rows(request.uri, progress) as source:
        feed = _feed(request, source)
        survey = Survey(feed, encoder, tokenizer)
        _exhaust(survey.batches())
        report = survey.report(dropping=request.bad_rows == "drop")
    if context is None or report.tokens is None:
        return report
    return report.model_copy(update={"warnings": (*advice.of_context(report.tokens, context), *report.warnings)})


def check_choices(safe_rlhf_preference: Judgement, formats: Collection[str]) -> None:
    """Refuse a choice that is for another format than those of the `formats` that were found.

    Raises:
        OptionError: names it.
    """
    if safe_rlhf_preference != Choices().safe_rlhf_preference and safe_rlhf.FORMAT.name not in formats:
        raise OptionError(
            f"safe_rlhf_preference={safe_rlhf_preference} has no effect on data in the format "
            f"{' and '.join(dict.fromkeys(formats))}.",
            f"Leave it out; it is for PKU-SafeRLHF's rows (format {safe_rlhf.FORMAT.name}).",
            field="safe_rlhf_preference",
            value=safe_rlhf_preference,
        )


def _feed(request: DataRequest, source: RowSource) -> Feed:
    choices = Choices(safe_rlhf_preference=request.safe_rlhf_preference)
    feed = Feed(request.uri, source, request.data_format, request.strategy, choices)
    if not request.one_of_several:
        check_choices(request.safe_rlhf_preference, [feed.recognised.format.name])
    return feed


def _exhaust(batches: Iterator[object]) -> None:
    for _ in batches:
        pass


def _ensure_usable(report: DataReport, bad_rows: BadRows) -> None:
    if report.bad and bad_rows == "error":
        count = "1 row" if report.bad == 1 else f"{report.bad} of {report.rows} rows"
        raise DataError(
            f"{report.uri} has {count} that cannot be used; the first: {report.bad_rows[0].sentence()}",
            "Correct the file (`quickalign data check` lists all such rows), or leave such rows out with "
            "--bad-rows drop.",
        )
    if not report.ok:
        first = f" The first: {report.bad_rows[0].sentence()}" if report.bad_rows else ""
        raise DataError(f"{report.uri} has no row that can be used ({report.rows} rows read).{first}")
