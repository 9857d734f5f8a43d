"""Answers: what a stated rule sees in them, and that none is made twice."""

import pytest

from quickalign.evaluate import answers as module
from quickalign.evaluate.answers import AnswerBook, Asked, Written
from quickalign.evaluate.texts import facts_of
from quickalign.train.answer import Answer

PROMPTS = [Asked(f"q{n}", f"q{n}", (n, n + 1)) for n in range(40)]


class Counting:
    """Stands for the model: answers with the prompt's first id, and fails after `most` batches."""

    def __init__(self, most=99):
        self.asked = []
        self.most = most

    def __call__(self, model, encoder, prompts, *, max_new_tokens):
        if self.most == 0:
            raise KeyboardInterrupt
        self.most -= 1
        self.asked += [prompt[0] for prompt in prompts]
        return [Answer(f"answer {prompt[0]}", (1, 2, 3), True) for prompt in prompts]


def book_answers(folder, identity=None, limit=8, prompts=PROMPTS):
    book = AnswerBook(folder, identity or {"model": "a"})
    return book.answer(None, None, prompts, max_new_tokens=limit, progress=lambda done, total: None)


def test_an_interruption_loses_one_batch_at_most(tmp_path, monkeypatch):
    first, second = Counting(most=2), Counting()
    monkeypatch.setattr(module, "answer_ids", first)
    with pytest.raises(KeyboardInterrupt):
        book_answers(tmp_path)
    monkeypatch.setattr(module, "answer_ids", second)
    found = book_answers(tmp_path)
    assert [answer.text for answer in found] == [f"answer {n}" for n in range(40)]
    assert sorted(first.asked + second.asked) == list(range(40))


def test_a_line_that_was_cut_off_is_made_again_and_harms_no_other(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "answer_ids", Counting())
    book_answers(tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-20])
    again = Counting()
    monkeypatch.setattr(module, "answer_ids", again)
    book_answers(tmp_path)
    assert again.asked == [39]
    last = Counting()
    monkeypatch.setattr(module, "answer_ids", last)
    assert book_answers(tmp_path)[39].text == "answer 39"
    assert last.asked == []


@pytest.mark.parametrize("change", [{"identity": {"model": "b"}}, {"limit": 9}])
def test_another_model_or_limit_answers_anew(tmp_path, monkeypatch, change):
    monkeypatch.setattr(module, "answer_ids", Counting())
    book_answers(tmp_path, prompts=PROMPTS[:3])
    again = Counting()
    monkeypatch.setattr(module, "answer_ids", again)
    book_answers(tmp_path, prompts=PROMPTS[:3], **change)
    assert again.asked == [0, 1, 2]


@pytest.mark.parametrize(
    ("prompt", "text", "seen"),
    [
        ("How are you?", "I am well, thank you.", set()),
        ("How are you?", "I can't help with that.", {"refuses"}),
        ("How are you?", "我很好，谢谢你。", {"drifts"}),
        ("你好吗？", "我很好，谢谢你。", set()),
        ("你好吗？", "no no no no no no", {"drifts", "repeats"}),
        ("2 + 2?", "4", set()),
    ],
)
def test_what_a_rule_sees(prompt, text, seen):
    facts = facts_of(prompt, Written(text, 5, True))
    assert {name for name in ("refuses", "drifts", "repeats", "unfinished") if getattr(facts, name)} == seen


def test_an_answer_that_did_not_end_is_told():
    assert facts_of("Hi", Written("I am", 5, False)).unfinished
