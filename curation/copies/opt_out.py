"""Takes out the pictures whose people, authors or owners asked for it, with everything that was made of them.

They are withheld, which no other step and no vote undoes: a release keeps a row, shows the picture nowhere, and asks
nobody about it. A list that has grown leads to another ledger and another release.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from variorum.edition.lenders import OF_ONE_FILE, made_of_those
from variorum.edition.verdicts import MADE_OF_WITHHELD
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Decider
from variorum.schemas.errors import SourceError
from variorum.schemas.lookup import cut
from variorum.schemas.secrets import shown

if TYPE_CHECKING:
    from variorum.arrays import Bools
    from variorum.schemas.table import Table
    from variorum.schemas.verdict import Verdicts

KINDS: Mapping[str, str] = {"sha256": "[0-9a-f]{64}", "photograph": ".+", "id": "[0-9a-f]{32}", "origin": ".+"}
"""Columns that an entry can be found in, and what an entry looks like."""
COPY = "duplicates.copy_of"
LONGEST = 4096
"""Characters of an entry."""


class OptOut(Decider):
    """A `withhold` verdict with the reason `opt_out` for each picture on a list, and for all that was made of it."""

    location: ClassVar[frozenset[str]] = frozenset({"list"})

    list: Path
    """Text with one entry a line, or a CSV with some of the columns `sha256`, `photograph`, `id` and `origin`."""

    def check(self, ctx: Context) -> None:
        """Return whether the list can be read."""
        read_list(self.list)

    def decide(self, table: Table, ctx: Context) -> Iterator[Verdicts]:
        """Verdicts on the listed pictures, others of their photographs, proved copies, and all that is made of them.

        Raises:
            SourceError: the list can't be read.
        """
        wanted = read_list(self.list)
        found = _with_family(table, _listed(table, wanted))
        made = made_of_those(table.arrow, found, set().union(*wanted.values())) & ~found
        for rows, reason in ((np.flatnonzero(found), "opt_out"), (np.flatnonzero(made), MADE_OF_WITHHELD)):
            if len(rows):
                yield table.verdicts(rows, "withhold", reason)

    def figures(self, table: Table, ctx: Context) -> Mapping[str, Json]:
        """Count pictures that are taken out, without naming them or the list."""
        taken = 0 if table.said is None else len(table.said)
        said = f"{taken:,} {'picture was' if taken == 1 else 'pictures were'} taken out because somebody asked for it."
        return {"taken_out": taken, **({"findings": [said]} if taken else {})}


def read_list(path: Path) -> dict[str, set[str]]:
    """The entries of a list, by the column that they are looked for in.

    In a text, 64 hexadecimal digits are the sha256 of a picture or of the photograph that it was made of, 32 are an id,
    and what has a dot or a slash is an origin: a URL, or a path as the edition gives it. Empty lines, and what follows
    a `#` at the beginning of a line or after a space, don't count.

    Raises:
        SourceError: the file can't be read, or a line is none of this; the error names its number.
    """
    where = f"curate.opt_out.list {shown(str(path))}"
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it isn't UTF-8 text"
        raise SourceError(f"{where} can't be read: {reason}") from None
    read = _of_csv if path.suffix.lower() == ".csv" else _of_text
    found: dict[str, set[str]] = {name: set() for name in KINDS}
    for number, entries in read(lines, where):
        for name, entry in entries:
            value = entry.lower() if name in ("sha256", "id") else entry
            if len(value) > LONGEST or not re.fullmatch(KINDS[name], value):
                raise SourceError(f"{where}, line {number}: {cut(repr(entry))} is no {name}")
            found[name].add(value)
    return found


Entries = tuple[int, tuple[tuple[str, str], ...]]
"""Number of a line, and its entries: column and value."""


def _of_csv(lines: Any, where: str) -> Iterator[Entries]:
    rows = csv.DictReader(lines)
    if not set(KINDS) & set(rows.fieldnames or ()):
        raise SourceError(f"{where} has none of the columns {', '.join(KINDS)}; name them in the first line")
    for row in rows:
        entries = tuple((name, value.strip()) for name in KINDS if (value := row.get(name) or "").strip())
        if not entries:
            raise SourceError(f"{where}, line {rows.line_num}: it has no {' or '.join(KINDS)}")
        yield rows.line_num, entries


def _of_text(lines: Any, where: str) -> Iterator[Entries]:
    for number, line in enumerate(lines, 1):
        entry = re.sub(r"(^|\s)#.*", "", line).strip()
        if re.fullmatch("[0-9a-fA-F]{64}", entry):
            yield number, (("sha256", entry), ("photograph", entry.lower()))
        elif re.fullmatch("[0-9a-fA-F]{32}", entry):
            yield number, (("id", entry),)
        elif re.search("[./]", entry):
            yield number, (("origin", entry),)
        elif entry:
            raise SourceError(
                f"{where}, line {number}: {cut(repr(entry))} is no sha256 (64 hexadecimal digits), no id (32), and no "
                "URL or path; write one entry a line"
            )


def _listed(table: Table, wanted: Mapping[str, set[str]]) -> Bools:
    """Return which pictures `[N]` an entry names."""
    found = np.zeros(len(table), bool)
    for name, values in wanted.items():
        if values and name in table:
            found |= _is_in(table, name, sorted(values))
    return found


def _with_family(table: Table, found: Bools) -> Bools:
    """Those pictures, all that has the same source or photograph, and proved copies, until there are no more `[N]`.

    A `photograph` that is no hash names a group of several photographs, such as a place; it doesn't go as a whole.
    """
    if not found.any():
        return found
    links: Any = [table["source"]]
    if "photograph" in table:
        photographs = table["photograph"]
        links.append(np.where([OF_ONE_FILE.fullmatch(one) is not None for one in photographs], photographs, ""))
    if COPY in table:
        links.append(np.where(table[COPY] == "", table["id"], table[COPY]))
    while True:
        more = found.copy()
        for link in links:
            more |= np.isin(link, np.unique(link[more & (link != "")]))
        if (more == found).all():
            return found
        found = more


def _is_in(table: Table, name: str, values: Any) -> Bools:
    import pyarrow as pa
    import pyarrow.compute as pc

    mask: Bools = pc.is_in(table.column(name), value_set=pa.array(values, pa.string())).to_numpy()
    return mask
