"""Who runs first, as the kernel shows it of a process that asked."""

import platform
import re
import subprocess
import sys

import pytest

from quickalign.core import scheduling

ASK = """
import os
from pathlib import Path
from quickalign.core.scheduling import {call}
{call}()
print(os.sched_getscheduler(0), Path("/proc/self/sched").read_text() if Path("/proc/self/sched").exists() else "", flush=True)
if os.fork() == 0:
    print("child", os.sched_getscheduler(0), Path("/proc/self/sched").read_text(), flush=True)
    os._exit(0)
os.wait()
"""


def _told(call: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", ASK.format(call=call)], capture_output=True, text=True, check=True
    ).stdout


def _slices(told: str) -> list[int]:
    return [int(found) for found in re.findall(r"se\.slice\s*:\s*(\d+)", told)]


def test_who_answers_goes_first_and_who_it_starts_does_not():
    slices = _slices(_told("answer_soon"))
    if len(slices) != 2 or slices[0] == slices[1]:
        pytest.skip("this kernel has no slices of its own for processes, or does not show them")
    assert slices[0] == 100_000
    assert slices[1] > slices[0]


@pytest.mark.skipif(platform.system() != "Linux", reason="Linux has the policy")
def test_an_engine_lets_others_go_first():
    assert _told("step_aside").startswith("3 ")  # SCHED_BATCH


@pytest.mark.skipif(platform.system() != "Linux", reason="Linux has the policy")
@pytest.mark.parametrize("call", ["answer_soon", "step_aside"])
def test_a_policy_that_was_chosen_stays(call):
    code = f"import os; os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0)); {ASK.format(call=call).strip()}"
    code = code.replace("; import os\n", "\nimport os\n", 1)
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.startswith("5 ")  # SCHED_IDLE


def test_where_it_is_not_possible_nothing_happens(monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "a machine of tomorrow")
    scheduling.answer_soon()
    monkeypatch.setattr(platform, "system", lambda: "another system")
    scheduling.step_aside()
