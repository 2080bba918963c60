"""Results of models on an edition: figures, tables, answers by picture, plots, files."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from variorum.api import html
from variorum.api.arguments import path_of
from variorum.api.notebook_pictures import Picture
from variorum.reports.figures import Shown
from variorum.reports.results import Result
from variorum.reports.standing import Leaderboard, by_baseline, by_variant, standing
from variorum.schemas.canonical import Json
from variorum.schemas.component import Evaluation
from variorum.schemas.errors import SourceError, StoreError
from variorum.schemas.lookup import cut

if TYPE_CHECKING:
    import pyarrow as pa

KEPT = ("id", "variant", "label", "top1", "correct", "confidence")
"""Columns of `answers`."""


class Results:
    """One or several models on an edition. In a notebook it shows itself as a table.

    Attributes:
        figures: of the evaluation `accuracy_drop`: accuracies in percent, drops and differences in percentage points
            with the ends of their intervals.
        files: by model, what `save` writes.
        leaderboard: the models in order, with the distance of each to the best.
    """

    def __init__(
        self,
        *,
        evaluation: Evaluation,
        figures: Mapping[str, Json],
        files: Mapping[str, Result],
        leaderboard: Leaderboard,
        tables: Mapping[str, pa.Table],
    ) -> None:
        self.figures, self.files, self.leaderboard = dict(figures), dict(files), leaderboard
        self._evaluation, self._tables = evaluation, dict(tables)

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models, in the order in which they were given."""
        return tuple(self.files)

    def table(self) -> pa.Table:
        """One row per model and variant, originals included.

        Columns `model, variant, n, accuracy, original_accuracy, drop, low, high`, in percent and percentage points;
        null where there are no originals.
        """
        import pyarrow as pa

        rows: list[dict[str, Any]] = []
        for model, result in self.files.items():
            found = result.figures
            if found.original_accuracy is not None:
                own = found.original_accuracy
                rows.append(_row(model, "original", found.n, own, own, None))
            for variant, one in found.variants.items():
                rows.append(_row(model, variant, one.n, one.accuracy, one.original_accuracy, one.drop))
        kinds = [("model", pa.string()), ("variant", pa.string()), ("n", pa.int64())]
        floats = ("accuracy", "original_accuracy", "drop", "low", "high")
        return pa.Table.from_pylist(rows, pa.schema([*kinds, *((name, pa.float64()) for name in floats)]))

    def answers(self) -> pa.Table:
        """One row per model and picture: `model, id, variant, label, top1, correct, confidence`.

        `label` and `top1` are indices of the model's outputs, -1 where it has none for the label; `confidence` is the
        probability of `top1`, in [0, 1].
        """
        import pyarrow as pa

        tables = []
        for model, table in self._tables.items():
            names = [name for name in KEPT if name in table.column_names]
            column = pa.array([model] * len(table), pa.string())
            tables.append(table.select(names).add_column(0, "model", column))
        return pa.concat_tables(tables, promote_options="default")

    def plots(self) -> Plots:
        """The evaluation's plots: drops by variant with intervals, and accuracy against confidence."""
        from variorum.reports.card_plots import plots_of
        from variorum.reports.plots import draw, told

        found = plots_of(self._evaluation, self.figures, self.leaderboard.variants())
        return Plots([Picture(draw(plot), told(plot)) for plot in found.values()])

    def save(self, path: str | PathLike[str]) -> list[Path]:
        """Write one file per model into a folder, which is made if it is missing; returns their paths.

        Args:
            path: the folder; or, for a single model, a file that ends in `.json`.

        Raises:
            SourceError: a file is named for several results.
            StoreError: it can't be written.
        """
        place = path_of("path", path)
        one = place.suffix == ".json" and not place.is_dir()
        if one and len(self.files) > 1:
            raise SourceError(f"{cut(str(place))}: there are {len(self.files)} results; give a folder")
        written = []
        try:
            (place.parent if one else place).mkdir(parents=True, exist_ok=True)
            for result in self.files.values():
                target = place if one else place / result.file_name()
                target.write_bytes(result.to_bytes())
                written.append(target)
        except OSError as error:
            raise StoreError(f"{cut(str(place))}: can't be written ({error.strerror}); choose another folder") from None
        return written

    def __repr__(self) -> str:
        return "\n".join([text(standing(self.leaderboard)), *self.leaderboard.warnings()])

    def _repr_html_(self) -> str:
        return notebook(self.leaderboard)


class Plots(list[Picture]):
    """Plots, which a notebook shows one below the other. Each has `save(path)` and `image`."""

    def _repr_html_(self) -> str:
        return "".join(html.picture(one.png, one.about) for one in self)

    def __repr__(self) -> str:
        return f"<{len(self)} {'plot' if len(self) == 1 else 'plots'}: {', '.join(one.about for one in self)}>"


def notebook(board: Leaderboard) -> str:
    """A leaderboard for a notebook's cell; all text is escaped."""
    parts = [standing(board), by_variant(board), by_baseline(board)]
    tables = [html.table(one.head, one.rows, one.title) for one in parts if one and len(one.head) > 1]
    return "".join([*tables, *(html.line(note) for note in (*board.warnings(), *board.notes()))])


def text(shown: Shown) -> str:
    """A table as text in columns, with its title."""
    rows = [shown.head, *shown.rows]
    widths = [max(len(row[place]) for row in rows) for place in range(len(shown.head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([shown.title, *lines])


def _row(model: str, variant: str, n: int, accuracy: float, before: float | None, drop: Any) -> dict[str, Any]:
    ends = {"drop": None, "low": None, "high": None}
    if drop is not None:
        ends = {"drop": drop.value, "low": drop.low, "high": drop.high}
    return {"model": model, "variant": variant, "n": n, "accuracy": accuracy, "original_accuracy": before, **ends}
