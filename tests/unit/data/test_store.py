"""The store on disk: what goes in comes out, whole or not at all; and the split over it."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quickalign.core.errors import DataError
from quickalign.data.encode import EncodedPair, EncodedSample
from quickalign.data.split import split
from quickalign.data.store import TokenStore, write_store

token_ids = st.lists(st.integers(0, 2**31 - 1), max_size=6)


def pair(row: int, *parts) -> EncodedPair:
    return EncodedPair(row, *(np.array(part, dtype=np.int32) for part in parts))


def write(folder, pairs, batch=3) -> TokenStore:
    with write_store(folder, "preference") as writer:
        for start in range(0, len(pairs), batch):
            writer.add(pairs[start : start + batch])
    return TokenStore(folder)


@given(st.lists(st.tuples(token_ids, token_ids, token_ids), max_size=12))
@settings(max_examples=40, deadline=None)
def test_what_goes_in_comes_out(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("store") / "s"
    store = write(folder, [pair(i * 7, *row) for i, row in enumerate(rows)])
    assert len(store) == len(rows)
    for index, row in enumerate(rows):
        found = store[index]
        assert isinstance(found, EncodedPair)
        assert (found.row, found.prompt.tolist(), found.chosen.tolist(), found.rejected.tolist()) == (index * 7, *row)
        assert found.prompt.dtype == np.int32
        assert store.prompt(index).tolist() == row[0]
    assert store.lengths.tolist() == [[len(part) for part in row] for row in rows]


def test_it_is_a_sequence(tmp_path):
    store = write(tmp_path / "s", [pair(i, [i], [i, i], []) for i in range(5)])
    assert store[-1].row == 4
    assert [item.row for item in store[1:3]] == [1, 2]
    assert [item.row for item in store] == list(range(5))
    with pytest.raises(IndexError):
        store[5]


def test_samples_have_two_segments(tmp_path):
    with write_store(tmp_path / "s", "supervised") as writer:
        writer.add([EncodedSample(1, np.array([1], dtype=np.int32), np.array([2, 3], dtype=np.int32))])
    found = TokenStore(tmp_path / "s")[0]
    assert isinstance(found, EncodedSample)
    assert found.response.tolist() == [2, 3]


def test_the_fingerprint_is_of_the_content_alone(tmp_path):
    rows = [pair(i, [i, 5], [6], [7, 8]) for i in range(6)]
    one = write(tmp_path / "a", rows, batch=1)
    other = write(tmp_path / "b", [pair(99 + r.row, r.prompt, r.chosen, r.rejected) for r in rows], batch=4)
    assert one.fingerprint == other.fingerprint
    tokens = hashlib.sha256(np.concatenate([[i, 5, 6, 7, 8] for i in range(6)]).astype("<i4").tobytes())
    lengths = hashlib.sha256(np.array([[2, 1, 2]] * 6, dtype="<i4").tobytes())
    assert one.fingerprint == hashlib.sha256(b"preference" + lengths.digest() + tokens.digest()).hexdigest()
    moved = write(tmp_path / "c", [pair(0, [0], [5, 6], [7, 8]), *rows[1:]])
    assert moved.fingerprint != one.fingerprint, "the same tokens behind another boundary"


def test_nothing_appears_where_writing_fails(tmp_path):
    with pytest.raises(RuntimeError), write_store(tmp_path / "s", "preference") as writer:
        writer.add([pair(1, [1], [2], [3])])
        raise RuntimeError("killed")
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_store_is_an_error_with_the_remedy(tmp_path):
    write(tmp_path / "s", [pair(1, [1], [2], [3])])
    tokens = tmp_path / "s" / "tokens.bin"
    tokens.write_bytes(tokens.read_bytes()[:-4])
    with pytest.raises(DataError, match="Delete the folder"):
        TokenStore(tmp_path / "s")
    with pytest.raises(DataError, match="cannot be read"):
        TokenStore(tmp_path / "nowhere")


@given(st.lists(st.integers(0, 8), min_size=2, max_size=60), st.floats(0.05, 0.5), st.integers(0, 2**31 - 1))
@settings(max_examples=60, deadline=None)
def test_a_split_keeps_prompts_together_and_is_the_same_every_time(tmp_path_factory, prompts, share, seed):
    folder = tmp_path_factory.mktemp("split")
    store = write(folder / "s", [pair(i, [p], [i], [i]) for i, p in enumerate(prompts)])
    if len(set(prompts)) == 1:
        with pytest.raises(DataError, match="same prompt"):
            split(store, share, seed)
        return
    kept, held = split(store, share, seed)
    assert sorted([*kept, *held]) == list(range(len(prompts)))
    assert len(held)
    assert len(kept)
    assert not {prompts[i] for i in kept} & {prompts[i] for i in held}
    again = split(store, share, seed)
    assert (kept.tolist(), held.tolist()) == (again[0].tolist(), again[1].tolist())
    backwards = write(folder / "b", [pair(i, [p], [i], [i]) for i, p in enumerate(reversed(prompts))])
    assert {prompts[::-1][i] for i in split(backwards, share, seed)[1]} == {prompts[i] for i in held}


def test_another_seed_holds_out_other_rows_of_about_the_share(tmp_path):
    store = write(tmp_path / "s", [pair(i, [i], [i], [i]) for i in range(200)])
    one, other = split(store, 0.1, 1)[1], split(store, 0.1, 2)[1]
    assert len(one) == len(other) == 20
    assert one.tolist() != other.tolist()
    assert len(split(store, 0.0, 1)[1]) == 0
