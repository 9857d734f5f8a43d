"""What a replica takes of its device, by its model's shape: known at once, without loading anything.

Weights in the precision they are computed in, plus the keys and values of `max_concurrency` answers of 2,048 tokens (or
of the whole context where that is shorter), plus 0.5 GB for the process.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from quickalign.core.errors import CapacityError, ModelError, OptionError
from quickalign.core.wire.services import RevisionSpec
from quickalign.hub.cards import card_or_none
from quickalign.hub.shape import ModelShape, read_shape
from quickalign.hub.source import resolve
from quickalign.platform.devices import Device
from quickalign.platform.services.sources import Frozen, base_of, trained_precision

_PROCESS_BYTES = 500_000_000
_ANSWER_TOKENS = 2048
BYTES = {"fp32": 4.0, "bf16": 2.0, "fp16": 2.0}
_WEIGHT_BYTES = {"int8": 1.05, "int4": 0.6}


class Size(NamedTuple):
    """A model's shape and number of weights, as far as they are known."""

    shape: ModelShape | None
    parameters: int


def gpus_of(asked: int | None, devices: Sequence[Device]) -> int:
    """GPUs of one replica.

    Raises:
        CapacityError: there is no GPU. OptionError: more GPUs than one replica can use.
    """
    cards = sum(device.kind == "cuda" for device in devices)
    wanted = min(cards, 1) if asked is None else asked
    if wanted > 1:
        raise OptionError(
            f"gpus={wanted} is not possible: a replica runs as one process, which uses one GPU.",
            "Set gpus to 1, or leave it out; replicas spread over GPUs.",
            field="gpus",
            value=wanted,
        )
    if wanted and not cards:
        raise CapacityError(
            "gpus=1 is not possible: this machine has no GPU that can be used.",
            "Leave gpus out to serve on the CPU.",
            field="gpus",
            value=wanted,
        )
    return wanted


def memory_of(spec: RevisionSpec, source: Frozen, gpus: int) -> int:
    """Bytes that one replica takes; no more than the process itself where the model's size is not known yet."""
    shape, parameters = size_of(source)
    precision = BYTES[precision_of(spec, source, gpus)]
    needed = _PROCESS_BYTES + parameters * _WEIGHT_BYTES.get(spec.weights, precision)
    if shape is not None:
        tokens = min(spec.context or shape.context_length, _ANSWER_TOKENS) * spec.max_concurrency
        needed += 2 * shape.layers * shape.kv_heads * shape.head_dim * precision * tokens
    return int(needed)


def check_room(
    memory_bytes: int, replicas: int, gpus: int, devices: Sequence[Device], shared_bytes: int | None = None
) -> None:
    """Refuse what can never fit, whoever else is there. Replicas on one device share `shared_bytes` of theirs.

    Raises:
        CapacityError: with what is needed and what there is.
    """
    kind = "cuda" if gpus else "cpu"
    mine = [device for device in devices if device.kind == kind]
    room = sum(_most(device.total_bytes, memory_bytes, shared_bytes or 0) for device in mine)
    if room >= replicas:
        return
    what = "the GPUs here have" if gpus else "this machine has"
    total = sum(device.total_bytes for device in mine)
    raise CapacityError(
        f"{replicas} replicas of {memory_bytes / 1e9:.1f} GB each can never fit: {what} {total / 1e9:.1f} GB."
        if replicas > 1
        else f"A replica needs about {memory_bytes / 1e9:.1f} GB, and {what} {total / 1e9:.1f} GB.",
        f"Ask for {room} replicas at most."
        if room
        else "Set weights=int8 or int4, a shorter context or a lower max_concurrency, or take a smaller model.",
        field="replicas" if room else "spec",
        value=replicas,
    )


def _most(total: int, memory_bytes: int, shared_bytes: int) -> int:
    """How many replicas a device of this memory holds."""
    return max(0, total - shared_bytes) // max(memory_bytes - shared_bytes, 1)


def precision_of(spec: RevisionSpec, source: Frozen, gpus: int) -> str:
    """What a replica computes in, as far as it is known before it starts: fp32, bf16 or fp16."""
    if spec.precision != "auto":
        return spec.precision
    folder = source.adapter_path or source.model_path
    trained = trained_precision(Path(folder)) if folder else None
    return trained if trained in BYTES else ("bf16" if gpus else "fp32")


def size_of(source: Frozen) -> Size:
    """The model's shape and number of weights, where its folder or its card says; nothing is fetched."""
    folder = Path(source.model_path) if source.model_path else None
    name = source.model
    if source.adapter_path and folder is None:
        name = base_of(Path(source.adapter_path)) or name
        folder = Path(name) if Path(name).is_absolute() else None
    card = card_or_none(name)
    try:
        if folder is None and card is not None and card.embedded:
            folder = resolve(name).path
        if folder is not None:
            shape = read_shape(folder)
            return Size(shape, shape.parameters)
    except ModelError:  # the replica says what is wrong with it
        return Size(None, 0)
    return Size(None, card.parameters if card else 0)
