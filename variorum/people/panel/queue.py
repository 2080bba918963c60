"""The queue of a panel: which questions are asked about an edition, in which order, with which controls among them.

It depends on the edition, its ledger, the settings and the known answers, and on nothing else: neither on the order of
a table nor on who asks. docs/people/run_a_panel.md says what is asked and why.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from variorum.edition.store import Store
from variorum.machine.parquet_pages import check_pages
from variorum.machine.progress import QUIET, Progress
from variorum.people.panel.askable import Pictures
from variorum.people.panel.asks import WHY, Asks, table_of
from variorum.people.panel.controls import Known
from variorum.people.panel.labels import NOTHING, Answers, Labels
from variorum.people.panel.other_kinds import Refused, plain_questions, refused, with_controls
from variorum.people.panel.proposals import label_cells
from variorum.schemas.canonical import derive_seed
from variorum.schemas.errors import StoreError
from variorum.schemas.manifest import Ledger, Manifest
from variorum.schemas.vote import Kind

if TYPE_CHECKING:
    from variorum.arrays import Bools
    from variorum.people.panel.settings import Settings

NEXT = 0.999
"""Highest worth of a question beside those about marked pictures, whose worth is 1."""
COLUMNS = ("task", "kind", "id", "sha256", "subject", "why", "truth", "worth", "presumed")
"""Of a table of questions: the task, which is the order of asking; the question (see `schemas.vote.Kind`); why it is
asked, and the answer of gold and of what nobody doubts; its expected information; and whether nobody has confirmed that
answer."""


def queue(
    manifest: Manifest,
    ledger: Ledger | None,
    store: Store,
    settings: Settings,
    gold: Known | None = None,
    *,
    known: Any = None,
    marked: Collection[str] = (),
    progress: Progress = QUIET,
) -> tuple[Any, dict[str, int]]:
    """The questions of a panel, a `pyarrow.Table` with the columns `COLUMNS`, sorted by task; and `PanelRecord.counts`.

    Args:
        manifest: of the edition.
        ledger: of this edition; None for none.
        store: has both.
        settings: of the panel.
        gold: known answers.
        known: questions that are published already, with which the table begins.
        marked: ids of pictures that somebody wants people to be asked about: they come first.
        progress: hears of the kinds that are done.

    Raises:
        RecipeError: a setting names an unknown class or column, or there can be no questions of a kind.
        SourceError: a known answer names an unknown subject, or is there with yes and with no.
    """
    progress.start_unlike("choosing questions", len(settings.kinds) + 1)
    pictures = Pictures.read(manifest, ledger, store)
    progress.advance(1)
    table = questions_of(
        pictures,
        settings,
        gold,
        refused=lambda: refused(manifest, store),
        known=known,
        marked=marked,
        progress=progress,
    )
    more = {f"left_{reason}": number for reason, number in left_out(manifest, pictures, table, settings).items()}
    if pictures.said is not None and "label" in settings.kinds:
        more["drawn"] = int((pictures.said.drawn & _are_asked(pictures, table)).sum())
    return table, {**counts(table), **{name: number for name, number in more.items() if number}}


def questions_of(
    pictures: Pictures,
    settings: Settings,
    gold: Known | None = None,
    *,
    refused: Refused = dict,
    known: Any = None,
    marked: Collection[str] = (),
    progress: Progress = QUIET,
) -> Any:
    """The table of `queue` for pictures in memory; `refused` gives, by gate, the values of pictures that it refused."""
    import pyarrow as pa
    import pyarrow.compute as pc

    parts = [schema().empty_table() if known is None else known]
    wanted = pc.is_in(pictures.ids, value_set=pa.array(sorted(marked), pa.string())).to_numpy(zero_copy_only=False)
    for kind in settings.kinds:
        first = max((int(one["task"][-1].as_py()) + 1 for one in parts if len(one)), default=0)
        rng = np.random.default_rng(derive_seed(settings.seed, "panel", kind, first))
        asks, subjects = _asked(kind, pictures, settings, gold, refused, known, wanted, rng)
        parts.append(table_of(kind, asks, pictures, subjects, first))
        progress.advance(1)
    return pa.concat_tables(parts).combine_chunks()


def _asked(
    kind: Kind,
    pictures: Pictures,
    settings: Settings,
    gold: Known | None,
    refused: Refused,
    known: Any,
    marked: Bools,
    rng: np.random.Generator,
) -> tuple[Asks, Any]:
    """The questions of a kind, and what their subjects' codes stand for."""
    import pyarrow as pa

    if kind == "label":
        subjects = pa.array(pictures.classes, pa.string())
        answers = Answers(*gold.of(kind, pictures, subjects)) if gold else NOTHING
        cells = label_cells(pictures, settings)
        cells = replace(cells, doubt=np.where(marked[cells.picture] & cells.proposed, 1.0, cells.doubt))
        likes = pictures.column("label").astype(np.int64)
        drawn = None if pictures.said is None else pictures.said.drawn
        labels = Labels(cells, likes, len(pictures.classes), settings, rng, marked=marked, drawn=drawn)
        return labels.questions(answers, published_asks(kind, known, pictures, subjects)), subjects
    plain = plain_questions(kind, pictures, settings, refused)
    if marked.any():
        here = marked[plain.picture]
        worth = np.where(here, 1.0, np.minimum(plain.worth, NEXT))
        plain = replace(plain, worth=worth, calm=plain.calm & ~here)
    answers = Answers(*gold.of(kind, pictures, plain.subjects)) if gold else NOTHING
    old = published_asks(kind, known, pictures, plain.subjects)
    return with_controls(plain, answers, old, settings, rng), plain.subjects


def published_asks(kind: Kind, known: Any, pictures: Pictures, subjects: Any) -> Asks:
    """The published questions of a kind; those that can't be asked any more are left out."""
    import pyarrow.compute as pc

    none = np.zeros(0, np.int64)
    if known is None:
        return Asks.of(none, none, none)
    mine = known.filter(pc.equal(known["kind"], kind)).combine_chunks()
    picture = pictures.places(mine["id"].combine_chunks())
    subject = pc.fill_null(pc.index_in(mine["subject"].combine_chunks(), value_set=subjects), -1).to_numpy()
    why = pc.index_in(mine["why"].combine_chunks(), value_set=_texts(WHY)).to_numpy().astype(np.int64)
    there = (picture >= 0) & (subject >= 0)
    return Asks.of(none, none, none) if not len(mine) else Asks.of(picture, picture, subject, why=why).take(there)


def left_out(manifest: Manifest, pictures: Pictures, table: Any, settings: Settings) -> dict[str, int]:
    """Numbers of pictures that a panel doesn't ask about, by the reason in `LEFT`."""
    asked = _are_asked(pictures, table)
    dropped = pictures.dropped() & ~asked
    rest = ~asked & ~dropped
    bare = rest & (pictures.column("label") < 0)
    labelled = rest & ~bare
    refused = sum(number for by in manifest.counts.values() for status, number in by.items() if status != "accepted")
    found = {"refused": refused, "dropped": int(dropped.sum())}
    if "label" not in settings.kinds:
        return {**found, "other": int(rest.sum())}
    reason = "undoubted" if settings.budget is None else "budget"
    return {**found, "unlabelled": int(bare.sum()), reason: int(labelled.sum())}


def _are_asked(pictures: Pictures, table: Any) -> Bools:
    """Return which pictures have a question, `[N]`."""
    import pyarrow.compute as pc

    return np.asarray(pc.is_in(pictures.ids, value_set=table["id"].unique()).to_numpy(zero_copy_only=False))


LEFT: Mapping[str, str] = {
    "refused": "weren't accepted into the edition: a gate refused them, or they can't be read",
    "dropped": "are dropped or withheld by the ledger",
    "unlabelled": "have no label",
    "undoubted": "have a label that all sources agree on",
    "budget": "have a label that all sources agree on, or are beyond the budget",
    "other": "have nothing that these kinds of questions are about",
}
"""Why a picture isn't asked about, by the end of its name in `PanelRecord.counts`."""


def counts(table: Any) -> dict[str, int]:
    """Numbers of tasks and questions, and of controls by kind; see `PanelRecord.counts`."""
    import pyarrow.compute as pc

    def number(column: str, value: str) -> int:
        return int(pc.sum(pc.equal(table[column], value)).as_py() or 0)

    def of_gold(mask: Any) -> int:
        return int(pc.sum(pc.and_(mask, pc.equal(table["why"], "gold"))).as_py() or 0)

    return {
        "tasks": int(pc.count_distinct(table["task"]).as_py()),
        "questions": len(table),
        **{why: number("why", why) for why in WHY},
        "gold_yes": of_gold(pc.equal(table["truth"], "yes")),
        "gold_no": of_gold(pc.equal(table["truth"], "no")),
        "gold_presumed": of_gold(table["presumed"]),
    }


def schema() -> Any:
    """Types of the columns `COLUMNS`."""
    import pyarrow as pa

    kinds: Mapping[str, Any] = {"task": pa.int32(), "worth": pa.float32(), "presumed": pa.bool_()}
    return pa.schema([(name, kinds.get(name, pa.string())) for name in COLUMNS])


def read_parquet(file: Any) -> Any:
    """A table of questions from a parquet file. Raises StoreError for any other table."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        check_pages(file)
        table = pq.read_table(file, use_threads=False)  # Arrow's threads and a file of Python's can wait for each other
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise StoreError(f"these aren't a panel's questions ({str(error).splitlines()[0]})") from None
    if not table.schema.equals(schema()):
        raise StoreError(f"these aren't a panel's questions, which have the columns {', '.join(COLUMNS)}")
    return table


def _texts(values: tuple[str, ...]) -> Any:
    import pyarrow as pa

    return pa.array(values, pa.string())
