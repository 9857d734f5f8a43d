"""PAI-QuickStart's own script with `quickalign` imports, on a fresh home with nothing configured.

The script asks for Qwen2-0.5B-Instruct. Where its weights are not on this machine already, or there is no GPU to train them
in a test's time, the model's name is replaced by that of the embedded model; nothing else of the script changes.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from quickalign.hub.download import is_complete
from quickalign.hub.places import wanted
from tests.support.homes import environment, fresh_home

SCRIPT = Path(__file__).resolve().parents[3] / "examples" / "mission_dpo.py"
MODEL = "qwen2-0.5b-instruct"
EMBEDDED = "qwen2-tiny-instruct"


def script(folder: Path) -> Path:
    """The script as it can be run here."""
    import torch

    text = SCRIPT.read_text(encoding="utf-8")
    assert text.count(f'"{MODEL}"') == 1
    if not (torch.cuda.is_available() and is_complete(wanted(MODEL, None).cache)):
        text = text.replace(f'"{MODEL}"', f'"{EMBEDDED}"')
    path = folder / "mission_dpo.py"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.slow
def test_the_mission_s_script_trains_with_nothing_configured(tmp_path):
    program = script(tmp_path)
    with fresh_home(tmp_path) as home:
        done = subprocess.run(
            [sys.executable, str(program)],
            cwd=tmp_path,
            env=environment(home),
            capture_output=True,
            text=True,
            timeout=580,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        weights = Path(done.stdout.strip().splitlines()[-1])
        assert (weights / "adapter_model.safetensors").is_file()
    assert "sampled_train.json" in done.stdout, "a notice says what the sample set stands in for"
    assert "succeeded." in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
