"""Sums up the categories of each picture: what is unsafe, what nobody looked for, and what people are asked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from variorum.curation.safety.harms.opinions import YES, answers, speakers
from variorum.curation.safety.harms.weighing import STATES, UNSAFE, UNSCORED, Weighed
from variorum.schemas.safety import ANY, Category, Labeler, column_of

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools, Floats, Ints
    from variorum.kit.raters.valid_votes import Cells
    from variorum.schemas.table import Table

SAFETY = "safety.json"
"""Name of the member that a release adds."""
DIGITS = 6
"""Decimals of a probability in a column."""
WHOLE = 0.5
"""Worth in bits of asking about each harm, if a picture is in doubt as a whole."""
UNHEARD = ("refusal", "failed")
"""Kinds of answers that leave a picture in doubt."""


@dataclass(frozen=True, slots=True)
class Overall:
    """The verdict on N pictures as a whole.

    Attributes:
        alarm: `[N]` a labeler calls it unsafe without naming a category, or most people call it not safe to show.
        unheard: `[N]` a labeler refused or failed.
        cleared: `[N]` people agree that it is safe to show.
    """

    alarm: Bools
    unheard: Bools
    cleared: Bools


def overall(
    labelers: Sequence[Labeler],
    categories: Sequence[Category],
    table: Table,
    safe: Cells | None,
    *,
    unsure: float,
    least: int,
) -> Overall:
    """Judge pictures as a whole.

    Args:
        labelers: that were asked.
        categories: that they were asked about.
        table: has their answers.
        safe: votes of kind `safe`; None without any.
        unsure: see `opinions.answer`.
        least: people who must agree.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    alarm, unheard, cleared = (np.zeros(len(table), bool) for _ in range(3))
    for one in speakers(labelers, categories, ANY):
        alarm |= answers(one, table, unsure) == YES
    for labeler in labelers:
        for prompt in labeler.prompts(categories):
            heard = table.column(column_of(labeler, prompt, "heard"))
            unheard |= np.asarray(pc.is_in(heard, value_set=pa.array(UNHEARD)).to_numpy(), bool)
    if safe is not None:
        yes, number, known = safe.said(2), safe.number(), safe.known()
        cleared[safe.row[(known == 1) | (np.isnan(known) & (number >= least) & (yes == number))]] = True
        alarm[safe.row[(known == 0) | (np.isnan(known) & (2 * safe.said(0) > number))]] = True
    return Overall(alarm, unheard, cleared)


def columns(found: Sequence[Weighed], categories: Sequence[Category], whole: Overall) -> dict[str, Any]:
    """The columns of `curation.safety` for N pictures.

    Args:
        found: by category.
        categories: in the same order.
        whole: what is said of the pictures as a whole.
    """
    ids = [one.id for one in categories]
    harms = np.array([one.axis == "harm" for one in categories])
    states = np.stack([one.state[one.cell] for one in found], axis=1)
    p = np.stack([one.p[one.cell] for one in found], axis=1)
    unsafe, unscored = states == UNSAFE, states == UNSCORED
    flag = unsafe[:, harms].any(axis=1)
    questions, doubt = _questions(found, harms, unsafe, whole)
    by_category = {
        name: column
        for place, (one, identity) in enumerate(zip(found, ids, strict=True))
        for name, column in (
            (f"p.{identity}", p[:, place]),
            (f"share.{identity}", one.share[one.cell]),
            (f"entropy.{identity}", entropy(one.share)[one.cell]),
            (f"state.{identity}", np.array(STATES, object)[states[:, place]]),
        )
    }
    policy_only = unsafe.any(axis=1) & ~flag
    return {
        **by_category,
        "score": _highest(p[:, harms]),
        "flag": flag,
        "unsafe_p": _highest(p),
        "unsafe": listed(unsafe, ids),
        "unscored": listed(unscored, ids),
        "policy_only": policy_only,
        "needs_human": doubt,
        "ask": _asked(questions, ids, len(states)),
        "member": members(found, ids, unsafe, unscored, policy_only, doubt),
    }


def entropy(p: Floats) -> Floats:
    """Entropy of a yes with probability p, in bits; NaN stays."""
    inside = np.clip(p, 1e-300, 1), np.clip(1 - p, 1e-300, 1)
    return np.asarray(-(p * np.log2(inside[0]) + (1 - p) * np.log2(inside[1]))) + 0.0


def listed(mask: Bools, ids: Sequence[str]) -> Array:
    """The names `[N]` of the columns of a mask `[N, K]` that hold, as JSON lists."""
    bits = np.packbits(mask, axis=1)
    rows, which = np.unique(
        np.ascontiguousarray(bits).view(np.dtype((np.void, max(1, bits.shape[1])))).reshape(-1), return_inverse=True
    )
    first = np.zeros(len(rows), np.int64)
    first[which[::-1]] = np.arange(len(mask))[::-1]
    texts = np.empty(len(rows), object)
    texts[:] = [json.dumps([name for name, on in zip(ids, mask[row].tolist(), strict=True) if on]) for row in first]
    return np.asarray(texts[which.reshape(-1)])


def _highest(p: Floats) -> Floats:
    """Highest value of each row, NaN where all are."""
    top = np.where(np.isnan(p), -1.0, p).max(axis=1, initial=-1)
    return np.where(top < 0, np.nan, top)


def _questions(
    found: Sequence[Weighed], harms: Bools, unsafe: Bools, whole: Overall
) -> tuple[tuple[Ints, Ints, Floats], Bools]:
    """Row, category and worth of every question, and whether each picture needs people `[N]`.

    A cell in doubt is worth the entropy of its p or of the votes, whichever is more. A picture that is in doubt as a
    whole, and has no such cell, is asked about in every harm.
    """
    rows: list[Ints] = []
    places: list[Ints] = []
    worth: list[Floats] = []
    count = len(unsafe)
    known, open_harm = np.zeros(count, bool), np.zeros(count, bool)
    doubt = np.zeros(count, bool)
    for place, one in enumerate(found):
        mine = np.flatnonzero(one.doubtful()[one.cell])
        doubt[mine] = True
        value = np.fmax(entropy(one.p), entropy(one.share))[one.cell[mine]]
        rows.append(mine)
        places.append(np.full(len(mine), place))
        worth.append(value)
        known |= (one.known == 1)[one.cell]
        if harms[place]:
            open_harm |= ~one.settled()[one.cell]
    whole_doubt = (whole.alarm & ~unsafe.any(axis=1)) | whole.unheard
    whole_doubt &= ~whole.cleared & ~known & open_harm
    for place, one in enumerate(found):
        if harms[place]:
            mine = np.flatnonzero(whole_doubt & ~doubt & ~one.settled()[one.cell])
            rows.append(mine)
            places.append(np.full(len(mine), place))
            worth.append(np.full(len(mine), WHOLE))
    return (np.concatenate(rows), np.concatenate(places), np.concatenate(worth)), doubt | whole_doubt


def _asked(questions: tuple[Ints, Ints, Floats], ids: Sequence[str], number: int) -> Array:
    """JSON lists `[N]` of [category, worth], the most worth asking first; `[]` for none."""
    rows, places, worth = questions
    worth = worth.round(DIGITS)
    order = np.lexsort((places, -worth, rows))
    names = [json.dumps(name) for name in ids]
    parts = [
        f"[{names[place]}, {value}]" for place, value in zip(places[order].tolist(), worth[order].tolist(), strict=True)
    ]
    mine, starts = np.unique(rows[order], return_index=True)
    texts = np.full(number, "[]", object)
    for row, start, end in zip(mine.tolist(), starts.tolist(), np.append(starts, len(parts))[1:].tolist(), strict=True):
        texts[row] = f"[{', '.join(parts[start:end])}]"
    return texts


def members(
    found: Sequence[Weighed], ids: Sequence[str], unsafe: Bools, unscored: Bools, policy_only: Bools, doubt: Bools
) -> list[bytes]:
    """The member `safety.json` of each picture: lists with one entry per category, so loaders read typed columns.

    `category`, `state`, `p` (null if unscored), `yes`, `unclear`, `no` (labelers and people who say so), `people`
    (who answered); and for the picture `unsafe`, `unscored`, `policy_only`, `needs_human`.
    """
    head = f'{{"category": {json.dumps(list(ids))}, "state": ['
    parts = []
    for one in found:
        said, people = one.said(), one.people.sum(axis=1)
        parts.append(
            [
                (
                    f'"{STATES[state]}"',
                    "null" if p != p else str(p),
                    str(counts[2]),
                    str(counts[1]),
                    str(counts[0]),
                    str(number),
                )
                for state, p, counts, number in zip(
                    one.state.tolist(), one.p.round(DIGITS).tolist(), said.tolist(), people.tolist(), strict=True
                )
            ]
        )
    names = ('], "p": [', '], "yes": [', '], "unclear": [', '], "no": [', '], "people": [')
    texts = [listed(mask, ids) for mask in (unsafe, unscored)]
    flags = np.where(policy_only, "true", "false"), np.where(doubt, "true", "false")
    cells = np.stack([one.cell for one in found], axis=1).astype(np.int32)
    keys = np.concatenate([cells, doubt[:, None].astype(np.int32)], axis=1)
    kept: dict[bytes, bytes] = {}
    result = list[bytes]()
    width = keys.shape[1] * 4
    data = np.ascontiguousarray(keys).tobytes()
    for row in range(len(keys)):
        key = data[row * width : (row + 1) * width]
        member = kept.get(key)
        if member is None:
            lists = zip(*(part[cell] for part, cell in zip(parts, cells[row].tolist(), strict=True)), strict=True)
            body = "".join(
                text + end for text, end in zip((", ".join(one) for one in lists), (*names, ""), strict=True)
            )
            tail = (
                f'], "unsafe": {texts[0][row]}, "unscored": {texts[1][row]}, '
                f'"policy_only": {flags[0][row]}, "needs_human": {flags[1][row]}}}'
            )
            member = kept[key] = (head + body + tail).encode()
        result.append(member)
    return result


def counted(found: Weighed) -> dict[str, int]:
    """Number of pictures by state, and of those that were scored."""
    times = found.times()
    by_state = {name: int(times[found.state == place].sum()) for place, name in enumerate(STATES)}
    return {"scored": int(times.sum()) - by_state["unscored"], **by_state}
