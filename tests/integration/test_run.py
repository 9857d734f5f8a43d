"""Whole runs on the embedded model, in this process."""

import errno
import itertools
import json
import shutil

import pytest

from quickalign.core import paths
from quickalign.core.errors import FullDiskError, Interrupted, OptionError
from quickalign.platform.jobs.outcome import is_failure
from quickalign.train import checkpoint
from quickalign.train.ahead import plan
from quickalign.train.device import named_device
from quickalign.train.generate import load_for_generation
from quickalign.train.run import run
from tests.support.specs import LN_2, make_spec, run_spec


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("QUICKALIGN_HOME", str(tmp_path / "home"))


def test_a_finished_run_holds_everything(tmp_path):
    spec = make_spec(tmp_path, "run", validation_split=0.2, save_steps=2)
    result, recorder = run_spec(spec)
    for name in ("spec.json", "metrics.jsonl", "report.json", "report.html", "result.json", "tensorboard"):
        assert (spec.output / name).exists(), name
    assert recorder.steps[0].loss == pytest.approx(LN_2, abs=1e-6)
    assert recorder.steps[0].rewards_margin == 0
    assert result.steps == 3
    assert result.first_evaluation.accuracy == 0.5
    assert result.last_evaluation.step == 3
    adapter = {path.name for path in result.adapter.iterdir()}
    assert adapter >= {"adapter_model.safetensors", "adapter_config.json", "quickalign.json", "tokenizer.json"}
    assert "chat_template.jinja" in adapter
    report = json.loads((spec.output / "report.json").read_text())
    assert report["result"]["sha256"] == result.adapter_sha256
    assert not list(spec.output.rglob(".tmp-*"))
    assert load_for_generation(str(spec.output)).answer("Hello!")


def test_running_a_finished_run_again_changes_nothing(tmp_path):
    spec = make_spec(tmp_path, "run")
    first, _ = run_spec(spec)
    stamp = (first.adapter / "adapter_model.safetensors").stat().st_mtime_ns
    again, recorder = run_spec(spec)
    assert again.adapter_sha256 == first.adapter_sha256
    assert recorder.steps == []
    assert (first.adapter / "adapter_model.safetensors").stat().st_mtime_ns == stamp


def test_another_run_is_not_mixed_into_a_folder(tmp_path):
    run_spec(make_spec(tmp_path, "run"))
    with pytest.raises(OptionError, match=r"learning_rate was 0\.001 and is 0\.002"):
        run(make_spec(tmp_path, "run", learning_rate=2e-3))
    with pytest.raises(OptionError, match="already holds a run"):
        run(make_spec(tmp_path, "run", resume="never"))
    (tmp_path / "dpo.json").write_text(
        json.dumps([{"prompt": "Another one", "chosen": "good", "rejected": "bad"}] * 12)
    )
    with pytest.raises(OptionError, match="training data is another one"):
        run(make_spec(tmp_path, "run"))


def test_a_warm_reference_cache_gives_the_same_bytes_as_a_cold_one(tmp_path, monkeypatch):
    results = []
    for number, home in enumerate(("cold", "cold", "other")):
        monkeypatch.setenv("QUICKALIGN_HOME", str(tmp_path / home))
        options = {"reference": "cached", "num_train_epochs": 2, "max_steps": 0}
        results.append(run_spec(make_spec(tmp_path, f"run-{number}", **options))[0].adapter_sha256)
        run_spec(make_spec(tmp_path, f"seed-{number}", seed=number, **options))
    assert len(set(results)) == 1


@pytest.mark.parametrize(
    ("options", "folder"),
    [
        ({"training_strategy": "sft"}, "adapter"),
        ({"training_strategy": "sft", "lora_dim": 0}, "model"),
        ({"lora_dim": 0, "learning_rate": 1e-4}, "model"),
        ({"lora_dim": 0, "learning_rate": 1e-4, "precision": "bf16"}, "model"),
        ({"precision": "bf16"}, "adapter"),
        ({"load_in_4bit": True}, "adapter"),
        ({"load_in_8bit": True, "load_in_4bit": False}, "adapter"),
        ({"use_dora": True}, "adapter"),
        ({"use_rslora": True, "target_modules": "q_proj,v_proj"}, "adapter"),
        ({"gradient_checkpointing": "on"}, "adapter"),
        ({"packing": "off"}, "adapter"),
        ({"optimizer": "adamw_8bit"}, "adapter"),
        ({"loss_type": "simpo"}, "adapter"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(f"{k}={v}" for k, v in value.items()),
)
def test_every_method_trains(tmp_path, options, folder):
    result, recorder = run_spec(make_spec(tmp_path, "run", max_steps=2, **options))
    assert result.adapter.name == folder
    if options.get("training_strategy") != "sft" and options.get("loss_type") != "simpo":
        assert recorder.steps[0].loss == pytest.approx(LN_2, abs=1e-2)
    assert recorder.steps[1].grad_norm > 0
    assert load_for_generation(str(result.output)).answer("Hello!")


def test_dpo_starts_where_an_sft_adapter_ended(tmp_path):
    first, _ = run_spec(make_spec(tmp_path, "sft", training_strategy="sft", learning_rate=5e-3))
    second, recorder = run_spec(make_spec(tmp_path, "dpo", model=str(first.adapter)))
    assert recorder.steps[0].loss == pytest.approx(LN_2, abs=1e-6)
    answers = [load_for_generation(str(folder)) for folder in (first.output, second.output)]
    with answers[1].without_adapter():
        assert answers[1].answer("May I ask about thing 3?") == answers[0].answer("May I ask about thing 3?")


def test_plan_leaves_nothing_behind(tmp_path):
    spec = make_spec(tmp_path, "planned")
    made, report, validation_report = plan(spec)
    assert validation_report is None
    assert report.ok == made.rows == 24
    assert made.steps == 3
    assert made.fits
    assert not spec.output.exists()


def test_a_plan_may_be_for_a_gpu_of_another_machine(tmp_path):
    spec = make_spec(tmp_path, "run", optimizer="paged_adamw_8bit", cuda_graphs="on", precision="auto")
    with pytest.raises(OptionError, match="paged_adamw_8bit"):
        plan(spec, device=named_device("cpu"))
    made = plan(spec, device=named_device("cuda:16000000000")).plan
    assert (made.device_kind, made.available_bytes, made.cuda_graphs) == ("cuda", 16 * 10**9, True)
    small = plan(make_spec(tmp_path, "run"), device=named_device("cpu:1000000")).plan
    assert not small.fits


def test_a_disk_that_fills_up_is_a_sentence_and_the_run_goes_on(tmp_path, monkeypatch):
    whole, _ = run_spec(make_spec(tmp_path, "whole", save_steps=1))
    spec, save = make_spec(tmp_path, "run", save_steps=1), checkpoint.save

    def full(*arguments, step, **named):
        if step == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return save(*arguments, step=step, **named)

    with (
        monkeypatch.context() as disk,
        pytest.raises(FullDiskError, match=r"A disk is full: that of .*run,.*it goes on") as caught,
    ):
        disk.setattr(checkpoint, "save", full)
        run(spec)
    assert not is_failure(caught.value.exit_code)  # a job is tried again
    assert run_spec(spec)[0].adapter_sha256 == whole.adapter_sha256


def test_evaluations_without_validation_data_are_refused(tmp_path):
    for start in (run, plan):
        with pytest.raises(OptionError, match="eval_steps=2 has no effect"):
            start(make_spec(tmp_path, "run", eval_steps=2))


@pytest.fixture
def unpackable(tmp_path):
    """The embedded model with rotations that depend on the longest row, which shows only when it is loaded."""
    folder = shutil.copytree(paths.assets() / "qwen2-tiny-instruct", tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    config["rope_parameters"] = {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}
    (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


def test_a_run_whose_rows_turned_out_not_to_be_packable_goes_on(tmp_path, unpackable):
    whole, recorder = run_spec(make_spec(tmp_path, "whole", model=unpackable))
    assert any("padded, not packed" in note for note in recorder.notes)
    report = json.loads((whole.output / "report.json").read_text())
    assert not report["plan"]["packing"]
    spec = make_spec(tmp_path, "run", model=unpackable)
    asked = itertools.count()
    with pytest.raises(Interrupted):
        run(spec, stop=lambda: next(asked) == 1)
    assert run_spec(spec)[0].adapter_sha256 == whole.adapter_sha256


def test_a_run_is_trained_further_by_its_folder(tmp_path, monkeypatch):
    first = make_spec(tmp_path, "first", training_strategy="sft", load_in_4bit=False)
    done, _ = run_spec(first)
    spec = make_spec(tmp_path, "further", model=str(first.output))
    planned = plan(spec).plan
    assert not (tmp_path / "home" / "merged").exists(), "a plan merges nothing"
    further, recorder = run_spec(spec)
    made = json.loads((spec.output / "report.json").read_text())["plan"]
    assert (planned.predicted_peak_bytes, planned.steps) == (made["predicted_peak_bytes"], made["steps"])
    assert recorder.steps[0].loss == pytest.approx(LN_2, abs=1e-6), "its reference is what it begins with"
    assert any("training starts from it" in note for note in recorder.notes)
    by_adapter, _ = run_spec(make_spec(tmp_path, "by-adapter", model=str(done.adapter)))
    assert further.adapter_sha256 == by_adapter.adapter_sha256
    fresh, _ = run_spec(make_spec(tmp_path, "fresh"))
    assert further.adapter_sha256 != fresh.adapter_sha256
    monkeypatch.chdir(tmp_path)
    shutil.copytree(first.output, tmp_path / "qwen2-tiny-instruct")
    by_card, _ = run_spec(make_spec(tmp_path, "by-card"))
    assert by_card.adapter_sha256 == fresh.adapter_sha256, "a bare name is a card's"


def test_all_weights_that_were_trained_are_trained_further(tmp_path):
    first = make_spec(tmp_path, "first", training_strategy="sft", lora_dim=0)
    done, _ = run_spec(first)
    further, by_weights, fresh = (
        run_spec(make_spec(tmp_path, name, **model))[0].adapter_sha256
        for name, model in (
            ("further", {"model": str(first.output)}),
            ("by-weights", {"model": str(done.adapter)}),
            ("fresh", {}),
        )
    )
    assert further == by_weights != fresh


def test_a_run_that_began_with_what_is_refused_by_now_goes_on(tmp_path, monkeypatch):
    spec = make_spec(tmp_path, "run", target_modules="q_proj,no_such_layer")
    spec = spec.model_copy(update={"safe_rlhf_preference": "safer"})
    asked = itertools.count()
    with monkeypatch.context() as older, pytest.raises(Interrupted):
        older.setattr("quickalign.data.prepare.check_choices", lambda *_: None)
        older.setattr("quickalign.train.prepare.check_names", lambda *_: None)
        older.setattr("quickalign.train.model._check_targets", lambda *_: None)
        run(spec, stop=lambda: next(asked) == 1)
    allowed = make_spec(tmp_path, "whole", target_modules="q_proj")
    assert run_spec(spec)[0].adapter_sha256 == run_spec(allowed)[0].adapter_sha256
    with pytest.raises(OptionError, match="safe_rlhf_preference=safer has no effect"):
        run(spec.model_copy(update={"output": tmp_path / "another"}))


def test_a_token_budget_for_rows_that_turn_out_not_to_be_packable_is_refused(tmp_path, unpackable):
    with pytest.raises(OptionError, match=r"token_budget=300 has no effect on padded rows.*rotary"):
        run(make_spec(tmp_path, "run", model=unpackable, token_budget=300))
