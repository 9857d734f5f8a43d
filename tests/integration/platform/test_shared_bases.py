"""Two services of one base on one vLLM, from the first's start to the last's end; vLLM itself is a double."""

import os
import signal
import sys
from pathlib import Path

import httpx
import psutil
import pytest

from quickalign.core.wire.services import RevisionSpec, ServiceCreate, ServiceState, Source
from quickalign.platform.context import Platform
from quickalign.serve.engines.vllm import environment
from quickalign.serve.engines.vllm.beginning import MARK
from tests.support.engines import random_adapter
from tests.support.platforms import cpu
from tests.support.replicas import ENVIRONMENT, MODEL
from tests.support.service_rounds import BRISK, drive, drive_to, end_all, processes_of

S = ServiceState
SECONDS = 600
CONFIG = BRISK.model_copy(update={"service_start_seconds": SECONDS})
SUPPORT = Path(__file__).parents[2] / "support"
DOUBLE = SUPPORT.parent / "doubles" / "vllm_double"
SERVER = (sys.executable, "-P", str(SUPPORT / "unproven_replica.py"))
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture
def platform(tmp_path, monkeypatch):
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={DOUBLE} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    home = tmp_path / "home"
    given = ENVIRONMENT | {environment.PYTHON_VARIABLE: str(python), "QUICKALIGN_HOME": str(home)}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    opened = Platform.open(home, config=CONFIG, devices=cpu(), server=SERVER)
    yield opened
    opened.close()
    end_all(home)
    for process in kept(tmp_path):
        process.kill()


def make(platform, name, adapter):
    source = Source(model=MODEL, adapter=str(adapter))
    spec = RevisionSpec(source=source, engine="vllm", precision="fp32", context=256, share_base=True)
    service = platform.services.create(ServiceCreate(name=name, spec=spec))
    return drive_to(platform, service, S.RUNNING, S.FAILED, seconds=SECONDS)


def kept(folder):
    """What keepers of this test's home have started, and themselves."""
    found = []
    for process in psutil.process_iter():
        try:
            given = process.environ()
        except psutil.Error:
            continue
        if MARK in given and given.get("QUICKALIGN_HOME") == str(folder / "home"):
            found.append(process)
    return found


def servers(folder):
    """vLLM's own processes, without the guards before them."""
    commands = [(one, one.cmdline()) for one in kept(folder)]
    return [one for one, words in commands if "vllm.entrypoints.openai.api_server" in words and not _is_guard(words)]


def _is_guard(words):
    return any(word.endswith("guard.py") for word in words)


def answers(platform, name):
    [upstream] = platform.services.endpoints.find(name).replicas
    body = {"model": "default", "prompt": [5, 20], "max_tokens": 3, "temperature": 0, "return_token_ids": True}
    headers = {"Authorization": f"Bearer {upstream.token}"}
    told = httpx.post(f"{upstream.base_url}/v1/completions", json=body, headers=headers, trust_env=False, timeout=60)
    return told.json()["choices"][0]["token_ids"]


def bases(platform):
    return [base for device in platform.system().devices for base in device.bases]


def is_gone(pid):
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_two_services_one_base_and_nothing_left_behind_the_last(platform, tmp_path):
    one = make(platform, "one", random_adapter(tmp_path / "a", 5))
    assert one.state is S.RUNNING, one.reason
    alone = platform.system().devices[0].reserved_bytes
    two = make(platform, "two", random_adapter(tmp_path / "b", 6))
    assert two.state is S.RUNNING, two.reason

    [first], [second] = one.replicas, two.replicas
    assert first.keeper == second.keeper
    assert first.keeper is not None
    assert one.revisions[0].shared_base == MODEL
    [server] = servers(tmp_path)
    [base] = bases(platform)
    assert (base.name, base.services) == (MODEL, ("one", "two"))
    assert base.memory_bytes == one.revisions[0].weights_bytes
    both = platform.system().devices[0].reserved_bytes
    assert both == 2 * alone - base.memory_bytes, "the base is counted once"
    assert answers(platform, "one") == answers(platform, "two") == [24, 28, 32], "both adapters have rank 4"

    platform.services.delete("one")
    gone = drive_to(platform, one, S.DELETED, seconds=SECONDS)
    assert first.keeper not in gone.removal.processes
    assert server.is_running()
    assert answers(platform, "two") == [24, 28, 32]
    assert bases(platform)[0].services == ("two",)

    platform.services.delete("two")
    gone = drive_to(platform, two, S.DELETED, seconds=SECONDS)
    assert {first.keeper, server.pid} <= set(gone.removal.processes)
    assert is_gone(first.keeper)
    assert bases(platform) == []
    assert processes_of(tmp_path) == kept(tmp_path) == []


def test_a_vllm_that_dies_is_started_again_once_for_all(platform, tmp_path):
    made = [make(platform, name, random_adapter(tmp_path / name, 7)) for name in ("one", "two")]
    [server] = servers(tmp_path)
    os.kill(server.pid, signal.SIGKILL)

    def are_back():
        found = [platform.services.get(each.id) for each in made]
        return all(each.state is S.RUNNING and each.replicas[0].restarts for each in found)

    drive(platform, are_back, SECONDS)
    assert len(servers(tmp_path)) == 1
    assert answers(platform, "one") == answers(platform, "two") == [24, 28, 32]
    for each in made:
        platform.services.delete(each.name)
    for each in made:
        drive_to(platform, each, S.DELETED, seconds=SECONDS)
    assert processes_of(tmp_path) == kept(tmp_path) == []
