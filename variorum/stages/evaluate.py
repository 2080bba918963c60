"""Evaluating: the figures of an evaluation on a sealed edition, stored beside its manifest."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from variorum.edition.editions import folder_of, read_beside, write_beside
from variorum.edition.tables import joined, read_part, read_unit
from variorum.models.filters import UNAVAILABLE, contents_of, refuse_filters
from variorum.schemas.annotations import Annotations, LabelState, State
from variorum.schemas.canonical import Json, digest
from variorum.schemas.component import Context, Evaluation
from variorum.schemas.errors import RecipeError, SourceError
from variorum.schemas.fields import plain_json
from variorum.schemas.manifest import Manifest, ShardInfo
from variorum.schemas.more import NeedsObjects, references_of
from variorum.schemas.sample import LABEL_STATES, Sample, Withheld
from variorum.schemas.table import Table
from variorum.schemas.uses import deciding_models, judged_models, uses_of
from variorum.stages.decide import check_classes, only_propose
from variorum.stages.job import Job, code_of, compared_with, figures_of, pins
from variorum.stages.listings import read_listings

log = logging.getLogger(__name__)

TABLES = "tables"
"""Of an evaluation's file: the tables of the edition's rows, from which the page takes each picture's answers."""
SET = "set"
"""Column with the name of the reference that a row belongs to."""


def check_references(job: Job) -> None:
    """Check what evaluations, detectors and deciders need of others; called before any picture is made.

    Raises:
        SourceError: a reference is missing or empty.
        RecipeError: an alias is unknown, a model would judge pictures that it filtered, or labels or objects are needed
            and the source has none.
        ModelUnavailable: a model has no pin yet.
    """
    recipe, ctx = job.recipe, job.ctx
    check_classes(job)
    used = _pins_of_generators(job)
    filters = [used[alias] for alias in deciding_models(*recipe.generate)]
    for evaluation in recipe.evaluate:
        _refuse_filters(evaluation, filters, (), job)
        made = any(generator.annotated for generator in recipe.generate)
        if needs_objects(evaluation) and not (recipe.source.classes(ctx) and (made or recipe.source.annotated(ctx))):
            raise no_objects(f"source {recipe.source.component_name()} has no objects with classes", evaluation)
    for part, components in (("curate", recipe.curate), ("evaluate", recipe.evaluate)):
        for component in components:
            for name, source in references_of(component).items():
                if not source.size(ctx):
                    raise SourceError(f"{part}.{component.component_name()}.{name}: it has no samples")


def needs_objects(evaluation: Evaluation) -> bool:
    """Return whether an evaluation can't work on an edition without objects."""
    return isinstance(evaluation, NeedsObjects) and evaluation.needs_objects


def no_objects(what: str, evaluation: Evaluation) -> RecipeError:
    """The error for an evaluation that needs objects which aren't there."""
    name = evaluation.component_name()
    without = f"--set evaluate.{name}=null"
    return RecipeError(f"{what}, which {name} needs; use a source with boxes, such as coco, or leave it out: {without}")


def check_judges(evaluation: Evaluation, manifest: Manifest, job: Job) -> None:
    """Raise RecipeError if a model of the evaluation, or a component that it holds, decided what was accepted."""
    _refuse_filters(evaluation, manifest.filters, manifest.ledger.models.values() if manifest.ledger else (), job)
    if manifest.ledger is None:
        return
    proposing = {one.component_name() for one in only_propose(job.recipe.curate)}
    deciding = [step for step in manifest.ledger.curate if step.get("name") not in proposing]
    for name, held in evaluation:
        for one in held if isinstance(held, tuple) else ():
            if not (late := getattr(one, "late", None)):
                continue
            asked = [_read(other, late) for step in deciding if isinstance(of := step.get(name), list) for other in of]
            if _read(one.identity(), late) in asked:
                called = getattr(one, "called", one.component_name())
                raise RecipeError(
                    f"evaluate.{evaluation.component_name()}.{name}: {called} decided what was accepted, so it "
                    "can't judge the result; leave it out, or let no rule use it"
                )


def _refuse_filters(evaluation: Evaluation, filters: Iterable[str], later: Iterable[str], job: Job) -> None:
    """Refuse models that decided what was accepted, unless the evaluation counts what their gate withheld.

    Args:
        evaluation: whose figures are about models.
        filters: pins of the models that decided.
        later: pins of those that decided in curation, which leaves no score of what it withholds.
        job: has the generators.

    Raises:
        RecipeError: names the models.
    """
    gates = counted_gates(evaluation, job)
    counted = {use.alias for use in uses_of(evaluation) if use.gate in gates}
    judged = judged_pins(evaluation, job.ctx)
    refuse_filters({alias: pin for alias, pin in judged.items() if alias not in counted}, filters)
    refuse_filters({alias: pin for alias, pin in judged.items() if alias in counted}, later)


def counted_gates(evaluation: Evaluation, job: Job) -> frozenset[str]:
    """Names of the checks by which an evaluation counts withheld pictures.

    Each holds the opinions of models that the evaluation judges, and no generator lets these decide in another way.
    """
    used, judged = _pins_of_generators(job), pins(evaluation, job.ctx)
    deciding = [(contents_of(used[use.alias]), use.gate) for use in uses_of(*job.recipe.generate) if use.decides]
    alone: dict[str, bool] = {}
    for use in uses_of(evaluation):
        if use.gate and judged[use.alias] != UNAVAILABLE:
            found = {gate for contents, gate in deciding if contents & contents_of(judged[use.alias])}
            alone[use.gate] = alone.get(use.gate, True) and found == {use.gate}
    return frozenset(gate for gate, kept in alone.items() if kept)


def withheld_pictures(evaluation: Evaluation, manifest: Manifest, job: Job) -> tuple[Withheld, ...]:
    """What an edition's rows say of its withheld pictures, if the evaluation counts those of a gate."""
    gates = counted_gates(evaluation, job)
    found: list[Withheld] = []
    for info in manifest.rows if gates else ():
        rows = read_unit(job.store, info, lambda name: name != "ops").to_pylist()
        for row in rows:
            if row["status"] == "withheld":
                states = [one.rpartition(":") for one in row.get(LABEL_STATES) or ()]
                sample = Sample(
                    row["id"],
                    b"",
                    tuple(row["labels"]),
                    parent=row["parent"],
                    reason=row["reason"],
                    split=row["split"] or "",
                    photograph=row["photograph"] or "",
                    digital_source_type=row["digital_source_type"] or "",
                    annotations=Annotations(labels=tuple(LabelState(a, cast("State", b)) for a, _, b in states)),
                )
                values = {gate: row.get(f"gate.{gate}") for gate in gates}
                found.append(Withheld(sample, {gate: one for gate, one in values.items() if one is not None}))
    return tuple(found)


def _pins_of_generators(job: Job) -> dict[str, str]:
    return {alias: pin for one in job.recipe.generate for alias, pin in pins(one, job.ctx).items()}


def judged_pins(evaluation: Evaluation, ctx: Context) -> dict[str, str]:
    """Return the pins by alias of the models that an evaluation's figures are about."""
    judged = judged_models(evaluation)
    return {alias: pin for alias, pin in pins(evaluation, ctx).items() if alias in judged}


def _read(identity: Any, late: Collection[str]) -> dict[str, Any]:
    """The fields of an identity that decide what the component says."""
    return {name: value for name, value in identity.items() if name not in late} if isinstance(identity, dict) else {}


def evaluation_key(evaluation: Evaluation, manifest: Manifest, job: Job) -> str:
    """Digest of all that decides an evaluation's figures."""
    ctx = job.ctx
    identity: list[Json] = [evaluation.fingerprint(), code_of(type(evaluation)), ctx.seed, pins(evaluation, ctx)]
    return digest(["evaluate", manifest.digest(), *identity, compared_with(evaluation, ctx)])


def kept_figures(evaluation: Evaluation, manifest: Manifest, job: Job) -> Mapping[str, Json] | None:
    """The figures beside the manifest, if they are up to date and say where each picture's answers lie."""
    kept = read_figures(evaluation.component_name(), manifest, job.store)
    current = kept and TABLES in kept and kept.get("key") == evaluation_key(evaluation, manifest, job)
    return kept["figures"] if kept and current else None


def read_figures(name: str, manifest: Manifest, store: Any) -> dict[str, Any] | None:
    """Content of `evaluation-<name>.json`: `figures`, and the pins of the `models`. None if missing or out of date."""
    data = read_beside(manifest, f"evaluation-{name}.json", store)
    try:
        kept = plain_json(json.loads(data)) if data else None
    except (ValueError, RecursionError) as error:
        path = f"{folder_of(manifest, store)}/evaluation-{name}.json"
        log.warning("%s is damaged (%s) and isn't shown; `variorum evaluate` writes it again", path, error)
        return None
    if not isinstance(kept, dict) or not all(isinstance(kept.get(part), dict) for part in ("figures", "models")):
        return None
    return kept if kept.get("edition") == manifest.digest() else None


def put_figures(
    evaluation: Evaluation,
    manifest: Manifest,
    job: Job,
    measured: Sequence[ShardInfo],
    references: Mapping[str, Sequence[ShardInfo]],
) -> Mapping[str, Json]:
    """Compute an evaluation's figures and store them beside the manifest.

    Args:
        evaluation: the evaluation.
        manifest: the edition.
        job: has the seed and the store.
        measured: tables of its rows, one per shard.
        references: by reference, tables of its rows, one per piece.
    """
    import pyarrow as pa

    name, tables = evaluation.component_name(), []
    for reference, infos in [("", measured), *references.items()]:
        for info in infos:
            rows = read_part(job.store, info, lambda schema: schema.names)
            if references:
                rows = rows.append_column(SET, pa.array([reference] * len(rows), pa.string()))
            tables.append(rows)
    table = joined(f"evaluate.{name}", tables) if tables else pa.table({})
    listings, withheld = read_listings(manifest, job.store), withheld_pictures(evaluation, manifest, job)
    ctx = replace(job.judging, listings=listings, withheld=withheld)
    figures = figures_of(evaluation, Table(table, name), ctx)
    record = {
        "edition": manifest.digest(),
        "key": evaluation_key(evaluation, manifest, job),
        "models": pins(evaluation, job.ctx),
        TABLES: [info.model_dump() for info in measured],
        "figures": figures,
    }
    kept = json.dumps(record, indent=1, sort_keys=True, allow_nan=False)
    write_beside(manifest, f"evaluation-{name}.json", kept.encode(), job.store)
    return figures
