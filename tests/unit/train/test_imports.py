"""What a program loads before its first word: seconds that everybody waits who asks what a run will need."""

import json
import subprocess
import sys

import pytest

from quickalign.core import options
from quickalign.train.__main__ import _uses_bitsandbytes

HEAVY = ("peft", "bitsandbytes", "transformers.modeling_utils", "torch._dynamo", "torch._inductor")


def loaded(program: str) -> set[str]:
    """Those of the heavy modules that `program` loads."""
    ask = f"import json, sys; print(json.dumps([name for name in {HEAVY} if sys.modules.get(name)]))"
    done = subprocess.run([sys.executable, "-c", f"{program}\n{ask}"], capture_output=True, text=True, check=True)
    return {*json.loads(done.stdout)}


def test_a_plan_needs_nothing_that_trains():
    assert loaded("import quickalign.train.ahead") == set()


def test_a_run_without_quantisation_goes_without_its_library():
    program = "from quickalign.core.startup import leave_out; leave_out('bitsandbytes'); import quickalign.train.run"
    assert "peft" in (found := loaded(program))
    assert "bitsandbytes" not in found


@pytest.mark.parametrize(
    ("changes", "uses"),
    [
        ({}, True),
        ({"load_in_4bit": False}, False),
        ({"load_in_8bit": True}, True),
        ({"load_in_4bit": False, "optimizer": "adamw_8bit"}, True),
        ({"load_in_4bit": False, "optimizer": "paged_adamw_8bit"}, True),
        ({"lora_dim": 0}, False),
    ],
)
def test_which_runs_need_bitsandbytes(changes, uses):
    assert _uses_bitsandbytes(options.parse(changes)) == uses
