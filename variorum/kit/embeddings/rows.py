"""Embeddings `[N, d]` prepared for detectors, in blocks: a million float16 rows never become float64 at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from variorum.machine.scratch import scratch

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools, Floats, Ints, Singles

SCALED = 1024
"""Rows that are scaled at a time."""
BLOCK = 4096
"""Rows that are read at a time."""


def normalised(embedding: Array, rows: Ints | None = None) -> Singles:
    """Rows `[N, d]` scaled to unit length, so that their dot products are cosines; many lie in a `scratch` file.

    A row without a direction (all zero, or with a value that isn't finite) becomes all NaN.

    Args:
        embedding: `[N, d]`.
        rows: those that are wanted; None for all.
    """
    number = len(embedding) if rows is None else len(rows)
    found = scratch((number, *embedding.shape[1:]), np.float32)
    for start in range(0, number, SCALED):
        part = slice(start, start + SCALED)
        block = found[part]
        block[:] = embedding[part] if rows is None else embedding[rows[part]]
        # dividing by the largest value first keeps the squares from overflowing or vanishing
        largest = np.abs(block).max(axis=1, keepdims=True, initial=0)
        block[~(np.isfinite(largest[:, 0]) & (largest[:, 0] > 0))] = np.nan
        block /= largest
        block /= np.linalg.norm(block, axis=1, keepdims=True)
    return found


def standardised(x: Array, fitted: Bools) -> Singles:
    """Columns `[N, d]` with mean 0 and deviation 1 over the rows where `fitted` `[N]`; a constant column is all 0."""
    rows = np.asarray(x, dtype=np.float32)
    if not fitted.any():
        return np.zeros_like(rows)
    mean, deviation = mean_and_deviation(rows if fitted.all() else rows[fitted])
    return rescaled(rows, lambda block: (block - mean) / deviation)


def rescaled(rows: Singles, scale: Callable[[Singles], Singles]) -> Singles:
    """What `scale` makes of rows `[N, d]`, a block at a time; many lie in a `scratch` file."""
    found = scratch(rows.shape, np.float32)
    for start in range(0, len(rows), BLOCK):
        found[start : start + BLOCK] = scale(rows[start : start + BLOCK])
    return found


def mean_and_deviation(rows: Singles) -> tuple[Singles, Singles]:
    """Mean and deviation `[d]` of the columns of `[N, d]`; the deviation of a constant column is infinite."""
    mean = rows.mean(axis=0)
    squares, largest = np.zeros_like(mean), np.zeros_like(mean)
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        # one row after the other, as `rows.std` adds them, which would copy all of them
        squares = np.add.reduce(np.concatenate([squares[None], (block - mean) ** 2]), axis=0)
        largest = np.maximum(largest, np.abs(block).max(axis=0))
    deviation = np.sqrt(squares / np.float32(len(rows)))
    return mean, np.where(deviation <= 1e-6 * largest, np.float32(np.inf), deviation)


def finite_rows(embedding: Array) -> Bools:
    """`[N]`: whether a row has neither NaN nor infinity."""
    return _by_block(embedding, lambda block: np.isfinite(block).all(axis=1))


def usable_rows(embedding: Array) -> Bools:
    """`[N]`: whether a row has a direction: it is finite and not zero."""
    return _by_block(embedding, lambda block: np.isfinite(block).all(axis=1) & block.any(axis=1))


def _by_block(embedding: Array, holds: Callable[[Array], Any]) -> Bools:
    found = np.empty(len(embedding), dtype=bool)
    for start in range(0, len(embedding), BLOCK):
        found[start : start + BLOCK] = holds(embedding[start : start + BLOCK])
    return found


def blocks(embedding: Array, rows: Ints) -> Iterator[tuple[slice, Floats]]:
    """The given rows as float64, a block at a time, each with its slice of `rows`."""
    for start in range(0, len(rows), BLOCK):
        part = slice(start, start + BLOCK)
        yield part, embedding[rows[part]].astype(np.float64)


def taken(vectors: Array, rows: Ints, store: str = "") -> Array:
    """These rows of `[N, d]`, copied block by block to where there is room, as `scratch` says."""
    some = scratch((len(rows), *vectors.shape[1:]), vectors.dtype, store)
    for start in range(0, len(rows), BLOCK):
        some[start : start + BLOCK] = vectors[rows[start : start + BLOCK]]
    return some


def thinned(rows: Ints, at_most: int) -> Ints:
    """The rows, or evenly spaced ones of them if there are more than `at_most`."""
    if len(rows) <= at_most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, at_most).astype(np.int64)]
