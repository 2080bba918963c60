"""Captions of the pictures of a source that are most like a given one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from variorum.edition.samples import photograph_of
from variorum.kit.pictures.pool import Lenders, ring
from variorum.schemas.annotations import Annotations
from variorum.schemas.canonical import Json, digest
from variorum.schemas.component import Context
from variorum.schemas.sample import Lender, Sample

if TYPE_CHECKING:
    from variorum.arrays import Pixels, Singles

BATCH = 32
NEAREST = 10
"""Pictures whose captions are tried, the most similar one first."""


class Near(NamedTuple):
    """A caption of another picture.

    Attributes:
        caption: its text.
        similarity: cosine of the angle between the embeddings of the two pictures.
        passed_over: how many pictures that are more similar have no caption that fits.
        made_of: the picture whose caption it is, and what is in that.
    """

    caption: str
    similarity: float
    passed_over: int
    made_of: tuple[Lender, ...]


@dataclass
class Neighbours:
    """Pictures with captions, by how similar their embeddings are.

    They are the same for the whole edition, whatever the units, and are embedded once: the memo keeps them.

    Attributes:
        ctx: `ctx.source` has the pictures, as the generators before this one let them through.
        encoder: alias of the encoder.
        wanted: how many pictures of the source are looked at.
        least: similarity from which a picture is looked at.
    """

    ctx: Context
    encoder: str
    wanted: int
    least: float
    _kept: tuple[Singles, list[Mapping[str, Any]]] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._lenders = Lenders(self.ctx, self.wanted)

    def nearest(self, sample: Sample, image: Pixels, caption: str, fits: Callable[[str], bool]) -> Near | None:
        """The caption of the most similar picture of which `fits` is true; None if it is true of none of the nearest.

        It is of the same split, and neither of the same photograph nor with the same caption; nor is it of a restricted
        picture, unless the sample is restricted too.
        """
        vectors, told = self._pictures()
        photograph = photograph_of(sample)
        allowed = [
            place
            for place, one in enumerate(told)
            if one["split"] == sample.split
            and one["photograph"] != photograph
            and one["caption"] != caption
            and (sample.restricted or not one["restricted"])
        ]
        if not allowed:
            return None
        similar = vectors[allowed] @ _directions(self.ctx.models.get(self.encoder)([image]))[0]
        for passed, place in enumerate((-similar).argsort(kind="stable")[:NEAREST].tolist()):
            found = told[allowed[place]]
            if similar[place] >= self.least and fits(found["caption"]):
                return Near(found["caption"], float(similar[place]), passed, tuple(found["made_of"]))
        return None

    def _pictures(self) -> tuple[Singles, list[Mapping[str, Any]]]:
        """Directions `[n, d]`, and for each picture its caption, photograph, split, and what it lends."""
        source, ctx = self.ctx.source, self.ctx
        if self._kept is None and source is not None:
            shares: Json = {str(name): share for name, share in ctx.splits.items()}
            pin = ctx.models.pin(self.encoder)
            key = digest(
                ["neighbours' captions", source.fingerprint(), source.pin(ctx), shares, ctx.seed, self.wanted, pin]
            )
            found = ctx.memo(key, self._compute)
            self._kept = np.asarray(found["vectors"], np.float32), json.loads(found["told"].tobytes())
        return self._kept or (np.zeros((0, 1), np.float32), [])

    def _compute(self) -> dict[str, np.ndarray[Any, Any]]:
        source, ctx = self.ctx.source, self.ctx
        assert source is not None
        images: list[Pixels] = []
        vectors: list[Singles] = []
        told: list[dict[str, Any]] = []
        encoder = ctx.models.get(self.encoder)
        for position in sorted(ring(source.size(ctx), ctx.seed)[: self.wanted].tolist()):
            sample = self._lenders.read(position)
            if sample is None or isinstance(sample.image, bytes) or not (caption := caption_of(sample)):
                continue
            said = {"caption": caption, "photograph": sample.photograph, "split": sample.split}
            told.append({**said, "restricted": sample.restricted, "made_of": sample.lent()})
            images.append(sample.image)
            if len(images) == BATCH:
                vectors.append(_directions(encoder(images)))
                images = []
        if images:
            vectors.append(_directions(encoder(images)))
        together = np.concatenate(vectors) if vectors else np.zeros((0, 1), np.float32)
        return {"vectors": together, "told": np.frombuffer(json.dumps(told).encode(), np.uint8)}


def caption_of(sample: Sample) -> str:
    """A sample's first caption, else its member `txt`; `""` without either."""
    text = sample.extras.get("txt")
    found = sample.annotations.caption() or (text.decode("utf-8", "replace") if isinstance(text, bytes) else "")
    return found if found.strip() else ""


def with_caption(annotations: Annotations, text: str) -> Annotations:
    """Annotations with another first caption; all else stays."""
    texts = list(annotations.texts)
    for place, one in enumerate(texts):
        if one.role == "caption":
            texts[place] = replace(one, text=text)
            break
    return replace(annotations, texts=tuple(texts))


def _directions(vectors: Singles) -> Singles:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    found: Singles = (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)
    return found
