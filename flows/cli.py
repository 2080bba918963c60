"""The `variorum` command: its options, the commands of all `*_commands` modules by subject, and how it ends.

Only those modules, this one and the `terminal*` ones print; other modules log or return. `endings` has the exit codes.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
from collections.abc import Callable, Sequence
from functools import cache
from types import ModuleType
from typing import Annotated, NoReturn

import typer
from typer.main import get_command

from variorum import flows
from variorum.flows import (
    component_commands,
    doctor_commands,
    edition_commands,
    endings,
    export_commands,
    publish_commands,
    pull_commands,
    recipe_commands,
    report_commands,
    serve_commands,
    terminal,
    versions_commands,
)
from variorum.schemas.secrets import remember

DEBUG = "--debug"

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Generate variants of image datasets, record how each was made, and seal the result as a versioned edition.",
    epilog="Start with [bold]variorum run imagenet_e[/bold], then [bold]variorum show imagenet_e[/bold].\n\n"
    "Exit codes: 0 done, 1 an error in one line, 2 wrong usage, 3 a known picture, 4 a model "
    "below a limit, 70 a bug, 75 failed for now and may succeed later, "
    "130 stopped by Ctrl-C.",
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        terminal.say(f"variorum {version('variorum')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: Annotated[
        bool, typer.Option(DEBUG, envvar="VARIORUM_DEBUG", help="Show the traceback of an error.")
    ] = False,
) -> None:
    """Options before any command."""


PANELS: dict[str, tuple[ModuleType, ...]] = {
    "Make editions": (recipe_commands, serve_commands),
    "Test models": (report_commands,),
    "Inspect and manage editions": (edition_commands, versions_commands),
    "Share editions": (export_commands, publish_commands, pull_commands),
    "Ask people": (),
    "Set up": (component_commands, doctor_commands),
}
"""Modules with commands by the heading that help shows them under; those in folders name it in `PANEL`."""
for found in pkgutil.walk_packages(flows.__path__, "variorum.flows."):
    if found.name.endswith("_commands") and found.name.count(".") > 2:
        named = importlib.import_module(found.name)
        PANELS[named.PANEL] += (named,)
for panel, modules in PANELS.items():
    for module in modules:
        for one in (*module.commands.registered_commands, *module.commands.registered_groups):
            one.rich_help_panel = panel
        app.add_typer(module.commands)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line; every error ends in one line and an exit code, as `endings` says.

    Args:
        arguments: the words after `variorum`; by default those of this process.
    """
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")  # errors are printed here, once
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")  # they aren't lines
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = os.environ.get("VARIORUM_DEBUG", "") not in ("", "0") or DEBUG in words
    endings.one_line_each(debug=debug)
    remember([*words, *(word.partition("=")[2] for word in words), os.environ.get("VARIORUM_STORE", "")])
    try:
        result = _program()([word for word in words if word != DEBUG], standalone_mode=False, prog_name="variorum")
        code = result if isinstance(result, int) else endings.DONE
        if code == endings.STOPPED:  # typer has caught it
            raise KeyboardInterrupt
        sys.stdout.flush()
    except BaseException as error:
        code = endings.say(error, debug=debug)
    sys.exit(code)


@cache
def _program() -> Callable[..., object]:
    """The commands as one program, which takes longer to make than most commands that are refused take to run."""
    return get_command(app)


def command() -> NoReturn:
    """`main` as a process of its own: the script `variorum`."""
    try:
        main()
    except SystemExit as ended:
        endings.leave(ended.code if isinstance(ended.code, int) else endings.ERROR)
