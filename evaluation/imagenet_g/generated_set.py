"""Measure the quality of generated sets, variant by variant, against real pictures of the same classes.

Measures whether a classifier recognises the pictures, how close they are to real ones, how diverse they are, and how
well a classifier trained on them does on real pictures. A real set of the same size is measured alongside, as the
scale for all figures. The evaluation follows Bansal & Grover, Leaving Reality to Imagination (arXiv 2302.02503).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from variorum.evaluation.imagenet_g.figures import SHIFTED, Comparison
from variorum.kit.pictures.thumbnails import averaged, luma
from variorum.kit.predicted.answers import label_index
from variorum.kit.predicted.pairing import UNSCORED
from variorum.kit.sets.network_score import SIDE
from variorum.kit.sets.pictures import Pictures, ranks
from variorum.models.imagenet_classes import is_wnid, name_of
from variorum.models.imagenet_classes import table as imagenet
from variorum.schemas.canonical import Json, derive_seed
from variorum.schemas.component import Context, Evaluation, Row, Source, Use
from variorum.schemas.lookup import NestedSource
from variorum.schemas.sample import Sample
from variorum.schemas.table import Table


class GeneratedSet(Evaluation):
    """Each variant of an edition is one set. Only classes that the edition and all references have are counted."""

    revision = 3
    late: ClassVar[frozenset[str]] = frozenset(
        {"train", "test", "shifted", "neighbours", "fractions", "most", "steps", "bootstrap", "confidence"}
    )

    train: NestedSource | None = None
    """Real pictures to compare the sets with and to train classifiers on; null for no comparison. Effective robustness,
    and what more real pictures would give, need twice as many of each class as a variant has."""
    test: NestedSource | None = None
    """Other real pictures: classifiers are tested on them, and they are measured as a set like the generated ones."""
    shifted: tuple[NestedSource, ...] = ()
    """Real pictures under distribution shifts, for effective robustness: a source, or a list of sources. A shift that
    resembles the faults of generated pictures, such as noise, flatters classifiers trained on them."""
    encoder: str = "encoder"
    """Alias of the model that embeds the pictures; used by all figures except recognition and LPIPS."""
    judge: str | None = "judge"
    """Alias of the classifier for recognition, with ImageNet's classes or its own; null for none."""
    perceptual: str | None = None
    """Alias of the model whose embeddings have LPIPS as their squared distances; null for none."""
    neighbours: int = Field(default=5, ge=1)
    """k of the nearest-neighbour balls of precision, recall, density and coverage."""
    fractions: tuple[float, ...] = Field(default=(0.0625, 0.125, 0.25, 0.5, 1.0), min_length=1)
    """Shares of each class's pictures, for the table over set sizes and the power law through it."""
    most: int = Field(default=10_000, ge=100)
    """Maximum number of pictures per set in the figures that compare all pairs."""
    steps: int = Field(default=200, ge=0, le=100_000)
    """Number of steps, of 32 pictures each, for which small networks are trained from scratch; 0 for no networks."""
    bootstrap: int = Field(default=500, ge=100, le=100_000)
    """Number of resamples for the intervals of effective robustness and power laws."""
    confidence: float = Field(default=0.95, gt=0, lt=1)
    """Level of the intervals, in (0, 1)."""

    @field_validator("shifted", mode="before")
    @classmethod
    def _several(cls, value: Any) -> Any:
        return value if isinstance(value, list | tuple) else [] if value is None else [value]

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.train is None) != (self.test is None) or (self.shifted and self.train is None):
            raise ValueError("train and test go together, and shifted goes with them")
        return self

    def uses(self) -> list[Use]:
        """Return the models used; none of them may have filtered the edition."""
        named = (Use(self.encoder or "", "encoder"), Use(self.judge or "", "classifier"), Use(self.perceptual or ""))
        return [one for one in named if one.alias]

    def references(self) -> Mapping[str, Source]:
        """The given ones of `train` and `test`, and `shifted_<kind>` or `shifted_<source>` for each shift."""
        named = {name: source for name, source in (("train", self.train), ("test", self.test)) if source is not None}
        for source in self.shifted:
            name = f"{SHIFTED}{getattr(source, 'kind', source.component_name())}"
            named[name if name not in named else f"{name}_{len(named) - 1}"] = source
        return named

    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterator[Row]:
        """One row per picture: `label`, the judge's `top1`, its probability `p_label` of the label, `embedding`.

        `top1` is empty and `p_label` null if the label is not one of the judge's classes. `look` is the embedding by
        `perceptual`, if that is named. `grey` has the grey levels of the small picture, for networks.
        """
        images = [sample.image for sample in samples]
        embeddings = np.asarray(ctx.models.get(self.encoder)(images), dtype=np.float32)
        looks = ctx.models.get(self.perceptual)(images) if self.perceptual else [None] * len(images)
        for sample, seen, embedding, look in zip(samples, self._seen(samples, ctx), embeddings, looks, strict=True):
            assert not isinstance(sample.image, bytes)
            grey = averaged(luma(sample.image), SIDE).reshape(-1)
            row = {"id": sample.id, "variant": sample.variant, **seen, "embedding": embedding, "grey": grey}
            yield row if look is None else {**row, "look": look}

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

    def figures(self, table: Table, ctx: Context) -> dict[str, Json]:
        """All figures; shares and accuracies in percent, differences in percentage points.

        `variants` has the figures of each variant, `real` those of test pictures, as many as the largest variant has.
        `not_measured` names the figures that are missing, each with the reason.
        """
        names = list(self.references())
        if not len(table) or (names and not (table["set"] == "").any()):
            return {"n": 0, "variants": {}}
        order = [(name, "ascending") for name in (*(["set"] if names else []), "variant", "id")]
        table = replace(table, arrow=table.arrow.sort_by(order))
        variant, label = table["variant"], table["label"]
        belongs = table["set"] if names else np.full(len(label), "")
        if not (label[belongs == ""] != "").any():
            label = np.full(len(label), "")  # without any label all pictures form one class
        of_set = {name: set(label[belongs == name]) for name in ("", *names)}
        common = set.intersection(*of_set.values())
        classes = sorted(common - {""} or common)
        index = {name: k for k, name in enumerate(classes)}
        y = np.array([index.get(name, -1) for name in label], dtype=np.int64)
        judged = table["top1"]
        right = np.where(judged == "", np.nan, judged == table["label"]).astype(float)
        x, grey, looks = table["embedding"], table["grey"], table["look"] if self.perceptual else None
        usable = (y >= 0) & np.isfinite(x).all(axis=1)

        def pictures(chosen: Any, name: str) -> Pictures:
            chosen = chosen & usable
            rng = np.random.default_rng(derive_seed(ctx.seed, "generated_set", name))
            every = Pictures(x, y, np.zeros_like(y), right, looks, grey).where(chosen)
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
            seed=ctx.seed,
            steps=self.steps,
        )
        return {
            "n": int((belongs == "").sum()),
            "left_out": int(((belongs == "") & ~usable).sum()),
            "encoder": self.encoder,
            "judge": self.judge,
            "perceptual": self.perceptual,
            "steps": self.steps,
            **comparison.figures(),
        }


def class_name(identity: str) -> str:
    """A class's name for people: name and wnid for ImageNet's classes, the id for others."""
    return f"{name_of(identity)} ({identity})" if is_wnid(identity) else identity


def own_index(labels: Sequence[str], classes: Sequence[str]) -> int:
    """Index of the first label that is one of the classes; UNSCORED if none is."""
    return next((classes.index(label) for label in labels if label in classes), UNSCORED)
