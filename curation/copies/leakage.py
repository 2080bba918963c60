"""Finds pictures that would let a model see its test data in training.

A picture leaks if it is a training picture with a copy in a test split, or is made of a picture there; if it is on a
list of hashes of somebody's benchmark; or if a generator memorised it: a generated picture that is a copy of one that
the generator was trained on, or of an original other than its own. The side to leave out of training is flagged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from variorum.kit.copies.blocklists import Blocklist, matches
from variorum.kit.copies.evidence import Prints, likeness, near_links, recall_columns, recall_findings
from variorum.kit.copies.grouping import FILE, LAYERS, PIXELS, Links
from variorum.kit.copies.shipped import list_path, or_shipped
from variorum.machine.file_hashes import file_hashes
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Detector, Source, column_kinds
from variorum.schemas.errors import RecipeError, SourceError
from variorum.schemas.lookup import NestedSource
from variorum.schemas.sample import MADE_OF, SPLITS

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools, Ints, Singles
    from variorum.schemas.table import Table


TRAINED_ON = "trained_on"


class Leakage(Detector):
    """Pictures that would leak test data into training, and the share of each test side that training contains."""

    gives: ClassVar[Mapping[str, str]] = column_kinds(
        numbers="score distance cosine_pairs cosine_pairs_found",
        texts="against layer neighbour side known_by",
        flags="flag",
    )
    """`flag` leaks, `score` is the evidence in [0, 1]. `against` is what it leaks into: a side, a list's file name,
    `originals` or `trained_on`. `layer`, `distance` and `neighbour` are the evidence and the id of the copy, `""`
    for one on a list. `side` is the edition's split, or the one whose pattern `origin` matches. `known_by` is, for
    a picture outside training, the strongest layer by which training has a copy."""
    revision: ClassVar[int] = 4
    location: ClassVar[frozenset[str]] = frozenset({"against"})

    splits: dict[str, str] = Field(default_factory=dict)
    """Sides to compare: name to a pattern of `origin`, as `train: train/*`. A picture may be on no side. Without it,
    the sides are the edition's own splits."""
    train: str = "train"
    """The side that is trained on: its pictures are flagged when another side has a copy."""
    against: tuple[str, ...] = ()
    """Lists of hashes of pictures that must not be in the edition: parquet files, as `blocklist` writes them, or names
    of lists that come with the project, as `fashion_mnist_test`."""
    originals: bool = True
    """Whether to look for generated pictures that are copies of an original other than their own."""
    trained_on: NestedSource | None = None
    """What a generator was trained on. A copy of one of these pictures was memorised."""
    embedding: bool = True
    """Whether to compare embeddings too; needs the detector `features`."""
    cosine: float | None = Field(default=None, gt=0, le=1)
    """Least cosine between the embeddings of two copies; None calibrates it on the edition's own pairs."""

    @model_validator(mode="after")
    def _names_fit(self) -> Leakage:
        if self.splits and (self.train not in self.splits or len(self.splits) < 2):
            raise ValueError(f"splits must hold {self.train!r} and at least one other, not {', '.join(self.splits)}")
        stems = [Path(path).stem for path in self.against] + ([TRAINED_ON] if self.trained_on else [])
        sides = self.splits or SPLITS
        if twice := {stem for stem in stems if stems.count(stem) > 1 or stem in sides}:
            raise ValueError(f"against: two lists or splits have the name {', '.join(sorted(twice))}; rename a file")
        return self

    def references(self) -> Mapping[str, Source]:
        """`trained_on`, if given."""
        return {TRAINED_ON: self.trained_on} if self.trained_on else {}

    def needs(self) -> tuple[str, ...]:
        """`duplicates`, and `features` if embeddings are compared."""
        return ("duplicates", "features") if self.embedding else ("duplicates",)

    def identity(self) -> dict[str, Json]:
        """Has the content of the lists in place of their paths, so a changed list is scored again."""
        return {**super().identity(), "against": [list(pair) for pair in list_hashes(self.against)]}

    def check(self, ctx: Context) -> None:
        """Return whether each list can be read and has a column of hashes or embeddings."""
        for path in self.against:
            Blocklist.columns(list_path(path))

    def score(self, table: Table, ctx: Context) -> Mapping[str, Any]:
        """Find what each picture leaks into, with the evidence; for test pictures, their copy in training.

        - `flag`, `score`: leaks, and the evidence in [0, 1], 0 for none;
        - `against`: the side, a list's file name, `originals` or `trained_on`, by the strongest evidence;
        - `layer`, `distance`, `neighbour`: the evidence, and the id of the copy, empty for one outside the edition;
        - `side`: the split that counts, empty for none; `known_by`: the strongest layer by which training has a copy;
        - `cosine_pairs`, `cosine_pairs_found`: as in `duplicates`.
        """
        if not len(table):
            return {}
        prints = Prints.read(table, embedding=self.embedding)
        lists = [Blocklist.read(list_path(path)) for path in self.against]
        if self.trained_on:
            seen = table.references[TRAINED_ON]
            lists.append(Blocklist.measured(TRAINED_ON, seen, embedding=self.embedding))
        exact, head = prints.exact()
        rng = ctx.rng(self.component_name(), "", "pairs")
        others = sum(len(listed.embedding) for listed in lists)
        links, cut = near_links(prints, exact, head, rng, self.cosine, others)
        side = side_of(table["origin"], self.splits) if self.splits else table["split"]
        leaks: dict[str, Near] = {}
        known = np.zeros(len(exact), np.int8)
        for name in self._tests(side):
            found = nearest(side == self.train, side == name, exact, links, prints)
            leaks[name] = with_lenders(found, side == self.train, side == name, table)
            known += nearest(side == name, side == self.train, exact, links, prints).layer
        if self.originals:
            original = table["variant"] == "original"
            leaks["originals"] = nearest(~original, original, exact, links, prints, apart=True)
            drop_lenders(leaks["originals"], table)
        for listed in lists:
            layer, distance = matches(prints, exact, head, listed, cut.cosine)
            leaks[listed.name] = Near(layer, distance, np.full(len(layer), -1))
        into, best = strongest(leaks, len(exact))
        ids = table["id"]
        return {
            "flag": best.layer > 0,
            "score": likeness(best.layer, best.distance),
            "against": into,
            "layer": [LAYERS[number] for number in best.layer],
            "distance": best.distance.astype(np.float64),
            "neighbour": [ids[row] if row >= 0 else "" for row in best.other],
            "side": side.tolist(),
            "known_by": [LAYERS[number] for number in known],
            **recall_columns(cut, len(exact)),
        }

    def figures(self, table: Table, ctx: Context) -> Mapping[str, Json]:
        """Count what was compared, the pictures that leak into what, and the share of each test side in training."""
        n = len(table)
        if not n:
            return {"pictures": 0}
        side, known = table["side"], table["known_by"]
        rates: dict[str, Json] = {}
        for test in self._tests(side):
            own = known[side == test]
            layers = range(1, len(LAYERS))
            rates[test] = {LAYERS[top]: float(np.isin(own, LAYERS[1 : top + 1]).mean()) for top in layers}
        originals = self.originals and 0 < (table["variant"] == "original").sum() < n
        compared = [*rates, *(["originals"] if originals else []), *(Path(path).stem for path in self.against)]
        compared += [TRAINED_ON] if self.trained_on else []
        return {
            "pictures": n,
            "compared_with": ", ".join(compared) or "nothing",
            "leaking": int(table["flag"].sum()),
            "into": dict(sorted(Counter(table["against"][table["flag"]].tolist()).items())),
            "leak_rate": rates,
            **recall_findings(table),
        }

    def _tests(self, side: Array) -> list[str]:
        """The sides that training is compared with; none where nothing is trained on."""
        sides = set(side.tolist()) - {""}
        return sorted(sides - {self.train}) if self.train in sides else []


@dataclass(frozen=True, slots=True)
class Near:
    """The nearest copy of each picture.

    Attributes:
        layer: `[N]`, index in `LAYERS`; 0 for none.
        distance: `[N]`, 0, bits or 1 − cosine; NaN for none.
        other: row `[N]` of the copy; -1 for none, or for a copy outside the edition.
    """

    layer: NDArray[np.int8]
    distance: Singles
    other: Ints


def list_hashes(paths: Sequence[str]) -> list[tuple[str, str]]:
    """Name and sha256 of each list. Raises SourceError for one that can't be read."""
    found = []
    for path in paths:
        file = list_path(path).absolute()
        (sha256,) = file_hashes(file.parent, [file])
        if not sha256:
            raise SourceError(f"leakage: against: {path} can't be read; make it with `blocklist`, {or_shipped()}")
        found.append((file.stem, sha256))
    return found


def side_of(origin: Array, splits: Mapping[str, str]) -> Array:
    """The side `[N]` whose pattern each origin matches; `""` for none.

    Raises:
        RecipeError: an origin matches the patterns of two sides.
    """
    side = np.full(len(origin), "", dtype=object)
    for name, pattern in splits.items():
        fits = np.array([fnmatchcase(place, pattern) for place in origin], dtype=np.bool_)
        if (twice := np.flatnonzero(fits & (side != ""))).size:
            raise RecipeError(
                f"leakage: {origin[twice[0]]} matches the patterns of both splits {side[twice[0]]} and {name}; "
                f"make the patterns exclusive"
            )
        side[fits] = name
    return side


def nearest(
    side: Bools,
    other: Bools,
    exact: Ints,
    links: Links,
    prints: Prints,
    *,
    apart: bool = False,
) -> Near:
    """The nearest copy on the other side for each picture on one side.

    Args:
        side: mask `[N]` of the pictures to find copies for.
        other: mask `[N]` of the pictures that count as copies.
        exact: class `[N]` of identical pixels.
        links: between classes.
        prints: of the edition.
        apart: whether a copy counts only if it comes from another source.
    """
    source = prints.source
    classes = int(exact.max()) + 1
    # two pictures represent a class: its first one, and its first one from another source
    rows = np.flatnonzero(other)[np.argsort(prints.rank[other])]
    first, second = np.full(classes, -1), np.full(classes, -1)
    first[exact[rows][::-1]] = rows[::-1]
    foreign = rows[source[rows] != source[first[exact[rows]]]]
    second[exact[foreign][::-1]] = foreign[::-1]
    every = np.arange(classes)
    start = np.concatenate([every, links.i, links.j])
    end = np.concatenate([every, links.j, links.i])
    layer = np.concatenate([np.full(classes, PIXELS, np.int8), links.layer, links.layer])
    distance = np.concatenate([np.zeros(classes, np.float32), links.distance, links.distance])
    inhabited = first[end] >= 0
    start, end, layer, distance = start[inhabited], end[inhabited], layer[inhabited], distance[inhabited]
    by_start = np.argsort(start, kind="stable")
    low, high = np.searchsorted(start[by_start], exact[side]), np.searchsorted(start[by_start], exact[side], "right")
    asked = np.repeat(np.flatnonzero(side), high - low)
    ends = np.cumsum(high - low)
    link = by_start[np.arange(len(asked)) + np.repeat(low - (ends - (high - low)), high - low)]
    copy = first[end[link]]
    if apart:
        copy = np.where(source[copy] == source[asked], second[end[link]], copy)
    asked, link, copy = asked[copy >= 0], link[copy >= 0], copy[copy >= 0]
    kind = np.where(prints.sha256[asked] == prints.sha256[copy], FILE, layer[link]).astype(np.int8)
    return _least(len(exact), asked, kind, distance[link], copy, prints.rank[copy])


def with_lenders(found: Near, side: Bools, other: Bools, table: Table) -> Near:
    """The same, and for a picture on one side that is made of one on the other, that one: it has some of its pixels."""
    lent = np.flatnonzero(side & (found.layer == 0))
    if MADE_OF not in table or not len(lent):
        return found
    rows, names = np.flatnonzero(other), dict[str, int]()
    for column in ("id", "source", "photograph"):
        names |= dict(zip(table[column][rows], rows.tolist(), strict=True))
    for row, keys in zip(lent, table[MADE_OF][lent], strict=True):
        place = next((names[key] for key in keys or () if key in names), None)
        if place is not None:
            found.layer[row], found.distance[row], found.other[row] = PIXELS, 0, place
    return found


def drop_lenders(found: Near, table: Table) -> None:
    """Leave out copies of a picture that they are made of: a composite is like its plate, and nobody memorised that."""
    if MADE_OF not in table:
        return
    hits = np.flatnonzero(found.layer)
    named = zip(table[MADE_OF][hits], table["id"][found.other[hits]], table["source"][found.other[hits]], strict=True)
    for row, (keys, picture, source) in zip(hits, named, strict=True):
        if {picture, source} & set(keys or ()):
            found.layer[row], found.distance[row], found.other[row] = 0, np.nan, -1


def strongest(leaks: Mapping[str, Near], n: int) -> tuple[list[str], Near]:
    """The strongest evidence for each of N pictures, and the name of what it leaks into, `""` for nothing."""
    names = sorted(leaks)
    hits = [np.flatnonzero(leaks[name].layer) for name in names]
    row = np.concatenate([np.empty(0, np.int64), *hits])
    which = np.concatenate([np.empty(0, np.int64), *(np.full(len(hit), k) for k, hit in enumerate(hits))])
    layer = np.concatenate(
        [np.empty(0, np.int8), *(leaks[name].layer[hit] for name, hit in zip(names, hits, strict=True))]
    )
    distance = np.concatenate(
        [np.empty(0, np.float32), *(leaks[name].distance[hit] for name, hit in zip(names, hits, strict=True))]
    )
    best = _least(n, row, layer, distance, which, which)
    into = [names[which] if which >= 0 else "" for which in best.other]
    other = np.array([leaks[name].other[row] if name else -1 for row, name in enumerate(into)], dtype=np.int64)
    return into, Near(best.layer, best.distance, other)


def _least(n: int, row: Ints, layer: NDArray[np.int8], distance: Singles, value: Ints, tie: Ints) -> Near:
    """The strongest evidence for each of N rows, with its value as `other`."""
    order = np.lexsort((tie, distance, layer, row))[::-1]  # the strongest is written last
    found = Near(np.zeros(n, np.int8), np.full(n, np.nan, np.float32), np.full(n, -1))
    found.layer[row[order]] = layer[order]
    found.distance[row[order]] = distance[order]
    found.other[row[order]] = value[order]
    return found
