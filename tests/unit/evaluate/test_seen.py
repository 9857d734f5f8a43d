"""Rows that the model was trained on are counted where its run keeps them, and held-out ones are not among them."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from quickalign.core import options, paths
from quickalign.core.spec import RunSpec, dump
from quickalign.data.prepare import DataRequest, prepare
from quickalign.data.tokenizer import load_tokenizer
from quickalign.evaluate.seen import with_rows_seen
from quickalign.train.data import open_data, prepare_data
from quickalign.train.distributed import Processes
from quickalign.train.observer import Observer

TOKENIZER = load_tokenizer(paths.assets() / "qwen2-tiny-instruct")
ROWS = [{"prompt": f"Say {i}", "chosen": f"Here is {i}.", "rejected": "No."} for i in range(10)]


@pytest.fixture
def run(tmp_path) -> RunSpec:
    """A run's folder with its specification and rows, of which some are held out."""
    (tmp_path / "rows.json").write_text(json.dumps(ROWS))
    parameters = options.parse({"training_strategy": "dpo", "validation_split": 0.3})
    spec = RunSpec(model="m", train=str(tmp_path / "rows.json"), output=tmp_path / "run", hyperparameters=parameters)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "spec.json").write_text(dump(spec))
    prepare_data(spec, TOKENIZER, spec.output / "data", Observer(), Processes())
    return spec


def warned(folder: Path, weights: Path, rows) -> list[str]:
    (folder / "asked.json").write_text(json.dumps(rows))
    request = DataRequest(str(folder / "asked.json"), seq_length=1024, system_prompt="You are a helpful assistant")
    prepared = prepare(request, TOKENIZER, folder / "encoded")
    subject = SimpleNamespace(found=SimpleNamespace(adapter=weights, weights=weights))
    return [text for text in with_rows_seen(prepared, subject).warnings if "was trained on" in text]


@pytest.mark.parametrize("weights", ["adapter", "checkpoints/step-00000002/adapter"])
def test_rows_of_the_training_are_told(tmp_path, run, weights):
    data = open_data(run, run.output / "data")
    assert (len(data.train), len(data.validation)) == (7, 3)
    told = warned(tmp_path, run.output / weights, [*ROWS, {"prompt": "New", "chosen": "La", "rejected": "No."}])
    assert told == ["The model was trained on 7 of these 11 examples: figures on them say little."]


def test_rows_that_were_held_out_are_not(tmp_path, run):
    held = {row.row for row in open_data(run, run.output / "data").validation[:]}
    assert warned(tmp_path, run.output / "adapter", [ROWS[number - 1] for number in held]) == []


def test_a_model_of_no_run_is_not_asked_about(tmp_path):
    assert warned(tmp_path, tmp_path / "model", ROWS) == []
