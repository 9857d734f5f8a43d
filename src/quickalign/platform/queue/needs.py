"""What a job takes, by its model's card: known at once, without loading anything."""

from quickalign.core.errors import CapacityError, ModelError, OptionError
from quickalign.core.hyperparameters import Hyperparameters
from quickalign.core.wire.jobs import Resources
from quickalign.hub.cards import card_or_none
from quickalign.platform.devices import Device


def resources(model: str, parameters: Hyperparameters, gpus: int | None, devices: tuple[Device, ...]) -> Resources:
    """GPUs and device memory of a job; no memory is reserved for a model without a card.

    Raises:
        CapacityError: no device here can ever hold it.
        OptionError: more GPUs than one run can use.
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
    needed = _memory(model, parameters)
    kind = "cuda" if wanted else "cpu"
    room = max(device.total_bytes for device in devices if device.kind == kind)
    if needed > room:
        place = "the largest GPU here has" if wanted else "this machine has"
        raise CapacityError(
            f"{model} by {parameters.method} needs about {needed / 1e9:.1f} GB, and {place} {room / 1e9:.1f} GB.",
            "Set load_in_4bit=true with lora_dim above 0, or take a smaller model.",
            field="spec.model",
            value=model,
        )
    return Resources(gpus=wanted, memory_bytes=needed)


def _memory(model: str, parameters: Hyperparameters) -> int:
    card = card_or_none(model)
    if card is None:
        return 0
    try:
        return int(card.needs[parameters.method] * 1e9)  # type: ignore[index]
    except (ModelError, KeyError):
        return 0
