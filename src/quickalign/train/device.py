"""What this machine computes with: the device, its memory, and the precision that it really has."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import psutil
import torch

from quickalign.core.errors import OptionError
from quickalign.core.hyperparameters import Precision
from quickalign.train.gpus import check_kernels, triton_obstacle, unused_gpu

DeviceKind = Literal["cpu", "cuda"]
ComputePrecision = Literal["fp32", "bf16", "fp16"]

_CGROUPS = Path("/sys/fs/cgroup")
_UNLIMITED = 1 << 60  # cgroup v1 writes a number near 2^63 where there is no limit
_CPU_BF16 = ("avx512_bf16", "amx_bf16", "bf16", "arm_bf16", "sve_bf16")
_AMPERE = 8
_CACHED_KERNELS = "64"


@dataclass(frozen=True, slots=True)
class Device:
    """One device that a process trains on.

    Attributes:
        kind: cpu or cuda.
        index: which CUDA device; 0 on the CPU.
        name: the chip's name.
        total_bytes: memory of the device, or of the machine (or its container) on the CPU.
        available_bytes: the most that this process can hold at once: what is free, plus what it holds already.
        bf16: whether the chip multiplies bf16 itself; emulation does not count.
        cores: CPU cores that this process may use.
        passed_over: on the CPU, why PyTorch cannot use a GPU that is there.
        no_triton: on a GPU, why Triton makes no kernels for it, FlexAttention's among them; see `try_triton`.
    """

    kind: DeviceKind
    index: int
    name: str
    total_bytes: int
    available_bytes: int
    bf16: bool
    cores: int
    passed_over: str | None = None
    no_triton: str | None = None

    @property
    def torch_device(self) -> torch.device:
        """The same device for PyTorch."""
        return torch.device("cpu") if self.kind == "cpu" else torch.device("cuda", self.index)


def find_device() -> Device:
    """The device of this process: its own CUDA device where there is one (by `LOCAL_RANK`), else the CPU.

    To be called before anything is computed: on the CPU it bounds the kernel caches (see `bound_kernel_caches`).

    Raises:
        OptionError: this process has been given a CUDA device that this build of PyTorch cannot use.
    """
    if torch.cuda.is_available():
        index = int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count()
        check_kernels(index)
        return _cuda(index)
    return replace(find_cpu(), passed_over=unused_gpu())


def try_triton(device: Device) -> Device:
    """`device`, and whether a GPU's kernels can be compiled: only training needs that, and trying takes seconds."""
    return replace(device, no_triton=triton_obstacle(device.torch_device)) if device.kind == "cuda" else device


def named_device(text: str) -> Device:
    """The device that `text` names: `cuda` or `cpu` for this machine's, with `:BYTES` for one of another machine.

    Of that no more is known than its memory: a GPU is taken for one that has bf16, a processor for one like here.
    """
    kind, _, memory = text.partition(":")
    if not memory:
        return try_triton(find_device()) if kind == "cuda" else find_cpu()
    room = int(memory)
    if kind == "cpu":
        return replace(find_cpu(), total_bytes=room, available_bytes=room)
    return Device("cuda", 0, "the cluster's largest GPU", room, room, bf16=True, cores=_cores())


def find_cpu() -> Device:
    """The CPU, also beside a CUDA device; bounds the kernel caches as `find_device` does."""
    bound_kernel_caches()
    return _cpu()


def bound_kernel_caches() -> None:
    """Let oneDNN and PyTorch's layer above it keep a few compiled matrix products instead of 1024 each.

    Every number of tokens makes a set of bf16 kernels of its own, nearly a megabyte each, and batches rarely repeat
    their number. Measured with a model of 10 MB over 60 steps: 1.45 GB resident with the defaults, 0.60 GB with these,
    in the same time (with 32 of each). A layer's forward and backward pass need fewer than these: about 32, and more
    where its matrices are reordered. If they did not fit, they would be compiled anew in every layer. Read by both
    libraries at their first product; a value that the user has set stays.
    """
    for name in ("LRU_CACHE_CAPACITY", "ONEDNN_PRIMITIVE_CACHE_CAPACITY"):
        os.environ.setdefault(name, _CACHED_KERNELS)


def resolve_precision(precision: Precision, device: Device) -> ComputePrecision:
    """The precision to compute in.

    `auto` takes bf16 where the chip multiplies it itself, fp16 (with loss scaling) on other GPUs, and fp32 on other
    CPUs. Measured on a CPU with AVX512-BF16, one thread, a linear layer takes 2.3 to 2.7 times as long in fp32 as in
    bf16 at Qwen2-0.5B's shapes (896 x 4864: 28.9 against 11.5 ms for 256 tokens; its head: 593 against 228 ms for 128)
    and 2.5 to 4.3 times as long at the shapes of a tiny model, so a CPU gets bf16 by the same rule.

    Raises:
        OptionError: the chip cannot compute in the precision that was asked for.
    """
    if precision == "auto":
        if device.bf16:
            return "bf16"
        return "fp16" if device.kind == "cuda" else "fp32"
    if precision == "fp16" and device.kind == "cpu":
        raise OptionError(
            "precision='fp16' needs a GPU: a CPU has no fp16 arithmetic fit for training.",
            "Set precision to fp32 or auto.",
        )
    if precision == "bf16" and device.kind == "cuda" and not device.bf16:
        raise OptionError(
            f"precision='bf16' is not possible on {device.name}: NVIDIA GPUs have it from Ampere (A100) on.",
            "Set precision to fp16 or auto.",
        )
    return precision


def peak_memory(device: torch.device) -> int:
    """The most bytes this process held since `reset_peak`.

    CUDA: tensors on the device. CPU: resident memory, with Python and all libraries; counted since the process began
    where the kernel does not let it be reset.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return psutil.Process().memory_info().rss


def reset_peak(device: torch.device) -> None:
    """Let `peak_memory` count from now on."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    try:
        Path("/proc/self/clear_refs").write_text("5")  # 5 sets the high-water mark to what is resident now
    except OSError:
        return


def _cuda(index: int) -> Device:
    properties = torch.cuda.get_device_properties(index)
    free, total = torch.cuda.mem_get_info(index)
    if properties.is_integrated:  # shares the machine's memory, and CUDA does not count what caches would give back
        free = max(free, psutil.virtual_memory().available)
    return Device(
        kind="cuda",
        index=index,
        name=properties.name,
        total_bytes=total,
        available_bytes=free + torch.cuda.memory_reserved(index),
        bf16=properties.major >= _AMPERE,
        cores=_cores(),
    )


def _cpu() -> Device:
    memory = psutil.virtual_memory()
    total, free = memory.total, memory.available
    for limit, used in _cgroup_limits(_CGROUPS, Path("/proc/self/cgroup")):
        total, free = min(total, limit), min(free, limit - used)
    # Processes of one run on one machine share its memory.
    share = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    capabilities = torch.cpu.get_capabilities()
    return Device(
        kind="cpu",
        index=0,
        name=_cpu_name() or str(capabilities.get("cpu_name") or capabilities.get("architecture", "CPU")),
        total_bytes=total,
        available_bytes=max(free, 0) // share + psutil.Process().memory_info().rss,
        bf16=any(capabilities.get(flag) for flag in _CPU_BF16),
        cores=_cores(),
    )


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu_name() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return None
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else None


def _cgroup_limits(root: Path, membership: Path) -> list[tuple[int, int]]:
    """(limit, used) in bytes for every memory-limited control group that this process is in, v1 and v2.

    A limit counts at every level up to the root. Used is without the page cache that the kernel drops under pressure.
    """
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        base = root / "memory" if controllers else root
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if controllers else ("memory.max", "memory.current")
        folder = base / path.lstrip("/")
        for level in (folder, *folder.parents):
            limit, used = _number(level / names[0]), _number(level / names[1])
            if limit is not None and used is not None and limit < _UNLIMITED:
                found.append((limit, used - min(used, _inactive_file(level / "memory.stat"))))
            if level == base:
                break
    return found


def _number(path: Path) -> int | None:
    """The number in a one-number file; None where there is none, such as `max`."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _inactive_file(stat: Path) -> int:
    """Bytes of cached file pages that can be dropped, of the group and those below it."""
    try:
        values = dict(line.split() for line in stat.read_text().splitlines())
    except (OSError, ValueError):
        return 0
    return int(values.get("total_inactive_file", values.get("inactive_file", 0)))
