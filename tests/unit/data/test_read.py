"""Containers: the same rows from every one, and one clear sentence for whatever is broken."""

import csv
import gzip
import hashlib
import io
import json
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quickalign.core.errors import DataError, StorageError
from quickalign.data.containers import json_array, limits
from quickalign.data.problem import RowProblem
from quickalign.data.read import open_rows

ROWS = [
    {"prompt": "a", "chosen": 'b "quoted" \\ [{', "rejected": "c\nd"},
    {"prompt": "你好", "chosen": "好😀", "rejected": "]}, {"},
    {"prompt": "é", "chosen": "1,2;3", "rejected": "x"},
]


def read(path: Path) -> list[tuple[int, object]]:
    with open_rows(str(path)) as source:
        return list(source)


def refused(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def only_problem(path: Path, content: bytes, row: int = 1) -> str:
    path.write_bytes(content)
    problems = [(number, item) for number, item in read(path) if isinstance(item, RowProblem)]
    assert [number for number, _ in problems] == [row]
    return problems[0][1].found


def as_array(rows) -> bytes:
    return json.dumps(rows, ensure_ascii=False, indent=1).encode()


def as_lines(rows) -> bytes:
    return b"\n".join(json.dumps(row, ensure_ascii=False).encode() for row in rows)


def as_csv(rows, delimiter=",") -> bytes:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, ["prompt", "chosen", "rejected"], delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue().encode()


def as_parquet(rows) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink, row_group_size=2)
    return sink.getvalue()


@pytest.mark.parametrize(
    ("make", "container"),
    [
        (as_array, "JSON array"),
        (lambda rows: json.dumps(rows).encode(), "JSON array"),
        (lambda rows: b"\xef\xbb\xbf \n" + as_array(rows), "JSON array"),
        (as_lines, "JSON lines"),
        (lambda rows: b"\xef\xbb\xbf" + as_lines(rows) + b"\n", "JSON lines"),
        (as_csv, "CSV"),
        (lambda rows: as_csv(rows, ";"), "CSV"),
        (lambda rows: b"\xef\xbb\xbf" + as_csv(rows, "\t"), "CSV"),
        (as_parquet, "Parquet"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_every_container_gives_the_same_rows_whatever_its_name(tmp_path, make, container, packed):
    if packed and container == "Parquet":
        assert "inside gzip" in refused(tmp_path / "x", gzip.compress(make(ROWS)))
        return
    path = tmp_path / "data"
    path.write_bytes(gzip.compress(make(ROWS)) if packed else make(ROWS))
    with open_rows(str(path)) as source:
        found = list(source)
    assert found == list(enumerate(ROWS, 1))
    assert source.container == container + (", gzip" if packed else "")
    assert source.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert source.bytes == path.stat().st_size


values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(st.dictionaries(st.text(max_size=5), values, max_size=3), min_size=1, max_size=6), st.integers(1, 9))
@settings(max_examples=150, deadline=None)
def test_arrays_are_read_alike_wherever_the_buffer_ends(tmp_path_factory, rows, chunk):
    path = tmp_path_factory.mktemp("array") / "a.json"
    path.write_text(json.dumps(rows, ensure_ascii=False, indent=chunk % 3 or None))
    patch = pytest.MonkeyPatch()
    patch.setattr(json_array, "_CHUNK", chunk)
    try:
        assert read(path) == list(enumerate(rows, 1))
    finally:
        patch.undo()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"  \n\t ", "is empty"),
        (gzip.compress(b"", mtime=0), "is empty"),
        (b"PK\x03\x04rest", "zip archive"),
        (b"<!DOCTYPE html><html></html>", "web page"),
        (b"%PDF-1.7", "PDF"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        ("[{}]".encode("utf-16"), "UTF-16"),
        ('[{"prompt": "a"}]'.encode("utf-16-le"), "UTF-16"),
        (b"\0\0\0\0", "NUL"),
        (b"a\0b", "no JSON, Parquet or CSV"),
        (b"just words", "no JSON, Parquet or CSV"),
        (b"PAR1garbage", "damaged Parquet"),
        (as_parquet(ROWS)[:-30], "damaged Parquet"),
        (gzip.compress(as_lines(ROWS), mtime=0)[:-12], "ends too early"),
        (gzip.compress(as_lines(ROWS), mtime=0)[:-30] + b"x" * 30, "damaged gzip"),
        (b'{\n  "prompt": "a"\n}\n', "spread over several lines"),
        (b'[{"a": 1}', "ends before the array does"),
        (b'[{"a": 1} {"b": 2}]', "instead of a comma"),
        (b'[{"a": 1},]', "instead of ']'"),
        (b'[{"a": 1},, {"a": 2}]', "instead of a comma"),
        (b'[{"a": 1}] [{"a": 2}]', "after the end of its JSON array"),
        (b'[{"a": "never closed}]', "ends before the array does"),
        (b"[" * 5000, "nested deeper than"),
        (b'[{"a": "' + "好的".encode("gbk") + b'\\"}]', "GBK"),
        (b"a,a\n1,2\n", "doubled or empty names"),
        (b'a,b\n"never closed,2\n', "malformed CSV"),
        (b"a,b\n1,caf\xe9\n", "Latin-1"),
        (b"a,b\n1,\x00\n", "NUL byte at byte offset 6"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_clear_sentence(tmp_path, content, words):
    assert words in refused(tmp_path / "data", content)


@pytest.mark.parametrize("make", [as_lines, as_array])
@pytest.mark.parametrize(
    ("row", "words"),
    [
        (b'{"a": NaN}', "NaN"),
        (b'{"a": -Infinity}', "Infinity"),
        (b'{"a": 1,}', "malformed JSON"),
        (b'{"a": "\x00"}', "NUL byte at byte offset"),
        (b'{"a": "caf\xe9"}', "it looks like Latin-1"),
        (b'{"a": "' + "你好吗朋友".encode("gbk") + b'"}', "it looks like GBK"),
        (b'{"a": "\\ud800"}', "malformed JSON"),
        (b"42", "the number 42"),
        (b'"text"', "the text 'text'"),
        (b"null", "nothing (null)"),
        (b'["a"]', "a list of 1 item"),
    ],
)
def test_a_damaged_row_is_a_bad_row_and_the_others_are_read(tmp_path, make, row, words):
    marker = {"marker": 1}
    content = make([{"x": 1}, marker, {"x": 2}]).replace(json.dumps(marker).encode(), row)
    content = content.replace(b'{\n  "marker": 1\n }', row)
    assert row in content
    assert words in only_problem(tmp_path / "data", content, row=2)
    assert [number for number, _ in read(tmp_path / "data")] == [1, 2, 3]


def test_csv_lines_that_end_with_a_carriage_return_alone_are_refused(tmp_path):
    assert "lines that end with a carriage return alone" in refused(tmp_path / "old.csv", b"a,b\r1,2\r")


def parquet_of(path, **columns):
    pq.write_table(pa.table(columns), path)
    return read(path)


def test_a_parquet_text_that_is_not_utf8_is_a_bad_row_and_the_others_are_read(tmp_path):
    offsets, content = pa.py_buffer(np.array([0, 2, 6, 8], dtype=np.int32)), pa.py_buffer(b"okcaf\xe9me")
    texts = pa.Array.from_buffers(pa.string(), 3, [None, offsets, content])
    rows = parquet_of(tmp_path / "data", prompt=["a", "b", "c"], chosen=texts)
    assert [rows[0], rows[2]] == [(1, {"prompt": "a", "chosen": "ok"}), (3, {"prompt": "c", "chosen": "me"})]
    assert rows[1][0] == 2
    assert (rows[1][1].field, rows[1][1].found) == ("chosen", "the byte 0xe9, which is not UTF-8")


def test_a_parquet_date_beyond_pythons_years_is_a_bad_row(tmp_path):
    dates = pa.array([0, 10**15], pa.timestamp("ms"))
    (_, good), (number, bad) = parquet_of(tmp_path / "data", prompt=["a", "b"], day=dates)
    assert good["day"].year == 1970
    assert number == 2
    assert bad.field == "day"
    assert "timestamp[ms]" in bad.found


def test_a_parquet_column_that_stands_twice_is_refused(tmp_path):
    table = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["prompt", "prompt"])
    pq.write_table(table, tmp_path / "data")
    with pytest.raises(DataError, match="has the column 'prompt' more than once"):
        read(tmp_path / "data")


def test_a_line_that_is_nested_too_deeply_is_a_bad_row(tmp_path):
    assert "nested" in only_problem(tmp_path / "data", b'{"a": ' + b"[" * 1100 + b"]" * 1100 + b"}")


def test_the_byte_offset_of_a_foreign_byte_is_the_one_in_the_file(tmp_path):
    content = as_lines(ROWS) + b'\n{"a": "caf\xe9"}\n'
    assert f"byte offset {content.index(0xE9, len(as_lines(ROWS)))}," in only_problem(tmp_path / "data", content, row=4)


@pytest.mark.parametrize("head", [b'{"prompt": "', b'[{"prompt": "'])
def test_a_line_of_gigabytes_is_refused_in_bounded_memory(tmp_path, monkeypatch, head):
    monkeypatch.setattr("quickalign.data.containers.json_lines.MAX_ROW_BYTES", 1 << 20)
    monkeypatch.setattr(json_array, "MAX_ROW_BYTES", 1 << 20)
    path = tmp_path / "huge"
    with path.open("wb") as stream:
        stream.write(head)
        for _ in range(64):
            stream.write(b"x" * (1 << 20))
        stream.write(b'"}\n' + (b"]" if head.startswith(b"[") else b'{"prompt": "a"}\n'))
    tracemalloc.start()
    try:
        if head.startswith(b"["):
            with pytest.raises(DataError, match=r"row 1 of its array.*over the limit"):
                read(path)
        else:
            (first, problem), (second, row) = read(path)
            assert (first, second, row) == (1, 2, {"prompt": "a"})
            assert isinstance(problem, RowProblem)
        assert tracemalloc.get_traced_memory()[1] < 24 << 20
    finally:
        tracemalloc.stop()


def test_a_gzip_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("quickalign.data.containers.stream.EXPANSION_FREE", 1 << 20)
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(b"{}" + b" " * (64 << 20)))
    with pytest.raises(DataError, match="unpacks to more than"):
        read(path)


def test_an_open_quote_cannot_swallow_a_csv_file(tmp_path, monkeypatch):
    monkeypatch.setattr("quickalign.data.containers.csv_table.MAX_ROW_BYTES", 1 << 16)
    path = tmp_path / "x.csv"
    path.write_bytes(b'a,b\n"open,2\n' + b"1,2\n" * (1 << 16))
    with pytest.raises(DataError, match="quote that is never closed"):
        read(path)


def test_a_csv_row_with_other_cells_than_the_header_is_a_bad_row(tmp_path):
    assert only_problem(tmp_path / "x.csv", b"a,b\n1,2\n3\n4,5\n", row=2) == "1 cells"


def test_a_missing_file_is_a_storage_error(tmp_path):
    with pytest.raises(StorageError):
        read(tmp_path / "nowhere.json")


def test_progress_ends_at_the_files_size(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_bytes(as_lines([{"a": "x" * 1000}] * 4000))
    told: list[tuple[int, int | None]] = []
    with open_rows(str(path), lambda done, total: told.append((done, total))) as source:
        assert sum(1 for _ in source) == 4000
    assert told[-1] == (path.stat().st_size, path.stat().st_size)
    assert told == sorted(told)
    assert limits.MAX_ROW_BYTES == 64 << 20
