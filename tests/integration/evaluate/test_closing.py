"""The evaluation that ends a run: figures of plain code on the sample set, the same weights, and never at a run's cost."""

from pathlib import Path

import pytest

from quickalign.core import paths
from quickalign.train import closing
from quickalign.train.finish import read_result
from tests.support.plain_scores import plain_figures, read_pairs
from tests.support.specs import make_spec, run_spec

HELD_OUT = paths.assets() / "sample" / "heldout.json"
BASE = paths.assets() / "qwen2-tiny-instruct"
SHORT = {"max_steps": 2, "sample_tokens": 0, "seq_length": 512}


def test_without_validation_a_few_sample_rows_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result, recorder = run_spec(make_spec(tmp_path, "looked", closing_rows=6, **SHORT))
    wanted = plain_figures(
        BASE, result.adapter, read_pairs(HELD_OUT, 6), beta=0.1, system="You are a helpful assistant", kl_rows=1
    )
    assert result.results is not None
    assert (result.results["data"], result.results["rows"]) == ("sample", 6)
    for name, value in result.results["figures"].items():
        assert value == pytest.approx(getattr(wanted, name), rel=1e-4, abs=1e-4), name
    assert result.results["base"]["perplexity"] == pytest.approx(wanted.base_perplexity, rel=1e-4)
    assert read_result(result.output) == result
    assert any("6 rows of the sample set" in note for note in recorder.notes)

    def broken(setup: object) -> None:
        raise RuntimeError("no memory")

    monkeypatch.setattr(closing, "_of_sample", broken)
    again, recorder = run_spec(make_spec(tmp_path, "broken", closing_rows=6, **SHORT))
    assert again.results is None
    assert any("RuntimeError: no memory" in warning for warning in recorder.warnings)
    assert again.adapter_sha256 == result.adapter_sha256


def test_validation_is_not_measured_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closing, "_of_sample", None)
    result, _ = run_spec(make_spec(tmp_path, "run", closing_rows=16, validation_split=0.25, **SHORT))
    last, first = result.last_evaluation, result.first_evaluation
    assert last is not None and first is not None and result.results is not None
    assert result.results["rows"] == last.rows
    assert result.results["figures"]["accuracy"] == last.accuracy
    assert result.results["base"]["loss"] == first.loss
