"""Rows of an evaluation that the model was trained on, where the run still keeps its rows."""

from __future__ import annotations

from quickalign.core import spec as specs
from quickalign.core.errors import QuickalignError
from quickalign.data import advice
from quickalign.data.prepare import Prepared
from quickalign.data.report import DataReport
from quickalign.data.split import rows_in_both
from quickalign.evaluate.subject import Subject, manifest_folder
from quickalign.train.data import open_data


def with_rows_seen(prepared: Prepared, subject: Subject) -> DataReport:
    """The report of `prepared`, with a warning of rows that `subject` was trained on.

    They are compared token for token, so a row that training cut is not found.
    """
    report = prepared.report
    folder = manifest_folder(subject.found)
    for run in (folder.parent, folder.parent.parent.parent):  # of a run's result, of a checkpoint
        try:
            spec = specs.load(run / "spec.json")
            trained = open_data(spec, run / "data").train
        except (OSError, ValueError, QuickalignError):  # no run's folder, or one that keeps no rows
            continue
        found = advice.of_evaluation(rows_in_both(trained, prepared.store), report.examples)
        return report.model_copy(update={"warnings": (*report.warnings, *found)})
    return report
