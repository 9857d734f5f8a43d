"""`quickalign deploy`: a finished job, a run's folder or a model becomes a service."""

# ruff: noqa: PLC0415 - what takes long to import is imported by the command that needs it

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from quickalign.cli import arguments as take
from quickalign.cli import service_options as serve
from quickalign.cli.connect import connect
from quickalign.cli.terminal import screen, write_json


@serve.with_service_options
def deploy(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A job's id or its model's `ft:` id, the folder of a run, an adapter or a model, a model card, or a "
            "repository.",
        ),
    ],
    *,
    name: Annotated[
        str | None, typer.Option("--name", help="The service's name; made of SOURCE when missing.", show_default=False)
    ] = None,
    adapter: serve.Adapter = None,
    checkpoint: serve.Checkpoint = None,
    model_revision: serve.ModelRevision = None,
    replicas: Annotated[
        int | None, typer.Option("--replicas", min=1, max=64, help="Processes that answer.", show_default=False)
    ] = None,
    gpus: Annotated[
        int | None,
        typer.Option(
            "--gpus", min=0, max=64, help="GPUs of each replica; one, where the server has any.", show_default=False
        ),
    ] = None,
    label: serve.Labels = None,
    detach: serve.Detach = False,
    json: take.AsJson = False,
    options: dict[str, Any],
) -> None:
    """Make SOURCE a service with an OpenAI-compatible endpoint, and wait until it answers.

    quickalign deploy runs/first --name first

    Before it counts as running, its prompts, weights and greedy answers are compared with those of training.
    """
    from quickalign.sdk.service_request import name_from, resolve_source, service_request

    fields = {"checkpoint": checkpoint, **serve.fields_of(options, anew=True)}
    labels = take.pairs("--label", label)
    session = connect()
    named = name or name_from(source.rstrip("/").rpartition("/")[2])
    served = {**resolve_source(session, source, adapter), "model_revision": model_revision or None}
    request = service_request(named, served, fields, replicas=replicas, gpus=gpus, labels=labels)
    began = time.monotonic()
    service = session.services.create(request)
    if not detach:
        from quickalign.cli.watch.service import watch_service
        from quickalign.sdk.service_wait import answers

        service = watch_service(session, service, answers)
    if json:
        write_json(service)
        return
    from quickalign.cli.draw.services import ready_view, state_line

    if detach:
        screen().print(state_line(service), soft_wrap=True)
    else:
        screen().print(ready_view(service, session.endpoint, time.monotonic() - began))
