"""Parquet, read in small batches of rows."""

from collections import Counter
from collections.abc import Iterator
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from quickalign.core.errors import DataError, first_line
from quickalign.data.containers.json_row import Row
from quickalign.data.containers.limits import LIMIT_WORDS, MAX_ROW_BYTES
from quickalign.data.problem import RowProblem

MAGIC = b"PAR1"

_BATCH = 8
"""Rows in memory at once, each of which may be as large as a row can be; more are hardly faster."""


def read_parquet(stream: BinaryIO, uri: str) -> Iterator[tuple[int, Row | RowProblem]]:
    """Row numbers, from 1, with the rows of all row groups. `stream` must be seekable.

    Raises:
        DataError: the file is damaged, has a column twice, or a row group is so large for its rows that it cannot be
            data.
    """
    try:
        file = pq.ParquetFile(stream, memory_map=False, pre_buffer=False, buffer_size=1 << 20)
        _check_columns(file.schema_arrow.names, uri)
        _check_row_groups(file.metadata, uri)
        number = 0
        for batch in file.iter_batches(batch_size=_BATCH, use_threads=False):
            for row in _rows(batch):
                number += 1
                yield number, row
    except (pa.ArrowException, OSError) as error:
        reason = first_line(error)
        raise DataError(f"{uri} is a damaged Parquet file: {reason}.", "Copy or download it again.") from None


def _rows(batch: pa.RecordBatch) -> list[Row | RowProblem]:
    """The rows of `batch`; those with a value that Python cannot have are looked at one by one."""
    try:
        rows: list[Row | RowProblem] = batch.to_pylist()
    except (ValueError, OverflowError):
        return [_row(batch, index) for index in range(batch.num_rows)]
    return rows


def _row(batch: pa.RecordBatch, index: int) -> Row | RowProblem:
    row: Row = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        try:
            row[name] = column[index].as_py()
        except UnicodeDecodeError as error:
            return RowProblem(name, f"the byte 0x{error.object[error.start]:02x}, which is not UTF-8", "UTF-8 text")
        except (ValueError, OverflowError) as error:
            return RowProblem(
                name, f"a value of type {column.type} that cannot be read ({error})", "a value within bounds"
            )
    return row


def _check_columns(names: list[str], uri: str) -> None:
    if doubled := [name for name, times in Counter(names).items() if times > 1]:
        raise DataError(f"{uri} has the column {doubled[0]!r} more than once.", "Leave one of them out.")


def _check_row_groups(metadata: pq.FileMetaData, uri: str) -> None:
    for index in range(metadata.num_row_groups):
        group = metadata.row_group(index)
        if group.num_rows and group.total_byte_size / group.num_rows > MAX_ROW_BYTES:
            raise DataError(
                f"{uri} has rows of {group.total_byte_size // group.num_rows >> 20} MiB each in row group {index + 1}; "
                f"a row has {LIMIT_WORDS}.",
                "Split the texts, or leave out columns that are no texts.",
            )
