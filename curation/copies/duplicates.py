"""Finds copies of a picture in an edition: the same file, the same pixels, the same look, the same content.

Each layer finds copies that the previous one misses. Hashes survive re-encoding, resizing, blur, turns and mirroring;
embeddings also survive crops, frames and small rotations. Copies make a class look cleaner than it is and reward models
that memorised one of them, and copies with different labels prove that a label is wrong.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from variorum.curation.copies.detail import detail
from variorum.kit.copies.calibration import FALLBACK
from variorum.kit.copies.evidence import Prints, likeness, near_links, recall_columns, recall_findings
from variorum.kit.copies.grouping import LAYERS, groups, keepers
from variorum.kit.copies.pdq import pdq, pixel_digest
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Detector, column_kinds
from variorum.schemas.sample import MADE_OF, Sample

if TYPE_CHECKING:
    from variorum.arrays import Bools, Ints
    from variorum.schemas.table import Table

PROVED = np.array([layer in ("file", "pixels", "hash") for layer in LAYERS])
"""By layer, whether it proves a copy; embeddings only find that pictures look alike."""
COPY_NAME = re.compile(r"(?<![a-z])cop(y|ie|ia)(?![a-z])|\(\d+\)(\.\w+)?$", re.IGNORECASE)
"""Names that file managers and people give copies: `copy_of_a.jpg`, `a - Copy.jpg`, `a copy 2.jpg`, `a (1).jpg`."""
LARGE = 50
"""Groups with more pictures than this are counted in the figures: a chain of copies may have joined different ones."""


class Duplicates(Detector):
    """Groups of copies, and in each group the pictures that can go because a near copy stays."""

    gives: ClassVar[Mapping[str, str]] = column_kinds(
        numbers="pdq_quality height width detail group group_size distance score copies cosine_cut cosine_false_rate "
        "cosine_pairs cosine_pairs_found",
        texts="layer keeper copy_of",
        flags="keep flag conflict",
        others="pixels pdq pdq_turns",
    )
    """`pixels`, `pdq`, `pdq_turns`, `pdq_quality`, `height`, `width` and `detail` are measured.
    `group` is named by the position of its first id among all ids. `keep` stays, `flag` can go. `keeper` is the id that
    stays instead, `layer` the strongest evidence (`""` if the picture stays itself), `distance` 0, bits or 1 -
    cosine, and `score` the evidence in [0, 1]. `copy_of` is the id of the picture that it is proved to be a copy
    of, by file, pixels or hash. `copies` counts the pictures that this one stands for, itself included. `conflict`:
    the group has two labels. `cosine_cut` is the cut, and `cosine_false_rate` the expected share of the pairs of
    different pictures beyond it, NaN if unknown. `cosine_pairs` and `cosine_pairs_found`, only there with more than
    50,000 embeddings, say how many pairs were to be found for some pictures, and how many of these were."""
    revision: ClassVar[int] = 6
    copies: ClassVar[str] = "copy_of"
    late: ClassVar[frozenset[str]] = frozenset({"embedding", "cosine", "within_source"})

    embedding: bool = True
    """Whether to compare embeddings too; needs the detector `features`."""
    cosine: float | None = Field(default=None, gt=0, le=1)
    """Least cosine between the embeddings of two copies; None calibrates it on the edition's own pairs."""
    within_source: bool = False
    """Whether variants of one photograph, which are similar by design, count as copies of one another."""

    def needs(self) -> tuple[str, ...]:
        """`features` if embeddings are compared."""
        return ("features",) if self.embedding else ()

    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterator[Mapping[str, Any]]:
        """Hash of the pixels, PDQ in all orientations with its quality, size, and `detail`."""
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

    def score(self, table: Table, ctx: Context) -> Mapping[str, Any]:
        """Groups, the picture of each that stays, the evidence for the others, and groups with conflicting labels.

        - `group`, `group_size`: a group is named by the position of its first id among all ids; `conflict`: it has two
          labels;
        - `keep`, `flag`: stays, can go; `copies`: pictures that this one stands for, 0 if it can go;
        - `keeper`, `layer`, `distance`: the id that stays instead, the strongest evidence, and 0, bits or 1 - cosine;
        - `copy_of`: the id that it is proved a copy of, by file, pixels or hash; a release with `splits` brings the two
          to one side;
        - `score`: the evidence, 1, 1 - bits / 256 or the cosine; 0 if the picture stays;
        - `cosine_cut`, `cosine_false_rate`: the cut, and the share of pairs of different pictures beyond it, or NaN;
        - `cosine_pairs`, `cosine_pairs_found`, only there with more than 50,000 embeddings: how many pairs beyond the
          cut some pictures have, and how many of these were found.

        Pictures to which one picture lent something, such as a plate, are similar by design: only identical pixels
        make them copies.
        """
        if not len(table):
            return {}
        prints = Prints.read(table, embedding=self.embedding)
        exact, head = prints.exact()
        area = table["height"] * table["width"]
        licensed = ~np.isin(table["licence"], ("", "unknown"))
        order = np.lexsort((prints.rank, *plainness(table["origin"]), ~licensed, -area, -table["detail"]))
        rng = ctx.rng(self.component_name(), "", "pairs")
        links, cut = near_links(prints, exact, head, rng, self.cosine, order=order)
        links = links.without(lent_between(table, head[links.i], head[links.j]))
        owner = prints.rank if self.within_source else prints.source
        group = groups(exact, links.i, links.j, owner, prints.rank)
        kept = keepers(exact, prints.sha256, links, owner, group, order)
        keeper = table["id"][kept.keeper]
        return {
            "group": group,
            "group_size": np.bincount(group, minlength=len(group))[group],
            "layer": [LAYERS[number] for number in kept.layer],
            "distance": kept.distance.astype(np.float64),
            "keep": kept.keep,
            "flag": ~kept.keep,
            "score": likeness(kept.layer, kept.distance),
            "keeper": keeper.tolist(),
            "copy_of": np.where(PROVED[kept.layer], keeper, "").tolist(),
            "copies": np.bincount(kept.keeper, minlength=len(group)) * kept.keep,
            "conflict": conflicts(group, prints.y),
            "cosine_cut": np.full(len(group), cut.cosine),
            "cosine_false_rate": np.full(len(group), cut.false_rate),
            **recall_columns(cut, len(group)),
        }

    def figures(self, table: Table, ctx: Context) -> Mapping[str, Json]:
        """Count pictures that can go and why, group sizes, conflicting labels; give the embeddings' cut and cost."""
        n = len(table)
        if not n:
            return {"pictures": 0}
        group, flag = table["group"], table["flag"]
        sizes = Counter(np.bincount(group)[np.unique(group)].tolist())
        layers = Counter(table["layer"][flag].tolist())
        figures: dict[str, Json] = {
            "pictures": n,
            "copies": int(flag.sum()),
            "share": float(flag.mean()),
            "by_layer": {layer: layers[layer] for layer in LAYERS[1:]},
            "group_sizes": {str(size): number for size, number in sorted(sizes.items())},
            "large_groups": sum(number for size, number in sizes.items() if size > LARGE),
            "conflicting_groups": len(np.unique(group[table["conflict"]])),
        }
        if self.embedding:
            cut, rate = float(table["cosine_cut"][0]), float(table["cosine_false_rate"][0])
            figures["cosine_cut"] = cut
            figures["cosine_cut_from"] = "recipe" if self.cosine else cut_from(cut, rate)
            figures["false_pairs_a_picture"] = None if np.isnan(rate) else rate * n
        return {**figures, **recall_findings(table)}


def plainness(origins: Iterable[object]) -> tuple[Ints, Bools]:
    """Length `[N]` of the names of files, and whether a name says that it is a copy. The last sorts first.

    Args:
        origins: `[N]`, where the pictures come from, such as paths.
    """
    names = [str(origin).rpartition("/")[2] for origin in origins]
    lengths = np.array([len(name) for name in names], np.int64)
    return lengths, np.array([COPY_NAME.search(name) is not None for name in names], bool)


def cut_from(cosine: float, rate: float) -> str:
    """Describe what a calibrated cut rests on. An unknown rate means that at least one kind of pair is too rare."""
    if not np.isnan(rate):
        return "own pairs"
    return "default" if cosine <= FALLBACK else "own pairs of one kind"


def lent_between(table: Table, i: Ints, j: Ints) -> Bools:
    """Return for which pairs of rows `[P]` one picture is made of the other's photograph, or both of a third one."""
    found = np.zeros(len(i), bool)
    if MADE_OF in table:
        lenders = [frozenset(keys or ()) for keys in table[MADE_OF]]
        source = table["source"]
        for place, (one, other) in enumerate(zip(i.tolist(), j.tolist(), strict=True)):
            first, second = lenders[one], lenders[other]
            found[place] = bool(first & second) or source[other] in first or source[one] in second
    return found


def conflicts(group: Ints, y: Ints) -> Bools:
    """Return which pictures `[N]` are in a group with two labels. Unlabelled pictures (-1) conflict with no label."""
    low, high = np.full(len(y), np.iinfo(np.int64).max), np.full(len(y), -1)
    labelled = y >= 0
    np.minimum.at(low, group[labelled], y[labelled])
    np.maximum.at(high, group[labelled], y[labelled])
    return np.asarray(low[group] < high[group])
