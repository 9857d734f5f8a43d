"""One evaluation from its specification to its report; needs no server.

output/
  spec.json            what was asked for
  work/                encoded rows and answers, found again by the next call
  report.html, report.json   the latter written last: the evaluation is finished
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from quickalign.core import atomic, disk, storage
from quickalign.core.errors import OptionError
from quickalign.evaluate import overlap
from quickalign.evaluate import spec as specs
from quickalign.evaluate.gates import demand
from quickalign.evaluate.lm_eval import find_program, run_tasks
from quickalign.evaluate.measure import Measured, measure, same_rows
from quickalign.evaluate.report import EvaluationReport, build_report, write_report
from quickalign.evaluate.spec import EvaluationSpec
from quickalign.evaluate.subject import find_subject
from quickalign.train.observer import Observer

WORK = "work"


def evaluate(spec: EvaluationSpec, observer: Observer) -> EvaluationReport:
    """Measure and write the report; `demand_limits` decides afterwards whether limits are kept.

    What an interrupted call computed is found again: log-probs in the cache, answers in the output folder.

    Raises:
        OptionError, DataError, ModelError, StorageError, RunError: with the reason.
    """
    specs.check(spec)
    overlap.demand((*spec.fail_below, *spec.fail_above))
    if spec.lm_eval:
        find_program()  # what is not installed is told before time is spent
    started = time.monotonic()
    storage.make_folder(spec.output)
    with _alone(spec.output), disk.explained(spec.output):
        atomic.write_text(spec.output / "spec.json", spec.model_dump_json(indent=1) + "\n")
        measured = _measure(spec, spec.model, spec.base, "model", observer)
        other = None
        if spec.against is not None:
            other = _measure(spec, spec.against, spec.base, "other", observer)
            same_rows(measured, other)
        tasks = run_tasks(spec, measured.subject, spec.output / WORK, observer)
        observer.phase("report")
        report = build_report(measured, other, spec, tasks=tasks, seconds=time.monotonic() - started)
        write_report(report, spec.output)
    return report


def demand_limits(report: EvaluationReport) -> None:
    """End with an error where the specification's limits are not kept.

    Raises:
        QualityError: names them.
    """
    demand(report.gates, report.checks)


def _measure(spec: EvaluationSpec, source: str, base: str | None, name: str, observer: Observer) -> Measured:
    observer.phase("model", source)
    subject = find_subject(
        source, base=base, system_prompt=spec.system_prompt, precision=spec.precision, progress=observer.progress
    )
    if subject.note:
        observer.warning(subject.note)
    return measure(subject, spec, spec.output / WORK / name, observer)


@contextmanager
def _alone(output: Path) -> Iterator[None]:
    """Hold the output folder for the length of the block.

    Raises:
        OptionError: another evaluation writes there.
    """
    try:
        with FileLock(output / ".lock").acquire(timeout=0):
            yield
    except Timeout:
        raise OptionError(
            f"Another evaluation is writing to {output}.", "Wait for it, or name another folder."
        ) from None
