"""What lm-eval says about a task: one number for each metric, and how sure it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class TaskResult(BaseModel):
    """One metric of one task."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: str
    metric: str = Field(description="As lm-eval calls it; with its filter behind a comma, where there is one.")
    value: float
    stderr: float | None = Field(description="Its standard error; None where lm-eval gives none.")
    samples: int | None = Field(description="How many questions of the task were asked.")
    higher_is_better: bool | None

    @property
    def name(self) -> str:
        """What limits call it."""
        return f"{self.task}:{self.metric}"


def read_results(content: dict[str, Any]) -> Iterator[TaskResult]:
    """The numbers in lm-eval's file of results, whose keys are `metric,filter` and `metric_stderr,filter`.

    Raises:
        KeyError, TypeError, AttributeError: it is no such file.
    """
    counts, directions = content.get("n-samples", {}), content.get("higher_is_better", {})
    for task, values in content["results"].items():
        for key, value in values.items():
            metric, comma, kind = key.partition(",")
            number = _number(value)
            if not comma or metric.endswith("_stderr") or number is None:
                continue
            yield TaskResult(
                task=task,
                metric=metric if kind == "none" else key,
                value=number,
                stderr=_number(values.get(f"{metric}_stderr,{kind}")),
                samples=counts.get(task, {}).get("effective"),
                higher_is_better=directions.get(task, {}).get(metric),
            )


def _number(value: Any) -> float | None:
    """A number; None for what lm-eval writes where there is none."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
