"""The command that makes a file of secret watermark keys: keys."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from variorum.flows import terminal
from variorum.flows.options import AsJson, examples

PANEL = "Set up"
commands = typer.Typer()


@commands.command(epilog=examples("variorum keys watermark.keys", "variorum keys watermark.keys --check"))
def keys(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file with the secret.")],
    check: Annotated[bool, typer.Option("--check", help="Only read the file, and print its id.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a file of secret watermark keys, which only you can read; or check one. Recipes name it in `keys`.

    Editions hold the id of their keys, which says nothing of the secret. Keep the file: without it no mark is found.
    """
    from variorum.generators.watermark.watermarking.keys import new_keys, read_keys

    found = read_keys(file) if check else new_keys(file)
    if as_json:
        terminal.print_json({"file": str(file), "id": found.id})
        return
    terminal.say(f"{'keys' if check else 'new keys'} in {file}, id {found.id}")
