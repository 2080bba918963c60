"""Give detectors, deciders and evaluations the columns of an edition as NumPy arrays, one row per picture."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from variorum.schemas.errors import RecipeError
from variorum.schemas.verdict import Action, Verdict, Verdicts

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True)
class Table:
    """Columns by name. A component's own need no prefix; those of another carry its name.

        table["deviation"]             what this component measured or scored
        table["features.embedding"]    what the detector `features` measured
        table["variant"]               the edition's own: id, sha256, source, photograph, variant, split, labels, label,
                                       origin, licence, digital_source_type, credentials, objects (their number)

    Attributes:
        arrow: all columns, under their full names: a `pyarrow.Table`, or a `WideTable`, which reads them when asked.
        step: name of the component that reads it; `""` for a table that belongs to nobody.
        references: by name, tables of the pictures that a detector's `references` name.
        said: in a decider's `figures`, its verdicts: a table with the columns of `Verdict`.
    """

    arrow: Any
    step: str = ""
    references: Mapping[str, Table] = field(default_factory=dict)
    said: pa.Table | None = None

    def __len__(self) -> int:
        return int(self.arrow.num_rows)

    def __contains__(self, name: str) -> bool:
        return self._full(name) is not None

    def __getitem__(self, name: str) -> NDArray[Any]:
        """A column: `[N]`, or `[N, d]` where each value is a vector.

        Missing numbers are NaN, missing strings `""`, missing booleans False.

        Raises:
            RecipeError: there is no such column; the message lists those there are.
        """
        import numpy as np
        import pyarrow as pa

        column = self.column(name)
        kind = column.type
        if pa.types.is_fixed_size_list(kind):
            chunks = [np.asarray(chunk.flatten().to_numpy(zero_copy_only=False)) for chunk in column.chunks]
            flat = chunks[0] if len(chunks) == 1 else np.concatenate(chunks or [np.empty(0)])
            return flat.reshape(-1, kind.list_size)
        if pa.types.is_string(kind):
            coded = column.fill_null("").dictionary_encode().combine_chunks()  # one object for equal texts
            return np.asarray(np.array(coded.dictionary.to_pylist(), dtype=object)[coded.indices.to_numpy()])
        if pa.types.is_boolean(kind):
            return np.asarray(column.fill_null(False).to_numpy(zero_copy_only=False), dtype=bool)
        if pa.types.is_integer(kind) and not column.null_count:
            return np.asarray(column.to_numpy())
        if pa.types.is_floating(kind) or pa.types.is_integer(kind):
            return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
        values = np.empty(len(column), dtype=object)
        values[:] = column.to_pylist()
        return values

    def column(self, name: str) -> pa.ChunkedArray:
        """A column as Arrow holds it. Raises RecipeError, as `table[name]` does."""
        full = self._full(name)
        if full is None:
            other = name.partition(".")[0]
            mine = [column.removeprefix(f"{self.step}.") for column in self.arrow.column_names]
            hint = f" Is {other!r} in the recipe's curate list, before what asks for it?" if "." in name else ""
            asks = f"{self.step}: " if self.step else ""
            raise RecipeError(f"{asks}no column {name!r}.{hint} There are: {', '.join(mine)}")
        return self.arrow.column(full)

    def blocks(self, names: Sequence[str]) -> Iterator[pa.Table]:
        """Columns as consecutive tables with the names given, for what never needs a whole column in memory.

        Raises:
            RecipeError: there is no such column.
        """
        full = {name: self._full(name) or self.column(name) for name in names}
        if not hasattr(self.arrow, "blocks"):
            yield self.arrow.select(list(full.values())).rename_columns(list(full))
            return
        for block in self.arrow.blocks(list(full.values())):
            yield block.rename_columns(list(full))

    def labels(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Given labels `y [N]` in 0..K-1 over the classes that occur, -1 for none, and `classes [K]`.

        `classes[y]` is the index in the edition's class list, which the columns `label` and `proposed` hold.
        """
        import numpy as np

        label = np.asarray(self.arrow.column("label").to_numpy(), dtype=np.int64)
        classes = np.unique(label[label >= 0])
        y = np.searchsorted(classes, label).astype(np.int64)
        y[label < 0] = -1
        return y, classes

    def verdict(
        self, row: int, action: Action, reason: str, *, labels: Sequence[str] = (), value: float = math.nan
    ) -> Verdict:
        """This decider's verdict on the picture in a row; see `Verdict` for the actions."""
        picture, sha256 = (self.arrow.column(name)[int(row)].as_py() for name in ("id", "sha256"))
        return Verdict(picture, sha256, action, self.step, reason, tuple(labels), float(value))

    def verdicts(
        self,
        rows: ArrayLike,
        action: Action,
        reason: str,
        *,
        labels: Sequence[str] | None = None,
        value: ArrayLike = math.nan,
        worth: ArrayLike = math.nan,
    ) -> Verdicts:
        """This decider's verdicts on many rows at once, which a million pictures need; see `Verdict` for the actions.

        Args:
            rows: `[M]`.
            action: of all of them.
            reason: of all of them.
            labels: one new or proposed label for each row.
            value: `[M]`, or one number for all.
            worth: `[M]`, or one number for all.
        """
        import numpy as np

        rows = np.asarray(rows, dtype=np.int64)
        numbers = [np.broadcast_to(np.asarray(one, dtype=np.float64), rows.shape) for one in (value, worth)]
        return Verdicts(rows, action, self.step, reason, labels, *numbers)

    def _full(self, name: str) -> str | None:
        """The full name of a column, this component's own first."""
        own, names = f"{self.step}.{name}", self.arrow.column_names
        return own if own in names else name if name in names else None
