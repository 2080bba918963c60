"""Measure few-shot accuracy by difficulty: classifiers see a few clean pictures of a class, and recognise hard ones.

The protocol of few-shot benchmarks, with hard queries as in RD-FSL (Guo et al., IEEE TIP 2025, arXiv 2502.01183):
frozen embeddings, and per episode a nearest centroid and a ridge regression. Episodes draw from the same few pictures
and classes, so the usual ± 1.96 σ/√episodes says nothing of other classes. It is given beside an interval over classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import NormalDist
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from variorum.arrays import Bools, Floats, Ints
from variorum.evaluation.few_shot.rows import few_shot_rows
from variorum.evaluation.few_shot.tables import Episodes, read_episodes, shared
from variorum.kit.embeddings.episodes import METHODS, predictions, unit
from variorum.kit.predicted.resamples import Resamples
from variorum.models.gives import embeddings
from variorum.schemas.canonical import Json, derive_seed
from variorum.schemas.component import Context, Evaluation, Row, Use
from variorum.schemas.plot import IntervalPlot, Plot, point
from variorum.schemas.rows import Answers, Figure
from variorum.schemas.sample import Sample
from variorum.schemas.table import Table

CLEAN = "clean"
LISTING, CLASSES = "episodes", "episode_classes"
NO_EPISODES = "the edition has no episodes; the generator few_shot_episodes lists them where enough classes are left"


class FewShotAccuracy(Evaluation):
    """Accuracy by method, shot and difficulty, and what is lost against clean queries of the same photographs.

    It reads the listing `episodes` of an edition. The encoder may not have filtered it.
    """

    late: ClassVar[frozenset[str]] = frozenset({"ridge", "bootstrap", "confidence"})
    offers: ClassVar[Mapping[str, Figure]] = {
        "accuracy": Figure("accuracy", needs=("embedding",), gap="share of the episodes in which it is recognised")
    }

    encoder: str = "encoder"
    """Alias or name of the model whose embeddings are compared, scaled to length 1; of a classifier, what its last
    layer gets."""
    ridge: float = Field(default=1.0, ge=1e-6, le=1e6)
    """Penalty of the ridge regression."""
    bootstrap: int = Field(default=1000, ge=100, le=100_000)
    """Resamples of the classes."""
    confidence: float = Field(default=0.95, ge=0.01, le=0.9999)
    """Level of both intervals."""

    def uses(self) -> list[Use]:
        """Return the encoder."""
        return [Use(self.encoder, "embedding")]

    def chosen(self, table: Table, ctx: Context) -> Ints | None:
        """No picture if the edition has no episodes, so that no embedding is computed in vain."""
        return None if LISTING in ctx.listings else np.zeros(len(table), np.int64)

    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterator[Row]:
        """One row per picture: its embedding `[d]` and its photograph.

        Raises:
            RecipeError: the model gives no embedding.
        """
        images = [sample.image for sample in samples]
        for sample, row in zip(samples, embeddings(self.encoder, ctx.models.get(self.encoder), images), strict=True):
            yield {"id": sample.id, "photograph": sample.photograph or sample.parent, "embedding": row}

    def figures(self, table: Table, ctx: Context) -> dict[str, Json]:
        """Accuracies in percent and drops in percentage points, by method, shot (as text) and difficulty.

        Each has `value`, `low` and `high` over resampled classes, and `usual`, the half width that is usually reported:
        1.96 standard deviations over the root of the number of episodes, for a confidence of 0.95. A drop is that of
        the queries that have both pictures. `shared` counts episodes with a photograph in two places. `queries` counts
        the queries by difficulty, and `classes_asked` the classes that they are of.
        """
        listing = ctx.listings.get(LISTING)
        common: dict[str, Json] = {
            "encoder": self.encoder,
            "confidence": self.confidence,
            "too_few": _too_few(ctx),
            "why_none": NO_EPISODES,
            "episodes": 0,
            "methods": {},
        }
        if listing is None or not len(table):
            return common
        episodes = read_episodes(listing, table["id"])
        count, ways, _ = episodes.supports.shape
        there = episodes.queries >= 0
        truth = np.arange(ways)[None, :, None]
        methods: dict[str, dict[str, Json]] = {method: {} for method in METHODS}
        for shot, found in self._taken(episodes, table):
            for method, taken in found.items():
                methods[method][str(shot)] = self._cells(episodes, (taken == truth) & there, there, ctx)
        return {
            **common,
            "why_none": "",
            "episodes": count,
            "way": ways,
            "shots": list(episodes.shots),
            "classes": list(episodes.names),
            "difficulties": list(episodes.difficulties),
            "queries": {name: int(there[place].sum()) for place, name in enumerate(episodes.difficulties)},
            "classes_asked": {
                name: len(np.unique(episodes.classes[there[place].any(axis=2)]))
                for place, name in enumerate(episodes.difficulties)
            },
            "shared": shared(episodes, table["photograph"]),
            "chance": round(100 / ways, 2),
            "methods": {method: dict(one) for method, one in methods.items()},
        }

    def plots(self, figures: Mapping[str, Any]) -> dict[str, Plot]:
        """`accuracy` by difficulty, method and shot, and `drops` against clean queries."""
        if not figures["methods"]:
            return {}
        names, shots = tuple(figures["difficulties"]), [str(shot) for shot in figures["shots"]]
        found: dict[str, Plot] = {}
        for plot, key, title, unit_of, rows in (
            ("accuracy", "accuracies", "Few-shot accuracy by difficulty", "accuracy in percent", names),
            (
                "drops",
                "drops",
                "What hard queries cost",
                "accuracy drop in percentage points",
                tuple(name for name in names if name != CLEAN),
            ),
        ):
            series = {
                f"{shot}-shot, {method}": tuple(point(one[shot][key].get(name)) for name in rows)
                for method, one in figures["methods"].items()
                for shot in shots
            }
            if rows:
                found[plot] = IntervalPlot(title, unit_of, rows, series)
        return found

    def rows(self, table: Table, ctx: Context) -> Iterator[Answers]:
        """Yield `accuracy` of the nearest centroid over the photographs of the queries, by difficulty and shot."""
        listing = ctx.listings.get(LISTING)
        if listing is None or not len(table):
            yield Answers("accuracy", self.encoder, why_not=NO_EPISODES.partition(";")[0])
            return
        episodes = read_episodes(listing, table["id"])
        taken = {shot: found["centroid"] for shot, found in self._taken(episodes, table)}
        yield few_shot_rows(self.encoder, episodes, taken, table, ctx.classes)

    def _taken(self, episodes: Episodes, table: Table) -> Iterator[tuple[int, Mapping[str, Ints]]]:
        """Yield by shot, and by method, which class of its episode each query is taken for, `[D, E, W, Q]`."""
        count, ways, _ = episodes.supports.shape
        vectors = unit(np.asarray(table["embedding"], np.float32))
        flat = np.moveaxis(episodes.queries, 0, 1).reshape(count, -1).clip(0)
        for shot in episodes.shots:
            found = predictions(vectors, episodes.supports[:, :, :shot], flat, self.ridge)
            shape = count, len(episodes.difficulties), ways, -1
            yield shot, {method: np.moveaxis(taken.reshape(shape), 1, 0) for method, taken in found.items()}

    def _cells(self, episodes: Episodes, right: Bools, there: Bools, ctx: Context) -> dict[str, Json]:
        """Accuracies and drops by difficulty.

        Args:
            episodes: their classes.
            right: `[D, E, W, Q]` whether a query was recognised.
            there: `[D, E, W, Q]` whether it is in the edition.
            ctx: its seed resamples.
        """
        resamples = Resamples(
            len(episodes.names), self.bootstrap, self.confidence, derive_seed(ctx.seed, "few_shot_accuracy")
        )
        names = episodes.difficulties
        found: dict[str, dict[str, Json]] = {"accuracies": {}, "drops": {}}
        clean = names.index(CLEAN) if CLEAN in names else None
        for place, name in enumerate(names):
            if not there[place].any():
                continue
            found["accuracies"][name] = self._figure(episodes, right[place].astype(float), there[place], resamples)
            if clean is None or place == clean:
                continue
            both = there[place] & there[clean]
            if both.any():
                lost = (right[clean].astype(float) - right[place]) * both
                found["drops"][name] = self._figure(episodes, lost, both, resamples)
        return {key: dict(one) for key, one in found.items()}

    def _figure(self, episodes: Episodes, gained: Floats, there: Bools, resamples: Resamples) -> dict[str, Json]:
        """Mean over episodes of what is gained per query `[E, W, Q]`, with both intervals, in percent."""
        counts = there.sum(axis=2)
        sizes = counts.sum(axis=1)
        kept = sizes > 0
        shares = gained.sum(axis=2)[kept] / sizes[kept, None]
        weights = counts[kept] / sizes[kept, None]
        classes, number = episodes.classes[kept].ravel(), len(episodes.names)
        top, bottom = (np.bincount(classes, part.ravel(), number).astype(np.float64) for part in (shares, weights))
        by_episode = shares.sum(axis=1)
        spread = float(by_episode.std(ddof=1)) if len(by_episode) > 1 else 0.0
        quantile = NormalDist().inv_cdf((1 + self.confidence) / 2)
        usual = round(100 * quantile * spread / float(np.sqrt(len(by_episode))), 2)
        return {**resamples.mean_of_ratios(top[:, None], bottom[:, None]), "usual": usual}


def _too_few(ctx: Context) -> list[Json]:
    """Classes that no episode has, as they have too few photographs."""
    rows = ctx.listings.get(CLASSES)
    if rows is None:
        return []
    columns = (np.asarray(rows[name]).tolist() for name in ("class", "photographs", "needed", "status"))
    return [
        {"class": str(name), "photographs": int(count), "needed": int(needed)}
        for name, count, needed, status in zip(*columns, strict=True)
        if status == "too_few"
    ]
