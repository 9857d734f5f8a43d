"""The bridge to lm-eval: what is told of it, how it fails, and that a finished one is not run again."""

import json
import os
import sys
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from quickalign.core.errors import OptionError, QualityError, RunError
from quickalign.evaluate.gates import demand, gates
from quickalign.evaluate.lm_eval import bridge, program, replica
from quickalign.evaluate.spec import EvaluationSpec, check
from quickalign.train.observer import Observer
from tests.doubles.loopback import Handler, listening

DOUBLE = Path(__file__).parents[2] / "doubles" / "lm_eval.py"


def spec(**values):
    return EvaluationSpec(model="m", data="d", output="o", **values)


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The double as the program."""
    file = tmp_path / "bin" / "lm_eval"
    file.parent.mkdir()
    file.write_text(f'#!/bin/sh\nexec {sys.executable} {DOUBLE} "$@"\n')
    file.chmod(0o755)
    monkeypatch.setenv(program.VARIABLE, str(file))
    return file


class Answers(Handler):
    asked: list

    def do_POST(self):
        self.asked.append((self.path, self.headers["Authorization"], self.body()))
        self.send_json({"choices": [{"text": "yes"}]})


@pytest.fixture
def served(monkeypatch):
    """A stand-in for the replica; returns what it was asked."""
    asked = []

    @contextmanager
    def serving(model, **_):
        with listening(Answers, asked=asked) as port:
            yield replica.Endpoint(f"http://127.0.0.1:{port}/v1", "served", "secret")

    monkeypatch.setattr(bridge, "serving", serving)
    monkeypatch.setattr(bridge, "identity", lambda found, precision: {"weights": "w"})
    return asked


SUBJECT = SimpleNamespace(name="m", found=SimpleNamespace(tokenizer=Path("t")), precision="fp32", system_prompt="")


def run(folder, **values):
    return bridge.run_tasks(spec(**values), SUBJECT, folder, Observer())


def test_results_are_read_and_limited_and_not_made_again(tmp_path, installed, served):
    found = run(tmp_path, lm_eval=("fine",))
    assert [(one.name, one.value, one.stderr, one.samples) for one in found] == [
        ("fine:acc", 0.75, 0.25, 4),
        ("fine:exact,strict", 0.5, None, 4),
    ]
    ((path, token, _),) = served
    assert (path, token) == ("/v1/completions", "Bearer secret")
    assert run(tmp_path, lm_eval=("fine",)) == found
    assert len(served) == 1
    limited = spec(lm_eval=("fine",), fail_below={"fine:acc": 0.8})
    check(limited)
    with pytest.raises(QualityError, match=r"fine:acc is 0\.75, below 0\.8"):
        demand(gates(limited, {one.name: one.value for one in found}), ())


def test_other_tasks_files_are_other_results(tmp_path, installed, served):
    tasks = tmp_path / "tasks"
    tasks.mkdir()
    (tasks / "fine.yaml").write_text("task: fine")
    for _ in range(2):
        run(tmp_path, lm_eval=("fine",), lm_eval_tasks=tasks)
    assert len(served) == 1
    (tasks / "fine.yaml").write_text("task: fine\nversion: 2")
    run(tmp_path, lm_eval=("fine",), lm_eval_tasks=tasks)
    assert len(served) == 2


@pytest.mark.parametrize(
    ("task", "kind", "words"),
    [("nosuch", OptionError, "knows no task nosuch"), ("breaks", RunError, "out of luck")],
)
def test_a_failing_run_is_one_sentence_and_can_be_repeated(tmp_path, installed, served, task, kind, words):
    for _ in range(2):
        with pytest.raises(kind, match=words):
            run(tmp_path, lm_eval=(task,))
    (starts,) = tmp_path.glob("lm-eval-*/starts")
    assert len(starts.read_text().splitlines()) == 2


def test_a_missing_program_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(program.VARIABLE, raising=False)
    with pytest.raises(OptionError, match="not installed"):
        program.find_program()
    monkeypatch.setenv(program.VARIABLE, str(tmp_path / "lm_eval"))
    with pytest.raises(OptionError, match="names no program"):
        program.find_program()


def test_the_program_beside_the_interpreter_goes_before_the_path(tmp_path, monkeypatch):
    monkeypatch.delenv(program.VARIABLE, raising=False)
    for name in ("mine", "path"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "lm_eval").touch(mode=0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'path'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none" / "python"))
    assert program.find_program() == tmp_path / "path" / "lm_eval"
    monkeypatch.setattr(sys, "executable", str(tmp_path / "mine" / "python"))
    assert program.find_program() == tmp_path / "mine" / "lm_eval"


def test_a_model_that_cannot_be_served_is_told(tmp_path, monkeypatch):
    fails = tmp_path / "python"
    fails.write_text("#!/bin/sh\necho 'error: There is no such model.' >&2\nexit 4\n")
    fails.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(fails))
    with (
        pytest.raises(RunError, match=r"could not be served for lm-eval: There is no such model\."),
        replica.serving("m", precision="fp32", system_prompt=None, log=tmp_path / "log"),
    ):
        pass


def test_the_replica_ends_with_the_block(tmp_path, monkeypatch):
    ready = json.dumps({"endpoint": "http://127.0.0.1:1", "model": "served"})
    program_file = tmp_path / "python"
    program_file.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\necho '{ready}'\nexec sleep 600\n")
    program_file.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program_file))
    with replica.serving("m", precision="fp32", system_prompt=None, log=tmp_path / "log") as endpoint:
        assert (endpoint.url, endpoint.model) == ("http://127.0.0.1:1/v1", "served")
        process = int((tmp_path / "pid").read_text())
        os.kill(process, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"lm_eval_limit": 3}, "lm_eval_limit has no effect"),
        ({"lm_eval_chat": True}, "lm_eval_chat has no effect"),
        ({"lm_eval_tasks": "t"}, "lm_eval_tasks has no effect"),
        ({"lm_eval": ("fine",), "fail_below": {"other:acc": 1}}, "other:acc"),
    ],
)
def test_what_has_no_effect_is_refused(values, words):
    with pytest.raises(OptionError, match=words):
        check(spec(**values))
