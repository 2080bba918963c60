"""Groups of pictures: how often equal ones are told apart, what planted gaps are found, how often intervals cover.

Answers are drawn at random. Pictures of one household share a chance of being right, from a beta distribution with the
correlation that is named. Classes are drawn with the shares that are named, and are as easy in each group. There is no
peer with the same figures; CPU seconds of the figures on many pictures come with those of NumPy's sorting of the
pictures' groups and households as the limit.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from variorum.arrays import Floats, Ints
from variorum.evaluation.classifiers.group_gaps import Rates, pairs, resampled, scored
from variorum.evaluation.classifiers.groups import alike, answers_of, cells_of, equal_shares, gathered
from variorum.kit.predicted.resamples import Resamples

LEVEL = 0.95
EASY = (0.95, 0.8, 0.5)
"""Rates of the three classes of the draws with unequal shares."""


class Design(NamedTuple):
    """Groups to draw.

    Attributes:
        rates: by group.
        households: by group, their number.
        correlation: of the answers of one household.
        pictures: of a household; 0 for numbers with a long tail, from 3 to 100.
        both: whether each household has a picture in every group; all groups have as many households then.
    """

    rates: tuple[float, ...]
    households: tuple[int, ...]
    correlation: float = 0.0
    pictures: int = 1
    both: bool = False


DESIGNS = {
    "4 of 200, 80 %": Design((0.8,) * 4, (200,) * 4),
    "4 of 200, 97 %": Design((0.97,) * 4, (200,) * 4),
    "4 of 20, 80 %": Design((0.8,) * 4, (20,) * 4),
    "20 and 2000, 95 %": Design((0.95,) * 2, (20, 2000)),
    "20, 20, 20 and 5000, 90 %": Design((0.9,) * 4, (20, 20, 20, 5000)),
    "9 of 20 and one of 5000, 95 %": Design((0.95,) * 10, (20,) * 9 + (5000,)),
    "4 of 40 homes of 5, correlation .5, 70 %": Design((0.7,) * 4, (40,) * 4, 0.5, 5),
    "20 and 2000 homes of 5, correlation .5, 90 %": Design((0.9,) * 2, (20, 2000), 0.5, 5),
    "20 and 200 homes of 3 to 100, correlation .5, 70 %": Design((0.7,) * 2, (20, 200), 0.5, 0),
    "100 homes with a picture in both, correlation .5, 70 %": Design((0.7,) * 2, (100, 100), 0.5, 1, both=True),
    "200 each, 80 and 60 %": Design((0.8, 0.6), (200, 200)),
    "50 each, 80 and 60 %": Design((0.8, 0.6), (50, 50)),
    "100 homes with a picture in both, correlation .5, 70 and 55 %": Design((0.7, 0.55), (100, 100), 0.5, 1, both=True),
}


def figures(right: ArrayLike, household: Ints, group: Ints, groups: int) -> tuple[bool, Rates]:
    """Return whether a pair is significant, and the rates."""
    cells, cell = cells_of(household, group, [f"g{number}" for number in range(groups)])
    answers = answers_of(np.asarray(right, np.float64), np.ones(len(group)), cell, cells)
    correlations = alike(answers, cells)
    tests = pairs(answers, cells, correlations)
    return any(bool(test["significant"]) for test in tests), scored(answers, cells, correlations.by_group, level=LEVEL)


def drawn(design: Design, rng: np.random.Generator) -> tuple[bool, Rates]:
    """Figures of one draw."""
    rates, counts = np.array(design.rates), design.households
    group = np.repeat(np.arange(len(rates)), counts)
    own = np.tile(np.arange(counts[0]), len(rates)) if design.both else np.arange(len(group))
    chance = rates[group]
    if design.correlation:
        strength = 1 / design.correlation - 1
        chance = rng.beta(rates[0] * strength, (1 - rates[0]) * strength, own.max() + 1)[own]
        chance = chance * rates[group] / rates[0]  # no rate is above the first
    sizes = np.minimum(100, 3 + 2 * rng.pareto(1.0, own.max() + 1)).astype(np.int64)[own]
    sizes = sizes if not design.pictures else np.full(len(own), design.pictures)
    right = rng.random(int(sizes.sum())) < np.repeat(chance, sizes)
    return figures(right, np.repeat(own, sizes), np.repeat(group, sizes), len(rates))


def told_apart(design: Design, draws: int) -> dict[str, object]:
    """Share of draws with a significant pair, and those whose intervals have the true value."""
    found = [drawn(design, np.random.default_rng(number)) for number in range(draws)]
    rates = np.array(design.rates)
    covered = np.mean([(one.low <= rates) & (rates <= one.high) for _, one in found], axis=0)
    cover: dict[str, object] = {"least_of_groups": round(float(covered.min()), 3)}
    if len(rates) == 2:
        gap = rates.max() - rates.min()
        cover["gap"] = round(float(np.mean([one.gap[0] <= gap <= one.gap[1] for _, one in found])), 3)
    return {"significant": round(float(np.mean([one for one, _ in found])), 4), "covered": cover}


def with_classes(shares: tuple[tuple[float, ...], ...], households: tuple[int, ...], draws: int) -> dict[str, object]:
    """Compare groups that differ in their classes alone, with equal weights of classes."""
    low, wide, gaps = [], [], []
    truth = float(np.mean(EASY))
    for number in range(draws):
        rng = np.random.default_rng(number)
        group = np.repeat(np.arange(len(shares)), households)
        classes = np.concatenate([rng.choice(len(EASY), n, p=p) for n, p in zip(households, shares, strict=True)])
        right = (rng.random(len(group)) < np.array(EASY)[classes]).astype(np.float64)
        weights, shared = equal_shares(classes, group, len(shares))
        if shared < len(EASY):
            continue
        cells, cell = cells_of(np.arange(len(group)), group, [f"g{one}" for one in range(len(shares))])
        rates = scored(answers_of(right, weights, cell, cells), cells, np.zeros(len(shares)), level=LEVEL)
        low.append((rates.low <= truth) & (truth <= rates.high))
        wide.append(rates.high - rates.low)
        gaps.append(rates.gap[0] <= 0 <= rates.gap[1])
    return {
        "draws": len(low),
        "covered": [round(float(one), 3) for one in np.mean(low, axis=0)],
        "width": [round(float(one), 3) for one in np.mean(wide, axis=0)],
        "gap_covered": round(float(np.mean(gaps)), 3),
    }


def drops(households: int, lost: float, draws: int) -> dict[str, object]:
    """Count how often a group's bootstrap interval has the true drop, where edits cost `lost` and give back a tenth."""
    covered = []
    for number in range(draws):
        rng = np.random.default_rng(number)
        top = rng.choice([1.0, -1.0, 0.0], 2 * households, p=[lost, lost / 10, 1 - 1.1 * lost])
        group = np.repeat([0, 1], households)
        cells, cell = cells_of(np.arange(2 * households), group, ["a", "b"])
        resamples = Resamples(cells.households, 300, LEVEL, number)
        rates = resampled(gathered(top, cell, cells), gathered(np.ones(len(top)), cell, cells), cells, resamples)
        covered.append((rates.low <= 0.9 * lost) & (0.9 * lost <= rates.high))
    return {"households": households, "drop": round(0.9 * lost, 3), "covered": round(float(np.mean(covered)), 3)}


def seconds(pictures: int) -> dict[str, object]:
    """CPU seconds of the shares, intervals and tests of 50 groups."""
    rng = np.random.default_rng(0)
    group, household = rng.integers(50, size=pictures), rng.integers(pictures // 4, size=pictures)
    right: Floats = (rng.random(pictures) < 0.8).astype(np.float64)
    start = time.process_time()
    figures(right, household, group, 50)
    ours = time.process_time() - start
    start = time.process_time()
    np.lexsort([group, household])
    limit = time.process_time() - start
    return {
        "pictures": pictures,
        "ours": round(ours, 3),
        "limit_sorting": round(limit, 3),
        "of_limit": round(ours / limit, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=1000)
    draws = parser.parse_args().draws
    report = {
        "what": f"answers drawn at random, {draws} draws, level {LEVEL}",
        "shares": {name: told_apart(design, draws) for name, design in DESIGNS.items()},
        "classes": {
            "200 each, shares .8 .1 .1 and .1 .1 .8": with_classes(
                ((0.8, 0.1, 0.1), (0.1, 0.1, 0.8)), (200, 200), draws
            ),
            "40 and 2000, shares .9 .05 .05 and .1 .1 .8": with_classes(
                ((0.9, 0.05, 0.05), (0.1, 0.1, 0.8)), (40, 2000), draws
            ),
        },
        "drops": [drops(households, lost, draws) for households in (20, 50, 200) for lost in (0.05, 0.15)],
        "cpu_seconds": seconds(200_000),
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
