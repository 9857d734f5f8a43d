"""What a run would need and do, known before it: without weights, and without what trains them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import NamedTuple

from quickalign.core.distribution import check_distribution
from quickalign.core.options import check_together
from quickalign.core.spec import RunSpec
from quickalign.data.report import DataReport
from quickalign.train.device import Device
from quickalign.train.distributed import Processes
from quickalign.train.observer import Observer
from quickalign.train.plan import Plan
from quickalign.train.prepare import check_context, prepare_run


class Planned(NamedTuple):
    """What is known of a run before it: the plan, and what was found in the data and in the validation file."""

    plan: Plan
    report: DataReport
    validation_report: DataReport | None


def plan(
    spec: RunSpec, observer: Observer | None = None, *, workers: int | None = None, device: Device | None = None
) -> Planned:
    """What `run(spec)` would need and do in `workers` processes, each on a `device` that may be another machine's.

    It loads no weights and leaves nothing behind.

    Raises:
        QuickalignError: for the same reasons as `run`, except that a plan that does not fit is returned.
    """
    processes = Processes()
    workers = workers or processes.world_size
    check_distribution(spec.strategy, spec.hyperparameters, workers)
    check_together(spec, spec.hyperparameters)
    with tempfile.TemporaryDirectory(prefix="quickalign-plan-") as folder:
        seen = observer or Observer()
        prepared = prepare_run(spec, Path(folder), seen, processes, workers, device=device, merges=False)
        check_context(prepared)
        return Planned(prepared.plan, prepared.data.report, prepared.data.validation_report)
