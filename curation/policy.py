"""Turns columns into verdicts by the recipe's rules: the one place where thresholds act.

Rules are read from the top and the first that matches a picture decides. Rules that detectors' opinions stand behind
are guarded: in small classes, and beyond a share of a class, they ask people instead of acting.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
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

    @model_validator(mode="after")
    def _tests_something(self) -> Condition:
        tests = (self.above, self.at_least, self.below, self.at_most, self.equals)
        if all(test is None for test in tests):
            raise ValueError("needs above, at_least, below, at_most or equals")
        return self

    def matches(self, values: NDArray[Any]) -> Bools:
        """Which of a column's values `[N]` pass. Raises RecipeError when texts are to be compared with a number."""
        found = np.ones(len(values), bool)
        if values.dtype == object and any(x is not None for x in (self.above, self.at_least, self.below, self.at_most)):
            raise RecipeError(f"policy: column {self.column} holds texts, which have no order; test it by equals")
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
        return [*(condition.column for condition in self.when), *filter(None, (self.to, self.value))]


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

    def decide(self, table: pa.Table) -> Iterator[Verdict]:
        """One verdict a picture that a rule matches, in the table's order.

        Raises:
            RecipeError: a column that isn't there or can't be compared, a weight that is none.
        """
        columns = {name: vector(table, name) for rule in self.rules for name in rule.columns()}
        label = vector(table, "label").astype(np.int64)
        rule_of = first_match(self.rules, columns, len(label))
        values = evidence(self.rules, rule_of, columns)
        acting = np.array([rule.guarded and rule.action in ("drop", "relabel") for rule in self.rules])
        acts, ties = (rule_of >= 0) & acting[rule_of], id_ranks(table)
        held = guard(label, acts, values, ties, self.min_class_size, self.max_share_per_class)
        classes = class_ids(table)
        chosen = np.flatnonzero(rule_of >= 0)
        ids, hashes = (table.column(name).take(chosen).to_pylist() for name in ("id", "sha256"))
        for row, sample_id, sha256 in zip(chosen.tolist(), ids, hashes, strict=True):
            rule = self.rules[rule_of[row]]
            action, reason, labels = rule.action, rule.reason, tuple[str, ...]()
            if held[row]:
                action, reason = "review", f"{reason}_{held[row]}"
            elif action == "relabel":
                index = columns[rule.to][row]  # a float where some are missing
                new = classes.get(int(index)) if index >= 0 else None
                if new is None or index == label[row]:
                    action, reason = "review", f"{reason}_without_another_label"
                else:
                    labels = (new,)
            yield Verdict(sample_id, sha256, action, self.component_name(), reason, labels, float(values[row]))

    def summarise(self, table: pa.Table) -> Mapping[str, Json]:
        """How many pictures each rule decided, by action and reason, and how many none did."""
        found = Counter(f"{verdict.action} {verdict.reason}" for verdict in self.decide(table))
        return {"decided": dict(sorted(found.items())), "untouched": table.num_rows - sum(found.values())}


def first_match(rules: tuple[Rule, ...], columns: Mapping[str, NDArray[Any]], n: int) -> NDArray[np.int64]:
    """The number of the first rule that matches each of `n` rows, -1 where none does."""
    rule_of = np.full(n, -1)
    for number, rule in enumerate(rules):
        match = rule_of < 0
        for condition in rule.when:
            match &= condition.matches(columns[condition.column])
        rule_of[match] = number
    return rule_of


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
