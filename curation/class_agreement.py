"""Asks a classifier whether a picture shows the class that it was made for: the filter of generated sets.

The classifier may be zero-shot (CLIP, Radford et al., ICML 2021), one of ImageNet, or one of the dataset's own
classes; it should have been trained on real pictures only. What it thinks little of may be odd or merely rare, so the
bar is low: a filter that keeps what a model likes makes a set of that model's favourites.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from curation.labels.classes import most_flagged
from generators.prompting.prompts import PHOTO, Template, Words, check_templates
from generators.sources.imagenet import class_infos
from schemas.canonical import Json
from schemas.component import ClassInfo, Context, CurationStep
from schemas.sample import Sample
from variorum.columns import vector

if TYPE_CHECKING:
    import pyarrow as pa


class ClassAgreement(CurationStep):
    """The label's probability and rank under a classifier, and a flag for labels that it all but rules out."""

    measured_by: ClassVar[frozenset[str]] = frozenset({"model", "template"})
    measured_with: ClassVar[frozenset[str]] = frozenset({"classes"})
    scored_by: ClassVar[frozenset[str]] = frozenset({"least", "top"})

    model: str = "judge"
    """Alias of a classifier, `judge`, `classifier` or `zero_shot`. It may not judge the release afterwards."""
    template: str = PHOTO
    """Of a zero-shot model's texts, with `{name}` for the class's name."""
    least: float = Field(default=0.05, ge=0, le=1)
    """A label with less probability than this is flagged, …"""
    top: int = Field(default=1, ge=1)
    """… unless it is among so many of the likeliest; 5 suits a thousand classes, which have near synonyms."""

    @field_validator("template")
    @classmethod
    def _has_a_name(cls, value: str) -> str:
        check_templates((value,))
        if Template("", "own", value).fields != {"name"}:
            raise ValueError("must have {name} in it and no other field")
        return value

    def aliases(self) -> tuple[str, ...]:
        """The classifier."""
        return (self.model,)

    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterator[Mapping[str, Any]]:
        """`p` of the label, its `rank` from 1, and `proposed`, the likeliest class's index in the edition's list.

        A picture without a label, or with one that the classifier doesn't know, has NaN and 0; a likeliest class that
        the edition hasn't is -1.
        """
        classes = ctx.source.classes(ctx) if ctx.source else ()
        known, probabilities = seen(ctx.models.get(self.model), [s.image for s in samples], classes, self.template)
        column = {identity: k for k, identity in enumerate(known)}
        index = {info.id: k for k, info in enumerate(classes)}
        label = np.array([column.get(s.labels[0], -1) if s.labels else -1 for s in samples], dtype=np.int64)
        p, rank = agreement(probabilities, label)
        for k, best in enumerate(probabilities.argmax(axis=1).tolist()):
            yield {"p": float(p[k]), "rank": int(rank[k]), "proposed": index.get(known[best], -1)}

    def score(self, table: pa.Table, ctx: Context) -> Mapping[str, Any]:
        """`score`, 1 - p, and `flag`."""
        name = self.component_name()
        p, rank = vector(table, f"{name}.p"), vector(table, f"{name}.rank")
        return {"score": 1 - p, "flag": (p < self.least) & (rank > self.top)}

    def summarise(self, table: pa.Table) -> Mapping[str, Json]:
        """How many were judged and flagged, the share whose label ranks first by variant, and the classes flagged."""
        name = self.component_name()
        p, rank, flag = (vector(table, f"{name}.{column}") for column in ("p", "rank", "flag"))
        judged, variant = ~np.isnan(p), vector(table, "variant")
        return {
            "judged": int(judged.sum()),
            "flagged": int(flag.sum()),
            "agrees": {
                str(one): round(float((rank[judged & (variant == one)] == 1).mean()), 4)
                for one in np.unique(variant[judged])
            },
            "most_flagged_classes": dict(most_flagged(table, flag)) if flag.any() else {},
        }


def seen(
    model: Any, images: Sequence[Any], classes: Sequence[ClassInfo], template: str
) -> tuple[list[str], NDArray[np.float64]]:
    """What any of the three kinds of classifiers sees in pictures.

    Returns:
        Ids of the K classes that it tells apart, and probabilities `[N, K]`: of a zero-shot model the softmax over the
        dataset's classes, each described by the template.
    """
    if hasattr(model, "temperature"):
        known = [info.id for info in classes]
        described = Template("own", "own", template)
        logits = model(images, [described.prompt(Words(info.name).by_field) for info in classes]) * model.temperature
        p = np.exp(np.float64(logits) - np.max(logits, axis=1, keepdims=True, initial=-np.inf))
        return known, p / p.sum(axis=1, keepdims=True)
    known = list(getattr(model, "classes", ())) or [info.id for info in class_infos()]
    return known, np.asarray(model(images), dtype=np.float64)


def agreement(probabilities: NDArray[np.float64], label: NDArray[np.int64]) -> tuple[NDArray[np.float64], Any]:
    """Probability `[N]` of each label and its rank `[N]` from 1, ties to its favour; NaN and 0 for a label of -1.

    Args:
        probabilities: `[N, K]`.
        label: `[N]` in 0..K-1, or -1.
    """
    rows = np.arange(len(label))
    p = np.where(label >= 0, probabilities[rows, label], np.nan)
    rank = np.where(label >= 0, 1 + (probabilities > p[:, None]).sum(axis=1), 0)
    return p, rank
