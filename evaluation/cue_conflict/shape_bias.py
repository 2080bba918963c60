"""Measure shape bias: whether classifiers follow shape or texture where the two are of different classes.

After Geirhos et al., ICLR 2019 (arXiv 1811.12231): of the decisions for either cue, the share for the shape. It means
little where most decisions are for neither, so the share of decisions for one of the two, the cover, is beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from variorum.evaluation.cue_conflict.cues import Answers, in_order
from variorum.kit.labels.categories import category_of
from variorum.kit.predicted.answers import lender, outputs_of
from variorum.kit.predicted.drops import Results
from variorum.kit.predicted.fields import OfFamilies
from variorum.kit.predicted.offered import Asked, by_model
from variorum.kit.predicted.pairing import lenders_of, roots, units_of
from variorum.kit.predicted.resamples import Resamples
from variorum.kit.predicted.two_cues import by_category, cues_of, decision
from variorum.schemas.canonical import Json, derive_seed
from variorum.schemas.component import Context, Row
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import cut
from variorum.schemas.plot import IntervalPlot, Plot, point
from variorum.schemas.rows import Answers as Told
from variorum.schemas.rows import Figure
from variorum.schemas.sample import Sample
from variorum.schemas.table import Table


class ShapeBias(OfFamilies):
    """Decisions for shape, texture or neither, with bootstrap intervals over the photographs.

    It reads editions of the generator `cue_conflict`: a picture has two cues if one of its operations names a shape and
    a texture. A classifier decides twice: among sixteen categories, by the mean probability over each category's
    classes of ImageNet, and among all of its outputs. The first is asked of pictures whose two classes belong to
    different categories, the second of all.
    """

    revision = 3
    offers: ClassVar[Mapping[str, Figure]] = {
        "shape": Figure("decisions for the shape, of those for shape or texture", better="none"),
        "cover": Figure("decisions for shape or texture", better="none"),
    }

    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterator[Row]:
        """One row per classifier and picture that has two cues, or a class in one of the sixteen categories.

        `sixteen` is the category that a classifier decides for, `""` if it doesn't have all sixteen. `all` is its
        decision among all outputs: `shape`, `texture`, `neither`, or `""` where it lacks one of the classes. The
        probabilities `p_…` are those of the two classes, and the means over the classes of their categories.

        Raises:
            RecipeError: a model is a detector, or a picture's class is no output of a classifier that says what its
                outputs are.
        """
        found = {place: cues for place, sample in enumerate(samples) if (cues := cues_of(sample)) is not None}
        if not found:
            return
        places, asked = list(found), [(samples[place], cues) for place, cues in found.items()]
        # a folder called `cat` has a category, and need be no output
        occurring = {label for _, cues in asked for label in cues if category_of(label) != label.casefold()}
        for alias in self.asked(ctx):
            model = ctx.models.get(alias)
            if hasattr(model, "knows"):
                raise RecipeError(f"{cut(repr(alias))} is a detector; name a classifier, such as classifier_small")
            # of all pictures, so that a model that another evaluation asks sees each once
            probabilities = model([sample.image for sample in samples])[places]
            outputs = probabilities.shape[1]
            output_of = outputs_of(alias, model, ctx, occurring, outputs)
            means = by_category(model, probabilities)
            for (sample, cues), row, mean in zip(asked, probabilities, means, strict=True):
                yield {
                    "id": sample.id,
                    "parent": sample.parent,
                    "variant": sample.variant,
                    "classifier": alias,
                    **decision(cues, row, mean, output_of),
                    "outputs": outputs,
                    "preprocessing": str(getattr(model, "preprocessing", "")),
                    "lender": lender(sample),
                }

    def figures(self, table: Table, ctx: Context) -> dict[str, Json]:
        """By classifier: `conflicts`, by stimulus and then by decision, `sixteen` or `all`; and `accuracies`.

        A decision has `n` pictures of `photographs` photographs, of which it was for the shape in `shape`, for the
        texture in `texture`, and for another class in `neither`. `cover` is the share of the first two, `bias` that of
        the shape among them, None without any; `few` says that the cover is below 0.3, or that they are fewer than 10.
        `leaning` is the share of pictures in which the shape's class is more probable than the texture's, whatever the
        decision. Shares are in percent. `accuracies` has, by variant, how often the decision among sixteen is right on
        pictures with one cue.
        """
        names = self.named(table)
        common: dict[str, Json] = {"confidence": self.confidence, "names": list(names)}
        common["missing"] = [alias for alias in self.further if alias not in names]
        classifiers: dict[str, Json] = {}
        if len(table):
            texts = {name: table[name].astype(str) for name in ("id", "parent", "classifier")}
            root = roots(dict(zip(texts["id"], texts["parent"], strict=True)))
            sources, source = np.unique([root[one] for one in texts["id"]], return_inverse=True)
            seed = derive_seed(ctx.seed, "shape_bias")
            unit, units = units_of(source, lenders_of(table.column("lender")), len(sources))
            results = Results(Resamples(len(sources), self.bootstrap, self.confidence, seed, units))
            for name in names:
                mine = np.flatnonzero(texts["classifier"] == name)
                if len(mine):
                    answers = Answers(
                        table,
                        mine,
                        source[mine],
                        unit[mine],
                        len(sources) if units is None else len(units.source),
                        results,
                    )
                    classifiers[name] = {
                        "outputs": int(table["outputs"][mine[0]]),
                        "preprocessing": str(table["preprocessing"][mine[0]]),
                        "conflicts": answers.conflicts(),
                        "accuracies": answers.accuracies(),
                    }
            results.fill()
        return {**common, "classifiers": classifiers}

    def rows(self, table: Table, ctx: Context) -> Iterator[Told]:
        """Decisions among sixteen categories by stimulus: the share for the `shape`, and the `cover`, as in `figures`.

        A photograph counts for `shape` if a decision was for its shape or its texture.
        """
        for asked in by_model(table):
            yield from decided(asked)

    def plots(self, figures: Mapping[str, Any]) -> dict[str, Plot]:
        """`sixteen`: how often the decision among sixteen categories is right, by variant and classifier."""
        given = {name: figures["classifiers"][name] for name in figures["names"] if name in figures["classifiers"]}
        rows = tuple(in_order({variant for one in given.values() for variant in one["accuracies"]}))
        if not rows:
            return {}
        series = {
            name: tuple(point(one["accuracies"].get(variant, {}).get("accuracy")) for variant in rows)
            for name, one in given.items()
        }
        return {"sixteen": IntervalPlot("Right among sixteen categories", "accuracy in percent", rows, series)}


def decided(asked: Asked) -> Iterator[Told]:
    """A model's decisions for shape and texture."""
    said, *cues = (asked.table[name] for name in ("sixteen", "shape_category", "texture_category"))
    two = asked.table["texture_label"] != ""
    unlike = two & (cues[0] != "") & (cues[1] != "") & (cues[0] != cues[1])
    rows = np.flatnonzero(unlike & (said != ""))
    if not len(rows):
        why = "it lacks some of the sixteen categories" if unlike.any() else "no picture has two cues"
        if two.any() and not unlike.any():
            why = "no picture has the shape and the texture of two of the sixteen categories"
        yield from (Told(figure, asked.model, why_not=why) for figure in ShapeBias.offers)
        return
    shape, texture = (said[rows] == cue[rows] for cue in cues)
    either = shape | texture
    names, column = asked.variants(rows)
    note, axes = f"{either.sum()} of {len(rows)} decisions", {"variant": tuple(names)}
    if either.any():
        yield asked.share("shape", rows[either], shape[either], column[either], names, axes=axes, note=note)
    else:
        yield Told("shape", asked.model, why_not="no decision was for the shape or the texture")
    yield asked.share("cover", rows, either, column, names, axes=axes, note=note)
