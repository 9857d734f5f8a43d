"""The data of a run: encoded once into the run's folder, shared by all its processes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import overload

import numpy as np
import numpy.typing as npt
from transformers import PreTrainedTokenizerBase

from quickalign.core import atomic
from quickalign.core.spec import RunSpec
from quickalign.data import advice
from quickalign.data.encode import EncodedRow
from quickalign.data.prefix_tree import beginning_of_all
from quickalign.data.prepare import DataRequest, check_choices, prepare, split
from quickalign.data.report import DataReport
from quickalign.data.split import rows_in_both
from quickalign.data.store import TokenStore
from quickalign.train.distributed import Processes
from quickalign.train.observer import Observer

TRAIN, VALIDATION = "train", "validation"


class Rows(Sequence[EncodedRow]):
    """Some rows of a store, in their order."""

    def __init__(self, store: TokenStore, indices: npt.NDArray[np.int64] | None = None) -> None:
        self._store = store
        self._indices = np.arange(len(store), dtype=np.int64) if indices is None else indices

    def __len__(self) -> int:
        return len(self._indices)

    @overload
    def __getitem__(self, index: int) -> EncodedRow: ...
    @overload
    def __getitem__(self, index: slice) -> list[EncodedRow]: ...
    def __getitem__(self, index: int | slice) -> EncodedRow | list[EncodedRow]:
        if isinstance(index, slice):
            return [self._store[int(i)] for i in self._indices[index]]
        return self._store[int(self._indices[index])]

    def content(self, index: int) -> bytes:
        """See `TokenStore.content`."""
        return self._store.content(int(self._indices[index]))

    @property
    def lengths(self) -> npt.NDArray[np.int32]:
        """[rows, parts] tokens of the prompt and of each answer."""
        lengths: npt.NDArray[np.int32] = np.asarray(self._store.lengths)[self._indices]
        return lengths

    @property
    def beginning(self) -> int:
        """Tokens that all prompts have in common from their start: of a template, of one system prompt."""
        return beginning_of_all(self._store.prompt(int(i)) for i in self._indices)

    @property
    def fingerprint(self) -> str:
        """Changes when a token of any row changes, or when other rows are taken."""
        return hashlib.sha256(self._store.fingerprint.encode() + self._indices.tobytes()).hexdigest()


@dataclass(frozen=True, slots=True)
class RunData:
    """Encoded training and validation rows, and what the check of each file found."""

    report: DataReport
    validation_report: DataReport | None
    train: Rows
    validation: Rows | None

    @property
    def longest_row(self) -> int:
        """Tokens of the longest prompt with its longest answer, over training and validation rows."""
        both = [rows.lengths for rows in (self.train, self.validation) if rows]
        return max(int((lengths[:, 0] + lengths[:, 1:].max(axis=1)).max()) for lengths in both)


def prepare_data(
    spec: RunSpec,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    observer: Observer,
    processes: Processes,
    *,
    begins: bool = True,
) -> RunData:
    """Read, check and encode the run's data into `folder`; the main process does it, the others open what it made.

    The choice of a judgement is checked of a run that `begins`; one that goes on has begun with it.

    Raises:
        DataError: rows that cannot be used (unless spec.bad_rows is drop), or no row left to train on.
        OptionError: an option without effect on the data's format.
    """
    if processes.is_main:
        request = DataRequest.from_spec(spec)
        if not begins:
            request = replace(request, one_of_several=True)
        report = _encode(request, tokenizer, folder / TRAIN, observer)
        observer.data_report(report)
        if spec.validation:
            other = _encode(replace(request, uri=spec.validation), tokenizer, folder / VALIDATION, observer)
            if begins:
                check_choices(spec.safe_rlhf_preference, [report.format, other.format])
            observer.data_report(_compared(other, folder))
    processes.barrier()
    return open_data(spec, folder)


def open_data(spec: RunSpec, folder: Path) -> RunData:
    """The data that `prepare_data` left in `folder`."""
    report = _read_report(folder / TRAIN)
    store = TokenStore(folder / TRAIN)
    if spec.validation:
        return RunData(report, _read_report(folder / VALIDATION), Rows(store), Rows(TokenStore(folder / VALIDATION)))
    if spec.hyperparameters.validation_split == 0:
        return RunData(report, None, Rows(store), None)
    kept, held_out = split(store, spec.hyperparameters.validation_split, spec.hyperparameters.seed)
    return RunData(report, None, Rows(store, kept), Rows(store, held_out))


def _encode(request: DataRequest, tokenizer: PreTrainedTokenizerBase, folder: Path, observer: Observer) -> DataReport:
    observer.phase("data", request.uri)
    report = prepare(request, tokenizer, folder, lambda done, total: observer.progress("data", done, total)).report
    _write_report(folder, report)
    return report


def _compared(report: DataReport, folder: Path) -> DataReport:
    """The validation data's report, with a warning of rows that are trained on."""
    in_both = rows_in_both(TokenStore(folder / TRAIN), TokenStore(folder / VALIDATION))
    warnings = (*report.warnings, *advice.of_validation(in_both, report.examples))
    report = report.model_copy(update={"warnings": warnings})
    _write_report(folder / VALIDATION, report)
    return report


def _write_report(folder: Path, report: DataReport) -> None:
    atomic.write_text(_report_file(folder), report.model_dump_json(indent=1) + "\n")


def _read_report(folder: Path) -> DataReport:
    return DataReport.model_validate_json(_report_file(folder).read_text(encoding="utf-8"))


def _report_file(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}-report.json")
