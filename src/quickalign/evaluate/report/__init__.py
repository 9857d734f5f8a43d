"""The report of an evaluation: `report.json` for programs, `report.html` for people, from one typed model."""

from quickalign.evaluate.report.build import build_report
from quickalign.evaluate.report.model import EvaluationReport
from quickalign.evaluate.report.page import render_report, write_report

__all__ = ["EvaluationReport", "build_report", "render_report", "write_report"]
