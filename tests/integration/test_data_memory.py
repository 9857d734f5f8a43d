"""Memory stays bounded in a real process, whatever the file holds and however many rows it has."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support import tokenizers as toys

ROOT = Path(__file__).parents[2]
PROGRAM = """
import resource, sys
from pathlib import Path
from quickalign.core.errors import QuickalignError
from quickalign.data.prepare import DataRequest, check, prepare
import pyarrow.parquet
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
tokenizer = None
if len(sys.argv) > 2:
    from transformers import AutoTokenizer
    tokenizer = AutoTokenizer.from_pretrained(sys.argv[2])
before = peak()
request = DataRequest(sys.argv[1], bad_rows="drop")
try:
    if tokenizer:
        report = prepare(request, tokenizer, Path(sys.argv[3])).report
    else:
        report = check(request, None)
    print(report.rows, report.bad, report.bad_rows[0].sentence() if report.bad else "")
except QuickalignError as error:
    print("refused:", error)
print(peak() - before)
"""
MIB = 1 << 20
GOOD = b'{"prompt": "a", "chosen": "b", "rejected": "c"}\n'


def run(*arguments: object) -> tuple[str, int]:
    """What the program said, and by how many MiB its peak memory grew over the imports."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    said, grown = done.stdout.splitlines()
    return said, int(grown)


def write_repeated(path: Path, head: bytes, filling: bytes, tail: bytes) -> None:
    """A file of a gigabyte of nearly nothing on disk or in gzip."""
    with gzip.open(path, "wb", compresslevel=6) if path.suffix == ".gz" else path.open("wb") as stream:
        stream.write(head)
        for _ in range(1 << 30 >> 20):
            stream.write(filling)
        stream.write(tail)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "head", "tail", "expected"),
    [
        ("line.jsonl", GOOD + b'{"prompt": "', b'"}\n' + GOOD, "3 1 row 2: found a line over the limit"),
        ("array.json", b'[{"prompt": "', b'"}]', "row 1 of its array, near byte offset 1, is over the limit of 64 MiB"),
        ("cells.csv", b"prompt,chosen,rejected\na,b,", b"\n", "a row over the limit at line 2"),
    ],
)
def test_a_gigabyte_in_one_row_is_refused_with_little_memory(tmp_path, name, head, tail, expected):
    path = tmp_path / name
    write_repeated(path, head, b"x" * MIB, tail)
    assert path.stat().st_size > 1 << 30
    said, grown = run(path)
    path.unlink()
    assert expected in said
    assert grown < 300


@pytest.mark.slow
def test_a_gzip_bomb_is_refused_with_little_memory(tmp_path):
    path = tmp_path / "bomb.json.gz"
    write_repeated(path, GOOD, b" " * MIB, b"\n")
    assert path.stat().st_size < 16 * MIB
    said, grown = run(path)
    assert "unpacks to more than" in said
    assert grown < 300


@pytest.mark.slow
def test_a_parquet_file_of_one_large_row_group_is_read_in_batches(tmp_path):
    path = tmp_path / "large.parquet"
    texts = [f"{i} " * 400 for i in range(1000)]
    table = pa.table(dict.fromkeys(("prompt", "chosen", "rejected"), texts * 40))
    pq.write_table(table, path, use_dictionary=False, compression="zstd", row_group_size=len(table))
    assert table.nbytes > 150 * MIB
    del table
    said, grown = run(path)
    assert said.startswith("40000 0")
    assert grown < 150


@pytest.mark.slow
def test_long_rows_of_a_parquet_file_are_read_a_few_at_a_time(tmp_path):
    path = tmp_path / "long.parquet"
    table = pa.table({"prompt": ["x" * (4 * MIB)] * 128, "chosen": ["a"] * 128, "rejected": ["b"] * 128})
    pq.write_table(table, path, use_dictionary=False, compression="zstd", write_batch_size=1, data_page_size=MIB)
    assert table.nbytes > 500 * MIB
    del table
    said, grown = run(path)
    assert said.startswith("128 0")
    assert grown < 250


@pytest.mark.slow
def test_memory_grows_by_less_than_a_kilobyte_a_pair(tmp_path):
    toys.qwen2_like().save_pretrained(tmp_path / "tokenizer")
    grown = []
    for count in (2_000, 32_000):
        path = tmp_path / f"{count}.jsonl"
        with path.open("w") as stream:
            for i in range(count):
                row = {"prompt": f"{i} one two three", "chosen": f"four five {i}", "rejected": "six " * (i % 30) + "."}
                stream.write(json.dumps(row) + "\n")
        said, megabytes = run(path, tmp_path / "tokenizer", tmp_path / f"store{count}")
        assert said.startswith(f"{count} 0")
        grown.append(megabytes)
    assert (grown[1] - grown[0]) * MIB < 30_000 * 1024
