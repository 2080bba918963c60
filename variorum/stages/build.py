"""Building: reads, makes and writes each unit's pictures once, and seals the finished units as an edition."""

from __future__ import annotations

import os
import platform
import resource
import socket
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from typing import Any

from variorum.edition.editions import SOURCE, read_beside, seal, write_beside
from variorum.edition.samples import decoded, encode_sample, failure_row
from variorum.edition.shards import ShardWriter
from variorum.edition.store import Store
from variorum.edition.tables import (
    COUNTED,
    counts,
    licences,
    read_table,
    rows_to_parquet,
    same_members,
    sources_edited,
)
from variorum.machine.prefetch import prefetch
from variorum.machine.progress import Advance
from variorum.models.memory import running_out
from variorum.schemas.canonical import Json
from variorum.schemas.component import Component, Source
from variorum.schemas.errors import RecipeError, TooManyFailures
from variorum.schemas.manifest import Manifest, Receipt, ShardInfo, Split
from variorum.schemas.recipe import Recipe
from variorum.schemas.sample import Failure, Sample
from variorum.stages.job import Job, check_models, installed_version
from variorum.stages.plan import Unit

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
AHEAD = 8
"""Samples that decoding and the model may each run ahead; bounds the memory of a unit."""
SPLITS: tuple[Split, ...] = ("test", "quarantine")


class Build:
    """The recipe's units; `then` are the components that will work on the edition, whose models are checked too."""

    name = "unit"
    doing = "making pictures of"
    uses_models = True

    def __init__(self, job: Job, then: Sequence[Component] = ()) -> None:
        self.job = job
        self.then = then

    def parts(self) -> Sequence[Unit]:
        """The plan's units."""
        return self.job.plan.units

    def kept(self, part: Unit) -> Receipt | None:
        """The unit's receipt."""
        return self.job.store.receipt(part.key)

    def check(self) -> None:
        """Raise ModelUnavailable if a model is missing, those of later components included."""
        recipe = self.job.recipe
        check_models((recipe.source, *recipe.generate, *self.then), self.job.ctx)

    @running_out()
    def make(self, part: Unit, advance: Advance) -> Receipt:
        """Make a unit's pictures, write its shards and table, and store the receipt.

        Decoding, the generators, and encoding with writing run in three threads joined by bounded queues.

        Raises:
            TooManyFailures: more than `max_failure_rate` of the unit's source samples had a failure.
            VariorumError: the error of a component or of the store.
        """
        recipe, ctx, store = self.job.recipe, self.job.ctx, self.job.store
        done = store.receipt(part.key)
        if done and store.has(done.files()):  # another process has made it meanwhile
            advance(part.samples)
            return done
        began = time.time(), time.process_time()
        index = {info.id: position for position, info in enumerate(recipe.source.classes(ctx))}
        failures: list[Failure] = []
        roots: dict[str, str] = {}
        pictures = prefetch(decoded(recipe.source.read(part.start, part.stop, ctx), advance), AHEAD)
        items: Iterator[Sample | Failure] = pictures
        for generator in recipe.generate:
            items = generator.generate(_samples(items, failures, roots), ctx)
        rows: list[dict[str, Any]] = []
        made_ids: set[str] = set()
        with (
            store.temporary(".test.tar") as accepted_path,
            store.temporary(".quarantine.tar") as quarantine_path,
            ShardWriter(accepted_path) as accepted,
            ShardWriter(quarantine_path) as quarantine,
            closing(pictures),  # if a generator raises, its traceback would keep this open
            closing(prefetch(items, AHEAD)) as made_items,
        ):
            for item in made_items:
                if isinstance(item, Failure):
                    failures.append(item)
                    continue
                check_new(item, made_ids)
                writer = quarantine if item.reason else accepted
                members, row = encode_sample(item, index)
                rows.append({**row, "source": _root(item, roots), "start": writer.write(item.id, members)})
            rows.extend({**failure_row(failure), "source": _root(failure, roots)} for failure in failures)
            check_failures(recipe, part, failures, roots)
            # the writers close, and their hashes become final, before their files are moved
            accepted.close()
            quarantine.close()
            shards: dict[Split, ShardInfo] = {}
            endings = same_members(accepted.members, quarantine.members)
            for split, writer in zip(SPLITS, (accepted, quarantine), strict=True):
                if writer.samples:
                    shards[split] = store.keep(writer.path, sha256=writer.sha256, samples=writer.samples)
        table = store.keep_bytes(rows_to_parquet(rows), ".parquet", samples=len(rows))
        made: dict[str, Json] = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "began": began[0],
            "seconds": time.time() - began[0],
            "cpu_seconds": time.process_time() - began[1],
            "peak_memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "python": platform.python_version(),
            "versions": {name: installed_version(name) for name in RECORDED},
        }
        return store.put_receipt(
            Receipt(
                unit=part.key,
                start=part.start,
                stop=part.stop,
                shards=shards,
                members=endings,
                rows=table,
                made=made,
            )
        )


def _samples(items: Iterable[Sample | Failure], failures: list[Failure], roots: dict[str, str]) -> Iterator[Sample]:
    """Pass samples on to the next generator, collect failures, and record the source sample of each."""
    for item in items:
        if isinstance(item, Failure):
            failures.append(item)
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
    if len(sources) > recipe.max_failure_rate * unit.samples:
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
    table = read_table(store, rows, COUNTED)  # an edition has a row for every picture
    shards: dict[Split, list[ShardInfo]] = {
        split: [receipt.shards[split] for receipt in receipts if split in receipt.shards] for split in SPLITS
    }
    manifest = Manifest(
        dataset=recipe.dataset,
        version=recipe.version,
        fingerprint=plan.fingerprint,
        recipe=recipe.identity(),
        profile=job.profile,
        classes=[(info.id, info.name) for info in plan.classes],
        members=same_members(*(receipt.members for receipt in receipts)),
        models=plan.models,
        filters=list(plan.filters),
        units=[unit.key for unit in plan.units],
        shards={split: infos for split, infos in shards.items() if infos},
        rows=rows,
        plan=requests,
        counts=counts(table),
        sources=plan.size,
        sources_edited=sources_edited(table),
        licences=licences(table),
    )
    manifest = seal(manifest, store)
    note_source(manifest, recipe.source, store)
    return manifest


def note_source(manifest: Manifest, source: Source, store: Store) -> None:
    """Record the place of an edition's data beside the manifest. No digest covers it."""
    place = source.place().encode()
    if read_beside(manifest, SOURCE, store) != place:
        write_beside(manifest, SOURCE, place, store)
