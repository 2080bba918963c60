"""Propose the labels of a picture that people are asked about, with the doubt on each.

Everybody who has an opinion counts as one source: the given labels, each model and detector that proposes a class, and
the ledger's verdicts. A cell is one label of one picture, and

    q      mean over the sources that judge the picture of how likely each holds the label: 1 if it proposes it, its
           probability if it has one, 0 if it doesn't propose it
    doubt  4 q (1 - q), which is the variance of a yes or no with chance q, scaled to [0, 1]

The doubt is at least what the ledger says that asking is worth where it sends a picture to people, and `UNKNOWN` for a
given label that no other source judges. Nobody doubts a cell with q above `SURE` or below 1 - `SURE`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from variorum.arrays import Bools, Floats, Ints, Reals
from variorum.kit.raters.accuracy import collapsed_classes
from variorum.kit.raters.candidates import Cells, queue_order
from variorum.people.panel.askable import Pictures

if TYPE_CHECKING:
    from variorum.people.panel.settings import Settings

SURE = 0.9
"""Share of the sources above which a label counts as agreed on."""
UNKNOWN = 0.2
"""Doubt of a label that nobody has judged: as of one label in twenty that is wrong."""
WORTHY = 0.5
"""Doubt where the ledger asks people and doesn't say what it is worth."""
NAMES = ("picture", "label", "q", "doubt", "given", "alone", "proposed")
"""Arrays of `LabelCells` by cell."""
AT_ONCE = 1 << 16
"""Pictures whose probabilities are looked at together."""
LABELS, CHANCES, PROBABILITIES = "candidates.proposals", "candidates.chances", "probabilities.p"


@dataclass(frozen=True, slots=True)
class Source:
    """One source's proposals: cells, and the pictures that it judges.

    Attributes:
        picture: `[C]`.
        label: `[C]` index of the class.
        p: `[C]` how likely it holds the label, in [0, 1]; NaN if it can't judge this class at all.
        judged: `[N]` the pictures that it has an opinion of.
    """

    picture: Ints
    label: Ints
    p: Floats
    judged: Bools


@dataclass(frozen=True, slots=True)
class LabelCells:
    """C cells, sorted by picture and, within a picture, from the first to be kept to the last.

    Attributes:
        picture: `[C]`.
        label: `[C]` index of the class.
        q: `[C]` mean opinion of the sources, in [0, 1].
        doubt: `[C]` in [0, 1].
        given: `[C]` whether it is a given label.
        alone: `[C]` whether it is a given label that no other source judges.
        proposed: `[C]` whether a source proposes it; False for one that is only hard to tell from another.
        sources: `[N]` number of sources that judge each picture.
        sizes: `[K]` pictures of each class.
    """

    picture: Ints
    label: Ints
    q: Floats
    doubt: Floats
    given: Bools
    alone: Bools
    proposed: Bools
    sources: Ints
    sizes: Ints

    def __len__(self) -> int:
        return len(self.picture)

    def take(self, rows: Ints | Bools) -> LabelCells:
        """Some cells."""
        parts = {name: getattr(self, name)[rows] for name in NAMES}
        return replace(self, **parts)

    def of_pictures(self, pictures: Ints) -> LabelCells:
        """The cells of some pictures."""
        wanted = np.zeros(len(self.sources), bool)
        wanted[pictures] = True
        return self.take(wanted[self.picture])

    def capped(self, cap: int) -> LabelCells:
        """The first `cap` cells of each picture."""
        first = np.searchsorted(self.picture, self.picture)
        return self.take(np.arange(len(self)) - first < cap)

    def worth(self) -> Floats:
        """Expected information by cell `[C]`: doubt / √(class size)."""
        return self.doubt / np.sqrt(np.maximum(self.sizes[self.label], 1))

    def doubted(self, number: int) -> Bools:
        """Return which of `number` pictures have a cell in doubt, `[N]`."""
        found = np.zeros(number, bool)
        found[self.picture[(self.doubt > 4 * SURE * (1 - SURE) + 1e-9) | self.alone]] = True
        return found

    def by_worth(self) -> Ints:
        """The pictures that have cells, those with the most informative cell first."""
        order = queue_order(Cells(self.picture, self.label, np.ones(len(self), np.int64)), self.doubt, self.sizes)
        found, first = np.unique(self.picture[order], return_index=True)
        return found[np.argsort(first, kind="stable")]


def label_cells(pictures: Pictures, settings: Settings) -> LabelCells:
    """All cells of the pictures that aren't dropped.

    The order within a picture is the order in which a cap keeps them: the first given label, other given ones, labels
    that the ledger proposes, then those that the sources hold most likely; ties by the order of the classes.
    """
    k = max(1, len(pictures.classes))
    found = list(sources(pictures, settings))
    judging = np.stack([one.judged for one in found]).sum(axis=0, dtype=np.int64)
    picture, label, p = (np.concatenate([getattr(one, name) for one in found]) for name in ("picture", "label", "p"))
    keys, which = np.unique(picture * k + label, return_inverse=True)
    silent = np.isnan(p)
    total = np.bincount(which, np.where(silent, 0.0, p), len(keys))
    judges = judging[keys // k] - np.bincount(which, silent, len(keys))
    q = np.clip(total / np.maximum(judges, 1), 0, 1)
    single = keys[judges == 1]
    del found, picture, label, p, which, silent, total, judges

    keys, proposed = with_partners(keys, k, collapsed_classes(settings.collapsed, pictures.named))
    whole = np.zeros(len(keys))
    whole[proposed] = q
    kept, (own, label) = ~pictures.dropped(), pictures.given()
    given = np.isin(keys, own * k + label)
    doubt, named = 4 * whole * (1 - whole), np.zeros(len(keys), bool)
    alone = given & np.isin(keys, single)
    doubt[alone] = UNKNOWN
    if pictures.said is not None:
        named = np.isin(keys, pictures.said.picture * k + pictures.said.label)
        worth = np.where(np.isnan(pictures.said.worth), WORTHY, pictures.said.worth)
        asked = pictures.said.asked[keys // k] & (given | named)
        doubt = np.where(asked, np.maximum(doubt, worth[keys // k]), doubt)
    first = keys % k == pictures.column("label")[keys // k]
    order = np.lexsort((keys % k, -whole, ~named, ~given, ~first, keys // k))
    order = order[kept[keys[order] // k]]
    keys = keys[order]
    return LabelCells(
        keys // k,
        keys % k,
        q=whole[order],
        doubt=doubt[order],
        given=given[order],
        alone=alone[order],
        proposed=proposed[order],
        sources=judging,
        sizes=np.bincount(label[kept[own]], minlength=k),
    )


def with_partners(keys: Ints, k: int, partners: Mapping[int, tuple[int, ...]]) -> tuple[Ints, Bools]:
    """Cells as keys, picture * k + label, with those that can't be told from them; and which of them were there."""
    more = [keys[keys % k == label] + (other - label) for label, others in partners.items() for other in others]
    whole = np.unique(np.concatenate([keys, *more]))
    return whole, np.isin(whole, keys, assume_unique=True)


# ── sources ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def sources(pictures: Pictures, settings: Settings) -> Iterator[Source]:
    """The sources of the pictures' labels."""
    n = len(pictures)
    yield _ones(n, *pictures.given())
    if pictures.said is not None and len(pictures.said.picture):
        known = pictures.said.label >= 0
        yield _ones(n, pictures.said.picture[known], pictures.said.label[known])
    for name in sorted(pictures.names):
        if name.endswith(".proposed"):
            label = pictures.column(name)
            if label.ndim == 1 and np.issubdtype(label.dtype, np.number):
                label = np.where(np.isfinite(label) & (label < len(pictures.classes)), label, -1).astype(np.int64)
                rows = np.flatnonzero(label >= 0)
                yield _ones(n, rows, label[rows])
    if PROBABILITIES in pictures.names:
        yield _probable(pictures, settings.least)
    if "multi_label.wrong" in pictures.names:
        yield _multi_label(pictures)
    if LABELS in pictures.names:
        yield from _models(pictures)


def _ones(n: int, picture: Ints, label: Ints) -> Source:
    """A source that holds some labels, without saying how likely."""
    judged = np.zeros(n, bool)
    judged[picture] = True
    return Source(picture, label, np.ones(len(picture)), judged)


def _probable(pictures: Pictures, least: float) -> Source:
    """Each picture's likeliest class, and all others above a probability; columns are the classes that occur."""
    column = pictures.table.column(PROBABILITIES)
    _, classes = pictures.table.labels()
    judged, rank = np.zeros(len(pictures), bool), np.empty(len(pictures), np.int64)
    rank[pictures.order] = np.arange(len(pictures))
    parts, done = list[tuple[Ints, Ints, Floats]](), 0
    for chunk in column.chunks:
        for start in range(0, len(chunk), AT_ONCE):
            some = chunk.slice(start, AT_ONCE)
            p: Reals = some.flatten().to_numpy(zero_copy_only=False).reshape(len(some), -1)
            rows = rank[done : done + len(some)]
            done += len(some)
            there = ~np.isnan(p[:, 0])
            judged[rows[there]] = True
            wanted = p > least
            wanted[np.flatnonzero(there), p[there].argmax(axis=1)] = True
            row, place = np.nonzero(wanted)
            parts.append((rows[row], classes[place], p[row, place].astype(np.float64)))
    if not parts:
        return _ones(len(pictures), np.zeros(0, np.int64), np.zeros(0, np.int64))
    picture, label, chances = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Source(picture, label, chances, judged)


def _multi_label(pictures: Pictures) -> Source:
    """The given labels as `multi_label` sees them: the most suspect one, and the one most likely to be missing."""
    own, label = pictures.given()
    judged = ~np.isnan(pictures.column("multi_label.score"))
    wrong, missing = (pictures.labels_of(pictures.arrow(f"multi_label.{name}")) for name in ("wrong", "missing"))
    suspect, absent = (pictures.column(f"multi_label.{name}_score") for name in ("wrong", "missing"))
    mine = judged[own]
    own, label = own[mine], label[mine]
    held = np.where(wrong[own] == label, 1 - np.nan_to_num(suspect[own]), 1.0)
    rows = np.flatnonzero((missing >= 0) & judged)
    p = np.concatenate([held, np.nan_to_num(absent[rows])])
    return Source(np.concatenate([own, rows]), np.concatenate([label, missing[rows]]), p, judged)


def _models(pictures: Pictures) -> Iterator[Source]:
    """The models behind the detector `candidates`: what each says of every label that is proposed to people."""
    labels = pictures.column(LABELS)
    n, cap = labels.shape
    rows, place = np.nonzero(labels >= 0)
    label = labels[rows, place].astype(np.int64)
    judged = np.zeros(n, bool)
    judged[rows] = True
    chances = pictures.column(CHANCES)
    chances = chances.reshape(n, cap, chances.shape[1] // max(1, cap))
    for model in range(chances.shape[2]):
        yield Source(rows, label, chances[rows, place, model].astype(np.float64), judged)
