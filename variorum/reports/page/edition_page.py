"""From a sealed edition to what its page shows: every picture's row, with curation's columns beside it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from variorum.arrays import Bools, Ints
from variorum.edition.editions import base_of
from variorum.edition.ledgers import read_ledger
from variorum.edition.pulled import without
from variorum.edition.store import Store
from variorum.edition.tables import read_unit
from variorum.machine.progress import Progress
from variorum.reports.answers import model_answers
from variorum.reports.page.choice import choose
from variorum.reports.page.embedding_map import ABOUT, embedding_map
from variorum.reports.page.facts import facts_of
from variorum.reports.page.kept_copies import kept_instead
from variorum.reports.page.likeness import likenesses
from variorum.reports.page.models import model_columns
from variorum.reports.page.parts import Parts, Where, class_names, shown_classes, side_for
from variorum.reports.page.phrases import COLUMN, phrase_columns
from variorum.reports.page.picture_records import Entry
from variorum.reports.page.table import column, numbers, texts, uninformative
from variorum.reports.page.thumbnails import LARGER
from variorum.reports.page.verdict_rows import Said, detector_columns, read_said
from variorum.reports.rows import COLUMNS, edition_rows
from variorum.reports.words import words_for, words_of_checks
from variorum.schemas.canonical import Json
from variorum.schemas.component import ClassInfo, Models
from variorum.schemas.errors import StoreError
from variorum.schemas.manifest import Ledger, Manifest

RECORD = ("id", "source", "variant", "status", "reason", "detail", "labels", "origin", "licence", "split", "config")
"""Columns in the record of a row without a picture."""
COUNTS = ("width", "height", "objects", "captions", "states")
"""Columns of whole numbers, shown where they say something."""
CODES = ("status", "reason", "action", "verdict_reason")
"""Columns of codes that the page says in words."""
MAP = ("map.x", "map.y")
ORIGINAL = "original"
"""The variant of the pictures of a source."""
UNITS = 16
"""Units that are searched for the gates' limits."""


def edition_page(
    manifest: Manifest,
    store: Store,
    progress: Progress,
    *,
    most: int,
    with_map: bool,
    blur: bool,
    alone: bool = False,
    known: Sequence[ClassInfo] = (),
    phrases: Sequence[str] = (),
    available: Models | None = None,
) -> Parts:
    """Prepare the page of an edition, before its pictures are read.

    A release shows what it dropped too, with the pictures of the edition that it was made from; of withheld pictures it
    shows rows alone. An edition that was curated and isn't released shows the verdicts of its newest ledger.

    Args:
        manifest: the edition.
        store: its store.
        progress: gets a step for each part of the map.
        most: pictures that are shown.
        with_map: whether to arrange them by their embeddings.
        blur: whether they are blurred until they are looked at.
        alone: whether only what is part of the edition itself is shown: no ledger, no picture that was dropped, no
            figures of evaluations. Such a page may go where the edition goes.
        known: classes that models may have in this order, such as ImageNet's.
        phrases: that the pictures are compared with; see `phrases.phrase_columns`.
        available: models, with the one that compares them.

    Raises:
        CorruptShard: a table is damaged, or a shard is missing.
    """
    rows = edition_rows(manifest, store, (*COLUMNS, "parent"))
    base = None if alone else base_of(manifest, store)
    ledger, waiting = (None, False) if alone else _ledger(manifest, store)
    said = read_said(ledger, store, waiting=waiting) if ledger else None
    shown, notes = _chosen(manifest, rows, said, most, evenly=alone)
    chosen = rows.take(shown).combine_chunks()
    ids: list[str] = chosen["id"].to_pylist()
    details = _details(manifest, shown, store)
    entries, lost = _entries(manifest, base, chosen, details, said, store)
    pictures, side = side_for(entries)
    columns = _columns(manifest, chosen, details, said, shown_classes(manifest))
    _beside_kept(columns, manifest, chosen, store)
    if ledger:
        measured, all_of_them = detector_columns(ledger, ids, shown_classes(manifest), store)
        columns += [one for one in measured if one["name"] not in {own["name"] for own in columns}]
        notes += [] if all_of_them else ["The detectors have more columns than are shown."]
        if waiting:
            notes.append("The verdicts are those of the newest ledger; this edition is as it was before them.")
    judged: list[Json] = []
    if not alone:
        answers, names = model_answers(manifest, rows, ids, store, known), chosen["variant"].to_pylist()
        measured, judged, more = model_columns(answers, names, class_names(manifest))
        columns, notes = [*columns, *measured], [*notes, *more]
    plane = embedding_map(ledger, ids, store, progress) if ledger and with_map else None
    if plane is not None:
        columns += [numbers(name, values) for name, values in zip(MAP, plane.T.tolist(), strict=True)]
    if phrases and available is not None:
        columns = [*phrase_columns(phrases, entries, available, progress), *columns]
    if lost and not alone:
        notes.append(f"{lost:,} dropped pictures aren't shown: the edition that they were in isn't in the store.")
    facts = facts_of(
        manifest, rows, said.settled if said and waiting else None, ledger or manifest.ledger, store, alone=alone
    )
    facts |= {
        "notes": list(notes),
        "thumbnail": side,
        "limits": _limits(manifest, [one for one in details.column_names if one.startswith("gate.")], store),
        "models": judged,
        "map": {"x": MAP[0], "y": MAP[1], "about": ABOUT} if plane is not None else None,
        "blur": blur,
        "warning": manifest.warning,
        "words": _words(columns),
        "sort": f"-{COLUMN}{phrases[0]}" if phrases else "",
    }
    table: dict[str, Json] = {"rows": len(chosen), "columns": list(columns)}
    if ledger and with_map:
        table["near"] = [[*near] for near in likenesses(ledger, ids, chosen["source"].to_pylist(), store)]
    first = None if pictures <= LARGER[-1][0] else _enlarged(chosen, entries, said)
    return Parts(facts, table, entries, pictures, manifest.warning, alone, first)


def _ledger(manifest: Manifest, store: Store) -> tuple[Ledger | None, bool]:
    """The ledger of a release, or the newest one of an edition, and whether its verdicts aren't applied yet.

    None for a release that was pulled without the tables of its ledger, which aren't published.
    """
    if manifest.ledger:
        return None if without(manifest, store) else manifest.ledger, False
    with suppress(StoreError):  # it has no ledger, or only those of an earlier state
        return read_ledger(manifest, store)[1], True
    return None, False


def _chosen(
    manifest: Manifest, rows: Any, said: Said | None, most: int, *, evenly: bool = False
) -> tuple[Ints, list[str]]:
    """Indices of the rows that are shown, and a note if they aren't all.

    Pictures and rows without a picture have room for `most` each. Notable pictures, such as dropped ones, come first
    unless all are wanted `evenly`; then a dropped one counts as a row without a picture.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    number = len(rows)
    if number <= most:
        return np.arange(number), []
    labels = _first_codes(rows["labels"].combine_chunks())
    _, groups = np.unique(_codes(rows["variant"]) * (number + 1) + labels, return_inverse=True)
    families = _codes(rows["source"])
    there = ["accepted", "quarantined", *(() if evenly else ("dropped",))]
    made: Bools = pc.is_in(rows["status"], value_set=pa.array(there)).to_numpy()
    loud: Bools = pc.is_in(rows["status"], value_set=pa.array(["quarantined", "dropped"])).to_numpy() & (not evenly)
    if said:
        loud = loud | said.spoken_of(rows["id"]).to_numpy()
    found, notes = list[Ints](), list[str]()
    for what, mine in (("pictures", made), ("rows without a picture", ~made)):
        some = np.flatnonzero(mine)
        kept = some[choose(groups[some].astype(np.int64), families[some], loud[some], most)] if len(some) else some
        found.append(kept)
        first = "" if evenly else "what was quarantined, dropped or judged first, then "
        if len(kept) < len(some):
            notes.append(f"{len(kept):,} of {len(some):,} {what}: {first}evenly from all variants and classes.")
    return np.sort(np.concatenate(found)), notes


def _enlarged(chosen: Any, entries: Sequence[Entry], said: Said | None) -> list[int]:
    """The rows whose pictures have a larger version: notable ones first, with their originals; then evenly."""
    there = np.flatnonzero([entry.places[0] is not None for entry in entries])
    loud = np.array([status != "accepted" for status in chosen["status"].to_pylist()], bool)
    if said:
        loud |= said.spoken_of(chosen["id"]).to_numpy()
    families, variants = _codes(chosen["source"]), chosen["variant"].to_pylist()
    loud |= np.isin(families, families[loud]) & np.array([variant == ORIGINAL for variant in variants], bool)
    rows = choose(_codes(chosen["variant"])[there], families[there], loud[there], LARGER[-1][0])
    return [int(row) for row in there[rows]]


def _codes(values: Any) -> Ints:
    import pyarrow as pa

    coded = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    return np.asarray(coded.dictionary_encode().indices.to_numpy(), np.int64)


def _first_codes(lists: Any) -> Ints:
    """A code of the first text of each list, -1 for an empty one; equal texts have equal codes."""
    starts, sizes = lists.offsets.to_numpy()[:-1], lists.value_lengths().to_numpy()
    found = np.full(len(lists), -1, np.int64)
    if len(lists.values):
        found[sizes > 0] = _codes(lists.values)[starts[sizes > 0]]
    return found


def _details(manifest: Manifest, shown: Ints, store: Store) -> Any:
    """Gates, values and details of the rows that are shown; they are read unit by unit."""
    import pyarrow as pa

    tables, row = [], 0
    for info in manifest.rows:
        mine = shown[(shown >= row) & (shown < row + info.samples)] - row
        row += info.samples
        table = read_unit(store, info, lambda name: name.startswith("gate.") or name in ("detail", "status"))
        tables.append(table.take(pa.array(mine)))
    return pa.concat_tables(tables, promote_options="default")


def _entries(
    manifest: Manifest, base: Manifest | None, chosen: Any, details: Any, said: Said | None, store: Store
) -> tuple[list[Entry], int]:
    """Where the pictures lie, with the verdicts on each; and the number of dropped ones that are gone."""
    here = Where(manifest, store)
    there, before = (Where(base, store, lenient=True), _before(base, chosen, store)) if base else (None, {})
    verdicts = said.of(chosen["id"].to_pylist()) if said else {}
    gates = [name for name in details.column_names if name.startswith("gate.")]
    entries, lost = list[Entry](), 0
    details_of = details.select(["detail", *gates])
    for start in range(0, len(chosen), 1_000):
        some = zip(chosen.slice(start, 1_000).to_pylist(), details_of.slice(start, 1_000).to_pylist(), strict=True)
        for row, more in some:
            place = here.place(row)
            if row["status"] == "dropped":
                place = there.place(before[row["id"]]) if there and row["id"] in before else None
                lost += place is None
            extra: dict[str, Any] = {} if place else _own_record(row, more)
            if place and more["detail"]:
                extra["detail"] = more["detail"]
            if row["status"] == "dropped":
                extra["status"] = "dropped"
            if row["id"] in verdicts:
                extra["verdicts"] = verdicts[row["id"]]
            entries.append(Entry((place,), extra))
    return entries, lost


def _before(base: Manifest, chosen: Any, store: Store) -> dict[str, Mapping[str, Any]]:
    """By id, the rows that the dropped pictures have in the edition that they were in."""
    import pyarrow.compute as pc

    ids = chosen.filter(pc.equal(chosen["status"], "dropped"))["id"].combine_chunks()
    if not len(ids):
        return {}
    rows = edition_rows(base, store, ("id", "sha256"))
    return {row["id"]: row for row in rows.filter(pc.is_in(rows["id"], value_set=ids)).to_pylist()}


def _own_record(row: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """The record of a row that has no picture: what the edition's table says."""
    known = {**row, **more}
    found = {name: known[name] for name in RECORD if known.get(name)}
    gates = {name.removeprefix("gate."): value for name, value in more.items() if name.startswith("gate.")}
    reached = {name: value for name, value in gates.items() if value is not None and math.isfinite(value)}
    return found | ({"gates": reached} if reached else {})


def _columns(
    manifest: Manifest, chosen: Any, details: Any, said: Said | None, classes: Sequence[str]
) -> list[dict[str, Json]]:
    """The edition's own columns, and those of its verdicts."""
    import pyarrow as pa

    named = class_names(manifest)

    def first(labels: Iterable[Sequence[str] | None]) -> list[str | None]:
        return [named(some[0]) if some else None for some in labels]

    labels = chosen["labels"].to_pylist()

    known = set(chosen.column_names)
    source = _originals(chosen["source"].to_pylist(), chosen["variant"].to_pylist())
    columns = [texts(name, chosen[name].to_pylist()) for name in ("id", "variant", "status", "split")]
    columns += [texts("class", first(labels))]
    if any(some and len(some) > 1 for some in labels):
        columns += [texts("labels", ["; ".join(map(named, some or ())) for some in labels])]
    columns += [texts(name, chosen[name].to_pylist()) for name in ("origin", "licence")]
    columns += [numbers("source", source)]
    more = [texts(name, chosen[name].to_pylist()) for name in ("config", "reason") if name in known]
    if said:
        more += _verdict_columns(said, chosen, first)
    more += [numbers(name, chosen[name].to_pylist()) for name in COUNTS if name in known]
    more += [
        one
        for name in sorted(details.column_names)
        if name.startswith("gate.") and (one := column(name, details[name].combine_chunks()))
    ]
    if "digital_source_type" in known:
        more.append(texts("digital_source_type", chosen["digital_source_type"].to_pylist()))
    if "credentials" in known and pa.types.is_boolean(chosen["credentials"].type):
        more.append(column("credentials", chosen["credentials"]) or {})
    return [*columns, *(one for one in more if not _idle(one))]


def _originals(sources: Sequence[str], variants: Sequence[str]) -> list[int]:
    """For each row, the row of the original picture of the same source; -1 if that isn't there."""
    found = {source: row for row, source in enumerate(sources) if variants[row] == ORIGINAL}
    return [found.get(source, -1) for source in sources]


def _beside_kept(columns: list[dict[str, Json]], manifest: Manifest, chosen: Any, store: Store) -> None:
    """Put each dropped copy of a source picture beside the picture that stays instead, with what found it."""
    ids, states, variants, origins = (chosen[name].to_pylist() for name in ("id", "status", "variant", "origin"))
    rows = {one: row for row, one in enumerate(ids)}
    dropped = [row for row, status in enumerate(states) if (status, variants[row]) == ("dropped", ORIGINAL)]
    kept = kept_instead(manifest, [ids[row] for row in dropped], store)
    beside = {row: kept[ids[row]] for row in dropped if ids[row] in kept and kept[ids[row]].id in rows}
    if not beside:
        return
    (source,) = (one for one in columns if one["name"] == "source")
    values: Any = source["values"]
    source |= numbers("source", [rows[beside[row].id] if row in beside else of for row, of in enumerate(values)])
    names = {row: origins[rows[one.id]] or one.id for row, one in beside.items()}
    columns.append(texts("kept instead", [names.get(row) for row in range(len(ids))]))
    columns.append(texts("found by", [beside[row].found_by if row in beside else None for row in range(len(ids))]))


def _idle(one: dict[str, Json]) -> bool:
    """Return whether a column says nothing: no value, one text for all, or a 0 or False for all."""
    values: Any = one["values"]
    return uninformative(one) or (one["kind"] != "text" and not any(values))


def _verdict_columns(said: Said, chosen: Any, first: Any) -> list[dict[str, Json]]:
    """The final verdict on each picture: action, step, reason, numbers and labels."""
    ids: list[str] = chosen["id"].to_pylist()
    found = said.one_each(ids)
    given = chosen["given"].to_pylist() if "given" in chosen.column_names else [None] * len(ids)
    relabelled = [one is not None and one["action"] == "relabel" for one in found]
    proposed = [
        one["labels"] if one and (said.waiting or not done) else None
        for one, done in zip(found, relabelled, strict=True)
    ]
    before = [labels if done else None for labels, done in zip(given, relabelled, strict=True)]
    names = (("action", "action"), ("verdict_reason", "reason"), ("by", "by"))
    return [
        *(texts(name, [one[key] if one else None for one in found]) for name, key in names),
        texts("given", first(before)),
        texts("proposed", first(proposed)),
        *(numbers(name, [one[name] if one else None for one in found]) for name in ("value", "worth")),
    ]


def _words(columns: Iterable[Mapping[str, Json]]) -> dict[str, Json]:
    """What the codes in these columns mean, and what the values of checks say."""
    codes, checks = list[str](), list[str]()
    for one in columns:
        name, values = str(one["name"]), one["values"]
        if name in CODES and isinstance(values, list):
            codes += map(str, values)
        elif name.startswith("gate."):
            checks.append(name.removeprefix("gate."))
    return {"codes": {**words_for(codes, checks)}, "checks": {**words_of_checks(checks)}}


def _limits(manifest: Manifest, gates: Sequence[str], store: Store) -> dict[str, Json]:
    """By gate, its limit, from the records of the first pictures that have it; none for one with several limits."""
    from variorum.edition.samples import strict_json

    found, left = dict[str, set[str]](), set(gates)
    for info in manifest.rows[:UNITS]:
        if not left:
            break
        table = read_unit(store, info, lambda name: name == "ops")
        for text in table["ops"].unique().to_pylist():
            with suppress(ValueError, TypeError, LookupError, AttributeError):  # an unknown record, or no op
                for name, gate in strict_json(text)[-1]["gates"].items():
                    found.setdefault(f"gate.{name}", set()).add(str(gate["limit"]))
        left -= found.keys()
    return {name: limits.pop() for name, limits in found.items() if name in gates and len(limits) == 1}
