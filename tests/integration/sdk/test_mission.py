"""PAI-QuickStart's own script with `quickalign` imports, and the notebook, on fresh homes with nothing configured.

The script asks for Qwen2-0.5B-Instruct. Where its weights are not on this machine already, or there is no GPU to train them
in a test's time, the model's name is replaced by that of the embedded model; nothing else of the script changes.

The notebook's code cells are executed in order by one Python process. No kernel takes part: what is shown is that the code
runs from first to last, not how an editor draws it.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from quickalign.hub.download import is_complete
from quickalign.hub.places import wanted
from tests.support.homes import environment, fresh_home, processes_of, servers_of

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "examples" / "mission_dpo.py"
NOTEBOOK = ROOT / "examples" / "whole_way.ipynb"
MODEL = "qwen2-0.5b-instruct"
EMBEDDED = "qwen2-tiny-instruct"


def script() -> str:
    """The script as it can be run here."""
    import torch

    text = SCRIPT.read_text(encoding="utf-8")
    assert text.count(f'"{MODEL}"') == 1
    if not (torch.cuda.is_available() and is_complete(wanted(MODEL, None).cache)):
        text = text.replace(f'"{MODEL}"', f'"{EMBEDDED}"')
    return text


def cells() -> list[str]:
    """The code of the notebook."""
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in code), "it is kept without outputs"
    return ["".join(cell["source"]) for cell in code]


def execute(program: str, folder: Path, config: str = "") -> str:
    """Run a program on a home of these settings alone; returns what it printed. Its services must be gone behind it."""
    path = folder / "program.py"
    path.write_text(program, encoding="utf-8")
    with fresh_home(folder) as home:
        if config:
            (home / "config.toml").write_text(config, encoding="utf-8")
        done = subprocess.run(
            [sys.executable, str(path)],
            cwd=folder,
            env=environment(home),
            capture_output=True,
            text=True,
            timeout=580,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        servers = {process.pid for process in servers_of(home)}
        assert {process.pid for process in processes_of(home)} == servers, "nothing runs but the server"
        assert not list((home / "services").iterdir()), "no folder of a service is left"
    assert "Traceback" not in done.stdout + done.stderr
    return done.stdout


def test_the_script_differs_from_pai_s_in_its_imports_alone():
    code = [line for line in SCRIPT.read_text(encoding="utf-8").splitlines() if line.startswith("from ")]
    assert code == [
        "from quickalign.session import get_default_session",
        "from quickalign.common.utils import random_str",
        "from quickalign.model import ModelTrainingRecipe",
    ]


@pytest.mark.slow
def test_the_mission_s_script_from_first_line_to_last_with_nothing_configured(tmp_path):
    told = execute(script(), tmp_path)
    assert "sampled_train.json" in told, "a notice says what the sample set stands in for"
    assert "succeeded." in told
    name = re.search(r"Service (qwen2_example_[a-z0-9]{6}): http://", told)
    assert name
    lines = told.strip().splitlines()
    running = lines.index(f"● {name[1]}: running")
    assert "".join(lines[running + 1 :]).strip(), "the answer is the last that is printed"


@pytest.mark.slow
def test_the_notebook_s_code_runs_from_first_to_last(tmp_path):
    told = execute("\n\n".join(cells()), tmp_path)
    assert "MB at the peak" in told
    assert told.count("passed ") >= 4
    assert "FAILED" not in told
    before, after = (re.search(rf"^{name}: (.+)$", told, re.MULTILINE) for name in ("before", "after"))
    assert before
    assert after
    assert before[1] != after[1], "what it shows has changed"
    assert told.count("processes=(") == 2
