"""Metrics of long runs as columns: the same numbers as line by line, or none at all."""

import json
import math

import numpy as np
import pytest

from quickalign.platform.jobs import metric_columns
from quickalign.platform.jobs.metric_columns import read_columns
from quickalign.platform.jobs.reading import read_metrics

NAMES = ("step", "loss", "grad_norm", "learning_rate")


@pytest.fixture(autouse=True)
def short_pieces(monkeypatch):
    """So that a few lines are a long file of several pieces."""
    monkeypatch.setattr(metric_columns, "_LEAST_BYTES", 1000)
    monkeypatch.setattr(metric_columns, "_PIECE_BYTES", 777)


def line(step, **values):
    return json.dumps({"step": step, "loss": 1 / step, "grad_norm": None, "learning_rate": 1e-300} | values) + "\n"


def write(folder, text):
    (folder / "metrics.jsonl").write_text(text)


def test_the_same_numbers_as_line_by_line(tmp_path):
    lines = [line(step, unknown=None) for step in range(1, 200)]
    lines[50] = json.dumps(json.loads(lines[50]) | {"loss": 3}, separators=(",", ":")) + "\n"
    lines[120] = line(121, loss=-0.1 + 2**-53, grad_norm=12345678901234567890, unknown=7)
    write(tmp_path, "".join(lines) + '{"step": 200, "lo')
    found = read_columns(tmp_path, (*NAMES, "never"), over=True)
    known = read_metrics(tmp_path, "steps", 0, 10_000, over=True).items
    assert len(known) == 199
    for name in NAMES:
        expected = [math.nan if one.get(name) is None else float(one[name]) for one in known]
        np.testing.assert_array_equal(found.values[name], np.array(expected))
    assert np.isnan(found.values["never"]).all()
    assert len(found.values["never"]) == 199
    assert (found.last, found.complete) == (known[-1], True)
    assert read_columns(tmp_path, NAMES, over=False).complete is False


@pytest.mark.parametrize(
    "odd",
    [
        line(7, loss="0.5"), line(7, loss=True), line(7, loss=[0.5]), line(7, loss=None).replace("null", "", 1),
        line(7, note=1), line(7, note="a:b"), json.dumps({"loss": 3, "step": 7, "grad_norm": 1, "learning_rate": 1}) + "\n",
        line(7).replace("loss", "lass"), line(7).replace('"loss"', "loss"), line(7)[1:], line(7).replace("}", ""),
        "\n", "no object\n", '{"step": 7}{"step": 8}\n', '{"step": 7\n', "[1]\n", '{"step": 7}\n',
    ],
)  # fmt: skip
def test_what_is_left_to_the_slower_reader(tmp_path, odd):
    lines = [line(step) for step in range(1, 60)]
    lines[6] = odd
    write(tmp_path, "".join(lines))
    assert read_columns(tmp_path, NAMES, over=True) is None
    items = read_metrics(tmp_path, "steps", 0, 100, over=True).items
    assert len(items) == 59
    assert items[6].get("loss") in (None, "0.5", True, [0.5], 1 / 7, 3)
    assert items[58]["step"] == 59


def test_nan_and_infinity_are_missing_to_both_readers(tmp_path):
    lines = [line(step) for step in range(1, 60)]
    lines[6:9] = [line(step, loss=odd) for step, odd in ((7, math.nan), (8, math.inf), (9, -math.inf))]
    lines[-1] = line(59, loss=math.nan)
    write(tmp_path, "".join(lines))
    found = read_columns(tmp_path, NAMES, over=True)
    items = read_metrics(tmp_path, "steps", 0, 100, over=True).items
    assert [one["loss"] for one in items[6:9]] == [None] * 3
    assert np.isnan(found.values["loss"][6:9]).all()
    assert np.isfinite(found.values["loss"][:6]).all()
    assert found.last == items[-1] == {"step": 59, "loss": None, "grad_norm": None, "learning_rate": 1e-300}


def test_names_that_are_no_plain_words_are_left_to_it(tmp_path):
    write(tmp_path, "".join(line(step, **{"a, b": None}) for step in range(1, 60)))
    assert read_columns(tmp_path, NAMES, over=False) is None


def test_short_or_missing_files_are_left_to_it_as_well(tmp_path):
    assert read_columns(tmp_path, NAMES, over=False) is None
    write(tmp_path, line(1))
    assert read_columns(tmp_path, NAMES, over=False) is None
    write(tmp_path, "x" * 5000)
    assert read_columns(tmp_path, NAMES, over=False) is None
