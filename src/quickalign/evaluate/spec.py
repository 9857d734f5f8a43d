"""What one evaluation is asked to do: a JSON file, or the same as options of `quickalign eval`."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from quickalign.core.wire.evaluations import METRICS, EvaluateRequest, check

__all__ = ["METRICS", "EvaluationSpec", "check"]


class EvaluationSpec(EvaluateRequest):
    """One evaluation. `python -m quickalign.evaluate SPEC.json` runs it."""

    output: Path = Field(description="The evaluation's folder: report.json, report.html, and what was computed.")
