"""Whether a run's folder can be gone on with, and from where."""

from __future__ import annotations

from typing import Any

from quickalign.core import atomic
from quickalign.core.distribution import Distribution
from quickalign.core.errors import OptionError
from quickalign.core.hyperparameters import Hyperparameters
from quickalign.core.spec import RunSpec
from quickalign.train.metrics import METRICS_FILE
from quickalign.train.saved import Checkpoint, checkpoints_folder, list_checkpoints

# Options that may change between the parts of a run: they do not touch the weights that come out.
FREE = frozenset({"eval_steps", "save_steps", "save_total_limit", "validation_split", "cuda_graphs"})
# The planner's decisions are taken from the checkpoint, so asking for them by hand is compared with what was decided.
DECIDED = frozenset({"packing", "token_budget", "gradient_checkpointing", "precision", "reference"})


def identity(
    parameters: Hyperparameters, *, model: str, data: str, validation: str, world_size: int, strategy: Distribution
) -> dict[str, Any]:
    """What must be equal for a checkpoint to belong to a run; `model`, `data` and `validation` are fingerprints.

    A validation split changes which rows are trained on, and shows in `data`.
    """
    options = {name: value for name, value in parameters.model_dump().items() if name not in FREE | DECIDED}
    whose = {"model": model, "data": data, "validation": validation}
    return whose | {"world_size": world_size, "strategy": strategy, "options": options}


def last_checkpoint(spec: RunSpec) -> Checkpoint | None:
    """The checkpoint to go on from; leftovers of a killed process are removed.

    Raises:
        OptionError: resume is `never` and the folder already holds a run.
    """
    folder = checkpoints_folder(spec.output)
    if folder.exists():
        atomic.remove_leftovers(folder)
    if spec.resume == "never" and (spec.output / METRICS_FILE).exists():
        raise OptionError(
            f"{spec.output} already holds a run, and resume=never asks for a fresh one.",
            "Name another --output, or delete that folder.",
        )
    found = list_checkpoints(spec.output)
    return found[-1] if found else None


def with_choices(parameters: Hyperparameters, checkpoint: Checkpoint | None) -> Hyperparameters:
    """`parameters` with what the planner decided when the run began.

    Raises:
        OptionError: one of these was set by hand to something else since.
    """
    if checkpoint is None:
        return parameters
    decided: dict[str, Any] = checkpoint.state["choices"]
    for name, value in decided.items():
        asked = getattr(parameters, name)
        if asked not in ("auto", 0, value):
            raise OptionError(
                f"{name}={asked!r} differs from {name}={value!r} with which the run in {checkpoint.folder} began.",
                f"Leave {name} as it was, or name another --output.",
            )
    return parameters.model_copy(update=decided)


def ensure_same_run(now: dict[str, Any], checkpoint: Checkpoint) -> None:
    """Refuse to go on with another run's checkpoint.

    Raises:
        OptionError: what differs, with both values.
    """
    before: dict[str, Any] = checkpoint.state["identity"]
    differences = [
        f"{name} was {_short(before['options'].get(name))} and is {_short(value)}"
        for name, value in now["options"].items()
        if before["options"].get(name) != value
    ]
    differences += [
        f"the {label} is another one"
        for key, label in (("model", "model"), ("data", "training data"), ("validation", "validation data"))
        if before[key] != now[key]
    ]
    if before["world_size"] != now["world_size"]:
        differences.append(f"there were {before['world_size']} processes and are {now['world_size']}")
    if (asked := now["strategy"]) != (began := before.get("strategy", "ddp")):
        differences.append(f"strategy was {began} and is {asked}")
    if differences:
        raise OptionError(
            f"{checkpoint.folder} is a checkpoint of another run: {'; '.join(differences)}.",
            "Put these back, or name another --output.",
        )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
