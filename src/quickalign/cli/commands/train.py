"""`quickalign train`: one training run, as a job of the server or in this process."""

# ruff: noqa: PLC0415 - what takes long to import is imported by the command that needs it

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quickalign.cli import arguments as take
from quickalign.cli import job_options as make
from quickalign.cli.fields import with_hyperparameters
from quickalign.cli.terminal import messages, screen
from quickalign.core.distribution import check_distribution

if TYPE_CHECKING:
    from pathlib import Path

    from quickalign.core.spec import RunSpec
    from quickalign.core.wire.jobs import JobCreate
    from quickalign.sdk.session import Session
    from quickalign.train.observer import RunResult

Output = Annotated[
    str | None,
    typer.Option(
        "--output",
        help="Where results are copied at the end, a folder or a URI; they also stay with the job. With --local the "
        "run's folder, by default one in runs/ named after the model and the settings: the same command goes on where "
        "it stopped.",
        show_default=False,
    ),
]
Local = Annotated[bool, typer.Option("--local", help="Train in this process and this folder, without a server.")]
Resume = Annotated[
    bool | None,
    typer.Option(
        "--resume/--no-resume",
        help="With --local: go on from the last checkpoint of the same run (the default), or start afresh.",
        show_default=False,
    ),
]


@with_hyperparameters
def train(
    model: take.ModelOrJob,
    data: take.Data,
    *,
    output: Output = None,
    validation: take.Validation = None,
    data_format: take.Format = "auto",
    safe_rlhf_preference: take.Preference = "better",
    bad_rows: take.BadRowsOption = "error",
    resume: Resume = None,
    sample_prompt: take.SamplePrompts = None,
    sample_tokens: take.SampleTokens = 128,
    closing_rows: take.ClosingRows = 16,
    strategy: take.StrategyOption = "ddp",
    model_revision: take.Revision = None,
    local: Local = False,
    detach: make.Detach = False,
    name: make.Name = None,
    gpus: make.Gpus = None,
    workers: make.Workers = None,
    priority: make.Priority = None,
    max_retries: make.Retries = None,
    label: make.Labels = None,
    json: take.AsJson = False,
    options: dict[str, Any],
) -> None:
    """Train MODEL on DATA by DPO or SFT.

    quickalign train qwen2-0.5b-instruct pairs.json --training-strategy dpo

    The server of this home trains (it is started if need be), and the job is watched until it is over. Ctrl-C stops
    the watching and leaves the job alone; a job that crashes goes on from its last checkpoint. The data is checked and
    memory and time are predicted before the first step.

    With --local the run happens here instead: the same command goes on where it stopped, Ctrl-C stops after the current
    step and saves, and a second Ctrl-C stops at once.
    """
    values = {
        "model": model,
        "model_revision": model_revision,
        "train": data,
        "validation": validation,
        "data_format": data_format,
        "safe_rlhf_preference": safe_rlhf_preference,
        "bad_rows": bad_rows,
        "sample_prompts": tuple(sample_prompt or ()),
        "sample_tokens": sample_tokens,
        "closing_rows": closing_rows,
        "strategy": strategy,
    }
    job = {**make.job_values(name, gpus, priority, max_retries, label), "workers": workers}
    if local:
        make.refuse_for_local(job, detach=detach)
        again = "never" if resume is False else "auto"
        spec = take.make_spec(options, output=_folder(output), resume=again, **values)
        _run_as_json(spec) if json else _run_on_screen(spec)
        return
    make.refuse({"resume" if resume else "no-resume": resume}, "a job", "Add --local, or leave it out.")
    # impossible options are refused before a server is started for them
    spec = take.make_spec(options, output=None, **values)
    check_distribution(spec.strategy, spec.hyperparameters, workers or 1)
    _run_as_job(values, job, options, output, detach=detach, as_json=json)


def _run_as_job(
    values: dict[str, Any],
    job: dict[str, Any],
    options: dict[str, Any],
    output: str | None,
    *,
    detach: bool,
    as_json: bool,
) -> None:
    from quickalign.cli.connect import connect
    from quickalign.sdk.inputs import submit

    session = connect()
    made = submit(session, _request(session, values, job, options, output))
    if detach:
        make.show_made(made, as_json=as_json)
        return
    from quickalign.cli.watch.job import watch_job

    watch_job(session, made.id, as_json=as_json)


def _request(
    session: Session, values: dict[str, Any], job: dict[str, Any], options: dict[str, Any], output: str | None
) -> JobCreate:
    from quickalign.core.wire.jobs import JobCreate, TrainRequest
    from quickalign.sdk.checks import checked
    from quickalign.sdk.inputs import resolve_input, resolve_model, resolve_output

    sent = {**values, "model": resolve_model(session, values["model"]), "hyperparameters": options}
    for name in ("train", "validation"):
        if sent[name] is not None:
            sent[name] = resolve_input(session, sent[name])
    place = resolve_output(session, output) if output is not None else None
    asked = {"spec": checked(TrainRequest, sent), "output": place, **job}
    return checked(JobCreate, {key: value for key, value in asked.items() if value is not None})


def _folder(output: str | None) -> Path | None:
    """The folder of a run in this process.

    Raises:
        OptionError: it is on no disk of this machine.
    """
    from quickalign.core import storage
    from quickalign.core.errors import OptionError

    folder = storage.local_path(output) if output is not None else None
    if output is not None and folder is None:
        raise OptionError(
            f"--output {output} is a URI, and a run with --local writes to a folder.",
            "Name a folder, or leave --local out: the server copies results to a URI.",
        )
    return folder


def _run_as_json(spec: RunSpec) -> RunResult:
    from quickalign.cli.watch.events import JsonEvents
    from quickalign.train.run import run

    return run(spec, JsonEvents())


def _run_on_screen(spec: RunSpec) -> RunResult:
    from quickalign.cli.watch.observer import ConsoleObserver

    with messages().status("Starting", spinner="dots"):
        from quickalign.train.run import run
    with closing(ConsoleObserver(screen())) as observer:
        return run(spec, observer)
