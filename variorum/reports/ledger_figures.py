"""Figures and findings of a ledger's detectors and deciders, for cards, pages and the command line."""

from __future__ import annotations

from collections.abc import Collection

from variorum.reports.figures import Row, flat_figures
from variorum.reports.templates import templates
from variorum.schemas.manifest import Ledger

FINDINGS = "findings"
"""A step's figure that is a list of sentences."""


def findings(ledger: Ledger) -> list[tuple[str, str]]:
    """(step, sentence) for each finding of a step about the edition as a whole."""
    found = ((step, figures.get(FINDINGS)) for step, figures in ledger.figures.items())
    return [(step, str(line)) for step, lines in found if isinstance(lines, list) for line in lines]


def random_check(ledger: Ledger) -> str:
    """Say how many pictures the audit has drawn besides the questions, and how closely they tell the error rate."""
    if not (drawn := ledger.counts.get("audit", {}).get("drawn", 0)):
        return ""
    line = f"random check: {drawn:,} other picture{'s' if drawn > 1 else ''}"
    told = str(ledger.figures.get("audit", {}).get("state", "")).partition(", which ")[2]
    return f"{line}; together they {told}" if told else line


def step_figures(ledger: Ledger, known: Collection[str] = ()) -> list[Row]:
    """(step, figure, value) of the detectors and deciders that have no template; `known` has the templates."""
    return [
        (step, name.replace("_", " "), value)
        for step, found in ledger.figures.items()
        if f"_{step}" not in (known or templates())
        for name, value in flat_figures({name: found[name] for name in found if name != FINDINGS}, most=6)
    ]
