"""Pictures with opinions about them, in memory: what a panel's queue is made from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from variorum.arrays import arrow_column
from variorum.people.panel.askable import Pictures
from variorum.schemas.table import Table


def classes(k: int) -> list[tuple[str, str]]:
    """Ids and names of k classes."""
    return [(f"c{number}", f"class {number}") for number in range(k)]


def drawn(n: int, k: int, seed: int, right: float = 0.7) -> dict[str, Any]:
    """Columns of n pictures of k classes: a given label, and what two models and two detectors make of it."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, k, n)

    def opinion() -> Any:
        return np.where(rng.random(n) < right, label, rng.integers(0, k, n))

    both = [opinion(), opinion()]
    labels = np.column_stack([label, *both])
    labels[:, 1:][both[0] == label, 0] = -1
    labels[(both[1] == label) | (both[1] == both[0]), 2] = -1
    p = [np.where(labels == one[:, None], 0.97, 0.0) for one in both]
    return {
        "label": label,
        "labels": [[f"c{one}"] for one in label],
        "neighbours.proposed": np.where(rng.random(n) < 0.9, opinion(), -1),
        "early_learning.proposed": opinion(),
        "candidates.proposals": labels,
        "candidates.chances": np.stack(p, axis=2).reshape(n, 6),
    }


def pictures_of(
    columns: dict[str, Any], k: int, *, order: Sequence[int] | None = None, verdicts: Any = None
) -> Pictures:
    """Pictures with these columns, whose rows may come in another order."""
    n = len(columns["label"])
    ids = [hashlib.md5(str(row).encode(), usedforsecurity=False).hexdigest() for row in range(n)]
    whole = {
        "id": ids,
        "sha256": [hashlib.sha256(one.encode()).hexdigest() for one in ids],
        "variant": ["original"] * n,
        "origin": [f"{row}.jpg" for row in range(n)],
        **columns,
    }
    arrow = pa.table({name: _column(name, values) for name, values in whole.items()})
    return Pictures.of(Table(arrow.take(list(order)) if order is not None else arrow), classes(k), verdicts)


def _column(name: str, values: Any) -> Any:
    if name == "labels":
        return pa.array(values, pa.list_(pa.string()))
    return pa.array(values, pa.string()) if isinstance(values, list) else arrow_column(values)
