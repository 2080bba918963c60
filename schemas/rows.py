"""Rows of a report: one question, put to every model over the same photographs.

An evaluation says what each model answered, as `Answers`. Intervals, differences, curves and pictures are computed of
it in one place, `variorum/reports/profile`, so no evaluation has statistics of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from variorum.schemas.component import Context
    from variorum.schemas.table import Table

Kind: TypeAlias = Literal["share", "whole", "least", "bound"]
Better: TypeAlias = Literal["higher", "lower", "none"]


@dataclass(frozen=True, slots=True)
class Figure:
    """What a figure of an evaluation is.

    Attributes:
        measure: in a few words, for the line below a row's name: `accuracy`, `same answer after a shift`.
        kind: `share` is a mean of shares of photographs; `whole` is computed of all answers at once, such as a
            calibration error; `least` is the least of several groups' shares; `bound` is a share that is certified.
        better: which direction is better; `none` where neither is.
        needs: what a model must give beside answers, such as `embedding`, `boxes` or `text`.
        filtered: why a model that decided what is in the edition isn't asked, such as `white-box: …`.
        gap: what `Shown.p_label` is, if not the label's probability: `share of the episodes in which it is right`.
    """

    measure: str
    kind: Kind = "share"
    better: Better = "higher"
    needs: tuple[str, ...] = ()
    filtered: str = "filtered by this model"
    gap: str = "probability of the label"


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """A model's answers picture by picture, `[m]` each, from which a report chooses the pictures that it shows.

    Attributes:
        ids: of the samples.
        photograph: of each, the index in `Answers.photographs`.
        column: of each, the index in `Answers.columns`.
        p_label: probability of the label; NaN where it isn't known.
        said: name of the class that the model answered; `""` where it isn't known.
        right: whether that is right.
        label: name of the class that is right; empty, or `""`, where it isn't known.
    """

    ids: Sequence[str]
    photograph: NDArray[np.int64]
    column: NDArray[np.int64]
    p_label: NDArray[np.float32]
    said: Sequence[str]
    right: NDArray[np.bool_]
    label: Sequence[str] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """One model's answers to the question of a row.

    The value of a `share` is the mean over columns of Σ top / Σ bottom; of a `least`, the least of them. A `whole` has
    `whole` instead, and `top` and `bottom` may be empty, `[n, 0]`. Or it has `whole_by`, whose mean is its value; then
    `bottom` counts the pictures, and `top` says nothing.

    Attributes:
        figure: name of the figure, a key of `Rows.offers`.
        model: name of the model.
        photographs: ids of the source photographs, sorted, `[n]`.
        top: what a photograph's pictures of a column earned, such as the number of right answers, `[n, V]`.
        bottom: the number of these pictures, `[n, V]`.
        columns: names of the columns: variants, groups or shifts, `[V]`.
        axes: by name of an axis (`severity`, `requested`, `variant`), the place of each column on it, `[V]`; None for a
            column that isn't on it. Numbers are in order; texts stand in the order of the columns.
        pictures: the answers by picture, if there are such.
        lender: number of the picture whose plate or texture a photograph's pictures of a column have, -1 for none, `[n,
            V]`; None where nothing is lent.
        whole: the value in [0, 1] if each photograph counts as often as told, `[n]`; NaN if there is none.
        whole_by: the same for each column, `[V]`; NaN for a column without a value.
        floor: of the value in [0, 1]: chance, or what a perfect model would get on so few; None for none.
        note: what the line below the row's name adds, such as `600 episodes` or `15 bins`.
        why_not: why there is no figure for this model, such as `gives no embedding`; then all else is empty.
    """

    figure: str
    model: str
    photographs: Sequence[str] = ()
    top: NDArray[np.float64] | None = None
    bottom: NDArray[np.float64] | None = None
    columns: tuple[str, ...] = ()
    axes: Mapping[str, tuple[float | str | None, ...]] = field(default_factory=dict)
    pictures: Shown | None = None
    lender: NDArray[np.int64] | None = None
    whole: Callable[[NDArray[np.float64]], float] | None = None
    whole_by: Callable[[NDArray[np.float64]], NDArray[np.float64]] | None = None
    floor: float | None = None
    note: str = ""
    why_not: str = ""


@runtime_checkable
class Rows(Protocol):
    """An evaluation that offers rows of a report.

    With the class variable `measured_as = "answers"` it reads the table that `kit/predicted/answers.py` measures of
    each model once for all such evaluations; without it, the table of its own `measure`.
    """

    offers: ClassVar[Mapping[str, Figure]]
    """Its figures by name. A suite calls them `accuracy_drop.edits`: the component, a dot, the figure."""

    def rows(self, table: Table, ctx: Context) -> Iterator[Answers]:
        """Yield every model's answers to each figure, from the kept table alone; no picture is read."""
