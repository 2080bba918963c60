"""The votes of a file that count: the last one of each person, on pictures that haven't changed since.

A file may hold every vote that was ever cast, or an earlier export; either way a vote counts once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from variorum.edition.verdicts import rows_of
from variorum.kit.raters.known_answers import TRUTHS, read_known
from variorum.schemas.errors import SourceError
from variorum.schemas.vote import ANSWERS, BLIND, TOGETHER

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

    from variorum.arrays import Bools, Floats, Ints
    from variorum.schemas.table import Table


@dataclass(frozen=True, slots=True)
class Counted:
    """Votes that count, of all kinds.

    Attributes:
        votes: their columns as in `schemas.vote.Vote`.
        row: `[A]` row of each one's picture in the edition's table.
        given: number of votes in the file.
        unknown: votes on pictures that aren't in the edition.
        changed: votes on pictures whose image has changed since; a vote without a `sha256` is taken as it is.
    """

    votes: pa.Table
    row: Ints
    given: int
    unknown: int
    changed: int

    def of(self, kind: str) -> Counted:
        """The votes on one kind of question."""
        import pyarrow.compute as pc

        mine = pc.equal(self.votes["kind"], kind)
        chosen = np.flatnonzero(mine.to_numpy())
        return Counted(self.votes.take(chosen), self.row[chosen], self.given, self.unknown, self.changed)


@dataclass(frozen=True, slots=True)
class Cells:
    """C cells, each one question about one picture, and people's answers to them.

    Attributes:
        row: `[C]` row of the picture; cells are sorted by row and subject.
        subject: `[C]` number of the subject.
        cell: `[A]` cell of each blind answer.
        rater: `[A]` number of the person.
        answer: `[A]` 0 no, 1 unclear, 2 yes.
        people: names of the raters.
        decided: `[C]` what a discussion decided, 0, 1 or 2; -1 where there was none.
        gold: `[C]` known truths 0 or 1, NaN if unknown.
        votes: all votes, those of discussions too, with their `cell`.
    """

    row: Ints
    subject: Ints
    cell: Ints
    rater: Ints
    answer: Ints
    people: list[str]
    decided: Ints
    gold: Floats
    votes: pa.Table

    def __len__(self) -> int:
        return len(self.row)

    def number(self) -> Ints:
        """Blind answers to each cell `[C]`."""
        return np.bincount(self.cell, minlength=len(self)).astype(np.int64)

    def said(self, answer: int) -> Ints:
        """Blind answers of one kind to each cell `[C]`."""
        return np.bincount(self.cell[self.answer == answer], minlength=len(self)).astype(np.int64)

    def known(self) -> Floats:
        """Truths `[C]` that are kept fixed: gold, else what a discussion decided; NaN if neither says yes or no."""
        together = np.where(self.decided == 2, 1.0, np.where(self.decided == 0, 0.0, np.nan))
        return np.where(np.isnan(self.gold), together, self.gold)

    def open(self) -> Bools:
        """Cells `[C]` that a discussion left unclear on purpose."""
        return np.asarray((self.decided == 1) & np.isnan(self.gold))


def counted_votes(path: Path, table: Table, where: str) -> Counted:
    """The votes of a file that count for an edition.

    Raises:
        SourceError: the file is missing, unreadable, or holds no votes.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    given = read(path, where)
    votes = given.filter(standing(given))
    row = rows_of(table.column("id"), pa.chunked_array(votes["id"].chunks, pa.string()))
    known = row.is_valid().to_numpy(zero_copy_only=False)
    now = table.column("sha256").take(row)
    same = pc.or_(pc.equal(now, votes["sha256"]), pc.equal(votes["sha256"], ""))
    same = pc.and_(pc.fill_null(same, False), pc.is_valid(row)).to_numpy().astype(bool)
    last = last_votes(votes.take(np.flatnonzero(same)).append_column("row", [row.filter(pa.array(same))]))
    return Counted(
        last.drop_columns(["row"]),
        last["row"].to_numpy().astype(np.int64),
        len(given),
        int((~known).sum()),
        int((known & ~same).sum()),
    )


def standing(votes: pa.Table) -> Any:
    """Mask of the votes that were neither replaced nor taken back."""
    import pyarrow as pa
    import pyarrow.compute as pc

    answered = pc.is_in(votes["answer"], value_set=pa.array(ANSWERS, pa.string()))
    earlier = votes["replaces"].filter(pc.not_equal(votes["replaces"], ""))
    return pc.and_(answered, pc.invert(pc.is_in(votes["vote"], value_set=earlier.combine_chunks())))


def read(path: Path, where: str) -> pa.Table:
    """All votes of a file, which isn't read again while it stays the same.

    Raises:
        SourceError: it is missing, unreadable, or holds something else.
    """
    try:
        stat = path.stat()
        return _read(path, stat.st_mtime_ns, stat.st_size)
    except SourceError as error:
        raise SourceError(f"{where}: {error}") from None
    except OSError as error:
        why = error.strerror or error
        raise SourceError(f"{where}: {path} can't be read ({why}); leave the field out until there are votes") from None


@lru_cache(maxsize=1)
def _read(path: Path, _changed: int, _size: int) -> pa.Table:
    from variorum.people.votes.files import read_votes

    return read_votes(path)


def last_votes(votes: pa.Table) -> pa.Table:
    """The last vote of each person on a question and round, in an order that doesn't depend on that of the file."""
    import pyarrow as pa
    import pyarrow.compute as pc

    names = ("kind", "id", "subject", "reviewer", "round")
    order = [(name, "ascending") for name in (*names, "at", "vote")]
    votes = votes.take(pc.sort_indices(votes, sort_keys=order)).combine_chunks()
    if len(votes) < 2:
        return votes
    next_is_same = pa.array(np.ones(len(votes) - 1, bool))
    for name in names:
        column = votes[name].combine_chunks()
        next_is_same = pc.and_(next_is_same, pc.equal(column.slice(0, len(votes) - 1), column.slice(1)))
    last = np.append(~next_is_same.to_numpy(zero_copy_only=False), True)
    return votes.take(np.flatnonzero(last))


def label_cells(votes: Counted, index: Mapping[str, int], gold: Mapping[tuple[int, int], float]) -> tuple[Cells, int]:
    """Cells of the questions of kind `label` or `unsafe`, and the number of votes on no subject of the index.

    Args:
        votes: of this kind.
        index: by subject, its number: of a class, or of a category of unsafe pictures.
        gold: known truths by row and subject; those that nobody was asked about are cells too.
    """
    coded = votes.votes["subject"].dictionary_encode().combine_chunks()
    classes = np.array([index.get(name, -1) for name in coded.dictionary.to_pylist()], np.int64)
    subject = classes[coded.indices.to_numpy()] if len(classes) else np.zeros(0, np.int64)
    there = np.flatnonzero(subject >= 0)
    return cells_of(votes.votes.take(there), votes.row[there], subject[there], gold), len(subject) - len(there)


def cells_of(votes: pa.Table, row: Ints, subject: Ints, gold: Mapping[tuple[int, int], float] | None = None) -> Cells:
    """Cells from votes on questions of one kind.

    Args:
        votes: A votes.
        row: `[A]` row of each one's picture.
        subject: `[A]` number of each one's subject.
        gold: known truths by row and subject; they come before those that the panel was published with.
    """
    known = np.array(list(gold or {}), np.int64).reshape(-1, 2)
    every = np.concatenate([np.stack([row, subject], axis=1).astype(np.int64), known])
    cells, which = np.unique(every, axis=0, return_inverse=True)
    cell, of_gold = np.split(which.reshape(-1), [len(row)])
    order = np.argsort(cell, kind="stable")
    votes, cell = votes.take(order), cell[order]
    answer = np.array([ANSWERS.index(name) for name in votes["answer"].to_pylist()], np.int64)
    alone = votes["round"].to_numpy() == BLIND
    people, rater = _numbered(votes["reviewer"])
    decided = np.full(len(cells), -1)
    together = np.flatnonzero(votes["round"].to_numpy() == TOGETHER)
    together = together[np.argsort(votes["at"].to_numpy()[together], kind="stable")]
    decided[cell[together]] = answer[together]  # the last one counts
    truth = np.full(len(cells), np.nan)
    published = votes["truth"].to_numpy(zero_copy_only=False)
    for place, word in enumerate(("no", "yes")):
        truth[cell[published == word]] = place
    truth[of_gold] = list((gold or {}).values())
    votes = votes.append_column("cell", [cell])
    return Cells(cells[:, 0], cells[:, 1], cell[alone], rater[alone], answer[alone], people, decided, truth, votes)


def _numbered(names: Any) -> tuple[list[str], Ints]:
    """The different names in alphabetical order, and the number of each."""
    coded = names.dictionary_encode().combine_chunks()
    listed = coded.dictionary.to_pylist()
    order = sorted(range(len(listed)), key=listed.__getitem__)
    place = np.zeros(len(listed), np.int64)
    place[order] = np.arange(len(listed))
    return [listed[one] for one in order], place[coded.indices.to_numpy()] if listed else np.zeros(0, np.int64)


def read_gold(
    path: Path, table: Table, index: Mapping[str, int], where: str, kind: str = "label"
) -> dict[tuple[int, int], float]:
    """Known truths 0 or 1 by row of the edition's table and number of the subject; see `known_answers` for the file.

    Answers of other kinds, on pictures that aren't in the edition or have changed, and on other subjects don't count.

    Raises:
        SourceError: as `known_answers.read_known`; or an answer is there with yes and with no.
    """
    import pyarrow as pa

    truths: dict[tuple[int, int], float] = {}
    rows = [row for row in read_known(path, where).to_pylist() if row["kind"] == kind]
    for name in ("id", "origin"):
        mine = [row for row in rows if row[name] and (name == "id" or not row["id"])]
        if not mine:
            continue
        places = rows_of(table.column(name), pa.chunked_array([pa.array([row[name] for row in mine], pa.string())]))
        hashes = table.column("sha256").take(places).to_pylist()
        for row, place, sha256 in zip(mine, places.to_pylist(), hashes, strict=True):
            label = index.get(row["subject"])
            if place is not None and label is not None and row["sha256"] in ("", sha256):
                truth = float(TRUTHS[row["truth"]])
                if truths.setdefault((place, label), truth) != truth:
                    asked = f"shows {row['subject']}" if kind == "label" else f"is {kind}, {row['subject']},"
                    raise SourceError(f"{where}: {path}: whether {row[name]} {asked} is answered with yes and with no")
    return truths
