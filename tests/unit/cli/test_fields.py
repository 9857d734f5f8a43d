"""Every hyperparameter is an option of `train` and `plan`, and only what was set by hand is passed on."""

import inspect
from pathlib import Path
from typing import get_args, get_origin

import pytest

from quickalign.cli.commands.plan import plan
from quickalign.cli.commands.train import train
from quickalign.cli.fields import as_options, option_name
from quickalign.core.hyperparameters import Hyperparameters

FIELDS = Hyperparameters.model_fields


def some_other_value(name):
    """A valid value that is not the default, as it is typed."""
    field = FIELDS[name]
    if field.annotation is bool:
        return str(not field.default).lower()
    if get_origin(field.annotation) is not None:
        return next(choice for choice in get_args(field.annotation) if choice != field.default)
    if field.annotation is str:
        return "q_proj,v_proj"
    low = next((rule.ge for rule in field.metadata if hasattr(rule, "ge")), 0)
    return "0.25" if field.annotation is float else str(low + 1 if low + 1 != field.default else low + 2)


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("spelled", [option_name, lambda name: "--" + name])
def test_each_option_reaches_the_specification_with_hyphens_and_with_underscores(
    cli, recorded, monkeypatch, name, spelled
):
    monkeypatch.setattr("quickalign.core.options.parse", lambda values: Hyperparameters(**values))
    monkeypatch.setattr("quickalign.core.options.check_together", lambda asked, parameters: None)
    value = some_other_value(name)
    code, _, err = cli("train", "--local", "model", "data.json", spelled(name), value)
    assert (code, err) == (0, "")
    expected = Hyperparameters(**{name: value})
    assert recorded[0].hyperparameters == expected
    assert getattr(expected, name) != FIELDS[name].default


def test_only_options_set_by_hand_are_passed_on(cli, recorded):
    assert cli("train", "--local", "m", "d", "--lora-dim", "32", "--load-in-8bit", "true")[0] == 0
    assert recorded[0].hyperparameters.model_fields_set == {"lora_dim", "load_in_8bit"}
    assert recorded[0].hyperparameters.quantization == "8bit"


def test_choices_and_switches_are_read_in_any_case(cli, recorded):
    assert cli("train", "--local", "m", "d", "--load-in-4bit", "False", "--precision", "FP32")[0] == 0
    assert recorded[0].hyperparameters.load_in_4bit is False
    assert recorded[0].hyperparameters.precision == "fp32"


@pytest.mark.parametrize("command", ["train", "plan"])
def test_help_names_every_option_with_its_meaning_and_default(cli, command):
    code, out, _ = cli(command, "--help")
    text = " ".join(out.split())
    assert code == 0
    for name, field in FIELDS.items():
        assert option_name(name) in text
        assert " ".join(field.description.split()) in text
    assert "default 5e-05, above 0 to 1" in text
    assert "default 1, 1 to 1000 epochs" in text
    assert "\x1b" not in out


def test_a_plan_takes_all_of_a_run_that_train_takes():
    of_the_job = {"local", "resume", "detach", "name", "gpus", "priority", "max_retries", "label"}
    taken, planned = (set(inspect.signature(command).parameters) for command in (train, plan))
    assert taken - of_the_job <= planned


def test_a_bad_value_is_named_with_its_option_and_meaning(cli, recorded):
    code, _, err = cli("train", "--local", "m", "d", "--learning-rate", "fast")
    assert code == 2
    assert "learning_rate='fast'" in err
    assert "Peak learning rate" in err
    assert not recorded


def test_impossible_combinations_are_refused_before_anything_runs(cli, recorded):
    code, _, err = cli("train", "--local", "m", "d", "--load-in-4bit", "true", "--load-in-8bit", "true")
    assert code == 2
    assert "exclude each other" in err
    assert not recorded


def test_everything_besides_hyperparameters_reaches_the_specification(cli, recorded):
    arguments = [
        "train",
        "--local",
        "m",
        "d.json",
        "--output",
        "out",
        "--validation",
        "v.json",
        "--data-format",
        "openai",
    ]
    arguments += ["--safe-rlhf-preference", "safer", "--bad-rows", "drop", "--no-resume", "--model-revision", "r1"]
    arguments += ["--sample-prompt", "one", "--sample-prompt", "two"]
    assert cli(*arguments)[0] == 0
    spec = recorded[0]
    assert (spec.model, spec.train, spec.output) == ("m", "d.json", Path("out"))
    assert (spec.validation, spec.data_format, spec.safe_rlhf_preference) == ("v.json", "openai", "safer")
    assert (spec.bad_rows, spec.resume, spec.model_revision) == ("drop", "never", "r1")
    assert spec.sample_prompts == ("one", "two")


def test_the_default_output_is_the_same_for_the_same_command_and_differs_for_others(cli, recorded):
    for extra in ([], ["--no-resume"], ["--lora-dim", "8"], ["--validation", "v"]):
        assert cli("train", "--local", "org/some-model", "d", *extra)[0] == 0
    first, again, other, validated = (spec.output for spec in recorded)
    assert first == again
    assert len({first, other, validated}) == 3
    assert first.parent == Path("runs")
    assert first.name.startswith("some-model-sft-")


def test_as_options_is_what_the_parser_reads_back(cli, recorded):
    import shlex

    values = {"training_strategy": "dpo", "learning_rate": 1e-4, "load_in_4bit": False, "system_prompt": "Be kind now"}
    assert cli("train", "--local", "m", "d", *shlex.split(as_options(values)))[0] == 0
    assert recorded[0].hyperparameters == Hyperparameters.model_validate(values)
