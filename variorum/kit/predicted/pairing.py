"""Answers of several classifiers on originals and edits as arrays, paired by source picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from variorum.kit.predicted.resamples import Units
from variorum.schemas.table import Table

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools, Floats, Ints

ORIGINAL = "original"
UNSCORED = -1
"""Label of a picture without a class that the classifier knows."""


@dataclass(frozen=True, slots=True)
class Paired:
    """Answers by classifier and picture; `[C, P]` unless said otherwise. The last fields are those of a table.

    Attributes:
        right: whether the top-1 class is a label.
        scored: whether the classifier knows the picture's label.
        original: whether a picture is an original, `[P]`.
        source: of each picture, index in the sorted ids of the originals that some classifier scored, or -1, `[P]`.
        variant: of each picture, index in `variants`, or -1, `[P]`.
        sources: number of sources.
        variants: of the edits.
        starts: by variant, what its edits started from, where that isn't always the original.
        alone: no original was scored, and edits count without one: there are accuracies, and no drops.
        confidence: probability of the top-1 class.
        order: indices of the variants in the order in which they were made.
        outputs: number of outputs of each classifier, `[C]`.
        preprocessing: what each classifier does to a picture, `""` where it doesn't say.
        start: of each picture, index in `variants` of what it started from, -1 for the original, `[P]`.
        unit: of each picture, index in `units`, `[P]`.
        units: who borrows from whom; None where nobody does.
    """

    right: Bools
    scored: Bools
    original: Bools
    source: Ints
    variant: Ints
    sources: int
    variants: tuple[str, ...]
    starts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    alone: bool = False
    confidence: Floats = field(default_factory=lambda: np.empty((0, 0)))
    order: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()
    preprocessing: tuple[str, ...] = ()
    start: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    unit: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    units: Units | None = None

    def originals(self, classifier: int) -> tuple[Bools, Bools]:
        """Return whether a classifier scored each source's original, and whether it was right, `[S]` both."""
        there, right = (np.zeros(self.sources, bool) for _ in range(2))
        mine = np.flatnonzero(self.original & self.scored[classifier])
        there[self.source[mine]] = True
        right[self.source[mine]] = self.right[classifier, mine]
        return there, right

    def edits(self, classifier: int, there: Bools) -> Bools:
        """The edited pictures that a classifier scored, whose originals are `there [S]` unless `alone`, `[P]`."""
        known = np.append(there | self.alone, False)[self.source]
        return np.asarray(~self.original & self.scored[classifier] & known)

    def cells(self, pictures: Bools, weights: Array | None = None) -> Floats:
        """Number, or sum of `weights [P]`, of these pictures `[P]` by source and variant, `[S, V]`."""
        return self._cells(self.source, self.sources, pictures, weights)

    def parts(self, pictures: Bools, weights: Array | None = None) -> Floats:
        """The same by unit and variant, `[U, V]`, which keeps apart what a source borrows from different lenders."""
        if self.units is None:
            return self.cells(pictures, weights)
        return self._cells(self.unit, len(self.units.source), pictures, weights)

    def by_source(self, by_unit: Floats) -> Floats:
        """Sums by source, `[S, V]`, of what is by unit, `[U, V]`, or by source already."""
        return by_unit if self.units is None else self.units.by_source(by_unit, self.sources)

    def spread(self, by_source: Array) -> Array:
        """What is known by source, `[S, …]`, for each unit, `[U, …]`."""
        return by_source if self.units is None else by_source[self.units.source]

    def _cells(self, row: Ints, rows: int, pictures: Bools, weights: Array | None) -> Floats:
        shape = rows, len(self.variants)
        where = row[pictures] * shape[1] + self.variant[pictures]
        values = None if weights is None else weights[pictures]
        return np.bincount(where, values, shape[0] * shape[1]).reshape(shape).astype(np.float64)


def paired(table: Table, classifiers: Sequence[str]) -> Paired:
    """The arrays of a table with the columns that `AccuracyDrop.measure` gives; it has rows of every classifier."""
    import pyarrow as pa
    import pyarrow.compute as pc

    names, of_row, roots_of = _coded(table)
    nodes, first, picture = np.unique(of_row, return_index=True, return_inverse=True)
    root = roots_of[nodes]

    shape = len(classifiers), len(nodes)
    model = pc.index_in(table.column("classifier"), pa.array(classifiers, pa.string())).fill_null(-1).to_numpy()
    rows = np.flatnonzero(model >= 0)
    said = np.array([np.argmax(model == one) for one in range(len(classifiers))])  # a row of each
    at = model[rows], picture[rows]
    scored, right = (np.zeros(shape, bool) for _ in range(2))
    confidence = np.zeros(shape)
    scored[at] = table["label"][rows] != UNSCORED
    right[at] = table["correct"][rows]
    confidence[at] = table["confidence"][rows]

    kinds = table.column("variant").fill_null("").dictionary_encode().combine_chunks()
    made, kind = kinds.dictionary.to_pylist(), kinds.indices.to_numpy().astype(np.int64)[first]
    original = kind == (made.index(ORIGINAL) if ORIGINAL in made else -1)
    by_any = scored.any(axis=0)
    known = np.unique(root[original & by_any])
    known = known[np.argsort(np.array([names[node] for node in known], object), kind="stable")]
    position = np.full(len(names), -1)
    position[known] = np.arange(len(known))
    source = position[root]
    edited = ~original & by_any & (source >= 0)
    variants = tuple(sorted(made[code] for code in np.unique(kind[edited])))
    of_kind = {name: index for index, name in enumerate(variants)}
    variant = np.array([of_kind.get(name, -1) for name in made], np.int64)[kind]
    start = pc.index_in(table.column("reference"), pa.array(variants, pa.string())).fill_null(-1).to_numpy()[first]
    begun: dict[str, tuple[str, ...]] = {}
    for one, other in np.unique(np.stack([variant, start])[:, edited], axis=1).T:
        begun[variants[one]] = (*begun.get(variants[one], ()), variants[other] if other >= 0 else ORIGINAL)
    unit, units = source, None
    if "lender" in table:
        unit, units = units_of(source, lenders_of(table.column("lender"))[first], len(known))
    return Paired(
        right,
        scored,
        original,
        source,
        variant,
        len(known),
        variants,  # sorted by name
        {name: found for name, found in begun.items() if found != (ORIGINAL,)},
        confidence=confidence,
        order=order_of_making(first[edited], source[edited], variant[edited], len(known), len(variants)),
        outputs=tuple(table["outputs"][said].tolist()),
        preprocessing=tuple(table.column("preprocessing").take(said).to_pylist()),
        start=start,
        unit=unit,
        units=units,
    )


def lenders_of(column: Any) -> Ints:
    """The number of each row's lender, -1 for none, `[N]`, from a column of their ids."""
    lent = column.fill_null("").dictionary_encode().combine_chunks()
    nobody = [number for number, name in enumerate(lent.dictionary.to_pylist()) if not name]
    found = lent.indices.to_numpy().astype(np.int64)
    return np.where(np.isin(found, nobody), -1, found)


def units_of(source: Ints, lender: Ints, sources: int) -> tuple[Ints, Units | None]:
    """The unit of each picture, `[P]`, and the units; None if no picture borrows.

    Args:
        source: of each picture, -1 for none, `[P]`.
        lender: of each picture, -1 for none, `[P]`.
        sources: number of sources.
    """
    borrowed = np.flatnonzero((lender >= 0) & (source >= 0))
    if not len(borrowed):
        return source, None
    both, place = np.unique(np.stack([source[borrowed], lender[borrowed]]), axis=1, return_inverse=True)
    unit = source.copy()
    unit[borrowed] = sources + place.reshape(-1)
    own = np.stack([np.arange(sources), np.full(sources, -1)])
    return unit, Units(*np.concatenate([own, both], axis=1))


class Photographs(NamedTuple):
    """The photographs that the pictures of a table with N rows go back to.

    Attributes:
        ids: of the photographs, sorted, `[n]`.
        of_row: index in `ids`, `[N]`. Pictures that share a `photograph`, such as those of copies, have one.
        root: number of the oldest known ancestor, `[N]`.
    """

    ids: tuple[str, ...]
    of_row: Ints
    root: Ints


def photographs(table: Table) -> Photographs:
    """The photographs of a table with the columns `id`, `parent` and `photograph`."""
    names, of_row, roots_of = _coded(table)
    root = roots_of[of_row]
    known = np.unique(root)
    known = known[np.argsort(np.array([names[node] for node in known], object), kind="stable")]
    rank = np.zeros(len(names), np.int64)
    rank[known] = np.arange(len(known))
    same = table.column("photograph").fill_null("").dictionary_encode().combine_chunks()
    texts, group = same.dictionary.to_pylist(), same.indices.to_numpy().astype(np.int64)
    least = np.full(len(texts), len(known))
    np.minimum.at(least, group, rank[root])
    if "" in texts:
        least[texts.index("")] = len(known)
    one = np.arange(len(known))
    np.minimum.at(one, rank[root], least[group])
    units, place = np.unique(one[rank[root]], return_inverse=True)
    return Photographs(tuple(names[known[unit]] for unit in units), place.reshape(-1), root)


def _coded(table: Table) -> tuple[list[str], Ints, Ints]:
    """Names of pictures and ancestors, the number of each row's picture `[N]`, and that of each one's root."""
    import pyarrow as pa

    both = pa.chunked_array([*table.column("id").chunks, *table.column("parent").chunks], pa.string())
    texts = both.fill_null("").dictionary_encode().combine_chunks()
    names, codes = texts.dictionary.to_pylist(), texts.indices.to_numpy().astype(np.int64)
    of_row, parent = codes[: len(table)], codes[len(table) :]
    nodes, first = np.unique(of_row, return_index=True)
    return names, of_row, _roots(nodes, parent[first], len(names), names.index("") if "" in names else -1)


def _roots(nodes: Ints, parents: Ints, size: int, none: int) -> Ints:
    """The oldest known ancestor of each of `size` nodes; those that aren't in `nodes` have no parent."""
    up = np.arange(size)
    up[nodes] = np.where(parents == none, nodes, parents)
    for _ in range(size.bit_length()):
        further = up[up]
        if (further == up).all():
            break
        up = further
    return up


def one_each(table: Table) -> Ints:
    """A row of each photograph: its original, or else the first of its pictures."""
    import pyarrow as pa
    import pyarrow.compute as pc

    named = table.column("source").fill_null("")
    if "photograph" in table:  # editions of format 3 lack it
        photograph = table.column("photograph").fill_null("")
        named = pc.if_else(pc.equal(photograph, ""), named, photograph)
    codes = pa.chunked_array(named).dictionary_encode().combine_chunks().indices.to_numpy()
    order = np.argsort(np.asarray(table["variant"] != ORIGINAL), kind="stable")
    first = np.unique(codes[order], return_index=True)[1]
    return np.sort(order[first]).astype(np.int64)


def order_of_making(row: Ints, source: Ints, variant: Ints, sources: int, variants: int) -> tuple[int, ...]:
    """Variants by the number of others that they come before, in most of the sources that have both.

    One source may lack some variants, so none of them alone has the order in which they are made.
    """
    first = np.full((sources, variants), np.nan)
    last_to_first = np.argsort(-row, kind="stable")
    first[source[last_to_first], variant[last_to_first]] = row[last_to_first]
    ahead = np.array([(first[:, [one]] < first).sum(axis=0) for one in range(variants)]).reshape(variants, variants)
    earliest = [np.nanmin(first[:, one]) for one in range(variants)]
    leads = (ahead > ahead.T).sum(axis=1)
    return tuple(sorted(range(variants), key=lambda one: (-leads[one], earliest[one])))


def roots(parents: Mapping[str, str]) -> dict[str, str]:
    """The oldest known ancestor of every id. All edits of one picture share it, however many steps they took.

    Args:
        parents: id to the parent's id, `""` for none. A parent need not have an entry of its own. Ids that are each
            other's ancestors share one of them.
    """
    found: dict[str, str] = {}
    for start in parents:
        path: dict[str, None] = {}
        node = start
        while node in parents and parents[node] and node not in found and node not in path:
            path[node] = None
            node = parents[node]
        found.update(dict.fromkeys(path, found.get(node, node)))
        found.setdefault(start, node)
    return found
