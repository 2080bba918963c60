"""Parquet files of votes by anybody: opened only if they can't fill the memory.

A text of a megabyte that is repeated takes a few bytes for each time in the file, and a megabyte for each in memory.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from variorum.machine.parquet_pages import check_pages

LONGEST = 1 << 14
"""Bytes of a text. The longest that can be right, a comment of 2000 characters, has at most 8000."""
NUMBERS = 16
"""Values in a cell at most, on average; a box has four."""


def open_parquet(path: Path) -> Any:
    """A `pyarrow.parquet.ParquetFile` whose texts have been looked at without unfolding them.

    Raises:
        ValueError: no parquet, or one that would fill the memory.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    check_pages(path)
    file = pq.ParquetFile(path)
    groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
    for group in groups:
        for column in map(group.column, range(group.num_columns)):
            if column.num_values > NUMBERS * max(group.num_rows, 1):
                raise ValueError(f"column {column.path_in_schema.split('.')[0]} has more than {NUMBERS} values a row")
    plain = {pa.string(), pa.large_string(), pa.binary(), pa.large_binary()}
    texts = [field.name for field in file.schema_arrow if field.type in plain or pa.types.is_dictionary(field.type)]
    if texts:
        for batch in pq.ParquetFile(path, read_dictionary=texts).iter_batches(columns=texts):
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                if pa.types.is_dictionary(column.type):
                    longest = pc.max(pc.binary_length(pc.cast(column.dictionary, pa.large_binary()))).as_py() or 0
                    if longest > LONGEST:
                        raise ValueError(f"column {name} has a text of {longest} bytes; none may have {LONGEST}")
    return file
