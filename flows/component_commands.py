"""The command `components`: what recipes can name."""

from __future__ import annotations

from typing import Annotated

import typer

from variorum.flows import terminal
from variorum.flows.options import AsJson, examples

commands = typer.Typer()


@commands.command(epilog=examples("variorum components", "variorum components quality", "variorum components --json"))
def components(
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="Show all of this one: fields, columns, models.")] = "",
    as_json: AsJson = False,
) -> None:
    """List the components that recipes can name, with one line each and where they come from; or show one."""
    if name:
        from variorum.flows import reference

        terminal.print_markdown(reference.entry(name))
        return
    from variorum.schemas.catalogue import catalogue
    from variorum.schemas.lookup import OWN, broken_plugins, kinds

    rows = [
        {"part": one.part, "name": one.name, "kind": one.kind, "about": one.about, "from": one.origin}
        for one in catalogue()
    ]
    broken = [{"plugin": name, "problem": problem} for name, problem in broken_plugins()]
    if as_json:
        terminal.print_json({"components": rows, "broken": broken})
        return
    width = terminal.console().width
    for part in kinds():
        typer.secho(f"{part}:", bold=True)
        for row in (row for row in rows if row["part"] == part):
            origin = "" if row["from"] == OWN else f"  ({row['from']})"
            line = f"  {row['name']:<28}{row['about']}"
            terminal.say((line if len(line + origin) <= width else line[: width - len(origin) - 1] + "…") + origin)
    for item in broken:
        line = f"plugin {item['plugin']} can't be used: {item['problem']}"
        typer.secho(terminal.plain(line), fg="red", err=True)
