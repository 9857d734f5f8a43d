"""The few figures of a report that a job's record carries; the report has the rest."""

from typing import Any

from quickalign.evaluate.report.model import EvaluationReport


def results_of(report: EvaluationReport) -> dict[str, Any]:
    """Figures of the model and of its base by name, the verdict, and whether checks and limits hold."""
    return {
        "verdict": report.verdict.outcome,
        "rows": report.rows,
        "figures": report.values(),
        "base": {figure.name: figure.base.value for figure in report.figures if figure.base is not None},
        "failed_checks": [check.name for check in report.checks if not check.passed],
        "missed_limits": [gate.figure for gate in report.gates if not gate.passed],
    }
