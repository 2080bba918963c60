"""Rules: conditions on columns, and an action for the pictures that meet them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from variorum.schemas.component import FLAGS, NUMBERS, TEXTS
from variorum.schemas.errors import RecipeError

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools, Floats, Ints
    from variorum.schemas.table import Table

COPIES = "duplicates"
"""The detector whose columns say which picture is a copy of which."""


class Condition(BaseModel):
    """One test of one column. NaN fails every test."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    column: str
    """`<detector>.<name>`, or a column of the edition's own table: `variant`, `licence`, `gate.label_p`."""
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
        """Return whether it compares by size."""
        return any(bound is not None for bound in (self.above, self.at_least, self.below, self.at_most))

    def columns(self) -> list[str]:
        """Names of the columns that it reads."""
        return [self.column, *filter(None, (self.same_as,))]

    def matches(self, columns: Mapping[str, Array]) -> Bools:
        """Return which rows `[N]` pass."""
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
    """An action for the pictures that pass all conditions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    when: tuple[Condition, ...] = Field(min_length=1)
    action: Literal["keep", "drop", "withhold", "relabel", "review", "weight"]
    reason: str = Field(pattern=r"^[a-z0-9_]+$")
    """A word or two, as cards show it: `wrong_label`."""
    to: str = ""
    """Column with the index of the new label, for `relabel`; for `review`, of the label that is proposed to people."""
    value: str = ""
    """Column with the number behind the verdict; for `weight`, the weight itself in [0, 1]."""
    chance: float | str | None = None
    """For `review`: the chance in [0, 1] that people find something wrong, as a number or a column. Questions whose
    answer is worth more come first."""
    worth: float = Field(default=1.0, ge=0)
    """For `review`: how much it is worth to find that, divided by the time that an answer takes. Only ratios matter."""
    guarded: bool = True
    """Whether `min_class_size` and `max_share_per_class` limit it. Turn it off for what is certain: copies, damage.
    Nothing limits `withhold`: a picture that may not be shown isn't kept because its class is small."""

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> Rule:
        if self.action == "relabel" and not self.to:
            raise ValueError("relabel needs `to`, the column with the new label")
        if self.action == "weight" and not self.value:
            raise ValueError("weight needs `value`, the column with the weight")
        if self.to and self.action not in ("relabel", "review"):
            raise ValueError(f"{self.action} gives no label; remove `to`")
        if self.chance is not None and self.action != "review":
            raise ValueError(f"{self.action} asks nobody; remove `chance`")
        if isinstance(self.chance, int | float) and not 0 <= self.chance <= 1:
            raise ValueError(f"a chance is between 0 and 1, not {self.chance:g}")
        return self

    def columns(self) -> list[str]:
        """Names of the columns that it reads."""
        tested = [name for condition in self.when for name in condition.columns()]
        chance = self.chance if isinstance(self.chance, str) else ""
        return [*tested, *filter(None, (self.to, self.value, chance))]

    def matches(self, columns: Mapping[str, Array]) -> Bools:
        """Return which rows `[N]` pass all conditions."""
        return np.asarray(np.logical_and.reduce([condition.matches(columns) for condition in self.when]), dtype=bool)

    def values(self, columns: Mapping[str, Array], rows: Ints) -> Floats:
        """The number behind the verdict for some rows `[m]`, NaN for none."""
        return columns[self.value][rows].astype(np.float64) if self.value else np.full(len(rows), math.nan)

    def worths(self, columns: Mapping[str, Array], rows: Ints) -> Floats:
        """Return the worth of asking about rows, `[m]`, NaN for unknown. Raises RecipeError for an invalid chance."""
        if not isinstance(self.chance, str):
            return np.full(len(rows), math.nan if self.chance is None else self.chance * self.worth)
        chance = columns[self.chance][rows].astype(np.float64)
        if (wrong := chance[(chance < 0) | (chance > 1)]).size:
            raise RecipeError(
                f"policy: rule {self.reason}: {self.chance} gives the chance {wrong[0]:.6g}, outside [0, 1]"
            )
        return chance * self.worth

    def drops_copies(self) -> bool:
        """Return whether it drops pictures because a copy of them stays."""
        return self.action == "drop" and any(name.startswith(f"{COPIES}.") for name in self.columns())


def first_match(rules: Sequence[Rule], columns: Mapping[str, Array], stays: Bools) -> Ints:
    """The number of the first rule that matches each row `[N]`, -1 if none does.

    Args:
        rules: in the order in which they apply.
        columns: by name, `[N]`.
        stays: `[N]` rows that no rule may drop as copies.
    """
    rule_of = np.full(len(stays), -1)
    for number, rule in enumerate(rules):
        match = rule.matches(columns) & (rule_of < 0)
        if rule.drops_copies():
            match &= ~stays
        rule_of[match] = number
    return rule_of


def evidence(rules: Sequence[Rule], rule_of: Ints, columns: Mapping[str, Array]) -> Floats:
    """The number behind each row's verdict, NaN if its rule names no `value`.

    Raises:
        RecipeError: a weight outside [0, 1].
    """
    values = np.full(len(rule_of), math.nan)
    for number, rule in enumerate(rules):
        if rule.value:
            rows = rule_of == number
            values[rows] = columns[rule.value][rows]
            if rule.action == "weight" and (wrong := values[rows][~((values[rows] >= 0) & (values[rows] <= 1))]).size:
                raise RecipeError(
                    f"policy: {rule.value} gives the weight {wrong[0]:.6g}, outside [0, 1]; "
                    "exclude such rows by a condition"
                )
    return values


def check_kinds(rules: Sequence[Rule], kinds: Mapping[str, str | None]) -> None:
    """Refuse tests that are impossible or never match. Raises RecipeError with the rule, the column and its type.

    Args:
        rules: the rules.
        kinds: what each of their columns holds, as far as known.
    """

    def check(rule: Rule, name: str, wanted: str | None, advice: str) -> None:
        if None not in (wanted, kinds[name]) and kinds[name] != wanted:
            raise RecipeError(f"policy: rule {rule.reason}: column {name} holds {kinds[name]}, not {wanted}; {advice}")

    for rule in rules:
        for condition in rule.when:
            if condition.orders():
                check(rule, condition.column, NUMBERS, "only numbers have an order, test it by equals")
            if (value := condition.equals) is not None:
                wanted = {bool: FLAGS, str: TEXTS}.get(type(value), NUMBERS)
                check(rule, condition.column, wanted, f"equals: {json.dumps(value)} would never match")
            if condition.same_as:
                check(rule, condition.same_as, kinds[condition.column], f"{condition.column} can't be the same")
        for field, name in (("to", rule.to), ("value", rule.value), ("chance", rule.chance)):
            if name and isinstance(name, str):
                check(rule, name, NUMBERS, f"name another column in {field}")


def kinds_of(rules: Sequence[Rule], table: Table) -> dict[str, str]:
    """Return the kinds of the rules' columns in a table."""
    return {name: _kind_of(table, name) for rule in rules for name in rule.columns()}


def is_missing_gate(table: Table, name: str) -> bool:
    """Return whether a column is of a gate that no picture has, so that the table lacks it."""
    return name.startswith("gate.") and name not in table


def _kind_of(table: Table, name: str) -> str:
    """Return a column's kind: `numbers`, `texts`, `true and false`, or else its Arrow type."""
    import pyarrow.types as types

    if is_missing_gate(table, name):
        return NUMBERS
    kind = table.column(name).type
    if types.is_boolean(kind):
        return FLAGS
    if types.is_integer(kind) or types.is_floating(kind):
        return NUMBERS
    return TEXTS if types.is_string(kind) else str(kind)
