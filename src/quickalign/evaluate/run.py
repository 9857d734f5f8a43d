"""One evaluation from its specification to its report; needs no server.

output/
  spec.json            what was asked for
  work/                encoded rows and answers, found again by the next call
  report.html, report.json   the latter written last: the evaluation is finished
"""

from __future__ import annotations

import time

from quickalign.core import atomic, disk
from quickalign.core.errors import OptionError
from quickalign.core.working_folder import working_folder
from quickalign.evaluate import overlap, possible
from quickalign.evaluate import spec as specs
from quickalign.evaluate.gates import demand
from quickalign.evaluate.lm_eval import find_program, run_tasks
from quickalign.evaluate.measure import measure, same_rows
from quickalign.evaluate.report import EvaluationReport, build_report, write_report
from quickalign.evaluate.spec import EvaluationSpec
from quickalign.evaluate.subject import Subject, find_subject
from quickalign.train.observer import Observer

WORK = "work"


def evaluate(spec: EvaluationSpec, observer: Observer) -> EvaluationReport:
    """Measure and write the report; `demand_limits` decides afterwards whether limits are kept.

    What an interrupted call computed is found again: log-probs in the cache, answers in the output folder.

    Raises:
        OptionError, DataError, ModelError, StorageError, RunError: with the reason.
    """
    specs.check(spec)
    limits = (*spec.fail_below, *spec.fail_above)
    overlap.demand(limits)
    if spec.lm_eval:
        find_program()  # what is not installed is told before time is spent
    started = time.monotonic()
    taken = OptionError(f"Another evaluation is writing to {spec.output}.", "Wait for it, or name another folder.")
    with working_folder(spec.output, taken), disk.explained(spec.output):
        # both before the first is measured: a model that cannot be found is told before time is spent
        subject = _find(spec, spec.model, observer)
        compared = _find(spec, spec.against, observer) if spec.against is not None else None
        possible.check_divergence(spec, base=subject.base is not None)
        atomic.write_text(spec.output / "spec.json", spec.model_dump_json(indent=1) + "\n")
        measured = measure(subject, spec, spec.output / WORK / "model", observer, limits)
        other = None
        if compared is not None:
            other = measure(compared, spec, spec.output / WORK / "other", observer)
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


def _find(spec: EvaluationSpec, source: str, observer: Observer) -> Subject:
    observer.phase("model", source)
    subject = find_subject(
        source, base=spec.base, system_prompt=spec.system_prompt, precision=spec.precision, progress=observer.progress
    )
    if subject.note:
        observer.warning(subject.note)
    return subject
