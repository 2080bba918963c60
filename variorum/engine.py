"""From a recipe to a sealed edition: plan units, run each exactly once, commit.

A unit is a stretch of source samples. Its key covers everything that decides its pictures (source data, components
with their fields and revisions, model pins, seed), so a receipt under that key means: done, by whomever.
`plan` and `commit` are cheap and pure but for reading; `run_unit` is what a runner (a loop, Prefect) distributes.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from schemas.canonical import Json, digest
from schemas.component import ClassInfo, Component, Context
from schemas.errors import RecipeError, SourceError, StoreError, TooManyFailures
from schemas.manifest import Manifest, Receipt, ShardInfo, Split
from schemas.recipe import Recipe
from schemas.sample import Failure, Sample
from variorum.models.memory import running_out
from variorum.pipeline import prefetch
from variorum.plans import keep_plan
from variorum.progress import QUIET, Progress
from variorum.recipes import whereabouts
from variorum.shards import ShardWriter
from variorum.store import SOURCE, Store
from variorum.tables import (
    COUNTED,
    counts,
    failure_row,
    licences,
    read_table,
    rows_to_parquet,
    same_members,
    sources_edited,
)

log = logging.getLogger(__name__)

FORMAT = 1
"""Bumped when the shards or the table of an unchanged recipe would come out differently."""
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
"""Packages whose versions a receipt notes."""
AHEAD = 8
"""Samples that decoding and the model may each run ahead; bounds the memory of a unit."""

Advance = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Unit:
    """Source samples `start` to `stop - 1`, and the key of what the recipe makes of them."""

    start: int
    stop: int
    key: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What a recipe comes to on this source with these models, before any work."""

    units: tuple[Unit, ...]
    size: int
    fingerprint: str
    classes: tuple[ClassInfo, ...]
    models: dict[str, str]
    filters: tuple[str, ...]


def plan(recipe: Recipe, ctx: Context) -> Plan:
    """Units and identity of an edition; no picture is read, no model loaded.

    Raises:
        SourceError: the source is missing or empty.
        RecipeError: an alias isn't known, or a generator can't work on this source.
        ModelUnavailable: a model has no pin yet.
    """
    source = recipe.source
    size = source.size(ctx)
    if size == 0:
        raise SourceError(f"source {source.component_name()}: it has no samples")
    for generator in recipe.generate:
        generator.check(ctx)
    size = min(size, recipe.limit or size)
    aliases = sorted({alias for component in (source, *recipe.generate) for alias in component.aliases()})
    models = {alias: ctx.models.pin(alias) for alias in aliases}
    filters = sorted({ctx.models.pin(alias) for generator in recipe.generate for alias in generator.filters()})
    classes = source.classes(ctx)
    identity: dict[str, Json] = {
        "format": FORMAT,
        "seed": recipe.seed,
        "source": [source.fingerprint(), source.pin(ctx)],
        "generate": [generator.fingerprint() for generator in recipe.generate],
        "models": models,
        "classes": [info.id for info in classes],
    }
    step = recipe.samples_per_shard
    units = tuple(
        Unit(start, stop, digest({**identity, "start": start, "stop": stop}))
        for start, stop in ((start, min(start + step, size)) for start in range(0, size, step))
    )
    fingerprint = digest([recipe.fingerprint(), [unit.key for unit in units]])
    return Plan(units, size, fingerprint, classes, models, tuple(filters))


# ── one unit ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@running_out()
def run_unit(recipe: Recipe, unit: Unit, ctx: Context, store: Store, advance: Advance = lambda _: None) -> Receipt:
    """Make a unit's pictures, write its shards and table, leave the receipt; or return the receipt that is there.

    Decoding, the generators, and encoding with writing run in three threads joined by bounded queues.

    Raises:
        TooManyFailures: more than `max_failure_rate` of the unit's source samples had a failure.
        VariorumError: whatever a component or the store found wrong.
    """
    if done := store.receipt(unit.key):
        advance(unit.stop - unit.start)
        return done
    began = time.time(), time.process_time()
    index = {info.id: position for position, info in enumerate(recipe.source.classes(ctx))}
    failures: list[Failure] = []
    roots: dict[str, str] = {}
    pictures = prefetch(decoded(recipe.source.read(unit.start, unit.stop, ctx), advance), AHEAD)
    items: Iterator[Sample | Failure] = pictures
    for generator in recipe.generate:
        items = generator.generate(_samples(items, failures, roots), ctx)
    rows: list[dict[str, Any]] = []
    with (
        store.temporary(".test.tar") as accepted_path,
        store.temporary(".quarantine.tar") as quarantine_path,
        ShardWriter(accepted_path) as accepted,
        ShardWriter(quarantine_path) as quarantine,
        closing(pictures),  # a generator that raised leaves it open for as long as its traceback lives
        closing(prefetch(items, AHEAD)) as made_items,
    ):
        for item in made_items:
            if isinstance(item, Failure):
                failures.append(item)
                continue
            writer = quarantine if item.reason else accepted
            members, row = encode_sample(item, index)
            rows.append({**row, "source": _root(item, roots), "start": writer.write(item.id, members)})
        rows.extend({**failure_row(failure), "source": _root(failure, roots)} for failure in failures)
        _check_failures(recipe, unit, failures, roots)
        # the writers close, and their hashes become final, before their files are moved
        accepted.close()
        quarantine.close()
        shards: dict[Split, ShardInfo] = {}
        writers: tuple[tuple[Split, ShardWriter], ...] = (("test", accepted), ("quarantine", quarantine))
        endings = same_members(accepted.members, quarantine.members)
        for split, writer in writers:
            if writer.samples:
                shards[split] = store.keep(writer.path, sha256=writer.sha256, samples=writer.samples)
    table = store.keep_bytes(rows_to_parquet(rows), ".parquet", samples=len(rows))
    made: dict[str, Json] = {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "began": began[0],
        "seconds": time.time() - began[0],
        "cpu_seconds": time.process_time() - began[1],
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in RECORDED},
    }
    return store.put_receipt(
        Receipt(
            unit=unit.key,
            start=unit.start,
            stop=unit.stop,
            shards=shards,
            members=endings,
            rows=table,
            made=made,
        )
    )


def encode_sample(sample: Sample, index: dict[str, int]) -> tuple[dict[str, bytes], dict[str, Any]]:
    """A sample as shard members (`png`, `json`, `cls` where there are classes, extras) and as a row of the table."""
    from hashlib import sha256

    from variorum.images import encode_png

    def encoded(value: Any) -> bytes:
        return value if isinstance(value, bytes) else encode_png(value)

    image = encoded(sample.image)
    if not image:
        raise RecipeError(f"sample {sample.origin or sample.id} has no picture yet; generate must make one of it")
    image_sha256 = sha256(image).hexdigest()
    label = index.get(sample.labels[0], -1) if sample.labels else -1
    record: dict[str, Json] = {
        "id": sample.id,
        "sha256": image_sha256,
        "parent": sample.parent,
        "variant": sample.variant,
        "labels": list(sample.labels),
        "origin": sample.origin,
        "licence": sample.licence,
        "reason": sample.reason,
        # one string: loaders infer a struct's fields from the first rows and drop or refuse what comes later
        "ops": json.dumps(sample.ops, sort_keys=True, allow_nan=False),
    }
    members = {ending: encoded(value) for ending, value in sample.extras.items()}
    members["png"] = image
    members["json"] = json.dumps(record, sort_keys=True, ensure_ascii=False, allow_nan=False).encode()
    if index:
        members["cls"] = b"%d" % label
    status = "quarantined" if sample.reason else "accepted"
    row = {**record, "label": label, "status": status}
    gates = sample.ops[-1]["gates"] if sample.ops else {}
    row.update({f"gate.{name}": float(gate["value"]) for name, gate in gates.items()})
    return members, row


def decoded(items: Iterable[Sample | Failure], advance: Advance) -> Iterator[Sample | Failure]:
    """A source's samples with pixels; one that can't be decoded is a Failure, one without a picture stays as it is."""
    from variorum.images import UndecodableImage, decode, decode_mask

    for item in items:
        prompt = not isinstance(item, Failure) and isinstance(item.image, bytes) and not item.image and item.extras
        if isinstance(item, Failure) or not isinstance(item.image, bytes) or prompt:
            yield item
        else:
            try:
                extras = {
                    ending: _decoded_extra(ending, data, decode, decode_mask) for ending, data in item.extras.items()
                }
                yield replace(item, image=decode(item.image), extras=extras)
            except UndecodableImage as error:
                yield Failure(
                    id=item.id,
                    parent="",
                    status="failed",
                    reason=error.reason,
                    labels=item.labels,
                    origin=item.origin,
                    licence=item.licence,
                    detail=str(error),
                )
        advance(1)


def _decoded_extra(ending: str, data: Any, decode: Any, decode_mask: Any) -> Any:
    if not isinstance(data, bytes) or not ending.endswith("png"):
        return data
    return decode_mask(data) if ending.endswith("mask.png") else decode(data)


def _samples(items: Iterable[Sample | Failure], failures: list[Failure], roots: dict[str, str]) -> Iterator[Sample]:
    """Let samples through to the next generator, put failures aside, note which source sample each comes from."""
    for item in items:
        if isinstance(item, Failure):
            failures.append(item)
        else:
            roots[item.id] = _root(item, roots)
            yield item


def _root(item: Sample | Failure, roots: dict[str, str]) -> str:
    """Id of the source sample that an item comes from; `roots` has those of everything that went into a generator."""
    return roots.get(item.id) or roots.get(item.parent) or item.id


def _check_failures(recipe: Recipe, unit: Unit, failures: list[Failure], roots: dict[str, str]) -> None:
    failed = [failure for failure in failures if failure.status == "failed"]
    sources = {_root(failure, roots) for failure in failed}
    total = unit.stop - unit.start
    if len(sources) > recipe.max_failure_rate * total:
        reasons = ", ".join(
            f"{reason} {n}" for reason, n in Counter(failure.reason for failure in failed).most_common(5)
        )
        first = failed[0]
        raise TooManyFailures(
            f"source samples {unit.start} to {unit.stop - 1}: {len(sources)} of {total} failed, more than "
            f"max_failure_rate {recipe.max_failure_rate:g} allows ({reasons}); the first: {first.origin or first.id}: "
            f"{first.detail or first.reason}"
        )


# ── the whole edition ────────────────────────────────────────────────────────────────────────────────────────────────


def commit(
    recipe: Recipe,
    plan: Plan,
    receipts: Iterable[Receipt],
    store: Store,
    *,
    profile: str,
    asked: ShardInfo | None = None,
) -> Manifest:
    """Seal an edition out of its units' receipts, whatever order they came in, and the table of what was asked for.

    Raises:
        StoreError: a unit of the plan has no receipt among them.
        VersionDrift: the version is sealed and holds something else.
    """
    by_unit = {receipt.unit: receipt for receipt in receipts}
    if missing := [unit for unit in plan.units if unit.key not in by_unit]:
        raise StoreError(f"{len(missing)} of {len(plan.units)} units aren't done; run the same command again")
    ordered = [by_unit[unit.key] for unit in plan.units]
    rows = [receipt.rows for receipt in ordered]
    table = read_table(store, rows, COUNTED)  # an edition has a row for every picture
    splits: tuple[Split, ...] = ("test", "quarantine")
    shards: dict[Split, list[ShardInfo]] = {
        split: [receipt.shards[split] for receipt in ordered if split in receipt.shards] for split in splits
    }
    manifest = Manifest(
        dataset=recipe.dataset,
        version=recipe.version,
        fingerprint=plan.fingerprint,
        recipe=recipe.identity(),
        profile=profile,
        classes=[(info.id, info.name) for info in plan.classes],
        members=same_members(*(receipt.members for receipt in ordered)),
        models=plan.models,
        filters=list(plan.filters),
        units=[unit.key for unit in plan.units],
        shards={split: infos for split, infos in shards.items() if infos},
        rows=rows,
        plan=asked,
        counts=counts(table),
        sources=plan.size,
        sources_edited=sources_edited(table),
        licences=licences(table),
    )
    sealed = store.commit(manifest)
    store.write_beside(sealed, SOURCE, whereabouts(recipe.source).encode())
    return sealed


def build(
    recipe: Recipe,
    ctx: Context,
    store: Store,
    *,
    profile: str,
    workers: int = 1,
    progress: Progress = QUIET,
    then: Iterable[Component] = (),
) -> Manifest:
    """The plain loop: plan, run every unit on `workers` threads, commit.

    A unit that fails doesn't stop the others; the first error is raised once all have had their turn. Where there is
    something to do, the models for it are looked for first, and those of the components that work on the edition
    `then`.
    """
    planned = plan(recipe, ctx)
    store.check_version(recipe.dataset, recipe.version, planned.fingerprint, whereabouts(recipe.source))
    if not all(store.receipt(unit.key) for unit in planned.units):
        check_models((recipe.source, *recipe.generate, *then), ctx)
    asked = keep_plan(recipe, ctx, store, progress)
    progress.start("making pictures of", planned.size)
    receipts: list[Receipt] = []
    errors: list[Exception] = []
    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(run_unit, recipe, unit, ctx, store, progress.advance) for unit in planned.units]
        try:
            for future in as_completed(futures):
                try:
                    receipts.append(future.result())
                except Exception as error:
                    log.error("%s", error)
                    errors.append(error)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    if errors:
        raise errors[0]
    return commit(recipe, planned, receipts, store, profile=profile, asked=asked)


def check_models(components: Iterable[Component], ctx: Context) -> None:
    """Whether the models that components ask for can be had here. Raises ModelUnavailable with a line for each."""
    ctx.models.check({alias for component in components for alias in component.aliases()})


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"
