"""Measure whether an encoder retrieves a photograph, or one of its class, when the query or the gallery is changed.

After Wu et al., Are Neural Ranking Models Robust? (ACM TOIS 2022, arXiv 2108.05018), who ask it of text retrieval: how
much the quality varies over queries, what it loses on other queries and on another collection, and what is left against
an adversary. Here the other queries are an edition's edits, and the adversary picks the worst edit of each photograph.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from variorum.evaluation.content_dilution.editions import DISTRACTORS, edition_of, robustness
from variorum.evaluation.content_dilution.figures import Relevance
from variorum.evaluation.content_dilution.recall import recalled
from variorum.kit.predicted.drops import Results
from variorum.kit.predicted.fields import Resampled
from variorum.kit.predicted.resamples import Resamples
from variorum.models.gives import embeddings
from variorum.schemas.canonical import Json, derive_seed
from variorum.schemas.component import Context, Row, Source, Use
from variorum.schemas.lookup import NestedSource
from variorum.schemas.plot import IntervalPlot, Plot, point
from variorum.schemas.rows import Answers, Figure
from variorum.schemas.sample import Sample
from variorum.schemas.table import Table


class RetrievalRobustness(Resampled):
    """Recall, MRR@10 and mAP of edited queries in a gallery of originals, and of originals in edited galleries.

    Similarity is the cosine of embeddings. The edition must have originals; a gallery of few pictures is easy, so name
    distractors.
    """

    late: ClassVar[frozenset[str]] = frozenset({"relevance", "distractors", "bootstrap", "confidence"})

    offers: ClassVar[Mapping[str, Figure]] = {
        "recall": Figure("found first among the originals", needs=("embedding",), gap="1/rank of its photograph"),
    }

    encoder: str = "encoder"
    """Alias or name of the model that is judged by its embeddings, of a classifier what its last layer gets; it may not
    have filtered the edition."""
    relevance: Relevance = "parent"
    """`parent`: relevant is the original that the query was made from. `label`: relevant are originals of other
    photographs with a common class."""
    distractors: NestedSource | None = None
    """Source of further pictures for every gallery. By `label`, those with the query's class are relevant too."""

    def uses(self) -> list[Use]:
        """Return the encoder."""
        return [Use(self.encoder, "embedding")]

    def references(self) -> Mapping[str, Source]:
        """The distractors, if any."""
        return {DISTRACTORS: self.distractors} if self.distractors is not None else {}

    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterator[Row]:
        """One row per picture: `id`, `parent`, `variant`, `kind`, `labels` as JSON, and `embedding`.

        `kind` is what the last operation was asked for, such as `fog`, or else the variant.

        Raises:
            RecipeError: the model gives no embedding.
        """
        found = embeddings(self.encoder, ctx.models.get(self.encoder), [sample.image for sample in samples])
        for sample, embedding in zip(samples, found, strict=True):
            kind = sample.ops[-1]["requested"].get("kind") if sample.ops else None
            yield {
                "id": sample.id,
                "parent": sample.parent,
                "variant": sample.variant,
                "kind": kind if isinstance(kind, str) else sample.variant,
                "labels": json.dumps(sorted(sample.labels)),
                "embedding": embedding,
            }

    def figures(self, table: Table, ctx: Context) -> dict[str, Json]:
        """Figures in percent, by `variants`, `kinds` and, for corruptions, `families`.

        `clean` has those of originals in the gallery of originals, `queries` those of all edits, `adversarial` those of
        each photograph's worst edit. A kind and a family have a `drop_rate` of edited queries, and in `corpus` what
        originals find among edited pictures. `left_out` counts pictures without a finite embedding.
        """
        edition = edition_of(table, with_labels=self.relevance == "label")
        common: dict[str, Json] = {
            "encoder": self.encoder,
            "relevance": self.relevance,
            "confidence": self.confidence,
            "gallery": edition.gallery(),
            "left_out": len(table) - len(edition.variant),
        }
        if not edition.usable():
            return {**common, "why_not": "it takes originals and edits of them", "variants": {}, "kinds": {}}
        seed = derive_seed(ctx.seed, "retrieval_robustness")
        results = Results(Resamples(edition.photographs(), self.bootstrap, self.confidence, seed))
        figures = robustness(edition, self.relevance, results)
        results.fill()
        return {**common, **figures}

    def rows(self, table: Table, ctx: Context) -> Iterator[Answers]:
        """Yield `recall`: whether each edit finds its photograph first in the gallery of originals, by variant."""
        edition = edition_of(table, with_labels=self.relevance == "label")
        if not edition.usable():
            yield Answers("recall", self.encoder, why_not="it takes originals and edits of them")
        else:
            yield recalled(self.encoder, edition, self.relevance)

    def plots(self, figures: Mapping[str, Any]) -> dict[str, Plot]:
        """`kinds`: the drop rates of edited queries and of edited galleries, by kind."""
        kinds = figures["kinds"]
        if not kinds:
            return {}
        series = {
            "edited queries": tuple(point(one["drop_rate"]) for one in kinds.values()),
            "edited gallery": tuple(point(one["corpus"]["drop_rate"]) for one in kinds.values()),
        }
        return {"kinds": IntervalPlot("MRR lost, by kind", "drop rate in percent", tuple(kinds), series)}
