"""Turns columns into verdicts by the recipe's rules: the one place where thresholds act.

Rules are read from the top and the first that matches a picture decides. Rules that detectors' opinions stand behind
are guarded: in small classes, and beyond a share of a class, they ask people instead of acting. A copy is dropped only
while the picture that it is a copy of stays.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from curation.labels.classes import class_ids, id_ranks
from schemas.canonical import Json
from schemas.component import CurationStep
from schemas.errors import RecipeError
from schemas.verdict import Verdict
from variorum.columns import vector

if TYPE_CHECKING:
    import pyarrow as pa

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

COPIES = "duplicates"
"""The step whose columns say what is a copy of what."""


class Condition(BaseModel):
    """One test of one column. NaN passes none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    column: str
    """`<step>.<name>`, or a column of the edition's own table: `variant`, `licence`, `gate.label_p`."""
    above: float | None = None
    at_least: float | None = None
    below: float | None = None
    at_most: float | None = None
    equals: bool | int | float | str | None = None
    same_as: str = ""
    """Another column that must have the same value: two detectors' `proposed`."""

    @model_validator(mode="after")
    def _tests_something(self) -> Condition:
        if not self.orders() and self.equals is None and not self.same_as:
            raise ValueError("needs above, at_least, below, at_most, equals or same_as")
        return self

    def orders(self) -> bool:
        """Whether it compares by size."""
        return any(bound is not None for bound in (self.above, self.at_least, self.below, self.at_most))

    def columns(self) -> list[str]:
        """Names of the columns that it reads."""
        return [self.column, *filter(None, (self.same_as,))]

    def matches(self, columns: Mapping[str, NDArray[Any]]) -> Bools:
        """Which rows `[N]` pass."""
        values = columns[self.column]
        found = np.ones(len(values), bool)
        with np.errstate(invalid="ignore"):
            if self.above is not None:
                found &= values > self.above
            if self.at_least is not None:
                found &= values >= self.at_least
            if self.below is not None:
                found &= values < self.below
            if self.at_most is not None:
                found &= values <= self.at_most
        if self.equals is not None:
            found &= np.asarray(values == self.equals, dtype=bool)
        if self.same_as:
            found &= np.asarray(values == columns[self.same_as], dtype=bool)
        return found


class Rule(BaseModel):
    """What to do with the pictures that pass all conditions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    when: tuple[Condition, ...] = Field(min_length=1)
    action: Literal["keep", "drop", "relabel", "review", "weight"]
    reason: str = Field(pattern=r"^[a-z0-9_]+$")
    """In a word or two, as it stands in cards: `wrong_label`."""
    to: str = ""
    """Of a `relabel`: the column with the index of the new label."""
    value: str = ""
    """Column of the number behind the verdict; of a `weight` the weight itself, in [0, 1]."""
    guarded: bool = True
    """Whether `min_class_size` and `max_share_per_class` hold it back. Not needed for what can be seen to be so:
    copies, damage."""

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> Rule:
        if self.action == "relabel" and not self.to:
            raise ValueError("relabel needs `to`, the column with the new label")
        if self.action == "weight" and not self.value:
            raise ValueError("weight needs `value`, the column with the weight")
        return self

    def columns(self) -> list[str]:
        """Names of the columns that it reads."""
        tested = [name for condition in self.when for name in condition.columns()]
        return [*tested, *filter(None, (self.to, self.value))]

    def drops_copies(self) -> bool:
        """Whether it drops pictures because others stay."""
        return self.action == "drop" and any(name.startswith(f"{COPIES}.") for name in self.columns())


class Policy(CurationStep):
    """Verdicts by rules over columns."""

    rules: tuple[Rule, ...] = Field(min_length=1)
    min_class_size: int = Field(default=30, ge=1)
    """In a smaller class a guarded `drop` or `relabel` becomes a `review`, its reason ending in `_rare`."""
    max_share_per_class: float = Field(default=0.2, gt=0, le=1)
    """Of a class, guarded rules drop or relabel at most this share, those with the highest value; the rest become a
    `review`, its reason ending in `_capped`."""

    def needs(self) -> tuple[str, ...]:
        """The steps whose columns the rules name."""
        steps = (name.partition(".") for rule in self.rules for name in rule.columns())
        return tuple(dict.fromkeys(step for step, dot, _ in steps if dot and step != "gate"))

    def without(self, steps: Collection[str]) -> Policy | None:
        """With the rules that read no column of these steps; None where every rule does."""
        rules = tuple(r for r in self.rules if not {name.partition(".")[0] for name in r.columns()} & set(steps))
        return self.model_copy(update={"rules": rules}) if rules else None

    def decide(self, table: pa.Table) -> Iterator[Verdict]:
        """One verdict a picture that a rule matches: by rule, of a rule those with the highest value first.

        Raises:
            RecipeError: a column that isn't there or holds what the rule can't use, a weight that is none.
        """
        columns = {name: vector(table, name) for rule in self.rules for name in rule.columns()}
        check_kinds(self.rules, {name: kind_of(table, name) for name in columns})
        label, ties = vector(table, "label").astype(np.int64), id_ranks(table)
        stays = np.zeros(len(label), bool)
        found = self._judge(columns, label, ties, stays)
        if found.as_copy.any():
            copies = Copies.read(table, ties)
            while (heirs := copies.heirs(found.dropped, found.as_copy, stays)).any():
                stays |= heirs
                found = self._judge(columns, label, ties, stays)
        classes = class_ids(table)
        chosen = np.flatnonzero(found.rule_of >= 0)
        worst_first = np.lexsort(
            (ties[chosen], -np.nan_to_num(found.values[chosen], nan=-np.inf), found.rule_of[chosen])
        )
        chosen = chosen[worst_first]
        ids, hashes = (table.column(name).take(chosen).to_pylist() for name in ("id", "sha256"))
        for row, sample_id, sha256 in zip(chosen.tolist(), ids, hashes, strict=True):
            rule = self.rules[found.rule_of[row]]
            action, reason, labels = rule.action, rule.reason, tuple[str, ...]()
            if found.held[row]:
                action, reason = "review", f"{reason}_{found.held[row]}"
            elif action == "relabel":
                index = columns[rule.to][row]  # a float where some are missing
                new = classes.get(int(index)) if index >= 0 else None
                if new is None or index == label[row]:
                    action, reason = "review", f"{reason}_without_another_label"
                else:
                    labels = (new,)
            yield Verdict(sample_id, sha256, action, self.component_name(), reason, labels, float(found.values[row]))

    def _judge(self, columns: Mapping[str, NDArray[Any]], label: Ints, ties: Ints, stays: Bools) -> Judged:
        rule_of = first_match(self.rules, columns, stays)
        values = evidence(self.rules, rule_of, columns)
        acting = np.array([rule.guarded and rule.action in ("drop", "relabel") for rule in self.rules])
        acts = (rule_of >= 0) & acting[rule_of]
        held = guard(label, acts, values, ties, self.min_class_size, self.max_share_per_class)
        drops = np.array([rule.action == "drop" for rule in self.rules])
        of_copies = np.array([rule.drops_copies() for rule in self.rules])
        dropped = (rule_of >= 0) & drops[rule_of] & (held == "")
        return Judged(rule_of, values, held, dropped, dropped & of_copies[rule_of])

    def summarise(self, table: pa.Table) -> Mapping[str, Json]:
        """How many pictures each rule decided, by action and reason, and how many none did."""
        found = Counter(f"{verdict.action} {verdict.reason}" for verdict in self.decide(table))
        return {"decided": dict(sorted(found.items())), "untouched": table.num_rows - sum(found.values())}


@dataclass(frozen=True, slots=True)
class Judged:
    """What the rules say of N rows.

    Attributes:
        rule_of: the number of the rule that decides, -1 for none.
        values: the number behind it, NaN where there is none.
        held: why a guarded action is held back, or empty.
        dropped: whether the row goes.
        as_copy: whether it goes by a rule that drops copies.
    """

    rule_of: Ints
    values: NDArray[np.float64]
    held: NDArray[np.object_]
    dropped: Bools
    as_copy: Bools


@dataclass(frozen=True, slots=True)
class Copies:
    """Which picture stays in place of each copy, and which copy is the next best.

    Attributes:
        keeper: row `[N]` of the picture that stays; the row itself where it stays, or where there is no such picture.
        place: `[N]`, distinct, best first: by detail, size, id.
    """

    keeper: Ints
    place: Ints

    @classmethod
    def read(cls, table: pa.Table, ties: Ints) -> Copies:
        """From the columns of `duplicates`."""
        import pyarrow.compute as pc

        found = pc.index_in(table.column(f"{COPIES}.keeper"), table.column("id").combine_chunks()).fill_null(-1)
        keeper = np.where(found.to_numpy() >= 0, found.to_numpy(), np.arange(table.num_rows))
        detail, height, width = (vector(table, f"{COPIES}.{name}") for name in ("detail", "height", "width"))
        order = np.lexsort((ties, -height * width, -detail))
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        return cls(keeper, place)

    def heirs(self, dropped: Bools, as_copy: Bools, stays: Bools) -> Bools:
        """Which rows `[N]` must stay: the best copy of each picture that goes, too, unless one stays for it already.

        Args:
            dropped: rows that go.
            as_copy: those that go by a rule that drops copies.
            stays: rows that no such rule may drop; another may.
        """
        heirs, rows = np.zeros(len(dropped), bool), np.arange(len(dropped))
        replaced = np.zeros(len(dropped), bool)
        replaced[self.keeper[stays & ~dropped]] = True
        orphans = np.flatnonzero(as_copy & (self.keeper != rows) & dropped[self.keeper] & ~replaced[self.keeper])
        orphans = orphans[np.argsort(self.place[orphans])]
        heirs[orphans[np.unique(self.keeper[orphans], return_index=True)[1]]] = True
        return heirs


def first_match(rules: tuple[Rule, ...], columns: Mapping[str, NDArray[Any]], stays: Bools) -> Ints:
    """The number of the first rule that matches each row `[N]`, -1 where none does.

    Args:
        rules: in the order in which they are asked.
        columns: by name, `[N]`.
        stays: `[N]` rows that no rule may drop as copies.
    """
    rule_of = np.full(len(stays), -1)
    for number, rule in enumerate(rules):
        match = rule_of < 0
        if rule.drops_copies():
            match &= ~stays
        for condition in rule.when:
            match &= condition.matches(columns)
        rule_of[match] = number
    return rule_of


def kind_of(table: pa.Table, name: str) -> str:
    """What a column holds: `numbers`, `texts`, `true and false`, or else its type's name."""
    import pyarrow.types as types

    kind = table.schema.field(name).type
    if types.is_boolean(kind):
        return "true and false"
    if types.is_integer(kind) or types.is_floating(kind):
        return "numbers"
    return "texts" if types.is_string(kind) else str(kind)


def check_kinds(rules: tuple[Rule, ...], kinds: Mapping[str, str]) -> None:
    """Refuse what can't be or would never match. Raises RecipeError naming the rule, the column and what it holds.

    Args:
        rules: the recipe's.
        kinds: what each column holds, as `kind_of` says.
    """

    def check(rule: Rule, name: str, wanted: str, way_out: str) -> None:
        if kinds[name] != wanted:
            raise RecipeError(f"policy: rule {rule.reason}: column {name} holds {kinds[name]}, not {wanted}; {way_out}")

    for rule in rules:
        for condition in rule.when:
            if condition.orders():
                check(rule, condition.column, "numbers", "only numbers have an order, test it by equals")
            if (value := condition.equals) is not None:
                wanted = {bool: "true and false", str: "texts"}.get(type(value), "numbers")
                check(rule, condition.column, wanted, f"equals: {json.dumps(value)} would never match")
            if condition.same_as:
                check(rule, condition.same_as, kinds[condition.column], f"{condition.column} can't be the same")
        for field, name in (("to", rule.to), ("value", rule.value)):
            if name:
                check(rule, name, "numbers", f"name another column in {field}")


def evidence(
    rules: tuple[Rule, ...], rule_of: NDArray[np.int64], columns: Mapping[str, NDArray[Any]]
) -> NDArray[np.float64]:
    """The number behind each row's verdict, NaN where its rule names none.

    Raises:
        RecipeError: a weight that isn't in [0, 1].
    """
    values = np.full(len(rule_of), math.nan)
    for number, rule in enumerate(rules):
        if rule.value:
            rows = rule_of == number
            values[rows] = columns[rule.value][rows]
            if rule.action == "weight" and (wrong := values[rows][~((values[rows] >= 0) & (values[rows] <= 1))]).size:
                raise RecipeError(
                    f"policy: {rule.value} gives the weight {wrong[0]:.6g}, which isn't in [0, 1]; "
                    "leave such rows out by a condition"
                )
    return values


def guard(
    label: NDArray[np.int64],
    acts: Bools,
    values: NDArray[np.float64],
    ties: NDArray[np.int64],
    min_class_size: int,
    max_share: float,
) -> NDArray[np.object_]:
    """Why a row's action is held back: `rare` in a small class, `capped` beyond a class's share, or empty.

    Args:
        label: `[N]`, -1 for unlabelled, which counts as a class.
        acts: rows with a guarded action.
        values: those with the highest are acted on first, NaN last.
        ties: `[N]`, distinct; of equal values the one with the lower number comes first.
        min_class_size: a smaller class is rare.
        max_share: of a class's pictures, rounded down.
    """
    held = np.full(len(label), "", dtype=object)
    classes, place, sizes = np.unique(label, return_inverse=True, return_counts=True)
    if not len(classes):
        return held
    rare = acts & (sizes[place] < min_class_size)
    held[rare] = "rare"
    rows = np.flatnonzero(acts & ~rare)
    worst_first = rows[np.lexsort((ties[rows], -np.nan_to_num(values[rows], nan=-np.inf), place[rows]))]
    group = place[worst_first]
    starts = np.searchsorted(group, group)
    turn = np.arange(len(group)) - starts
    held[worst_first[turn >= np.floor(max_share * sizes[group])]] = "capped"
    return held
