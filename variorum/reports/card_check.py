"""Check that the figures on a card are those of its edition. People may add to a card, and may not change a figure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from variorum.edition.editions import folder_of, read_beside
from variorum.edition.store import Store
from variorum.reports.card import render_figures
from variorum.reports.licences import terms_of
from variorum.schemas.errors import CorruptShard
from variorum.schemas.lookup import cut
from variorum.schemas.manifest import Manifest

LARGEST = 8 << 20
"""Bytes of a card that are looked at."""
FIGURE = re.compile(r"[0-9][0-9.,]*|–")
DIGEST = re.compile(r"digest `([0-9a-f]{64})`")
LICENCE = re.compile(r"^license: *['\"]?([^'\"\n]*)", re.MULTILINE)
HEADING = re.compile(r"^### ([a-z][a-z0-9_]{0,60})$", re.MULTILINE)
"""How a card heads the figures of an evaluation without a template of its own."""
REMEDY = "write it again with `variorum card`"


def check_card(manifest: Manifest, store: Store, rows: Any) -> list[str]:
    """Compare the figures of a card with those of the manifest, the rows, the ledger and the evaluations' files.

    A line of the card is compared if it differs from a line that this version writes in its figures alone. So text of
    people's own stays, and cards in the words of older versions pass. Plots, leaderboards and what is said of earlier
    versions aren't compared: they aren't of this edition alone.

    Returns:
        The problems, one line each; none if there is no card.
    """
    data = read_beside(manifest, "README.md", store)
    if data is None:
        return []
    path = f"{folder_of(manifest, store)}/README.md"
    text = data[:LARGEST].decode(errors="replace")
    if (named := DIGEST.search(text)) and named[1] != manifest.digest():
        return [f"{path}: it is about another edition, or another state of this one; {REMEDY}"]
    licence, wanted_licence = LICENCE.search(text.partition("\n---\n")[0]), terms_of(manifest).most_restrictive
    if licence and licence[1] not in ("other", wanted_licence):
        return [f"{path}: its licence is {cut(licence[1])!a}, and the pictures' is {wanted_licence}; {REMEDY}"]
    try:
        wanted = render_figures(manifest, store, rows, HEADING.findall(text))
    except CorruptShard as error:
        return [str(error)]
    odd = list(_odd(text, wanted))
    more = f", and {len(odd) - 1} more lines" if len(odd) > 1 else ""
    return [f"{path}: {cut(odd[0])!a}{more} isn't what the edition has; {REMEDY}"] if odd else []


def _odd(text: str, wanted: str) -> Iterator[str]:
    """Lines of a card that are like wanted ones but for their figures."""
    known: dict[str, set[str]] = {}
    for line in map(_plain, wanted.splitlines()):
        if any(sign.isdigit() for sign in line):
            known.setdefault(FIGURE.sub("#", line), set()).add(line)
    for line in map(_plain, text.splitlines()):
        if line not in known.get(FIGURE.sub("#", line), {line}):
            yield line


def _plain(line: str) -> str:
    return " ".join(line.split())
