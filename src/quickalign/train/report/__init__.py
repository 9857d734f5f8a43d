"""The report of a finished run: `report.json` for programs, `report.html` for people, from one typed model."""

from quickalign.train.report.build import build_report
from quickalign.train.report.model import Report
from quickalign.train.report.page import render_report, write_report

__all__ = ["Report", "build_report", "render_report", "write_report"]
