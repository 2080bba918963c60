"""A model's report in Python: rows, curves, guards, and its files."""

from __future__ import annotations

import html as escaping
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from variorum.api import html
from variorum.api.arguments import from_here, path_of
from variorum.edition.records import BadRecord, parse
from variorum.schemas.errors import GuardFailed, RecipeError, StoreError
from variorum.schemas.lookup import cut

if TYPE_CHECKING:
    import pyarrow as pa

    from variorum.edition.store import Store
    from variorum.reports.profile.document import Difference, Guard, Row
    from variorum.reports.profile.document import Report as Content

log = logging.getLogger(__name__)

FILES = ("report.html", "report.json", "report.md")
"""Of a report, in its folder."""
HEIGHT = 900
"""Of the page's frame in a notebook, in pixels."""


class Report:
    """A report on models. `print(report)` shows a table; a notebook shows the page.

    Attributes:
        content: all that it says, as in report.json.
        key: digest of all that decides it; the name of its folder.
        store: where it lies.
    """

    def __init__(self, content: Content, key: str, store: Store) -> None:
        self.content, self.key, self.store = content, key, store

    @property
    def path(self) -> str:
        """Path of the page, report.html; a URL in a store that isn't on this machine."""
        return place(self.key, self.store)

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models, in the order in which they were given."""
        return tuple(model.name for model in self.content.models)

    @property
    def guards(self) -> tuple[Guard, ...]:
        """Return the limits that it was asked to guard, and how each ended."""
        return self.content.guards

    @property
    def rows(self) -> pa.Table:
        """One row per question and model, as a `pyarrow.Table`; `.to_pandas()` makes a DataFrame.

        Columns `row, title, section, under, model, n, value, low, high, floor, says, why_not`, in percent; then
        `difference, difference_low, difference_high, p, holm, verdict` to the reference, in percentage points, null for
        the reference itself.
        """
        import pyarrow as pa

        texts = ("row", "title", "section", "under", "model", "says", "why_not", "verdict")
        numbers = ("value", "low", "high", "floor", "difference", "difference_low", "difference_high", "p", "holm")
        order = ("row", "title", "section", "under", "model", "n", *numbers[:4], *texts[5:7], *numbers[4:], "verdict")
        kinds = {"n": pa.int64(), **dict.fromkeys(texts, pa.string()), **dict.fromkeys(numbers, pa.float64())}
        found = [self._flat(row, model) for row in self.content.rows for model in row.models]
        return pa.Table.from_pylist(found, pa.schema([(name, kinds[name]) for name in order]))

    def _flat(self, row: Row, model: str) -> dict[str, Any]:
        one, other = row.models[model], self._difference(row, model)
        flat: dict[str, Any] = {
            **{"row": row.id, "title": row.title, "section": row.section, "under": row.under, "model": model},
            **{"n": row.n, "why_not": one.why_not, "says": "", "verdict": ""},
        }
        if one.figure:
            flat |= {name: getattr(one.figure, name) for name in ("value", "low", "high", "floor")}
            flat["says"] = ", ".join(one.figure.says)
        if other:
            flat |= {"difference": other.value, "difference_low": other.low, "difference_high": other.high}
            flat |= {"p": other.p, "holm": other.holm, "verdict": other.verdict}
        return flat

    def _difference(self, row: Row, model: str) -> Difference | None:
        """A model's difference to the reference."""
        to = self.content.reference
        return next((one for one in row.differences if one.of == model and one.to == to), None)

    def row(self, name: str) -> Row:
        """A row by its id, with `.models`, `.differences`, `.curve` and `.pictures`.

        Raises:
            RecipeError: there is none; the message says why it wasn't measured, or names those that there are.
        """
        for row in self.content.rows:
            if row.id == name:
                return row
        for other in self.content.not_measured:
            if other.id == name:
                raise RecipeError(f"row {name!r} wasn't measured: {other.why_not}; {other.way_out}")
        raise RecipeError(
            f"there is no row {cut(repr(name))}; there are: {', '.join(one.id for one in self.content.rows)}"
        )

    def check(
        self,
        below: Mapping[str, float] | None = None,
        worse: Mapping[str, float] | None = None,
        *,
        strict: bool = False,
    ) -> tuple[Guard, ...]:
        """Check values against limits, for a test of your own.

        Args:
            below: least value in percent by row, `{"background": 50}`, or by model and row, `{"mine:background": 50}`.
                It fails if the whole interval is below (above, in a row where lower is better).
            worse: by row, the most percentage points that a model may be worse than the reference.
            strict: fail also where the interval contains the limit.

        Returns:
            Each limit and how it ended: `kept`, `undecided` or `failed`.

        Raises:
            GuardFailed: a limit isn't kept.
            RecipeError: there is no such row or model, or the value isn't a number.
        """
        from variorum.reports.profile.guards import failed, judged, read_guards

        least, most = ([f"{name}={limit}" for name, limit in (some or {}).items()] for some in (below, worse))
        wanted = read_guards(least, most, [row.id for row in self.content.rows], self.models)
        found = judged(wanted, self.content.rows, self.content.reference)
        if failed(found, strict):
            lost = [one for one in found if one.outcome == "failed" or (strict and one.outcome == "undecided")]
            raise GuardFailed("; ".join(said(one) for one in lost))
        return found

    def to_html(self, path: str | os.PathLike[str]) -> Path:
        """Write the page, one file that needs no network; returns its path. Raises StoreError."""
        return self._write(path, FILES[0])

    def to_json(self, path: str | os.PathLike[str]) -> Path:
        """Write all figures as JSON with a digest; returns its path. Raises StoreError."""
        return self._write(path, FILES[1])

    def to_markdown(self, path: str | os.PathLike[str]) -> Path:
        """Write the table for a paper's appendix; returns its path. Raises StoreError."""
        return self._write(path, FILES[2])

    def data(self, name: str) -> bytes:
        """Bytes of `report.html`, `report.json` or `report.md`. Raises StoreError if the file is gone."""
        found = self.store.read(f"{folder(self.key)}/{name}")
        if found is None:
            raise StoreError(f"{self.store}: {folder(self.key)}/{name} is gone; make the report again")
        return found

    def _write(self, path: str | os.PathLike[str], name: str) -> Path:
        target = path_of("path", path)
        try:
            target.write_bytes(self.data(name))
        except OSError as error:
            raise StoreError(f"{cut(str(target))}: can't be written ({error.strerror}); choose another place") from None
        return target

    def show(self) -> None:
        """Print the table."""
        print(self)  # noqa: T201 - that is what was asked for

    def lines(self) -> list[list[str]]:
        """The table as texts, with its head: a line per row, with each model's value, interval and verdict."""
        head = [
            "",
            *(
                one.short + (" (reference)" if one.name == self.content.reference else "")
                for one in self.content.models
            ),
        ]
        found = [head]
        for row in self.content.rows:
            cells = [self._cell(row, model) for model in self.models]
            found.append([("└ " if row.under else "") + row.title, *cells])
        return found

    def _cell(self, row: Row, model: str) -> str:
        one, other = row.models.get(model), self._difference(row, model)
        if one is None or one.figure is None:
            return one.why_not if one else ""
        from variorum.reports.profile.words import MARKS

        value = f"{one.figure.value:.1f} [{one.figure.low:.1f}, {one.figure.high:.1f}]"
        points = f" {MARKS[other.verdict]} {other.value:+.1f}" if other and other.verdict else ""
        return value + points + "".join(f", {word}" for word in one.figure.says)

    def __str__(self) -> str:
        lines = self.lines()
        widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
        table = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
        ]
        warned = [f"{one.name}: {one.warning}" for one in self.content.models if one.warning]
        without = [f"not measured: {one.title}: {one.why_not}" for one in self.content.not_measured]
        guarded = [said(one) for one in self.guards]
        return "\n".join([*self.content.lead, *table, *without, *warned, *guarded, self.path])

    def __repr__(self) -> str:
        return f"<Report on {', '.join(self.models)}: {len(self.content.rows)} rows, {self.path}>"

    def _repr_html_(self) -> str:
        """A link; and a frame if the page lies below the working folder, from where a notebook's server serves it."""
        inside = from_here(self.path)
        address = (
            quote(os.fsencode(inside)) if inside else self.path if "://" in self.path else Path(self.path).as_uri()
        )
        address = escaping.escape(address, quote=True)
        link = f'<a href="{address}" target="_blank">{html.text(inside or self.path)}</a>'
        if inside:
            return f'{link}<br><iframe src="{address}" width="100%" height="{HEIGHT}" loading="lazy"></iframe>'
        head, *lines = self.lines()
        return link + html.table(head, lines)


def read_report(key: str, store: Store) -> Report | None:
    """The report with this key, if it is whole; another user's store may hold a planted one, so none is read there."""
    from variorum.reports.profile import document

    data = None if store.theirs else store.read(f"{folder(key)}/{FILES[1]}")
    if data is None or any(store.read(f"{folder(key)}/{name}") is None for name in (FILES[0], FILES[2])):
        return None
    try:
        return Report(parse(data, document.Report), key, store)
    except BadRecord as error:
        log.warning("%s/%s: %s, and is made again", folder(key), FILES[1], error)
        return None


def place(key: str, store: Store) -> str:
    """Path or URL of the page of a report."""
    found = f"{store.root}/{folder(key)}/{FILES[0]}"
    return os.path.abspath(found) if store.local else str(store.fs.unstrip_protocol(found))


def folder(key: str) -> str:
    """The folder of a report in its store."""
    return f"reports/{key}"


def said(guard: Guard) -> str:
    """A guard and how it ended, in a line."""
    interval = f"{guard.value:.1f} [{guard.low:.1f}, {guard.high:.1f}]"
    if guard.kind == "below":
        return f"{guard.outcome}: {guard.row} of {guard.model} is {interval} %, its limit {guard.limit:g}"
    return (
        f"{guard.outcome}: {guard.row} of {guard.model} is {interval} points beside the reference, its limit "
        f"{guard.limit:g} points worse"
    )
