"""Everything about a run that is known before weights are loaded: the model's folder, the encoded data, the plan."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from transformers import PreTrainedTokenizerBase

from quickalign.core.errors import ModelError, OptionError
from quickalign.core.spec import RunSpec
from quickalign.data.tokenizer import load_tokenizer
from quickalign.hub import source as hub
from quickalign.hub.shape import DTYPE_BYTES, ModelShape, read_shape
from quickalign.train.data import RunData, prepare_data
from quickalign.train.device import Device, find_device, try_triton
from quickalign.train.distributed import Processes
from quickalign.train.manifest import base_of, is_adapter
from quickalign.train.observer import Observer
from quickalign.train.plan import Plan, make_plan
from quickalign.train.targets import check_names
from quickalign.train.trained import tokenizer_folder, trained_folder


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
    merges: bool = True,
) -> Prepared:
    """Find the model, encode the data into `folder`, and plan for so many `workers`, each on `device` or the one here.

    A run that does not begin but goes on is not refused for an option without effect: it may be older than that rule.
    Unless `merges`, an adapter to start from is not merged into its base, which takes the time and the room of a model.

    Raises:
        ModelError, DataError, StorageError, OptionError: with the reason.
    """
    observer.phase("model", spec.model)
    source, tokenizer_place, shape = _find_start(spec, observer, processes, merges=merges)
    tokenizer = load_tokenizer(tokenizer_place)
    data = prepare_data(spec, tokenizer, folder, observer, processes, begins=begins)
    device = device or try_triton(find_device())
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


class _Start(NamedTuple):
    """What a run starts from: the base, the folder of its tokenizer, and its shape."""

    source: hub.ModelSource
    tokenizer: Path
    shape: ModelShape


def _find_start(spec: RunSpec, observer: Observer, processes: Processes, *, merges: bool) -> _Start:
    """The base on this machine, downloaded by the main process only; an adapter is merged into its own base, or where
    it is not, its base described as it would be."""

    def find() -> _Start:
        folder = _trained(spec.model)
        if folder is None and spec.model.startswith(("job-", "ft:")) and not Path(spec.model).exists():
            raise ModelError(
                f"{spec.model} names a job, and only the server knows its jobs.",
                "Name the folder of what it trained, which `quickalign jobs show` tells.",
            )
        if folder is None or not is_adapter(folder):
            return _whole(hub.resolve(str(folder or spec.model), spec.model_revision, observer.progress))
        observer.note(f"{spec.model} is an adapter; training starts from it, merged into its base.")
        if spec.model_revision is not None:
            raise ModelError(
                f"{folder} is a local folder, so the revision {spec.model_revision!r} has no meaning.",
                "Leave the revision out.",
            )
        if not merges:
            base = base_of(folder)
            shape = read_shape(base.path)
            in_fp32 = replace(shape, dtype="float32", stored_bytes=shape.parameters * DTYPE_BYTES["float32"])
            return _Start(base, tokenizer_folder(folder, base.path), in_fp32)
        from quickalign.train.merge import merged_base  # noqa: PLC0415 - loads models, which takes seconds to import

        return _whole(hub.resolve(str(merged_base(folder))))

    return processes.main_first(find)


def _whole(source: hub.ModelSource) -> _Start:
    return _Start(source, source.path, read_shape(source.path))
