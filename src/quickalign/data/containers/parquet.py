"""Parquet, read in small batches of rows."""

from collections.abc import Iterator
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from quickalign.core.errors import DataError
from quickalign.data.containers.json_row import Row
from quickalign.data.containers.limits import LIMIT_WORDS, MAX_ROW_BYTES

MAGIC = b"PAR1"

_BATCH = 256


def read_parquet(stream: BinaryIO, uri: str) -> Iterator[tuple[int, Row]]:
    """Row numbers, from 1, with the rows of all row groups. `stream` must be seekable.

    Raises:
        DataError: the file is damaged, or a row group is so large for its rows that it cannot be data.
    """
    try:
        file = pq.ParquetFile(stream, memory_map=False, pre_buffer=False, buffer_size=1 << 20)
        _check_row_groups(file.metadata, uri)
        number = 0
        for batch in file.iter_batches(batch_size=_BATCH, use_threads=False):
            for row in batch.to_pylist():
                number += 1
                yield number, row
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{uri} is a damaged Parquet file: {reason}.", "Copy or download it again.") from None


def _check_row_groups(metadata: pq.FileMetaData, uri: str) -> None:
    for index in range(metadata.num_row_groups):
        group = metadata.row_group(index)
        if group.num_rows and group.total_byte_size / group.num_rows > MAX_ROW_BYTES:
            raise DataError(
                f"{uri} has rows of {group.total_byte_size // group.num_rows >> 20} MiB each in row group {index + 1}; "
                f"a row has {LIMIT_WORDS}.",
                "Split the texts, or leave out columns that are no texts.",
            )
