"""Episodes: a few classes, a few pictures of each to learn from, and others to recognise.

An episode is drawn once, and its queries are listed in every difficulty, so that differences between difficulties are
those of the same photographs. Draws depend on the seed and on the names of the pictures, never on their order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from variorum.arrays import Array

SUPPORT, QUERY = "support", "query"
USED, TOO_FEW = "used", "too_few"
COLUMNS = ("episode", "way", "class", "role", "shot", "number", "difficulty", "id")


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that episodes may have.

    Attributes:
        id: of the picture.
        parent: id of the picture that it and its other difficulties were made of.
        photograph: what pictures of one photograph have in common.
        difficulty: its variant.
        label: id of its class.
    """

    id: str
    parent: str
    photograph: str
    difficulty: str
    label: str


@dataclass(frozen=True, slots=True)
class Stock:
    """The pictures that can be drawn.

    Attributes:
        classes: by class and photograph, the parents that have a clean picture; all in order of their names.
        pictures: id by parent and difficulty.
    """

    classes: Mapping[str, Mapping[str, Sequence[str]]]
    pictures: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def usable(self, needed: int) -> list[str]:
        """The classes with this many photographs or more."""
        return [label for label, photographs in self.classes.items() if len(photographs) >= needed]


def stock(pictures: Sequence[Picture], clean: str) -> Stock:
    """Collect what can be drawn of these pictures.

    A photograph that has pictures of two classes belongs to neither, and a picture whose class differs from that of its
    parent's clean one is left out.
    """
    labels = {one.parent: one.label for one in pictures if one.difficulty == clean}
    of_photograph: dict[str, set[str]] = {}
    for one in pictures:
        if one.difficulty == clean:
            of_photograph.setdefault(one.photograph, set()).add(one.label)
    classes: dict[str, dict[str, list[str]]] = {}
    for one in sorted(pictures, key=lambda one: (one.label, one.photograph, one.parent)):
        if one.difficulty == clean and len(of_photograph[one.photograph]) == 1:
            classes.setdefault(one.label, {}).setdefault(one.photograph, []).append(one.parent)
    known = {(one.parent, one.difficulty): one.id for one in pictures if labels.get(one.parent) == one.label}
    return Stock(classes, known)


def draw(
    found: Stock,
    rng: np.random.Generator,
    *,
    way: int,
    shot: Sequence[int],
    queries: int,
    episodes: int,
    clean: str,
    difficulties: Sequence[str],
) -> dict[str, Array]:
    """Rows of episodes by column; none if fewer than `way` classes have enough photographs.

    `way` numbers an episode's classes from 0, `number` the pictures of a class and role from 1. The supports whose
    `shot` is at most K make a K-shot episode; it is 0 for queries. The query of one number is the same photograph in
    every difficulty. A query whose picture of a difficulty wasn't accepted has no row there.

    Args:
        found: what can be drawn.
        rng: draws.
        way: classes of an episode.
        shot: supports of a class in the episodes that are scored.
        queries: queries of a class.
        episodes: how many.
        clean: name of the difficulty that supports have.
        difficulties: of the queries, in the order of the rows.
    """
    columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}

    def add(*row: Any) -> None:
        for column, value in zip(columns.values(), row, strict=True):
            column.append(value)

    most = max(shot)
    least = [min(one for one in shot if one >= number) for number in range(1, most + 1)]
    usable = found.usable(most + queries)
    photographs = {label: list(found.classes[label]) for label in usable}
    for episode in range(episodes if len(usable) >= way else 0):
        for place, which in enumerate(rng.choice(len(usable), way, replace=False)):
            label = usable[int(which)]
            drawn = rng.choice(len(photographs[label]), most + queries, replace=False)
            parents = [found.classes[label][photographs[label][int(one)]] for one in drawn]
            chosen = [one[int(rng.integers(len(one)))] if len(one) > 1 else one[0] for one in parents]
            for number, parent in enumerate(chosen[:most], 1):
                picture = found.pictures[parent, clean]
                add(episode, place, label, SUPPORT, least[number - 1], number, clean, picture)
            for number, parent in enumerate(chosen[most:], 1):
                for difficulty in difficulties:
                    if (parent, difficulty) in found.pictures:
                        add(episode, place, label, QUERY, 0, number, difficulty, found.pictures[parent, difficulty])
    numbers = ("episode", "way", "shot", "number")
    return {name: np.array(column, np.int64 if name in numbers else object) for name, column in columns.items()}


def class_rows(found: Stock, known: Sequence[str], needed: int) -> dict[str, list[Any]]:
    """By class the number of its photographs with a clean picture, and whether that is enough."""
    counts = [len(found.classes.get(label, ())) for label in known]
    return {
        "class": list(known),
        "photographs": counts,
        "needed": [needed] * len(known),
        "status": [USED if count >= needed else TOO_FEW for count in counts],
    }
