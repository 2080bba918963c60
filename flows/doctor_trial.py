"""Run `variorum doctor --try`: all checks of a profile on this machine, told line by line."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from variorum.flows import terminal

if TYPE_CHECKING:
    from variorum.api.trial import Asked
    from variorum.reports.trial.document import Line


def try_profile(asked: Asked, *, as_json: bool) -> bool:
    """Make the trial, with its record and its page; False if a line failed."""
    from variorum.api.trial import trial
    from variorum.reports.trial.document import CHECKS, FILE, PAGE
    from variorum.reports.trial.page import SIGNS

    def tell(line: Line) -> None:
        terminal.say(f"{SIGNS[line.state]} {line.subject}: {CHECKS[line.check]}: {line.said}", err=as_json)

    with terminal.progress() as progress:
        found = trial(asked, shlex.join(words(asked)), tell, progress)
    if as_json:
        terminal.print_json(found.model_dump(mode="json"))
    passed, failed, skipped = (found.count(state) for state in ("pass", "fail", "skipped"))
    terminal.say(f"{passed} passed, {failed} failed, {skipped} skipped", err=as_json)
    terminal.say(f"page: {asked.out / PAGE}\nrecord: {asked.out / FILE}", err=as_json)
    return not failed


def words(asked: Asked) -> list[str]:
    """The command line that makes the same trial."""
    found = ["variorum", "doctor", *asked.aliases, "--profile", asked.profile, "--try", "--out", str(asked.out)]
    found += [word for recipe in asked.recipes for word in ("--for", recipe)]
    found += ["--source", asked.source] if asked.source else []
    found += ["--picture", str(asked.picture)] if asked.picture else []
    return found + (["--fetch"] if asked.fetch else [])
