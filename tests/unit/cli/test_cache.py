"""`quickalign cache`."""

import json

import numpy as np
import pytest

from quickalign.train.scoring.cache import ReferenceCache
from quickalign.train.scoring.records import digest_of


@pytest.fixture
def filled(home):
    cache = ReferenceCache()
    assert cache.folder.is_relative_to(home)
    for name in ("first", "second"):
        file = cache.open({"model": name, "precision": "fp32", "quantization": "none"})
        answers = [np.array([1, 2, number], dtype=np.int32) for number in range(10)]
        file.add({digest_of(answers[0], answer): -1.5 for answer in answers})
    return cache


def test_show_lists_what_is_kept(cli, filled):
    code, out, _ = cli("cache", "show")
    assert code == 0
    assert "first" in out
    assert "second" in out
    assert "2 files" in out
    entries = json.loads(cli("cache", "show", "--json")[1])
    assert sorted(entry["identity"]["model"] for entry in entries) == ["first", "second"]
    assert all(entry["records"] == 10 and entry["damaged"] == 0 for entry in entries)


def test_clear_empties_it(cli, filled):
    size = sum(entry.bytes for entry in filled.stats())
    assert json.loads(cli("cache", "clear", "--json")[1]) == {"freed_bytes": size}
    assert "empty" in cli("cache", "show")[1]


def test_prune_keeps_what_fits(cli, filled):
    assert json.loads(cli("cache", "prune", "--keep", "1", "--json")[1]) == {"freed_bytes": 0}
    assert len(filled.stats()) == 2
    assert cli("cache", "prune")[0] == 2
