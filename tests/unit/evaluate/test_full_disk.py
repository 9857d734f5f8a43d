"""A disk that fills up during an evaluation, a comparison or a push: one sentence, and what was done is kept."""

import errno
from types import SimpleNamespace

import pytest

from quickalign.core import storage
from quickalign.core.errors import StorageError
from quickalign.evaluate import run as evaluation
from quickalign.evaluate.compare import run as comparison
from quickalign.evaluate.compare.spec import ComparisonSpec
from quickalign.evaluate.spec import EvaluationSpec
from quickalign.train.observer import Observer


def full(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


def no_model(*_, **__):
    """Stands for a model where it does not matter which."""
    return SimpleNamespace(base=None)


def test_an_evaluation(tmp_path, monkeypatch):
    def measure(subject, spec, folder, observer, limits):
        folder.mkdir(parents=True)
        (folder / "answers.jsonl").write_text("{}")
        full()

    monkeypatch.setattr(evaluation, "_find", no_model)
    monkeypatch.setattr(evaluation, "measure", measure)
    spec = EvaluationSpec(model="m", data="d", output=tmp_path / "evaluation")
    with pytest.raises(StorageError, match=r"is full.*run the same command again"):
        evaluation.evaluate(spec, Observer())
    assert (tmp_path / "evaluation" / "work" / "model" / "answers.jsonl").exists()
    assert not (tmp_path / "evaluation" / "report.json").exists()


def test_a_comparison(tmp_path, monkeypatch):
    monkeypatch.setattr(comparison, "_find", no_model)
    monkeypatch.setattr(comparison, "_answers", full)
    (tmp_path / "prompts.txt").write_text("Hello!")
    spec = ComparisonSpec(models=("a", "b"), prompts=str(tmp_path / "prompts.txt"), output=tmp_path / "comparison")
    with pytest.raises(StorageError, match="is full"):
        comparison.compare(spec, Observer())


def test_a_push_leaves_no_half_file(tmp_path, monkeypatch):
    (tmp_path / "weights").write_bytes(b"12345")
    monkeypatch.setattr(storage.shutil, "copyfile", full)
    with pytest.raises(StorageError, match="is full"):
        storage.write_file(tmp_path / "weights", str(tmp_path / "there" / "weights"))
    assert list((tmp_path / "there").iterdir()) == []
