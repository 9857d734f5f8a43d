import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from quickalign.train.scoring.cache import ReferenceCache
from quickalign.train.scoring.records import RECORD, Digest, RecordFile, digest_of

IDENTITY = {"base": "abc", "precision": "bf16"}


def numbered(start: int, stop: int) -> dict[Digest, float]:
    return {(number * 977 % 1000, number): -number / 3 for number in range(start, stop)}


def test_what_is_added_is_found_in_a_new_process(tmp_path: Path) -> None:
    values = numbered(0, 500)
    first = ReferenceCache(tmp_path).open(IDENTITY)
    first.add(values)
    again = ReferenceCache(tmp_path).open(IDENTITY)
    assert len(again) == 500
    assert all(again.find(key) == first.find(key) == value for key, value in values.items())
    assert again.find((1, 2)) is None
    assert again.damaged == 0


def test_the_first_value_stays_and_others_are_refused(tmp_path: Path) -> None:
    file = RecordFile(tmp_path / "x.logps")
    file.add({(1, 1): -1.5})
    file.add({(1, 1): -9.0, (2, 2): float("nan"), (3, 3): float("-inf")})
    assert file.find((1, 1)) == -1.5
    assert file.find((2, 2)) is None
    assert (tmp_path / "x.logps").stat().st_size == RECORD.itemsize


def test_merging_into_the_sorted_part_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quickalign.train.scoring.records._MERGE_AT", 7)
    file = RecordFile(tmp_path / "x.logps")
    for start in range(0, 50, 3):
        file.add(numbered(start, start + 3))
    assert len(file) == 51
    assert all(file.find(key) == value for key, value in numbered(0, 51).items())


def test_other_contents_have_other_files(tmp_path: Path) -> None:
    cache = ReferenceCache(tmp_path)
    cache.open(IDENTITY).add({(1, 1): -1.0})
    assert cache.open({**IDENTITY, "precision": "fp32"}).find((1, 1)) is None


def test_digests_tell_rows_apart() -> None:
    arrays = [np.array(ids, dtype=np.int32) for ids in ([1, 2], [3], [1], [2, 3], [])]
    digests = {digest_of(prompt, answer) for prompt in arrays for answer in arrays}
    assert len(digests) == 25
    assert digest_of(arrays[0], arrays[1]) == digest_of(arrays[0].copy(), arrays[1].copy())


@pytest.mark.parametrize("cut", [1, 7, 31])
def test_a_cut_off_file_loses_one_record_and_goes_on(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "x.logps"
    RecordFile(path).add(numbered(0, 10))
    os.truncate(path, 10 * RECORD.itemsize - cut)
    file = RecordFile(path)
    assert (len(file), file.damaged) == (9, 1)
    file.add(numbered(0, 20))
    again = RecordFile(path)
    assert all(again.find(key) == value for key, value in numbered(0, 20).items())
    assert again.damaged == 1


def test_any_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "x.logps"
    RecordFile(path).add(numbered(0, 20))
    whole = path.read_bytes()
    source = random.Random(0)
    for _ in range(200):
        bit = source.randrange(len(whole) * 8)
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        file = RecordFile(path)
        assert (len(file), file.damaged) == (19, 1)
        hits = [(file.find(key), value) for key, value in numbered(0, 20).items()]
        assert all(found in (None, value) for found, value in hits)


def test_two_processes_can_write_at_once(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from quickalign.train.scoring.records import RecordFile\n"
        "start = int(sys.argv[2]); file = RecordFile(Path(sys.argv[1]))\n"
        "for i in range(start, start + 200): file.add({(i, i): -float(i)})\n"
    )
    path = tmp_path / "x.logps"
    runs = [subprocess.Popen([sys.executable, "-c", program, str(path), str(start)]) for start in (0, 1000)]
    assert [run.wait() for run in runs] == [0, 0]
    file = RecordFile(path)
    assert (len(file), file.damaged) == (400, 0)
    assert all(file.find((i, i)) == -float(i) for i in [*range(200), *range(1000, 1200)])


def test_the_file_that_was_not_used_longest_goes_first(tmp_path: Path) -> None:
    cache = ReferenceCache(tmp_path)
    for age, name in ((30, "old"), (20, "older use"), (10, "new")):
        file = cache.open({"base": name})
        file.add(numbered(0, 100))
        os.utime(file.path, (1e9 - age, 1e9 - age))
    cache.open({"base": "old"})
    assert cache.prune(2 * 100 * RECORD.itemsize) == 100 * RECORD.itemsize
    assert [entry.identity["base"] for entry in cache.stats()] == ["old", "new"]
    assert cache.stats()[0].records == 100


def test_opening_makes_room_but_never_in_its_own_file(tmp_path: Path) -> None:
    big = ReferenceCache(tmp_path)
    big.open({"base": "one"}).add(numbered(0, 100))
    big.open({"base": "two"}).add(numbered(0, 100))
    small = ReferenceCache(tmp_path, max_bytes=50 * RECORD.itemsize)
    assert len(small.open({"base": "one"})) == 100
    assert len(small.stats()) == 1
    assert not small.has_room()


def test_clear_leaves_nothing(tmp_path: Path) -> None:
    cache = ReferenceCache(tmp_path)
    file = cache.open(IDENTITY)
    file.add(numbered(0, 10))
    assert cache.clear() == 10 * RECORD.itemsize
    assert list(tmp_path.iterdir()) == []
    assert cache.stats() == []
    file.add(numbered(10, 20))
    assert len(cache.open(IDENTITY)) == 10


def test_an_empty_cache_has_no_files_to_speak_of(tmp_path: Path) -> None:
    cache = ReferenceCache(tmp_path / "nowhere")
    assert cache.stats() == []
    assert cache.clear() == 0
    assert cache.has_room()
