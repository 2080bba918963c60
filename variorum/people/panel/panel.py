"""Panels: a set of questions about one sealed edition, published once and put to several people.

panels/<dataset>/<version>/<name>/panel.json               the settings, the edition and the questions by their digests
panels/<dataset>/<version>/<name>/questions-<hash>.parquet the questions; a file is never changed
panels/<dataset>/<version>/<name>/votes.sqlite             the database, unless another one is named

A new ledger of the edition adds questions to the end and repeats none. The votes stay as they are, because the key of a
question names the picture and what is asked, not the panel.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from variorum.edition.ledgers import newest_ledger, read_ledger
from variorum.edition.records import BadRecord, parse, to_json
from variorum.edition.store import Store
from variorum.machine.progress import QUIET, Progress
from variorum.machine.retrying import hash_content
from variorum.people.panel.kinds import ASKED
from variorum.people.panel.settings import NAME, PanelRecord, Settings
from variorum.schemas.canonical import digest
from variorum.schemas.errors import RecipeError, SourceError, StoreError
from variorum.schemas.lookup import cut
from variorum.schemas.manifest import Ledger, Manifest
from variorum.schemas.secrets import shown

if TYPE_CHECKING:
    from sqlalchemy import Engine

RECORD, DATABASE = "panel.json", "votes.sqlite"


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel that is open: its questions are in the database.

    Attributes:
        manifest: of the edition.
        store: has the edition and the panel.
        record: of the panel.
        engine: of the database.
    """

    manifest: Manifest
    store: Store
    record: PanelRecord
    engine: Engine

    @property
    def key(self) -> str:
        """Value of the column `panel` in the database."""
        return self.record.key


def publish(
    manifest: Manifest,
    store: Store,
    settings: Settings,
    *,
    name: str = "main",
    gold: Path | None = None,
    number: int | None = None,
    marks: Path | None = None,
    progress: Progress = QUIET,
) -> PanelRecord:
    """Build a panel's questions and store them; does nothing if they are published already.

    The same edition, ledger, settings and gold give the same bytes. If the edition has a newer ledger, the questions
    that it raises come after those there are; so do those about marked pictures that nobody is asked about yet.

    Args:
        manifest: of the edition, not of a release: the newest ledger of this edition raises the questions.
        store: has the edition.
        settings: of the panel.
        name: of the panel, in lower case.
        gold: a file with known answers, see `controls.read_gold`; None for none. A panel keeps those it has.
        number: of the ledger that raises the questions; the newest by default.
        marks: a file of marks that a page of `variorum view` has saved: its pictures are asked about first.
        progress: hears of the work.

    Raises:
        RecipeError: an invalid name, or a setting that names an unknown class or column.
        SourceError: the gold or the marks can't be read, or these name a picture that the edition doesn't have.
        StoreError: it is a release; there is a panel of this name with other settings, or about another state of the
            edition; or there is nothing to ask.
    """
    from variorum.people.panel.controls import read_gold
    from variorum.people.panel.queue import LEFT, queue

    check_name(name)
    if manifest.ledger is not None:
        edition = f"{manifest.dataset}@{manifest.version.rpartition('-r')[0]}"
        raise StoreError(
            f"{manifest.dataset}@{manifest.version} is a release; people are asked about the edition that it was made "
            f"from, whose ledgers say what is in doubt: variorum review {edition}"
        )
    _, ledger = read_ledger(manifest, store, number) if number else newest_ledger(manifest, store)
    said = "" if gold is None else _hashed(gold)
    marked = _marked(marks, manifest, store)
    there = published(manifest, store, name=name)
    if there is not None:
        _check_same(there, manifest, settings, said)
        if not _is_newer(ledger, there) and not marked:
            _content(there, store)
            return there
    known = read_questions(there, store) if there else None
    answers = read_gold(gold) if gold else None
    table, counts = queue(manifest, ledger, store, settings, answers, known=known, marked=marked, progress=progress)
    if there is not None and there.counts["questions"] == len(table) and not _is_newer(ledger, there):
        return there
    if not len(table):
        why = "; ".join(f"{counts[f'left_{one}']:,} {text}" for one, text in LEFT.items() if f"left_{one}" in counts)
        raise StoreError(
            f"panel {name} of {manifest.dataset}@{manifest.version}: there is nothing to ask about "
            f"{', '.join(settings.kinds)}: of its pictures, {why or 'there are none'}. Other kinds of questions: "
            f"{', '.join(one for one in ASKED if one not in settings.kinds) or 'none'}"
        )
    data = parquet_of(table)
    questions = hashlib.sha256(data).hexdigest()
    earlier = () if there is None else tuple(dict.fromkeys((*there.earlier, there.questions)))
    record = PanelRecord(
        name=name,
        dataset=manifest.dataset,
        version=manifest.version,
        edition=manifest.digest(),
        ledger=ledger.digest() if ledger else "",
        gold=said or (there.gold if there else ""),
        settings=settings,
        questions=questions,
        earlier=tuple(one for one in earlier if one != questions),
        counts=counts,
    )
    store.put(_questions(record), data)
    path = f"{folder(manifest, name)}/{RECORD}"
    if there is not None:
        store.put(path, to_json(record))
    elif not store.put_if_absent(
        path, to_json(record)
    ):  # somebody else was first: go on with theirs, if it is the same
        return publish(manifest, store, settings, name=name, gold=gold, number=number, marks=marks, progress=progress)
    return record


def notes(record: PanelRecord, manifest: Manifest, store: Store) -> list[str]:
    """What an organiser should know of a panel's questions: its random check, and which pictures aren't asked about."""
    from variorum.people.panel.queue import LEFT
    from variorum.reports.ledger_figures import random_check

    found = []
    if number := record.counts.get("drawn", 0):
        ledger = newest_ledger(manifest, store)[1]
        told = random_check(ledger).partition("; ")[2] if ledger else ""
        found.append(f"Random check: {counted(number)}, behind the other questions{'; ' if told else ''}{told}")
    left = {text: record.counts.get(f"left_{reason}", 0) for reason, text in LEFT.items()}
    return found + [f"Not asked: {counted(number)} {text}" for text, number in left.items() if number]


def counted(pictures: int) -> str:
    """`1 picture`, `1,200 pictures`."""
    return f"{pictures:,} picture{'' if pictures == 1 else 's'}"


def published(manifest: Manifest, store: Store, *, name: str = "main") -> PanelRecord | None:
    """The record of a panel; None if there is none of this name.

    Raises:
        StoreError: it is damaged, or of another panel.
    """
    check_name(name)
    path = f"{folder(manifest, name)}/{RECORD}"
    data = store.read(path)
    if data is None:
        return None
    try:
        record = parse(data, PanelRecord)
        if record.key != f"{manifest.dataset}@{manifest.version}/{name}":
            raise BadRecord(f"it is that of panel {record.key}")
    except BadRecord as error:
        raise StoreError(
            f"{store.root}/{path}: {error}; move it away and publish again: the same settings give the same questions"
        ) from None
    return record


def open_panel(
    manifest: Manifest,
    store: Store,
    *,
    name: str = "main",
    database: str | None = None,
    writable: bool = True,
    progress: Progress = QUIET,
) -> Panel:
    """A published panel with its database, into which its questions are loaded unless they are there.

    Args:
        manifest: of the edition.
        store: has the panel.
        name: of the panel.
        database: URL of a database or path of a SQLite file; by default a file in the panel's folder.
        writable: False if votes are only read; then the file may be on a read-only disk.
        progress: hears of the loading.

    Raises:
        StoreError: no such panel, the edition has changed since, its questions are damaged, or the database can't be
            opened or belongs to other questions.
    """
    from variorum.people.panel.loading import load
    from variorum.people.votes.database import open_database

    record = published(manifest, store, name=name)
    if record is None:
        raise StoreError(
            f"{manifest.dataset}@{manifest.version} has no panel {name}; publish one with: "
            f"variorum review {manifest.dataset}@{manifest.version} --name {name} --publish-only"
        )
    _check_edition(record, manifest)
    engine = open_database(database or default_database(record, store), writable=writable)
    load(engine, record, lambda: read_questions(record, store), progress)
    return Panel(manifest, store, record, engine)


def default_database(record: PanelRecord, store: Store) -> str:
    """Path of the SQLite file in a panel's folder.

    Raises:
        StoreError: the store isn't on this machine, or a link leads out of it.
    """
    if store.local is None:
        raise StoreError(
            f"{store} isn't a folder on this machine, so the votes of panel {record.name} can't lie in it; name a "
            "database with --database, such as postgresql+psycopg://user@host/votes or a SQLite file"
        )
    path = store.local / folder_of(record) / DATABASE
    store.make_folder(str(path.parent))
    if path.is_symlink():
        raise StoreError(
            f"{path} is a link, and nothing is written through it: remove it, or name its file: --database"
        )
    return str(path)


def read_questions(panel: Panel | PanelRecord, store: Store) -> Any:
    """A panel's questions, a `pyarrow.Table` with the columns of `people.panel.queue.COLUMNS`, sorted by task.

    Raises:
        StoreError: the file is missing or has changed.
    """
    from variorum.people.panel.queue import read_parquet

    record = panel.record if isinstance(panel, Panel) else panel
    return read_parquet(io.BytesIO(_content(record, store)))


def _content(record: PanelRecord, store: Store) -> bytes:
    """The file of a panel's questions. Raises StoreError as `read_questions` does."""
    path = _questions(record)
    data = store.read(path)
    if data is None or hashlib.sha256(data).hexdigest() != record.questions:
        what = "no such file" if data is None else "its content has changed since it was published"
        raise StoreError(
            f"{store.root}/{path}: {what}; move {RECORD} away and publish again with the same settings, which gives "
            "the same questions"
        )
    return data


def parquet_of(table: Any) -> bytes:
    """A table of questions as bytes of a parquet file; equal tables give equal bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(table.combine_chunks(), sink, compression="zstd", row_group_size=1 << 17)
    return bytes(sink.getvalue())


def check_name(name: str) -> None:
    """Raise RecipeError unless a panel can have this name."""
    if not NAME.fullmatch(name):
        raise RecipeError(
            f"panel {cut(ascii(name))}: a name has lower-case letters, digits, - and _, 64 at most; the default is main"
        )


def folder(manifest: Manifest, name: str) -> str:
    """A panel's folder below the store's root."""
    return f"panels/{manifest.dataset}/{manifest.version}/{name}"


def folder_of(record: PanelRecord) -> str:
    """The same for a panel's record."""
    return f"panels/{record.dataset}/{record.version}/{record.name}"


def _questions(record: PanelRecord) -> str:
    return f"{folder_of(record)}/questions-{record.questions[:16]}.parquet"


def _marked(marks: Path | None, manifest: Manifest, store: Store) -> list[str]:
    """Ids of the marked pictures that people are to be asked about."""
    from variorum.kit.raters.marks import read_marks
    from variorum.reports.rows import edition_rows

    if marks is None:
        return []
    found = read_marks(marks)
    ids = edition_rows(manifest, store, ("id",))["id"].to_pylist()
    found.check(ids, f"{manifest.dataset}@{manifest.version}", f"marks: {shown(str(marks))}")
    return found.asked


def _is_newer(ledger: Ledger | None, there: PanelRecord) -> bool:
    return there.ledger != (ledger.digest() if ledger else "")


def _hashed(gold: Path) -> str:
    try:
        return hash_content(gold)
    except OSError as error:
        raise SourceError(f"gold {shown(str(gold))} can't be read ({error.strerror or error})") from None


def _check_edition(record: PanelRecord, manifest: Manifest) -> None:
    if record.edition != manifest.digest():
        raise StoreError(
            f"panel {record.key} asks about another state of the edition ({record.edition[:12]}, this is "
            f"{manifest.digest()[:12]}); publish a new one under another name: --name, and bring its votes along with: "
            f"variorum votes"
        )


def _check_same(there: PanelRecord, manifest: Manifest, settings: Settings, gold: str) -> None:
    """Raise StoreError unless these settings can go on with a panel."""
    _check_edition(there, manifest)
    old, new = (one.model_dump(mode="json") for one in (there.settings, settings))
    odd = [f"{name} {_short(new[name])} instead of {_short(old[name])}" for name in new if new[name] != old[name]]
    odd += [f"gold {gold[:12]} instead of {there.gold[:12] or 'none'}"] if gold and gold != there.gold else []
    if odd:
        raise StoreError(
            f"panel {there.key} is published with other settings ({', '.join(odd)}); leave them out to go on with it, "
            "or give the new one a name of its own with --name"
        )


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return digest(value)[:12]
    return cut(" ".join(map(str, value)) if isinstance(value, list | tuple) else repr(value))
