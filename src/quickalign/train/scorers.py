"""Which scorer and which reference a run uses: the plan's decisions, turned into objects."""

from __future__ import annotations

from quickalign.core.errors import OptionError
from quickalign.core.hyperparameters import Hyperparameters
from quickalign.data.encode import EncodedRow
from quickalign.train.answer import adapter_off
from quickalign.train.distributed import Processes
from quickalign.train.model import Policy, autocast
from quickalign.train.observer import Observer
from quickalign.train.plan import ensure_fits
from quickalign.train.prepare import Prepared, padded
from quickalign.train.scoring.base import Scorer
from quickalign.train.scoring.cache import ReferenceCache
from quickalign.train.scoring.cached import CachedReference, precompute
from quickalign.train.scoring.choose import choose_scorer
from quickalign.train.scoring.reference import LiveReference, Reference
from quickalign.train.settle import refuse_padded

ROWS_AT_ONCE = 64
# Another number whenever micro-batches are laid out otherwise, and what they compute rounds otherwise.
_LAYOUT = "4"


def make_scorer(
    policy: Policy, prepared: Prepared, processes: Processes, observer: Observer
) -> tuple[Scorer, Prepared]:
    """The scorer that the plan decided on, and the run.

    Where the model turns out not to allow packing: the plain scorer, said aloud, and the run as planned with that.

    Raises:
        OptionError: packed rows, or what needs them, were asked for and the model does not allow them.
        CapacityError: padded rows do not fit.
    """
    parameters, tokenizer = prepared.spec.hyperparameters, prepared.tokenizer
    pad_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    scorer, reason = choose_scorer(
        policy.model,
        token_budget=prepared.plan.token_budget if prepared.plan.packing else 0,
        rows_per_micro=parameters.per_device_train_batch_size,
        longest_row=prepared.data.longest_row,
        pad_id=int(pad_id or 0),
        device=processes.device,
        graphs=prepared.plan.cuda_graphs,
        tell=lambda reason: run_without_graphs(parameters, observer, reason),
    )
    if reason and prepared.plan.packing:
        refuse_padded(parameters, reason)
        observer.note(f"Rows are padded, not packed: {reason}.")
        prepared = padded(prepared, processes.world_size)
        observer.plan(prepared.plan)
        ensure_fits(prepared.plan)
    return scorer, prepared


def run_without_graphs(parameters: Hyperparameters, observer: Observer, reason: str) -> None:
    """Say that passes run as they are because they cannot be recorded as CUDA graphs, for `reason`.

    Raises:
        OptionError: recording was asked for by hand.
    """
    if parameters.cuda_graphs == "on":
        raise OptionError(
            f"cuda_graphs='on' is not possible: passes cannot be recorded: {reason}.",
            "Set cuda_graphs to auto or off; the results are the same.",
        )
    observer.warning(f"Passes cannot be recorded as CUDA graphs and run as they are, with the same results: {reason}")


def make_reference(
    policy: Policy, scorer: Scorer, prepared: Prepared, processes: Processes, observer: Observer
) -> Reference | None:
    """Where reference log-probs come from; None for objectives without a reference.

    An adapter is switched off, live or once per row. Full fine-tuning changes the model itself, so all rows are scored
    first; what is in the cache already is not computed again. So are those of weights that will be cut into pieces:
    then all processes must compute at the same time, and which rows are in the cache differs between them.
    """
    if prepared.spec.hyperparameters.reference_free:
        return None
    if policy.adapter and prepared.plan.reference == "live":
        return LiveReference(scorer)
    cache = ReferenceCache()
    identity = _cache_identity(prepared, scorer, processes)
    write = cache.has_room()
    if not write:
        observer.warning(f"The reference cache {cache.folder} is full; nothing is added to it in this run.")
    if policy.adapter and prepared.spec.strategy == "ddp":
        several = processes.world_size > 1
        return CachedReference(
            LiveReference(scorer),
            cache.open(identity),
            write=write and processes.is_main,
            gather=processes.gather if several else None,
        )
    observer.phase("reference", "log-probs of all rows under the model as it is")
    rows = _all_rows(prepared)
    # Each process scores its share; without a cache on disk to meet in, each scores all.
    mine = rows[processes.rank :: processes.world_size] if write else rows
    with autocast(policy, processes.device), adapter_off(policy.model):
        reference = precompute(
            policy.model,
            scorer,
            cache.open(identity),
            mine,
            rows_per_batch=ROWS_AT_ONCE,
            progress=lambda done, total: observer.progress("reference", done, total),
            write=write,
        )
    processes.barrier()
    return CachedReference(None, cache.open(identity)) if write and processes.world_size > 1 else reference


def _cache_identity(prepared: Prepared, scorer: Scorer, processes: Processes) -> dict[str, str]:
    """What reference log-probs depend on besides the tokens, to the last bit.

    The order of the rows belongs to it: other micro-batches would round differently, and then a run's weights would
    depend on which runs were there before it.
    """
    parameters, plan = prepared.spec.hyperparameters, prepared.plan
    rows = plan.token_budget if plan.packing else parameters.per_device_train_batch_size
    found = {
        "model": prepared.source.fingerprint,
        "precision": plan.precision,
        "quantization": parameters.quantization,
        "scoring": f"{type(scorer).__name__}/{rows}",
        "layout": _LAYOUT,
        "data": prepared.data.train.fingerprint,
        "order": f"seed {parameters.seed}, {parameters.rows_per_step} x {processes.world_size}",
    }
    # with pieces an adapter's reference is computed beforehand, in micro-batches of another cut
    return found if prepared.spec.strategy == "ddp" else found | {"strategy": prepared.spec.strategy}


def _all_rows(prepared: Prepared) -> list[EncodedRow]:
    validation = prepared.data.validation
    return [*prepared.data.train, *(validation if validation is not None else ())]
