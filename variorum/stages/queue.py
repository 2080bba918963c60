"""The review queue: a CSV file with one line per picture that people are asked about, the most worth asking first."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from variorum.arrays import Ints, taken
from variorum.edition.lazy_columns import WideTable
from variorum.edition.verdicts import rows_of, settle

PICTURE = ("id", "sha256", "variant", "labels", "origin")
HEAD = (*PICTURE, "by", "reason", "also", "value", "worth", "proposed", "audit", "new_labels")
PIECE = 1 << 14
"""Lines that are written at a time."""
GOLD = "gold"
"""Reason of an audit verdict on a picture whose answer is known; such pictures tell how careful people are."""
ANSWERED = "answered"
"""Reason of a note on a picture that people have answered: it is only asked about again as gold."""
CALIBRATED = "calibrated"
"""Reason of a verdict that only changes what asking is worth."""


def review_queue(said: Any, table: Any) -> Iterator[str]:
    """The review queue as CSV, in pieces of `PIECE` lines, so that only these are Python objects.

    Pictures on which deciders contradict each other come first, then questions by what they are worth, then those
    whose worth is unknown, by reason in the order of first verdicts and within a reason by value. Every line has one
    reason and, in `also`, all others. Controls are spread evenly over the questions. Pictures drawn at random come
    after all of these, as a part of their own; those that are a question anyway are marked in `audit`. They are in the
    queue until they are answered; for a relabelled one, the new label is in question too.
    """
    asked, new = _asked(said)
    return _csv(_Lines.of(asked, new, table), _Reasons.of(said, asked["id"]))


def _asked(said: Any) -> tuple[Any, Any]:
    """The verdicts that ask people, in order, with `drawn` for those that were drawn; and the verdicts that relabel."""
    import pyarrow as pa
    import pyarrow.compute as pc

    settled = settle(said)
    withheld = settled.filter(pc.equal(settled["action"], "withhold"))  # nobody is shown these
    drawn = said.filter(pc.equal(said["action"], "audit"))
    drawn = drawn.filter(pc.invert(pc.is_in(drawn["id"], value_set=withheld["id"])))
    questions = settled.filter(pc.equal(settled["action"], "review"))
    questions = taken(questions, _order(questions, said))
    done = said.filter(pc.and_(pc.equal(said["action"], "note"), pc.equal(said["reason"], ANSWERED)))
    again = pc.or_(pc.equal(drawn["reason"], GOLD), pc.invert(pc.is_in(drawn["id"], value_set=done["id"])))
    extra = drawn.filter(pc.and_(again, pc.invert(pc.is_in(drawn["id"], value_set=questions["id"]))))
    names = extra["id"].to_numpy(zero_copy_only=False).astype(str)
    extra = taken(extra, np.unique(names, return_index=True)[1])
    is_gold = pc.equal(extra["reason"], GOLD)
    gold, random = extra.filter(is_gold), extra.filter(pc.invert(is_gold))
    turn = [(np.arange(len(one)) + 0.5) / max(len(one), 1) for one in (questions, gold)]
    mixed = taken(pa.concat_tables([questions, gold]), np.argsort(np.concatenate(turn), kind="stable"))
    both = pa.concat_tables([mixed, random])
    both = both.append_column("drawn", pc.is_in(both["id"], value_set=drawn["id"]))
    return both, settled.filter(pc.equal(settled["action"], "relabel")).select(["id", "labels"])


@dataclass(frozen=True, slots=True)
class _Lines:
    """What the queue's lines say.

    Attributes:
        asked: the verdicts that ask, a line each, with the new labels as `new`.
        pictures: what is said of each picture, in the edition's order.
        place: `[L]` row in `pictures`.
    """

    asked: Any
    pictures: Any
    place: Ints

    @classmethod
    def of(cls, asked: Any, new: Any, table: Any) -> _Lines:
        """From the verdicts that ask, those that relabel, and the edition's table, which is read in blocks."""
        import pyarrow as pa
        import pyarrow.compute as pc

        rows = rows_of(table["id"], asked["id"]).to_numpy()
        wanted, place = np.unique(rows, return_inverse=True)
        blocks = table.blocks(PICTURE) if isinstance(table, WideTable) else [table.select(PICTURE)]
        found, start = [pa.schema([table.schema.field(name) for name in PICTURE]).empty_table()], 0
        for block in blocks:
            mine = wanted[slice(*np.searchsorted(wanted, (start, start + len(block))))]
            found.append(taken(block, mine - start))
            start += len(block)
        relabelled = pc.fill_null(pc.index_in(asked["id"], value_set=new["id"]), -1).to_numpy().astype(np.int64)
        asked = asked.append_column("new", taken(new.select(["labels"]), relabelled)["labels"])
        return cls(asked, pa.concat_tables(found), place)

    def piece(self, start: int) -> list[dict[str, Any]]:
        """Up to `PIECE` lines from `start` on."""
        some = self.place[start : start + PIECE]
        pictures = taken(self.pictures, some).to_pylist()
        said = self.asked.slice(start, PIECE).to_pylist()
        return [
            {**verdict, "proposed": verdict["labels"], **picture}
            for verdict, picture in zip(said, pictures, strict=True)
        ]


def _csv(lines: _Lines, reasons: _Reasons) -> Iterator[str]:
    for start in range(0, max(1, len(lines.place)), PIECE):
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        if not start:
            writer.writerow(HEAD)
        piece = lines.piece(start)
        for line, others in zip(piece, reasons.piece(start, start + len(piece)), strict=True):
            cells = [line["id"], line["sha256"], line["variant"], " ".join(line["labels"] or ()), line["origin"]]
            also = " ".join(reason for reason in others if reason not in (line["reason"], CALIBRATED, ANSWERED))
            value, worth = ("" if math.isnan(line[one]) else f"{line[one]:.6g}" for one in ("value", "worth"))
            proposed = plain(" ".join(line["proposed"])) if line["action"] == "review" else ""
            asked = [line["by"], line["reason"], also, value, worth, proposed]
            writer.writerow([*map(plain, cells), *asked, int(line["drawn"]), plain(" ".join(line["new"] or ()))])
        yield out.getvalue()


def _order(questions: Any, said: Any) -> Ints:
    """The order of the questions `[Q]`."""
    import pyarrow.compute as pc

    coded = [said[name].dictionary_encode().combine_chunks() for name in ("by", "reason")]
    by, reason = (one.indices.to_numpy().astype(np.int64) for one in coded)
    width = len(coded[1].dictionary)
    kinds, first = np.unique(by * width + reason, return_index=True)
    turn = dict(zip(kinds.tolist(), first.tolist(), strict=True))
    by, reason = (
        pc.fill_null(pc.index_in(questions[name], value_set=one.dictionary), -1).to_numpy().astype(np.int64)
        for name, one in zip(("by", "reason"), coded, strict=True)
    )
    kinds, which = np.unique(np.where(np.minimum(by, reason) < 0, -1, by * width + reason), return_inverse=True)
    turns = np.array([turn.get(kind, -1) for kind in kinds.tolist()], np.int64)[which]
    value, worth = (np.nan_to_num(questions[name].to_numpy(), nan=-np.inf) for name in ("value", "worth"))
    return np.lexsort((-value, np.where(np.isfinite(worth), 0, turns), -worth, turns >= 0))


@dataclass(frozen=True, slots=True)
class _Reasons:
    """Why else there are questions: the reasons of notes and reviews, each once per line, in order.

    Attributes:
        line: `[R]` place in the queue, rising.
        code: `[R]` index in `names`.
        names: the different reasons.
    """

    line: Ints
    code: Ints
    names: list[str]

    @classmethod
    def of(cls, said: Any, ids: Any) -> _Reasons:
        """From all verdicts, for a queue of these pictures."""
        import pyarrow as pa
        import pyarrow.compute as pc

        line = pc.index_in(said["id"], value_set=ids)
        wanted = pc.and_(pc.is_valid(line), pc.is_in(said["action"], value_set=pa.array(["note", "review"])))
        coded = said["reason"].filter(wanted).dictionary_encode().combine_chunks()
        line, code = line.filter(wanted).to_numpy().astype(np.int64), coded.indices.to_numpy().astype(np.int64)
        order = np.argsort(line, kind="stable")
        line, code = line[order], code[order]
        once = np.sort(np.unique(line * max(1, len(coded.dictionary)) + code, return_index=True)[1])
        return cls(line[once], code[once], coded.dictionary.to_pylist())

    def piece(self, start: int, stop: int) -> list[list[str]]:
        """The reasons of the lines `start` to `stop - 1`."""
        found: list[list[str]] = [[] for _ in range(start, stop)]
        some = slice(*np.searchsorted(self.line, (start, stop)))
        for line, code in zip(self.line[some].tolist(), self.code[some].tolist(), strict=True):
            found[line - start].append(self.names[code])
        return found


def plain(text: str) -> str:
    """Text that a spreadsheet doesn't read as a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
