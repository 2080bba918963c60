"""Measure classifiers' errors on corrupted pictures, by kind and severity, and their (relative) mCE.

The measures of ImageNet-C (Hendrycks & Dietterich, ICLR 2019, arXiv 1903.12261): the corruption error (CE) of a kind is
the error over its five severities divided by AlexNet's, and mCE the mean over the 15 kinds. The relative mCE does the
same with what the errors are above those on the originals.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import model_validator

from variorum.kit.predicted.answers import predictions
from variorum.kit.predicted.corrupted import FRAME, OUTPUTS, Cells, errors
from variorum.kit.predicted.drops import Results, unpaired
from variorum.kit.predicted.fields import OfFamilies
from variorum.kit.predicted.offered import NO_EDITS, Asked, by_model
from variorum.kit.predicted.pairing import paired
from variorum.kit.predicted.resamples import Resamples
from variorum.models.imagenet_classes import table as imagenet
from variorum.schemas.canonical import Json, derive_seed
from variorum.schemas.component import ClassInfo, Context, Row
from variorum.schemas.lookup import cut
from variorum.schemas.plot import IntervalPlot, Plot, point
from variorum.schemas.rows import Answers, Figure
from variorum.schemas.sample import Sample
from variorum.schemas.table import Table

LONGEST = 4
"""Models that have a plot of their own; with more, only their means are drawn."""


class CorruptionError(OfFamilies):
    """Errors by kind, severity and family, CE, mCE and relative mCE, with bootstrap intervals over the photographs.

    It reads editions of the generator `corruption`: a picture is of a kind and severity if its last operation was asked
    for them.

    Attributes:
        norm: `alexnet` divides by AlexNet's errors, where they apply; `none` never does; the name of one of the
            classifiers divides by its errors on the same pictures.
    """

    offers: ClassVar[Mapping[str, Figure]] = {"right": Figure("accuracy, mean over kinds and severities")}
    late: ClassVar[frozenset[str]] = frozenset({"norm", "bootstrap", "confidence"})

    norm: Literal["alexnet", "none"] | str = "alexnet"

    @model_validator(mode="after")
    def _known_norm(self) -> Self:
        if self.norm not in ("alexnet", "none", *self.classifiers):
            raise ValueError(f"norm is alexnet, none, or one of the classifiers, not {cut(repr(self.norm))}")
        return self

    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterator[Row]:
        """One row per picture and classifier, as `accuracy_drop`'s, with the picture's kind and severity.

        `kind` is `""` and `severity` 0 for a picture that isn't corrupted. `scale` is that of lengths, and `frame` the
        side of its frame in pixels, 0 for none.

        Raises:
            RecipeError: a picture's class is no output of a classifier that says what its outputs are.
        """
        corruptions = {sample.id: corruption_of(sample) for sample in samples}
        for row in predictions(samples, self.asked(ctx), ctx):
            yield {**row, **corruptions[str(row["id"])]}

    def figures(self, table: Table, ctx: Context) -> dict[str, Json]:
        """Errors in percent, by classifier.

        `kinds` has, by kind, the error at each of the `severities` and over them, and the kind's `ce` and
        `relative_ce`; `families` the mean error of their kinds; `mean_error` that of ImageNet-C's 15 kinds, as far as
        they are there, and `relative_error` what it is above the `clean_error`. A CE or mCE that can't be compared with
        AlexNet's errors is None; `why_no_ce` and `why_no_mce` say why. If `norm` is a classifier, an mCE is over the
        kinds that are there.
        """
        names = self.named(table)
        common: dict[str, Json] = {"confidence": self.confidence, "norm": self.norm, "names": list(names)}
        common["missing"] = [alias for alias in self.further if alias not in names]
        if not len(table):
            return {**common, "kinds": [], "why_no_ce": "there are no pictures", "unpaired": 0, "classifiers": {}}
        data = paired(table, names)
        cells = Cells.of(corruptions_of(table, data.variants))
        results = Results(
            Resamples(data.sources, self.bootstrap, self.confidence, derive_seed(ctx.seed, "corruption_error"))
        )
        norm = names.index(self.norm) if self.norm in names else None
        why_not = "norm is none" if self.norm == "none" else ""
        why_not = why_not or (why_no_norm(table, ctx.classes) if norm is None else "")
        classifiers: dict[str, Json] = {
            alias: {
                "outputs": data.outputs[number],
                "preprocessing": data.preprocessing[number],
                **errors(data, number, cells, why_not, results, norm),
            }
            for number, alias in enumerate(names)
        }
        results.fill()
        return {
            **common,
            "kinds": list(cells.kinds),
            "why_no_ce": why_not,
            "unpaired": max(unpaired(data, number) for number in range(len(names))),
            "classifiers": classifiers,
        }

    def rows(self, table: Table, ctx: Context) -> Iterator[Answers]:
        """How often each model is right on each kind and severity, on photographs whose originals were scored."""
        for asked in by_model(table):
            yield right(asked)

    def plots(self, figures: Mapping[str, Any]) -> dict[str, Plot]:
        """`kinds`: mean error by kind and classifier; for up to four classifiers one plot each, by severity."""
        names, kinds = figures["names"], figures["kinds"]
        if not kinds:
            return {}
        unit = "error in percent"
        of = {name: figures["classifiers"][name]["kinds"] for name in names}
        means = {name: tuple(point(of[name].get(kind, {}).get("error")) for kind in kinds) for name in names}
        found: dict[str, Plot] = {"kinds": IntervalPlot("Error by kind of corruption", unit, tuple(kinds), means)}
        levels = sorted({level for one in of.values() for kind in one.values() for level in kind["severities"]})
        for number, name in enumerate(names[:LONGEST] if len(levels) > 1 and len(names) <= LONGEST else (), 1):
            series = {
                f"severity {level}": tuple(
                    point(of[name].get(kind, {}).get("severities", {}).get(level)) for kind in kinds
                )
                for level in levels
            }
            found[f"severities_{number}"] = IntervalPlot(f"Error by severity: {name}", unit, tuple(kinds), series)
        return found


def right(asked: Asked) -> Answers:
    """A model's accuracy by kind and severity."""
    rows, requests = np.flatnonzero(asked.edit), asked.requests()
    names, variant = asked.variants(rows)
    keys = [(one["kind"], one["severity"]) for one in (requested(requests[name][0]) for name in names)]
    cells = Cells.of(keys)
    place = {key: number for number, key in enumerate(cells.keys)}
    cell = np.array([place.get(key, -1) for key in keys], np.int64)[variant]
    rows, cell = rows[cell >= 0], cell[cell >= 0]
    if not len(rows):
        return Answers("right", asked.model, why_not=NO_EDITS)
    severities = {severity for _, severity in cells.keys}
    return asked.share(
        "right",
        rows,
        asked.right[rows],
        cell,
        [f"{kind}_{severity}" for kind, severity in cells.keys],
        axes={
            "severity": tuple(float(severity) for _, severity in cells.keys),
            "kind": tuple(kind for kind, _ in cells.keys),
        },
        floor=1 / asked.outputs,
        note=f"{len(cells.kinds)} kinds × {len(severities)} severities",
    )


def corruption_of(sample: Sample) -> dict[str, Any]:
    """Kind, severity, scale and frame of a picture, as its last operation was asked for them."""
    return requested(sample.ops[-1]["requested"] if sample.ops else {})


def requested(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Kind, severity, scale and frame that an operation was asked for; the kind is `""` for another operation."""
    kind, severity = asked.get("kind"), asked.get("severity")
    if not isinstance(kind, str) or not isinstance(severity, int) or isinstance(severity, bool):
        return {"kind": "", "severity": 0, "scale": 0.0, "frame": 0}
    scale, frame = asked.get("scale"), asked.get("frame")
    return {
        "kind": kind,
        "severity": severity,
        "scale": float(scale) if isinstance(scale, int | float) else 0.0,
        "frame": frame if isinstance(frame, int) else 0,
    }


def corruptions_of(table: Table, variants: Sequence[str]) -> list[tuple[str, int]]:
    """Kind and severity of each variant."""
    names, first = np.unique(table["variant"].astype(str), return_index=True)
    kinds, severities = table["kind"][first], table["severity"][first]
    known = {
        str(name): (str(kind), int(severity)) for name, kind, severity in zip(names, kinds, severities, strict=True)
    }
    return [known[variant] for variant in variants]


def why_no_norm(table: Table, classes: Sequence[ClassInfo]) -> str:
    """Why AlexNet's errors say nothing about this edition; `""` if they do."""
    if [one.id for one in classes] != [one.wnid for one in imagenet()]:
        return f"AlexNet's errors are those on ImageNet's {OUTPUTS} classes, and this edition has others"
    corrupted = table["kind"] != ""
    frames, scales = (sorted(set(table[name][corrupted].tolist())) for name in ("frame", "scale"))
    if frames not in ([], [FRAME]):
        sides = ", ".join(f"{frame} pixels" if frame else "the whole picture" for frame in frames)
        return f"AlexNet's errors are those in frames of {FRAME} pixels, and this edition's are {sides}"
    if scales not in ([], [1.0]):
        others = ", ".join(f"{scale:g}" for scale in scales)
        return f"AlexNet's errors are those at a scale of 1, and this edition's is {others}"
    return ""
