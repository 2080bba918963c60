"""Asks a classifier whether a picture shows the class that it was made for: the filter of generated sets.

The classifier may be zero-shot (CLIP, Radford et al., ICML 2021), one for ImageNet, or one for the dataset's own
classes; it should have been trained on real pictures only. A low probability may mean wrong or merely rare. Real
pictures of the classes say how low is too low: a threshold that drops few of them holds for any classifier and any
classes. Without them the threshold is a low constant, as a strict filter would keep only the classifier's favourites.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field, field_validator

from variorum.kit.labels.classes import most_flagged
from variorum.kit.prompts.prompts import PHOTO, Template, Words, check_templates
from variorum.kit.resampling.thresholds import conformal_threshold, needed
from variorum.models.imagenet_classes import class_infos
from variorum.schemas.canonical import Json
from variorum.schemas.component import ClassInfo, Context, Detector, Source, Use, column_kinds
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import NestedSource
from variorum.schemas.sample import Sample
from variorum.schemas.table import Table

if TYPE_CHECKING:
    from variorum.arrays import Floats, Ints


class ClassAgreement(Detector):
    """The label's probability and rank under a classifier, and a flag for labels that it finds very unlikely."""

    gives: ClassVar[Mapping[str, str]] = column_kinds(numbers="p rank proposed score", flags="flag")
    revision: ClassVar[int] = 2
    late: ClassVar[frozenset[str]] = frozenset({"real", "share", "least", "top"})

    model: str = "judge"
    """Alias of a classifier: `judge`, `classifier` or `zero_shot`. It may not evaluate the release afterwards."""
    template: str = PHOTO
    """Text for a zero-shot model, with `{name}` for the class name."""
    real: NestedSource | None = None
    """Real pictures of the classes, other than those that the classifier was trained on, which set the threshold."""
    share: float = Field(default=0.05, gt=0, lt=1)
    """At most this share of further real pictures would be flagged; needs `real`."""
    least: float = Field(default=0.05, ge=0, le=1)
    """The threshold without `real`: a label with a lower probability is flagged, unless it is among the `top`."""
    top: int = Field(default=1, ge=1)
    """Number of likeliest classes that are never flagged; 5 suits a thousand classes with near synonyms."""

    @field_validator("template")
    @classmethod
    def _has_a_name(cls, value: str) -> str:
        check_templates((value,))
        if Template("", "own", value).fields != {"name"}:
            raise ValueError("must contain {name} and no other field")
        return value

    def uses(self) -> list[Use]:
        """Return the classifier."""
        return [Use(self.model)]

    def references(self) -> Mapping[str, Source]:
        """`real`, if given."""
        return {"real": self.real} if self.real else {}

    def check(self, ctx: Context) -> None:
        """Raise RecipeError if `real` has too few pictures for a threshold that flags only `share` of them."""
        if self.real and (size := self.real.size(ctx)) < needed(self.share):
            raise RecipeError(
                f"class_agreement.real: {size} pictures are too few for share {self.share:g}; give at least "
                f"{needed(self.share)}, or a larger share"
            )

    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterator[Mapping[str, Any]]:
        """`p` of the label, its `rank` from 1, and `proposed`, the likeliest class's index in the edition's class list.

        `p` and `rank` are NaN and 0 without a label or with one that the classifier doesn't know; `proposed` is -1 if
        the edition doesn't have the likeliest class.
        """
        images = [sample.image for sample in samples]
        known, probabilities = class_probabilities(ctx.models.get(self.model), images, ctx.classes, self.template)
        column = {identity: k for k, identity in enumerate(known)}
        index = {info.id: k for k, info in enumerate(ctx.classes)}
        label = np.array([column.get(s.labels[0], -1) if s.labels else -1 for s in samples], dtype=np.int64)
        p, rank = probability_and_rank(probabilities, label)
        for k, best in enumerate(probabilities.argmax(axis=1).tolist()):
            yield {"p": float(p[k]), "rank": int(rank[k]), "proposed": index.get(known[best], -1)}

    def score(self, table: Table, ctx: Context) -> Mapping[str, Any]:
        """`score`, which is 1 - p, and `flag`."""
        p, rank = table["p"], table["rank"]
        return {"score": 1 - p, "flag": (p < self._threshold(table)) & (rank > self.top)}

    def _threshold(self, table: Table) -> float:
        """The probability below which a label is doubted."""
        if not self.real:
            return self.least
        p = table.references["real"]["p"]
        p = p[~np.isnan(p)]
        found = conformal_threshold(1 - p, np.arange(len(p)), self.share)
        return 1 - found.score if found else 0.0

    def figures(self, table: Table, ctx: Context) -> Mapping[str, Json]:
        """Numbers judged and flagged, the share whose label ranks first by variant, and the most flagged classes."""
        p, rank, flag = (table[column] for column in ("p", "rank", "flag"))
        judged, variant = ~np.isnan(p), table["variant"]
        return {
            "judged": int(judged.sum()),
            "flagged": int(flag.sum()),
            "agrees": {
                str(one): round(float((rank[judged & (variant == one)] == 1).mean()), 4)
                for one in np.unique(variant[judged])
            },
            "most_flagged_classes": dict(most_flagged(table, flag)) if flag.any() else {},
        }


def class_probabilities(
    model: Any, images: Sequence[Any], classes: Sequence[ClassInfo], template: str
) -> tuple[list[str], Floats]:
    """Predictions of any of the three kinds of classifiers.

    Returns:
        Ids of the K classes that the model tells apart, and probabilities `[N, K]`. For a zero-shot model these are
        the softmax over the dataset's classes, each described by the template.
    """
    if hasattr(model, "temperature"):
        known = [info.id for info in classes]
        described = Template("own", "own", template)
        logits = model(images, [described.prompt(Words(info.name).by_field) for info in classes]) * model.temperature
        p = np.exp(np.float64(logits) - np.max(logits, axis=1, keepdims=True, initial=-np.inf))
        return known, p / p.sum(axis=1, keepdims=True)
    known = list(getattr(model, "classes", ())) or [info.id for info in class_infos()]
    return known, np.asarray(model(images), dtype=np.float64)


def probability_and_rank(probabilities: Floats, label: Ints) -> tuple[Floats, Ints]:
    """Probability `[N]` of each label and its rank `[N]` from 1, ties in its favour; NaN and 0 for a label of -1.

    Args:
        probabilities: `[N, K]`.
        label: `[N]` in 0..K-1, or -1.
    """
    rows = np.arange(len(label))
    p = np.where(label >= 0, probabilities[rows, label], np.nan)
    rank = np.where(label >= 0, 1 + (probabilities > p[:, None]).sum(axis=1), 0)
    return p, rank
