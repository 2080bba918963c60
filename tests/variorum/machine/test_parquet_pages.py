"""The sizes of parquet pages, of files by honest writers and of files that are bombs or damaged."""

from __future__ import annotations

import io
from contextlib import suppress
from functools import cache

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from variorum.machine import parquet_pages
from variorum.machine.parquet_pages import TooLarge, check_pages, largest_page, read_chunks

TABLE = pa.table(
    {
        "text": [f"number {number % 700}" for number in range(5000)],
        "list": [[f"{number}", "b"] * (number % 3) for number in range(5000)],
        "objects": [[{"box": [1.0, 2.0], "name": None}] for _ in range(5000)],
        "bytes": [b"%d" % number for number in range(5000)],
        "nothing": pa.nulls(5000),
    }
)


def written(table=TABLE, **options) -> io.BytesIO:
    file = io.BytesIO()
    pq.write_table(table, file, **options)
    return file


@pytest.mark.parametrize("compression", ["zstd", "snappy", "none"])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("dictionary", [True, False])
def test_pages_are_as_large_as_an_honest_footer_says(compression, version, dictionary):
    options = {"data_page_version": version, "use_dictionary": dictionary, "data_page_size": 4096}
    file = written(compression=compression, row_group_size=2000, write_page_checksum=True, **options)
    contents = pq.read_metadata(file)
    for group, chunks in enumerate(read_chunks(file)):
        for place, chunk in enumerate(chunks):
            column = contents.row_group(group).column(place)
            assert (chunk.path, chunk.values) == (column.path_in_schema, column.num_values)
            assert chunk.binary == (chunk.path == "bytes")
            pages = list(parquet_pages._pages(file, chunk))
            assert 0 < column.total_uncompressed_size - sum(pages) < 200 * len(pages)  # their headers
    check_pages(file)
    assert file.tell() == 0


def test_bombs_are_refused(monkeypatch):
    monkeypatch.setattr(parquet_pages, "LARGEST", 1 << 20)
    for dictionary in (True, False):
        file = written(pa.table({"a": ["x" * (2 << 20)]}), compression="zstd", use_dictionary=dictionary)
        with pytest.raises(TooLarge, match=r"column a has a page of \d+ bytes that would take 20971"):
            largest_page(file, *read_chunks(file))
    noise = written(pa.table({"a": [bytes(range(256)) * 8192]}), compression="none")
    assert largest_page(noise, *read_chunks(noise)) > 2 << 20  # as large as in the file
    monkeypatch.setattr(parquet_pages, "WHOLE", 1 << 20)
    many = pa.table({"a": ["x" * (1 << 17)] * 100})
    with pytest.raises(TooLarge, match="more than 1000 times its size"):
        check_pages(written(many, compression="zstd", use_dictionary=False, data_page_size=1, write_batch_size=1))


@cache
def sound(packed):
    return written(compression="zstd" if packed else "none", row_group_size=2500).getvalue()


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1 << 14), st.integers(0, 255)), min_size=1, max_size=4), st.booleans())
def test_damaged_files_are_read_or_refused(edits, packed):
    data = bytearray(sound(packed))
    for place, value in edits:
        data[-1 - place % len(data)] = value
    with suppress(ValueError):
        check_pages(io.BytesIO(data))


@pytest.mark.parametrize(
    "data", [b"", b"PAR1", b"PAR1" * 4, b"\x19" * 40 + b"\x28\0\0\0PAR1", b"PAR1\xff\xff\xff\x7fPAR1"]
)
def test_other_files_are_refused(data):
    with pytest.raises(ValueError, match="footer"):
        check_pages(io.BytesIO(data))
