"""Building: reads, makes and writes each unit's pictures once, and seals the finished units as an edition."""

from __future__ import annotations

import os
import platform
import random
import resource
import socket
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import Any

from variorum.edition.editions import SOURCE, read_beside, seal, write_beside
from variorum.edition.samples import decoded, encode_sample, failure_row, without_pixels
from variorum.edition.shards import ShardWriter, alike
from variorum.edition.store import Store
from variorum.edition.tables import rows_to_parquet, totals
from variorum.machine.memo import UsedMemo
from variorum.machine.prefetch import prefetch
from variorum.machine.progress import Advance, counted
from variorum.machine.retrying import changed
from variorum.machine.together import AT_ONCE, each
from variorum.models.device import gpu_used
from variorum.models.memory import running_out
from variorum.schemas.canonical import Json
from variorum.schemas.component import Component, Source
from variorum.schemas.errors import CorruptShard, RecipeError, SourceChanged, TooManyFailures
from variorum.schemas.lookup import cut
from variorum.schemas.manifest import FORMAT, QUARANTINE, Manifest, Receipt, Shard, ShardInfo, group_of, ordered
from variorum.schemas.more import TakesTurns, references_of, warning_of
from variorum.schemas.recipe import Recipe
from variorum.schemas.sample import Failure, Sample
from variorum.stages.estimate import check_room
from variorum.stages.job import Job, check_models, installed_version, reopened
from variorum.stages.listings import with_listings
from variorum.stages.plan import ALIKE, Unit
from variorum.stages.splits import check_configs, check_side, check_value, config_of_sample, in_splits

RECORDED = (
    "variorum",
    "numpy",
    "opencv-contrib-python-headless",
    "onnxruntime",
    "torch",
    "diffusers",
    "transformers",
    "pyarrow",
)
"""Packages whose versions a receipt records."""
MOST_GROUPS = 200
"""Shards that a unit may have: they are open at the same time, and loaders list all of them."""
PART = "part"
"""Stands for all groups in a part of a unit."""
AGAIN = 2
"""Parts of a unit after which a process looks again which of them others have made."""
CHANCE = random.SystemRandom()
"""Chooses the order in which a process makes the parts of a unit. It changes no picture."""
AHEAD = 8
"""Samples that decoding and the model may each run ahead; bounds the memory of a unit."""


class Build:
    """The recipe's units; `then` are the components that will work on the edition, whose models are checked too."""

    name = "unit"
    doing = "making pictures"
    uses_models = True

    def __init__(self, job: Job, then: Sequence[Component] = ()) -> None:
        self.job = job
        self.then = then

    def parts(self) -> Sequence[Unit]:
        """The plan's units, or parts of them; `variorum.stages.join` makes units of parts."""
        return self.job.plan.parts

    def kept(self, parts: Sequence[Unit]) -> list[Receipt | None]:
        """The receipt of each unit, or of a part whose unit has none yet."""
        there = self.job.store.receipts(key for part in parts for key in (part.unit, part.key) if key)
        return [there.get(part.unit) or there.get(part.key) for part in parts]

    def check(self) -> None:
        """Return whether all can be made.

        Raises:
            RecipeError: the source's pictures have a content warning, and the recipe has none.
            ModelUnavailable: a model is missing; those of later components count too.
            StoreError: the store's disk has no room for them.
        """
        recipe = self.job.recipe
        lending = (source for one in recipe.generate for source in references_of(one).values())
        for source in (recipe.source, *lending):
            if not recipe.warning and (said := warning_of(source, self.job.ctx)):
                name = source.component_name()
                raise RecipeError(
                    f"warning: pictures of the source {name} have one, so the recipe needs one too: {cut(said)}"
                )
        check_models((recipe.source, *recipe.generate, *self.then), self.job.ctx)
        check_room(self.job)

    def make(self, part: Unit, advance: Advance) -> Receipt:
        """Make a unit or a part; see `_make`. A unit that is handed out whole is made part by part, and joined."""
        try:
            with counted(part.samples, advance) as reached:
                if parts := self.job.plan.parts_of(part) if not part.unit else ():
                    return self._make_in_parts(part, parts, reached)
                return self._make(part, reached)
        except SourceChanged:
            reopened.cache_clear()  # a worker that lives on looks at the data again
            raise

    def _make(self, part: Unit, reached: Advance) -> Receipt:
        """The receipt of a unit or a part, which is made unless another process has made it meanwhile."""
        # the part first: if it isn't there because it was joined before this look, the unit is there at the next
        for key in (part.key, part.unit) if part.unit else (part.key,):
            if done := self._whole(key):
                return done
        if part.key not in self.job.plan.keys:  # planned in another process, from other data or models
            source = self.job.recipe.source.component_name()
            raise changed(f"source {source}", "this process plans other units")
        return self.write(part, reached)

    def _make_in_parts(self, unit: Unit, parts: Sequence[Unit], reached: Advance) -> Receipt:
        """Make what is left of a unit's parts, and join them. Finished parts are kept, so another process can go on."""
        if unit.key not in self.job.plan.keys:
            raise changed(f"source {self.job.recipe.source.component_name()}", "this process plans other units")
        made = dict[str, Receipt]()

        def beyond(done: int) -> None:
            reached(sum(receipt.stop - receipt.start for receipt in made.values()) + done)

        for part in self.left(unit, parts, made):
            made[part.key] = self.write(part, beyond, near=True)
        try:
            return self.joined(unit, parts, made)
        except (CorruptShard, FileNotFoundError):
            lost = [one for one in parts if not self._whole(one.key)]
            if not lost:
                raise
        for part in lost:
            if not self._whole(unit.key):  # else another process has joined the parts meanwhile, and removed them
                made[part.key] = self.write(part, beyond, near=True)
        return self.joined(unit, parts, made)

    def _whole(self, key: str) -> Receipt | None:
        """The receipt of a unit or a part, if its files are there as they were written."""
        done = self.job.store.receipt(key)
        return done if done and self.job.store.whole(done.files()) else None

    def joined(self, unit: Unit, parts: Sequence[Unit], made: Mapping[str, Receipt]) -> Receipt:
        """Join a unit whose parts are finished; `made` are the receipts that this process knows, by key."""
        from variorum.stages.join import Join  # it imports this module

        store = self.job.store
        others = [part.key for part in parts if part.key not in made]
        found = each(store.receipt, others, at_once=1 if store.local else AT_ONCE)
        known = {**made, **{receipt.unit: receipt for receipt in found if receipt}}
        return Join(self.job).join(unit, [known[part.key] for part in parts if part.key in known])

    def reached(self, part: Unit) -> int:
        """Number of finished parts of a unit that is handed out whole; they stay when its worker is lost."""
        parts = () if part.unit else self.job.plan.parts_of(part)
        return len(self.job.store.finished([one.key for one in parts], part.key[:ALIKE])) if parts else 0

    def left(self, unit: Unit, parts: Sequence[Unit], made: Mapping[str, Receipt]) -> Iterator[Unit]:
        """The parts of a unit that are to be made now, one by one, until the unit can be joined or is finished.

        Another process may work on the same unit, as a runner gives it away again when it loses touch with a worker. So
        that they share the parts, each takes them in an order of its own, and looks at what is there after every few.

        Args:
            unit: which is made in parts.
            parts: of the unit.
            made: by key, the parts that this process has made.
        """
        store = self.job.store
        while True:
            there = store.finished([unit.key, *(part.key for part in parts)], unit.key[:ALIKE])
            if unit.key in there and self._whole(unit.key):
                return
            left = [part for part in parts if part.key not in made and part.key not in there]
            if not left:
                return
            yield from CHANCE.sample(left, min(AGAIN, len(left)))

    @running_out()
    def write(self, part: Unit, reached: Advance, *, near: bool = False) -> Receipt:
        """Make the pictures of a unit or a part, write its shards and table, and store the receipt.

        Decoding, any generators, and encoding with writing each have a thread; bounded queues join them. With `near`, a
        copy stays on this machine, which joins it soon.

        Raises:
            SourceChanged: the data isn't what the unit was planned for.
            TooManyFailures: more than `max_failure_rate` of the unit's source samples had a failure.
            VariorumError: the error of a component or of the store.
        """
        recipe, ctx, store = self.job.recipe, self.job.ctx, self.job.store
        used = UsedMemo(ctx.memo)
        making = replace(ctx, memo=used)
        began = time.time(), time.process_time()
        index = {info.id: position for position, info in enumerate(recipe.source.classes(ctx))}
        form = {
            "original": recipe.masters == "original",
            "captioned": recipe.source.captioned(ctx),
            "annotated": recipe.source.annotated(ctx) or any(one.annotated for one in recipe.generate),
        }
        unused: list[Failure] = []  # of the generators' thread: one list for both would say who is faster
        failures: list[Failure] = []
        roots: dict[str, str] = {}
        read = decoded(recipe.source.read(part.start, part.stop, ctx))
        finished = Finished(reached)
        in_order = not any(isinstance(one, TakesTurns) for one in recipe.generate)
        pictures = prefetch(finished.noted(in_splits(read, recipe.splits)), AHEAD)
        items: Iterator[Sample | Failure] = pictures
        for generator, others in zip(recipe.generate, self.job.lending, strict=True):
            items = generator.generate(_samples(items, unused, roots), replace(making, source=others))
        made_ids: set[str] = set()
        values: dict[str, Json] = {}
        with (
            used.cleared_if(lambda: any(one.status == "withheld" for one in (*unused, *failures))),
            Shards(store, part=bool(part.unit), near=near) as shards,
            closing(pictures),  # if a generator raises, its traceback would keep this open
            closing(prefetch(items, AHEAD) if recipe.generate else pictures) as made_items,
        ):
            for item in made_items:
                if in_order:  # else the last sample appears long before the first one is finished
                    finished.before(_root(item, roots))
                if isinstance(item, Failure):
                    failures.append(without_pixels(item))
                    continue
                check_new(item, made_ids)
                check_side(item)
                members, row = encode_sample(item, index, **form)
                config, value = config_of_sample(recipe.configs, item)
                check_value(recipe.configs, config, value, values)
                group = QUARANTINE if item.reason else group_of(config, item.split)
                shards.write(group, item.id, members, {**row, "config": config, "source": _root(item, roots)})
            failures = unused + failures
            check_failures(recipe, part, failures, roots)
            kept, rows, endings = shards.kept()
        samples = kept.pop(PART, None)
        rows.extend({**failure_row(failure, index), "source": _root(failure, roots)} for failure in failures)
        table = store.keep_bytes(
            rows_to_parquet(rows, part=part.key if part.unit else ""), ".parquet", samples=len(rows)
        )
        made: dict[str, Json] = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "began": began[0],
            "seconds": time.time() - began[0],
            "cpu_seconds": time.process_time() - began[1],
            "peak_memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            **gpu_used(),
            "python": platform.python_version(),
            "versions": {name: installed_version(name) for name in RECORDED},
        }
        return store.put_receipt(
            Receipt(
                unit=part.key,
                start=part.start,
                stop=part.stop,
                shards=kept,
                part=samples,
                members=endings,
                rows=table,
                made=made,
            )
        )


class Finished:
    """Reports a unit's source samples when all that is made of them has come, though they are read well before."""

    def __init__(self, reached: Advance) -> None:
        self._reached = reached
        self._places: dict[str, int] = {}

    def noted(self, items: Iterable[Sample | Failure]) -> Iterator[Sample | Failure]:
        """The same items, whose order is noted."""
        for place, item in enumerate(items):
            self._places[item.id] = place
            yield item

    def before(self, root: str) -> None:
        """Report the samples before this one, as generators keep their order."""
        self._reached(self._places.get(root, 0))


class Shards:
    """A unit's shards while they are written, one per group, and its rows. A part has one file for all groups."""

    def __init__(self, store: Store, *, part: bool = False, near: bool = False) -> None:
        self.store = store
        self._part = part
        self._near = near
        self._groups: set[str] = set()
        self._stack = ExitStack()
        self._writers: dict[str, ShardWriter] = {}
        self._rows: dict[str, list[dict[str, Any]]] = {}

    def write(self, group: str, key: str, members: Mapping[str, bytes], row: Mapping[str, Any]) -> None:
        """Append a sample to the shard of its group, and its row with the place in the shard."""
        self._groups.add(group)
        if len(self._groups) > MOST_GROUPS:
            raise RecipeError(
                f"configs: more than {MOST_GROUPS} configurations and splits in one unit, the last {group!r}; "
                f"choose a field with few values"
            )
        group = PART if self._part else group
        if group not in self._writers:
            path = self._stack.enter_context(self.store.temporary(".part" if self._part else ".tar"))
            self._writers[group] = self._stack.enter_context(ShardWriter(path))
        start = self._writers[group].write(key, members)
        self._rows.setdefault(group, []).append({**row, "start": start})

    def kept(self) -> tuple[dict[str, ShardInfo], list[dict[str, Any]], list[str]]:
        """Move the finished shards into the store: shards by group, rows in their order, and the members' endings."""
        endings = alike([writer.members for writer in self._writers.values()], "unit")
        kept, rows = {}, []
        for group in ordered(self._writers):
            writer = self._writers[group]
            writer.close()  # its hash becomes final before the file is moved
            kept[group] = self.store.keep(writer.path, sha256=writer.sha256, samples=writer.samples, near=self._near)
            rows += self._rows[group]
        return kept, rows, endings

    def __enter__(self) -> Shards:
        self._stack.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)


def _samples(items: Iterable[Sample | Failure], failures: list[Failure], roots: dict[str, str]) -> Iterator[Sample]:
    """Pass samples on to the next generator, collect failures, and record the source sample of each.

    Nothing is made of a sample that is quarantined already: it becomes a row with its reason. Nor is anything made of a
    withheld one, which is a Failure.
    """
    for item in items:
        if isinstance(item, Failure):
            failures.append(without_pixels(item))
        elif item.reason:
            roots[item.id] = _root(item, roots)
            gates = item.ops[-1]["gates"] if item.ops else {}
            failures.append(item.failure(item.reason, item.detail, status="ineligible", gates=gates))
        else:
            roots[item.id] = _root(item, roots)
            yield item


def _root(item: Sample | Failure, roots: dict[str, str]) -> str:
    """Id of the source sample that an item comes from; `roots` has it for all items that went into a generator."""
    return roots.get(item.id) or roots.get(item.parent) or item.id


def check_new(sample: Sample, ids: set[str]) -> None:
    """Note a sample's id. Raises RecipeError if another sample of the unit has it."""
    if sample.id in ids:
        maker = f"{sample.ops[-1]['name']}: " if sample.ops else ""
        raise RecipeError(
            f"{maker}two pictures of {sample.origin or sample.id} have the variant {sample.variant!r} and the same "
            "`requested`, so they have one id; give each its own, and yield each picture once"
        )
    ids.add(sample.id)


def check_failures(recipe: Recipe, unit: Unit, failures: list[Failure], roots: dict[str, str]) -> None:
    """Raise TooManyFailures beyond the recipe's `max_failure_rate`, with the reasons and the first failure."""
    failed = [failure for failure in failures if failure.status == "failed"]
    sources = {_root(failure, roots) for failure in failed}
    # a short last unit may have as many as a whole one: a few odd files at the end don't stop a folder
    samples = max(unit.samples, recipe.samples_at_once) if unit.start else unit.samples
    if len(sources) > recipe.max_failure_rate * samples:
        reasons = ", ".join(
            f"{reason} {n}" for reason, n in Counter(failure.reason for failure in failed).most_common(5)
        )
        first = failed[0]
        raise TooManyFailures(
            f"source samples {unit.start} to {unit.stop - 1}: {len(sources)} of {unit.samples} failed, more than "
            f"max_failure_rate {recipe.max_failure_rate:g} allows ({reasons}); the first: {first.origin or first.id}: "
            f"{first.detail or first.reason}"
        )


def seal_edition(job: Job, receipts: Sequence[Receipt], requests: ShardInfo | None = None) -> Manifest:
    """Seal an edition from its units' receipts, in the plan's order, and the table of requests.

    Raises:
        VersionDrift: the version is sealed already with other content.
    """
    recipe, plan, store = job.recipe, job.plan, job.store
    rows = [receipt.rows for receipt in receipts]
    if not store.local:
        each(lambda info: store.path(info, ".parquet"), dict.fromkeys(rows))
    manifest = Manifest(
        dataset=recipe.dataset,
        version=recipe.version,
        fingerprint=plan.fingerprint,
        recipe=recipe.identity(),
        profile=job.profile,
        classes=[(info.id, info.name) for info in plan.classes],
        members=alike([receipt.members for receipt in receipts], recipe.dataset),
        models=plan.models,
        filters=list(plan.filters),
        units=[unit.key for unit in plan.units],
        shards=grouped(receipts),
        rows=rows,
        plan=requests,
        sources=plan.size,
        **totals(store, rows),  # an edition has a row for every picture
    )
    check_configs(recipe.configs, manifest)
    maker = recipe.generate[-1] if recipe.generate else None
    manifest = seal(with_listings(manifest, maker, job.judging, store), store)
    note_source(manifest, recipe.source, store)
    return manifest


def grouped(receipts: Sequence[Receipt], format: int = FORMAT) -> dict[str, list[Shard]]:
    """The shards of units by group, each with its unit's index (not in format 3)."""
    found: dict[str, list[Shard]] = {}
    for place, receipt in enumerate(receipts):
        for group, info in receipt.shards.items():
            unit = None if format == 3 else place
            found.setdefault(group, []).append(Shard(**info.model_dump(), unit=unit))
    return {group: found[group] for group in ordered(found)}


def note_source(manifest: Manifest, source: Source, store: Store) -> None:
    """Record the place of an edition's data beside the manifest. No digest covers it."""
    place = source.place().encode()
    if read_beside(manifest, SOURCE, store) != place:
        write_beside(manifest, SOURCE, place, store)
