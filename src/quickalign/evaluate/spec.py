"""What one evaluation is asked to do: a JSON file, or the same as options of `quickalign eval`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints

from quickalign.core.errors import OptionError
from quickalign.core.wire import evaluations
from quickalign.core.wire.evaluations import METRICS, EvaluateRequest

_Task = Annotated[str, StringConstraints(pattern=r"^[^\s,]+$")]

__all__ = ["METRICS", "EvaluationSpec", "check"]


class EvaluationSpec(EvaluateRequest):
    """One evaluation. `python -m quickalign.evaluate SPEC.json` runs it.

    What concerns lm-eval is no part of a server's requests: tasks may bring code, which only their user may run.
    """

    output: Path = Field(description="The evaluation's folder: report.json, report.html, and what was computed.")
    lm_eval: tuple[_Task, ...] = Field(
        default=(), description="Tasks of lm-eval to run on the model, which is served for the purpose."
    )
    lm_eval_tasks: Path | None = Field(
        default=None, description="A folder of lm-eval's YAML files, for tasks that do not come with it."
    )
    lm_eval_limit: int = Field(
        default=0, ge=0, le=10**7, description="Ask the first so many questions of each task; 0 asks all."
    )
    lm_eval_chat: bool = Field(
        default=False, description="Ask as a chat, for tasks that generate; otherwise as plain text, which scores too."
    )


def check(spec: EvaluationSpec) -> None:
    """Refuse what cannot be honoured, before anything is loaded.

    Raises:
        OptionError: a limit for a figure that does not exist or will not be measured, or an option without effect.
    """
    evaluations.check(spec, tasks=spec.lm_eval)
    if spec.lm_eval:
        folder = spec.lm_eval_tasks
        if folder is not None and not folder.is_dir():
            raise OptionError(
                f"lm_eval_tasks names {folder}, which is no folder.", "Name the folder of the YAML files."
            )
        return
    for name in ("lm_eval_tasks", "lm_eval_limit", "lm_eval_chat"):
        if getattr(spec, name):
            raise OptionError(f"{name} has no effect without lm_eval.", "Name the tasks with lm_eval.")
