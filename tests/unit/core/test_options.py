"""The mission's table is binding, and no option is silently ignored."""

from pathlib import Path
from unittest.mock import Mock

import pytest

from quickalign.cli.arguments import make_spec
from quickalign.core import spec
from quickalign.core.errors import OptionError
from quickalign.core.hyperparameters import Hyperparameters
from quickalign.core.options import check_together, parse, typed
from quickalign.core.wire.jobs import TrainRequest
from quickalign.platform.jobs.requests import check_spec
from quickalign.train.ahead import plan

MISSION = {
    "training_strategy": ("sft", str),
    "learning_rate": (5e-5, float),
    "num_train_epochs": (1, int),
    "per_device_train_batch_size": (1, int),
    "seq_length": (128, int),
    "lora_dim": (32, int),
    "lora_alpha": (32, int),
    "dpo_beta": (0.1, float),
    "load_in_4bit": (True, bool),
    "load_in_8bit": (False, bool),
    "gradient_accumulation_steps": (8, int),
    "apply_chat_template": (True, bool),
    "system_prompt": ("You are a helpful assistant", str),
}


def test_names_types_and_defaults_of_the_mission():
    defaults = parse({})
    for name, (value, kind) in MISSION.items():
        assert getattr(defaults, name) == value
        assert type(getattr(defaults, name)) is kind
    in_group = [n for n, f in Hyperparameters.model_fields.items() if f.json_schema_extra["group"] == "mission"]
    assert in_group == list(MISSION)


def test_values_may_come_as_text():
    found = parse({"load_in_4bit": "False", "learning_rate": "1e-3", "lora_dim": "8", "training_strategy": "dpo"})
    assert (found.load_in_4bit, found.learning_rate, found.lora_dim) == (False, 1e-3, 8)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, "qlora-4bit"),
        ({"load_in_8bit": True}, "qlora-8bit"),
        ({"load_in_4bit": False}, "lora"),
        ({"load_in_4bit": True}, "qlora-4bit"),
        ({"lora_dim": 0}, "full"),
    ],
)
def test_method(values, expected):
    assert parse(values).method == expected


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"learning_rte": 1}, ["'learning_rte'", "'learning_rate'"]),
        ({"lr": 1}, ["'lr'", "'learning_rate'"]),
        ({"lora-rank": 1}, ["'lora_dim'"]),
        ({"load_in_4bit": True, "load_in_8bit": True}, ["load_in_4bit", "load_in_8bit"]),
        ({"lora_dim": 0, "load_in_4bit": True}, ["load_in_4bit", "lora_dim"]),
        ({"lora_dim": 0, "lora_alpha": 64}, ["lora_alpha", "lora_dim"]),
        ({"dpo_beta": 0.2}, ["dpo_beta", "training_strategy"]),
        ({"training_strategy": "dpo", "loss_type": "ipo", "label_smoothing": 0.1}, ["label_smoothing", "loss_type"]),
        ({"training_strategy": "dpo", "loss_type": "orpo", "sft_weight": 1}, ["orpo", "sft_weight"]),
        ({"training_strategy": "dpo", "loss_type": "simpo", "reference": "live"}, ["reference", "simpo"]),
        ({"apply_chat_template": False, "system_prompt": "x"}, ["system_prompt", "apply_chat_template"]),
        ({"packing": "off", "token_budget": 512}, ["token_budget", "packing"]),
        ({"use_dora": True, "load_in_8bit": True}, ["use_dora", "load_in_8bit"]),
        ({"learning_rate": "nan"}, ["learning_rate"]),
        ({"learning_rate": -1}, ["learning_rate", "greater"]),
        ({"loss_type": "kto"}, ["loss_type", "'sigmoid'"]),
    ],
)
def test_what_cannot_be_honoured_is_an_error_that_names_it(values, words):
    with pytest.raises(OptionError) as caught:
        parse(values)
    for word in words:
        assert word in str(caught.value)


VALIDATED = {"validation": "v.json"}
SPLIT = {"hyperparameters": {"validation_split": 0.1}}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (VALIDATED | SPLIT, ["validation_split=0.1", "validation file"]),
        ({"hyperparameters": {"eval_steps": 5}}, ["eval_steps=5", "validation"]),
        ({"sample_prompts": ["Hi"], "sample_tokens": 0}, ["sample_prompts", "sample_tokens=0"]),
        (VALIDATED | {"closing_rows": 4}, ["closing_rows=4", "validation"]),
        (SPLIT | {"closing_rows": 4}, ["closing_rows=4", "validation"]),
    ],
)
def test_what_has_no_effect_in_a_run_is_an_error_at_every_door(values, words):
    """A specification's file, the command line, and a request to the server."""
    whole = {"model": "qwen2-7b", "train": "t.json", "output": "o"} | values
    options = whole.get("hyperparameters", {})
    given = {name: value for name, value in values.items() if name != "hyperparameters"}
    request = TrainRequest(**{name: value for name, value in whole.items() if name != "output"})
    doors = (
        lambda: plan(spec.parse(whole)),
        lambda: make_spec(options, output=Path("o"), model="qwen2-7b", train="t.json", **given),
        lambda: check_spec(request, Mock()),
    )
    for door in doors:
        with pytest.raises(OptionError) as caught:
            door()
        for word in words:
            assert word in str(caught.value)


@pytest.mark.parametrize(
    "values",
    [
        VALIDATED | {"hyperparameters": {"eval_steps": 5}},
        {"hyperparameters": {"eval_steps": 5, "validation_split": 0.1}},
        VALIDATED | {"closing_rows": 0},
        {"closing_rows": 4},
        {"sample_tokens": 0},
        SPLIT | {"closing_rows": TrainRequest.model_fields["closing_rows"].default},
    ],
)
def test_what_has_an_effect_in_a_run_goes(values):
    made = spec.parse({"model": "m", "train": "t.json", "output": "o"} | values)
    assert made.closing_rows == values.get("closing_rows", 16)
    check_together(made, made.hyperparameters)


def test_options_without_effect_may_be_passed_with_their_default():
    assert parse({"training_strategy": "sft", "dpo_beta": 0.1, "lora_dim": 0, "lora_alpha": 32}).method == "full"


def test_every_option_is_described_and_numbers_are_bounded():
    for name, field in Hyperparameters.model_fields.items():
        assert field.description, name
        assert len(field.description) > 20 or name == "learning_rate", name
        if field.annotation in (int, float):
            assert field.metadata, f"{name} has no bounds"


def test_texts_become_what_they_stand_for_and_nothing_else_changes():
    given = {"learning_rate": "1e-4", "max_steps": "7", "load_in_4bit": "false", "system_prompt": "7", "seed": 3}
    assert typed(given) == {
        "learning_rate": 1e-4, "max_steps": 7, "load_in_4bit": False, "system_prompt": "7", "seed": 3
    }  # fmt: skip
    cannot = {"learning_rate": "many", "no_such_option": "1", "training_strategy": "dpo", "target_modules": "1"}
    assert typed(cannot) == cannot
    every = parse({}).model_dump()
    assert typed({name: str(value) for name, value in every.items() if value is not None}) == {
        name: value for name, value in every.items() if value is not None
    }
