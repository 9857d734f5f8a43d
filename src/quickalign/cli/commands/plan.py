"""`quickalign plan`: what a training run would need and do, without loading weights."""

# ruff: noqa: PLC0415 - what takes long to import is imported by the command that needs it

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from quickalign.cli import arguments as take
from quickalign.cli.fields import with_hyperparameters
from quickalign.cli.terminal import messages, screen, write_json
from quickalign.core.errors import CapacityError

if TYPE_CHECKING:
    from quickalign.core.spec import RunSpec
    from quickalign.train.ahead import Planned


Workers = Annotated[
    int, typer.Option("--workers", min=1, max=1024, help="Processes that would train together, on machines like this.")
]


@with_hyperparameters
def plan(
    model: take.Model,
    data: take.Data,
    *,
    output: take.Output = None,
    validation: take.Validation = None,
    data_format: take.Format = "auto",
    safe_rlhf_preference: take.Preference = "better",
    bad_rows: take.BadRowsOption = "error",
    sample_prompt: take.SamplePrompts = None,
    sample_tokens: take.SampleTokens = 128,
    closing_rows: take.ClosingRows = 16,
    model_revision: take.Revision = None,
    workers: Workers = 1,
    strategy: take.StrategyOption = "ddp",
    json: take.AsJson = False,
    options: dict[str, Any],
) -> None:
    """Predict memory and work of a training run, and say what was chosen for you.

    quickalign plan qwen2-7b-instruct pairs.json --training-strategy dpo

    Takes the options of a run that `train` takes, loads no weights and writes nothing. Exits with 6 where the run does
    not fit.
    """
    spec = take.make_spec(
        options,
        output=output,
        model=model,
        model_revision=model_revision,
        train=data,
        validation=validation,
        data_format=data_format,
        safe_rlhf_preference=safe_rlhf_preference,
        bad_rows=bad_rows,
        sample_prompts=tuple(sample_prompt or ()),
        sample_tokens=sample_tokens,
        closing_rows=closing_rows,
        strategy=strategy,
    )
    with messages().status("Planning", spinner="dots"):
        from quickalign.train.ahead import plan as make_plan

        planned = make_plan(spec, workers=workers)
    if json:
        reports = {"data_report": planned.report, "validation_report": planned.validation_report}
        write_json({"plan": planned.plan.to_json(), **reports})
    else:
        _show(spec, planned)
    if not planned.plan.fits:
        raise typer.Exit(CapacityError.exit_code)


def _show(spec: RunSpec, planned: Planned) -> None:
    from quickalign.cli.draw import data_report as data_view
    from quickalign.cli.draw import parts
    from quickalign.cli.draw.plan import plan_view

    console = screen()
    console.print(parts.heading("Data", spec.train), data_view.short(planned.report), "", sep="\n", crop=False)
    if planned.validation_report is not None:
        title = parts.heading("Validation data", spec.validation or "")
        console.print(title, data_view.short(planned.validation_report), "", sep="\n", crop=False)
    console.print(parts.heading("Plan", spec.model), plan_view(planned.plan), sep="\n")
