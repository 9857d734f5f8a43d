"""What cannot be done is told before weights are loaded, and leaves nothing behind where nothing was computed."""

import json

import pytest

from quickalign.core.errors import DataError, ModelError, OptionError
from quickalign.core.wire.evaluations import EvaluateRequest
from quickalign.evaluate import measure
from quickalign.evaluate.compare import run as comparison
from quickalign.evaluate.compare.spec import ComparisonSpec
from quickalign.evaluate.possible import check_divergence, check_limits
from quickalign.evaluate.run import evaluate
from quickalign.evaluate.spec import METRICS, EvaluationSpec
from quickalign.train.observer import Observer

TINY = "qwen2-tiny-instruct"
PAIRS = {"prompt": "Hello!", "chosen": "Hello, and welcome!", "rejected": "Hm."}
SINGLE = {"instruction": "Hello!", "output": "Hello, and welcome!"}


@pytest.fixture(autouse=True)
def nothing_is_loaded(monkeypatch):
    def load(subject):
        raise AssertionError(f"the weights of {subject.name} were loaded")

    monkeypatch.setattr(measure, "Loaded", load)
    monkeypatch.setattr(comparison, "Loaded", load)


def evaluation(folder, row, **values):
    (folder / "data.json").write_text(json.dumps([row]))
    spec = EvaluationSpec(**{"model": TINY, "data": str(folder / "data.json"), "output": folder / "made"} | values)
    return evaluate(spec, Observer())


@pytest.mark.parametrize("changes", [{"model": "nosuch"}, {"against": "nosuch"}, {"base": "nosuch"}])
def test_a_model_that_does_not_exist(tmp_path, changes):
    with pytest.raises(ModelError, match="nosuch"):
        evaluation(tmp_path, PAIRS, **changes)
    assert [file.name for file in tmp_path.iterdir()] == ["data.json"]


def test_data_that_cannot_be_used(tmp_path):
    with pytest.raises(DataError, match="1 row that cannot be used"):
        evaluation(tmp_path, PAIRS | {"chosen": ""})
    assert [file.name for file in tmp_path.iterdir()] == ["data.json"]


@pytest.mark.parametrize(
    ("row", "changes", "words"),
    [
        (SINGLE, {"base": TINY, "fail_below": {"accuracy": 0.7}}, "'accuracy' needs preference pairs"),
        (SINGLE, {"fail_below": {"likelihood_accuracy": 0.7}}, "'likelihood_accuracy' needs preference pairs"),
        (PAIRS, {"fail_below": {"accuracy": 0.7}}, "'accuracy' needs a base"),
        (PAIRS, {"fail_above": {"kl": 0.1}}, "'kl' needs a base"),
        (PAIRS, {"kl_rows": 8}, "kl_rows=8 has no effect"),
    ],
)
def test_figures_that_cannot_come_about(tmp_path, row, changes, words):
    with pytest.raises(OptionError, match=words):
        evaluation(tmp_path, row, **changes)


@pytest.mark.parametrize(
    ("pairs", "base", "impossible"),
    [
        (True, True, "bleu rouge1 rougeL"),
        (True, False, "accuracy margin chosen_shift rejected_shift kl bleu rouge1 rougeL"),
        (False, True, "accuracy margin likelihood_accuracy rejected_shift"),
        (False, False, "accuracy margin likelihood_accuracy chosen_shift rejected_shift kl"),
    ],
)
def test_which_figures_there_can_be(pairs, base, impossible):
    """By hand, from the table in the user guide."""
    for name in METRICS:
        if name in impossible.split():
            with pytest.raises(OptionError, match=f"'{name}' needs"):
                check_limits([name], pairs=pairs, base=base)
        else:
            check_limits([name, "arc_easy:acc"], pairs=pairs, base=base)


@pytest.mark.parametrize("rows", [0, EvaluateRequest.model_fields["kl_rows"].default])
def test_no_divergence_and_the_default_may_stand(rows):
    check_divergence(EvaluateRequest(model="m", data="d", kl_rows=rows), base=False)


@pytest.mark.parametrize(
    ("changes", "error"),
    [({"models": (TINY, "nosuch")}, ModelError), ({"models": (TINY, "."), "votes": "{folder}/votes"}, DataError)],
)
def test_a_comparison(tmp_path, changes, error):
    (tmp_path / "prompts.txt").write_text("Hello!")
    (tmp_path / "votes").write_text("no vote")
    values = {"prompts": str(tmp_path / "prompts.txt"), "output": tmp_path / "made"} | changes
    if "votes" in values:
        values["votes"] = values["votes"].format(folder=tmp_path)
    with pytest.raises(error):
        comparison.compare(ComparisonSpec(**values), Observer())
    assert not (tmp_path / "made").exists()
