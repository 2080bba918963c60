"""Comparing models of several people on one edition: `va.leaderboard`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from variorum.api.arguments import path_of, share
from variorum.api.edition import Edition, opened
from variorum.api.results import notebook, text
from variorum.edition.editions import folder_of, write_beside
from variorum.edition.store import Store
from variorum.evaluation.classifiers.evaluator import seed_of
from variorum.evaluation.classifiers.pictures import pictures_of
from variorum.evaluation.classifiers.ranking import edition_name, leaderboard_of
from variorum.reports.leaderboard import leaderboard_page
from variorum.reports.result_files import Content, content_of, result_files, results_beside
from variorum.reports.results import Method
from variorum.reports.standing import Leaderboard, standing, to_markdown
from variorum.schemas.errors import SourceError, StoreError
from variorum.schemas.lookup import component_class, cut

if TYPE_CHECKING:
    import pyarrow as pa

    from variorum.schemas.manifest import Manifest

CONFIDENCE, BOOTSTRAP = 0.95, 1000
COLUMNS = (
    *("rank", "model", "revision", "scored", "accuracy", "original_accuracy"),
    *("drop", "drop_low", "drop_high", "behind", "behind_low", "behind_high"),
    *("paired_original_accuracy", "photographs"),
)
"""Of a leaderboard's table."""


class Ranking:
    """A leaderboard in Python. In a notebook it shows itself as a table.

    Attributes:
        board: the models in order with their figures, what was left out, and why.
    """

    def __init__(self, board: Leaderboard) -> None:
        self.board = board

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models, the best first."""
        return tuple(entry.model.name for entry in self.board.entries)

    @property
    def left_out(self) -> dict[str, str]:
        """By file, why it isn't in the leaderboard."""
        return {one.file: one.why for one in self.board.left_out}

    def table(self) -> pa.Table:
        """One row per model, the best first, in percent and percentage points.

        Columns `rank, model, revision, scored, accuracy, original_accuracy, drop, drop_low, drop_high, behind,
        behind_low, behind_high, paired_original_accuracy, photographs`. `accuracy` is the average over the edits, and
        `paired_original_accuracy` that on their originals: `drop` is the difference of the two, over so many
        `photographs`. `original_accuracy` is over all originals. Null where a figure doesn't exist.
        """
        import pyarrow as pa

        rows: list[dict[str, Any]] = []
        for entry in self.board.entries:
            found = entry.figures
            row: dict[str, Any] = {"rank": entry.rank, "model": entry.model.name, "revision": entry.model.revision}
            row |= {"scored": entry.scored, "accuracy": found.accuracy, "original_accuracy": found.original_accuracy}
            for name, one in (("drop", found.average_drop), ("behind", entry.behind)):
                ends = (None, None, None) if one is None else (one.value, one.low, one.high)
                row |= dict(zip((name, f"{name}_low", f"{name}_high"), ends, strict=True))
            row |= {"paired_original_accuracy": entry.original_accuracy, "photographs": entry.photographs}
            rows.append(row)
        kinds = dict.fromkeys(("rank", "scored", "photographs"), pa.int64())
        kinds |= dict.fromkeys(("model", "revision"), pa.string())
        return pa.Table.from_pylist(rows, pa.schema([(name, kinds.get(name, pa.float64())) for name in COLUMNS]))

    def files(self) -> dict[str, bytes]:
        """By ending, the leaderboard as `.html`, `.json` and `.md`."""
        page, words = leaderboard_page(self.board), to_markdown(self.board)
        return {".html": page.encode(), ".json": self.board.to_bytes(), ".md": words.encode()}

    def save(self, path: str | PathLike[str]) -> Path:
        """Write the page, and JSON and Markdown of the same name beside it; returns the page's path.

        Args:
            path: a file that ends in `.html`, or a folder for `leaderboard.html`.

        Raises:
            StoreError: it can't be written.
        """
        place = path_of("path", path)
        if place.is_dir() or place.suffix != ".html":
            place = place / "leaderboard.html"
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            for ending, data in self.files().items():
                place.with_suffix(ending).write_bytes(data)
        except OSError as error:
            raise StoreError(f"{cut(str(place))}: can't be written ({error.strerror}); choose another place") from None
        return place

    def __len__(self) -> int:
        return len(self.board.entries)

    def __repr__(self) -> str:
        if not self.board.entries:
            return f"<no results of {self.board.edition.name} yet>"
        return "\n".join([text(standing(self.board)), *self.board.warnings()])

    def _repr_html_(self) -> str:
        return notebook(self.board)


def leaderboard(
    edition: Edition | str | PathLike[str],
    files: str | PathLike[str] | Sequence[str | PathLike[str]] = (),
    *,
    confidence: float = CONFIDENCE,
    store: Store | str | PathLike[str] = "store",
) -> Ranking:
    """Compare the results of an edition: those beside its manifest, and others.

    All figures are recomputed from the answers. Files that can't be read, are of another edition, state figures that
    don't match their answers, or have a model whose name looks like another one's are left out with the reason. Models
    whose files don't lie beside the manifest are marked: nobody ran them here.

    Args:
        edition: an edition, or its name in `store`.
        files: further results: files, or folders with them.
        confidence: level of the intervals, in (0, 1).
        store: of an edition that is given by name.

    Raises:
        StoreError: there is no such edition.
        SourceError: there is no such file.

    >>> import variorum as va
    >>> def first(images):
    ...     return [[1, 0, 0]] * len(images)
    >>> _ = va.evaluate("mine@1.0.0", first, classes=["astronaut", "chelsea", "coffee"], progress=False)
    >>> va.leaderboard("mine@1.0.0").models
    ('first',)
    """
    confidence = share("leaderboard: confidence", confidence, SourceError)
    found = opened(edition, store)
    listed = [files] if isinstance(files, str | os.PathLike) or not isinstance(files, Iterable) else files
    paths = result_files([path_of("files", one) for one in listed])
    own = results_beside(found.manifest, found.store)
    return Ranking(
        board_of(found.manifest, found.store, own, {str(path): content_of(path) for path in paths}, confidence)
    )


def board_of(
    manifest: Manifest,
    store: Store,
    own: Mapping[str, Content],
    brought: Mapping[str, Content],
    confidence: float = CONFIDENCE,
) -> Leaderboard:
    """The leaderboard of an edition from the content of result files, by name: of its own models, and others'."""
    pictures, method = pictures_of(manifest, store), method_of(manifest, confidence)
    return leaderboard_of(edition_name(manifest), pictures, {**own, **brought, **own}, method, own)


def method_of(manifest: Manifest, confidence: float = CONFIDENCE) -> Method:
    """Return the method of a leaderboard's intervals: with the recipe's seed, for all models alike."""
    return Method(
        name="accuracy_drop",
        revision=component_class("evaluate", "accuracy_drop").revision,
        confidence=confidence,
        bootstrap=BOOTSTRAP,
        seed=seed_of(manifest),
    )


def write_leaderboard(standing: Ranking, manifest: Manifest, store: Store) -> str:
    """Write page, JSON and Markdown beside the manifest; returns the page's path."""
    for ending, data in standing.files().items():
        write_beside(manifest, f"leaderboard{ending}", data, store)
    return f"{folder_of(manifest, store)}/leaderboard.html"
