"""GPUs as nvidia-smi lists them, by a double of it on the path."""

import os
from pathlib import Path

import psutil
import pytest

from quickalign.platform.devices import find_devices, visible

LINES = """\
0, GPU-8f3a11d2-0000, NVIDIA GeForce RTX 3060, 12288
1, GPU-77c0aa01-1111, NVIDIA H100 80GB HBM3, 81559
2, GPU-2dee1e25-2222, NVIDIA GB10, [N/A]
"""


@pytest.fixture
def smi(tmp_path, monkeypatch) -> Path:
    program = tmp_path / "nvidia-smi"
    program.write_text(
        f"""#!/bin/sh
[ "$1" = "--query-gpu=index,uuid,name,memory.total" ] && [ "$2" = "--format=csv,noheader,nounits" ] || exit 2
cat {tmp_path}/lines
"""
    )
    program.chmod(0o755)
    (tmp_path / "lines").write_text(LINES)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return program


def gpus() -> list[tuple[int, str, int]]:
    return [(device.index, device.name, device.slots) for device in find_devices(2, 3)[1:]]


def test_gpus_come_after_the_processor_with_their_memory(smi):
    cpu, small, large, shared = find_devices(2, 3)
    assert (cpu.kind, cpu.slots, cpu.total_bytes) == ("cpu", 2, psutil.virtual_memory().total)
    assert (small.kind, small.index, small.name, small.slots) == ("cuda", 0, "NVIDIA GeForce RTX 3060", 3)
    assert (small.total_bytes, large.total_bytes) == (12288 << 20, 81559 << 20)
    assert shared.total_bytes == cpu.total_bytes


@pytest.mark.parametrize(
    ("named", "left"),
    [("1", [1]), ("0, 2", [0, 2]), ("GPU-77c0aa01-1111", [1]), ("GPU-77,GPU-2d", [1, 2]), ("", []), ("-1", [])],
)
def test_only_visible_gpus_are_given_away(smi, monkeypatch, named, left):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert [index for index, _, _ in gpus()] == left


def test_without_nvidia_smi_or_where_it_fails_there_is_the_processor_alone(smi, monkeypatch):
    smi.write_text("#!/bin/sh\necho NVIDIA-SMI has failed\nexit 9\n")
    assert gpus() == []
    monkeypatch.setenv("PATH", "/nowhere")
    assert gpus() == []


def test_a_process_counts_gpus_as_nvidia_smi_does():
    assert visible(1) == {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "1"}
    assert visible(None)["CUDA_VISIBLE_DEVICES"] == ""
