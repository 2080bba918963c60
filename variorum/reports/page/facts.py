"""Collect what a page shows about the whole edition: title, counts, findings, plots, and the files beside it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import yaml

from variorum.edition.editions import read_beside
from variorum.edition.store import Store
from variorum.reports.contents import summary_rows
from variorum.reports.figures import seen
from variorum.reports.ledger_figures import findings
from variorum.reports.page.parts import name_of
from variorum.reports.page.plots import funnel_plot, plots
from variorum.schemas.canonical import Json
from variorum.schemas.errors import StoreError
from variorum.schemas.manifest import Ledger, Manifest

LINKS = (
    ("card", "README.md"),
    ("contact sheet", "contact_sheet.png"),
    ("funnel", "funnel.png"),
    ("recipe", "recipe.yaml"),
)
"""Files beside an edition's manifest that its page links to."""
STATUSES = ("accepted", "quarantined", "ineligible", "failed", "withheld", "dropped")
TITLE = b"pretty_name:"
"""Line of a card's header with the title that the recipe gives."""
HEADER = 4096
"""Bytes of a card that are searched for its title."""
SENTENCES = 40
"""Findings that are shown."""


def facts_of(
    manifest: Manifest, rows: Any, waiting: Any, ledger: Ledger | None, store: Store, *, alone: bool = False
) -> dict[str, Json]:
    """The facts of an edition's page, except those about the choice of its rows.

    Args:
        manifest: the edition.
        rows: its `edition_rows`.
        waiting: final verdicts that aren't applied yet, or None.
        ledger: whose findings are shown.
        store: its store.
        alone: whether plots of evaluations, which lie beside the edition, are left out.
    """
    totals = Counter[str]()
    for row in summary_rows(manifest):
        totals.update({name: row.get(name, 0) for name in STATUSES})
    counts: list[Json] = [[name, totals[name]] for name in STATUSES if totals[name]]
    if waiting is not None:
        actions = Counter(waiting["action"].to_pylist())
        counts += [[f"verdict: {name}", number] for name, number in actions.most_common()]
    return {
        "kind": "edition",
        "title": name_of(manifest),
        "subtitle": title_of(manifest, store),
        "digest": manifest.digest(),
        "findings": [seen(line) for _, line in findings(ledger)[:SENTENCES]] if ledger else [],
        "counts": counts,
        "links": [],
        "plots": [funnel_plot(manifest, rows)] if alone else plots(manifest, rows, store),
    }


def title_of(manifest: Manifest, store: Store) -> str:
    """The title that an edition's card has from its recipe; `""` without one."""
    try:
        card = (read_beside(manifest, "README.md", store) or b"")[:HEADER]
        line = next((one for one in card.splitlines() if one.startswith(TITLE)), b"")
        found = yaml.safe_load(line.decode()) if line else None
    except (StoreError, yaml.YAMLError, ValueError, RecursionError):
        return ""
    title = found.get("pretty_name") if isinstance(found, dict) else None
    return seen(title) if isinstance(title, str) and title != manifest.dataset else ""


def links_of(manifest: Manifest, store: Store) -> list[Json]:
    """(what, file name) of the files beside the manifest that a page lying there links to."""
    from variorum.edition.editions import folder_of

    folder = folder_of(manifest, store)
    return [[what, name] for what, name in LINKS if store.fs.isfile(f"{folder}/{name}")]
