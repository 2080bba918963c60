"""Average precision of object detectors on each variant of an edition, and how it compares with the originals.

The measures are those of COCO (Lin et al., ECCV 2014, arXiv 1405.0312) by pycocotools, and the effective robustness of
COCO-O (Mao et al., ICCV 2023, arXiv 2307.12730). Detectors look for the names of the edition's classes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from variorum.evaluation.classifiers.accuracy_drop import point
from variorum.kit.detection.records import pack_found, pack_objects, unpacked
from variorum.kit.predicted.pairing import roots
from variorum.report.coco_objects import categories, marked
from variorum.schemas.annotations import CHECKS, Check
from variorum.schemas.canonical import Json, derive_seed
from variorum.schemas.component import Context, Evaluation, Row
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import cut
from variorum.schemas.plot import IntervalPlot, Plot
from variorum.schemas.sample import Sample
from variorum.schemas.table import Table

if TYPE_CHECKING:
    from variorum.arrays import Bools, Ints
    from variorum.kit.detection.figures import Judged

MEAN = "mean over domains"
"""Row of the plot."""
MOST_NAMED = 100
"""Classes without a detector that the figures name."""


class DetectionAp(Evaluation):
    """AP of detectors by variant, drops, mAP over domains and effective robustness, with bootstrap intervals."""

    revision = 1
    needs_objects: ClassVar[bool] = True
    late: ClassVar[frozenset[str]] = frozenset({"ignore", "bootstrap", "confidence", "slope"})

    detectors: tuple[str, ...] = Field(default=("detector",), min_length=1)
    """Aliases of detectors; none may have decided what is in the edition."""
    ignore: tuple[Check, ...] = ("missing",)
    """Objects with these checks count neither for nor against a detector, like crowds."""
    bootstrap: int = Field(default=200, ge=20, le=10_000)
    """Number of resamples of the photographs."""
    confidence: float = Field(default=0.95, gt=0, lt=1)
    """Level of the intervals."""
    slope: float = Field(default=0.45, ge=0, le=1)
    """mAP under a shift per mAP on the originals, on the line that effective robustness is measured from."""

    def aliases(self) -> tuple[str, ...]:
        """The detectors."""
        return self.detectors

    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterator[Row]:
        """One row per picture and detector, with detections and objects as `detection/records.py` packs them.

        Objects of classes that a detector doesn't know are counted and left out.

        Raises:
            RecipeError: the edition has no classes, or a detector knows none of them or can't take them.
            ModelFailed: a detector's answer has NaN, or shapes that don't fit.
        """
        names = [one.name for one in ctx.classes]
        index = {one.id: number for number, one in enumerate(ctx.classes)}
        images = [sample.image for sample in samples]
        for alias in dict.fromkeys(self.detectors):
            model = ctx.models.get(alias)
            known = known_classes(alias, model, names)
            asked = np.flatnonzero(known)
            try:
                found = model(images, [names[one] for one in asked])
            except ValueError as error:
                raise RecipeError(f"detector {cut(alias)!r} can't look for {len(asked)} classes: {error}") from error
            for sample, one in zip(samples, found, strict=True):
                there, left_out = marked(sample.annotations.objects, index, *sample.image.shape[:2])  # type: ignore[union-attr]
                unknown = [names[item.category] for item in there if not known[item.category]]
                yield {
                    "id": sample.id,
                    "parent": sample.parent,
                    "variant": sample.variant,
                    "view": view(sample),
                    "detector": alias,
                    "found": pack_found(alias, one, asked),
                    "there": pack_objects([item for item in there if known[item.category]]),
                    "unknown": json.dumps(sorted(set(unknown)), ensure_ascii=False),
                    "unknown_boxes": len(unknown),
                    "checks": json.dumps(Counter(item.check for item, _ in there if item.check)),
                    "left_out": left_out.total(),
                }

    def figures(self, table: Table, ctx: Context) -> dict[str, Json]:
        """Averages in percent and differences in percentage points, by detector and variant.

        A drop and the effective robustness are over the photographs and the objects that both the variant and the
        originals have; `other_objects` counts the originals' other objects. Isolated objects have no effective
        robustness. `checks` has the number of objects by check, if a detector was asked, whatever is ignored.
        `over_domains` has the unweighted means over the variants of a view, without the baselines. All intervals are
        of the same resamples of the photographs.
        """
        names = list(dict.fromkeys(self.detectors))
        common: dict[str, Json] = {
            "names": list(names),
            "confidence": self.confidence,
            "bootstrap": self.bootstrap,
            "slope": self.slope,
            "ignore": list(self.ignore),
        }
        if not len(table):
            return {**common, "pictures": 0, "variants": [], "checks": {}, "detectors": {}}
        from variorum.kit.detection.figures import of_detector

        tops = roots(dict(zip(table["id"], table["parent"], strict=True)))
        photographs, photograph = np.unique([tops[one] for one in table["id"]], return_inverse=True)
        rng = np.random.default_rng(derive_seed(ctx.seed, "detection_ap"))
        size = len(photographs)
        weights = rng.multinomial(size, np.full(size, 1 / size), self.bootstrap).astype(np.float64)
        tails = (1 - self.confidence) / 2, (1 + self.confidence) / 2
        ids = categories(ctx.classes)[1]
        detectors: dict[str, Json] = {}
        for alias in names:
            mine = table["detector"] == alias
            judged = judged_by(table, mine, photograph)
            detectors[alias] = {
                **counts(table, mine),
                **of_detector(judged, ids, self.ignore, weights, tails, self.slope),
            }
        variants = list(dict.fromkeys(table["variant"]))
        return {
            **common,
            "pictures": len(set(table["id"])),
            "variants": variants,
            "checks": checks(table, table["detector"] == names[0]),
            "detectors": detectors,
        }

    def plots(self, figures: Mapping[str, Any]) -> dict[str, Plot]:
        """`map`: the mAP by variant and detector, and the means over the domains."""
        detectors = figures["detectors"]
        rows = [name for name in figures["variants"] if any(_map(one, name) for one in detectors.values())]
        views = list(dict.fromkeys(mean["view"] for one in detectors.values() for mean in one["over_domains"]))
        if not rows:
            return {}
        series = {
            alias: (
                *(point(_map(one, name)) for name in rows),
                *(
                    point(next((mean["map"] for mean in one["over_domains"] if mean["view"] == view), None))
                    for view in views
                ),
            )
            for alias, one in detectors.items()
        }
        labels = (*rows, *(f"{MEAN}, {view}" if view else MEAN for view in views))
        return {"map": IntervalPlot("mAP by variant", "mAP in percent", labels, series)}


def known_classes(alias: str, model: Any, names: Sequence[str]) -> list[bool]:
    """Whether a detector can find each class.

    Raises:
        RecipeError: there are no classes, it knows none of them, or it is no detector.
    """
    if not names:
        raise RecipeError("the edition has no classes, which detectors look for")
    if not hasattr(model, "knows"):
        raise RecipeError(f"{cut(repr(alias))} is no detector; name an alias such as detector")
    known: list[bool] = model.knows(names)
    if not any(known):
        listed = cut(", ".join(names[:6])) + ("" if len(names) <= 6 else f" and {len(names) - 6} more")
        raise RecipeError(
            f"detector {cut(alias)!r} knows none of the edition's classes: {listed}; name a detector "
            "that takes any text, or give the classes names that this one knows"
        )
    return known


def view(sample: Sample) -> str:
    """Which of its views the sample's generator made, as it was asked; `""` if it has only one."""
    asked = sample.ops[-1]["requested"].get("view") if sample.ops else None
    return asked if isinstance(asked, str) else ""


def judged_by(table: Table, rows: Bools, photograph: Ints) -> Judged:
    """What one detector was shown, from its rows."""
    from variorum.kit.detection.figures import Judged

    found, there = (table.column(name).filter(rows).to_pylist() for name in ("found", "there"))
    return Judged(
        [unpacked(*pair) for pair in zip(found, there, strict=True)],
        table["variant"][rows].tolist(),
        table["view"][rows].tolist(),
        photograph[rows],
    )


def counts(table: Table, rows: Bools) -> dict[str, Json]:
    """What of the edition a detector wasn't asked about."""
    unknown = [json.loads(text) for text in table["unknown"][rows]]
    blind = [bool(names) and not there for names, there in zip(unknown, table["there"][rows], strict=True)]
    named = sorted({name for names in unknown for name in names})
    return {
        "n": int(rows.sum()),
        "unknown_classes": list(named[:MOST_NAMED]),
        "unknown_boxes": int(table["unknown_boxes"][rows].sum()),
        "only_unknown": sum(blind),
        "left_out": int(table["left_out"][rows].sum()),
    }


def checks(table: Table, rows: Bools) -> dict[str, Json]:
    """By variant, the number of objects with each check; only of variants whose objects were checked."""
    found: dict[str, Counter[str]] = {}
    for variant, text in zip(table["variant"][rows], table["checks"][rows], strict=True):
        found.setdefault(variant, Counter()).update(json.loads(text))
    return {variant: {name: number[name] for name in CHECKS if name} for variant, number in found.items() if number}


def _map(figures: Mapping[str, Any], variant: str) -> Any:
    return figures["variants"].get(variant, {}).get("map")
