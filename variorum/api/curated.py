"""Return the result of `curate`: verdicts, labels and pictures in the order in which they were given."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from variorum.api.arguments import from_here, whole_number
from variorum.edition.verdicts import read_verdicts, rows_of, settle
from variorum.machine.retrying import printable
from variorum.reports.ledger_figures import findings, random_check
from variorum.reports.rows import edition_rows
from variorum.schemas.errors import RecipeError
from variorum.schemas.manifest import Ledger
from variorum.schemas.secrets import shown

if TYPE_CHECKING:
    import pyarrow as pa

    from variorum.api.edition import Edition
    from variorum.api.notebook_pictures import Picture
    from variorum.arrays import Bools

ORDER = ("relabel", "review", "drop", "withhold", "weight", "unasked", "audit", "keep", "note")
"""Actions, the most important first. Changed labels lead, because no person reviews them."""
SILENT = ("audit", "keep", "note")
"""Actions that are no findings: the picture was drawn at random, or is as it should be."""
DONE = {
    "relabel": "got another label",
    "review": "to be reviewed",
    "drop": "dropped",
    "withhold": "withheld",
    "weight": "count less in training",
    "unasked": "doubtful, but beyond the budget",
    "audit": "drawn at random for an audit",
    "keep": "kept by a rule",
    "note": "noted",
}
FEW = 3
"""Pictures that a line of the report names."""
MOST_SHOWN = 1000
"""Pictures of a sheet, which is drawn in memory."""
LONGEST = 32
"""Characters of a path in a report; a longer one loses its beginning."""


@dataclass(frozen=True)
class Input:
    """The pictures that `curate` was given.

    Attributes:
        ids: of the pictures in the edition.
        labels: class ids, `""` for none.
        paths: of the pictures; None for arrays.
        values: by class id, the label as it was given; ids that aren't here are labels themselves.
        none: what `labels()` returns for a picture without a label.
        unlabelled: whether it was said that there are no labels.
    """

    ids: Sequence[str]
    labels: Sequence[str]
    paths: Sequence[str] | None
    values: Mapping[str, Any]
    none: Any
    unlabelled: bool = False


class Curated:
    """Verdicts on pictures, and the release that follows them.

        found.report()              what was found, in a dozen lines
        found.verdicts().to_pandas()
        found.keep                  which pictures are in the release, in the order in which they were given
        found.labels()              their labels after curation
        found.release               the release as an edition: table, pictures, `load_dataset`

    Attributes:
        edition: the pictures as they were given.
        release: without dropped pictures and with new labels.
        notes: where the call departs from the recipe, and why.
    """

    def __init__(self, edition: Edition, release: Edition, given: Input, notes: Sequence[str] = ()) -> None:
        self.edition, self.release, self.notes = edition, release, tuple(notes)
        self.given = given

    def __len__(self) -> int:
        """Number of pictures that were given."""
        return len(self.given.ids)

    @property
    def ledger(self) -> Ledger:
        """The release's ledger: all measurements and verdicts, by hash."""
        ledger = self.release.manifest.ledger
        assert ledger is not None, "a release has a ledger"
        return ledger

    @property
    def paths(self) -> list[str] | None:
        """Path of each picture; of a folder relative to it, in the order of all results. None for arrays."""
        return None if self.given.paths is None else list(self.given.paths)

    @property
    def findings(self) -> list[str]:
        """Findings about the pictures as a whole, in sentences; `notes` come first."""
        return [*self.notes, *(line for _, line in findings(self.ledger))]

    # ── in the order of the input ────────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def keep(self) -> Bools:
        """`[N]` which pictures are in the release."""
        accepted, _ = self._released
        return accepted

    def labels(self) -> list[Any]:
        """The labels after curation `[N]`, of the kind that was given: numbers or texts.

        None for a picture that isn't in the release; -1, or `""` among texts, for one without a label.
        """
        accepted, labels = self._released
        given = self.given
        return [
            None if not kept else given.values.get(label, label) if label else given.none
            for kept, label in zip(accepted.tolist(), labels, strict=True)
        ]

    @cached_property
    def _released(self) -> tuple[Bools, list[str]]:
        """Return whether each picture is in the release, and its label there."""
        rows = edition_rows(self.release.manifest, self.release.store, ("id", "labels"))
        found = {
            name: labels[0] if labels else ""
            for name, labels, status in zip(*(rows[one].to_pylist() for one in ("id", "labels", "status")), strict=True)
            if status == "accepted"
        }
        kept = np.array([name in found for name in self.given.ids], dtype=bool)
        return kept, [found.get(name, "") for name in self.given.ids]

    # ── verdicts ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def verdicts(self, action: str | None = None) -> pa.Table:
        """One row per picture with a verdict; what most deserves a look comes first.

        Columns:
            row: position of the picture in what was given.
            path: of its file; only where the pictures have one.
            action: `relabel`, `review`, `drop`, ...: see `variorum.schemas.verdict`.
            reason: in a word, such as `copy` or `wrong_label`.
            by: the step that gave the verdict; `build` for a picture that can't be read or wasn't kept.
            given: its label, null for none.
            proposed: the new label, null where none is proposed.
            value: the number behind it, NaN for none.
            worth: of a review, its expected value: the probability of an error times its weight; NaN if unknown.

        Args:
            action: only these; by default all but `audit`, `keep` and `note`, which are no findings.

        Raises:
            RecipeError: no such action.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        if action is None:
            return self._said.filter(pc.invert(pc.is_in(self._said["action"], value_set=pa.array(SILENT))))
        if action not in ORDER:
            raise RecipeError(f"verdicts: no action {action!r}; there are: {', '.join(ORDER)}")
        return self._said.filter(pc.equal(self._said["action"], action))

    @cached_property
    def _said(self) -> pa.Table:
        """All verdicts, one per picture, in order."""
        import pyarrow as pa
        import pyarrow.compute as pc

        ids = pa.chunked_array([pa.array(self.given.ids, pa.string())])
        said = settle(read_verdicts(self.ledger.verdicts, self.release.store))
        labels = pc.binary_join(said["labels"], " ")
        rows = edition_rows(self.edition.manifest, self.edition.store, ("id", "reason"))
        failed = rows.filter(pc.not_equal(rows["status"], "accepted"))
        parts = [
            pa.table(
                {
                    "row": rows_of(ids, said["id"]),
                    **{name: said[name] for name in ("action", "reason", "by")},
                    "proposed": pc.if_else(pc.equal(labels, ""), None, labels),
                    **{name: said[name] for name in ("value", "worth")},
                }
            ),
            pa.table(
                {
                    "row": rows_of(ids, failed["id"]),
                    "action": pc.if_else(pc.equal(failed["status"], "withheld"), "withhold", "drop"),
                    "reason": failed["reason"].cast(pa.string()),
                    "by": pa.repeat("build", len(failed)),
                    "proposed": pa.nulls(len(failed), pa.string()),
                    "value": np.full(len(failed), np.nan),
                    "worth": np.full(len(failed), np.nan),
                }
            ),
        ]
        return self._ordered(pa.concat_tables(parts, promote_options="default"))

    def _ordered(self, table: pa.Table) -> pa.Table:
        """The verdicts with path and given label, those first that most deserve a look."""
        import pyarrow as pa

        rows = table["row"].to_numpy()
        turn = {action: place for place, action in enumerate(ORDER)}
        turns = np.array([turn[action] for action in table["action"].to_pylist()], np.int64)
        worth, value = (np.nan_to_num(table[name].to_numpy(), nan=-np.inf) for name in ("worth", "value"))
        table = table.take(np.lexsort((rows, -value, -worth, turns)))
        rows = table["row"].to_numpy()
        paths = self.given.paths
        columns: dict[str, Any] = {"row": table["row"]}
        if paths is not None:
            columns["path"] = pa.array([paths[row] for row in rows.tolist()], pa.string())
        columns |= {name: table[name] for name in ("action", "reason", "by")}
        columns["given"] = pa.array([self.given.labels[row] or None for row in rows.tolist()], pa.string())
        return pa.table({**columns, **{name: table[name] for name in ("proposed", "value", "worth")}})

    # ── to read and to look at ───────────────────────────────────────────────────────────────────────────────────────

    def counts(self) -> dict[str, dict[str, int]]:
        """Numbers of pictures by action and reason, without `audit`, `keep` and `note`."""
        found: dict[str, dict[str, int]] = {action: {} for action in ORDER if action not in SILENT}
        said = self.verdicts()
        for action, reason in zip(said["action"].to_pylist(), said["reason"].to_pylist(), strict=True):
            found[action][reason] = found[action].get(reason, 0) + 1
        return {action: by_reason for action, by_reason in found.items() if by_reason}

    def summary(self) -> str:
        """One line: how many pictures, and what was done with them."""
        labelled = [label for label in self.given.labels if label]
        classes, number = len(set(labelled)), len(labelled)
        parts = [f"{sum(found.values()):,} {DONE[action]}" for action, found in self.counts().items()]
        of = f", {_many(number, 'label')} in {_many(classes, 'class')}" if number else " without labels"
        of += ", as asked" if self.given.unlabelled else ""
        return f"{_many(len(self), 'picture')}{of}: {', '.join(parts) or 'nothing found'}"

    def __str__(self) -> str:
        lines, said = [self.summary()], self.verdicts()
        for action, found in self.counts().items():
            lines += ["", f"{DONE[action]}:"]
            for reason, number in sorted(found.items(), key=lambda item: -item[1]):
                lines.append(f"  {number:>7,}  {reason.replace('_', ' '):<24} {self._examples(said, action, reason)}")
        if line := random_check(self.ledger):
            lines += ["", line]
        if self.findings:
            lines += ["", "of the pictures as a whole:", *(f"  {line}" for line in self.findings)]
        url = self.release.store.url
        lines += ["", f"{self.release.name}: {self.keep.sum():,} pictures, in {from_here(url) or shown(url)}"]
        return printable_lines(lines)

    def _examples(self, said: pa.Table, action: str, reason: str) -> str:
        """The first pictures with a reason: `17 (cat → dog), 40 (dog → cat), …`."""
        import pyarrow.compute as pc

        mine = said.filter(pc.and_(pc.equal(said["action"], action), pc.equal(said["reason"], reason)))
        named = [_named(row) for row in mine.slice(0, FEW).to_pylist()]
        return ", ".join(named) + (", …" if len(mine) > FEW else "")

    def report(self) -> None:
        """Print what was found, in about a dozen lines; `str(found)` is the text."""
        sys.stdout.write(f"{self}\n")

    def __repr__(self) -> str:
        return f"<Curated {printable(self.summary())}>"

    def _repr_html_(self) -> str:
        from variorum.api.curated_pictures import as_html

        return as_html(self)

    def show(self, pictures: int = 12) -> Picture:
        """The pictures that most deserve a look, with their verdicts: a notebook displays it, `save` writes it.

        Args:
            pictures: how many at most.

        Raises:
            RecipeError: `pictures` isn't a whole number from 1 to 1000.
        """
        from variorum.api.curated_pictures import as_sheet

        return as_sheet(self, whole_number("pictures", pictures, 1, MOST_SHOWN, RecipeError))


def _many(number: int, what: str) -> str:
    """`1 label`, `2 labels`, `2 classes`."""
    return f"{number:,} {what}{'' if number == 1 else 'es' if what.endswith('s') else 's'}"


def _named(verdict: Mapping[str, Any]) -> str:
    """A picture's path or position, and its labels where another is proposed: `17 (cat → dog)`."""
    where = str(verdict.get("path", verdict["row"]))
    where = where if len(where) <= LONGEST else f"…{where[1 - LONGEST :]}"
    return f"{where} ({verdict['given'] or 'no label'} → {verdict['proposed']})" if verdict["proposed"] else where


def printable_lines(lines: Sequence[str]) -> str:
    """Lines without control characters, which could command a terminal."""
    return "\n".join(printable(line) for line in lines)
