"""Print plans, editions, ledgers and differences on the terminal."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from variorum.flows import terminal
from variorum.flows.terminal import cell, print_shown, print_table, say

if TYPE_CHECKING:
    from variorum.edition.store import Store
    from variorum.reports.diff import Change
    from variorum.reports.ranks import Rank
    from variorum.reports.versions import Version
    from variorum.schemas.manifest import Ledger, Manifest
    from variorum.schemas.recipe import Recipe
    from variorum.stages.planned import Planned, Requests

SHOWN = ("class", "k", "variant", "prompt", "negative", "guidance", "strength", "steps", "seed", "reason")
"""Columns of a table of requests that `plan` shows."""
FEW = 12
"""Figures of detectors and deciders that a run prints; `variorum curate` prints all."""


def print_plan(planned: Planned) -> None:
    """Print what a run would do."""
    from variorum.schemas.lookup import own_code

    terminal.print_lines([*planned.lines(), *own_code()], planned.edition)


def print_requests(asked: Requests) -> None:
    """Number of pictures that a recipe asks for, the first ones, and the path of the whole table if it is kept."""
    from variorum.stages.requests import first_rows

    rows = first_rows(asked.info, asked.store, 5)
    shown = [name for name in SHOWN if any(row[name] not in (None, "") for row in rows)]
    values = [[f"{row[name]:g}" if isinstance(row[name], float) else row[name] for name in shown] for row in rows]
    print_table(shown, values, f"{asked.info.samples} pictures; the first:")
    if asked.kept:
        say(f"all rows: {asked.store.object(asked.info, '.parquet')}")


def summary(manifest: Manifest, store: Store) -> dict[str, Any]:
    """An edition for `--json`: name, digest, counts, verdicts, paths."""
    from variorum.edition.editions import folder_of
    from variorum.reports.contents import annotation_counts, summary_rows

    return {
        "edition": f"{manifest.dataset}@{manifest.version}",
        "digest": manifest.digest(),
        "was_signed_by": was_signed_by(manifest, store),
        "folder": folder_of(manifest, store),
        "variants": summary_rows(manifest),
        "splits": manifest.splits(),
        "configs": manifest.configs(),
        "formats": manifest.members,
        "objects": annotation_counts(manifest, store).objects.number,
        "sources": manifest.sources,
        "sources_edited": manifest.sources_edited,
        "verdicts": manifest.ledger.counts if manifest.ledger else None,
        "figures": manifest.ledger.figures if manifest.ledger else None,
    }


def was_signed_by(manifest: Manifest, store: Store) -> str:
    """Who had signed an edition when it was pulled; `""` if nobody had. Nothing is checked."""
    from variorum.edition.pulled import read_pulled

    pulled = read_pulled(manifest, store)
    return pulled.signed_by if pulled else ""


def was_signed(name: str, who: str) -> str:
    """What is said of a signature that isn't checked now."""
    return f"{name} was signed when pulled, by {who}; variorum verify {name} checks it"


def print_summary(manifest: Manifest, store: Store) -> None:
    """Counts and paths of an edition."""
    print_counts(manifest)
    print_contents(manifest, store)
    print_paths(manifest, store)


def print_counts(manifest: Manifest) -> None:
    """One row per variant: accepted, the other statuses, and the reasons."""
    from rich.table import Table

    from variorum.reports.contents import summary_rows

    table = Table(title=cell(f"{manifest.dataset}@{manifest.version}  {manifest.digest()[:16]}"), title_justify="left")
    rows = summary_rows(manifest)
    for name in rows[0] if rows else ():
        text = name in ("variant", "reasons")
        short = name if text else {"accepted": "ok", "quarantined": "quar.", "ineligible": "inel."}.get(name, name)
        table.add_column(cell(short), justify="left" if text else "right", no_wrap=name == "variant", overflow="fold")
    for row in rows:
        table.add_row(*map(cell, row.values()))
    if manifest.sources_edited:
        table.caption = f"{manifest.sources_edited} of {manifest.sources} sources have an accepted variant"
        table.caption_justify = "left"
    terminal.console().print(table)


def print_contents(manifest: Manifest, store: Store) -> None:
    """Pictures by configuration and split if there are several, the members of a sample, and the annotations."""
    from variorum.reports.contents import annotation_counts, formats, split_table

    if shown := split_table(manifest):
        print_table(shown.head, shown.rows, shown.title)
    pictures = formats(manifest)
    others = [member for member in manifest.members if member not in pictures]
    if manifest.members:
        say(f"members: {', '.join([' or '.join(pictures), *others])}")
    for name, count in annotation_counts(manifest, store).annotations:
        say(f"{name}: {count.number} in {count.pictures} pictures")


def print_paths(manifest: Manifest, store: Store) -> None:
    """Number of verdicts, the review queue, the card and the contact sheet, and how to load the edition."""
    from variorum.edition.editions import folder_of, release_number
    from variorum.edition.pulled import without
    from variorum.schemas.secrets import shown

    folder = folder_of(manifest, store)
    if manifest.ledger:
        said = ", ".join(f"{action} {sum(reasons.values())}" for action, reasons in manifest.ledger.counts.items())
        print_step_figures(manifest.ledger, most=FEW)
        say(f"verdicts: {said or 'none'}")
        number = release_number(manifest.version)
        if not without(manifest, store):
            print_queue(number or 0, manifest.ledger, folder.removesuffix(f"-r{number}"))
    print_card(manifest, store)
    if manifest.warning:
        say("content warning: pictures are shown blurred; on the Hub, switch on access requests before you upload them")
    if not store.local:
        say(f'load it: variorum.open("{manifest.dataset}@{manifest.version}", store="{shown(store.url)}").dataset()')
        return
    say(f'load it: datasets.load_dataset("{folder}")')
    if configs := list(manifest.configs()):
        named = f"one of {len(configs)} configurations" if len(configs) > 1 else "its configuration"
        say(f'load {named}: datasets.load_dataset("{folder}", "{configs[0]}")')


def print_finished(manifest: Manifest, store: Store) -> None:
    """Say that nothing is left to do for an edition: its digest, where its card lies, how to look at it."""
    from variorum.schemas.secrets import shown

    name = f"{manifest.dataset}@{manifest.version}"
    where = "" if store.url == "store" else f" --store {shlex.quote(shown(store.url))}"
    say(f"{name} is finished: {manifest.pictures():,} pictures, digest {manifest.digest()}")
    print_card(manifest, store)
    say(f"look at it: variorum show {name}{where}")


def print_card(manifest: Manifest, store: Store) -> None:
    """Paths of the card and the contact sheet."""
    from variorum.edition.editions import folder_of, read_beside

    folder = folder_of(manifest, store)
    place = folder if store.local else store.fs.unstrip_protocol(folder)
    for what, name in (("card", "README.md"), ("contact sheet", "contact_sheet.png")):
        if read_beside(manifest, name, store) is not None:
            say(f"{what}: {place}/{name}")


def print_evaluations(recipe: Recipe, manifest: Manifest, store: Store) -> None:
    """The main table of each evaluation, split to fit the terminal, and where to find the rest."""
    from variorum.edition.editions import folder_of, read_beside
    from variorum.reports.card import evaluation_tables, evaluations

    found = evaluations(recipe, manifest, store)
    tables = evaluation_tables(recipe, manifest, found)
    for shown in tables:
        print_shown(shown)
    if tables:
        there = read_beside(manifest, "README.md", store) is not None
        where = f"in {folder_of(manifest, store)}/README.md" if there else "in the card: `variorum card`"
        say(f"notes, intervals and all other figures {where}")
    for name, kept in found.items():
        models, unscored = kept["figures"].get("classifiers"), kept["figures"].get("unscored")
        by_model = [one for one in models.values() if isinstance(one, dict)] if isinstance(models, dict) else []
        if unscored and by_model and not any(one.get("n") for one in by_model):
            say(
                f"{name}: no figures, as none of the {unscored} pictures has a label that {', '.join(models)} knows; "
                f"take a model of your classes: variorum evaluate {manifest.dataset}@{manifest.version} --model NAME"
            )


def print_ledger(number: int, ledger: Ledger, manifest: Manifest, store: Store) -> None:
    """A ledger's number of pictures by action and reason, and the path of the review queue."""
    from rich.table import Table

    from variorum.edition.editions import folder_of

    table = Table(
        "action", "reason", title=cell(f"{manifest.dataset}@{manifest.version} ledger {number}"), title_justify="left"
    )
    table.add_column("pictures", justify="right")
    for action, reasons in ledger.counts.items():
        for reason, pictures in sorted(reasons.items(), key=lambda pair: -pair[1]):
            table.add_row(cell(action), cell(reason), str(pictures))
    terminal.console().print(table)
    print_step_figures(ledger)
    print_queue(number, ledger, folder_of(manifest, store))


def print_step_figures(ledger: Ledger, most: int = 1000) -> None:
    """Figures of the detectors and deciders, of more than `most` only where they are; and their findings."""
    from variorum.reports.ledger_figures import findings, step_figures

    rows = step_figures(ledger)
    if 0 < len(rows) <= most:
        print_table(("step", "figure", "value"), rows)
    elif rows:
        say(f"figures of {len(ledger.figures)} detectors and deciders: in the card")
    for step, line in findings(ledger):
        say(f"{step}: {line}")


def print_queue(number: int, ledger: Ledger, folder: str) -> None:
    """Path of the review queue, if it isn't empty, with its two parts: the questions, and the random check."""
    from variorum.reports.ledger_figures import random_check

    asked, drawn = ledger.counts.get("review", {}), ledger.counts.get("audit", {})
    if asked or drawn:
        controls = f", {drawn['gold']} controls" if "gold" in drawn else ""
        say(f"for people to look at: {folder}/ledgers/{number:04d}.review.csv")
        say(f"  questions: {sum(asked.values()):,}{controls}")
        if line := random_check(ledger):
            say(f"  {line}")


def print_diff(changes: list[Change], most: int) -> None:
    """Number of changes by kind and reason, then up to `most` single changes."""
    from rich.table import Table

    from variorum.reports.diff import change_counts

    if not changes:
        say("the same pictures with the same labels and annotations, in the same splits and configurations")
        return
    totals = Table("change", "why", title="changes", title_justify="left")
    totals.add_column("pictures", justify="right")
    for kind, why, number in change_counts(changes):
        totals.add_row(cell(kind), cell(why), str(number))
    terminal.console().print(totals)
    if most:
        listed = Table("change", "why", "variant", "labels or split", "origin", title="pictures", title_justify="left")
        for change in changes[:most]:
            before, after = " ".join(change.before), " ".join(change.after)
            what = f"{before} → {after}" if change.kind in ("relabelled", "moved") else before or after
            listed.add_row(*map(cell, (change.kind, change.why, change.variant, what, change.origin)))
        if len(changes) > most:
            listed.caption = f"{len(changes) - most} more; --list 0 for none, --json for all"
        terminal.console().print(listed)


def rank_record(rank: Rank) -> dict[str, Any]:
    """A rank for `--json`: its severity, the reasons, and what the version's number says."""
    return {"kind": "rank", **rank_fields(rank)}


def rank_fields(rank: Rank) -> dict[str, Any]:
    """The fields of a rank for `--json`."""
    return {"rank": rank.rank, "why": rank.why, "fits": rank.fits, "step": rank.step, "needed": rank.needed}


def print_rank(rank: Rank, later: Manifest) -> None:
    """A rank in one line, and a warning if the version's number promises a smaller change."""
    say(f"{rank.rank}: {rank.why}")
    if rank.fits is False:
        say(
            f"warning: {later.dataset}@{later.version} is a {rank.step} step, and this is a {rank.rank} change; the "
            f"number for it is {rank.needed}",
            err=True,
        )


def version_record(one: Version) -> dict[str, Any]:
    """One version for `--json`."""
    since = one.since
    return {
        "dataset": one.dataset,
        "version": one.version,
        "digest": one.digest,
        "sealed": one.sealed.isoformat(timespec="seconds") if one.sealed else None,
        "pictures": one.pictures,
        "withheld": one.withheld,
        "bytes": one.size,
        "current": one.current,
        "base": one.base,
        "since": {"version": since.before, **rank_fields(since.rank), "counts": since.counts} if since else None,
        "was_signed_by": one.was_signed_by,
        "problem": one.problem,
    }


def print_versions(found: list[Version], total: int, *, compared: bool) -> None:
    """A table of versions; the one that the dataset's name alone means has a star."""
    rows = []
    for one in found:
        name = f"{one.dataset}@{one.version}{' *' if one.current else ''}"
        if one.problem:
            rows.append((name, "", "", "", "", "", "", one.problem))
            continue
        change = f"{one.since.rank.rank} since {one.since.before}: {one.since.rank.why}" if one.since else ""
        sealed = f"{one.sealed:%Y-%m-%d %H:%M}" if one.sealed else ""
        numbers = (f"{one.pictures:,}", f"{one.withheld:,}", f"{one.size / 1e6:,.1f}")
        rows.append((name, one.digest[:12], sealed, *numbers, one.base, change))
    head = ("version", "digest", "sealed (UTC)", "pictures", "withheld", "MB", "of", "change")
    shown = len(head) if compared or any(one.problem for one in found) else len(head) - 1
    print_table(head[:shown], [row[:shown] for row in rows])
    say(f"{total / 1e6:,.1f} MB in all; * is what the dataset's name alone means")
    for one in found:
        if one.was_signed_by:
            say(was_signed(f"{one.dataset}@{one.version}", one.was_signed_by))
        if one.since and one.since.rank.fits is False:
            rank = one.since.rank
            say(f"warning: {one.dataset}@{one.version} is a {rank.step} step and a {rank.rank} change", err=True)
