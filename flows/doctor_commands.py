"""The command `doctor`: which models are ready on this machine, and how to get the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from variorum.flows import terminal
from variorum.flows.endings import ERROR, LATER
from variorum.flows.options import AsJson, Overrides, Profile, ProfileName, examples, fetch_command
from variorum.schemas.errors import ModelUnavailable, TemporaryError, VariorumError
from variorum.schemas.extras import not_installed

if TYPE_CHECKING:
    from variorum.models import ModelTable
    from variorum.models.status import Status

commands = typer.Typer()
STAMPS = "stamps"
"""The photographs of source `samples`, which `doctor` lists and fetches beside the models."""


@commands.command(
    epilog=examples(
        "variorum doctor --for imagenet_e --profile hub --fetch",
        "variorum doctor --for imagenet_e --profile hub --try --out trial",
        "variorum doctor --fetch",
        "variorum doctor text_to_image safety_checker --profile hub --pin --fetch",
    )
)
def doctor(
    aliases: Annotated[
        list[str] | None,
        typer.Argument(metavar="ALIAS...", help="Only these models, optional ones too; stamps: sample photographs."),
    ] = None,
    profile: ProfileName = Profile.embedded,
    recipe: Annotated[
        str | None,
        typer.Option(
            "--for", metavar="RECIPE", help="Only the models that this recipe uses: its name, or a YAML file."
        ),
    ] = None,
    overrides: Overrides = None,
    pin: Annotated[bool, typer.Option("--pin", help="Look up the commits that the table doesn't fix.")] = False,
    fetch: Annotated[
        bool, typer.Option("--fetch", help="Download the weights that are missing; says first how much that is.")
    ] = False,
    try_all: Annotated[
        bool,
        typer.Option(
            "--try",
            help="Load each model, compare its answers, sweep batch sizes, and run recipes: one record and one page.",
        ),
    ] = False,
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="With --try: where record and page go.")] = Path(
        "trial"
    ),
    source: Annotated[
        str | None,
        typer.Option("--source", metavar="FOLDER", help="With --try: your photographs in place of the samples."),
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option("--picture", metavar="FILE", help="With --try: your copy of the picture of the known answers."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show which models are ready, what is missing, and how to get it. Only --pin and --fetch need a network.

    With --for it ends with 0 exactly when all that the recipe can't do without is ready.
    """
    from dataclasses import asdict

    from variorum.models import doctor as doctor_report
    from variorum.models.fetching import announced
    from variorum.reports.model_terms import model_terms
    from variorum.stages.job import models

    if (source or picture) and not try_all:
        raise typer.BadParameter("--source and --picture need --try")
    if try_all:
        if overrides or pin:
            raise typer.BadParameter("--try takes neither --set nor --pin: run --pin first, and give --for a file")
        from variorum.api.trial import Asked
        from variorum.flows.doctor_trial import try_profile

        wanted = Asked(
            profile.value,
            out,
            tuple(aliases or ()),
            (recipe,) if recipe else (),
            source=source,
            picture=picture,
            fetch=fetch,
        )
        if not try_profile(wanted, as_json=as_json):
            raise typer.Exit(1)
        return
    table = models(profile.value)
    asked = _asked(table, aliases or [], recipe, overrides or [])
    failed: dict[str, VariorumError] = {}
    unpinned = table.lock(asked.rows) if pin else {}
    rows = doctor_report(table, asked.rows)
    states = {row.alias: row.state for row in rows}
    missing = [alias for alias in asked.fetched if states[alias] not in ("ready", "unpinned")]
    if recipe or (aliases and fetch):
        for what, text in model_terms(table, asked.rows, asked.makers):
            terminal.say(f"{what}: {text}", err=fetch or as_json)
    if fetch:
        failed = _fetch(table, missing)
        changed = {*table.with_used(missing)}
        again = [alias for alias in asked.rows if changed & {*table.with_used([alias])}]
        fresh = {row.alias: row for row in doctor_report(table, again)}
        rows = [fresh.get(row.alias, row) for row in rows]
    elif recipe:
        for what, text in announced(table.downloads(missing), about=True):
            terminal.say(f"{what}: {text}", err=as_json)
    if STAMPS in (aliases or [] if recipe else aliases or [STAMPS]):
        if fetch and _stamps().state != "ready":
            failed |= _fetch_stamps()
        rows.append(_stamps())
    if as_json:
        said = asked.said if recipe else {}
        terminal.print_json([asdict(row) | ({"needed": said[row.alias]} if row.alias in said else {}) for row in rows])
    else:
        _print(rows, profile.value, asked.said if recipe else {})
        to_get = ("missing", "unpinned")
        left_out = [row for row in rows if recipe and not fetch and row.state in to_get and row.alias in asked.fetched]
        if left_out:
            pinned = all(row.state == "missing" for row in left_out)
            how = fetch_command(str(recipe), profile, overrides or (), aliases or (), pin=not pinned)
            terminal.say(f"download them: {how}")
        for row in rows:
            if row.state != "ready" and row not in left_out:
                unless = "" if row.alias in asked.needed else "optional; "
                terminal.say(f"{row.alias}: {unless}{failed.get(row.alias, unpinned.get(row.alias, row.way_out))}")
        if not (aliases or recipe) and (extras := not_installed()):
            terminal.say("extras that aren't installed:")
            for extra in extras:
                terminal.say(f"  {extra.purpose}: pip install 'variorum[{extra.name}]'")
    if left := [row.alias for row in rows if row.state != "ready" and row.alias in asked.needed]:
        passing = all(isinstance(failed.get(alias), TemporaryError) for alias in left)
        raise typer.Exit(LATER if passing else ERROR)


@dataclass(frozen=True, slots=True)
class _Asked:
    """The models that the command is about.

    Attributes:
        rows: aliases in the order of the table.
        fetched: those that `--fetch` downloads.
        needed: those without which the command doesn't end with 0.
        makers: those whose work is in a recipe's pictures.
        said: for a recipe, what each is for it.
    """

    rows: list[str]
    fetched: list[str]
    needed: set[str]
    makers: frozenset[str] = frozenset()
    said: Mapping[str, str] = field(default_factory=dict)


def _asked(table: ModelTable, aliases: list[str], recipe: str | None, overrides: list[str]) -> _Asked:
    named = [alias for alias in aliases if alias != STAMPS]
    if recipe is None:
        if overrides:
            raise typer.BadParameter("--set needs --for RECIPE")
        rows = named if aliases else table.aliases()
        needed = {alias for alias in rows if aliases or not table.entry(alias).optional} | {*aliases}
        return _Asked(rows, [alias for alias in rows if alias in needed], needed)
    from variorum.stages.needs import needs_of
    from variorum.stages.recipe_files import load_recipe

    needs = needs_of(load_recipe(recipe, overrides), table)
    said = dict.fromkeys(needs.optional, "optional") | dict.fromkeys((*needs.required, *named), "required")
    rows = list(dict.fromkeys((*needs.required, *named, *needs.optional)))
    by_name = {alias for alias in needs.optional if ":" not in alias and table.entry(alias).optional}
    needed = {alias for alias in rows if said[alias] == "required"} | {*aliases}
    return _Asked(rows, [alias for alias in rows if alias not in by_name - needed], needed, needs.makers, said)


def _fetch(table: ModelTable, missing: list[str]) -> dict[str, VariorumError]:
    """Download what is missing, after a line that says how much; gives by alias why something can't be had."""
    from variorum.models.fetching import announced, fetch_all, measured, without_room

    brought = [alias for alias in missing if ":" in alias]
    if missing:
        terminal.say("asking how much there is to download …", err=True)
    found = measured(table.downloads(alias for alias in missing if alias not in brought))
    for what, text in announced(found, about=False):
        terminal.say(f"{what}: {text}", err=True)
    if full := without_room(found):
        raise ModelUnavailable(full)
    failed: dict[str, VariorumError] = {one.alias: one.problem for one in found if one.problem}
    with terminal.progress("bytes") as shown:
        failed |= fetch_all(found, table.cache, shown)
    for alias in brought:
        try:
            table.fetch(alias)
        except VariorumError as error:
            failed[alias] = error
    return failed


def _fetch_stamps() -> dict[str, VariorumError]:
    from variorum.sources.exports.stamps import fetch_stamps

    terminal.say(f"fetching {STAMPS}", err=True)
    try:
        fetch_stamps()
    except VariorumError as error:
        return {STAMPS: error}
    return {}


def _print(rows: Sequence[Status], profile: str, said: Mapping[str, str]) -> None:
    """The models as a table; `said` is what each is for a recipe."""
    cells = [
        (
            row.alias,
            row.name if row.table == profile else f"{row.name} (from {row.table})",
            row.licence,
            f"{row.size / 1e6:.0f}",
            *((said.get(row.alias, ""),) if said else ()),
            f"{row.state}, answered" if row.answered else row.state,
        )
        for row in rows
    ]
    head = ("alias", "model", "licence", "MB", *(("needed",) if said else ()), "state")
    terminal.print_table(head, cells, f"profile {profile}")


def _stamps() -> Status:
    """The state of Tux Paint's stamps on this machine."""
    from variorum.models.status import Status
    from variorum.sources.exports import stamps

    folder = stamps.stamps_folder()
    state, way_out = ("ready", "") if folder else ("missing", f"fetch them with `{stamps.FETCH}`")
    where = str(folder or stamps.PACKAGE)
    return Status(STAMPS, "Tux Paint's stamps", "samples", where, stamps.LICENCE, stamps.SIZE, state, way_out)  # type: ignore[arg-type]
