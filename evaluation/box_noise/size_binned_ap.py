"""Average precision by the size of objects: of detectors, and of noisy boxes taken as detections.

The same error in pixels costs a small box more than a large one (Kumar et al., SeaBird, CVPR 2024, arXiv 2403.20318).
The average precision of noisy boxes against the true ones is what a detector gets that gives exactly such boxes. The
measures are those of COCO (Lin et al., ECCV 2014, arXiv 1405.0312) by pycocotools.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from variorum.annotations import box_iou
from variorum.generators.box_noise.truth import TRUTH, noise_of, ordered, truth_of
from variorum.kit.detection.answers import detections, known_classes
from variorum.kit.detection.records import FOUND, THERE, Picture, pack_objects, unpacked
from variorum.kit.predicted.pairing import ORIGINAL, roots
from variorum.reports.coco_objects import Marked, categories, marked
from variorum.schemas.annotations import Check, Object
from variorum.schemas.canonical import Json, derive_seed
from variorum.schemas.component import Context, Evaluation, Row, Use
from variorum.schemas.plot import IntervalPlot, Plot, point
from variorum.schemas.sample import Sample
from variorum.schemas.table import Table

if TYPE_CHECKING:
    from variorum.arrays import Array, Ints

BOXES = "boxes"
"""The edition's own boxes, as if they were a detector's."""
SAME = 0.99
"""IoU above which two boxes of a class are one. Records are rounded, and boxes are at least a pixel wide."""


class SizeBinnedAp(Evaluation):
    """AP by size of an edition's noisy boxes against the true ones, and of detectors against the edition's boxes."""

    needs_objects: ClassVar[bool] = True
    late: ClassVar[frozenset[str]] = frozenset({"bins", "quantiles", "ignore", "bootstrap", "confidence"})

    revision: ClassVar[int] = 2

    detectors: tuple[str, ...] = ()
    """Aliases of detectors; none may have decided what is in the edition."""
    bins: Literal["coco", "quantiles"] = "coco"
    """COCO's ranges of areas, with ends at 32² and 96² pixels, or ranges with equally many objects of the edition."""
    quantiles: int = Field(default=3, ge=2, le=20)
    """Number of ranges with `quantiles`."""
    ignore: tuple[Check, ...] = ("missing",)
    """Objects with these checks count neither for nor against a detector, like crowds."""
    bootstrap: int = Field(default=200, ge=20, le=10_000)
    """Number of resamples of the photographs."""
    confidence: float = Field(default=0.95, gt=0, lt=1)
    """Level of the intervals."""

    def uses(self) -> list[Use]:
        """Return the detectors."""
        return [Use(alias) for alias in self.detectors]

    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterator[Row]:
        """One row per picture with its boxes, and one per picture and detector.

        `given` are the edition's objects; if the picture has true ones, `there` are those, `iou` that of the box which
        each was given, and `found` the given ones as detections. Pictures with the same pixels have the same `shown`:
        those with noisy boxes share them, so detectors see the original alone. `known` says which classes a detector
        knows.

        Raises:
            RecipeError: the edition has no classes, a detector can't take them, or `boxes.json` isn't what `box_noise`
                writes.
            ModelFailed: a detector's answer has NaN, or shapes that don't fit.
        """
        index = {one.id: number for number, one in enumerate(ctx.classes)}
        named = {sample.id: _named(sample) for sample in samples}
        for sample in samples:
            size = np.shape(sample.image)[:2]
            given = marked(sample.annotations.objects, index, *size)[0]
            truth = truth_of(sample) if named[sample.id]["true"] else []
            kept = [one.item for one in truth if one.kept]
            counts = [_left_out(one) if any(_same(one.item, item) for item in kept) else one for one in given]
            row = {**named[sample.id], "judge": BOXES, "given": pack_objects(counts)}
            if row["true"]:
                pairs = [(found, one.iou) for one in truth for found in marked([one.item], index, *size)[0]]
                row |= {"there": pack_objects([item for item, _ in pairs]), "found": _as_found(given)}
                row["iou"] = np.array([iou for _, iou in pairs], np.float32).tobytes()
                row["kept"] = len(kept)
            yield row
        shown = [one for one in samples if TRUTH not in one.extras or one.variant == ORIGINAL]
        names = [one.name for one in ctx.classes]
        for alias in dict.fromkeys(self.detectors if shown else ()):
            known = np.array(known_classes(alias, ctx.models.get(alias), names), bool).tobytes()
            for found in detections(shown, (alias,), ctx):
                yield {**named[found["id"]], "judge": alias, "found": found["found"], "known": known}

    def figures(self, table: Table, ctx: Context) -> dict[str, Json]:
        """Averages in percent by judge, noise and range of areas.

        `boxes` are the noisy boxes as detections, against the true ones; `mean_iou` is that of the boxes which objects
        were given, `kept` the number of objects that have the true one because less than a pixel was left of the noisy
        one. These are left out of all averages, as crowds are. A detector is compared with the boxes that the edition
        gives. Pictures of one noise and several seeds count as so many
        pictures. Intervals are of the same resamples of the photographs.
        """
        names = list(dict.fromkeys(self.detectors))
        common: dict[str, Json] = {"names": list(names), "confidence": self.confidence, "bins": self.bins}
        if not len(table):
            return {**common, "noises": [], "ranges": [], "judges": {}}
        from variorum.evaluation.box_noise.sized import by_size, coco_ranges, mean_by_size, quantile_ranges, weights_of

        columns = {name: table.column(name).to_pylist() for name in ("found", "there", "given", "iou", "known")}
        tops = roots(dict(zip(table["id"].tolist(), table["parent"].tolist(), strict=True)))
        photograph = np.unique([tops[one] for one in table["id"].tolist()], return_inverse=True)[1]
        size, seed = int(photograph.max()) + 1, derive_seed(ctx.seed, "size_binned_ap")
        own = np.flatnonzero(table["judge"] == BOXES)
        tails, ids = ((1 - self.confidence) / 2, (1 + self.confidence) / 2), categories(ctx.classes)[1]
        true = own[table["true"][own]]
        _, once = np.unique(table["shown"][own], return_index=True)  # the true objects of each picture, or the given
        areas = [_there(columns["there" if table["true"][row] else "given"][row])["area"] for row in own[once]]
        ranges = coco_ranges() if self.bins == "coco" else quantile_ranges(np.concatenate(areas), self.quantiles)

        def measured(rows: Ints, pictures: list[Picture]) -> dict[str, Json]:
            weights = weights_of(photograph[rows], size, self.bootstrap, seed)
            return {"n": len(rows), "ranges": by_size(pictures, ids, ranges, self.ignore, weights, tails)}

        judges: dict[str, dict[str, Json]] = {BOXES: {}, **{alias: {} for alias in names}}
        for noise in dict.fromkeys(table["noise"][true].tolist()):
            rows = true[table["noise"][true] == noise]
            pictures = [unpacked(columns["found"][row], columns["there"][row]) for row in rows]
            iou = np.concatenate([np.frombuffer(columns["iou"][row], np.float32) for row in rows])
            means = mean_by_size(np.concatenate([one.there for one in pictures]), iou, ranges)
            kept = int(table["kept"][rows].sum())
            judges[BOXES][noise] = {**measured(rows, pictures), "mean_iou": means, "kept": kept}
        for alias in names:
            mine = np.flatnonzero(table["judge"] == alias)
            answers = dict(zip(table["shown"][mine].tolist(), mine.tolist(), strict=True))
            seen = own[np.array([one in answers for one in table["shown"][own].tolist()], bool)]
            for noise in dict.fromkeys(table["noise"][seen].tolist()):
                rows = seen[table["noise"][seen] == noise]
                asked = [answers[one] for one in table["shown"][rows].tolist()]
                pictures = [
                    Picture(np.frombuffer(columns["found"][answer], FOUND), _known(columns, row, answer))
                    for row, answer in zip(rows.tolist(), asked, strict=True)
                ]
                judges[alias][noise] = measured(rows, pictures)
        return {
            **common,
            "noises": list(ordered(table["noise"][own].tolist())),
            "ranges": [{"name": name, "least": least, "most": most} for name, (least, most) in ranges.items()],
            "judges": {name: dict(one) for name, one in judges.items() if one},
        }

    def plots(self, figures: Mapping[str, Any]) -> dict[str, Plot]:
        """A plot for each judge: mAP by noise, a series for each range of areas."""
        found: dict[str, Plot] = {}
        for number, (judge, noises) in enumerate(figures["judges"].items()):
            rows = [noise for noise in figures["noises"] if noise in noises]
            series = {
                one["name"]: tuple(point(noises[noise]["ranges"][one["name"]]["map"]) for noise in rows)
                for one in figures["ranges"]
            }
            title = "mAP of the noisy boxes against the true ones" if judge == BOXES else f"mAP by size: {judge}"
            found[f"map_{number}"] = IntervalPlot(title, "mAP in percent", tuple(rows), series)
        return found


def _named(sample: Sample) -> dict[str, Any]:
    true = TRUTH in sample.extras
    return {
        "id": sample.id,
        "parent": sample.parent,
        "variant": sample.variant,
        "noise": noise_of(sample) if true else sample.variant,
        "shown": sample.parent or sample.id if true else sample.id,
        "true": true,
        "kept": 0,
        **dict.fromkeys(("found", "there", "given", "iou", "known"), b""),
    }


def _same(item: Object, other: Object) -> bool:
    return item.label == other.label and box_iou(item.box, other.box) > SAME


def _left_out(one: Marked) -> Marked:
    """The same as a crowd, which counts neither for nor against a detector."""
    return one._replace(item=replace(one.item, crowd=True))


def _as_found(given: Sequence[Marked]) -> bytes:
    """Objects as detections, with their own scores, or 1."""
    found = np.zeros(len(given), FOUND)
    for place, (item, category) in enumerate(given):
        left, top, wide, high = item.box
        found[place] = ((left, top, left + wide, top + high), 1.0 if item.score is None else item.score, category)
    return found.tobytes()


def _there(packed: bytes) -> Array:
    return np.frombuffer(packed, THERE)


def _known(columns: Mapping[str, Sequence[bytes]], row: int, answer: int) -> Array:
    """The objects of a picture whose classes a detector knows."""
    there, known = _there(columns["given"][row]), np.frombuffer(columns["known"][answer], bool)
    return np.asarray(there[known[there["category"]]])
