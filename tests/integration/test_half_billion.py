"""Qwen2-0.5B's true shape trains by every method on a CPU, and 4 bits really are 4 bits."""

import re
import shutil

import pytest

from scripts.make_random_model import make_random_model
from tests.support.specs import LN_2, make_spec, run_spec

LIMIT_4BIT = 0.46e9


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("half") / "model"
    make_random_model("qwen2-0.5b-instruct", folder)
    yield str(folder)
    shutil.rmtree(folder.parent)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("lora", {}),
        ("qlora-4bit", {"load_in_4bit": True}),
        ("qlora-8bit", {"load_in_8bit": True}),
        ("full", {"lora_dim": 0, "learning_rate": 1e-5}),
    ],
)
def test_two_steps(tmp_path, monkeypatch, model, method, options):
    monkeypatch.setenv("QUICKALIGN_HOME", str(tmp_path / "home"))
    defaults = {
        "precision": "auto",
        "max_steps": 2,
        "seq_length": 128,
        "gradient_accumulation_steps": 2,
        "sample_tokens": 4,
    }
    spec = make_spec(tmp_path, "run", model=model, **{**defaults, **options})
    assert spec.hyperparameters.method == method
    result, recorder = run_spec(spec)
    assert result.steps == 2
    assert recorder.steps[0].loss == pytest.approx(LN_2, abs=2e-2)
    assert all(step.grad_norm > 0 for step in recorder.steps)
    if method == "qlora-4bit":
        printed = next(note for note in recorder.notes if note.startswith("Base weights"))
        found = int(re.search(r"([\d,]+) bytes", printed)[1].replace(",", ""))
        assert 0.25e9 < found < LIMIT_4BIT
    shutil.rmtree(result.output)
