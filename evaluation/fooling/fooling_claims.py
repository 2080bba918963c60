"""Measure how sure classifiers are of pictures of nothing, what is left of that, and what tells them from real ones.

The fooled model stands apart as *white-box*: others weren't searched for pictures that fool them. The random pictures
that the searches began with are variants like the others. Pictures of one repeat were evolved together, so intervals
are over repeats.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from pydantic import Field, model_validator

from variorum.kit.corrupt.digital import as_jpeg
from variorum.kit.embeddings.classes import fit_gaussians, squared_distances
from variorum.kit.pictures.thumbnails import averaged, luma
from variorum.kit.predicted.answers import label_indices, outputs_of
from variorum.kit.resampling.thresholds import share
from variorum.models.brought.model import BroughtModel
from variorum.models.filters import contents_of
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Evaluation, Row, Source, Use
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import NestedSource, cut
from variorum.schemas.sample import Sample
from variorum.schemas.table import Table

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools, Floats

QUALITY = 90
"""Of the JPEG."""
SIDE = 28
"""Of the grey pictures whose distance to real ones is measured, in pixels."""


class FoolingClaims(Evaluation):
    """How many pictures of `fooling_image` are claimed by each classifier, also as a JPEG and moved by one pixel."""

    late: ClassVar[frozenset[str]] = frozenset({"train", "test", "reach", "confidence"})

    classifiers: tuple[str, ...] = ("judge_gate",)
    """Classifiers that the pictures weren't made to fool."""
    white_box: tuple[str, ...] = ("judge",)
    """The fooled model, under an alias of a classifier with its weights."""
    train: NestedSource | None = None
    """Real pictures with labels that say what is usual: their classes' Gaussians, and the nearest real picture. Null
    for none."""
    test: NestedSource | None = None
    """Other real pictures, which the pictures of nothing are to be told from."""
    reach: float = Field(default=0.99, gt=0, lt=1)
    """Probability of the claimed class from which on a picture counts as claimed."""
    confidence: float = Field(default=0.95, gt=0, lt=1)
    """Level of the intervals, in (0, 1)."""

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.train is None) != (self.test is None):
            raise ValueError("train and test go together")
        return self

    @property
    def _asked(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys([*self.white_box, *self.classifiers]))

    def uses(self) -> list[Use]:
        """Return the classifiers; the fooled one only describes the pictures."""
        others = [Use(alias, "classifier") for alias in self.classifiers]
        return [*others, *(Use(alias, "classifier", describes=True) for alias in self.white_box)]

    def references(self) -> Mapping[str, Source]:
        """The given ones of `train` and `test`."""
        return {name: one for name, one in (("train", self.train), ("test", self.test)) if one is not None}

    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterator[Row]:
        """One row per picture, with arrays over the models, white-box first.

        `claim`, `jpeg` and `shift` are the probabilities of the claimed class, NaN where a model doesn't know it or
        nothing is claimed; `top` is the largest probability; `grey` the picture in 28² grey levels, and `embedding_0`
        what the first model's last layer gets.

        Raises:
            RecipeError: `white_box` names a model that wasn't fooled, or `classifiers` the one that was.
        """
        claimed = [_text(one.metadata.get("claimed")) for one in samples]
        views = [[one.image for one in samples]]
        views += [[as_jpeg(one, QUALITY) for one in views[0]], [_shifted(one) for one in views[0]]]
        claims, top = np.full((3, len(samples), len(self._asked)), np.nan), np.zeros((len(samples), len(self._asked)))
        embeddings: dict[str, Any] = {}
        for place, alias in enumerate(self._asked):
            self._check(alias, samples, ctx)
            model = ctx.models.get(alias)
            if isinstance(model, BroughtModel):
                model.ask(views[0][0])
            features = getattr(model, "features", lambda _: None)(views[0])
            if features is not None:
                embeddings[f"embedding_{place}"] = np.asarray(features, np.float32)
            for view, images in enumerate(views if any(claimed) else views[:1]):
                said = np.asarray(model(images))
                top[:, place] = top[:, place] if view else said.max(axis=1)
                known = outputs_of(alias, model, ctx, (), said.shape[1])
                for row, label in enumerate(claimed):
                    own = label_indices([label]) if known is None else [known[label]] if label in known else []
                    claims[view, row, place] = said[row, own[0]] if own else np.nan
        for row, one in enumerate(samples):
            yield {
                "id": one.id,
                "variant": one.variant,
                "claimed": claimed[row],
                "repeat": _repeat(one),
                "label": one.labels[0] if one.labels else "",
                **dict(zip(("claim", "jpeg", "shift"), claims[:, row], strict=True)),
                "top": top[row],
                "grey": averaged(luma(one.image), SIDE).reshape(-1).astype(np.float32),  # type: ignore[arg-type]
                **{name: values[row] for name, values in embeddings.items()},
            }

    def _check(self, alias: str, samples: Sequence[Sample], ctx: Context) -> None:
        """Raise RecipeError if a model stands on the wrong side."""
        own = contents_of(ctx.models.pin(alias))
        for pins in (list(one.ops[-1]["models"].values()) for one in samples if "claimed" in one.metadata and one.ops):
            fooled = bool(own & frozenset().union(*map(contents_of, filter(_text, pins))))
            if fooled != (alias in self.white_box):
                right, said = ("white_box", "is") if fooled else ("classifiers", "isn't")
                raise RecipeError(
                    f"{self.component_name()}: {cut(repr(alias))} {said} the model that the pictures were made to "
                    f"fool; name it under {right}"
                )

    def figures(self, table: Table, ctx: Context) -> dict[str, Json]:
        """Shares and AUROCs in percent with intervals over repeats, by model and variant.

        `claimed`, `jpeg` and `shift` are the shares of pictures with a claim of `reach`; `median` is that of the claims
        with the least and the largest of the repeats. `softmax` and `mahalanobis` are AUROCs against `test`: how often
        a picture of nothing is less sure, or farther from the classes, than a real one. `nearest` has the median RMSE
        to the nearest picture of `train` in grey levels, and `above` the share that is farther than half of `test`.
        """
        found: dict[str, Any] = {"reach": self.reach, "confidence": self.confidence, "models": {}, "nearest": {}}
        found |= {"white_box": list(self.white_box), "names": [one for one in self._asked if one not in self.white_box]}
        if not len(table):
            return found
        table = replace(table, arrow=table.arrow.sort_by("id"))
        belongs = table["set"] if self.references() else np.full(len(table), "")
        train, test = belongs == "train", belongs == "test"
        own = (belongs == "") & (table["claimed"] != "")
        variants = {str(name): own & (table["variant"] == name) for name in sorted(set(table["variant"][own]))}
        repeats = table["repeat"]

        def told(values: Array, rows: Bools) -> Json:
            known = np.isfinite(values) if values.dtype != bool else np.ones(len(values), bool)
            places = np.unique(repeats[rows][known], return_inverse=True)[1].reshape(-1)
            return share(values[known], places, self.confidence)

        scores: dict[str, Array] = {}
        compared = bool(train.any() and test.any())
        for place, alias in enumerate(self._asked):
            scores = {"softmax": -table["top"][:, place]}
            if compared and f"embedding_{place}" in table:
                scores["mahalanobis"] = _distances(table[f"embedding_{place}"], table["label"], train)
            of = found["models"][alias] = {}
            for name, rows in variants.items():
                claim = table["claim"][rows, place]
                known = np.isfinite(claim)
                if not known.any():
                    continue
                by_repeat = [np.median(claim[known & (repeats[rows] == one)]) for one in set(repeats[rows][known])]
                ends = {"value": np.median(claim[known]), "low": min(by_repeat), "high": max(by_repeat)}
                of[name] = {"n": int(known.sum()), "repeats": len(by_repeat)}
                of[name]["median"] = {end: round(float(value), 4) for end, value in ends.items()}
                for view, key in (("claim", "claimed"), ("jpeg", "jpeg"), ("shift", "shift")):
                    of[name][key] = told((table[view][rows, place] >= self.reach)[known], _among(rows, known))
                if compared:
                    of[name] |= {key: told(_above(one[rows], one[test]), rows) for key, one in scores.items()}
        if compared:
            far = _nearest(table["grey"], train)
            usual = float(np.median(far[test]))
            found["nearest"] = {
                "real": round(usual, 1),
                "n": int(test.sum()),
                "train": int(train.sum()),
                "variants": {},
            }
            for name, rows in variants.items():
                median = round(float(np.median(far[rows])), 1)
                found["nearest"]["variants"][name] = {"median": median, "above": told(far[rows] > usual, rows)}
        return found


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _repeat(sample: Sample) -> int:
    """The repeat that a picture's record names; -1 for none."""
    value = sample.ops[-1]["requested"].get("repeat") if sample.ops else None
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31 else -1


def _shifted(image: Any) -> Any:
    """A picture moved to the right by one pixel; its first column is there twice."""
    return np.concatenate([image[:, :1], image[:, :-1]], axis=1)


def _among(rows: Bools, known: Bools) -> Bools:
    found = rows.copy()
    found[rows] = known
    return found


def _above(values: Floats, others: Floats) -> Floats:
    """Of each value, the share of the others that it exceeds; ties count half. The mean is the AUROC."""
    order = np.sort(others)
    ends = [np.searchsorted(order, values, side) for side in ("left", "right")]
    return np.asarray((ends[0] + ends[1]) / (2 * len(order)))


def _distances(features: Array, labels: Array, train: Bools) -> Floats:
    """Squared Mahalanobis distance of each row to the nearest class of `train` (Lee et al., NeurIPS 2018)."""
    names, y = np.unique(labels[train], return_inverse=True)
    every = np.full(len(labels), -1)
    every[train] = y.reshape(-1)
    gaussians = fit_gaussians(features, every, np.flatnonzero(train), len(names))
    return np.asarray(squared_distances(features.astype(np.float64), gaussians).min(axis=1))


def _nearest(grey: Array, train: Bools) -> Floats:
    """RMSE of each row to the nearest row of `train`."""
    real = grey[train].astype(np.float64)
    squares = (real**2).sum(axis=1)
    parts = [
        ((one**2).sum(axis=1)[:, None] + squares - 2 * one @ real.T).min(axis=1)
        for one in np.array_split(grey.astype(np.float64), max(1, len(grey) // 512))
    ]
    return np.sqrt(np.maximum(np.concatenate(parts), 0) / grey.shape[1])
