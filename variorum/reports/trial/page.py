"""The page of a trial: one HTML file without a script, with the contact sheets in it for a person to look at."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from variorum.machine.progress import duration
from variorum.pixels import UndecodableImage
from variorum.reports.one_file import one_file
from variorum.reports.page.thumbnails import thumbnail
from variorum.reports.trial.document import CHECKS, PAGE, Line, Trial

SIGNS = {"pass": "✓", "fail": "✗", "skipped": "–"}
WORDS = {"pass": "passed", "fail": "failed", "skipped": "skipped"}
MODELS = {"load": "loads", "answer": "answer", "batches": "batches", "cpu": "CPU", "half": "half", "sweep": "sizes"}
RECIPES = {"bare": "overhead", "processes": "processes", "gpus": "GPUs", "kill": "killed", "photographs": "pictures"}
"""Heads of the columns."""
SIDES = (1400, 1000, 700, 400)
"""Longer sides of a sheet in pixels: the first that is small enough is taken."""
MOST = 400_000
"""Bytes of a sheet in the page; all sheets together take ten megabytes at most."""
ALL = 10_000_000


@dataclass(frozen=True, slots=True)
class Subject:
    """A row of the page: a model or a recipe with its lines by check.

    Attributes:
        name: of the model's aliases, or of the recipe.
        lines: by check.
    """

    name: str
    lines: dict[str, Line]


def write_page(trial: Trial, folder: Path) -> Path:
    """Write the page of a trial into its folder, beside the sheets that it shows."""
    path = folder / PAGE
    fresh = folder / f"{PAGE}.part"
    fresh.write_text(page(trial, sheets(trial, folder)), "utf-8")
    fresh.replace(path)
    return path


def sheets(trial: Trial, folder: Path) -> dict[str, bytes]:
    """Each recipe's contact sheet as WebP, small enough for the page; those that can't be read are left out."""
    found: dict[str, bytes] = {}
    named = [line for line in trial.lines if line.check == "photographs" and isinstance(line.figures.get("sheet"), str)]
    room = min(MOST, ALL // max(1, len(named)))
    for line in named:
        path = folder / str(line.figures["sheet"])
        if not path.resolve().is_relative_to(folder.resolve()) or not path.is_file():
            continue
        data = path.read_bytes()
        for side in SIDES:
            try:
                small = thumbnail(data, side)
            except UndecodableImage:
                break
            if len(small) <= room:
                found[line.subject] = small
                break
    return found


def page(trial: Trial, shown: dict[str, bytes]) -> str:
    """Render the page."""
    lines = list(trial.lines)
    return one_file(
        "trial",
        images="data:",
        like="profile",
        scripted=False,
        trial=trial,
        title=f"Profile {trial.profile} on {trial.machine}",
        machine=[line for line in lines if line.check == "machine"],
        failed=[line for line in lines if line.state == "fail"],
        groups=[
            ("Models", MODELS, _subjects(lines, list(MODELS))),
            ("Recipes", RECIPES, _subjects(lines, list(RECIPES))),
        ],
        checks=CHECKS,
        signs=SIGNS,
        words=WORDS,
        duration=duration,
        sheets={name: f"data:image/webp;base64,{base64.b64encode(data).decode()}" for name, data in shown.items()},
        proposals=_proposals(lines),
    )


def _subjects(lines: Sequence[Line], checks: Sequence[str]) -> list[Subject]:
    found: dict[str, Subject] = {}
    for line in lines:
        if line.check in checks:
            found.setdefault(line.subject, Subject(line.subject, {})).lines[line.check] = line
    return list(found.values())


def _proposals(lines: Sequence[Line]) -> list[tuple[str, str]]:
    """What the trial suggests for the table of models and the table of known answers, by subject."""
    found = []
    for line in lines:
        proposed: Any = line.figures.get("proposed")
        if isinstance(proposed, dict):
            found.append((line.subject, ", ".join(f"{name} = {value!r}" for name, value in proposed.items())))
    return found
