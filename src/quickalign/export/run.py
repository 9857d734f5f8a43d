"""One export from its specification to a folder that stands for itself.

The folder is made under a temporary name and renamed at the end, so a folder of the asked-for name is always whole and
its parity proven. A second call with the same specification finds it and does nothing; after an interruption it begins
again.
"""

from __future__ import annotations

import gc
from pathlib import Path

from torch import nn
from transformers import PreTrainedModel

from quickalign.core import atomic, disk, storage
from quickalign.core.errors import QualityError
from quickalign.core.hyperparameters import Quantization
from quickalign.core.wire import exports
from quickalign.export.describe import describe
from quickalign.export.gguf import writer
from quickalign.export.gguf.proof import prove
from quickalign.export.gguf.vocabulary import vocabulary_of
from quickalign.export.merge import load_trained, merged, save
from quickalign.export.parity import Behaviour, Parity, behave, compare
from quickalign.export.record import Exported, existing, exported
from quickalign.export.spec import Compression, ExportSpec
from quickalign.export.task import Task, prepare
from quickalign.train.device import find_device
from quickalign.train.model import DTYPES, load_base, stored_bytes
from quickalign.train.observer import Observer

_BITS: dict[Compression, Quantization] = {"int8": "8bit", "int4": "4bit"}


def export(spec: ExportSpec, observer: Observer) -> Exported:
    """Merge, store, prove, describe.

    Raises:
        ModelError: nothing that was trained here is in the folder, or its base is not to be had.
        OptionError: an option that cannot be honoured.
        ConflictError: the output folder holds something else.
        QualityError: the export's log-probabilities are too far from those of the trained model; nothing is left.
        StorageError: the disk is full.
    """
    exports.check(spec)
    observer.phase("model", spec.model)
    task = prepare(spec)
    if found := existing(task):
        observer.note(f"{spec.output} is this export already and stays as it is.")
        return found
    disk.demand(spec.output, task.bytes)
    storage.make_folder(spec.output.parent)
    atomic.remove_leftovers_of(spec.output)
    with disk.explained(spec.output), atomic.folder(spec.output) as folder:
        parity = _fill(task, folder, observer)
        describe(task, parity, folder)
    return exported(task, parity, made=True)


def _fill(task: Task, folder: Path, observer: Observer) -> Parity:
    """Write the weights into `folder`, load them again, and compare.

    Raises:
        QualityError: the parity limit is not kept, or llama.cpp does not read texts as training did.
    """
    observer.phase("load", f"{task.source}, fp32")
    model = load_trained(task.found)
    ends = task.encoder.stop_tokens(model)
    observer.phase("score", f"{len(task.rows):,} rows before the merge")
    before = _behaviour(task, model, ends, stored_bytes(model))
    observer.phase("merge", f"stored in {task.form}")
    whole = merged(model)
    del model
    if task.gguf_type is None:
        save(whole, folder, DTYPES[task.stored])
    else:
        _write_gguf(task, whole, ends, folder)
    del whole
    gc.collect()
    if task.spec.compression in _BITS:
        _compress(task, folder)
    observer.phase("score", f"{len(task.rows):,} rows of what was stored")
    parity = compare(before, _behaviour_of_stored(task, ends, folder), task.limit)
    observer.note(sentence(parity))
    if not parity.passed:
        raise QualityError(
            f"The export is {parity.largest_per_token:.3g} nats per token away from what was trained, and the limit "
            f"is {parity.limit:g}.",
            "Store it in more bits (--precision, --compression), or state another limit with --parity-limit.",
        )
    return parity


def sentence(parity: Parity) -> str:
    """The parity in a sentence."""
    same = f"; {parity.equal_answers} of {parity.prompts} greedy answers are the same" if parity.prompts else ""
    return (
        f"Largest difference of an answer's log-probability: {parity.largest_difference:.3g} nats, "
        f"{parity.largest_per_token:.3g} nats per token (limit {parity.limit:g}) over {parity.rows} rows{same}."
    )


def _behaviour(task: Task, model: nn.Module, ends: frozenset[int], size: int) -> Behaviour:
    return behave(model, task.rows, task.spec.prompts, task.spec.answer_tokens, ends, size)


def _behaviour_of_stored(task: Task, ends: frozenset[int], folder: Path) -> Behaviour:
    if task.gguf_type is not None:
        return prove(folder / writer.NAME, task.rows, task.spec.prompts, task.spec.answer_tokens, task.encoder, ends)
    stored = load_base(folder, dtype=DTYPES[task.stored], device=find_device().torch_device).eval()
    return _behaviour(task, stored, ends, sum(file.stat().st_size for file in folder.glob("*.safetensors")))


def _write_gguf(task: Task, model: PreTrainedModel, ends: frozenset[int], folder: Path) -> None:
    assert task.gguf_type is not None
    vocabulary = vocabulary_of(task.encoder.tokenizer, model.config.vocab_size, sorted(ends))
    about = {"name": task.name, "license": task.license}
    writer.write(model, vocabulary, folder / writer.NAME, task.gguf_type, about)


def _compress(task: Task, folder: Path) -> None:
    """Quantise the weights in `folder` in place."""
    model = load_base(
        folder,
        dtype=DTYPES[task.stored],
        quantization=_BITS[task.spec.compression],
        device=find_device().torch_device,
    )
    for file in folder.glob("*.safetensors*"):
        file.unlink()
    model.config.use_cache = True
    model.save_pretrained(folder)
