"""The commands on a store as a whole: versions, gc."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from variorum.edition.opening import existing
from variorum.flows import terminal, terminal_editions
from variorum.flows.options import AsJson, StoreUrl, examples

if TYPE_CHECKING:
    from variorum.edition.gc import Unnamed

commands = typer.Typer()

SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
AGE = re.compile(r"([0-9]{1,6})([smhdw]?)")


def _age(text: str) -> str:
    if not AGE.fullmatch(text):
        raise typer.BadParameter("isn't an age; give a number with s, m, h, d or w: 7d")
    return text


@commands.command(epilog=examples("variorum versions", "variorum versions imagenet_e --json"))
def versions(
    dataset: Annotated[str, typer.Argument(metavar="[DATASET]", help="Only this dataset, with what changed.")] = "",
    store: StoreUrl = "store",
    as_json: AsJson = False,
) -> None:
    """List the editions and releases of a store: digest, date, pictures, size, and the one in use.

    For one dataset each version is compared with the one before it: major, minor or patch, and why.
    """
    from variorum.reports.versions import total_size
    from variorum.reports.versions import versions as find_versions

    where = existing(store)
    found = find_versions(where, dataset)
    if as_json:
        terminal.print_json([terminal_editions.version_record(one) for one in found])
    elif found:
        terminal_editions.print_versions(found, total_size(found, where), compared=bool(dataset))
    else:
        terminal.say(f"no edition in {store} yet; make one with: variorum run imagenet_e")


@commands.command(epilog=examples("variorum gc", "variorum gc --older 7d --delete"))
def gc(
    store: StoreUrl = "store",
    older: Annotated[
        str, typer.Option("--older", metavar="AGE", callback=_age, help="Keep what is younger: 12h, 7d, 0.")
    ] = "1d",
    unfinished: Annotated[
        bool,
        typer.Option(
            "--unfinished", help="Also the pictures of unfinished builds and of replaced or deleted editions."
        ),
    ] = False,
    delete: Annotated[
        bool, typer.Option("--delete", help="Remove the files; without it they are only counted.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Count the files of a store that no edition, ledger, panel or finished work names; with --delete, remove them.

    Finished work of builds that were stopped is kept, because the same command continues from it.
    """
    from variorum.edition.gc import collect, unnamed

    found = AGE.fullmatch(older)
    assert found
    seconds = int(found[1]) * SECONDS[found[2]]
    files = (collect if delete else unnamed)(existing(store, writable=delete), seconds, unfinished=unfinished)
    kinds = _by_kind(files)
    size = sum(file.size for file in files)
    if as_json:
        terminal.print_json({"deleted": delete, "files": len(files), "bytes": size, "kinds": kinds})
        return
    if files:
        rows = [
            (kind, f"{of['files']:,}", f"{of['bytes'] / 1e6:,.1f}", _ago(of["newest"]), _ago(of["oldest"]))
            for kind, of in kinds.items()
        ]
        terminal.print_table(("files", "number", "MB", "newest", "oldest"), rows)
    counted = f"{len(files):,} file{'s' if len(files) > 1 else ''}, {size / 1e6:,.1f} MB"
    if not files:
        terminal.say(f"nothing to remove that is older than {older}")
    elif delete:
        terminal.say(f"removed {counted}")
    else:
        terminal.say(f"{counted} would be removed; do it with --delete")


def _by_kind(files: list[Unnamed]) -> dict[str, dict[str, Any]]:
    """By kind, number, bytes, and the age in seconds of the newest and the oldest file."""
    now = time.time()
    found: dict[str, dict[str, Any]] = {}
    for file in files:
        of, age = found.setdefault(file.kind, {"files": 0, "bytes": 0}), max(0, round(now - file.changed))
        of["files"] += 1
        of["bytes"] += file.size
        of["newest"], of["oldest"] = min(age, of.get("newest", age)), max(age, of.get("oldest", age))
    return found


def _ago(seconds: int) -> str:
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{seconds} seconds"
