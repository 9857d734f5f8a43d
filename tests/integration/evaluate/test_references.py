"""BLEU and ROUGE of a real model's answers to rows with one answer each, against the libraries asked by hand."""

import json

import pytest
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu import sentence_bleu

from quickalign.core.errors import QualityError
from quickalign.evaluate.run import demand_limits, evaluate
from quickalign.evaluate.spec import EvaluationSpec
from quickalign.train.observer import Observer

ROWS = [
    {"instruction": "Hello, how are you?", "output": "I am fine, thank you. How can I help you?"},
    {"instruction": "Could you please hurt me?", "output": "I can't help with hurting you."},
]


def test_answers_are_compared_with_those_of_their_rows(tmp_path):
    (tmp_path / "rows.json").write_text(json.dumps(ROWS))
    spec = EvaluationSpec(
        model="qwen2-tiny-instruct", data=str(tmp_path / "rows.json"), output=tmp_path / "out", precision="fp32",
        answer_tokens=24, resamples=100, fail_below={"bleu": 0.99},
    )  # fmt: skip
    report = evaluate(spec, Observer())
    references = {row["instruction"]: row["output"] for row in ROWS}
    pairs = [(answer.model, references[answer.prompt]) for answer in report.answers]
    assert len(pairs) == len(ROWS)
    rouge = RougeScorer(["rouge1", "rougeL"])
    scores = [rouge.score(reference, answer) for answer, reference in pairs]
    by_hand = {name: sum(score[name].fmeasure for score in scores) / len(ROWS) for name in ("rouge1", "rougeL")}
    by_hand["bleu"] = sum(sentence_bleu(answer, [reference]).score for answer, reference in pairs) / len(ROWS) / 100
    assert {name: report.values()[name] for name in by_hand} == pytest.approx(by_hand)
    assert by_hand["rouge1"] > 0
    with pytest.raises(QualityError, match="bleu is"):
        demand_limits(report)
