"""How good a generated set is, variant by variant, against real pictures of the same classes.

Whether its pictures are recognised, how they lie among real ones and how diverse they are, and what a classifier
trained on them knows of real pictures. A real set of as many pictures is measured beside them: figures like these mean
little without it. The evaluation follows Bansal & Grover, Leaving Reality to Imagination (arXiv 2302.02503).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from pydantic import Field, model_validator

from evaluation.accuracy_drop import UNSCORED, label_index
from evaluation.sets.figures import Comparison
from evaluation.sets.pictures import Pictures, ranks
from generators.sources.imagenet import is_wnid, name_of
from generators.sources.imagenet import table as imagenet
from schemas.canonical import Json, derive_seed
from schemas.component import Context, Evaluation, NestedSource, Source
from schemas.sample import Sample
from variorum.columns import matrix, vector

if TYPE_CHECKING:
    import pyarrow as pa

BATCH = 32


class GeneratedSet(Evaluation):
    """Each variant of an edition is a set; a class counts that the edition and all references have."""

    revision = 2
    measured_by: ClassVar[frozenset[str]] = frozenset({"encoder", "judge", "perceptual"})

    train: NestedSource | None = None
    """Real pictures that the sets are compared with, and that heads are trained on; null for no comparison."""
    test: NestedSource | None = None
    """Other real pictures: what heads are tested on, and a set beside the generated ones."""
    shifted: NestedSource | None = None
    """Real pictures of another kind, for effective robustness."""
    encoder: str = "encoder"
    """Alias of the model whose embeddings all but recognition is measured in."""
    judge: str | None = "judge"
    """Alias of the classifier that recognises, of ImageNet or of its own classes; null for none."""
    perceptual: str | None = None
    """Alias of the model whose embeddings' squared distances are LPIPS; null for none."""
    neighbours: int = Field(default=5, ge=1)
    """Balls of precision, recall, density and coverage reach to this one."""
    fractions: tuple[float, ...] = Field(default=(0.125, 0.25, 0.5, 1.0), min_length=1)
    """Of each class's pictures, for the table over set sizes."""
    most: int = Field(default=10_000, ge=100)
    """Pictures of a set, at most, in the figures that compare every picture with every other."""
    bootstrap: int = Field(default=500, ge=100, le=100_000)
    """Resamples behind the intervals of effective robustness."""
    confidence: float = Field(default=0.95, gt=0, lt=1)
    """Of the intervals."""

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.train is None) != (self.test is None) or (self.shifted is not None and self.train is None):
            raise ValueError("train and test go together, and shifted goes with them")
        return self

    def aliases(self) -> tuple[str, ...]:
        """The models that it measures with; none of them may have filtered the edition."""
        return tuple(alias for alias in (self.encoder, self.judge, self.perceptual) if alias)

    def references(self) -> Mapping[str, Source]:
        """Those of `train`, `test` and `shifted` that there are."""
        named = {"train": self.train, "test": self.test, "shifted": self.shifted}
        return {name: source for name, source in named.items() if source is not None}

    def measure(self, samples: Iterable[Sample], ctx: Context) -> Iterator[Mapping[str, Any]]:
        """A row a picture: `label`, the judge's `top1` and its probability of the label, the `embedding` float32.

        `top1` is empty and `p_label` null where the label is none of the judge's classes. With `perceptual`, `look`
        is its embedding.
        """
        stream = iter(samples)
        while batch := list(islice(stream, BATCH)):
            images = [sample.image for sample in batch]
            embeddings = np.asarray(ctx.models.get(self.encoder)(images), dtype=np.float32)
            rows = [
                {"id": sample.id, "variant": sample.variant, **seen, "embedding": embedding}
                for sample, seen, embedding in zip(batch, self._seen(batch, ctx), embeddings, strict=True)
            ]
            if self.perceptual:
                for row, look in zip(rows, ctx.models.get(self.perceptual)(images), strict=True):
                    row["look"] = look
            yield from rows

    def _seen(self, batch: Sequence[Sample], ctx: Context) -> list[dict[str, Json]]:
        unseen: list[dict[str, Json]] = [
            {"label": s.labels[0] if s.labels else "", "top1": "", "p_label": None} for s in batch
        ]
        if self.judge is None:
            return unseen
        model = ctx.models.get(self.judge)
        own: tuple[str, ...] | None = getattr(model, "classes", None)
        names = own or [item.wnid for item in imagenet()]
        where = [own_index(sample.labels, own) if own else label_index(sample.labels) for sample in batch]
        for row, k, p in zip(unseen, where, model([sample.image for sample in batch]), strict=True):
            if k != UNSCORED:
                row |= {"label": names[k], "top1": names[int(p.argmax())], "p_label": float(p[k])}
        return unseen

    def summarise(self, table: pa.Table, seed: int) -> dict[str, Json]:
        """All figures; shares and accuracies in percent, differences in percentage points.

        `real` has those of test pictures, as many as the largest variant has, and `variants` those of each variant.
        What couldn't be measured is missing there and named, with the reason, in `not_measured`.
        """
        names = list(self.references())
        if not table.num_rows or (names and not (vector(table, "set") == "").any()):
            return {"n": 0, "variants": {}}
        table = table.sort_by([(name, "ascending") for name in (*(["set"] if names else []), "variant", "id")])
        variant, label = (vector(table, name) for name in ("variant", "label"))
        belongs = vector(table, "set") if names else np.full(len(label), "")
        if not (label[belongs == ""] != "").any():
            label = np.full(len(label), "")  # nothing is labelled: one class, so to speak
        of_set = {name: set(label[belongs == name]) for name in ("", *names)}
        common = set.intersection(*of_set.values())
        classes = sorted(common - {""} or common)
        index = {name: k for k, name in enumerate(classes)}
        y = np.array([index.get(name, -1) for name in label], dtype=np.int64)
        judged = vector(table, "top1")
        right = np.where(judged == "", np.nan, judged == vector(table, "label")).astype(float)
        x, looks = matrix(table, "embedding"), matrix(table, "look") if self.perceptual else None
        usable = (y >= 0) & np.isfinite(x).all(axis=1)

        def pictures(chosen: Any, name: str) -> Pictures:
            chosen = chosen & usable
            rng = np.random.default_rng(derive_seed(seed, "generated_set", name))
            every = Pictures(x, y, np.zeros_like(y), right, looks).where(chosen)
            return replace(every, rank=ranks(every.y, rng))

        generated = {
            str(name): pictures((belongs == "") & (variant == name), f"variant {name}")
            for name in sorted(set(variant[belongs == ""]))
        }
        comparison = Comparison(
            classes=classes,
            names=[class_name(item) for item in classes],
            real={name: pictures(belongs == name, name) for name in names},
            generated={name: found for name, found in generated.items() if len(found)},
            neighbours=self.neighbours,
            fractions=tuple(sorted(set(self.fractions))),
            most=self.most,
            bootstrap=self.bootstrap,
            confidence=self.confidence,
            seed=seed,
        )
        return {
            "n": int((belongs == "").sum()),
            "left_out": int(((belongs == "") & ~usable).sum()),
            "encoder": self.encoder,
            "judge": self.judge,
            "perceptual": self.perceptual,
            **comparison.figures(),
        }


def class_name(identity: str) -> str:
    """What people call a class: ImageNet's by name and id, others by their id."""
    return f"{name_of(identity)} ({identity})" if is_wnid(identity) else identity


def own_index(labels: Sequence[str], classes: Sequence[str]) -> int:
    """Index of the first label that is one of the classes; UNSCORED when none is."""
    return next((classes.index(label) for label in labels if label in classes), UNSCORED)
