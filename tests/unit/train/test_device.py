"""Devices: precision by chip, limits of control groups, the peak meter."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from quickalign.core.errors import OptionError
from quickalign.train import device as devices
from quickalign.train.device import Device, find_device, peak_memory, reset_peak, resolve_precision

CPU = Device("cpu", 0, "a CPU", 8 << 30, 6 << 30, bf16=False, cores=4)
T4 = Device("cuda", 0, "Tesla T4", 16 << 30, 15 << 30, bf16=False, cores=4)
A100 = Device("cuda", 0, "A100", 80 << 30, 79 << 30, bf16=True, cores=4)


@pytest.mark.parametrize(
    ("device", "asked", "expected"),
    [
        (CPU, "auto", "fp32"),
        (replace(CPU, bf16=True), "auto", "bf16"),
        (T4, "auto", "fp16"),
        (A100, "auto", "bf16"),
        (CPU, "bf16", "bf16"),
        (A100, "fp16", "fp16"),
        (T4, "fp32", "fp32"),
    ],
)
def test_precision(device, asked, expected):
    assert resolve_precision(asked, device) == expected


@pytest.mark.parametrize(("device", "asked"), [(CPU, "fp16"), (T4, "bf16")])
def test_precision_that_the_chip_has_not_is_refused_with_a_remedy(device, asked):
    with pytest.raises(OptionError, match=asked) as caught:
        resolve_precision(asked, device)
    assert caught.value.remedy
    assert "auto" in caught.value.remedy


def _group(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / f"memory.{name}").write_text(text)


def test_cgroup_v2_limits_count_at_every_level_and_without_droppable_cache(tmp_path):
    _group(tmp_path / "outer", max="1000\n", current="700\n", stat="anon 500\ninactive_file 150\n")
    _group(tmp_path / "outer/inner", max="max\n", current="600\n", stat="inactive_file 1\n")
    membership = tmp_path / "cgroup"
    membership.write_text("0::/outer/inner\n")
    assert devices._cgroup_limits(tmp_path, membership) == [(1000, 550)]


def test_cgroup_v1_reads_the_memory_controller_only_and_knows_its_word_for_unlimited(tmp_path):
    _group(tmp_path / "memory", limit_in_bytes="9223372036854771712", usage_in_bytes="5", stat="")
    _group(tmp_path / "memory/job", limit_in_bytes="4096", usage_in_bytes="1024", stat="total_inactive_file 24\n")
    membership = tmp_path / "cgroup"
    membership.write_text("8:cpu,cpuacct:/job\n4:memory:/job\n0::/\n")
    assert devices._cgroup_limits(tmp_path, membership) == [(4096, 1000)]


def test_a_machine_without_cgroups_has_no_limits(tmp_path):
    assert devices._cgroup_limits(tmp_path, tmp_path / "absent") == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="the CPU is only chosen where there is no CUDA device")
def test_the_cpu_found_here_agrees_with_the_system(monkeypatch):
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    found = find_device()
    assert found.kind == "cpu"
    assert found.cores == len(os.sched_getaffinity(0))
    assert found.available_bytes <= found.total_bytes <= psutil.virtual_memory().total
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    own = psutil.Process().memory_info().rss
    # A quarter of what is free; what is free changes a little while others work.
    assert find_device().available_bytes - own == pytest.approx((found.available_bytes - own) / 4, rel=0.3)


def test_kernel_caches_are_bounded_but_a_value_of_the_user_stays(monkeypatch):
    monkeypatch.delenv("LRU_CACHE_CAPACITY", raising=False)
    monkeypatch.setenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "7")
    devices.bound_kernel_caches()
    assert int(os.environ["LRU_CACHE_CAPACITY"]) < 1024
    assert os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"] == "7"


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux resets the high-water mark")
def test_the_peak_sees_memory_that_is_gone_again_until_it_is_reset():
    device, size = torch.device("cpu"), 300 << 20
    reset_peak(device)
    before = peak_memory(device)
    block = np.ones(size, dtype=np.uint8)
    del block
    assert peak_memory(device) - before > 0.9 * size
    reset_peak(device)
    assert peak_memory(device) - before < 0.3 * size
