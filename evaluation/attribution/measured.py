"""Figures of the rows that `attribution` measures."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from variorum.evaluation.attribution.curves import THRESHOLDS
from variorum.kit.predicted.drops import Results
from variorum.kit.predicted.resamples import Resamples, percent
from variorum.pixels import decode, encode_png
from variorum.schemas.canonical import Json
from variorum.schemas.rows import Answers
from variorum.schemas.table import Table

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools, Floats, Ints

NOT_A_NUMBER = "isn't a number everywhere"
NO_OBJECT = "no picture has a mask.png or an object that the classifier sees"
FITS = 0.5
"""IoU from which a box counts as found."""
FEW = 2
"""Objects in each half, below which no threshold is chosen."""


class Measured:
    """Values of each photograph, by classifier and map.

    Attributes:
        photographs: their ids, sorted, `[n]`.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        names, place = np.unique(table["photograph"].astype(str), return_inverse=True)
        self.photographs: list[str] = names.tolist()
        self._place = place.reshape(-1)
        self._who, self._map, self._why = (table[one].astype(str) for one in ("classifier", "map", "why"))

    def _rows(self, alias: str, name: str) -> Ints:
        return np.flatnonzero((self._who == alias) & (self._map == name))

    def has(self, alias: str, name: str) -> bool:
        """Whether a map has values for any photograph."""
        return bool((self._why[self._rows(alias, name)] == "").any())

    def why_not(self, alias: str) -> dict[str, str]:
        """Why maps have no values, by map."""
        maps = dict.fromkeys(self._map[self._who == alias].tolist())
        return {name: self._why[self._rows(alias, name)[0]] for name in maps if name and not self.has(alias, name)}

    def values(self, alias: str, name: str, of: str) -> Floats:
        """A column by photograph, `[n]`; NaN where the map has no value."""
        found, rows = np.full(len(self.photographs), np.nan), self._rows(alias, name)
        rows = rows[self._why[rows] == ""]
        found[self._place[rows]] = self._table[of][rows]
        return found

    def gained(self, alias: str, name: str, curve: str = "insertion") -> tuple[Floats, Floats]:
        """How much better than a random order a curve is, and how much the pixels give, `[n]` each; 0 without."""
        sign = 1 if curve == "insertion" else -1
        area = self.values(alias, name, curve)
        more = sign * (area - self.values(alias, "random", curve))
        given = self.values(alias, name, "p") - self.values(alias, name, f"p_{curve}")
        there = np.isfinite(more)
        return np.where(there, more, 0), np.where(there, given, 0)

    def gain(self, alias: str, names: Sequence[str]) -> Answers:
        """The gain of these maps by insertion, as an evaluation's `rows` tells it."""
        parts = [self.gained(alias, name) for name in names]
        top, bottom = (np.stack(part, axis=1) for part in zip(*parts, strict=True))

        def by_map(counts: Floats) -> Floats:
            return np.array([np.clip(_ratio(*part), 0, 1) for part in zip(counts @ top, counts @ bottom, strict=True)])

        centre = _ratio(*(part.sum() for part in self.gained(alias, "centre")))
        counted = np.stack([np.isfinite(self.values(alias, name, "insertion")) for name in names], axis=1)
        return Answers(
            "gain",
            alias,
            self.photographs,
            np.zeros(counted.shape),
            counted.astype(np.float64),
            tuple(names),
            {"map": tuple(names)},
            whole_by=by_map,
            floor=None if np.isnan(centre) else min(max(centre, 0.0), 1.0),
            note="the floor is a blob in the middle",
        )

    def of_classifier(self, alias: str, first: Bools, resamples: Resamples, results: Results) -> dict[str, Json]:
        """Figures of one classifier.

        Args:
            alias: its name.
            first: which photographs are of the first half, `[n]`; the threshold of each half is chosen on the other.
            resamples: of the photographs.
            results: takes the figures whose intervals are computed together.
        """
        mine = self._who == alias
        maps = {name: None for name in self._map[mine].tolist() if name and self.has(alias, name)}
        nan = Counter(self._map[mine & (self._why == NOT_A_NUMBER)].tolist())
        p = {of: self.values(alias, "random", of) for of in ("p", "p_insertion", "p_deletion")}
        objects = int((self.values(alias, "random", "points") >= 0).sum())
        layers = set(self._table["layer"][mine].tolist()) - {""}
        return {
            "n": int(np.isfinite(p["p"]).sum()),
            **{of: percent(np.nanmean(one)) if np.isfinite(one).any() else None for of, one in p.items()},
            "objects": objects,
            "why_no_objects": "" if objects else NO_OBJECT,
            "layer": " ".join(sorted(layers)),
            "left_out": dict(Counter(self._why[mine & (self._map == "")].tolist())),
            "why_not": dict[str, Json](self.why_not(alias)),
            "maps": {name: {"nan": nan[name], **self._of_map(alias, name, first, resamples, results)} for name in maps},
            "sheet": self._sheet(alias, list(maps)),
        }

    def _of_map(self, alias: str, name: str, first: Bools, resamples: Resamples, results: Results) -> dict[str, Json]:
        def share(values: Floats, *, signed: bool = False) -> dict[str, Json] | None:
            there = np.isfinite(values)
            top, bottom = np.where(there, values, 0)[:, None], there.astype(np.float64)[:, None]
            return results.told(top, bottom, signed) if there.any() else None

        found: dict[str, Json] = {}
        for curve in ("insertion", "deletion"):
            found[curve] = share(self.values(alias, name, curve))
            found[f"{curve}_gain"] = _interval(*self.gained(alias, name, curve), resamples)
        inserted = self.values(alias, name, "insertion")
        found["over_centre"] = share(inserted - self.values(alias, "centre", "insertion"), signed=True)
        points = self.values(alias, name, "points")
        found["points"] = share(np.where(points < 0, np.nan, points))
        localised, thresholds = self._localised(alias, name, first)
        return {**found, "localised": share(localised), "thresholds": thresholds}

    def _localised(self, alias: str, name: str, first: Bools) -> tuple[Floats, list[Json]]:
        """Whether the box is found, `[n]`, NaN without an object; and the threshold of each half."""
        rows = self._rows(alias, name)
        rows = rows[(self._why[rows] == "") & (self._table["points"][rows] >= 0)]
        overlap = np.full((len(self.photographs), len(THRESHOLDS)), np.nan)
        if len(rows):
            overlap[self._place[rows]] = np.stack(self._table["overlap"][rows])
        there, found = np.isfinite(overlap[:, 0]), np.full(len(overlap), np.nan)
        if min((there & half).sum() for half in (first, ~first)) < FEW:
            return found, []
        chosen: list[Json] = []
        for half in (first, ~first):
            other = overlap[there & ~half]
            best = int(((other >= FITS).mean(axis=0) + 1e-3 * other.mean(axis=0)).argmax())
            found[there & half] = overlap[there & half, best] >= FITS
            chosen.append(round(float(THRESHOLDS[best]), 2))
        return found, chosen

    def _sheet(self, alias: str, names: Sequence[str]) -> str:
        """The kept maps as one PNG in base64, a row for each photograph; `""` if none are kept."""
        kept: dict[int, dict[str, Any]] = {}
        for row in np.flatnonzero(self._who == alias):
            if (shown := self._table["shown"][row]) is not None:
                kept.setdefault(int(self._place[row]), {})[str(self._map[row])] = decode(shown)
        if not kept:
            return ""
        blank = np.zeros_like(next(iter(next(iter(kept.values())).values())))
        lines = [
            np.hstack([tiles.get(name, blank) for name in ("random", *names[:-2], "centre")]) for tiles in kept.values()
        ]
        return base64.b64encode(encode_png(np.ascontiguousarray(np.vstack(lines)))).decode()


def _ratio(top: float, bottom: float) -> float:
    return top / bottom if bottom > 0 else float("nan")


def _interval(top: Floats, bottom: Floats, resamples: Resamples) -> dict[str, Json] | None:
    """Σ top / Σ bottom in percent, with its percentile interval; None if the bottom isn't positive."""
    value, photographs = _ratio(top.sum(), bottom.sum()), int((bottom != 0).sum())
    if np.isnan(value):
        return None
    sums: list[Array] = [part.astype(np.float64) @ np.stack([top, bottom], axis=1) for part in resamples.weights()]
    drawn = np.concatenate(sums)
    low, high = np.quantile((drawn[:, 0] / drawn[:, 1])[drawn[:, 1] > 0], resamples.tails)
    return {"value": percent(value), "low": percent(low), "high": percent(high), "photographs": photographs}
