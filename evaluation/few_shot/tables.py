"""Episodes as arrays of row numbers, from a listing with a row for each picture of an episode."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from variorum.generators.few_shot.difficulties import Difficulty
from variorum.generators.few_shot.drawing import COLUMNS, SUPPORT
from variorum.schemas.errors import RecipeError

if TYPE_CHECKING:
    from variorum.arrays import Array, Ints

MISSING = -1
"""In place of a query whose picture of a difficulty isn't in the edition."""


@dataclass(frozen=True, slots=True)
class Episodes:
    """E episodes of W classes, with K supports and Q queries of each in D difficulties.

    Attributes:
        supports: `[E, W, K]` rows of pictures; those of fewer shots come first.
        queries: `[D, E, W, Q]` rows of pictures; in all difficulties a place has the same photograph. MISSING for none.
        classes: `[E, W]` places in `names`.
        names: ids of the classes that occur.
        difficulties: in the generator's order, then others by name.
        shots: supports of a class that are scored, the fewest first.
    """

    supports: Ints
    queries: Ints
    classes: Ints
    names: tuple[str, ...]
    difficulties: tuple[str, ...]
    shots: tuple[int, ...]


def read_episodes(listing: Mapping[str, Any], ids: Array) -> Episodes:
    """The episodes of a listing with the columns of `variorum.generators.few_shot.drawing`.

    Args:
        listing: its columns, with a row or more.
        ids: `[N]` ids of the pictures that rows are counted of.

    Raises:
        RecipeError: a column or a picture isn't there, or the supports aren't the same number for each class of each
            episode.
    """
    if lacking := [name for name in COLUMNS if name not in listing]:
        raise RecipeError(f"the listing episodes has no column {', '.join(lacking)}, so it isn't of few_shot_episodes")
    columns = {name: np.asarray(listing[name]) for name in COLUMNS}
    order = np.argsort(ids.astype(str), kind="stable")
    known = ids.astype(str)[order]
    wanted = columns["id"].astype(str)
    places = np.searchsorted(known, wanted).clip(0, max(0, len(known) - 1))
    if not len(known) or (known[places] != wanted).any():
        raise RecipeError("the listing episodes has pictures that aren't in the edition")
    rows = order[places]
    names, classes = np.unique(columns["class"].astype(str), return_inverse=True)
    found, difficulty = np.unique(columns["difficulty"].astype(str), return_inverse=True)
    ranks = {name: rank for rank, name in enumerate(get_args(Difficulty))}
    ranked = np.argsort([ranks.get(str(name), len(ranks)) for name in found], kind="stable")
    difficulties = tuple(str(name) for name in found[ranked])
    difficulty = np.argsort(ranked)[difficulty]
    of = columns["role"] == SUPPORT
    episode = np.unique(columns["episode"], return_inverse=True)[1]
    way, number = columns["way"].astype(np.int64), columns["number"].astype(np.int64) - 1
    count, ways = int(episode.max()) + 1, int(way.max()) + 1
    supports = np.full((count, ways, int(number[of].max(initial=-1)) + 1), MISSING, np.int64)
    supports[episode[of], way[of], number[of]] = rows[of]
    if not supports.size or (supports == MISSING).any():
        raise RecipeError("the listing episodes must have the same number of supports for each class of each episode")
    queries = np.full((len(difficulties), count, ways, int(number[~of].max(initial=-1)) + 1), MISSING, np.int64)
    queries[difficulty[~of], episode[~of], way[~of], number[~of]] = rows[~of]
    by_episode = np.zeros((count, ways), np.int64)
    by_episode[episode, way] = classes
    shots = tuple(sorted({int(one) for one in columns["shot"][of]}))
    return Episodes(supports, queries, by_episode, tuple(map(str, names)), difficulties, shots)


def shared(episodes: Episodes, photographs: Array) -> int:
    """Number of episodes in which a photograph is both a support and a query, or is in two places of one difficulty.

    Args:
        episodes: with rows of the pictures.
        photographs: `[N]` what the pictures of one photograph have in common.
    """
    codes = np.unique(photographs.astype(str), return_inverse=True)[1]
    count = len(episodes.supports)
    found = np.zeros(count, bool)
    for queries in episodes.queries:
        flat = queries.reshape(count, -1)
        absent = -1 - np.arange(flat.shape[1])  # no two of them are equal
        both = np.concatenate([codes[episodes.supports].reshape(count, -1), np.where(flat < 0, absent, codes[flat])], 1)
        ordered = np.sort(both, axis=1)
        found |= (ordered[:, 1:] == ordered[:, :-1]).any(axis=1)
    return int(found.sum())
