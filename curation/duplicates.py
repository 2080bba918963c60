"""Finds copies of one picture in an edition: the same file, the same pixels, the same look, the same content.

Each layer finds what the one before it can't. Hashes survive re-encoding, resizing and blur, turned or mirrored;
embeddings also survive crops, frames and small rotations. Copies are why a class looks cleaner than it is, why a
model that memorised one scores well on the other, and, where their labels differ, sure proof of a wrong label.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from curation.fingerprints.calibration import FALLBACK
from curation.fingerprints.detail import detail
from curation.fingerprints.evidence import Prints, likeness, near_links
from curation.fingerprints.grouping import LAYERS, groups, keepers
from curation.fingerprints.join import Ints
from curation.fingerprints.pdq import pdq, pixel_digest
from schemas.canonical import Json
from schemas.component import Context, CurationStep
from schemas.sample import Sample
from variorum.columns import vector

if TYPE_CHECKING:
    import pyarrow as pa

LARGE = 50
"""Groups with more pictures than this are worth a look: a chain of near copies may have joined different pictures."""


class Duplicates(CurationStep):
    """Groups of copies, and in each the pictures that can go because a near copy stays."""

    scored_by: ClassVar[frozenset[str]] = frozenset({"embedding", "cosine", "within_source"})
    revision: ClassVar[int] = 2

    embedding: bool = True
    """Whether to compare embeddings too; needs the step `features`."""
    cosine: float | None = Field(default=None, gt=0, le=1)
    """Least cosine of two copies' embeddings; None calibrates it on the edition's own pairs."""
    within_source: bool = False
    """Whether variants of one photograph, which are meant to be alike, count as copies of one another."""

    def needs(self) -> tuple[str, ...]:
        """The embeddings, where they are compared."""
        return ("features",) if self.embedding else ()

    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterator[Mapping[str, Any]]:
        """Hash of the pixels, PDQ in all orientations with its quality, size, and how much it shows."""
        for sample in samples:
            assert not isinstance(sample.image, bytes)
            turns, quality = pdq(sample.image)
            height, width = sample.image.shape[:2]
            yield {
                "pixels": pixel_digest(sample.image),
                "pdq": turns[0],
                "pdq_turns": turns[1:].ravel(),
                "pdq_quality": quality,
                "height": height,
                "width": width,
                "detail": detail(sample.image),
            }

    def score(self, table: pa.Table, ctx: Context) -> Mapping[str, Any]:
        """Groups, what stays of each, what joins the others to it, and where labels within a group differ."""
        if not table.num_rows:
            return {}
        prints = Prints.read(table, embedding=self.embedding)
        exact, head = prints.exact()
        area = vector(table, "duplicates.height") * vector(table, "duplicates.width")
        licensed = ~np.isin(vector(table, "licence"), ("", "unknown"))
        order = np.lexsort((prints.rank, ~licensed, -area, -vector(table, "duplicates.detail")))
        rng = ctx.rng(self.component_name(), "", "pairs")
        links, cut = near_links(prints, exact, head, rng, self.cosine, order=order)
        owner = prints.rank if self.within_source else np.unique(prints.source.astype(str), return_inverse=True)[1]
        group = groups(exact, links.i, links.j, owner, prints.rank)
        kept = keepers(exact, prints.sha256, links, owner, group, order)
        return {
            "group": group,
            "group_size": np.bincount(group, minlength=len(group))[group],
            "layer": [LAYERS[number] for number in kept.layer],
            "distance": kept.distance.astype(np.float64),
            "keep": kept.keep,
            "flag": ~kept.keep,
            "score": likeness(kept.layer, kept.distance),
            "keeper": vector(table, "id")[kept.keeper].tolist(),
            "copies": np.bincount(kept.keeper, minlength=len(group)) * kept.keep,
            "conflict": conflicts(group, prints.y),
            "cosine_cut": np.full(len(group), cut.cosine),
            "cosine_false_rate": np.full(len(group), cut.false_rate),
        }

    def summarise(self, table: pa.Table) -> Mapping[str, Json]:
        """How many can go and why, how large groups are, whose labels differ, and what the embeddings' cut costs."""
        n = table.num_rows
        if not n:
            return {"pictures": 0}
        name = self.component_name()
        column = {key: vector(table, f"{name}.{key}") for key in ("group", "group_size", "flag", "layer", "conflict")}
        sizes = Counter(np.bincount(column["group"])[np.unique(column["group"])].tolist())
        layers = Counter(column["layer"][column["flag"]].tolist())
        figures: dict[str, Json] = {
            "pictures": n,
            "copies": int(column["flag"].sum()),
            "share": float(column["flag"].mean()),
            "by_layer": {layer: layers[layer] for layer in LAYERS[1:]},
            "group_sizes": {str(size): number for size, number in sorted(sizes.items())},
            "large_groups": sum(number for size, number in sizes.items() if size > LARGE),
            "conflicting_groups": len(np.unique(column["group"][column["conflict"]])),
        }
        if self.embedding:
            cut, rate = (float(vector(table, f"{name}.cosine_{key}")[0]) for key in ("cut", "false_rate"))
            figures["cosine_cut"] = cut
            figures["cosine_cut_from"] = "recipe" if self.cosine else cut_from(cut, rate)
            figures["false_pairs_a_picture"] = None if np.isnan(rate) else rate * n
        return figures


def cut_from(cosine: float, rate: float) -> str:
    """What a calibrated cut rests on: an unknown rate says that there are too few pairs, of one kind at least."""
    if not np.isnan(rate):
        return "own pairs"
    return "default" if cosine <= FALLBACK else "own pairs of one kind"


def conflicts(group: Ints, y: Ints) -> NDArray[np.bool_]:
    """Which pictures `[N]` are in a group with two labels; -1, unlabelled, contradicts nothing."""
    low, high = np.full(len(y), np.iinfo(np.int64).max), np.full(len(y), -1)
    labelled = y >= 0
    np.minimum.at(low, group[labelled], y[labelled])
    np.maximum.at(high, group[labelled], y[labelled])
    return np.asarray(low[group] < high[group])
