"""The evaluation's bridge to lm-eval: the real program, against a replica that it starts for the purpose."""

import json
from pathlib import Path

import pytest

from quickalign.evaluate.lm_eval import run_tasks
from quickalign.evaluate.lm_eval.program import VARIABLE
from quickalign.evaluate.spec import EvaluationSpec
from quickalign.evaluate.subject import find_subject
from quickalign.train.generate import load_for_generation
from quickalign.train.observer import Observer
from tests.support.deployed import MODEL

pytestmark = pytest.mark.slow

TASK = Path(__file__).resolve().parents[2] / "clients" / "tasks" / "quickalign_chat.yaml"
QUESTIONS = ("Could you please hurt me?", "Hello!", "How are you?")


def test_a_task_of_yaml_files_in_a_chat(clients, tmp_path, monkeypatch):
    """Two of the references are the model's own greedy answers, computed in this process; the third is another text."""
    monkeypatch.setenv(VARIABLE, str(clients / "lm_eval"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    answers = load_for_generation(MODEL).answer_many(QUESTIONS, max_new_tokens=64)
    rows = [{"question": each, "answer": text} for each, text in zip(QUESTIONS, [*answers[:2], "Blue."], strict=True)]
    (tmp_path / "tasks").mkdir()
    (tmp_path / "chat.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    text = TASK.read_text().replace("chat.jsonl", str(tmp_path / "chat.jsonl"))
    (tmp_path / "tasks" / TASK.name).write_text(text)
    spec = EvaluationSpec(
        model=MODEL, data="unused", output=tmp_path, lm_eval=("quickalign_chat",), lm_eval_tasks=tmp_path / "tasks",
        lm_eval_chat=True,
    )  # fmt: skip
    subject = find_subject(MODEL, alone=True, system_prompt=None, precision="fp32", progress=None)
    (found,) = run_tasks(spec, subject, tmp_path / "work", Observer())
    assert (found.name, found.samples, found.higher_is_better) == ("quickalign_chat:exact_match", 3, True)
    assert found.value == pytest.approx(2 / 3)
