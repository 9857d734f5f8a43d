"""Which of this machine's GPUs the installed build of PyTorch can use, and how far."""

import os
import re
import subprocess
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from quickalign.core.errors import OptionError

Capability = tuple[int, int]

# Triton's own requirement. On a T4 or a V100 some of its kernels ask for more shared memory than there is, and others
# end the process while they are compiled.
TRITON_FROM: Capability = (8, 0)
BUILDS = (
    "pytorch.org/get-started/locally names the builds; those for CUDA 12.6 have kernels for P100 and V100 too, and run "
    "with older drivers"
)
_DEVICES = Path("/dev")
_NONE = ("", "-1", "NoDevFiles")


def has_triton(device: torch.device) -> bool:
    """Whether Triton, with which PyTorch compiles, makes kernels for `device`; never for a CPU."""
    return device.type == "cuda" and triton_obstacle(device) is None


@lru_cache(maxsize=64)
def triton_obstacle(device: torch.device) -> str | None:
    """Why Triton makes no kernels for a CUDA device, in one line; None where it does, as a first one shows.

    Triton compiles a part of each kernel with the machine's C compiler and Python's headers.
    """
    capability = torch.cuda.get_device_capability(device)
    if capability < TRITON_FROM:
        wanted, number = (".".join(map(str, version)) for version in (TRITON_FROM, capability))
        return f"Triton supports GPUs from compute capability {wanted} on, and this one has {number}"
    try:
        torch.compile(_one_more)(torch.zeros(2, device=device))
    except (RuntimeError, OSError, ImportError, subprocess.CalledProcessError) as error:
        return first_sentence(error)
    return None


def _one_more(numbers: Tensor) -> Tensor:
    return numbers + 1


def check_kernels(index: int) -> None:
    """See that PyTorch was built with kernels for a CUDA device, before one of them is missed in the middle of a run.

    Raises:
        OptionError: it was not.
    """
    built = torch.cuda.get_arch_list()
    capability = torch.cuda.get_device_capability(index)
    if not runs_on(capability, built):
        name, number = torch.cuda.get_device_name(index), ".".join(map(str, capability))
        raise OptionError(
            f"PyTorch {torch.__version__} has no kernels for {name}, which has compute capability {number}: it was "
            f"built for {' '.join(built)}.",
            f"Install another build of the same version ({BUILDS}), or set CUDA_VISIBLE_DEVICES= to use the CPU.",
        )


def runs_on(capability: Capability, built: Sequence[str]) -> bool:
    """Whether code that was built for these architectures, such as sm_86 and compute_90, runs on a GPU.

    Machine code (`sm`) runs on chips of the same major version and an equal or higher minor one; intermediate code
    (`compute`, PTX) on all later chips (NVIDIA, CUDA C++ Programming Guide, "Binary Compatibility" and "PTX
    Compatibility"). Architectures of other makers are not judged.
    """
    found = [match for arch in built if (match := re.fullmatch(r"(sm|compute)_(\d+)(\d)[a-z]?", arch))]
    if not found:
        return True
    major, minor = capability
    for match in found:
        for_major, for_minor = int(match[2]), int(match[3])
        if match[1] == "sm" and for_major == major and for_minor <= minor:
            return True
        if match[1] == "compute" and (for_major, for_minor) <= capability:
            return True
    return False


def unused_gpu() -> str | None:
    """Why PyTorch cannot use an NVIDIA GPU that this machine has; None where it can, has none, or all are hidden.

    Raises:
        OptionError: `CUDA_VISIBLE_DEVICES` names a GPU, as it does for a job that has been given one.
    """
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named in _NONE or torch.cuda.is_available() or not any(_DEVICES.glob("nvidia[0-9]*")):
        return None
    obstacle = _obstacle()
    if named is not None:
        raise OptionError(
            f"PyTorch {torch.__version__} cannot use the GPU that CUDA_VISIBLE_DEVICES={named} names: {obstacle}.",
            f"Install a newer driver or another build of PyTorch ({BUILDS}), or set CUDA_VISIBLE_DEVICES= for the "
            "server and what you run without it, to use the CPU.",
        )
    return obstacle


def _obstacle() -> str:
    """What PyTorch says when it is made to use CUDA, up to the end of the first sentence."""
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        return first_sentence(error)
    return "it finds no CUDA device"


def first_sentence(error: Exception) -> str:
    """What an error says, up to the end of its first sentence or line, and without the names of errors within it."""
    said = re.sub(r"^(\w*Error: )+", "", str(error).strip())
    return re.split(r"\.\s|\.$|\n", said, maxsplit=1)[0] or type(error).__name__
