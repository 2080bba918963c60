"""Comparison of an edition's detectors: how much each flags, in which classes, and how far two of them agree.

A step counts as a detector if it has a column `<step>.flag`, `<step>.score`, or both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from variorum.arrays import Bools, Floats, Ints, class_tiers
from variorum.schemas.canonical import Json
from variorum.schemas.table import Table

TAIL = 2
MOST = 30
"""Classes that are listed; an edition may have thousands."""
LEAST = 10
"""Pictures that two detectors must both have judged before their agreement is computed."""


def detector_figures(table: Any, classes: Sequence[tuple[str, str]]) -> dict[str, Json]:
    """`flagged`, `agreement` and `classes` of the detectors in a table; empty if no detector has flags.

    Detectors whose score is NaN for all pictures have judged nothing, and are left out: `consensus` without votes.

    Args:
        table: the edition's columns and those of all steps, as `decide` gets them; a `WideTable` or a `pyarrow.Table`.
        classes: (id, name) in index order, as in the manifest.
    """
    own = Table(table)
    flags = {name: own[f"{name}.flag"] for name in _steps(table, ".flag", "bool")}
    scores = OnDemand({name: f"{name}.score" for name in _steps(table, ".score", "float", "double", "halffloat")}, own)
    if not table.num_rows or not flags:
        return {}
    y, present = own.labels()
    judged = {
        name: ~np.isnan(scores[name]) if name in scores else np.ones(len(y), bool) for name in {**flags, **scores.names}
    }
    judged = {name: mask for name, mask in judged.items() if mask.any()}
    flags = {name: mask for name, mask in flags.items() if name in judged}
    scores = OnDemand({name: column for name, column in scores.names.items() if name in judged}, own)
    if not flags:
        return {}
    ids = [classes[index][0] for index in present.tolist()]
    return {
        "flagged": flag_shares(flags, judged, y),
        "agreement": agreement(flags, scores, judged),
        "classes": flagged_classes(flags, y, ids),
    }


@dataclass(frozen=True, slots=True)
class OnDemand(Mapping[str, Floats]):
    """Columns of a table as float64 that are read at each use, as a hundred million numbers fill the memory."""

    names: Mapping[str, str]
    table: Table

    def __getitem__(self, key: str) -> Floats:
        return np.asarray(self.table[self.names[key]], dtype=np.float64)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, key: object) -> bool:
        return key in self.names


def flag_shares(flags: Mapping[str, Bools], judged: Mapping[str, Bools], y: Ints) -> dict[str, Json]:
    """The flagged share of the pictures that each detector judged: `all`, `tail`, `all_alone` and `tail_alone`.

    `tail` counts only tail classes. `alone` counts only pictures that no other detector flags. These are presumed
    clean, so a detector that flags more of them in the tail than elsewhere mistakes rare for wrong. A share is None if
    there are no such pictures, or the detector has no flags.

    Args:
        flags: `[n]` by detector.
        judged: `[n]` by detector.
        y: labels `[n]` in 0..K-1, -1 for unlabelled.
    """
    tail = np.zeros(len(y), bool)
    tail[y >= 0] = class_tiers(y[y >= 0]) == TAIL
    votes = np.zeros(len(y), np.int16)
    for one in flags.values():
        votes += one
    found: dict[str, Json] = {}
    for name, mine in judged.items():
        flag = flags.get(name)
        alone = votes == (0 if flag is None else flag)
        groups = {"all": mine, "tail": tail & mine}
        groups |= {f"{group}_alone": rows & alone for group, rows in groups.items()}
        found[name] = {
            group: None if flag is None or not rows.any() else _rounded(flag[rows].mean())
            for group, rows in groups.items()
        }
    return found


def agreement(flags: Mapping[str, Bools], scores: Mapping[str, Floats], judged: Mapping[str, Bools]) -> list[Json]:
    """φ of the flags and Spearman's ρ of the scores of each pair of detectors, over the pictures that both judged.

    None if one of them lacks the column, flags nothing or everything, or if they share fewer than `LEAST` pictures.
    """
    masks = {name: np.packbits(mask).tobytes() for name, mask in judged.items()}
    ranked: dict[tuple[str, bytes], NDArray[np.int64]] = {}

    def ranks(name: str, both: Bools, key: bytes) -> Floats:
        if (name, key) not in ranked:
            _, place, ties = np.unique(scores[name][both], return_inverse=True, return_counts=True)
            twice = (2 * np.cumsum(ties) - ties + 1)[place]  # a whole number, for ties too
            ranked[name, key] = twice.astype(np.int32 if len(twice) < 2**30 else np.int64)
        return ranked[name, key] / 2

    found: list[Json] = []
    names = list(judged)
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            both = judged[first] & judged[second]
            key = masks[first] if masks[first] == masks[second] else np.packbits(both).tobytes()
            phi = rho = None
            if both.sum() >= LEAST:
                if first in flags and second in flags:
                    phi = correlation(flags[first][both], flags[second][both])
                if first in scores and second in scores:
                    rho = correlation(ranks(first, both, key), ranks(second, both, key))
            found.append({"of": [first, second], "phi": phi, "rho": rho})
    return found


def flagged_classes(flags: Mapping[str, Bools], y: Ints, ids: Sequence[str]) -> list[Json]:
    """The classes with the largest share flagged by any detector: id, number of pictures, flagged share by detector."""
    if not flags or not len(ids):
        return []
    sizes = np.bincount(y[y >= 0], minlength=len(ids))

    def shares(flag: Bools) -> Floats:
        return np.asarray(np.bincount(y[flag & (y >= 0)], minlength=len(ids)) / np.maximum(sizes, 1))

    by_any = shares(np.logical_or.reduce(list(flags.values())))
    by_each = {name: shares(flag) for name, flag in flags.items()}
    worst = np.lexsort((np.array(ids), -sizes, -by_any))[:MOST]
    return [
        {
            "class": ids[k],
            "pictures": int(sizes[k]),
            "flagged": {"any": _rounded(by_any[k]), **{name: _rounded(each[k]) for name, each in by_each.items()}},
        }
        for k in worst.tolist()
        if by_any[k]
    ]


def correlation(a: NDArray[Any], b: NDArray[Any]) -> float | None:
    """Pearson's correlation, which is φ for booleans; None if one of the two is constant."""
    x, z = (values - values.mean() for values in (a.astype(np.float64), b.astype(np.float64)))
    spread = float(np.sqrt((x @ x) * (z @ z)))
    return _rounded(float(x @ z) / spread) if spread > 0 else None


def _steps(table: Any, ending: str, *kinds: str) -> list[str]:
    """The steps with a column of this name and of one of these types."""
    fields = [field for field in table.schema if field.name.endswith(ending) and str(field.type) in kinds]
    return [field.name.removesuffix(ending) for field in fields]


def _rounded(value: float) -> float:
    return round(float(value), 4)
