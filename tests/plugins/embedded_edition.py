"""Editions as tables without pictures: ids, labels and embeddings, and the columns that components add."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from variorum.arrays import arrow_column
from variorum.schemas.component import Context
from variorum.schemas.table import Table

CTX = Context(seed=0, models=None, memo=None)


def edition(embedding, label, columns=None) -> pa.Table:
    """A table with one row per embedding `[N, d]`; `label` are indices in the edition's class list, -1 for none."""
    label = np.asarray(label, dtype=np.int64)
    table = pa.table(
        {
            "id": pa.array([f"{i:06d}" for i in range(len(label))], pa.string()),
            "source": pa.array([f"{i:06d}" for i in range(len(label))], pa.string()),
            "label": label,
            "labels": [[f"class {k}"] if k >= 0 else [] for k in label.tolist()],
        }
    )
    return with_columns(
        with_columns(table, {"features.embedding": np.asarray(embedding, dtype=np.float16)}), columns or {}
    )


def seen_by(step, arrow: pa.Table) -> Table:
    """The table as a component reads it."""
    return Table(arrow, step.component_name())


def scores(step, arrow: pa.Table, ctx=CTX):
    """The result of `step.score`, under plain names."""
    return step.score(seen_by(step, arrow), ctx)


def scored(step, arrow: pa.Table, ctx=CTX) -> Table:
    """The table with the detector's columns added, as the detector reads it; `.arrow` has the full names."""
    name = step.component_name()
    columns = {f"{name}.{column}": values for column, values in scores(step, arrow, ctx).items()}
    return seen_by(step, with_columns(arrow, columns))


def with_columns(arrow: pa.Table, columns) -> pa.Table:
    """The table with columns added as the machinery adds them."""
    for name, values in columns.items():
        arrow = arrow.append_column(name, arrow_column(values))
    return arrow
