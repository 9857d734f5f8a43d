"""What a step does on a GPU, as far as that can be seen without one: nothing mixes devices, and micro-batches are
queued without waiting for a number."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).parents[4]
COMPILER = shutil.which("g++")


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What steps of several kinds did, by their names."""
    if COMPILER is None:
        pytest.skip("needs g++")
    built = tmp_path_factory.mktemp("built") / "pretended_cuda.so"
    home = Path(torch.__file__).parent
    options = ["-shared", "-fPIC", "-std=c++20", f"-I{home}/include", f"-L{home}/lib", "-lc10", "-ltorch_cpu"]
    subprocess.run([COMPILER, str(ROOT / "tests/support/pretended_cuda.cpp"), "-o", str(built), *options], check=True)
    preloaded = {"LD_PRELOAD": str(built), "LD_LIBRARY_PATH": f"{home}/lib", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.pretended_gpu"],
        env=os.environ | preloaded,
        cwd=ROOT,
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)  # type: ignore[no-any-return]


@pytest.mark.slow
@pytest.mark.skipif(torch.version.cuda is not None, reason="a build with CUDA has devices of its own")
def test_a_step_waits_for_the_device_once_and_mixes_no_devices(steps: dict[str, Any]) -> None:
    assert len(steps) == 4
    for name, found in steps.items():
        assert found["waits"] == ["_on_host"], name
        assert found["devices"] == ["cuda:0"], name
        assert found["micros"] > 1, name
