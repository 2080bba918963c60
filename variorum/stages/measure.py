"""Measuring: detectors and evaluations look at pictures, one piece at a time.

A piece is read and decoded once for all components that haven't measured it yet. They get the same batches in turn, so
a model that several of them ask sees a batch once (`models/penultimate.py`). The results are stored by everything that
they depend on.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any, TypeGuard

from variorum.edition.samples import decoded, picture_pixels, read_sample
from variorum.edition.shards import read_shard
from variorum.edition.store import Store
from variorum.edition.tables import check_names, columns_of, keep_columns, keep_rows
from variorum.machine.prefetch import prefetch
from variorum.machine.progress import Advance, Costs, counted
from variorum.models.memory import running_out
from variorum.schemas.component import Component, Context, Detector, Evaluation, Row, Source
from variorum.schemas.errors import ModelFailed, RecipeError, SourceError, StoredSettings
from variorum.schemas.lookup import cut
from variorum.schemas.manifest import ShardInfo, Tables
from variorum.schemas.more import references_of
from variorum.schemas.sample import Failure, Sample
from variorum.stages.job import Job, check_models
from variorum.stages.pieces import Measurer, Piece

log = logging.getLogger(__name__)

BATCH = 32
"""Samples that `measure` gets at a time. Fixed, because the last bits of a model's floats depend on the batch."""
AHEAD = 8
"""Samples decoded ahead of the models."""


class Measure:
    """Detectors or evaluations, applied to pieces. The result has one table per component.

    Args:
        job: its recipe has the components, and its store gets the tables.
        measurers: the detectors or evaluations; or, by any name, one that no recipe has. Those work in this process
            only. The pieces' keys go by the same names.
        pieces: have the keys of the tables.
        doing: text of the progress report.
        then: components that will use the result; their models are checked too.
        shards: the store that has the edition's shards; by default the job's.
    """

    uses_models = True

    def __init__(
        self,
        job: Job,
        measurers: Sequence[Measurer] | Mapping[str, Measurer],
        pieces: Sequence[Piece],
        doing: str,
        *,
        then: Sequence[Component] = (),
        shards: Store | None = None,
    ) -> None:
        self.job = job
        self.then = then
        self.given = dict(measurers) if isinstance(measurers, Mapping) else {}
        """Measurers that the recipe doesn't have."""
        listed: list[Measurer] = list(measurers.values() if isinstance(measurers, Mapping) else measurers)
        looks = all(isinstance(measurer, Detector) for measurer in listed)
        self.name = "look" if looks else "measure"
        self.kind: type[Component] = Detector if looks else Evaluation
        """Of the recipe's measurers: a detector and an evaluation may have one name."""
        self.names = list(self.given) or [measurer.component_name() for measurer in listed]
        self.pieces = pieces
        self.doing = doing
        self.shards = shards
        self._costs = Costs()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "pieces": (), "then": ()}  # each piece travels on its own

    @property
    def measurers(self) -> dict[str, Measurer]:
        """The components by name: those from the job's recipe, or those that were given."""
        return self.given or {name: self.job.component(name, self.kind) for name in self.names}

    def parts(self) -> Sequence[Piece]:
        """The pieces."""
        return self.pieces

    def kept(self, parts: Sequence[Piece]) -> list[Tables | None]:
        """Each part's tables, if each component has one."""
        named = zip(parts, self._named(parts), strict=True)
        return [Tables(tables=tables) if len(tables) == len(part.keys) else None for part, tables in named]

    def _named(self, parts: Sequence[Piece]) -> list[dict[str, ShardInfo]]:
        """Of each part, the tables that the store names. Those that were measured long ago have a record each.

        For a single part, which is about to be made, no listing is asked, however many tables it has.
        """
        store = self.job.store
        records = store.together(part.together for part in parts if self._looks_at(part))
        first = [(part, records.get(part.together, {})) for part in parts]
        keys = [key for part, found in first for key in part.keys.values() if key not in found]
        single: Mapping[str, ShardInfo | None]
        single = store.tables(keys) if len(parts) > 1 else {key: store.table(key) for key in keys}
        return [
            {name: info for name, key in part.keys.items() if (info := found.get(key) or single.get(key))}
            for part, found in first
        ]

    def _looks_at(self, part: Piece) -> bool:
        """Return whether several detectors look at a shard of the edition, so that one record names their tables."""
        return self.kind is Detector and part.shard is not None and len(part.keys) > 1

    def check(self) -> None:
        """Raise ModelUnavailable if a model is missing, those of later components included."""
        check_models([*self.measurers.values(), *self.then], self.job.ctx)

    def make(self, part: Piece, advance: Advance) -> Tables:
        """See `_make`."""
        with counted(part.samples, advance) as reached:
            try:
                return self._make(part, reached)
            except StoredSettings as error:
                recipe = self.job.recipe
                raise StoredSettings(f"{recipe.dataset}@{recipe.version}: {error}") from error.__cause__

    @running_out()
    def _make(self, part: Piece, reached: Advance) -> Tables:
        """Measure a piece with all components whose tables are missing, in one pass over the pictures.

        Raises:
            RecipeError: a detector gives more or fewer rows than samples, or columns of mixed shapes.
            ModelFailed: a model raised; the message names the picture, if it is one.
        """
        store, ctx = self.job.store, self.job.judging
        named = self._named([part])[0]
        kept = {name: info for name, info in named.items() if store.whole([(info, ".parquet")])}
        todo = {name: measurer for name, measurer in self.measurers.items() if name not in kept}
        if not todo:
            return Tables(tables=kept)
        rows: dict[str, list[Row]] = {name: [] for name in todo}
        waiting: dict[str, list[Sample]] = {name: [] for name in todo}
        pictures: list[tuple[str, str]] = []
        looked = dict.fromkeys(todo, 0)
        wanted = {name: len(part.chosen[name]) if name in part.chosen else part.samples for name in todo}
        turns = sorted(todo, key=lambda name: bool(todo[name].uses()))  # models last, so the others' cost is known

        def tell(name: str, began: float, steps: int, *, ended: bool) -> None:
            self._costs.spent(name, time.monotonic() - began, steps, ended=ended)
            share = self._costs.done({**looked, name: looked[name] + steps}, wanted)
            reached(int(share * part.samples))

        def look(name: str) -> None:
            asking, began = replace(ctx, chosen=part.chosen.get(name, {})), time.monotonic()
            noted = partial(tell, name, began, ended=False)
            rows[name] += _measured_or_named(todo[name], waiting[name], asking, noted)
            tell(name, began, len(waiting[name]), ended=True)
            looked[name] += len(waiting[name])
            waiting[name] = []

        with closing(prefetch(self._samples(part, part.wanted(todo)), AHEAD)) as samples:
            for sample, sha256 in samples:
                pictures.append((sample.id, sha256))
                for name in turns:
                    if name not in part.chosen or sample.id in part.chosen[name]:
                        waiting[name].append(sample)
                        if len(waiting[name]) == BATCH:
                            look(name)
        for name in turns:
            if waiting[name]:
                look(name)
        made = {name: _keep(measurer, rows[name], pictures, self.job) for name, measurer in todo.items()}
        keyed = {part.keys[name]: info for name, info in made.items()}
        if self._looks_at(part):
            store.put_tables(part.together, keyed)
        else:
            for key, info in keyed.items():
                store.put_table(key, info)
        return Tables(tables={**kept, **made})

    def _samples(self, part: Piece, wanted: Collection[str] | None) -> Iterator[tuple[Sample, str]]:
        if part.shard:
            keyed = any(isinstance(measurer, Detector) for measurer in self.measurers.values())
            return shard_samples(part.shard, self.shards or self.job.store, check=keyed, wanted=wanted)
        source = references_of(self.job.component(part.owner, self.kind))[part.reference]
        stop = part.start + part.samples
        found = source_pictures(part.reference, source, part.start, stop, self.job.ctx)
        return ((sample, "") for sample in found)


def measures(step: object) -> TypeGuard[Measurer]:
    """Return whether a component looks at pictures at all."""
    return isinstance(step, Evaluation) or (isinstance(step, Detector) and type(step).measure is not Detector.measure)


def shard_samples(
    shard: ShardInfo,
    store: Store,
    *,
    check: bool = True,
    wanted: Collection[str] | None = None,
) -> Iterator[tuple[Sample, str]]:
    """The shard's samples with decoded pixels and encoded extras, each with the sha256 of its picture.

    Args:
        shard: which is hashed, if this process hasn't done so yet.
        store: has it.
        check: whether each picture is hashed too, because its sha256 becomes a key.
        wanted: ids of the pictures to read; None for all. The shard isn't touched if it is empty.
    """
    if wanted is not None and not wanted:
        return
    path = store.path(shard)
    for key, members in read_shard(path):
        if wanted is not None and key not in wanted:
            continue
        sample, sha256 = read_sample(f"{path}, sample {key}", members, check=check)
        yield replace(sample, image=picture_pixels(f"{path}, sample {key}", sample.image)), sha256


def source_pictures(name: str, source: Source, start: int, stop: int, ctx: Context) -> Iterator[Sample]:
    """Samples `start` to `stop - 1` of a source with decoded pixels; unreadable ones are skipped with a warning.

    Raises:
        SourceError: none of them can be read, or the source has no pictures.
    """
    read, why = 0, "there are none"
    for item in decoded(source.read(start, stop, ctx)):
        if isinstance(item, Failure):
            why = item.detail or item.reason
            log.warning("%s: %s is left out: %s", name, item.origin or item.id, why)
        elif isinstance(item.image, bytes):
            raise SourceError(f"{name}: {source.component_name()} has no pictures, only prompts")
        else:
            read += 1
            yield item
    if not read:
        raise SourceError(f"{name}: no sample of {start} to {stop - 1} can be read: {why}")


def _measured_or_named(
    measurer: Measurer, samples: Sequence[Sample], ctx: Context, noted: Advance = lambda _: None
) -> list[Row]:
    """Return the result of `_measured`. An error of a model names the picture that is to blame.

    For that, the batch is tried again one by one. If its first and its last picture both fail alone, no picture is to
    blame.
    """
    try:
        return _measured(measurer, samples, ctx, noted)
    except ModelFailed as error:
        failing = next((sample for sample in samples if _fails(measurer, sample, ctx)), None)
        if failing is None:
            raise ModelFailed(f"{error}; with each of these pictures alone it works") from error
        if len(samples) > 1 and failing is samples[0] and _fails(measurer, samples[-1], ctx):
            raise
        named = f"{failing.id} ({cut(failing.variant)}, from {cut(failing.origin) or 'nowhere'})"
        raise ModelFailed(f"{error}; the first picture that it fails on is {named}") from error


def _fails(measurer: Measurer, sample: Sample, ctx: Context) -> bool:
    try:
        _measured(measurer, [sample], ctx)
    except ModelFailed:
        return True
    return False


def _measured(
    measurer: Measurer, samples: Sequence[Sample], ctx: Context, noted: Advance = lambda _: None
) -> list[Row]:
    """The rows of some samples. Of a detector, which has one row per sample, `noted` gets the number of each row."""
    given, part = measurer.measure(samples, ctx), "curate" if isinstance(measurer, Detector) else "evaluate"
    found: list[Row] = []
    for row in given if isinstance(given, Iterable) else [given]:
        found.append(row)
        if part == "curate" and len(found) < len(samples):
            noted(len(found))
    if odd := [row for row in found if not isinstance(row, Mapping)]:
        raise RecipeError(
            f"{part}.{measurer.component_name()}: measure gave {type(odd[0]).__name__}; it must yield mappings from "
            "column to value"
        )
    if isinstance(measurer, Detector) and len(found) != len(samples):
        raise RecipeError(
            f"curate.{measurer.component_name()}: measure gave {len(found)} rows for {len(samples)} samples; "
            "give one row per sample"
        )
    return found


def _keep(measurer: Measurer, rows: list[Row], pictures: Sequence[tuple[str, str]], job: Job) -> ShardInfo:
    name = measurer.component_name()
    if isinstance(measurer, Evaluation):
        return keep_rows(name, rows, job.store)
    columns = columns_of(f"curate.{name}", rows)
    check_names(name, columns)
    keys = {"id": [sample_id for sample_id, _ in pictures], "sha256": [sha256 for _, sha256 in pictures]}
    return keep_columns(name, {**keys, **columns}, len(rows), job.store)
