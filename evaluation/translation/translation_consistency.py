"""Measure how often classifiers change their answer when a photograph moves by a pixel.

The measures of Shifman & Weiss, Lost in Translation, ECCV 2024 (arXiv 2404.07153), and their remedy, which classifies a
crop that moves along with the photograph.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from variorum.evaluation.translation.crop_selection import REACH, select
from variorum.evaluation.translation.moves import Intervals, Told, agreement, cosines, moves, of_moves
from variorum.generators.translation.windows import BORDERS
from variorum.kit.predicted.answers import predictions
from variorum.kit.predicted.drops import Results
from variorum.kit.predicted.fields import OfClassifiers
from variorum.kit.predicted.offered import Asked, by_model
from variorum.kit.predicted.pairing import ORIGINAL, roots
from variorum.kit.predicted.resamples import Resamples
from variorum.models.preprocessing import View, view_of
from variorum.schemas.canonical import Json, derive_seed
from variorum.schemas.component import Context, Row, Use
from variorum.schemas.plot import IntervalPlot, Plot, point
from variorum.schemas.rows import Answers, Figure
from variorum.schemas.sample import Sample
from variorum.schemas.table import Table


class TranslationConsistency(OfClassifiers):
    """Share of photographs whose top-1 class changes for some shift, with bootstrap intervals over the photographs.

    It reads editions of the generator `translation`: a picture's shift is the one that its last step was asked for.
    """

    offers: ClassVar[Mapping[str, Figure]] = {"agreement": Figure("same answer after a shift")}
    encoder: str | None = None
    """Alias of an encoder, for the cosine of embeddings before and after."""
    crop_selection: int = Field(default=0, ge=0, le=64)
    """n above 0 also classifies one of n x n crops: the one that the content chooses, which moves along with it."""

    def uses(self) -> list[Use]:
        """Return the classifiers and the encoder."""
        encoder = [Use(self.encoder, "encoder")] if self.encoder else []
        return [*super().uses(), *encoder]

    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterator[Row]:
        """One row per picture and classifier as `accuracy_drop`'s, with the shift; and one for its chosen crop.

        `left` and `top` are those of the crop, -1 in rows of whole pictures. A picture too small for the crops has no
        row of its crop.

        Raises:
            RecipeError: a picture's class is no output of a classifier that says what its outputs are.
        """
        shifts = {sample.id: shift_of(sample) for sample in samples}
        vectors: dict[str, bytes] = {}
        if self.encoder:
            found = np.asarray(ctx.models.get(self.encoder)([sample.image for sample in samples]))
            longest = np.abs(found).max(axis=1, keepdims=True, initial=0)  # so that float16 holds them
            short = (found / np.where(longest > 0, longest, 1)).astype(np.float16)
            vectors = {sample.id: vector.tobytes() for sample, vector in zip(samples, short, strict=True)}
        for row in predictions(samples, self.classifiers, ctx):
            first = row["classifier"] == self.classifiers[0]
            vector = vectors.get(row["id"], b"") if first else b""
            yield {**row, **shifts[row["id"]], "left": -1, "top": -1, "embedding": vector}
        crops = {sample.id: self._crop(sample) for sample in samples} if self.crop_selection else {}
        chosen = [(sample, crop) for sample in samples if (crop := crops.get(sample.id))]
        cropped = [replace(sample, image=_cut(sample, *crop)) for sample, crop in chosen]
        for row in predictions(cropped, self.classifiers, ctx):
            left, top, _ = crops[row["id"]] or (-1, -1, 0)
            yield {**row, **shifts[row["id"]], "left": left, "top": top, "embedding": b""}

    def _crop(self, sample: Sample) -> tuple[int, int, int] | None:
        """Left and top of a picture's chosen crop, and how many pixels shorter it is; None if there is none."""
        assert not isinstance(sample.image, bytes)
        if min(sample.image.shape[:2]) - self.crop_selection + 1 < 4 * REACH:
            return None
        return *select(sample.image, self.crop_selection), self.crop_selection - 1

    def figures(self, table: Table, ctx: Context) -> dict[str, Json]:
        """Figures in percent by classifier and border, of whole pictures and, as `selected`, of chosen crops.

        `scale` says how many pixels of a classifier's input one pixel of the pictures becomes, `hidden` how many at
        the edge it doesn't look at, `crop_scale` the scale of chosen crops; all None if it doesn't say. `one_pixel`
        says whether a shift by a pixel is one for the classifier. Photographs that lack the original or a shift are
        `left_out`. `cosine` is that of embeddings, `agreement` how often the chosen crop moves along with the
        photograph.
        """
        names = tuple(dict.fromkeys(self.classifiers))
        common: dict[str, Json] = {
            "confidence": self.confidence,
            "names": list(names),
            "encoder": self.encoder,
            "crop_selection": self.crop_selection,
        }
        moved = table["border"] != "" if len(table) else np.zeros(0, bool)
        if not moved.any():
            return {**common, "photographs": 0, "borders": [], "classifiers": {}, "cosine": {}, "agreement": {}}
        tops = roots(dict(zip(table["id"].tolist(), table["parent"].tolist(), strict=True)))
        numbers = {one: number for number, one in enumerate(sorted(set(tops.values())))}
        photograph = np.array([numbers[tops[one]] for one in table["id"].tolist()])
        sides = sorted({(int(high), int(wide)) for high, wide in zip(table["height"], table["width"], strict=True)})
        at = sorted(set(table["at"][moved].tolist()))
        seed = derive_seed(ctx.seed, "translation_consistency")
        results = Results(Resamples(len(numbers), self.bootstrap, self.confidence, seed))
        means, shift = Intervals(len(numbers), results), np.stack([table["dx"], table["dy"]], axis=1)
        original, whole = table["variant"] == ORIGINAL, table["left"] < 0
        p_label = np.asarray(table["p_label"], np.float64)
        answers = Told(table["top1"], table["label"], table["correct"], p_label)
        of = partial(moves, photograph=photograph, border=table["border"], shift=shift, original=original)
        classifiers: dict[str, Json] = {}
        for alias in names:
            mine = table["classifier"] == alias
            told = str(table["preprocessing"][mine][0])
            seen, chosen = (_view(told, sides, less) for less in (0, max(self.crop_selection - 1, 0)))
            classifiers[alias] = {
                "preprocessing": told,
                "scale": None if seen is None else round(seen.scale, 4),
                "hidden": None if seen is None else int(seen.hidden),
                "crop_scale": None if chosen is None or not self.crop_selection else round(chosen.scale, 4),
                "one_pixel": seen is not None and seen.scale == 1 and at == ["frame"],
                "whole": {name: of_moves(answers, one, means) for name, one in of(mine & whole).items()},
                "selected": {name: of_moves(answers, one, means) for name, one in of(mine & ~whole).items()},
            }
        first = table["classifier"] == names[0]
        cosine: dict[str, Json] = {}
        if self.encoder:
            vectors = table.column("embedding").to_pylist()
            cosine = {name: cosines(vectors, one) for name, one in of(first & whole).items()}
        crops = np.stack([table["left"], table["top"]], axis=1)
        agreed: dict[str, Json] = {name: agreement(crops, one, means) for name, one in of(first & ~whole).items()}
        results.fill()
        return {
            **common,
            "photographs": len(numbers),
            "sides": [list(side) for side in sides],
            "at": list(at),
            "borders": [name for name in BORDERS if name in table["border"][moved]],
            "classifiers": classifiers,
            "cosine": cosine,
            "agreement": agreed,
        }

    def rows(self, table: Table, ctx: Context) -> Iterator[Answers]:
        """How often each model answers a moved photograph as the photograph itself, by shift and border.

        A photograph counts for a border if it has all shifts, as in `figures`. It needs no label.
        """
        for asked in by_model(table):
            yield same_answers(asked)

    def plots(self, figures: Mapping[str, Any]) -> dict[str, Plot]:
        """`changed`: the share of photographs whose class changes, by border, radius and classifier.

        Rows with `crop` are those of chosen crops.
        """
        rows: list[tuple[str, str, str]] = []
        for name in figures["borders"]:
            for kind in ("whole", "selected"):
                there = [one[kind][name] for one in figures["classifiers"].values() if name in one[kind]]
                radii = sorted({int(radius) for one in there for radius in one["radii"]})
                rows += [(kind, name, str(radius)) for radius in radii]
        if not rows:
            return {}
        series = {
            alias: tuple(point(one[kind].get(name, {}).get("radii", {}).get(radius)) for kind, name, radius in rows)
            for alias in figures["names"]
            for one in [figures["classifiers"][alias]]
        }
        labels = tuple(f"{name}, {radius} px{', crop' if kind == 'selected' else ''}" for kind, name, radius in rows)
        return {"changed": IntervalPlot("Photographs whose class changes", "photographs in percent", labels, series)}


def same_answers(asked: Asked) -> Answers:
    """A model's agreement with its answers to the photographs as they are."""
    table, of_variant = asked.table, asked.requests()
    names, which = np.unique(asked.variant, return_inverse=True)
    sides = int(table["height"].max()), int(table["width"].max())
    moved = [requested(of_variant[name][0], *sides) for name in names.tolist()]
    border = np.array([one["border"] for one in moved], object)[which]
    shift = np.array([(one["dx"], one["dy"]) for one in moved])[which]
    _, photograph = np.unique(asked.photographs.root, return_inverse=True)
    everywhere = np.ones(len(table), bool)
    found = moves(everywhere, photograph.reshape(-1), border, shift, asked.original)
    found = {name: one for name, one in found.items() if len(one.photograph)}
    if not found:
        return Answers("agreement", asked.model, why_not="no photograph has its original and all shifts")
    rows = np.concatenate([one.moved.T.reshape(-1) for one in found.values()])
    first = np.concatenate([np.tile(one.original, len(one.shifts)) for one in found.values()])
    shifts = [(name, x, y) for name, one in found.items() for x, y in one.shifts.tolist()]
    column = np.repeat(np.arange(len(shifts)), [len(one.photograph) for one in found.values() for _ in one.shifts])
    return asked.share(
        "agreement",
        rows,
        table["top1"][rows] == table["top1"][first],
        column,
        [asked.variant[row] for one in found.values() for row in one.moved[0]],
        axes={
            "at": tuple(float(max(abs(x), abs(y))) for _, x, y in shifts),
            "border": tuple(name for name, _, _ in shifts),
        },
        note=f"{len(shifts)} shifts",
    )


def shift_of(sample: Sample) -> dict[str, Any]:
    """Shift, border and size of a picture, as its last operation was asked for them; `""` for one that didn't move."""
    height, width = sample.image.shape[:2]  # type: ignore[union-attr]
    return requested(sample.ops[-1]["requested"] if sample.ops else {}, int(height), int(width))


def requested(asked: Mapping[str, Any], height: int, width: int) -> dict[str, Any]:
    """Shift and border that an operation was asked for, with the size of its picture; see `shift_of`."""
    x, y, border, at = (asked.get(name) for name in ("dx", "dy", "border", "at"))
    size = {"height": height, "width": width}
    known = border in BORDERS and at in ("frame", "source")
    if known and all(isinstance(step, int) and abs(step) <= max(size.values()) for step in (x, y)):
        return {"dx": x, "dy": y, "border": border, "at": at, **size}
    return {"dx": 0, "dy": 0, "border": "", "at": "", **size}


def _view(preprocessing: str, sides: Sequence[tuple[int, int]], less: int) -> View | None:
    """Return what a classifier sees of pictures that are `less` pixels shorter; None if it isn't known, or differs."""
    views = {view_of(preprocessing, height - less, width - less) for height, width in sides}
    return views.pop() if len(views) == 1 else None


def _cut(sample: Sample, left: int, top: int, less: int) -> Any:
    image: Any = sample.image
    height, width = image.shape[:2]
    return image[top : top + height - less, left : left + width - less]
