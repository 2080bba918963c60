"""Deciding: deciders turn columns into verdicts, which are settled to one per picture and kept as a ledger."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from variorum.arrays import taken
from variorum.edition.ledgers import put_ledger, put_queue
from variorum.edition.store import Store
from variorum.edition.tables import filled_rows, read_table
from variorum.edition.verdicts import OUT, STRENGTH, keep_verdicts, settle, verdict_table, with_what_follows
from variorum.schemas.canonical import Json, digest
from variorum.schemas.component import Context, Decider, Detector
from variorum.schemas.errors import RecipeError
from variorum.schemas.manifest import Ledger, Manifest
from variorum.schemas.more import AddsMembers, NeedsLabels, ProposesOnly, ProvesCopies, ReadsVerdicts, Settles
from variorum.schemas.table import Table
from variorum.schemas.verdict import Action, Verdict, Verdicts
from variorum.stages.agreement import detector_figures
from variorum.stages.job import Job, code_of, compared_with, figures_of, located, pins
from variorum.stages.queue import review_queue
from variorum.stages.score import Columns, add_columns, picture_table


def curation_key(job: Job, manifest: Manifest, *, force: bool) -> str:
    """Digest of all that decides a curation: the edition, every step, its models and its references."""
    ctx, steps = job.ctx, list[Json]()
    for step in job.recipe.curate:
        code, compared = code_of(type(step)), compared_with(step, ctx)
        steps.append([step.fingerprint(), code, pins(step, ctx), compared, dict(located(step).items())])
    return digest(["curate", manifest.digest(), ctx.seed, steps, force])


def decide(
    job: Job, manifest: Manifest, columns: Columns, *, force: bool = False, table: Any = None
) -> tuple[int, Ledger]:
    """Verdicts and figures from all columns, kept as a numbered ledger; none for an edition without a picture.

    Raises:
        RecipeError: no picture would be left, unless forced; or a decider judged an unknown picture.
    """
    steps, ctx, store = job.recipe.curate, job.judging, job.store
    table = picture_table(manifest, store) if table is None else table
    for step in steps:
        table = add_columns(table, columns, step.component_name(), store, vectors=False)
    said, seen = dict[str, Any](), dict[str, Any]()
    for late in (False, True):
        for step in steps:
            if isinstance(step, Decider) and (isinstance(step, ReadsVerdicts) and step.reads_verdicts) == late:
                name = step.component_name()
                seen[name] = add_verdicts(table, all_of(said, table), by_people(steps, said)) if late else table
                said[name] = decided(step, Table(seen[name], name), ctx)
        said = below_people(steps, said)
    everything = all_of(said, table)
    settled = settle(everything)
    check_drops(settled, len(table), force=force)
    counts, figures = action_counts(settled), {}
    del settled
    for step in steps if len(table) else ():
        name = step.component_name()
        if found := figures_of(step, Table(seen.get(name, table), name, said=said.get(name)), ctx):
            figures[name] = found
    seen.clear()
    asking = only_propose(steps)
    ledger = Ledger(
        edition=manifest.digest(),
        curate=[step.identity() for step in steps],
        models={alias: pin for step in steps if step not in asking for alias, pin in pins(step, ctx).items()},
        proposers={alias: pin for step in asking for alias, pin in pins(step, ctx).items()},
        measured=columns.measured,
        scored=columns.scored,
        verdicts=keep_verdicts(everything, store),
        members=added_members(steps, columns, store),
        copies=[
            f"{step.component_name()}.{step.copies}"
            for step in steps
            if isinstance(step, Detector) and isinstance(step, ProvesCopies) and len(table)
        ],
        counts=counts,
        figures=figures,
        detectors=detector_figures(table, manifest.classes),
    )
    number = put_ledger(manifest, ledger, store)
    put_queue(manifest, number, review_queue(everything, table), store)
    return number, ledger


def only_propose(steps: Sequence[Detector | Decider]) -> list[Detector]:
    """The detectors whose columns only say what people are asked: no decider, nor a detector that it reads, needs them.

    Their models don't decide what is in a release, and so may judge it.
    """
    proposing: list[Detector] = [
        step for step in steps if isinstance(step, Detector) and isinstance(step, ProposesOnly) and step.proposes_only
    ]
    while needed := [
        one for one in proposing if any(one.component_name() in step.needs() for step in steps if step not in proposing)
    ]:
        proposing = [one for one in proposing if one not in needed]
    return proposing


def decided(decider: Decider, table: Table, ctx: Context) -> Any:
    """A decider's verdicts as a table. Raises RecipeError for anything else, and for an action that doesn't exist."""
    where = f"curate.{decider.component_name()}"
    given: object = decider.decide(table, ctx) if len(table) else ()  # without pictures, detectors gave no columns
    found: list[Any] = list(given) if isinstance(given, Iterable) else [given]
    for verdict in found:
        if not isinstance(verdict, Verdict | Verdicts):
            kind = type(verdict).__name__
            made = "`table.verdict(row, action, reason)` or `table.verdicts(rows, action, reason)`"
            raise RecipeError(f"{where}: decide gave {kind}; it must yield or return {made}")
        if verdict.action not in STRENGTH:
            raise RecipeError(f"{where}: no action {verdict.action!r}; there are: {', '.join(sorted(STRENGTH))}")
    return verdict_table(found, table.arrow)


def by_people(steps: Sequence[Detector | Decider], said: Mapping[str, Any]) -> Any:
    """Ids of the pictures that a decider with `settles` has settled: it keeps, relabels, drops or withholds them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    found = [pa.array([], pa.string())]
    for step in steps:
        if isinstance(step, Settles) and step.settles and step.component_name() in said:
            mine = said[step.component_name()]
            acts = pc.is_in(mine["action"], value_set=pa.array(["keep", "relabel", *OUT]))
            found += mine["id"].filter(acts).chunks
    return pa.concat_arrays(found)


def below_people(steps: Sequence[Detector | Decider], said: Mapping[str, Any]) -> dict[str, Any]:
    """The verdicts, where a suspicion about a settled picture is only noted. What takes it out stays."""
    import pyarrow as pa
    import pyarrow.compute as pc

    settled, found = by_people(steps, said), dict(said)
    for step in steps:
        name = step.component_name()
        if not len(settled) or name not in said or (isinstance(step, Settles) and step.settles):
            continue
        mine = said[name]
        suspects = pc.is_in(mine["action"], value_set=pa.array(["review", "relabel", "unasked"]))
        noted = pc.and_(suspects, pc.is_in(mine["id"], value_set=settled))
        new = {
            "action": pc.if_else(noted, "note", mine["action"]),
            "labels": pc.if_else(noted, pa.scalar([], pa.list_(pa.string())), mine["labels"]),
            "worth": pc.if_else(noted, math.nan, mine["worth"]),
        }
        found[name] = pa.table({each: new.get(each, mine[each]) for each in mine.column_names}, schema=mine.schema)
    return found


def all_of(said: Mapping[str, Any], table: Any) -> Any:
    """The verdicts of several deciders in one table; see `with_what_follows`."""
    import pyarrow as pa

    return with_what_follows(pa.concat_tables([verdict_table([], table), *said.values()]), table)


def check_classes(job: Job) -> None:
    """Raise RecipeError if the source has no classes and a step needs labels; called before any picture is made."""
    wanting = [step.component_name() for step in needing_labels(job.recipe.curate)]
    if wanting and not job.recipe.source.classes(job.ctx):
        raise no_labels(f"source {job.recipe.source.component_name()} has no labels", wanting)


def no_labels(what: str, wanting: Sequence[str]) -> RecipeError:
    """The error for steps that need labels which aren't there."""
    without = " ".join(f"--set curate.{name}=null" for name in wanting)
    return RecipeError(
        f"{what}, which {', '.join(wanting)} need; leave them out with everything that needs them: {without}"
    )


def needing_labels(steps: Iterable[Detector | Decider]) -> list[Detector | Decider]:
    """Return the steps that can't work on an edition without labels."""
    return [step for step in steps if isinstance(step, NeedsLabels) and step.needs_labels]


def check_labels(job: Job, manifest: Manifest) -> None:
    """Raise RecipeError if no picture has a label and a step needs labels; called before measuring."""
    import pyarrow.compute as pc

    wanting = [step.component_name() for step in needing_labels(job.recipe.curate)]
    if not wanting:
        return
    rows = read_table(job.store, manifest.rows, ["label", "status"])
    largest = pc.max(rows["label"].filter(pc.equal(rows["status"], "accepted"))).as_py()
    if largest is None or largest >= 0:
        return
    raise no_labels(f"no picture of {manifest.dataset}@{manifest.version} has a label", wanting)


def add_verdicts(table: Any, said: Any, by_votes: Any = None) -> Any:
    """The table with what the verdicts so far come to.

    `verdict.action` is `keep` where nobody said anything, `verdict.labels` has the new labels of a relabel,
    `verdict.worth` what asking is worth, `verdict.settled` says whether people's answers have settled it.

    Args:
        table: the edition's.
        said: all verdicts.
        by_votes: ids of the pictures that people have settled.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    settled = settle(said)
    rows = pc.fill_null(pc.index_in(table.column("id"), value_set=settled["id"]), -1)
    found = taken(settled.select(["action", "labels", "worth"]), rows.to_numpy().astype(np.int64))
    relabelled = pc.equal(found["action"], "relabel")
    labels = pc.if_else(relabelled, pc.binary_join(found["labels"], " "), "")
    table = table.append_column("verdict.action", pc.fill_null(found["action"], "keep"))
    table = table.append_column("verdict.labels", pc.fill_null(labels, ""))
    table = table.append_column("verdict.worth", pc.fill_null(found["worth"], pa.scalar(math.nan)))
    nobody = pa.array([], pa.string())
    return table.append_column(
        "verdict.settled", pc.is_in(table.column("id"), value_set=nobody if by_votes is None else by_votes)
    )


def action_counts(settled: Any) -> dict[Action, dict[str, int]]:
    """Number of pictures by action and reason."""
    counted = settled.group_by(["action", "reason"]).aggregate([([], "count_all")])
    found: dict[Action, dict[str, int]] = {}
    for row in sorted(counted.to_pylist(), key=lambda row: (row["action"], row["reason"])):
        found.setdefault(row["action"], {})[row["reason"]] = row["count_all"]
    return found


def check_drops(settled: Any, pictures: int, *, force: bool) -> None:
    """Raise RecipeError for verdicts that would leave no picture."""
    import pyarrow as pa
    import pyarrow.compute as pc

    dropped = settled.filter(pc.is_in(settled["action"], value_set=pa.array(OUT)))
    if pictures and len(dropped) == pictures and not force:
        counted = dropped.group_by(["by", "reason"]).aggregate([([], "count_all")]).to_pylist()
        found = sorted((row["by"], row["reason"], row["count_all"]) for row in counted)
        causes = ", ".join(f"{by} {reason}: {number}" for by, reason, number in found)
        raise RecipeError(
            f"curate: the verdicts would drop all {pictures} pictures ({causes}); loosen the rule, or --force"
        )


def added_members(steps: Sequence[Detector | Decider], columns: Columns, store: Store) -> dict[str, str]:
    """Members that a release adds to its samples. Raises RecipeError if only some samples have one."""
    found = {}
    for step in steps:
        name = step.component_name()
        adds = step.adds if isinstance(step, Detector) and isinstance(step, AddsMembers) else {}
        for ending, column in adds.items():
            full = f"{name}.{column}"
            counted = [filled_rows(store, info, full) for parts in columns.parts(name) for info in parts]
            rows, filled = (sum(numbers) for numbers in zip((0, 0), *counted, strict=True))
            if 0 < filled < rows:
                raise RecipeError(f"curate.{name}: {column} must have content for every picture, or for none")
            if filled:
                found[ending] = full
    return found
