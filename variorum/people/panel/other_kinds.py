"""Questions that aren't about labels: copies, edits, boxes, whether a picture is safe to show, ways to be unsafe."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from variorum.edition.store import Store
from variorum.edition.tables import read_table
from variorum.people.panel.askable import Pictures
from variorum.people.panel.asks import AGREED, ASKED, GOLD, YES, Asks, Plain, turns
from variorum.people.panel.controls import Need, balanced
from variorum.people.panel.labels import Answers
from variorum.people.panel.unsafe import unsafe_questions
from variorum.schemas.errors import RecipeError
from variorum.schemas.manifest import Manifest
from variorum.schemas.sample import BASELINES
from variorum.schemas.vote import Kind

if TYPE_CHECKING:
    from variorum.arrays import Floats, Ints
    from variorum.people.panel.settings import Settings

PROVED = ("file", "pixels")
"""Layers of `duplicates` that nobody doubts: the same bytes, the same pixels."""
Refused: TypeAlias = Callable[[], "Mapping[str, Floats]"]
"""Gives, by column of a gate, the sorted values of the pictures that it refused."""
COPIES = ("copies_with_two_labels", "looks_like_a_copy")
"""Reasons for which a ledger asks people about copies."""


def plain_questions(kind: Kind, pictures: Pictures, settings: Settings, refused: Refused) -> Plain:
    """The questions of a kind other than `label` about an edition.

    Raises:
        RecipeError: a setting names an unknown column, or there can be no such questions.
    """
    if kind == "copy":
        return _copies(pictures)
    if kind == "box":
        return _boxes(pictures)
    if kind == "edit":
        return _edits(pictures, refused)
    if kind == "unsafe":
        return unsafe_questions(pictures)
    return _safe(pictures, settings)


def with_controls(plain: Plain, gold: Answers, known: Asks, settings: Settings, rng: np.random.Generator) -> Asks:
    """The questions in the order of asking, at most `cap` in a task.

    Questions with a known answer are tasks of their own, also those that nobody would ask otherwise.

    Args:
        plain: all questions of the kind.
        gold: answers from a file; `label` is the place of a subject.
        known: questions that are published already, which aren't asked again.
        settings: of the panel.
        rng: draws.
    """
    need = Need(settings.gold, settings.agreed)
    width = max(1, len(plain.subjects))
    old = known.picture * width + known.subject
    keys = plain.picture * width + plain.subject
    rows = np.flatnonzero(~np.isin(keys, old))
    calm = rng.permutation(rows[plain.calm[rows]])
    rows = rows[~plain.calm[rows]]
    first = np.searchsorted(plain.picture, plain.picture)
    # a picture with more questions than fit into a task gets several
    cut = np.arange(len(keys)) - first
    task = np.unique(np.stack([plain.picture, cut // settings.cap]), axis=1, return_inverse=True)[1].ravel()
    best = np.full(int(task.max(initial=-1)) + 1, -np.inf)
    np.maximum.at(best, task, plain.worth)
    turn = np.lexsort((rng.random(len(best)), -best))
    rank = np.empty(len(best), np.int64)
    rank[turn] = np.arange(len(best))
    rows = rows[np.lexsort((plain.subject[rows], rank[task[rows]]))]
    if settings.budget is not None:
        left = max(0, settings.budget - int((known.why == ASKED).sum()))
        ends = np.searchsorted(rank[task[rows]], rank[task[rows]], side="right")
        rows = rows[ends <= left]

    number = need.number(len(rows))
    fresh = np.flatnonzero(~np.isin(gold.picture * width + gold.label, old))
    elsewhere = np.isin(gold.picture[fresh], plain.picture[rows])
    chosen = fresh[balanced(gold.truth[fresh], number[0], rng, elsewhere)]
    chosen = chosen[np.argsort(gold.picture[chosen], kind="stable")]
    place = np.arange(len(chosen)) - np.searchsorted(gold.picture[chosen], gold.picture[chosen])
    chosen = chosen[place < settings.cap]
    picture, subject, truth = (column[chosen] for column in gold)
    main, calm = (part[~np.isin(keys[part], picture * width + subject)] for part in (rows, calm))
    calm = calm[: number[1]]
    undoubted = _numbered(np.arange(len(calm)), plain.picture[calm], plain.subject[calm], plain.worth[calm], AGREED)
    parts = [
        _numbered(rank[task[main]], plain.picture[main], plain.subject[main], plain.worth[main], ASKED),
        Asks.of(np.unique(picture, return_inverse=True)[1].ravel(), picture, subject, why=GOLD, truth=truth),
        replace(undoubted, truth=np.full(len(calm), YES), presumed=np.ones(len(calm), bool)),
    ]
    groups = [(int(one.task.max(initial=-1)) + 1, place > 0) for place, one in enumerate(parts)]
    return Asks.together(parts).ordered(turns(groups, rng))


def _numbered(rank: Ints, picture: Ints, subject: Ints, worth: Floats, why: int) -> Asks:
    """Questions whose tasks are numbered from 0 by rising rank."""
    task = np.unique(rank, return_inverse=True)[1].ravel()
    return Asks.of(task, picture, subject, why=why, worth=worth)


def _copies(pictures: Pictures) -> Plain:
    """Pairs of a group's keeper and its other pictures. A pair that is asked about once isn't asked the other way."""
    needed = ("duplicates.group", "duplicates.keeper", "duplicates.layer", "duplicates.score", "duplicates.conflict")
    if lacking := [name for name in needed if name not in pictures.names]:
        raise RecipeError(
            f"questions about copies need the column {lacking[0]}, and "
            + ("the edition hasn't been curated" if pictures.said is None else "its newest ledger doesn't have it")
            + "; curate it with a recipe that has the detector duplicates, then publish the panel"
        )
    keeper = pictures.places(pictures.arrow("duplicates.keeper"))
    keeper = np.where(keeper < 0, np.arange(len(pictures)), keeper)
    kept = ~pictures.dropped()
    rows = np.flatnonzero((keeper != np.arange(len(pictures))) & kept & kept[keeper])
    likeness, conflict = pictures.column("duplicates.score")[rows], pictures.column("duplicates.conflict")[rows]
    worth = np.where(conflict.astype(bool), 1.0, 4 * likeness * (1 - likeness))
    worth = np.nan_to_num(worth, nan=1.0)
    if pictures.said is not None:
        import pyarrow as pa
        import pyarrow.compute as pc

        asked = pictures.said.reasons.filter(pc.is_in(pictures.said.reasons["reason"], value_set=pa.array(COPIES)))
        worth[np.isin(rows, asked["picture"].to_numpy())] = 1.0
    calm = np.isin(pictures.column("duplicates.layer")[rows], PROVED) & (worth < 1)
    order = np.lexsort((rows, -worth, keeper[rows]))
    rows, worth, calm = rows[order], worth[order], calm[order]
    return Plain(keeper[rows], rows, worth, calm, pictures.ids)


def _boxes(pictures: Pictures) -> Plain:
    """Every object of every picture, by its place in the annotations."""
    import pyarrow as pa

    if "objects" not in pictures.names:
        raise RecipeError("the edition has no objects, so nobody can be asked about boxes")
    number = np.where(pictures.dropped(), 0, np.nan_to_num(pictures.column("objects")).astype(np.int64))
    picture = np.repeat(np.arange(len(pictures)), number)
    subject = np.arange(len(picture)) - np.repeat(np.cumsum(number) - number, number)
    texts = pa.array([str(one) for one in range(int(number.max(initial=0)))], pa.string())
    return Plain(picture, subject, np.ones(len(picture)), np.zeros(len(picture), bool), texts)


def _edits(pictures: Pictures, refused: Refused) -> Plain:
    """Every edited picture, those that nearly failed a gate first.

    A gate's limit isn't recorded. It lies between the accepted pictures and those that it refused, so an accepted
    picture's worth is 1 / (1 + d), where d is its distance to the nearest refused one, in standard deviations of the
    accepted ones.
    """
    edited = ~np.isin(pictures.column("variant"), BASELINES) & ~pictures.dropped()
    rows = np.flatnonzero(edited)
    worth = np.zeros(len(pictures))
    for name, values in refused().items() if len(rows) else ():
        if name not in pictures.names:
            continue
        own = pictures.column(name).astype(np.float64)
        spread = np.nanstd(own[rows]) if np.isfinite(own[rows]).any() else 0.0
        if len(values) and spread > 0:
            place = np.searchsorted(values, own)
            below, above = values[np.maximum(place - 1, 0)], values[np.minimum(place, len(values) - 1)]
            near = 1 / (1 + np.minimum(np.abs(own - below), np.abs(own - above)) / spread)
            worth = np.fmax(worth, np.nan_to_num(near))
    return _one_each(rows, worth[rows])


def refused(manifest: Manifest, store: Store) -> dict[str, Floats]:
    """By column of a gate, the sorted values of the pictures that this gate refused."""
    import pyarrow.compute as pc

    rows = read_table(store, manifest.rows)
    found: dict[str, Floats] = {}
    for name in rows.column_names:
        if name.startswith("gate."):
            mine = rows.filter(pc.equal(rows["reason"], name.removeprefix("gate.")))
            values = mine[name].drop_null().to_numpy()
            found[name] = np.sort(values[np.isfinite(values)])
    return found


def _safe(pictures: Pictures, settings: Settings) -> Plain:
    """Every picture, those with the highest value of a column first; a value that is missing comes last."""
    rows = np.flatnonzero(~pictures.dropped())
    worth = np.zeros(len(pictures))
    if settings.safe_by:
        values = pictures.column(settings.safe_by)
        if values.ndim != 1 or values.dtype.kind not in "bifu":
            raise RecipeError(f"safe_by: column {settings.safe_by} doesn't hold a number for each picture")
        order = np.argsort(np.where(np.isnan(values.astype(np.float64)), -np.inf, values), kind="stable")
        worth[order] = (np.arange(len(order)) + 1) / max(1, len(order))
    return _one_each(rows, worth[rows])


def _one_each(rows: Ints, worth: Floats) -> Plain:
    import pyarrow as pa

    nothing = np.zeros(len(rows), np.int64)
    return Plain(rows, nothing, worth, np.zeros(len(rows), bool), pa.array([""], pa.string()))
