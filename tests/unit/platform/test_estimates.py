"""Estimates are made for what the job would run on, which is not always what the server runs on."""

import json
from pathlib import Path

import pytest

from quickalign.core.wire.jobs import EstimateRequest
from quickalign.platform import estimates
from quickalign.platform.devices import Device
from tests.support.platforms import GIB, open_stub, stub_job, write_data

CPU = Device("cpu", 0, "CPU", 8 * GIB, 1)
GPU = Device("cuda", 0, "GPU", 16 * GIB, 1)
NODES = Device("cpu", 0, "Ray cluster, 3 nodes", 24 * GIB, 100, largest_bytes=9 * GIB)
CARDS = Device("cuda", 0, "2 GPUs", 160 * GIB, 100, largest_bytes=80 * GIB)


@pytest.mark.parametrize(
    ("devices", "gpus", "named"),
    [
        ((CPU,), None, "cpu"),
        ((CPU, GPU), None, "cuda"),
        ((CPU, GPU), 0, "cpu"),
        ((NODES, CARDS), None, f"cuda:{80 * GIB}"),
        ((NODES, CARDS), 0, f"cpu:{9 * GIB}"),
        ((NODES,), None, f"cpu:{9 * GIB}"),
    ],
)
def test_the_planner_is_told_what_the_job_would_run_on(tmp_path, monkeypatch, devices, gpus, named):
    asked = []

    def planned(module, request, seconds, *arguments):
        asked.append((*arguments, json.loads(Path(arguments[1]).read_text())["output"]))
        return {
            "plan": {"predicted_peak_bytes": 5, "device_kind": named[:4].rstrip(":")},
            "report": {},
            "validation_report": None,
        }

    monkeypatch.setattr(estimates, "run_program", planned)
    platform = open_stub(tmp_path / "home", devices=devices)
    try:
        made = platform.estimate(EstimateRequest(spec=stub_job(write_data(tmp_path)).spec, gpus=gpus))
    finally:
        platform.close()
    *_, device, output = asked[0]
    assert device == named
    assert Path(output).is_relative_to(tmp_path / "home"), "whose disk is to hold it"
    assert not list((tmp_path / "home" / "jobs").iterdir())
    assert made.resources.gpus == named.startswith("cuda")
