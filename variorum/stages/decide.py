"""Deciding: deciders turn columns into verdicts, which are settled to one per picture; and the review queue."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from variorum.edition.ledgers import put_ledger, put_queue
from variorum.edition.store import Store
from variorum.edition.tables import filled_rows, keep_verdicts, read_table
from variorum.machine.steady import hash_content
from variorum.schemas.canonical import Json, digest
from variorum.schemas.component import Component, Context, Decider, Detector
from variorum.schemas.errors import RecipeError
from variorum.schemas.manifest import Ledger, Manifest
from variorum.schemas.table import Table
from variorum.schemas.verdict import Action, Verdict
from variorum.stages.agreement import detector_figures
from variorum.stages.job import Job, code_of, compared_with, figures_of, pins
from variorum.stages.score import Columns, add_columns, picture_table

STRENGTH: Mapping[Action, int] = {"drop": 5, "review": 4, "relabel": 3, "weight": 2, "audit": 1, "keep": 0}
"""The stronger action wins if deciders differ. Review beats relabel, but not drop: damaged pictures need no review."""


def located(step: Component) -> dict[str, Json]:
    """A component's locations with the sha256 of the files there, because people's answers may have changed since."""
    found: dict[str, Json] = {}
    for name in sorted(step.location):
        value = getattr(step, name)
        places = value if isinstance(value, tuple | list) else [value]
        files = [Path(place) for place in places if place is not None and Path(place).is_file()]
        found[name] = [[str(place) for place in places], [hash_content(file) for file in files]]
    return found


def curation_key(job: Job, manifest: Manifest, *, force: bool) -> str:
    """Digest of all that decides a curation: the edition, every step, its models and its references."""
    ctx, steps = job.ctx, list[Json]()
    for step in job.recipe.curate:
        code, compared = code_of(type(step)), compared_with(step, ctx)
        steps.append([step.fingerprint(), code, pins(step, ctx), compared, located(step)])
    return digest(["curate", manifest.digest(), ctx.seed, steps, force])


def decide(
    job: Job, manifest: Manifest, columns: Columns, *, force: bool = False, table: Any = None
) -> tuple[int, Ledger]:
    """Verdicts and figures from all columns, kept as a numbered ledger.

    Raises:
        RecipeError: no picture would be left, unless forced; or a decider judged an unknown picture.
    """
    steps, ctx, store = job.recipe.curate, job.judging, job.store
    table = picture_table(manifest, store) if table is None else table
    for step in steps:
        table = add_columns(table, columns, step.component_name(), store, vectors=False)
    said: dict[str, list[Verdict]] = {}
    for late in (False, True):
        if late:
            table = add_verdicts(table, settle(verdict for found in said.values() for verdict in found))
        for step in steps:
            if isinstance(step, Decider) and step.reads_verdicts == late:
                name = step.component_name()
                said[name] = decided(step, Table(table, name), ctx)
    verdicts = [verdict for found in said.values() for verdict in found]
    settled = settle(verdicts)
    check_verdicts(settled.values(), table, force=force)
    figures = {}
    for step in steps:
        name = step.component_name()
        if found := figures_of(step, Table(table, name, verdicts=said.get(name, ())), ctx):
            figures[name] = found
    ledger = Ledger(
        edition=manifest.digest(),
        curate=[step.identity() for step in steps],
        models={alias: pin for step in steps for alias, pin in pins(step, ctx).items()},
        measured=columns.measured,
        scored=columns.scored,
        verdicts=keep_verdicts(verdicts, store),
        members=added_members(steps, columns, store),
        copies=[
            f"{step.component_name()}.{step.copies}" for step in steps if isinstance(step, Detector) and step.copies
        ],
        counts=action_counts(settled),
        figures=figures,
        detectors=detector_figures(table, manifest.classes),
    )
    number = put_ledger(manifest, ledger, store)
    put_queue(manifest, number, review_queue(verdicts, table), store)
    return number, ledger


def decided(decider: Decider, table: Table, ctx: Context) -> list[Verdict]:
    """A decider's verdicts. Raises RecipeError for anything else, and for an action that doesn't exist."""
    given, where = decider.decide(table, ctx), f"curate.{decider.component_name()}"
    found: list[Any] = list(given) if isinstance(given, Iterable) else [given]
    for verdict in found:
        if not isinstance(verdict, Verdict):
            kind = type(verdict).__name__
            raise RecipeError(f"{where}: decide gave {kind}; it must yield `table.verdict(row, action, reason)`")
        if verdict.action not in STRENGTH:
            raise RecipeError(f"{where}: no action {verdict.action!r}; there are: {', '.join(sorted(STRENGTH))}")
    return found


def check_classes(job: Job) -> None:
    """Raise RecipeError if the source has no classes and a step needs labels; called before any picture is made."""
    wanting = [step.component_name() for step in job.recipe.curate if step.needs_labels]
    if wanting and not job.recipe.source.classes(job.ctx):
        raise no_labels(f"source {job.recipe.source.component_name()} has no labels", wanting)


def no_labels(what: str, wanting: Sequence[str]) -> RecipeError:
    """The error for steps that need labels which aren't there."""
    without = " ".join(f"--set curate.{name}=null" for name in wanting)
    return RecipeError(
        f"{what}, which {', '.join(wanting)} need; leave them out with everything that needs them: {without}"
    )


def check_labels(job: Job, manifest: Manifest) -> None:
    """Raise RecipeError if no picture has a label and a step needs labels; called before measuring."""
    wanting = [step.component_name() for step in job.recipe.curate if step.needs_labels]
    if not wanting:
        return
    rows = read_table(job.store, manifest.rows, ["label", "status"]).to_pydict()
    labels = [label for label, status in zip(rows["label"], rows["status"], strict=True) if status == "accepted"]
    if not labels or max(labels) >= 0:
        return
    raise no_labels(f"no picture of {manifest.dataset}@{manifest.version} has a label", wanting)


def add_verdicts(table: Any, settled: Mapping[str, Verdict]) -> Any:
    """The table with `verdict.action` and `verdict.labels`, the verdicts settled so far."""
    import pyarrow as pa

    said = [settled.get(sample_id) for sample_id in table.column("id").to_pylist()]
    action = pa.array([verdict.action if verdict else "keep" for verdict in said], pa.string())
    labels = pa.array([" ".join(verdict.labels) if verdict else "" for verdict in said], pa.string())
    return table.append_column("verdict.action", action).append_column("verdict.labels", labels)


def settle(verdicts: Iterable[Verdict]) -> dict[str, Verdict]:
    """One verdict per picture: the strongest action, the first of equal ones.

    Deciders that propose different labels send the picture to review; weights multiply.
    """
    settled: dict[str, Verdict] = {}
    for verdict in verdicts:
        before = settled.get(verdict.id)
        if before is None or STRENGTH[verdict.action] > STRENGTH[before.action]:
            settled[verdict.id] = verdict
        elif before.action == verdict.action == "relabel" and before.labels != verdict.labels:
            settled[verdict.id] = replace(before, action="review", reason="labels_differ", labels=())
        elif before.action == verdict.action == "weight":
            settled[verdict.id] = replace(before, value=before.value * verdict.value)
    return settled


def action_counts(settled: Mapping[str, Verdict]) -> dict[Action, dict[str, int]]:
    """Number of pictures by action and reason."""
    pairs = Counter((verdict.action, verdict.reason) for verdict in settled.values())
    found: dict[Action, dict[str, int]] = {}
    for (action, reason), number in sorted(pairs.items()):
        found.setdefault(action, {})[reason] = number
    return found


def check_verdicts(settled: Any, table: Any, *, force: bool) -> None:
    """Raise RecipeError for verdicts on unknown pictures, and for verdicts that would leave no picture."""
    import pyarrow as pa
    import pyarrow.compute as pc

    settled, pictures = list(settled), len(table)
    rows = pc.index_in(pa.array([verdict.id for verdict in settled], pa.string()), value_set=table.column("id"))
    dropped: dict[tuple[str, str], int] = {}
    for verdict, sha256 in zip(settled, table.column("sha256").take(rows).to_pylist(), strict=True):
        if verdict.sha256 != sha256:
            raise RecipeError(
                f"curate.{verdict.by}: gave a verdict on {verdict.id}, which isn't a picture of the edition"
            )
        if verdict.action == "drop":
            cause = (verdict.by, verdict.reason)
            dropped[cause] = dropped.get(cause, 0) + 1
    if pictures and sum(dropped.values()) == pictures and not force:
        causes = ", ".join(f"{by} {reason}: {number}" for (by, reason), number in sorted(dropped.items()))
        raise RecipeError(
            f"curate: the verdicts would drop all {pictures} pictures ({causes}); loosen the rule, or --force"
        )


def added_members(steps: Sequence[Detector | Decider], columns: Columns, store: Store) -> dict[str, str]:
    """Members that a release adds to its samples. Raises RecipeError if only some samples have one."""
    found = {}
    for step in steps:
        name = step.component_name()
        adds = step.adds if isinstance(step, Detector) else {}
        for ending, column in adds.items():
            full = f"{name}.{column}"
            counted = [filled_rows(store, info, full) for parts in columns.parts(name) for info in parts]
            rows, filled = (sum(numbers) for numbers in zip((0, 0), *counted, strict=True))
            if 0 < filled < rows:
                raise RecipeError(f"curate.{name}: {column} must have content for every picture, or for none")
            if filled:
                found[ending] = full
    return found


def review_queue(verdicts: Iterable[Verdict], table: Any) -> str:
    """The review queue as CSV: one line per picture, most suspect first.

    Pictures on which deciders contradict each other come first, the audit's random sample comes last. In between,
    reasons are in the order of their first verdicts, because values of different reasons can't be compared. Within a
    reason, the highest value comes first. Pictures drawn for the audit are always in the queue; for a relabelled one,
    the new label is in question too.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    verdicts = list(verdicts)
    drawn = {verdict.id: verdict for verdict in verdicts if verdict.action == "audit"}
    settled = settle(verdicts)
    wanted = drawn | {name: verdict for name, verdict in settled.items() if verdict.action == "review"}
    names = ["id", "sha256", "variant", "labels", "origin"]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*names, "by", "reason", "value", "audit", "new_labels"])
    asked = pc.is_in(table.column("id"), value_set=pa.array(list(wanted), pa.string()))
    rows = table.select(names).filter(asked).to_pylist()
    turn: dict[tuple[str, str], int] = {}
    given: dict[str, int] = {}
    for place, verdict in enumerate(verdicts):
        turn.setdefault((verdict.by, verdict.reason), place)
        given.setdefault(verdict.id, place)

    def order(verdict: Verdict) -> tuple[bool, int, float, int]:
        value = math.inf if math.isnan(verdict.value) else -verdict.value
        return verdict.action == "audit", turn.get((verdict.by, verdict.reason), -1), value, given[verdict.id]

    rows.sort(key=lambda row: order(wanted[row["id"]]))
    for row in rows:
        verdict = wanted[row["id"]]
        value = "" if math.isnan(verdict.value) else f"{verdict.value:.6g}"
        cells = [row["id"], row["sha256"], row["variant"], " ".join(row["labels"] or ()), row["origin"]]
        new = plain(" ".join(settled[row["id"]].labels))
        writer.writerow([*map(plain, cells), verdict.by, verdict.reason, value, int(row["id"] in drawn), new])
    return out.getvalue()


def plain(text: str) -> str:
    """Text that a spreadsheet doesn't read as a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
