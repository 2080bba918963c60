"""Editions as tables without pictures: ids, labels and embeddings, and what steps add to them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from schemas.component import Context
from variorum.columns import arrow_column

CTX = Context(seed=0, models=None, memo=None)


def edition(embedding, label, columns=None) -> pa.Table:
    """A table with a row an embedding `[N, d]`; `label` are indices in the edition's class list, -1 for none."""
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


def scored(step, table: pa.Table) -> pa.Table:
    """The table with what a step says of it."""
    name = step.component_name()
    return with_columns(table, {f"{name}.{column}": values for column, values in step.score(table, CTX).items()})


def with_columns(table: pa.Table, columns) -> pa.Table:
    """The table with columns added as the engine adds them."""
    for name, values in columns.items():
        table = table.append_column(name, arrow_column(values))
    return table
