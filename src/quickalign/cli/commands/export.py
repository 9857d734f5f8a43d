"""`quickalign export`: a trained model as a folder that stands for itself."""

# ruff: noqa: PLC0415 - what takes long to import is imported by the command that needs it

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from quickalign.cli import arguments as take
from quickalign.cli import job_options as make
from quickalign.cli.terminal import messages, screen, write_json
from quickalign.core import spec_file
from quickalign.core.wire import exports
from quickalign.export.spec import ExportSpec

_ABOUT = {name: field.description for name, field in ExportSpec.model_fields.items()}
_DEFAULT = {name: field.default for name, field in ExportSpec.model_fields.items()}


def export(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=_ABOUT["model"])],
    output: Annotated[str, typer.Argument(metavar="FOLDER", help=f"{_ABOUT['output']} A server also writes to a URI.")],
    *,
    precision: Annotated[
        Literal["auto", "fp32", "bf16", "fp16"], typer.Option("--precision", help=_ABOUT["precision"])
    ] = "auto",
    compression: Annotated[exports.Compression, typer.Option("--compression", help=_ABOUT["compression"])] = "none",
    data: Annotated[str | None, typer.Option("--data", help=_ABOUT["data"], show_default=False)] = None,
    data_format: take.Format = "auto",
    rows: Annotated[int | None, typer.Option("--rows", min=1, help=_ABOUT["rows"], show_default=False)] = None,
    prompts: Annotated[int, typer.Option("--prompts", min=0, help=_ABOUT["prompts"])] = _DEFAULT["prompts"],
    answer_tokens: Annotated[int, typer.Option("--answer-tokens", min=1, help=_ABOUT["answer_tokens"])] = _DEFAULT[
        "answer_tokens"
    ],
    parity_limit: Annotated[
        float | None, typer.Option("--parity-limit", help=_ABOUT["parity_limit"], show_default=False)
    ] = None,
    license_name: Annotated[str | None, typer.Option("--license", help=_ABOUT["license"], show_default=False)] = None,
    local: make.Local = False,
    detach: make.Detach = False,
    name: make.Name = None,
    gpus: make.Gpus = None,
    priority: make.Priority = None,
    max_retries: make.Retries = None,
    label: make.Labels = None,
    json: take.AsJson = False,
) -> None:
    """Put the trained MODEL into FOLDER: one model that transformers, vLLM and `deploy` load, or a GGUF file.

    quickalign export runs/quickstart-1 my-model

    An adapter is merged into its full-precision base, never into a 4-bit one. What was stored is loaded again, a GGUF
    file by llama.cpp itself, and compared with what was trained on real rows; above the parity limit nothing is left.
    The folder carries tokenizer, template, generation settings, a model card and the SHA-256 of every file. The server
    of this home does it, and MODEL may be a job; --local does it here.
    """
    values = {
        "model": model,
        "precision": precision,
        "compression": compression,
        "data": data,
        "data_format": data_format,
        "rows": rows,
        "prompts": prompts,
        "answer_tokens": answer_tokens,
        "parity_limit": parity_limit,
        "license": license_name,
    }
    job = make.job_values(name, gpus, priority, max_retries, label)
    spec = spec_file.parse(ExportSpec, {**values, "output": output})
    if local:
        make.refuse_for_local(job, detach=detach)
        _run_here(spec, as_json=json)
    else:
        exports.check(spec)  # before a server is started for it
        _run_as_job(values, {**job, "output": output}, detach=detach, as_json=json)


def _run_as_job(values: dict[str, Any], job: dict[str, Any], *, detach: bool, as_json: bool) -> None:
    from quickalign.cli.connect import connect
    from quickalign.sdk import tasks
    from quickalign.sdk.inputs import submit

    session = connect()
    made = submit(session, tasks.export(session, values, job))
    if detach:
        make.show_made(made, as_json=as_json)
        return
    over = make.finish(session, made, as_json=as_json)
    from quickalign.cli.draw.tasks import exported_of, task_view

    if as_json:
        write_json(exported_of(over))
    else:
        screen().print(task_view(over))


def _run_here(spec: ExportSpec, *, as_json: bool) -> None:
    with messages().status("Starting", spinner="dots"):
        from quickalign.cli.draw.exported import exported_view
        from quickalign.cli.watch.here import run_here
        from quickalign.export.run import export as make_export
    run_here(make_export, spec, exported_view, as_json=as_json)
