"""Which GPUs a build of PyTorch can use, told from what it says of itself."""

from pathlib import Path

import pytest
import torch
from torch._inductor.exc import InductorError

from quickalign.core.errors import OptionError
from quickalign.train import gpus
from quickalign.train.device import Device, find_device, try_triton
from quickalign.train.gpus import has_triton, runs_on, triton_obstacle

P100, V100, T4, A100, RTX_4090, H100, RTX_5090 = (6, 0), (7, 0), (7, 5), (8, 0), (8, 9), (9, 0), (12, 0)
# What PyTorch's RELEASE.md says that the wheels of 2.13 for Linux are built for.
CUDA_12_6 = ["sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90"]
CUDA_13_0 = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120", "compute_120"]


@pytest.mark.parametrize(
    ("built", "able", "unable"),
    [
        (CUDA_12_6, [P100, V100, T4, A100, RTX_4090, H100], [RTX_5090, (10, 3)]),
        (CUDA_13_0, [T4, A100, RTX_4090, H100, RTX_5090, (12, 1), (13, 0)], [P100, V100]),
        (["sm_80", "compute_90"], [A100, RTX_4090, H100, RTX_5090], [T4]),
        (["sm_86"], [RTX_4090], [A100]),
        (["sm_90a"], [H100], [A100]),
        (["gfx942"], [P100, (9, 4)], []),
    ],
)
def test_code_runs_on_what_nvidia_says(built, able, unable):
    assert all(runs_on(capability, built) for capability in able)
    assert not any(runs_on(capability, built) for capability in unable)


class Card:
    """A V100 under PyTorch's default build of 2.13, as far as `torch.cuda` tells."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        said = {
            "is_available": True,
            "device_count": 1,
            "get_arch_list": CUDA_13_0,
            "get_device_capability": V100,
            "get_device_name": "Tesla V100-SXM2-16GB",
        }
        for name, value in said.items():
            monkeypatch.setattr(torch.cuda, name, lambda *_, value=value: value)


def test_a_gpu_without_kernels_is_refused_before_anything_is_computed(monkeypatch):
    Card(monkeypatch)
    with pytest.raises(OptionError, match=r"no kernels for Tesla V100.*compute capability 7\.0.*sm_75") as caught:
        find_device()
    assert "CUDA 12.6" in caught.value.remedy


@pytest.fixture
def compiled(monkeypatch) -> list[object]:
    """What is compiled, on a machine whose CUDA device is its CPU."""
    found: list[object] = []
    zeros = torch.zeros

    def zeros_here(size: int, device: torch.device) -> torch.Tensor:
        assert device.type == "cuda"
        return zeros(size)

    monkeypatch.setattr(torch, "compile", lambda function: found.append(function) or function)
    monkeypatch.setattr(torch, "zeros", zeros_here)
    triton_obstacle.cache_clear()
    yield found
    triton_obstacle.cache_clear()


@pytest.mark.parametrize(("capability", "expected"), [(V100, False), (T4, False), (A100, True), (H100, True)])
def test_triton_is_for_ampere_and_later_and_tried_once(monkeypatch, compiled, capability, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: capability)
    for _ in range(2):
        assert has_triton(torch.device("cuda", 0)) is expected
    assert len(compiled) == expected
    assert not has_triton(torch.device("cpu"))


def test_where_triton_cannot_compile_the_reason_is_kept(monkeypatch, compiled):
    def fail(function):
        message = "Failed to find C compiler. Please specify via CC environment variable."
        raise InductorError(RuntimeError(message), None)

    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: H100)
    monkeypatch.setattr(torch, "compile", fail)
    device = Device("cuda", 0, "H100", 80 << 30, 79 << 30, bf16=True, cores=4)
    assert try_triton(device).no_triton == "Failed to find C compiler"
    cpu = Device("cpu", 0, "a CPU", 8 << 30, 6 << 30, bf16=False, cores=4)
    assert try_triton(cpu) is cpu


@pytest.fixture
def too_old(monkeypatch, tmp_path) -> Path:
    """A machine with a GPU whose driver is older than PyTorch wants; returns its /dev."""

    def refuse() -> None:
        message = "The NVIDIA driver on your system is too old (found version 12020). Please update your GPU driver."
        raise RuntimeError(message)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "init", refuse)
    monkeypatch.setattr(gpus, "_DEVICES", tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    (tmp_path / "nvidia0").touch()
    return tmp_path


def test_a_gpu_that_pytorch_cannot_use_is_passed_over_with_the_reason(too_old):
    found = find_device()
    assert found.kind == "cpu"
    assert found.passed_over == "The NVIDIA driver on your system is too old (found version 12020)"


@pytest.mark.parametrize("named", ["0", "GPU-8f3a", "0,1"])
def test_a_gpu_that_was_given_is_not_passed_over(too_old, monkeypatch, named):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    with pytest.raises(OptionError, match=rf"CUDA_VISIBLE_DEVICES={named} names: The NVIDIA driver") as caught:
        find_device()
    assert "driver" in caught.value.remedy


@pytest.mark.parametrize("hidden", ["", "-1", "NoDevFiles"])
def test_hidden_gpus_are_left_alone(too_old, monkeypatch, hidden):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert find_device().passed_over is None


def test_without_a_gpu_nothing_is_passed_over(too_old):
    (too_old / "nvidia0").unlink()
    (too_old / "nvidiactl").touch()
    assert find_device().passed_over is None
