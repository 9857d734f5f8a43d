"""The published `alipai`, unchanged, against a server of this project."""

import json
import re
import shutil
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from quickalign.core import paths
from tests.integration.pai.conftest import ROOT, run_stock, told
from tests.support.homes import fresh_home, processes_of, servers_of, wait_until

MISSION = ROOT / "tests" / "data" / "mission_pai.txt"
SCRIPTS = ROOT / "tests" / "clients" / "pai"
SHARED = ROOT.parent / "shared" / "mission" / "pai-quickstart-dpo.txt"
TINY = "qwen2-tiny-instruct"


@pytest.fixture
def pairs(tmp_path) -> Path:
    file = tmp_path / "pairs.json"
    rows = [{"prompt": f"Question {i}?", "chosen": f"A good answer {i}.", "rejected": f"No {i}."} for i in range(16)]
    file.write_text(json.dumps(rows))
    return file


def test_the_script_is_the_mission_s_byte_for_byte():
    if not SHARED.exists():
        pytest.skip("the document is not beside this checkout")
    assert MISSION.read_text(encoding="utf-8") in SHARED.read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_mission_s_script_runs_without_an_edit(tmp_path, stock_python):
    """The weights it asks for cannot be had in a test: a mirror has the embedded model's under their name."""
    mirror = tmp_path / "mirror" / "Qwen" / "Qwen2-0.5B-Instruct"
    shutil.copytree(paths.assets() / TINY, mirror)
    with fresh_home(tmp_path) as home:
        done = run_stock(stock_python, home, tmp_path, MISSION, QUICKALIGN_MODEL_MIRROR=str(mirror.parents[1]))
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        servers = {process.pid for process in servers_of(home)}
        wait_until(lambda: {process.pid for process in processes_of(home)} == servers)  # the service's are gone
        adapter = next((home / "jobs").glob("*/output/adapter/adapter_model.safetensors"))
        trained = {name: values for name, values in load_file(adapter).items() if "lora_B" in name}
    assert trained, "B is zero at first, so what is not zero was trained"
    assert all(abs(values).max() > 0 for values in trained.values())
    *before, answer = done.stdout.strip().splitlines()
    assert "succeeded, you can check" in "".join(before)
    assert re.search(r"\w", answer)  # drawn, because the script names no temperature: of any length


@pytest.mark.slow
def test_a_local_file_a_registry_and_stopping(tmp_path, pairs, stock_python):
    with fresh_home(tmp_path) as home:
        found = told(run_stock(stock_python, home, tmp_path, SCRIPTS / "small_job.py", str(pairs)))
        adapter = next((home / "jobs").glob("*/output/adapter/adapter_model.safetensors"))
        assert (tmp_path / adapter.name).read_bytes() == adapter.read_bytes()
    assert found["status"] == "Succeed"
    assert found["listed"] == ["small"]
    assert "adapter_config.json" in found["files"]
    assert "adapter_model.safetensors" in found["files"]
    assert found["latest"] == ["1.1.0", True, {"team": "a"}]
    assert found["versions"] == ["1.0.0", "1.1.0"]
    assert found["old"] == "1.0.0"
    assert found["registered"] == []
    assert found["stopped"] == "Terminated"


@pytest.mark.slow
def test_what_fails_says_why(tmp_path, stock_python):
    bad = tmp_path / "pairs.json"
    bad.write_text('[{"prompt": "a", "chosen": "", "rejected": "c"}]')
    with fresh_home(tmp_path) as home:
        done = run_stock(stock_python, home, tmp_path, SCRIPTS / "failing_job.py", str(bad))
    found = told(done)
    code, message = found["refused"]
    assert code == "InvalidParameter"
    assert "'dpo_bta'" in message
    assert "'dpo_beta'" in message, "the nearest valid name"
    status, reason = found["failed"]
    assert status == "Failed"
    assert "chosen" in reason
    assert reason in done.stdout, "the log that the client shows ends with it"
