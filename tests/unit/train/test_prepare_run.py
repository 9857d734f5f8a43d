"""What is refused before weights are loaded."""

import json
import shutil
import subprocess
import sys
from contextlib import nullcontext

import pytest

from quickalign.core import options, paths
from quickalign.core.errors import ModelError, OptionError
from quickalign.core.spec import RunSpec
from quickalign.train.ahead import plan

MODEL = "qwen2-tiny-instruct"
PAIRS = [{"prompt": f"Say {i}", "chosen": f"Here is {i}.", "rejected": "No."} for i in range(4)]


def planned(folder, train, validation, **options_):
    """The plan for these rows."""
    for name, rows in (("train", train), ("validation", validation)):
        (folder / f"{name}.json").write_text(json.dumps(rows))
    parameters = options.parse({"training_strategy": "dpo", "load_in_4bit": False} | options_)
    files = {name: str(folder / f"{name}.json") for name in ("train", "validation")}
    return plan(RunSpec(model=MODEL, output=folder / "run", hyperparameters=parameters, **files))


@pytest.mark.parametrize(
    ("validation", "warned"),
    [
        (PAIRS, "4 of 4 validation examples are in the training data too"),
        ([PAIRS[2], PAIRS[2], {"prompt": "Sing", "chosen": "La", "rejected": "No."}], "2 of 3 validation examples are"),
        ([PAIRS[1] | {"chosen": "Here it is."}], ""),
    ],
)
def test_validation_rows_that_are_trained_on_are_told(tmp_path, validation, warned):
    found = planned(tmp_path, PAIRS, validation)
    told = [warning for warning in found.validation_report.warnings if "training data too" in warning]
    assert [warning.startswith(warned) for warning in told] == ([True] if warned else [])
    assert not any("training data" in warning for warning in found.report.warnings)


def test_what_is_cut_of_the_validation_data_is_told_before_the_run(tmp_path):
    long = [{"prompt": "Say much", "chosen": "much " * 200, "rejected": "No."}]
    found = planned(tmp_path, PAIRS, long, seq_length=64)
    assert found.validation_report.tokens.truncation.rows_cut == 1
    assert any(warning.startswith("seq_length=64 cuts 1 of 1 examples") for warning in found.validation_report.warnings)
    assert found.report.tokens.truncation.rows_cut == 0


@pytest.mark.parametrize("where", ["train", "validation"])
def test_rows_beyond_the_models_positions_are_refused_with_the_length_it_allows(tmp_path, where):
    config = json.loads((paths.assets() / MODEL / "config.json").read_text())
    known = config["max_position_embeddings"]
    for name, words in (("short", 3), ("long", known)):
        row = {"prompt": "Hi", "chosen": "good " * words, "rejected": "bad"}
        (tmp_path / f"{name}.json").write_text(json.dumps([row]))
    files = {"train": str(tmp_path / "short.json"), where: str(tmp_path / "long.json")}

    def asked(length: int) -> RunSpec:
        parameters = options.parse({"training_strategy": "dpo", "load_in_4bit": False, "seq_length": length})
        return RunSpec(model=MODEL, output=tmp_path / "run", hyperparameters=parameters, **files)

    with pytest.raises(OptionError, match=f"seq_length={known + 1}, and {MODEL} was made for {known} at most"):
        plan(asked(known + 1))
    cut = plan(asked(known))[1].tokens
    assert cut is not None
    assert cut.truncation.rows_cut == (where == "train")


@pytest.mark.parametrize(
    ("names", "wrong"), [("q_proj, v_prj", "v_prj"), ("proj", "proj"), ("layers.9.q_proj", "layers.9.q_proj")]
)
def test_a_name_that_no_layer_has_is_refused_with_those_there_are(tmp_path, names, wrong):
    linear = "down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj"
    with pytest.raises(OptionError, match=f"names '{wrong}', and no layer .* Its linear layers are {linear};"):
        planned(tmp_path, PAIRS, PAIRS, target_modules=names)


@pytest.mark.parametrize("names", ["all-linear", "q_proj,down_proj", "layers.1.self_attn.q_proj", "lm_head, o_proj"])
def test_names_that_layers_have_are_planned(tmp_path, names):
    assert planned(tmp_path, PAIRS, PAIRS, target_modules=names)[0].steps > 0


@pytest.mark.parametrize("model", ["job-abc", "ft:qwen2-tiny-instruct:quickalign:first:abc"])
def test_a_job_is_for_the_server(tmp_path, model):
    with pytest.raises(ModelError, match=f"{model} names a job") as caught:
        plan(RunSpec(model=model, train="rows.json", output=tmp_path / "run"))
    assert "jobs show" in caught.value.remedy


def test_a_damaged_tokenizer_is_a_sentence(tmp_path):
    shutil.copytree(paths.assets() / MODEL, tmp_path / "model")
    (tmp_path / "model" / "tokenizer.json").write_text("{")
    (tmp_path / "rows.json").write_text(json.dumps([{"prompt": "Hi", "chosen": "good", "rejected": "bad"}]))
    spec = RunSpec(model=str(tmp_path / "model"), train=str(tmp_path / "rows.json"), output=tmp_path / "run")
    with pytest.raises(ModelError, match=r"tokenizer in .* cannot be loaded"):
        plan(spec)


@pytest.mark.parametrize("beyond", [0, 1])
def test_data_check_warns_of_what_a_plan_refuses(tmp_path, beyond):
    folder = paths.assets() / MODEL
    known = json.loads((folder / "config.json").read_text())["max_position_embeddings"]
    rows = [{"prompt": "Hi", "chosen": "good " * known, "rejected": "bad"}]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    arguments = ["data", "check", str(tmp_path / "rows.json"), "--model", MODEL, "--json"]
    program = "import sys; from quickalign.cli.main import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, *arguments, "--seq-length", str(known + beyond)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    told = [warning for warning in json.loads(done.stdout)["warnings"] if "was made for" in warning]
    assert told == beyond * [
        f"The longest row has {known + 1} tokens at seq_length={known + 1}, and the model was made for {known} at most: "
        f"`plan` and `train` refuse that; set seq_length to {known} or less."
    ]
    with pytest.raises(OptionError, match=f"Set seq_length to {known} or less") if beyond else nullcontext():
        planned(tmp_path, rows, PAIRS, seq_length=known + beyond)
