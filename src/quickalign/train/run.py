"""One training run from its specification to its finished folder; needs no server.

output/
  spec.json            what was asked for
  data/                encoded rows
  checkpoints/         the last ones, to go on from
  metrics.jsonl        a line per optimiser step; evaluations.jsonl; tensorboard/
  adapter/ or model/   the trained weights with tokenizer, template and quickalign.json
  report.json, report.html
  result.json          written last: the run is finished
"""

from __future__ import annotations

import time
from collections.abc import Callable

from quickalign.core import atomic, disk
from quickalign.core.distribution import check_distribution, no_fp16
from quickalign.core.errors import OptionError, RunError
from quickalign.core.options import check_together
from quickalign.core.spec import RunSpec, dump
from quickalign.core.working_folder import working_folder
from quickalign.train import resume
from quickalign.train.distributed import Processes
from quickalign.train.finish import Finish, read_result
from quickalign.train.load import identity, load, whole_again
from quickalign.train.loop import Loop
from quickalign.train.observer import Observer, RunResult
from quickalign.train.plan import ensure_fits
from quickalign.train.prepare import Prepared, check_context, prepare_run
from quickalign.train.saved import Checkpoint
from quickalign.train.signals import never


def run(
    spec: RunSpec, observer: Observer | None = None, *, stop: Callable[[], bool] = never, patience: float = 0.0
) -> RunResult:
    """Train as `spec` says, going on from the last checkpoint where there is one.

    Args:
        spec: the run.
        observer: told what happens.
        stop: asked before each step whether to save and stop, besides the signals that say so.
        patience: seconds to wait for another process that is training in the same folder.

    Raises:
        OptionError: options that cannot be honoured here; DataError: rows that cannot be used; ModelError: no such
            model; CapacityError: it cannot fit; RunError: an invariant broke; FullDiskError: the disk is full;
            Interrupted: stopped, and saved.
    """
    processes = Processes()
    if not processes.is_main:
        return _run(spec, Observer(), processes, stop)
    taken = OptionError(
        f"Another process is training in {spec.output} right now.", "Wait for it, or name another --output."
    )
    with working_folder(spec.output, taken, patience=patience), disk.explained(spec.output):
        return _run(spec, observer or Observer(), processes, stop)


def _run(spec: RunSpec, observer: Observer, processes: Processes, stop: Callable[[], bool]) -> RunResult:
    began = time.perf_counter()
    checkpoint = processes.from_main(lambda: resume.last_checkpoint(spec))
    parameters = resume.with_choices(spec.hyperparameters, checkpoint)
    spec = spec.model_copy(update={"hyperparameters": parameters})
    check_distribution(spec.strategy, parameters, processes.world_size)
    begins = checkpoint is None  # one that began before something was refused goes on
    if begins:
        check_together(spec, parameters)
    data = spec.output / "data"
    prepared = prepare_run(spec, data, observer, processes, processes.world_size, begins=begins)
    if begins:
        check_context(prepared)
    ensure_fits(prepared.plan)
    _ensure_precision(prepared)
    if finished := _go_on(prepared, checkpoint, observer, processes):
        return finished
    if processes.is_main:
        atomic.write_text(spec.output / "spec.json", dump(spec))
    setup = load(prepared, observer, processes)
    finish = Finish(setup, prepared, observer)
    finish.answer_before()
    observer.phase("train")
    Loop(setup, observer, stop).run(checkpoint)
    earlier = checkpoint.state["seconds"] if checkpoint else 0.0
    seconds = earlier + time.perf_counter() - began
    finish.use(whole_again(setup, prepared))
    del setup  # with it what pieces of the weights there were
    finish.write(resumed_from=checkpoint.step if checkpoint else 0, seconds=seconds)
    result = processes.from_main(lambda: read_result(spec.output))
    if result is None:
        raise RunError(f"{spec.output} holds no result although the run ended; is it a shared folder?")
    observer.done(result)
    return result


def _ensure_precision(prepared: Prepared) -> None:
    if prepared.spec.strategy == "fsdp2" and prepared.plan.precision == "fp16":
        raise no_fp16(f"the best that {prepared.plan.device} has")


def _go_on(
    prepared: Prepared, checkpoint: Checkpoint | None, observer: Observer, processes: Processes
) -> RunResult | None:
    """Check that the checkpoint is of this run; returns the result where there is nothing left to do."""
    if checkpoint is None:
        return None
    resume.ensure_same_run(identity(prepared, processes), checkpoint)
    finished = processes.from_main(lambda: read_result(prepared.spec.output))
    if finished is None:
        observer.note(f"Going on from step {checkpoint.step} ({checkpoint.folder}).")
        return None
    observer.note(f"This run was finished already; {prepared.spec.output} stays as it is.")
    observer.done(finished)
    return finished
