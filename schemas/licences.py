"""Joins the licences of what a picture is made of into one SPDX expression."""

from __future__ import annotations

import re

GROUP = re.compile(r"\([^()]*\)")
AND = re.compile(r" AND (?![^()]*\))")
"""Outside brackets."""


def all_of(first: str, *others: str) -> str:
    """The terms of a picture made of several, as an SPDX expression that names each licence once, sorted.

    The first stays as it is if the others add nothing; `""` beside another one is `unknown`.
    """
    if all(one == first for one in others):
        return first
    # AND binds closer than OR
    whole = [f"({one})" if " OR " in GROUP.sub("", one) else one or "unknown" for one in (first, *others)]
    mine, *theirs = ({*AND.split(one)} for one in whole)
    added = set[str]().union(*theirs) - mine
    return " AND ".join(sorted(mine | added)) if added else first
