"""The figures of a report are those of plain transformers code, on the sample's held-out rows and on published ones."""

import os
from pathlib import Path

import pytest

from quickalign.core import paths
from quickalign.evaluate.run import evaluate
from quickalign.evaluate.spec import EvaluationSpec
from quickalign.train.observer import Observer
from tests.support.plain_scores import plain_figures, read_pairs

ROOT = Path(__file__).resolve().parents[3]
SHARED = Path(os.environ.get("QUICKALIGN_SHARED_DATA") or ROOT.parent / "shared" / "data")
PUBLISHED = SHARED / "hh_harmless_1500.jsonl.gz"
HELD_OUT = paths.assets() / "sample" / "heldout.json"
BASE = paths.assets() / "qwen2-tiny-instruct"
WITHIN = 1e-4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("data", "rows", "kl_rows"),
    [
        pytest.param(HELD_OUT, 200, 40, id="sample"),
        pytest.param(
            PUBLISHED,
            300,
            20,
            id="hh-harmless",
            marks=pytest.mark.skipif(not PUBLISHED.exists(), reason=f"{PUBLISHED.name} is not beside the repository"),
        ),
    ],
)
def test_figures_are_those_of_plain_transformers(
    run_folder: Path, tmp_path: Path, data: Path, rows: int, kl_rows: int
) -> None:
    spec = EvaluationSpec(
        model=str(run_folder),
        data=str(data),
        output=tmp_path / "evaluation",
        rows=rows,
        kl_rows=kl_rows,
        prompts=0,
        seq_length=2048,
        bad_rows="drop",
        resamples=100,
    )
    report = evaluate(spec, Observer())
    assert report.rows == rows
    assert report.data.tokens is not None
    assert report.data.tokens.truncation.rows_cut == 0, "plain code cuts nothing"
    wanted = plain_figures(
        BASE,
        run_folder / "adapter",
        read_pairs(data, rows),
        beta=0.1,
        system="You are a helpful assistant",
        kl_rows=kl_rows,
    )
    found = report.values()
    for name in ("accuracy", "margin", "likelihood_accuracy", "chosen_shift", "rejected_shift", "perplexity", "kl"):
        value = getattr(wanted, name)
        assert found[name] == pytest.approx(value, abs=WITHIN, rel=WITHIN), name
    base = next(one.base for one in report.figures if one.name == "perplexity")
    assert base is not None
    assert base.value == pytest.approx(wanted.base_perplexity, abs=WITHIN, rel=WITHIN)
    assert abs(found["chosen_shift"]) > 100 * WITHIN, "a model that did not move could hide an error"
