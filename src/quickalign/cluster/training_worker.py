"""What each worker of a run does once Ray Train has connected them: the same run as `python -m quickalign.train`."""

# ruff: noqa: PLC0415 - PyTorch is loaded by workers, not by the program that names this function to them

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from quickalign.cluster.training_link import TrainingLink
from quickalign.core import disk
from quickalign.core import spec as specs
from quickalign.core.errors import Interrupted, QuickalignError

PATIENCE_SECONDS = 60.0
"""How long workers wait for those before them to let go of the run's folder: Ray kills a group without waiting."""


def work(config: dict[str, Any]) -> None:
    """Train as the driver says; `config` names its link and the specification.

    Raises:
        QuickalignError: the run cannot go on; the driver has been told.
    """
    link = TrainingLink(Path(config["link"]), config["token"])
    link.watch()
    link.take_environment()
    os.chdir(config["folder"])
    spec = specs.load(Path(config["spec"]))
    try:
        with disk.explained(spec.output):
            if os.environ["RANK"] == "0":
                _run_and_tell(spec, link)
            else:
                from quickalign.train.run import run

                run(spec, stop=link.is_stop_asked, patience=PATIENCE_SECONDS)
    except QuickalignError as error:
        from quickalign.train.journal import leave_error

        leave_error(spec.output, error)
        link.fail(error)
        if not isinstance(error, Interrupted):  # all workers stop at the same step, and none waits for another
            raise


def _run_and_tell(spec: specs.RunSpec, link: TrainingLink) -> None:
    from quickalign.train.journal import Journal
    from quickalign.train.lines import Lines
    from quickalign.train.observer import Observers
    from quickalign.train.run import run

    with link.lines() as stream:
        observer = Observers(Lines(stream), Journal(spec.output))
        starts = link.begin()
        if starts > 1:
            observer.warning(f"Workers were lost; this is start {starts} of all, from the last checkpoint on.")
        run(spec, observer, stop=link.is_stop_asked, patience=PATIENCE_SECONDS)
