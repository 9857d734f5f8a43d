"""Opening a file of training data: which container it is, and its rows one after another."""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import BinaryIO

from quickalign.core import storage
from quickalign.core.errors import DataError
from quickalign.data.containers import parquet
from quickalign.data.containers.csv_table import header_cells, read_csv
from quickalign.data.containers.encoding import UTF8_BOM, wide_encoding
from quickalign.data.containers.json_array import read_json_array
from quickalign.data.containers.json_lines import read_json_lines
from quickalign.data.containers.json_row import Row
from quickalign.data.containers.stream import ByteStream, Progress
from quickalign.data.problem import RowProblem, quote

_FOREIGN = (
    (b"PK\x03\x04", "a zip archive"),
    (b"%PDF", "a PDF file"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ\x00", "an xz file"),
    (b"\x28\xb5\x2f\xfd", "a zstd file"),
    (b"7z\xbc\xaf", "a 7-Zip archive"),
    (b"ARROW1", "an Arrow file"),
    (b"SQLite format 3", "an SQLite database"),
    (b"\x89PNG", "a picture"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself"),
)
_MARKUP = (b"<!doctype", b"<html", b"<head", b"<body", b"<?xml")
_EXPECTED = "Give a JSON array, JSON lines, Parquet or CSV, plain or gzip."


class RowSource:
    """The rows of one open file. Iterating gives row numbers with rows, or with what is wrong with a row.

    `sha256` and `bytes`, of the file as it is stored, are known when the iteration has ended.

    Raises (while iterating):
        DataError: the file as a whole cannot be read.
    """

    def __init__(self, stream: ByteStream, container: str, rows: Iterator[tuple[int, Row | RowProblem]]) -> None:
        self._stream, self._rows = stream, rows
        self.container = container + (", gzip" if stream.packed else "")
        self.sha256 = ""
        self.bytes = 0

    def __iter__(self) -> Iterator[tuple[int, Row | RowProblem]]:
        yield from self._rows
        self.sha256, self.bytes = self._stream.finish()


@contextmanager
def open_rows(uri: str, progress: Progress | None = None) -> Iterator[RowSource]:
    """Open a file of training data and find out how its rows are stored.

    Raises:
        StorageError: the file cannot be opened.
        DataError: it is empty or no file of rows.
    """
    with storage.open_binary(uri) as handle:
        total = storage.size(uri)
        stream = ByteStream(uri, handle, total, progress)
        head = stream.head()
        _refuse_foreign(uri, head)
        if not head.startswith(parquet.MAGIC):
            yield _text_rows(uri, stream, head)
            return
        if stream.packed:
            raise DataError(f"{uri} is a Parquet file inside gzip.", "Unpack it first; Parquet packs by itself.")
        yield _parquet_rows(uri, stream, handle)


def _parquet_rows(uri: str, stream: ByteStream, handle: BinaryIO) -> RowSource:
    """Parquet is read from its end, so the bytes are hashed in a pass of their own."""
    stream.finish()
    handle.seek(0)
    return RowSource(stream, "Parquet", iter(parquet.read_parquet(handle, uri)))


def _text_rows(uri: str, stream: ByteStream, head: bytes) -> RowSource:
    reader = stream.reader
    text = head.removeprefix(UTF8_BOM).lstrip()
    if text.startswith(b"["):
        return RowSource(stream, "JSON array", read_json_array(reader, uri))
    if text.startswith(b"{"):
        return RowSource(stream, "JSON lines", read_json_lines(reader, uri))
    if _is_csv(uri, text):
        return RowSource(stream, "CSV", read_csv(reader, uri))
    start = quote(text[:60].decode("utf-8", "replace"))
    raise DataError(f"{uri} starts with {start}, which is no JSON, Parquet or CSV.", _EXPECTED)


def _is_csv(uri: str, text: bytes) -> bool:
    suffixes = {suffix.lower() for suffix in PurePosixPath(uri).suffixes}
    if suffixes & {".json", ".jsonl", ".ndjson"}:
        return False
    if suffixes & {".csv", ".tsv"}:
        return True
    line = text.split(b"\n", 1)[0].decode("utf-8", "replace").strip()
    try:
        names = header_cells(line)[0]
    except csv.Error:
        return False
    return len(names) > 1 and all(name.replace("_", "").isalnum() for name in names)


def _refuse_foreign(uri: str, head: bytes) -> None:
    if not head.removeprefix(UTF8_BOM).strip():
        blank = f"begins with {len(head)} blank bytes" if len(head) > len(UTF8_BOM) else "holds no rows"
        raise DataError(f"{uri} is empty: it {blank}.", _EXPECTED)
    for magic, name in _FOREIGN:
        if head.startswith(magic):
            raise DataError(f"{uri} is {name}, not a file of rows.", _EXPECTED)
    if head.lstrip()[:10].lower().startswith(_MARKUP):
        raise DataError(
            f"{uri} is a web page (HTML or XML), not a file of rows.", "Download the raw file, not its page."
        )
    if wide := wide_encoding(head):
        raise DataError(f"{uri} is not UTF-8: from byte offset 0 on it looks like {wide}.", "Save it as UTF-8.")
    if head.startswith(b"\0"):
        raise DataError(f"{uri} has a NUL byte at byte offset 0.", "Copy or download it again; it seems damaged.")
