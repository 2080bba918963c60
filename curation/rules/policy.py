"""Turns columns into verdicts by the recipe's rules: the only place where thresholds act.

The first rule that matches a picture decides what is done. All others that match are noted, so that people see every
reason; but one that withholds acts wherever it stands, unless a rule before it keeps the picture. Rules that rest on
detectors' opinions are guarded: in small classes, and beyond a share of a class, they ask people instead of acting. A
copy is dropped only while the picture that it is a copy of stays.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from variorum.curation.rules.guard import another_label, decided_figures, guard, verdicts_of
from variorum.curation.rules.rule import Rule, check_kinds, evidence, first_match, is_missing_gate, kinds_of
from variorum.curation.rules.substitutes import Copies
from variorum.kit.labels.classes import class_ids, id_ranks
from variorum.kit.labels.columns import check_columns, kind_of
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Decider
from variorum.schemas.verdict import Action, Verdicts

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools, Floats, Ints
    from variorum.schemas.table import Table


class Policy(Decider):
    """Verdicts by rules over columns."""

    rules: tuple[Rule, ...] = Field(min_length=1)
    """Each with `when`, `action` and `reason`. The first one that matches a picture decides, later ones are noted."""
    min_class_size: int = Field(default=30, ge=1)
    """In a smaller class a guarded `drop` or `relabel` becomes a `review` whose reason ends in `_rare`."""
    max_share_per_class: float = Field(default=0.2, gt=0, le=1)
    """Largest share of a class that guarded rules drop or relabel, highest values first. The rest becomes a `review`
    whose reason ends in `_capped`."""

    def needs(self) -> tuple[str, ...]:
        """The detectors whose columns the rules name."""
        steps = (name.partition(".") for rule in self.rules for name in rule.columns())
        return tuple(dict.fromkeys(step for step, dot, _ in steps if dot and step != "gate"))

    def without(self, steps: Collection[str]) -> Policy | None:
        """With the rules that read no column of these steps; None if every rule reads one."""
        rules = tuple(r for r in self.rules if not {name.partition(".")[0] for name in r.columns()} & set(steps))
        return self.model_copy(update={"rules": rules}) if rules else None

    def check(self, ctx: Context) -> None:
        """Return whether each column is a detector's or the edition's."""
        for number, rule in enumerate(self.rules):
            check_columns(rule.columns(), f"curate.policy.rules.{number}")

    def check_columns(self, known: Mapping[str, Mapping[str, str]]) -> None:
        """Return whether the detectors give the columns, and these hold what the rules test."""
        found = {
            name: kind_of(name, known, f"curate.policy.rules.{number}")
            for number, rule in enumerate(self.rules)
            for name in rule.columns()
        }
        check_kinds(self.rules, found)

    def decide(self, table: Table, ctx: Context) -> Iterator[Verdicts]:
        """Verdicts rule by rule, within a rule highest value first; then a `note` for every other rule that matches.

        Another rule that withholds gives a `withhold`.

        Raises:
            RecipeError: column missing or of the wrong type, weight outside [0, 1].
        """
        if not len(table):  # nothing was measured, so columns are missing
            return
        check_kinds(self.rules, kinds_of(self.rules, table))
        names = dict.fromkeys(name for rule in self.rules for name in rule.columns())
        columns = {name: np.full(len(table), np.nan) if is_missing_gate(table, name) else table[name] for name in names}
        label, ties = table["label"].astype(np.int64), id_ranks(table)
        stays = np.zeros(len(label), bool)
        found = self._judge(columns, label, ties, stays)
        if found.as_copy.any():
            copies = Copies.read(table, ties)
            while (more := copies.substitutes(found.dropped, found.as_copy, stays)).any():
                stays |= more
                found = self._judge(columns, label, ties, stays)
        classes = class_ids(table)
        worth = self._worth(columns, len(label))
        for number, rule in enumerate(self.rules):
            rows = np.flatnonzero(found.rule_of == number)
            rows = rows[np.lexsort((ties[rows], -np.nan_to_num(found.values[rows], nan=-np.inf)))]
            labels = np.full(len(rows), "", dtype=object)
            if rule.to:
                labels = another_label(columns[rule.to][rows], label[rows], classes)
            numbers = found.values[rows], worth[rows]
            yield from verdicts_of(table, (rule.action, rule.reason), rows, found.held[rows], labels, numbers)
        ends = np.array([rule.action == "keep" for rule in self.rules])
        left = ~(ends[found.rule_of] & (found.rule_of >= 0))
        for number, rule in enumerate(self.rules):
            rows = np.flatnonzero(rule.matches(columns) & left & (found.rule_of >= 0) & (found.rule_of < number))
            if len(rows):
                action: Action = "withhold" if rule.action == "withhold" else "note"
                yield table.verdicts(rows, action, rule.reason, value=rule.values(columns, rows))

    def _worth(self, columns: Mapping[str, Array], n: int) -> Floats:
        """Return the worth of asking about each picture, `[N]`: the most that a rule gives it, NaN for none."""
        worth = np.full(n, np.nan)
        for rule in self.rules:
            if rule.chance is not None:
                rows = np.flatnonzero(rule.matches(columns))
                worth[rows] = np.fmax(worth[rows], rule.worths(columns, rows))
        return worth

    def _judge(self, columns: Mapping[str, Array], label: Ints, ties: Ints, stays: Bools) -> Judged:
        rule_of = first_match(self.rules, columns, stays)
        values = evidence(self.rules, rule_of, columns)
        acting = np.array([rule.guarded and rule.action in ("drop", "relabel") for rule in self.rules])
        acts = (rule_of >= 0) & acting[rule_of]
        held = guard(label, acts, values, ties, self.min_class_size, self.max_share_per_class)
        drops = np.array([rule.action == "drop" for rule in self.rules])
        of_copies = np.array([rule.drops_copies() for rule in self.rules])
        dropped = (rule_of >= 0) & drops[rule_of] & (held == "")
        return Judged(rule_of, values, held, dropped, dropped & of_copies[rule_of])

    def figures(self, table: Table, ctx: Context) -> Mapping[str, Json]:
        """Count the pictures that the rules decided, by action and reason, and those that they left alone."""
        return decided_figures(table)


@dataclass(frozen=True, slots=True)
class Judged:
    """The outcome of the rules for N rows.

    Attributes:
        rule_of: the number of the rule that decides, -1 for none.
        values: the number behind it, NaN for none.
        held: why a guarded action is held back, or empty.
        dropped: whether the picture is dropped.
        as_copy: whether a rule that drops copies drops it.
    """

    rule_of: Ints
    values: Floats
    held: Array
    dropped: Bools
    as_copy: Bools
