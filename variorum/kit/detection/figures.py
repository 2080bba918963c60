"""The figures of one detector on an edition: by variant, against the originals, and over the domains."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from variorum.kit.detection.matching import Matches, match
from variorum.kit.detection.precision import summary
from variorum.kit.detection.records import Picture, counted
from variorum.kit.detection.resampled import resampled_map
from variorum.kit.detection.robustness import FEWEST, effective_robustness, relative_drop
from variorum.kit.predicted.pairing import ORIGINAL
from variorum.kit.predicted.resamples import percent
from variorum.schemas.annotations import Check
from variorum.schemas.canonical import Json
from variorum.schemas.sample import is_baseline

if TYPE_CHECKING:
    from variorum.arrays import Bools, Floats, Ints

SHARE = (0.0, 1.0)
"""The least and the highest mAP."""
ISOLATED = "isolated"
"""The view that has no effective robustness: an object alone may well be easier to find than in its photograph."""


@dataclass(frozen=True, slots=True)
class Judged:
    """The pictures that one detector was shown.

    Attributes:
        pictures: their records.
        variant: of each.
        view: of each: `scene`, `isolated`, or `""` where the generator has only one.
        photograph: of each, its number from 0 to S - 1, `[P]`.
    """

    pictures: Sequence[Picture]
    variant: Sequence[str]
    view: Sequence[str]
    photograph: Ints

    def of(self, variant: str) -> tuple[list[Picture], Ints]:
        """The pictures of a variant, and their photographs."""
        rows = [row for row, name in enumerate(self.variant) if name == variant]
        return [self.pictures[row] for row in rows], self.photograph[rows]


@dataclass(frozen=True, slots=True)
class Measured:
    """The mAP of a variant and of the originals of the same photographs, in [0, 1].

    Attributes:
        shifted: first the value, then that of each resample, `[1 + B]`; NaN where undefined.
        original: the same of the originals.
    """

    shifted: Floats
    original: Floats


def of_detector(
    judged: Judged,
    ids: Sequence[int],
    ignore: Collection[Check],
    weights: Floats,
    tails: tuple[float, float],
) -> tuple[dict[str, Json], dict[str, Measured]]:
    """The figures of a detector, and by view what the mean over the domains is made of.

    Averages are in percent and differences in percentage points.

    Args:
        judged: what it was shown.
        ids: of each class, its id in COCO's format.
        ignore: objects with these checks are ignored.
        weights: how often each photograph is in each resample, `[B, S]`.
        tails: quantiles of the intervals' ends.
    """
    found: dict[str, Json] = {}
    maps: dict[str, Floats] = {}
    measured: dict[str, Measured] = {}
    views = dict(zip(judged.variant, judged.view, strict=True))
    base, of_base = judged.of(ORIGINAL)
    originals = match(base, ids, ignore)
    for variant in views:
        pictures, photograph = judged.of(variant)
        matches = originals if variant == ORIGINAL else match(pictures, ids, ignore)
        maps[variant] = map_of(matches, weights[:, photograph])
        figures = {"map": interval(maps[variant], tails, SHARE), **_averages(pictures, matches)}
        if variant != ORIGINAL and len(base):
            alike, dropped = with_the_same_objects(base, of_base, pictures, photograph, ignore)
            compared = match(alike, ids, ignore) if dropped else originals
            shared = np.intersect1d(photograph, of_base)
            both = _paired(matches, photograph, compared, of_base, shared, weights)
            figures |= {
                "paired": len(shared),
                "other_objects": dropped,
                **_compared(both, tails),
            }
            measured[variant] = both
        found[variant] = figures
    means, over = _over_domains(maps, measured, views, tails)
    return {"variants": found, "over_domains": means}, over


def with_robustness(
    found: Sequence[Mapping[str, Any]], over: Sequence[Mapping[str, Measured]], tails: tuple[float, float]
) -> None:
    """Add the effective robustness to the mean over scenes of each detector that has one, if these are enough."""
    means = [
        (mean, measured[mean["view"]])
        for figures, measured in zip(found, over, strict=True)
        for mean in figures["over_domains"]
        if mean["view"] != ISOLATED and mean["view"] in measured
    ]
    if len(means) < FEWEST:
        return
    shifted, original = (np.stack([getattr(both, side) for _, both in means]) for side in ("shifted", "original"))
    for (mean, _), above in zip(means, effective_robustness(shifted, original), strict=True):
        mean["effective_robustness"] = interval(above, tails)


def _averages(pictures: Sequence[Picture], matches: Matches) -> dict[str, Json]:
    averages = summary(matches)
    del averages["map"]
    objects = sum(len(one.there) for one in pictures)
    return {
        "n": len(pictures),
        "boxes": matches.boxes,
        "ignored": objects - matches.boxes,
        **{name: None if one is None else percent(one) for name, one in averages.items()},
    }


def map_of(matches: Matches, weights: Floats) -> Floats:
    """The mAP in [0, 1], and that of each resample, `[1 + B]`; NaN where it isn't defined."""
    value = summary(matches)["map"]
    return np.append(np.nan if value is None else value, resampled_map(matches, weights))


def with_the_same_objects(
    base: Sequence[Picture], of_base: Ints, pictures: Sequence[Picture], photograph: Ints, ignore: Collection[Check]
) -> tuple[list[Picture], int]:
    """The originals, in which objects that no picture of the variant has are ignored, and the number of those.

    So an isolated object is compared with the same object in the photograph, and what is missing in a picture is
    ignored on both sides. Where objects have no ids, all of the original's count.

    Args:
        base: the originals.
        of_base: photograph of each.
        pictures: those of the variant.
        photograph: of each.
        ignore: objects with these checks don't count.
    """
    kept: dict[int, set[int]] = defaultdict(set)
    for one, number in zip(pictures, photograph.tolist(), strict=True):
        kept[number].update(one.there["key"][counted(one.there, ignore)].tolist())
    alike, dropped = list[Picture](), 0
    for one, number in zip(base, of_base.tolist(), strict=True):
        keys = one.there["key"]
        if number in kept and 0 not in kept[number]:
            other = counted(one.there, ignore) & (keys != 0) & ~np.isin(keys, list(kept[number]))
            dropped += int(other.sum())
            there = one.there.copy()
            there["crowd"] |= other
            alike.append(one._replace(there=there))
        else:
            alike.append(one)
    return alike, dropped


def _paired(
    matches: Matches, photograph: Ints, originals: Matches, of_base: Ints, shared: Ints, weights: Floats
) -> Measured:
    """The mAP on both sides, over the photographs that both have."""

    def over(part: Matches, of: Ints) -> Floats:
        kept: Bools = np.isin(of, shared)
        return map_of(part if kept.all() else part.only(kept), weights[:, of])

    return Measured(over(matches, photograph), over(originals, of_base))


def _compared(both: Measured, tails: tuple[float, float]) -> dict[str, Json]:
    return {
        "original_map": interval(both.original, tails, SHARE),
        "drop": interval(both.original - both.shifted, tails),
        "relative_drop": interval(relative_drop(both.shifted, both.original), tails, (-np.inf, 1)),
    }


def _over_domains(
    maps: Mapping[str, Floats],
    measured: Mapping[str, Measured],
    views: Mapping[str, str],
    tails: tuple[float, float],
) -> tuple[list[Json], dict[str, Measured]]:
    """By view, the unweighted means over its variants without the baselines, as far as mAP is defined.

    They are compared with the originals if each of these variants is.
    """
    means: list[Json] = []
    compared: dict[str, Measured] = {}
    for view in dict.fromkeys(view for name, view in views.items() if not is_baseline(name)):
        domains = [
            name for name in maps if not is_baseline(name) and views[name] == view and np.isfinite(maps[name][0])
        ]
        if not domains:
            continue
        mean: dict[str, Json] = {
            "view": view,
            "domains": list(domains),
            "map": interval(_nanmean([maps[name] for name in domains]), tails, SHARE),
        }
        pairs = [measured[name] for name in domains if name in measured]
        if len(pairs) == len(domains) and all(np.isfinite([one.shifted[0], one.original[0]]).all() for one in pairs):
            both = Measured(_nanmean([one.shifted for one in pairs]), _nanmean([one.original for one in pairs]))
            mean |= _compared(both, tails)
            compared[view] = both
        means.append(mean)
    return means, compared


def _nanmean(parts: Sequence[Floats]) -> Floats:
    """The mean of each value over the parts in which it is defined."""
    values = np.stack(parts)
    there = np.isfinite(values)
    total = np.where(there, values, 0).sum(axis=0)
    return np.where(there.any(axis=0), total / np.maximum(there.sum(axis=0), 1), np.nan)


def interval(values: Floats, tails: tuple[float, float], limits: tuple[float, float] = (-np.inf, np.inf)) -> Json:
    """`value`, `low` and `high` in percent of a value and its resamples; None for a value that isn't defined.

    The interval is the spread of the resamples about their own mean, put at the value. mAP is higher on resamples, as
    classes that aren't drawn don't count and those drawn twice are found twice; with few boxes of a class the plain
    quantiles can even lie above the value.
    """
    value, drawn = float(values[0]), values[1:][np.isfinite(values[1:])]
    if not np.isfinite(value):
        return None
    ends = value + np.quantile(drawn, tails) - drawn.mean() if len(drawn) else (value, value)
    low, high = np.clip(ends, *limits)
    return {"value": percent(value), "low": percent(min(low, value)), "high": percent(max(high, value))}
