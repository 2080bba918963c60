"""Average precision of object detectors on each variant of an edition, and how it compares with the originals.

The measures are those of COCO (Lin et al., ECCV 2014, arXiv 1405.0312) by pycocotools, and the effective robustness of
COCO-O (Mao et al., ICCV 2023, arXiv 2307.12730) where there are enough detectors. Detectors look for the names of the
edition's classes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from variorum.kit.detection.answers import detections
from variorum.kit.detection.records import unpacked
from variorum.kit.predicted.pairing import ORIGINAL, roots
from variorum.reports.coco_objects import categories
from variorum.schemas.annotations import CHECKS, Check
from variorum.schemas.canonical import Json, derive_seed
from variorum.schemas.component import Context, Evaluation, Row, Use
from variorum.schemas.plot import IntervalPlot, Plot, point
from variorum.schemas.rows import Answers, Figure
from variorum.schemas.sample import Sample, is_baseline
from variorum.schemas.table import Table

if TYPE_CHECKING:
    from variorum.arrays import Bools, Ints
    from variorum.kit.detection.figures import Judged

MEAN = "mean over domains"
"""Row of the plot."""
MOST_NAMED = 100
"""Classes without a detector that the figures name."""


BOXES: Mapping[str, Any] = {"needs": ("boxes",), "gap": "share of the objects that are found"}


class DetectionAp(Evaluation):
    """AP of detectors by variant, drops and mAP over domains, with bootstrap intervals."""

    revision = 2
    needs_objects: ClassVar[bool] = True
    offers: ClassVar[Mapping[str, Figure]] = {
        "ap": Figure("AP at IoU .5 to .95, mean over domains", "whole", **BOXES),
        "isolated": Figure("AP at IoU .5 to .95 of isolated objects, mean over domains", "whole", **BOXES),
        "originals": Figure("AP at IoU .5 to .95", "whole", **BOXES),
    }
    late: ClassVar[frozenset[str]] = frozenset({"ignore", "bootstrap", "confidence"})

    detectors: tuple[str, ...] = Field(default=("detector",), min_length=1)
    """Aliases of detectors; none may have decided what is in the edition."""
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
        """One row per picture and detector, with detections and objects as `detection/records.py` packs them.

        Objects of classes that a detector doesn't know are counted and left out.

        Raises:
            RecipeError: the edition has no classes, or a detector knows none of them or can't take them.
            ModelFailed: a detector's answer has NaN, or shapes that don't fit.
        """
        return detections(samples, self.detectors, ctx)

    def figures(self, table: Table, ctx: Context) -> dict[str, Json]:
        """Averages in percent and differences in percentage points, by detector and variant.

        A drop is over the photographs and the objects that both the variant and the originals have; `other_objects`
        counts the originals' other objects. `checks` has the number of objects by check, if a detector was asked,
        whatever is ignored. `over_domains` has the unweighted means over the variants of a view, without the baselines;
        that over scenes has an effective robustness if there are five detectors, as it compares them with each other.
        All intervals are of the same resamples of the photographs.
        """
        names = list(dict.fromkeys(self.detectors))
        common: dict[str, Json] = {
            "names": list(names),
            "confidence": self.confidence,
            "bootstrap": self.bootstrap,
            "ignore": list(self.ignore),
        }
        if not len(table):
            return {**common, "pictures": 0, "variants": [], "checks": {}, "detectors": {}}
        from variorum.kit.detection.figures import of_detector, with_robustness

        tops = roots(dict(zip(table["id"], table["parent"], strict=True)))
        photographs, photograph = np.unique([tops[one] for one in table["id"]], return_inverse=True)
        rng = np.random.default_rng(derive_seed(ctx.seed, "detection_ap"))
        size = len(photographs)
        weights = rng.multinomial(size, np.full(size, 1 / size), self.bootstrap).astype(np.float64)
        tails = (1 - self.confidence) / 2, (1 + self.confidence) / 2
        ids = categories(ctx.classes)[1]
        detectors: dict[str, dict[str, Json]] = {}
        means = []
        for alias in names:
            mine = table["detector"] == alias
            judged = judged_by(table, mine, photograph)
            found, over = of_detector(judged, ids, self.ignore, weights, tails)
            detectors[alias] = {**counts(table, mine), **found}
            means.append(over)
        with_robustness(list(detectors.values()), means, tails)
        variants = list(dict.fromkeys(table["variant"]))
        return {
            **common,
            "pictures": len(set(table["id"])),
            "variants": variants,
            "checks": checks(table, table["detector"] == names[0]),
            "detectors": dict(detectors),
        }

    def rows(self, table: Table, ctx: Context) -> Iterator[Answers]:
        """Yield every detector's `ap`, the mean over the domains' mAP, `isolated`, and `originals`, its mAP on those.

        Isolated objects are domains of their own, and baselines are none. In a draw a class counts if it has an object.
        """
        from variorum.evaluation.detectors.rows import Domain, averaged
        from variorum.kit.detection.figures import ISOLATED
        from variorum.kit.detection.matching import match

        ids = categories(ctx.classes)[1]
        tops = roots(dict(zip(table["id"], table["parent"], strict=True))) if len(table) else {}
        photographs, photograph = np.unique([tops[one] for one in table["id"]], return_inverse=True)
        for alias in dict.fromkeys(self.detectors):
            mine = table["detector"] == alias
            judged, names = judged_by(table, mine, photograph), table["id"][mine]
            variants = dict(zip(judged.variant, judged.view, strict=True))
            views = {name: view for name, view in variants.items() if not is_baseline(name)}
            for figure, chosen in (
                ("ap", [name for name, view in views.items() if view != ISOLATED]),
                ("isolated", [name for name, view in views.items() if view == ISOLATED]),
                ("originals", [name for name in variants if name == ORIGINAL]),
            ):
                domains = []
                for variant in chosen:
                    pictures, of = judged.of(variant)
                    there = names[np.array(judged.variant) == variant].tolist()
                    matches = match(pictures, ids, self.ignore, strays=True)
                    domains.append(Domain(variant, there, of, matches))
                yield averaged(figure, alias, domains, photographs)

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


def judged_by(table: Table, rows: Bools, photograph: Ints) -> Judged:
    """Collect what one detector was shown, from its rows."""
    from variorum.kit.detection.figures import Judged

    found, there = (table.column(name).filter(rows).to_pylist() for name in ("found", "there"))
    return Judged(
        [unpacked(*pair) for pair in zip(found, there, strict=True)],
        table["variant"][rows].tolist(),
        table["view"][rows].tolist(),
        photograph[rows],
    )


def counts(table: Table, rows: Bools) -> dict[str, Json]:
    """Count the part of the edition that a detector wasn't asked about."""
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
