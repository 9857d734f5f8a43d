"""`quickalign eval`: how good a model is on data it was not trained on, against its base and against another model."""

# ruff: noqa: PLC0415 - what takes long to import is imported by the command that needs it

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any

import typer

from quickalign.cli import arguments as take
from quickalign.cli import job_options as make
from quickalign.cli.terminal import messages, screen, write_json
from quickalign.core import spec_file
from quickalign.core.errors import OptionError, QualityError
from quickalign.core.hyperparameters import Precision
from quickalign.evaluate.spec import EvaluationSpec, check

_ABOUT = {name: field.description for name, field in EvaluationSpec.model_fields.items()}
_DEFAULT = {name: field.default for name, field in EvaluationSpec.model_fields.items()}
_MORE = "Finer points"
_TASKS = "Tasks of lm-eval"


def evaluate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=_ABOUT["model"])],
    data: Annotated[str, typer.Argument(metavar="DATA", help=_ABOUT["data"])],
    *,
    base: Annotated[str | None, typer.Option("--base", help=_ABOUT["base"], show_default=False)] = None,
    against: Annotated[str | None, typer.Option("--against", help=_ABOUT["against"], show_default=False)] = None,
    fail_below: Annotated[
        list[str] | None,
        typer.Option(
            "--fail-below",
            metavar="FIGURE=VALUE",
            help="End with exit code 13 where a figure is below VALUE, or a check of soundness fails; may be repeated.",
            show_default=False,
        ),
    ] = None,
    fail_above: Annotated[
        list[str] | None,
        typer.Option(
            "--fail-above", metavar="FIGURE=VALUE", help="The same where a figure is above VALUE.", show_default=False
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            help="Where the report is copied at the end; it also stays with the job. With --local the evaluation's "
            "folder, by default one in evaluations/ named after the model and the settings: the same command goes on "
            "where it stopped.",
            show_default=False,
        ),
    ] = None,
    prompts: Annotated[int, typer.Option("--prompts", min=0, help=_ABOUT["prompts"])] = _DEFAULT["prompts"],
    answer_tokens: Annotated[int, typer.Option("--answer-tokens", min=1, help=_ABOUT["answer_tokens"])] = _DEFAULT[
        "answer_tokens"
    ],
    rows: Annotated[int, typer.Option("--rows", min=0, help=_ABOUT["rows"])] = _DEFAULT["rows"],
    data_format: take.Format = "auto",
    safe_rlhf_preference: take.Preference = "better",
    bad_rows: take.BadRowsOption = "error",
    kl_rows: Annotated[int, typer.Option("--kl-rows", min=0, help=_ABOUT["kl_rows"], rich_help_panel=_MORE)] = _DEFAULT[
        "kl_rows"
    ],
    seq_length: Annotated[
        int | None,
        typer.Option("--seq-length", min=8, help=_ABOUT["seq_length"], show_default=False, rich_help_panel=_MORE),
    ] = None,
    system_prompt: Annotated[
        str | None,
        typer.Option("--system-prompt", help=_ABOUT["system_prompt"], show_default=False, rich_help_panel=_MORE),
    ] = None,
    precision: Annotated[
        Precision, typer.Option("--precision", help=_ABOUT["precision"], rich_help_panel=_MORE)
    ] = "auto",
    confidence: Annotated[
        float, typer.Option("--confidence", min=0.5, max=0.999, help=_ABOUT["confidence"], rich_help_panel=_MORE)
    ] = _DEFAULT["confidence"],
    resamples: Annotated[
        int, typer.Option("--resamples", min=100, help=_ABOUT["resamples"], rich_help_panel=_MORE)
    ] = _DEFAULT["resamples"],
    seed: Annotated[int, typer.Option("--seed", min=0, help=_ABOUT["seed"], rich_help_panel=_MORE)] = _DEFAULT["seed"],
    lm_eval: Annotated[
        str | None,
        typer.Option(
            "--lm-eval",
            metavar="TASK[,TASK]",
            help=f"{_ABOUT['lm_eval']} With --local; limits name its numbers as TASK:METRIC.",
            show_default=False,
            rich_help_panel=_TASKS,
        ),
    ] = None,
    lm_eval_tasks: Annotated[
        Path | None,
        typer.Option(
            "--lm-eval-tasks",
            metavar="FOLDER",
            help=_ABOUT["lm_eval_tasks"],
            show_default=False,
            rich_help_panel=_TASKS,
        ),
    ] = None,
    lm_eval_limit: Annotated[
        int, typer.Option("--lm-eval-limit", min=0, help=_ABOUT["lm_eval_limit"], rich_help_panel=_TASKS)
    ] = 0,
    lm_eval_chat: Annotated[
        bool, typer.Option("--lm-eval-chat", help=_ABOUT["lm_eval_chat"], rich_help_panel=_TASKS)
    ] = False,
    local: make.Local = False,
    detach: make.Detach = False,
    name: make.Name = None,
    gpus: make.Gpus = None,
    priority: make.Priority = None,
    max_retries: make.Retries = None,
    label: make.Labels = None,
    json: take.AsJson = False,
) -> None:
    """Measure MODEL on DATA: preference accuracy, margin, divergence from the base, and what its answers look like.

    quickalign eval runs/quickstart-1 heldout.json --fail-below accuracy=0.7

    Every figure has an interval, the report says whether the model is sound, and --against compares two models row by
    row. The server of this home evaluates, and MODEL may be a job; --local does it here, and what an interrupted call
    computed is found again by the next one.
    """
    values = {
        "model": model,
        "data": data,
        "base": base,
        "against": against,
        "data_format": data_format,
        "safe_rlhf_preference": safe_rlhf_preference,
        "bad_rows": bad_rows,
        "rows": rows,
        "prompts": prompts,
        "answer_tokens": answer_tokens,
        "kl_rows": kl_rows,
        "seq_length": seq_length,
        "system_prompt": system_prompt,
        "precision": precision,
        "confidence": confidence,
        "resamples": resamples,
        "seed": seed,
        "fail_below": _limits("--fail-below", fail_below),
        "fail_above": _limits("--fail-above", fail_above),
    }
    tasks = {
        "lm_eval": () if lm_eval is None else tuple(task.strip() for task in lm_eval.split(",")),
        "lm_eval_tasks": lm_eval_tasks,
        "lm_eval_limit": lm_eval_limit,
        "lm_eval_chat": lm_eval_chat,
    }
    job = make.job_values(name, gpus, priority, max_retries, label)
    spec = _spec({**values, **tasks}, output)
    if local:
        make.refuse_for_local(job, detach=detach)
        run(spec, as_json=json)
        return
    check(spec)  # an impossible limit is refused before a server is started for it
    if spec.lm_eval:
        raise OptionError(
            "--lm-eval runs another program with tasks that may bring code, which no server does for others.",
            "Add --local.",
        )
    _run_as_job(values, {**job, "output": output}, detach=detach, as_json=json)


def _run_as_job(values: dict[str, Any], job: dict[str, Any], *, detach: bool, as_json: bool) -> None:
    from quickalign.cli.connect import connect
    from quickalign.sdk.inputs import submit
    from quickalign.sdk.tasks import evaluation

    session = connect()
    made = submit(session, evaluation(session, values, job))
    if detach:
        make.show_made(made, as_json=as_json)
        return
    try:
        make.finish(session, made, as_json=as_json)
    except QualityError:
        _show(session.jobs.artifact(made.id, "report.json"), as_json=as_json)
        raise
    _show(session.jobs.artifact(made.id, "report.json"), as_json=as_json)


def _show(content: bytes, *, as_json: bool) -> None:
    from quickalign.cli.draw.evaluation import evaluation_view
    from quickalign.evaluate.report.model import EvaluationReport

    report = EvaluationReport.model_validate_json(content)
    if as_json:
        write_json(report)
    else:
        screen().print(evaluation_view(report))


def run(spec: EvaluationSpec, *, as_json: bool) -> None:
    """Evaluate, show, and end with an error where a limit is not kept."""
    check(spec)
    with messages().status("Starting", spinner="dots"):
        from quickalign.evaluate.run import demand_limits, evaluate
    if as_json:
        from quickalign.train.observer import Observer

        report = evaluate(spec, Observer())
        write_json(report)
    else:
        from quickalign.cli.draw.evaluation import evaluation_view
        from quickalign.cli.watch.observer import ConsoleObserver

        console = screen()
        observer = ConsoleObserver(console)
        try:
            report = evaluate(spec, observer)
        finally:
            observer.close()
        console.print(evaluation_view(report))
    demand_limits(report)


def _spec(values: dict[str, Any], output: str | None) -> EvaluationSpec:
    spec = spec_file.parse(EvaluationSpec, {**values, "output": output or Path()})
    if output is not None:
        return spec
    asked = spec.model_dump_json(exclude={"output", "fail_below", "fail_above"})
    name = Path(spec.model.rstrip("/")).name or "model"
    digest = hashlib.sha256(asked.encode()).hexdigest()[:6]
    return spec.model_copy(update={"output": Path("evaluations") / f"{name}-{digest}"})


def _limits(option: str, given: list[str] | None) -> dict[str, float]:
    found = {}
    for name, text in take.pairs(option, given).items():
        try:
            found[name] = float(text)
        except ValueError:
            raise OptionError(f"{option} {name}={text!r} is no number.", f"Write it as {option} {name}=0.7.") from None
    return found
