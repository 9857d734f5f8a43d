"""What PAI's recipes take for the cloud, on machines of one's own: honoured where it can be, else refused by name."""

import re
from collections.abc import Mapping
from typing import Any

from quickalign.core.errors import OptionError
from quickalign.core.wire.jobs import MOST_WORKERS

_OWN_PROGRAM = "a job runs quickalign's own training program and never code that comes with a request"
_NO_CLOUD = "a job runs on the machine of the server, where there is nothing of the kind"
_CHANNELS = "a training job has the inputs 'train' and 'validation' and the output 'model'"

REFUSED: dict[str, str] = {
    "source_dir": _OWN_PROGRAM,
    "command": _OWN_PROGRAM,
    "image_uri": _OWN_PROGRAM,
    "job_type": _OWN_PROGRAM,
    "requirements": _OWN_PROGRAM,
    "environments": _OWN_PROGRAM,
    "customization": _OWN_PROGRAM,
    "input_channels": _CHANNELS,
    "output_channels": _CHANNELS,
    "resource_id": _NO_CLOUD,
    "resource_type": _NO_CLOUD,
    "spot_spec": _NO_CLOUD,
    "user_vpc_config": _NO_CLOUD,
    "experiment_config": _NO_CLOUD,
    "settings": _NO_CLOUD,
    "max_run_time": "a job has no time limit; max_steps or num_train_epochs says how long it trains",
}
"""Arguments of PAI's recipes that cannot be honoured, and why."""

_ECS = re.compile(r"ecs\.(?:(?:ebm)?g|s)n[\w-]*-c(\d+)g(\d+)\.(\d*)xlarge")
"""An ECS type that names its GPUs: `-c12g1` has one GPU to 12 virtual CPUs, and `24xlarge` has 96 of these."""

_ECS_CPU = re.compile(r"ecs\.[cgru]\d\w*\.\w+")
_PLAIN = re.compile(r"(?:gpu[:x]?(\d+)|(\d+)\s*x?\s*gpus?)", re.IGNORECASE)
_CPUS_OF_XLARGE = 4


def refuse(arguments: Mapping[str, Any], refused: Mapping[str, str] = REFUSED, what: str = "A recipe") -> None:
    """Refuse what cannot be honoured. An argument that says nothing (None) is none.

    Raises:
        OptionError: the argument, why, and what to do.
    """
    for name, value in arguments.items():
        if name not in refused:
            raise OptionError(f"{what} has no argument {name!r}.", "See docs/user-guide/sdk.md for those it has.")
        if value is not None:
            raise OptionError(f"The argument {name} cannot be honoured: {refused[name]}.", "Leave it out.")


def gpus_of(
    instance_type: str | None, instance_spec: Any, instance_count: int | None, *, spec_name: str = "instance_spec"
) -> int | None:
    """How many GPUs a job in one process, or a replica, asks for; None leaves it to the server.

    Args:
        instance_type: `cpu`, `gpu:2`, or an ECS type that names its GPUs.
        instance_spec: a mapping or an object with `gpu`.
        instance_count: 1 at most.
        spec_name: what `instance_spec` is called where it comes from.

    Raises:
        OptionError: it says something that cannot be honoured.
    """
    if instance_count not in (None, 1):
        raise OptionError(
            f"instance_count={instance_count} cannot be honoured: only training spreads over several workers.",
            "Leave it out.",
        )
    return gpus_of_instance(instance_type, instance_spec, spec_name=spec_name)


def workers_of(instance_count: int | None) -> int:
    """How many workers a job that trains asks for.

    Raises:
        OptionError: it is no number of workers.
    """
    count = 1 if instance_count is None else instance_count
    if not 1 <= count <= MOST_WORKERS:
        raise OptionError(
            f"instance_count={instance_count} is no number of workers.", f"Give a number from 1 to {MOST_WORKERS}."
        )
    return count


def gpus_of_instance(instance_type: str | None, instance_spec: Any, *, spec_name: str = "instance_spec") -> int | None:
    """How many GPUs one instance has; None leaves it to the server.

    Raises:
        OptionError: it says something that cannot be honoured.
    """
    if instance_type is not None and instance_spec is not None:
        raise OptionError(f"instance_type={instance_type!r} and {spec_name} exclude each other.", "Give one of them.")
    if instance_type is not None:
        return _gpus_of_type(instance_type)
    return _gpus_of_spec(instance_spec, spec_name) if instance_spec is not None else None


def _gpus_of_type(name: str) -> int:
    plain = name.strip().lower()
    if plain in ("cpu", "local", "local_cpu") or _ECS_CPU.fullmatch(plain):
        return 0
    if plain in ("gpu", "local_gpu"):
        return 1
    if found := _PLAIN.fullmatch(plain):
        return int(found[1] or found[2])
    if found := _ECS.fullmatch(plain):
        cpus, gpus, size = int(found[1]), int(found[2]), int(found[3] or 1)
        return max(1, round(size * _CPUS_OF_XLARGE / cpus) * gpus)
    raise OptionError(
        f"instance_type={name!r} does not say how many GPUs it has, and nothing else of it can be honoured here.",
        "Write 'gpu:1' or 'cpu', or leave it out.",
    )


def _gpus_of_spec(spec: Any, called: str) -> int:
    found = dict(spec) if isinstance(spec, Mapping) else {n: getattr(spec, n, None) for n in ("gpu", "cpu", "memory")}
    values = {name.lower(): value for name, value in found.items() if value is not None}
    gpus = values.pop("gpu", None)
    if values:
        name, value = next(iter(values.items()))
        raise OptionError(
            f"{called}.{name}={value!r} cannot be honoured: programs take what they need of the server's machine.",
            "Name the number of GPUs alone, as in {'gpu': 1}.",
        )
    if not str(gpus).isdigit():
        raise OptionError(f"{called}.gpu={gpus!r} is no number of GPUs.", "Write {'gpu': 1}.")
    return int(str(gpus))
