"""The review queue: a CSV file with one line per picture that people are asked about, the most worth asking first."""

from __future__ import annotations

import csv
import io
import math
from typing import Any

import numpy as np

from variorum.arrays import Ints
from variorum.edition.verdicts import settle

PICTURE = ("id", "sha256", "variant", "labels", "origin")
HEAD = (*PICTURE, "by", "reason", "also", "value", "worth", "proposed", "audit", "new_labels")
GOLD = "gold"
"""Reason of an audit verdict on a picture whose answer is known; such pictures tell how careful people are."""


def review_queue(said: Any, table: Any) -> str:
    """The review queue as CSV.

    Pictures on which deciders contradict each other come first, then questions by what they are worth, then those
    whose worth is unknown, by reason in the order of first verdicts and within a reason by value. Every line has one
    reason and, in `also`, all others. Pictures drawn at random come last, or are spread evenly if a budget has been
    set, so that they are answered too. They are always in the queue; for a relabelled one, the new label is in
    question too.

    Args:
        said: all verdicts, as `verdict_table` gives them.
        table: the edition's table with the columns `PICTURE`.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    drawn = said.filter(pc.equal(said["action"], "audit"))
    settled = settle(said)
    spread = "unasked" in said["action"].unique().to_pylist() or GOLD in drawn["reason"].unique().to_pylist()
    questions = settled.filter(pc.equal(settled["action"], "review"))
    questions = questions.take(_order(questions, said))
    extra = drawn.filter(pc.invert(pc.is_in(drawn["id"], value_set=questions["id"].combine_chunks())))
    names = extra["id"].to_numpy(zero_copy_only=False).astype(str)
    extra = extra.take(np.unique(names, return_index=True)[1])
    both = pa.concat_tables([questions, extra])
    if spread:
        turn = [(np.arange(len(one)) + 0.5) / max(len(one), 1) for one in (questions, extra)]
        both = both.take(np.argsort(np.concatenate(turn), kind="stable"))
    rows = pc.index_in(both["id"], value_set=table["id"].combine_chunks())
    pictures = table.select(list(PICTURE)).take(rows).to_pylist()
    others = _others(said, both)
    audited = set(drawn["id"].to_pylist())
    new = {row["id"]: row["labels"] for row in settled.filter(pc.equal(settled["action"], "relabel")).to_pylist()}
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(HEAD)
    for picture, verdict in zip(pictures, both.to_pylist(), strict=True):
        name, question = picture["id"], verdict["action"] == "review"
        cells = [name, picture["sha256"], picture["variant"], " ".join(picture["labels"] or ()), picture["origin"]]
        also = " ".join(reason for reason in others.get(name, ()) if reason != verdict["reason"])
        value, worth = ("" if math.isnan(verdict[one]) else f"{verdict[one]:.6g}" for one in ("value", "worth"))
        proposed = plain(" ".join(verdict["labels"])) if question else ""
        asked = [verdict["by"], verdict["reason"], also, value, worth, proposed]
        writer.writerow([*map(plain, cells), *asked, int(name in audited), plain(" ".join(new.get(name, ())))])
    return out.getvalue()


def _order(questions: Any, said: Any) -> Ints:
    """The order of the questions `[Q]`."""
    names = [said[name].to_numpy(zero_copy_only=False).astype(str) for name in ("by", "reason")]
    turn: dict[tuple[str, str], int] = {}
    kinds, first = np.unique(np.char.add(np.char.add(names[0], "\x1f"), names[1]), return_index=True)
    for kind, place in zip(kinds.tolist(), first.tolist(), strict=True):
        turn[tuple(kind.split("\x1f"))] = place
    pairs = zip(*(questions[name].to_pylist() for name in ("by", "reason")), strict=True)
    turns = np.array([turn.get(pair, -1) for pair in pairs], np.int64)
    value, worth = (np.nan_to_num(questions[name].to_numpy(), nan=-np.inf) for name in ("value", "worth"))
    return np.lexsort((-value, np.where(np.isfinite(worth), 0, turns), -worth, turns >= 0))


def _others(said: Any, asked: Any) -> dict[str, list[str]]:
    """By picture asked about, the reasons of the notes on it and of the other reviews."""
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted = pc.is_in(said["id"], value_set=asked["id"].combine_chunks())
    reasons = pc.is_in(said["action"], value_set=pa.array(["note", "review"]))
    found: dict[str, list[str]] = {}
    notes = said.select(["id", "reason"]).filter(pc.and_(wanted, reasons))
    for name, reason in zip(*(notes[column].to_pylist() for column in ("id", "reason")), strict=True):
        if reason not in found.setdefault(name, []):
            found[name].append(reason)
    return found


def plain(text: str) -> str:
    """Text that a spreadsheet doesn't read as a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
