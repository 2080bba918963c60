"""Make rows of a report from classifiers' answers: shares by photograph and column, their axes, and single answers.

What is read is the table that `SharedAnswers` measures.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from variorum.kit.predicted.pairing import ORIGINAL, UNSCORED, Photographs, lenders_of, order_of_making, photographs
from variorum.schemas.rows import Answers, Shown
from variorum.schemas.sample import is_baseline
from variorum.schemas.table import Table

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools, Floats, Ints

FIRST = ("strength", "severity", "exposure", "rate")
"""Requests by which edits are put in order, before others."""
LARGEST = 2**53
"""Numbers beyond it aren't told apart."""
NO_ORIGINALS = "no original has a label that the model knows"
NO_EDITS = "no edit of an original has a label that the model knows"


class Sums(NamedTuple):
    """Sums over the rows of each photograph.

    Attributes:
        photographs: their ids, sorted, `[n]`.
        place: index of each row's photograph, `[m]`.
        top: sums of the values, `[n, V]`.
        bottom: numbers of rows, `[n, V]`.
    """

    photographs: list[str]
    place: Ints
    top: Floats
    bottom: Floats


@dataclass(frozen=True, eq=False)
class Asked:
    """One model's answers.

    Attributes:
        model: its name.
        table: its rows.
        photographs: that the pictures go back to.
        scored: whether the model knows a label of the picture, `[N]`.
        right: whether its answer is one, `[N]`.
        original: whether the picture is an original, `[N]`.
        edit: whether it is a scored edit, baselines left out, whose original is scored, if any original is, `[N]`.
        variant: of the picture, `[N]`.
        outputs: number of the model's outputs.
    """

    model: str
    table: Table
    photographs: Photographs
    scored: Bools
    right: Bools
    original: Bools
    edit: Bools
    variant: Array
    outputs: int

    @classmethod
    def of(cls, model: str, table: Table) -> Asked:
        """From the rows of one model."""
        owners, variant = photographs(table), table["variant"]
        scored, original = table["label"] != UNSCORED, variant == ORIGINAL
        known = np.zeros(int(owners.root.max(initial=-1)) + 1, bool)
        known[owners.root[original & scored]] = True
        paired = known[owners.root] | ~known.any()
        edit = scored & ~np.isin(variant, [name for name in np.unique(variant) if is_baseline(name)]) & paired
        right = scored & table["correct"].astype(bool)
        return cls(model, table, owners, scored, right, original, edit, variant, int(table["outputs"][0]))

    def share(
        self,
        figure: str,
        rows: Ints,
        top: Array,
        column: Ints,
        columns: Sequence[str],
        *,
        axes: Mapping[str, tuple[float | str | None, ...]] | None = None,
        shown: bool = True,
        **more: Any,
    ) -> Answers:
        """The answers of these rows, added up by photograph and column.

        Args:
            figure: its name.
            rows: of the table, `[m]`.
            top: what each earned, `[m]`.
            column: index of each in `columns`, `[m]`.
            columns: their names, `[V]`.
            axes: places of the columns.
            shown: whether the answers can be shown picture by picture.
            more: further fields of `Answers`.
        """
        found = self.sums(rows, top, column, len(columns))
        return Answers(
            figure,
            self.model,
            found.photographs,
            found.top,
            found.bottom,
            tuple(columns),
            axes or {},
            self._shown(rows, found.place, column) if shown else None,
            self._lenders(rows, found.place, column, found.top.shape),
            **more,
        )

    def beside(self, rows: Ints, pictures: Bools | Ints) -> Ints:
        """Those of the rows that share their oldest ancestor with one of these pictures."""
        root = self.photographs.root
        return rows[np.isin(root[rows], root[pictures])]

    def sums(self, rows: Ints, values: Array, column: Ints, columns: int) -> Sums:
        """Sums by photograph and column; `rows`, `values` and `column` are `[m]`."""
        units, place = np.unique(self.photographs.of_row[rows], return_inverse=True)
        place = place.reshape(-1)
        cell, size = place * columns + column, len(units) * columns
        top, bottom = (np.bincount(cell, part, size).reshape(-1, columns).astype(np.float64) for part in (values, None))
        return Sums([self.photographs.ids[unit] for unit in units], place, top, bottom)

    def _shown(self, rows: Ints, place: Ints, column: Ints) -> Shown:
        return Shown(
            self.table["id"][rows].tolist(),
            place,
            column,
            self.table["p_label"][rows].astype(np.float32),
            self.table["said"][rows].tolist(),
            self.right[rows],
        )

    def _lenders(self, rows: Ints, place: Ints, column: Ints, shape: tuple[int, ...]) -> Ints | None:
        """The lender of a photograph's last picture in each column, `[n, V]`; None if no picture borrows."""
        lender = lenders_of(self.table.column("lender"))[rows] if "lender" in self.table else np.empty(0, np.int64)
        if not (lender >= 0).any():
            return None
        found = np.full(shape, -1)
        found[place, column] = lender
        return found

    def variants(self, rows: Ints) -> tuple[list[str], Ints]:
        """The variants of these rows in the order in which they are made, and the index of each row's, `[m]`."""
        names, which = np.unique(self.variant[rows], return_inverse=True)
        which = which.reshape(-1)
        _, source = np.unique(self.photographs.root[rows], return_inverse=True)
        order = np.array(
            order_of_making(rows, source.reshape(-1), which, int(source.max(initial=-1)) + 1, len(names)), np.int64
        )
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        return names[order].tolist(), place[which]

    def requests(self) -> dict[str, list[Mapping[str, Any]]]:
        """By variant, the different requests of the last operation."""
        pairs = self.table.arrow.select(["variant", "requested"]).group_by(["variant", "requested"]).aggregate([])
        found: dict[str, list[Mapping[str, Any]]] = {}
        for variant, asked in zip(*(pairs[name].to_pylist() for name in ("variant", "requested")), strict=True):
            found.setdefault(variant, []).append(json.loads(asked))
        return found


def by_model(table: Table) -> Iterator[Asked]:
    """Each model's answers, in the order of the table."""
    import pyarrow.compute as pc

    names = pc.unique(table.column("classifier")).to_pylist() if len(table) else []
    for name in names:
        mine = table.arrow.filter(pc.equal(table.column("classifier"), name)) if len(names) > 1 else table.arrow
        yield Asked.of(name, Table(mine))


def axes_of(
    variants: Sequence[str], requests: Mapping[str, Sequence[Mapping[str, Any]]]
) -> dict[str, tuple[float | str | None, ...]]:
    """Where variants stand: on `variant`, `kind`, `requested`, and the requests that set them apart, by their names.

    `requested` is the request that numbers them, such as stops, a share or a strength; where one of its values is a
    text, such as `full`, all are. `kind` is the requested one, or the variant's name without that number.
    """
    same = [_in_common(requests.get(variant, ())) for variant in variants]
    axes: dict[str, tuple[float | str | None, ...]] = {}
    for key in sorted({key for one in same for key in one}):
        values = [one.get(key) for one in same]
        if len(set(values) - {None}) > 1 or key in FIRST:
            axes[key] = _alike(values)
    numbered = [key for key in axes if any(isinstance(one.get(key), float) for one in same)]
    keys = sorted(numbered, key=lambda key: (FIRST.index(key) if key in FIRST else len(FIRST), key))
    chosen = [next((one[key] for key in keys if key in one), None) for one in same]
    kinds = [
        str(one.get("kind") or variant.removesuffix(f"_{_text(value)}"))
        for variant, one, value in zip(variants, same, chosen, strict=True)
    ]
    requested = {"requested": _alike(chosen)} if any(value is not None for value in chosen) else {}
    return {**axes, **requested, "kind": tuple(kinds), "variant": tuple(variants)}


def _in_common(requests: Sequence[Mapping[str, Any]]) -> dict[str, float | str]:
    """Numbers and texts that all of these requests have alike."""
    first = requests[0] if requests else {}
    return {
        key: float(value) if isinstance(value, int | float) else value
        for key, value in first.items()
        if (isinstance(value, str) or (isinstance(value, int | float) and abs(value) < LARGEST))
        and not isinstance(value, bool)
        and all(one.get(key) == value for one in requests)
    }


def _alike(values: Sequence[float | str | None]) -> tuple[float | str | None, ...]:
    """The values, as texts if one of them is a text."""
    texts = any(isinstance(value, str) for value in values)
    return tuple(_text(value) if texts and value is not None else value for value in values)


def _text(value: float | str | None) -> str:
    return f"{value:g}" if isinstance(value, float) else value or ""
