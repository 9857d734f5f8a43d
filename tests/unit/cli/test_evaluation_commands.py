"""`eval`, `compare`, `export` and `push`: what they hand on, and what they refuse before anything is loaded."""

import sys
from types import SimpleNamespace

import pytest


@pytest.fixture
def asked(monkeypatch):
    """The specifications that reach the evaluation, the comparison and the export; each then stops."""
    found = []

    def take(spec, observer):
        del observer
        found.append(spec)
        raise KeyboardInterrupt

    parts = {"evaluate": take, "compare": take, "export": take, "demand_limits": None}
    for module in ("quickalign.evaluate.run", "quickalign.evaluate.compare.run", "quickalign.export.run"):
        monkeypatch.setitem(sys.modules, module, SimpleNamespace(**parts))
    return found


def test_limits_and_options_reach_the_evaluation(cli, asked):
    limits = ("--fail-below", "accuracy=0.7", "--fail-above", "kl=0.5", "--fail-above", "refusals=0.1")
    code, _, _ = cli("eval", "run", "data.json", *limits, "--against", "other", "--local", "--json")
    assert code == 130
    (spec,) = asked
    assert (spec.model, spec.data, spec.against) == ("run", "data.json", "other")
    assert spec.fail_below == {"accuracy": 0.7}
    assert spec.fail_above == {"kl": 0.5, "refusals": 0.1}


def test_tasks_and_their_limits_reach_the_evaluation(cli, asked, tmp_path):
    folder = str(tmp_path)
    tasks = ("--lm-eval", "arc_easy, mine", "--lm-eval-tasks", folder, "--lm-eval-limit", "5", "--lm-eval-chat")
    cli("eval", "run", "data.json", *tasks, "--fail-below", "mine:acc=0.5", "--local", "--json")
    (spec,) = asked
    assert (spec.lm_eval, str(spec.lm_eval_tasks)) == (("arc_easy", "mine"), folder)
    assert (spec.lm_eval_limit, spec.lm_eval_chat) == (5, True)
    assert spec.fail_below == {"mine:acc": 0.5}


def test_the_same_evaluation_has_the_same_folder_whatever_its_limits(cli, asked):
    for more in ((), ("--fail-below", "accuracy=0.9"), ("--rows", "5")):
        cli("eval", "runs/first", "data.json", *more, "--local", "--json")
    same, limited, fewer = (spec.output for spec in asked)
    assert same == limited != fewer
    assert same.parent.name == "evaluations"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("eval", "m", "d", "--fail-below", "accuracy=high"), "is no number"),
        (("eval", "m", "d", "--fail-below", "accuracy"), "has no value"),
        (("eval", "m", "d", "--fail-below", "acuracy=1"), "acuracy"),
        (("eval", "m", "d", "--fail-above", "kl=1", "--kl-rows", "0"), "no effect"),
        (("compare", "m", "--prompts", "p"), "models"),
        (("compare", "m", "m", "--prompts", "p"), "named twice"),
        (("compare", "m", "n", "--prompts", "p", "--judge-model", "j"), "no effect without --judge"),
        (("compare", "m", "n", "--prompts", "p", "--judge", "http://h/v1"), "--judge-model"),
        (("compare", "m", "n", "--prompts", "p", "--judge", "h/v1", "--judge-model", "j"), "judge.endpoint"),
        (("export", "m", "o", "--parity-limit", "0"), "parity_limit"),
        (
            ("export", "m", "o", "--compression", "gguf-q8_0", "--precision", "fp16"),
            "precision='fp16' has no effect with compression='gguf-q8_0'",
        ),
        (("eval", "m", "d", "--local", "--detach"), "--detach has no effect with --local"),
        (("export", "m", "o", "--local", "--priority", "3"), "--priority has no effect with --local"),
        (("eval", "m", "d", "--lm-eval", "arc_easy"), "Add --local"),
        (("eval", "m", "d", "--local", "--lm-eval", "arc_easy,"), "lm_eval.1"),
        (("eval", "m", "d", "--local", "--lm-eval-limit", "5"), "no effect without lm_eval"),
        (("eval", "m", "d", "--local", "--lm-eval", "a", "--fail-below", "b:acc=1"), "b:acc"),
        (("push", "f", "s3://bucket/f", "--private", "--dry-run"), "--private has no effect"),
        (("push", "f", "s3://bucket/f", "--private"), "--private has no effect"),
    ],
)
def test_what_cannot_be_is_refused_first(cli, asked, arguments, words):
    code, _, err = cli(*arguments)
    assert code == 2
    assert words in err
    assert asked == []


def test_a_judge_reaches_the_comparison(cli, asked):
    judge = ("--judge", "http://host/v1", "--judge-model", "wise", "--judge-price-in", "2")
    cli("compare", "base", "run", "--prompts", "p.txt", *judge, "--json")
    (spec,) = asked
    assert spec.models == ("base", "run")
    assert (spec.judge.endpoint, spec.judge.model, spec.judge.price_in) == ("http://host/v1", "wise", 2.0)


def test_a_push_of_no_export_is_a_model_error(cli, tmp_path):
    code, _, err = cli("push", str(tmp_path), str(tmp_path / "there"), "--dry-run")
    assert code == 4
    assert "no export" in err
