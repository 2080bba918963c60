"""Measure how sure classifiers are of pictures of nothing, what is left of that, and what tells them from real ones.

The fooled model stands apart as *white-box*, as others weren't searched for pictures that fool them. The random
pictures of each encoding are variants like the others. Pictures of one repeat were evolved together, so intervals are
over repeats.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from pydantic import Field, model_validator

from variorum.kit.attacks.opponents import Opponent, with_outputs
from variorum.kit.corrupt.digital import as_jpeg
from variorum.kit.embeddings.classes import fit_gaussians, squared_distances
from variorum.kit.pictures.thumbnails import averaged, luma
from variorum.kit.predicted.answers import last_of, number_in
from variorum.kit.resampling.thresholds import share
from variorum.models.filters import contents_of
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Evaluation, Row, Source, Use
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import NestedSource, cut
from variorum.schemas.sample import Sample
from variorum.schemas.table import Table

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools, Floats, Pixels

QUALITY = 90
"""Of the JPEG."""
SIDE = 28
"""Of the grey pictures whose distance to real ones is measured, in pixels."""
VIEWS = ("claimed", "jpeg", "shift")


class FoolingClaims(Evaluation):
    """How sure classifiers are of the pictures of `fooling_image`, also as a JPEG and moved by one pixel."""

    late: ClassVar[frozenset[str]] = frozenset({"train", "test", "reach", "confidence"})

    classifiers: tuple[str, ...] = ("judge_gate",)
    """Classifiers that the pictures weren't made to fool."""
    white_box: tuple[str, ...] = ("judge",)
    """The fooled model, under an alias of a classifier with its weights."""
    train: NestedSource | None = None
    """Real pictures with labels that say what is usual, for distances; null for none."""
    test: NestedSource | None = None
    """Other real pictures, which the pictures of nothing are to be told from."""
    reach: float = Field(default=0.99, gt=0, lt=1)
    """Probability of the claimed class from which on a picture fools."""
    confidence: float = Field(default=0.95, gt=0, lt=1)
    """Level of the intervals, in (0, 1)."""

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.train is None) != (self.test is None):
            raise ValueError("train and test go together")
        return self

    def uses(self) -> list[Use]:
        """Return the classifiers, the fooled one first, which only describes the pictures."""
        others = [Use(alias, "classifier") for alias in self.classifiers]
        return [*(Use(alias, "classifier", describes=True) for alias in self.white_box), *others]

    def references(self) -> Mapping[str, Source]:
        """The given ones of `train` and `test`."""
        return {name: one for name, one in (("train", self.train), ("test", self.test)) if one is not None}

    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterator[Row]:
        """One row per picture, with arrays over the models, white-box first.

        `claimed`, `jpeg` and `shift` are probabilities of the class that is claimed, NaN where a model doesn't know it
        or none is; `top` is the largest probability, `grey` the picture in 28² grey levels, and `embedding_0` what the
        first model's last layer gets.

        Raises:
            RecipeError: `white_box` names a model that wasn't fooled, or `classifiers` the one that was.
        """
        images: list[Pixels] = [one.image for one in samples]  # type: ignore[misc]
        asked, classes = [one.alias for one in self.uses()], [_claimed(one) for one in samples]
        made = images if any(classes) else []
        views = [made, [as_jpeg(one, QUALITY) for one in made], [moved(one) for one in made]]
        claims, top = np.full((len(samples), 3, len(asked)), np.nan), np.zeros((len(samples), len(asked)))
        embeddings: dict[str, Any] = {}
        for place, alias in enumerate(asked):
            self._check(alias, samples, ctx)
            own = ctx.models.get(alias)
            model = with_outputs(Opponent(None, own, alias), images[0], ctx)
            if hasattr(own, "features") and (features := own.features(images)) is not None:
                embeddings[f"embedding_{place}"] = np.asarray(features, np.float32)
            top[:, place] = np.max(own(images), axis=1)
            for view, shown in enumerate(views if made else ()):
                for row, (said, name) in enumerate(zip(own(shown), classes, strict=True)):
                    outputs = model.outputs([name])
                    claims[row, view, place] = said[outputs].max() if outputs.any() else np.nan
        for row, one in enumerate(samples):
            yield {
                "id": one.id,
                "variant": one.variant,
                "class": classes[row],
                "repeat": int(np.nan_to_num(number_in(last_of(one).requested.get("repeat")), nan=-1)),
                "label": one.labels[0] if one.labels else "",
                **dict(zip(VIEWS, claims[row], strict=True)),
                "top": top[row],
                "grey": averaged(luma(images[row]), SIDE).reshape(-1).astype(np.float32),
                **{name: values[row] for name, values in embeddings.items()},
            }

    def _check(self, alias: str, samples: Sequence[Sample], ctx: Context) -> None:
        """Raise RecipeError for a model on the wrong side."""
        own = contents_of(ctx.models.pin(alias))
        for one in samples:
            pins = last_of(one).models.values() if _claimed(one) else ()
            fooled = any(own & contents_of(pin) for pin in pins if isinstance(pin, str))
            if pins and fooled != (alias in self.white_box):
                right, said = ("white_box", "is") if fooled else ("classifiers", "isn't")
                raise RecipeError(
                    f"{self.component_name()}: {cut(repr(alias))} {said} the model that the pictures were made to fool;"
                    f" name it under {right}"
                )

    def figures(self, table: Table, ctx: Context) -> dict[str, Json]:
        """Shares and AUROCs in percent, with intervals over repeats, by model and variant.

        `claimed`, `jpeg` and `shift` are shares of pictures whose claim is at least `reach`; `median` is that of the
        claims, with the least and the largest median of a repeat. `softmax` and `mahalanobis` are AUROCs: how often a
        picture of nothing is less sure than one of `test`, or farther from the classes of `train`. `nearest` has the
        median RMSE to the nearest picture of `train`, in grey levels, and the share that is `farther` than half of
        `test`, whose own median is in `real`.
        """
        asked = [one.alias for one in self.uses()]
        found: dict[str, Any] = {"n": {}, "models": {one: {} for one in asked}, "nearest": {}, "reach": self.reach,
                                 "confidence": self.confidence, "white_box": list(self.white_box),
                                 "names": list(self.classifiers)}  # fmt: skip
        if not len(table):
            return found
        table = replace(table, arrow=table.arrow.sort_by("id"))
        belongs = table["set"] if self.references() else np.full(len(table), "")
        own, train, test = (belongs == "") & (table["class"] != ""), belongs == "train", belongs == "test"
        variants = {str(name): own & (table["variant"] == name) for name in sorted(set(table["variant"][own]))}
        found["n"] = {name: int(rows.sum()) for name, rows in variants.items()}
        compared = bool(train.any() and test.any())
        repeats = table["repeat"]

        def told(values: Array, rows: Bools) -> Json:
            return share(values[rows], np.unique(repeats[rows], return_inverse=True)[1].reshape(-1), self.confidence)

        for place, alias in enumerate(asked):
            scores: dict[str, Floats] = {"softmax": -table["top"][:, place]} if compared else {}
            if compared and f"embedding_{place}" in table:
                scores["mahalanobis"] = _distances(table[f"embedding_{place}"], table["label"], train)
            claim = table["claimed"][:, place]
            for name, every in variants.items():
                if (rows := every & np.isfinite(claim)).any():
                    medians = [np.median(claim[rows & (repeats == one)]) for one in set(repeats[rows])]
                    ends = {"value": np.median(claim[rows]), "low": min(medians), "high": max(medians)}
                    found["models"][alias][name] = {
                        "median": {end: round(float(value), 4) for end, value in ends.items()},
                        **{view: told(table[view][:, place] >= self.reach, rows) for view in VIEWS},
                        **{key: told(_above(values, values[test]), rows) for key, values in scores.items()},
                    }
        if compared:
            far = _nearest(table["grey"], train)
            usual = float(np.median(far[test]))
            found["real"] = {"n": int(test.sum()), "among": int(train.sum()), "median": round(usual, 1)}
            for name, rows in variants.items():
                median = round(float(np.median(far[rows])), 1)
                found["nearest"][name] = {"median": median, "farther": told(far > usual, rows)}
        return found


def moved(image: Pixels) -> Pixels:
    """A picture moved to the right by one pixel; its first column is there twice."""
    return np.concatenate([image[:, :1], image[:, :-1]], axis=1)


def _claimed(sample: Sample) -> str:
    """The class that a picture claims; `""` for none."""
    value = sample.metadata.get("claimed")
    return value if isinstance(value, str) else ""


def _above(values: Floats, others: Floats) -> Floats:
    """Of each value, the share of the others that it exceeds, ties by half; the mean is the AUROC."""
    left, right = (np.searchsorted(np.sort(others), values, side) for side in ("left", "right"))
    return np.asarray((left + right) / (2 * len(others)))


def _distances(features: Array, labels: Array, train: Bools) -> Floats:
    """Squared Mahalanobis distance to the nearest class of `train` (Lee et al., NeurIPS 2018), `[N]`."""
    names, y = np.unique(labels, return_inverse=True)
    gaussians = fit_gaussians(features, y.reshape(-1), np.flatnonzero(train), len(names))
    return np.asarray(squared_distances(features.astype(np.float64), gaussians).min(axis=1))


def _nearest(grey: Array, train: Bools) -> Floats:
    """RMSE to the nearest picture of `train`, `[N]`."""
    from sklearn.neighbors import NearestNeighbors

    near = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(grey[train])
    return np.asarray(near.kneighbors(grey)[0][:, 0] / SIDE)
