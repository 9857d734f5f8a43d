"""Qwen2-0.5B's true shape trains by every method on a CPU, and 4 bits really are 4 bits."""

import re
import shutil
from pathlib import Path

import pytest
import torch

from quickalign.hub.shape import read_shape
from quickalign.train.device import find_device
from quickalign.train.model import load_base, stored_bytes
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
        assert 0.25e9 < found < LIMIT_4BIT + _wider_bytes(model)
    shutil.rmtree(result.output)


def _wider_bytes(model):
    """What the embedding takes more than in 16 bits where this machine computes in fp32."""
    return 0 if find_device().bf16 else 2 * read_shape(Path(model)).embedding_parameters


@pytest.mark.slow
def test_the_4_bit_base_is_under_0_46_gb(model):
    base = load_base(Path(model), dtype=torch.bfloat16, quantization="4bit")
    assert 0.25e9 < stored_bytes(base) < LIMIT_4BIT
