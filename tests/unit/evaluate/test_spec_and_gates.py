"""Limits: which are refused before anything is loaded, and what happens when one is not kept."""

import json

import pytest

from quickalign.core import spec_file
from quickalign.core.errors import OptionError, QualityError
from quickalign.evaluate.checks import Check
from quickalign.evaluate.figures import FIGURES
from quickalign.evaluate.gates import demand, gates
from quickalign.evaluate.spec import METRICS, EvaluationSpec, check

SOUND = Check(name="likelihood", passed=True, seen="fine.")
BROKEN = Check(name="likelihood", passed=False, seen="far too low.")


def spec(**values):
    return EvaluationSpec(model="m", data="d", output="o", **values)


def test_every_figure_can_have_a_limit():
    assert tuple(figure.name for figure in FIGURES) == METRICS


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"fail_below": {"acuracy": 0.7}}, "acuracy"),
        ({"fail_above": {"kl": 0.1}, "kl_rows": 0}, "kl_rows"),
        ({"fail_above": {"refusals": 0.1}, "prompts": 0}, "prompts"),
        ({"answer_tokens": 64, "prompts": 0}, "answer_tokens=64 has no effect with prompts=0"),
        ({"lm_eval": ("mine",), "lm_eval_tasks": "no/such"}, "no/such, which is no folder"),
    ],
)
def test_what_has_no_effect_is_refused(values, words):
    with pytest.raises(OptionError, match=words):
        check(spec(**values))


def test_the_default_may_be_given_where_it_has_no_effect():
    check(spec(prompts=0, answer_tokens=EvaluationSpec.model_fields["answer_tokens"].default))


def test_limits_that_are_kept_and_not():
    found = gates(spec(fail_below={"accuracy": 0.7}, fail_above={"kl": 0.1}), {"accuracy": 0.7, "kl": 0.2})
    assert [(gate.figure, gate.passed) for gate in found] == [("accuracy", True), ("kl", False)]
    with pytest.raises(QualityError, match=r"kl is 0\.2, above 0\.1") as raised:
        demand(found, [SOUND])
    assert raised.value.exit_code == 13


def test_a_figure_that_was_not_measured_cannot_be_limited():
    with pytest.raises(OptionError, match="accuracy"):
        gates(spec(fail_below={"accuracy": 0.7}), {"perplexity": 3.0})


def test_a_broken_model_keeps_no_limit():
    found = gates(spec(fail_below={"accuracy": 0.5}), {"accuracy": 0.9})
    demand(found, [SOUND])
    with pytest.raises(QualityError, match="far too low"):
        demand(found, [BROKEN])


def test_without_limits_nothing_fails():
    demand((), [BROKEN])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "object"),
        ("{", "not valid JSON"),
        (json.dumps({"model": "m", "data": "d", "output": "o", "prompts": -1}), r"prompts \(-1\)"),
        (json.dumps({"model": "m", "data": "d", "output": "o", "promts": 1}), "promts"),
        (json.dumps({"model": "m", "output": "o"}), "data"),
    ],
)
def test_a_wrong_specification_is_one_sentence(tmp_path, text, words):
    file = tmp_path / "spec.json"
    file.write_text(text)
    with pytest.raises(OptionError, match=words):
        spec_file.load(EvaluationSpec, file)


def test_a_missing_specification_is_told(tmp_path):
    with pytest.raises(OptionError, match="cannot be read"):
        spec_file.load(EvaluationSpec, tmp_path / "none.json")
