"""Votes in files: parquet, CSV and the JSON of Label Studio, written and read back exactly.

Files of other origin are read as well. They need a picture's id, the label, the answer and the reviewer; the rest is
filled in, and a vote without an id gets one from its content, so that a file that is read twice counts once.
"""

from __future__ import annotations

import csv
import functools
import os
import re
import secrets
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote, urlsplit

from sqlalchemy import Engine, select

from variorum.people.votes.ballots import cast
from variorum.people.votes.checks import fault
from variorum.people.votes.columns import Doubtful, votes_of
from variorum.people.votes.counters import pieces
from variorum.people.votes.database import reading, tasks
from variorum.people.votes.tables import COLUMNS, OF_VOTE, of_votes, schema, to_votes, with_place
from variorum.schemas.canonical import short_digest
from variorum.schemas.errors import SourceError, StoreError, cut
from variorum.schemas.vote import TRUTHS, Vote

NEEDED = ("id", "subject", "answer", "reviewer")
AT_LEAST = "id or origin, subject or label, answer, reviewer"
SAME = {"label": "subject", "origin": "id"}
"""Other names of columns."""
NO_CONTENT = "0" * 64
"""Stands for a sha256 that isn't known."""
FORMULA = re.compile(r"'*[=+\-@\t\r]")
QUOTED_FORMULA = re.compile(r"'+[=+\-@\t\r]")
AT_ONCE = 500
"""Votes that are imported in one transaction."""
EXAMPLES = 10
ROWS = 1 << 16
"""Votes of a file that are looked at together."""
PARQUET, CSV, LABEL_STUDIO = ".parquet", ".csv", ".json"


Pictures = Callable[[str], str | None]
"""The id of a picture from what it was made of, or from its address; None for an unknown one."""


def by_origin(load: Callable[[], Mapping[str, str]]) -> Pictures:
    """Finds pictures by their origin, alone or at the end of a path or an address.

    Args:
        load: gives ids by origin, such as `birds/heron.jpg`; called once, and only if it is needed.
    """
    known = functools.cache(load)
    deepest = functools.cache(lambda: max((name.count("/") + 1 for name in known()), default=0))

    def find(name: str) -> str | None:
        if name in known():
            return known()[name]
        parts = unquote(urlsplit(name).path).split("/")
        ends = ("/".join(parts[start:]) for start in range(max(0, len(parts) - deepest()), len(parts)))
        return next((known()[end] for end in ends if end in known()), None)

    return find


def write_votes(table: Any, path: Path) -> None:
    """Write a table of votes as parquet, CSV or tasks for Label Studio, whole or not at all.

    In CSV, text that a spreadsheet would take for a formula gets a quote in front, which `read_votes` takes off again.
    The same table gives the same bytes. For Label Studio see also `label_studio.write_export`.

    Raises:
        StoreError: another ending, or the file can't be written.
    """
    if path.suffix == PARQUET:
        import pyarrow.parquet as pq

        with whole_file(path) as file:
            pq.write_table(table, file, compression="zstd")
    elif path.suffix == CSV:
        with whole_file(path) as file:
            for line in _csv_lines(table):
                file.write(line.encode())
    elif path.suffix == LABEL_STUDIO:
        from variorum.people.votes.label_studio import write_table

        write_table(table, path)
    else:
        raise StoreError(f"{path}: ends in {path.suffix!r}; votes are written as {PARQUET}, {CSV} or {LABEL_STUDIO}")


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A file that appears under its name once all is written, and that only its owner may read: it names people.

    Raises:
        StoreError: it can't be written.
    """
    try:
        name = path.with_name(f".{path.name[:100]}.{secrets.token_hex(8)}")
        with open(name, "xb", opener=functools.partial(os.open, mode=0o600)) as file:
            try:
                yield file
                file.close()
                name.replace(path)
            except BaseException:
                name.unlink()
                raise
    except OSError as error:
        raise StoreError(f"{path} can't be written: {error.strerror}") from None


def _csv_lines(table: Any) -> Iterator[str]:
    class Line:
        """The line that the writer wrote last."""

        text = ""

        def write(self, text: str) -> None:
            self.text = text

    line = Line()
    writer = csv.writer(line)
    writer.writerow(COLUMNS)
    yield line.text
    for batch in table.select(COLUMNS).to_batches(max_chunksize=1 << 14):
        for row in batch.to_pylist():
            writer.writerow([_cell(value) for value in row.values()])
            yield line.text


def _cell(value: Any) -> str:
    if value is None or value != value:
        return ""
    text = " ".join(repr(edge) for edge in value) if isinstance(value, list) else str(value)
    return f"'{text}" if FORMULA.match(text) else text


def read_votes(
    path: Path,
    candidates: Callable[[str], Collection[str]] | None = None,
    names: Mapping[str, str] | None = None,
    pictures: Pictures | None = None,
) -> Any:
    """Read votes from a file; every one is checked.

    Args:
        path: of a parquet or CSV file, or an export of Label Studio as JSON.
        candidates: only for Label Studio, see `label_studio.read_export`.
        names: the same.
        pictures: finds the pictures of votes without a sha256, which may be named by what they were made of.

    Returns:
        A table as `tables.schema` says. `vote` or `sha256` are `""` where the file doesn't have them.

    Raises:
        SourceError: the file is missing or unreadable, lacks a column, or has a vote that can't be right: its row,
            column and value are named.
    """
    try:
        if not path.is_file():  # opening a pipe could wait forever
            raise FileNotFoundError("no such file")
        if path.suffix == LABEL_STUDIO:
            from variorum.people.votes.label_studio import read_export

            return read_export(path, candidates, names, pictures)
        if path.suffix in (PARQUET, CSV):
            fast = _parquet_columns if path.suffix == PARQUET else _csv_columns
            try:
                return _as_columns(path, fast, pictures)
            except Doubtful:  # each vote on its own, to say which one is wrong, and why
                return _one_by_one(path, pictures)
    except (OSError, ValueError, csv.Error, OverflowError) as error:
        raise SourceError(f"{path} can't be read: {str(error).splitlines()[0]}") from None
    raise SourceError(f"{path}: ends in {path.suffix!r}; votes are read from {PARQUET}, {CSV} and {LABEL_STUDIO}")


def _as_columns(path: Path, read: Callable[[Path], Iterator[Any]], pictures: Pictures | None) -> Any:
    """The votes of a file whose values are all plainly right. Raises Doubtful for another one."""
    import pyarrow as pa

    found = [schema().empty_table()]
    for batch in read(path):
        places = _places(path, batch.schema.names)
        batch.validate(full=True)
        if len(batch):
            found.append(votes_of({name: batch.column(place) for name, place in places.items()}, pictures))
    return pa.concat_tables(found)


def _one_by_one(path: Path, pictures: Pictures | None) -> Any:
    if path.suffix == PARQUET:
        return _checked(path, *_parquet_rows(path), pictures)
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file, strict=True)
        return _checked(path, next(reader, []), _csv_rows(reader), pictures)


def _parquet_columns(path: Path) -> Iterator[Any]:
    import pyarrow as pa

    from variorum.people.votes.parquet_file import open_parquet

    file = open_parquet(path)
    names = file.schema_arrow.names
    yield pa.record_batch([pa.array([], pa.null())] * len(names), names=names)  # for the names
    if len(set(names)) == len(names):
        yield from file.iter_batches(ROWS)


def _csv_columns(path: Path) -> Iterator[Any]:
    import pyarrow as pa

    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file, strict=True)
        names = next(reader, [])
        yield pa.record_batch([pa.array([], pa.null())] * len(names), names=names)
        lines = filter(None, reader)  # without empty ones
        while rows := list(islice(lines, ROWS)):
            if any(len(row) != len(names) for row in rows):
                raise Doubtful
            columns = [_bare(pa.array(column, pa.string())) for column in zip(*rows, strict=True)]
            yield pa.record_batch(columns, names=names)


def _bare(column: Any) -> Any:
    """Texts without the quote in front of what a spreadsheet would take for a formula."""
    import pyarrow.compute as pc

    if not pc.any(pc.starts_with(column, "'")).as_py():
        return column
    return pc.replace_substring_regex(column, r"\A'('*[=+\-@\t\r])", r"\1", max_replacements=1)


def _parquet_rows(path: Path) -> tuple[list[str], Iterator[list[Any]]]:
    from variorum.people.votes.parquet_file import open_parquet

    file = open_parquet(path)
    names = file.schema_arrow.names
    if len(set(names)) < len(names):
        return names, iter(())  # refused by `_places`
    return names, (list(row.values()) for batch in file.iter_batches(1 << 14) for row in batch.to_pylist())


def _csv_rows(reader: Iterable[list[str]]) -> Iterator[list[Any]]:
    for row in reader:
        yield [cell[1:] if QUOTED_FORMULA.match(cell) else cell for cell in row]


def _checked(path: Path, names: list[str], rows: Iterator[list[Any]], pictures: Pictures | None) -> Any:
    places = _places(path, names)
    found, where = list[Vote](), list[tuple[Any, ...]]()
    for number, row in enumerate(rows, start=1):
        if not row:  # an empty line
            continue
        if len(row) != len(names):
            raise SourceError(f"{path}, row {number}: has {len(row)} cells, the header has {len(names)}")
        given = {name: row[place] for name, place in places.items()}
        try:
            vote = vote_of(given)
            if pictures and not vote.sha256 and isinstance(vote.id, str):
                vote = replace(vote, id=pictures(vote.id) or vote.id)
            column, wrong = fault(filled_in(vote))
            place = tuple(whole_number(given.get(name), name) for name in ("task", "number"))
            truth = _text(given.get("truth"))
            if not wrong and truth not in TRUTHS:
                column, wrong = "truth", f"truth is {ascii(truth)[:80]}; known are yes and no, and nothing"
        except Unreadable as error:
            column, wrong = error.args
        if wrong:
            raise SourceError(f"{path}, row {number}, column {column}: {wrong}; mend the row, or leave it out")
        if vote.sha256 and given.get("question") not in (None, "", vote.question):
            why = f"question is {given['question']!r}, but the row's picture and subject make {vote.question}"
            raise SourceError(f"{path}, row {number}, column question: {why}; leave the column out")
        found.append(vote)
        where.append((*place, truth))
    return with_place(of_votes(found), where)


def filled_in(vote: Vote) -> Vote:
    """A vote that can be checked, although its id or the sha256 of its picture are found out later."""
    return replace(vote, vote=vote.vote or "-", sha256=vote.sha256 or NO_CONTENT)


def _places(path: Path, names: list[str]) -> dict[str, int]:
    """Where the columns are that are read."""
    names = [name.strip() if isinstance(name, str) else "" for name in names]
    known = {name: number for number, name in enumerate(names) if name in COLUMNS}
    for other, name in SAME.items():
        if name not in known and other in names:
            known[name] = names.index(other)
    if missing := [name for name in NEEDED if name not in known]:
        has = cut(", ".join(names)) or "none"
        raise SourceError(f"{path}: has no column {', '.join(missing)}; it has {has}; needed are {AT_LEAST}")
    if twice := [name for name in known if names.count(name) > 1]:
        raise SourceError(f"{path}: has column {twice[0]} twice")
    return known


class Unreadable(Exception):
    """A value that has no reading: its column, and a sentence."""


def vote_of(given: Mapping[str, Any]) -> Vote:
    """A vote from values as files have them: text, numbers or nothing. Unknown fields are ignored.

    Raises:
        Unreadable: a number that isn't one.
    """
    texts = {name: _text(given.get(name)) for name in OF_VOTE if name not in ("round", "box", "seconds", "at")}
    texts["kind"] = texts["kind"] or "label"
    round_ = whole_number(given.get("round"), "round")
    return Vote(
        **texts,
        round=1 if round_ is None else round_,
        box=_box(given.get("box")),
        seconds=_real(given.get("seconds"), "seconds", float("nan")),
        at=_real(given.get("at"), "at", 0.0),
    )


def _text(value: Any) -> Any:
    if value is None or value != value:
        return ""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _real(value: Any, name: str, missing: float) -> float:
    if value is None or value == "":
        return missing
    try:
        return float(value)
    except (TypeError, ValueError):
        raise Unreadable(name, f"{name} is {ascii(value)[:80]}, which isn't a number") from None


def whole_number(value: Any, name: str) -> int | None:
    """A value that is a whole number, or None for nothing.

    Raises:
        Unreadable: anything else.
    """
    number = _real(value, name, float("nan"))
    if number != number:
        return None
    if number != int(number) if abs(number) < 2**53 else True:
        raise Unreadable(name, f"{name} is {ascii(value)[:80]}, which isn't a whole number")
    return int(number)


def _box(value: Any) -> Any:
    if value is None or value == "":
        return None
    edges = value.split() if isinstance(value, str) else value
    return tuple(_real(edge, "box", float("nan")) for edge in edges) if isinstance(edges, (list, tuple)) else value


@dataclass(slots=True)
class Imported:
    """The outcome of importing the votes of a file.

    Attributes:
        kept: new votes.
        known: votes that were there already.
        refused: how many votes were refused, by reason: see `ballots.Reason`.
        examples: the first refused ones: number of the row, and why.
    """

    kept: int = 0
    known: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    examples: list[tuple[int, str]] = field(default_factory=list)


def import_votes(engine: Engine, panel: str, table: Any, now: float, *, classes: Collection[str] = ()) -> Imported:
    """Add the votes of a table to a panel. The same table twice changes nothing; so does one that was cut off before.

    Args:
        engine: the database.
        panel: key of the panel.
        table: from `read_votes`.
        now: seconds since 1970, for votes without a time.
        classes: of the edition: votes on these may add questions to their picture.

    Raises:
        StoreError, TemporaryError: as in `ballots.cast`; votes of the pieces before have been kept.
    """
    done, number = Imported(), 0
    for given in to_votes(table, AT_ONCE):
        whole = [with_id(vote) for vote in _with_content(engine, panel, given)]
        for result in cast(engine, panel, whole, now, classes=classes, brought=True):
            number += 1
            if result.state == "refused":
                done.refused[result.reason] += 1
                done.examples += [(number, result.why)] if len(done.examples) < EXAMPLES else []
            done.kept += result.state == "kept"
            done.known += result.state == "known"
    return done


def _with_content(engine: Engine, panel: str, given: list[Vote]) -> list[Vote]:
    """The votes with the panel's sha256 of their picture, where they have none."""
    lacking = {vote.id for vote in given if not vote.sha256}
    known = dict[str, str]()
    with reading(engine) as connection:
        for some in pieces(lacking):
            here = tasks.c.panel == panel, tasks.c.id.in_(some)
            known |= {row.id: row.sha256 for row in connection.execute(select(tasks.c.id, tasks.c.sha256).where(*here))}
    return [vote if vote.sha256 else replace(vote, sha256=known.get(vote.id, NO_CONTENT)) for vote in given]


def with_id(vote: Vote) -> Vote:
    """A vote with an id; one that has none gets it from its content."""
    if vote.vote:
        return vote
    content: dict[str, Any] = {name: getattr(vote, name) for name in OF_VOTE if name != "vote"}
    content["box"] = None if vote.box is None else [float(edge) for edge in vote.box]
    content["seconds"] = None if vote.seconds != vote.seconds else vote.seconds
    return replace(vote, vote=short_digest(content))
