"""Everything about a run that is known before weights are loaded: the model's folder, the encoded data, the plan."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from quickalign.core.errors import OptionError
from quickalign.core.spec import RunSpec
from quickalign.data.tokenizer import load_tokenizer
from quickalign.hub import source as hub
from quickalign.hub.shape import ModelShape, read_shape
from quickalign.train.data import RunData, prepare_data
from quickalign.train.device import Device, find_device, try_triton
from quickalign.train.distributed import Processes
from quickalign.train.manifest import is_adapter
from quickalign.train.observer import Observer
from quickalign.train.plan import Plan, make_plan
from quickalign.train.targets import check_names
from quickalign.train.trained import trained_folder


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run without its weights. `begins` says that it does not go on from a checkpoint."""

    spec: RunSpec
    source: hub.ModelSource
    shape: ModelShape
    tokenizer: PreTrainedTokenizerBase
    data: RunData
    device: Device
    plan: Plan
    begins: bool


def prepare_run(
    spec: RunSpec,
    folder: Path,
    observer: Observer,
    processes: Processes,
    workers: int,
    *,
    begins: bool = True,
    device: Device | None = None,
) -> Prepared:
    """Find the model, encode the data into `folder`, and plan for so many `workers`, each on `device` or the one here.

    A run that does not begin but goes on is not refused for an option without effect: it may be older than that rule.

    Raises:
        ModelError, DataError, StorageError, OptionError: with the reason.
    """
    observer.phase("model", spec.model)
    source = _find_model(spec, observer, processes)
    tokenizer = load_tokenizer(source.path)
    data = prepare_data(spec, tokenizer, folder, observer, processes, begins=begins)
    device = device or try_triton(find_device())
    shape = read_shape(source.path)
    if begins:
        check_names(spec.hyperparameters, shape, source.path)
    observer.phase("plan")
    rows = data.train
    made = make_plan(spec, shape, rows.lengths, device, world_size=workers, beginning=rows.beginning)
    observer.plan(made)
    return Prepared(spec, source, shape, tokenizer, data, device, made, begins)


def padded(prepared: Prepared, world_size: int) -> Prepared:
    """The same run with padded rows, for a model that turned out to take no packed ones: planned anew, but for whether
    activations are recomputed, because it is loaded already.

    Raises:
        OptionError: an option that was set by hand cannot be honoured with padded rows.
    """
    checkpointing = "on" if prepared.plan.gradient_checkpointing else "off"
    changes = {"packing": "off", "token_budget": 0, "gradient_checkpointing": checkpointing}
    parameters = prepared.spec.hyperparameters.model_copy(update=changes)
    spec = prepared.spec.model_copy(update={"hyperparameters": parameters})
    made = make_plan(spec, prepared.shape, prepared.data.train.lengths, prepared.device, world_size=world_size)
    return replace(prepared, plan=made)


def check_context(prepared: Prepared) -> None:
    """Refuse rows beyond the positions that the model knows: none of them is served, and scores there mean nothing.

    Raises:
        OptionError: with the seq_length that the model allows.
    """
    longest, known = prepared.data.longest_row, prepared.shape.context_length
    if longest > known:
        asked = prepared.spec.hyperparameters.seq_length
        raise OptionError(
            f"The longest row has {longest} tokens at seq_length={asked}, and {prepared.spec.model} was made for "
            f"{known} at most.",
            f"Set seq_length to {known} or less; what is longer is then cut and counted.",
            field="hyperparameters",
            value=asked,
        )


def _trained(model: str) -> Path | None:
    """The folder of trained weights that `model` names: its own, or in the folder of a run, unless it is a bare name,
    which may be a card's."""
    try:
        path = Path(model).expanduser()
        return path if is_adapter(path) else trained_folder(path) if "/" in model else None
    except (OSError, RuntimeError):  # finding the model says what is wrong with the path
        return None


def _find_model(spec: RunSpec, observer: Observer, processes: Processes) -> hub.ModelSource:
    """The base on this machine, downloaded by the main process only; an adapter is merged into its own base."""

    def find() -> hub.ModelSource:
        model = spec.model
        folder = _trained(model)
        if folder is not None and not is_adapter(folder):
            model = str(folder)
        elif folder is not None:
            from quickalign.train.merge import merged_base  # noqa: PLC0415 - loads models, which takes seconds to import

            observer.note(f"{model} is an adapter; training starts from it, merged into its base.")
            model = str(merged_base(folder))
        return hub.resolve(model, spec.model_revision, observer.progress)

    return processes.main_first(find)
