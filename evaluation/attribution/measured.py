"""Figures of the rows that `attribution` measures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from variorum.evaluation.attribution.curves import THRESHOLDS
from variorum.kit.predicted.drops import Results
from variorum.kit.predicted.resamples import Resamples, percent
from variorum.schemas.canonical import Json
from variorum.schemas.rows import Answers
from variorum.schemas.table import Table

if TYPE_CHECKING:
    from variorum.arrays import Bools, Floats, Ints

NOT_A_NUMBER = "isn't a number everywhere"
NO_OBJECT = "no picture has a mask.png, or an object, that the classifier sees"
FITS, LEAST = 0.5, 2
"""IoU from which a box counts as found, and objects of each half, below which no threshold is chosen."""


class Measured:
    """One classifier's values of each photograph by map: names of maps with values, and why others have none."""

    def __init__(self, table: Table, alias: str) -> None:
        self.alias, self._table = alias, table
        photographs, place = np.unique(table["photograph"].astype(str), return_inverse=True)
        self.photographs: list[str] = photographs.tolist()
        self._place, self._mine = place.reshape(-1), table["classifier"].astype(str) == alias
        self._map, self._why = table["map"].astype(str), table["why"].astype(str)
        names = [name for name in dict.fromkeys(self._map[self._mine].tolist()) if name]
        self.maps = [name for name in names if len(self._rows(name))]
        every = {str(name): str(why) for name, why in zip(self._map[self._mine], self._why[self._mine], strict=True)}
        self.why_not = {name: every[name] for name in names if name not in self.maps}

    def _rows(self, name: str) -> Ints:
        return np.flatnonzero(self._mine & (self._map == name) & (self._why == ""))

    def values(self, name: str, of: str) -> Floats:
        """A column by photograph, `[n]`; NaN where the map has no value."""
        found, rows = np.full(len(self.photographs), np.nan), self._rows(name)
        found[self._place[rows]] = self._table[of][rows]
        return found

    def gained(self, name: str, curve: str = "insertion") -> Floats:
        """How much better than a random order a curve is, and what the pixels give, `[n, 2]`; 0 without."""
        more = self.values(name, curve) - self.values("random", curve)
        both = np.stack([more, self.values(name, "p") - self.values(name, f"p_{curve}")], axis=1)
        return np.nan_to_num(both * ((1, 1) if curve == "insertion" else (-1, 1)))

    def gain(self, names: Sequence[str]) -> Answers:
        """The gain of these maps by insertion, as an evaluation's `rows` tell it."""
        parts, centre = [self.gained(name) for name in names], float(_ratio(self.gained("centre").sum(axis=0)))
        counted = np.stack([np.isfinite(self.values(name, "insertion")) for name in names], axis=1).astype(np.float64)
        return Answers(
            "gain",
            self.alias,
            self.photographs,
            np.zeros_like(counted),
            counted,
            tuple(names),
            {"map": tuple(names)},
            whole_by=lambda counts: np.array([np.clip(_ratio(counts @ part), 0, 1) for part in parts]),
            floor=None if np.isnan(centre) else min(max(centre, 0.0), 1.0),
            note="less than a random order counts as 0, the floor is a blob in the middle",
        )

    def figures(self, first: Bools, resamples: Resamples, results: Results) -> dict[str, Json]:
        """Its figures, which `results` completes. Each half, the `first` and the rest, has the other's threshold."""

        def share(values: Floats, *, signed: bool = False) -> dict[str, Json] | None:
            there = np.isfinite(values)
            parts = np.where(there, values, 0)[:, None], there.astype(np.float64)[:, None]
            return results.told(*parts, signed) if there.any() else None

        nan = Counter(self._map[self._mine & (self._why == NOT_A_NUMBER)].tolist())
        objects = int((self.values("random", "points") >= 0).sum())
        found: dict[str, Json] = {}
        for name in self.maps:
            inserted, points = (self.values(name, of) for of in ("insertion", "points"))
            localised, thresholds = self._localised(name, first)
            one: dict[str, Json] = {"nan": nan[name], "thresholds": thresholds, "insertion": share(inserted)}
            one["deletion"] = share(self.values(name, "deletion"))
            if name != "random":
                one |= {f"{of}_gain": _interval(self.gained(name, of), resamples) for of in ("insertion", "deletion")}
            if name != "centre":
                one["over_centre"] = share(inserted - self.values("centre", "insertion"), signed=True)
            found[name] = {**one, "points": share(np.where(points < 0, np.nan, points)), "localised": share(localised)}
        p = {of: self.values("random", of) for of in ("p", "p_insertion", "p_deletion")}
        return {
            "n": int(np.isfinite(p["p"]).sum()),
            **{of: percent(float(np.nanmean(one))) if np.isfinite(one).any() else None for of, one in p.items()},
            "objects": objects,
            "why_no_objects": "" if objects else NO_OBJECT,
            "layers": sorted({*self._table["layer"][self._mine].tolist()} - {""}),
            "left_out": dict[str, Json](Counter(self._why[self._mine & (self._map == "")].tolist())),
            "why_not": dict[str, Json](self.why_not),
            "maps": found,
        }

    def _localised(self, name: str, first: Bools) -> tuple[Floats, list[Json]]:
        """Whether the box is found, `[n]`, NaN without an object; and the threshold of each half."""
        rows, overlap = self._rows(name), np.full((len(self.photographs), len(THRESHOLDS)), np.nan)
        overlap[self._place[rows]] = np.asarray(self._table["overlap"], np.float64)[rows]
        there, found, chosen = np.isfinite(overlap[:, 0]), np.full(len(overlap), np.nan), list[Json]()
        if min((there & first).sum(), (there & ~first).sum()) >= LEAST:
            for half in (there & first, there & ~first):
                other = overlap[there & ~half]
                best = int(((other >= FITS).mean(axis=0) + 1e-3 * other.mean(axis=0)).argmax())  # ties by the mean IoU
                found[half] = overlap[half, best] >= FITS
                chosen.append(round(float(THRESHOLDS[best]), 2))
        return found, chosen


def _ratio(sums: Floats) -> Floats:
    """The first of the last axis over the second; NaN where that isn't positive."""
    empty: Floats = np.full(sums.shape[:-1], np.nan)
    return np.divide(sums[..., 0], sums[..., 1], out=empty, where=sums[..., 1] > 0)


def _interval(parts: Floats, resamples: Resamples) -> dict[str, Json] | None:
    """The ratio of the sums of `[n, 2]` in percent, with its percentile interval; None if there is none."""
    value = _ratio(parts.sum(axis=0))
    if np.isnan(value):
        return None
    drawn = [_ratio(part.astype(np.float64) @ parts) for part in resamples.weights()]
    low, high = np.nanquantile(np.concatenate(drawn), resamples.tails)
    told = {"value": percent(float(value)), "low": percent(low), "high": percent(high)}
    return {**told, "photographs": int((parts[:, 1] != 0).sum())}
