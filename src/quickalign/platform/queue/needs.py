"""What a job takes, by its model's card: known at once, without loading anything."""

from pathlib import Path

from quickalign.core.errors import CapacityError, ModelError, OptionError
from quickalign.core.hyperparameters import Hyperparameters
from quickalign.core.wire.jobs import Resources
from quickalign.hub.cards import card_or_none
from quickalign.hub.shape import read_shape
from quickalign.platform.devices import Device

_COPIES, _BYTES, _PROCESS_BYTES = 2, 4, 500_000_000


def resources(
    model: str, parameters: Hyperparameters, gpus: int | None, devices: tuple[Device, ...], pieces: int = 1
) -> Resources:
    """GPUs and device memory of each process of a training job; no memory is reserved for a model without a card.

    `pieces` is into how many the weights are cut over the processes; each still loads the base whole.

    Raises:
        CapacityError: no device here can ever hold it.
        OptionError: more GPUs than one run can use.
    """
    wanted = wanted_gpus(gpus, devices)
    needed = _memory(model, parameters)
    if pieces > 1:
        needed = max(needed // pieces, (_BYTES if parameters.lora_dim == 0 else _BYTES // 2) * _weights(model))
    remedy = "Set load_in_4bit=true with lora_dim above 0, or take a smaller model."
    _check_room(model, f"by {parameters.method}", needed, wanted, devices, remedy)
    return Resources(gpus=wanted, memory_bytes=needed)


def for_two_copies(model: str, gpus: int | None, devices: tuple[Device, ...]) -> Resources:
    """GPUs and device memory of a job that evaluates or exports: the model twice in fp32, as a model with its base or
    before and after a merge, and 0.5 GB for the process; no memory is reserved where no card or folder tells the size.

    Raises:
        CapacityError: no device here can ever hold it.
        OptionError: more GPUs than one program can use.
    """
    wanted = wanted_gpus(gpus, devices)
    weights = _weights(model)
    needed = _COPIES * _BYTES * weights + _PROCESS_BYTES if weights else 0
    _check_room(model, "twice in fp32", needed, wanted, devices, "Take a larger machine, or a smaller model.")
    return Resources(gpus=wanted, memory_bytes=needed)


def wanted_gpus(gpus: int | None, devices: tuple[Device, ...]) -> int:
    """How many GPUs a job takes that asks for `gpus`, or says nothing.

    Raises:
        CapacityError: there are none. OptionError: more than one program can use.
    """
    cards = [device for device in devices if device.kind == "cuda"]
    wanted = min(len(cards), 1) if gpus is None else gpus
    if wanted > 1:
        raise OptionError(
            f"gpus={wanted} is not possible: a job runs as one process, which uses one GPU.",
            "Set gpus to 1, or leave it out.",
            field="gpus",
            value=wanted,
        )
    if wanted and not cards:
        raise CapacityError(
            "gpus=1 is not possible: this machine has no GPU that can be used.",
            "Leave gpus out to train on the CPU.",
            field="gpus",
            value=wanted,
        )
    return wanted


def _check_room(model: str, how: str, needed: int, gpus: int, devices: tuple[Device, ...], remedy: str) -> None:
    kind = "cuda" if gpus else "cpu"
    room = max(device.most_bytes for device in devices if device.kind == kind)
    if needed > room:
        place = "the largest GPU here has" if gpus else "this machine has"
        raise CapacityError(
            f"{model} {how} needs about {needed / 1e9:.1f} GB, and {place} {room / 1e9:.1f} GB.",
            remedy,
            field="spec.model",
            value=model,
        )


def _weights(model: str) -> int:
    """The number of weights, by the model's card or its folder; 0 where neither tells."""
    card = card_or_none(model)
    if card is not None:
        return card.parameters
    folder = Path(model).expanduser()
    try:
        if folder.is_absolute() and (folder / "config.json").is_file():
            return read_shape(folder).parameters
    except ModelError:  # the program says what is wrong with it
        return 0
    return 0


def _memory(model: str, parameters: Hyperparameters) -> int:
    card = card_or_none(model)
    if card is None:
        return 0
    try:
        return int(card.needs[parameters.method] * 1e9)
    except (ModelError, KeyError):
        return 0
