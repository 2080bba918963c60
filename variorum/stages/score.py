"""Scoring: a detector computes its columns for the whole edition from its measurements and the columns it needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from threadpoolctl import threadpool_limits

from variorum.arrays import scalar_columns
from variorum.edition.lazy_columns import detector_parts, edition_parts
from variorum.edition.store import Store
from variorum.edition.tables import KEYS, check_names, joined, keep_columns, read_part
from variorum.edition.units import with_splits
from variorum.machine.progress import Advance
from variorum.models.memory import running_out
from variorum.schemas.canonical import Json, digest
from variorum.schemas.component import Detector
from variorum.schemas.errors import RecipeError
from variorum.schemas.manifest import Ledger, Manifest, ShardInfo, Tables
from variorum.schemas.table import Table
from variorum.stages.job import Job, check_models, located, pins


@dataclass(frozen=True, slots=True)
class Columns:
    """The detectors' tables made so far.

    Attributes:
        measured: by detector, its tables, one per shard.
        scored: by detector, its table of the whole edition.
        references: by detector, reference and measuring detector, the tables measured there, one per piece.
    """

    measured: dict[str, list[ShardInfo]] = field(default_factory=dict)
    scored: dict[str, ShardInfo] = field(default_factory=dict)
    references: dict[str, dict[str, dict[str, list[ShardInfo]]]] = field(default_factory=dict)

    def parts(self, detector: str) -> list[list[ShardInfo]]:
        """A detector's tables, each as the parts that make up the whole edition."""
        scored = [[self.scored[detector]]] if detector in self.scored else []
        return ([self.measured[detector]] if detector in self.measured else []) + scored


@dataclass(frozen=True, slots=True)
class Scoring:
    """The work of scoring one detector."""

    detector: str
    key: str
    samples: int = 1

    def __str__(self) -> str:
        return self.detector


class Score:
    """One detector over the whole edition."""

    name = "score"
    doing = "scoring"
    uses_models = False

    def __init__(self, job: Job, manifest: Manifest, detector: str, columns: Columns, table: Any = None) -> None:
        self.job = job
        self.manifest = manifest
        self.detector = detector
        self.columns = columns
        self._table = table

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_table": None}

    def parts(self) -> Sequence[Scoring]:
        """One part, because a detector sees all pictures at once."""
        return [Scoring(self.detector, score_key(self.job, self.manifest, self.detector, self.columns))]

    def kept(self, parts: Sequence[Scoring]) -> list[Tables | None]:
        """The table of its columns, if stored."""
        there = self.job.store.tables(part.key for part in parts)
        return [Tables(tables={self.detector: there[part.key]}) if part.key in there else None for part in parts]

    def check(self) -> None:
        """Raise ModelUnavailable if one of its models is missing."""
        check_models([self.job.component(self.detector)], self.job.ctx)

    @running_out()
    def make(self, part: Scoring, advance: Advance) -> Tables:
        """Compute and keep the columns. Raises RecipeError for columns that aren't of one length, shape and type."""
        store, detector = self.job.store, self.job.component(self.detector)
        table = picture_table(self.manifest, store) if self._table is None else self._table
        ids = {name: table.column(name) for name in KEYS}
        for other in (*detector.needs(), self.detector):
            table = add_columns(table, self.columns, other, store, vectors=True)
        references = {
            name: Table(reference_table(f"curate.{self.detector}.{name}", tables, store), self.detector)
            for name, tables in self.columns.references.get(self.detector, {}).items()
        }
        own = Table(table, self.detector, references)
        with threadpool_limits(1, user_api="blas"):  # the number of threads changes sums of floats, so the digest
            found = detector.score(own, self.job.judging) if len(own) else {}  # nothing was measured
        if not isinstance(found, Mapping):
            kind = type(found).__name__
            raise RecipeError(
                f"curate.{self.detector}: score gave {kind}; it must return a mapping from column to values"
            )
        check_names(self.detector, found)
        info = keep_columns(self.detector, {**ids, **found}, table.num_rows, store)
        store.put_table(part.key, info)
        advance(1)
        return Tables(tables={self.detector: info})


def scores(step: object) -> TypeGuard[Detector]:
    """Return whether a component is a detector that gives columns for the whole edition."""
    return isinstance(step, Detector) and type(step).score is not Detector.score


def score_key(job: Job, manifest: Manifest, name: str, columns: Columns) -> str:
    """Digest of all that decides a detector's columns: its fields and files, the edition's table, the columns read."""
    detector, ctx = job.component(name), job.ctx
    read: dict[str, Json] = {
        other: [[info.sha256 for info in parts] for parts in columns.parts(other)]
        for other in (*detector.needs(), name)
    }
    rows: list[Json] = [info.sha256 for info in manifest.rows]
    compared: dict[str, Json] = {
        reference: {other: [info.sha256 for info in parts] for other, parts in tables.items()}
        for reference, tables in columns.references.get(name, {}).items()
    }
    classes: list[Json] = [list(pair) for pair in manifest.classes]
    identity: list[Json] = [detector.identity(), detector.revision, ctx.seed, classes, pins(detector, ctx)]
    # what people answered may have changed since; other detectors' keys stay what they were
    files: list[Json] = [[field, held[1]] for field, held in located(detector).items() if held[1]]
    return digest(["score", identity, rows, read, compared, *([files] if files else [])])


def picture_table(manifest: Manifest, store: Store) -> Any:
    """The edition's `WideTable`, one row per accepted picture, in the order of the shards."""
    return with_splits(edition_parts(store, manifest.rows, len(manifest.classes)))


def reference_table(where: str, tables: Mapping[str, Sequence[ShardInfo]], store: Store) -> Any:
    """Join what detectors measured on a reference: one row per picture."""
    import pyarrow as pa

    found = None
    for infos in tables.values():
        side = joined(where, [read_part(store, info, lambda schema: schema.names) for info in infos])
        if found is None:
            found = side
            continue
        for name in side.column_names:
            if name not in KEYS:
                found = found.append_column(name, side.column(name))
    return pa.table({}) if found is None else found


def add_columns(table: Any, columns: Columns, step: str, store: Store, *, vectors: bool) -> Any:
    """The table with a detector's columns.

    Raises:
        CorruptShard: a detector's table isn't about the edition's pictures.
    """
    for infos in columns.parts(step):
        if not infos:
            continue
        parts = detector_parts(step, store, infos, table)
        names = parts.schema.names if vectors else scalar_columns(parts.schema)
        table = table.beside(parts, [name for name in names if name not in KEYS])
    return table


def curated_table(manifest: Manifest, ledger: Ledger, steps: Sequence[str], store: Store) -> Table:
    """The edition's table with all columns of the named detectors in a ledger, vectors included.

    Raises:
        RecipeError: the ledger has no such detector.
    """
    table, columns = picture_table(manifest, store), Columns(ledger.measured, ledger.scored)
    for step in steps:
        if not columns.parts(step):
            raise RecipeError(f"{manifest.dataset}@{manifest.version} wasn't curated with {step}; add it to the recipe")
        table = add_columns(table, columns, step, store, vectors=True)
    return Table(table)
