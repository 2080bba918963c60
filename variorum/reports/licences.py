"""Combine an edition's licences: the licence for its card, obligations, refusals.

A licence is a set of conditions, and an edition has the union of those of its pictures, so another licence never
loosens what is asked. Pictures of different licences may stand beside each other in an edition, because each keeps its
own. One picture under several (`GPL-2.0-or-later AND CC-BY-4.0`) has the conditions of all of them, if they agree.

This is a reading of licence texts by rules, not legal advice; docs/guides/licences.md names the texts.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from variorum.reports.licence_facts import (
    ATTRIBUTION,
    BLOCKING,
    CHANGED,
    CHANGES,
    CONFLICT,
    HUB,
    JOINED,
    LIFTABLE,
    NO_DERIVATIVES,
    NON_COMMERCIAL,
    NOT_GIVEN,
    NOTICE,
    REFUSE_APACHE,
    SHARE_ALIKE,
    SOURCE,
    UNKNOWN,
    UNLISTED,
    USES,
    Facts,
    facts_of,
    parts_of,
)
from variorum.schemas.lookup import cut
from variorum.schemas.manifest import Manifest

SEVERAL = "as-listed-per-picture"
"""Name of the licence in the header of a card whose pictures have several, none of which covers the others."""
LONGEST_NAME = 96
OBLIGATIONS = {
    ATTRIBUTION: "name the authors and the licence, and say what was changed",
    NOTICE: "keep the notices of copyright and the licence's text",
    CHANGES: "say that a file was changed",
    SOURCE: "offer the source with it: what the picture was made from",
    SHARE_ALIKE: "adaptations go out under",
    NON_COMMERCIAL: "no commercial use",
    NO_DERIVATIVES: "pass pictures on as they are; no adaptations",
    USES: "the uses that the licence excludes stay excluded, for those who get it from you too",
}
"""By condition, what it asks in a sentence."""
LIFTS = ", or say who found out, and how, that they may be passed on"


@dataclass(frozen=True, slots=True)
class Terms:
    """The terms of several licences together.

    Attributes:
        most_restrictive: the Hub's id of the licence whose conditions include those of all others; `other` if none does
            or the Hub has no id for it, `unknown` if no licence is known.
        name: that licence as the pictures name it, or `SEVERAL`.
        publishable: whether the pictures may be passed on, as far as their licences say.
        why: if not, the licence, the number of pictures, the reason and the way out, in a line; else `""`.
        obligations: by condition, the number of pictures that have it, in the order of `OBLIGATIONS`.
        refused: by licence, why its pictures may not be passed on.
    """

    most_restrictive: str
    name: str
    publishable: bool
    why: str
    obligations: Mapping[str, int]
    refused: Mapping[str, str] = field(default_factory=dict)

    def header(self) -> dict[str, str]:
        """The fields `license…` of a card's YAML header."""
        if self.most_restrictive != "other":
            return {"license": self.most_restrictive}
        link = "" if self.name == SEVERAL else address(self.name)
        return {
            "license": "other",
            "license_name": re.sub("[^a-z0-9.]+", "-", self.name.lower()).strip("-")[:LONGEST_NAME] or SEVERAL,
            **({"license_link": link} if link.startswith("https://") else {}),
        }

    def said(self) -> dict[str, int]:
        """By obligation in a sentence, the number of pictures that have it."""
        return {_sentence(one): number for one, number in self.obligations.items()}


def combined(
    licences: Mapping[str, int], *, changed: bool = False, checked: str = "", outputs: Mapping[str, int] | None = None
) -> Terms:
    """Combine the licences of a collection in which each picture keeps its own.

    Adding a licence never takes an obligation or a refusal away, and the order says nothing.

    Args:
        licences: licence to number of pictures: SPDX ids, expressions with AND, OR and WITH, or other texts. Licences
            without a picture don't count.
        changed: whether pictures were edited. Licences without derivatives allow only pictures as they are.
        checked: who found out, and how, that pictures of unknown licences may be passed on. Such a statement lifts
            only refusals for lack of knowledge, never what a licence says.
        outputs: licences of models that bind those who use the models' pictures, with numbers of pictures.

    Returns:
        The terms. `publishable` is False if one picture may not be passed on.
    """
    found = {one: conditions(one, changed=changed) for one, number in licences.items() if number > 0}
    blocking = frozenset(BLOCKING) - (LIFTABLE if checked.strip() else frozenset())
    refused = {one: min(bad, key=_rank) for one in sorted(found) if (bad := found[one] & blocking)}
    totals = Counter[str]()
    for licence, asked in found.items():
        totals.update(dict.fromkeys(asked - BLOCKING.keys(), licences[licence]))
    for licence, number in (outputs or {}).items():
        bound = (known.conditions for part in parts_of(licence)[0] if (known := facts_of(part)))
        for condition in frozenset[str]().union(*bound) & {USES, NON_COMMERCIAL} if number > 0 else ():
            totals[condition] = max(totals[condition], number)
    covering = _covering(found, frozenset(totals))
    return Terms(
        most_restrictive=_hub_id(covering, found),
        name=covering or (SEVERAL if found else "unknown"),
        publishable=not refused,
        why=_why(refused, licences),
        obligations={one: totals[one] for one in sorted(totals, key=_place)},
        refused={licence: BLOCKING[why] for licence, why in refused.items()},
    )


def terms_of(manifest: Manifest, checked: str = "") -> Terms:
    """The terms of an edition's accepted pictures; see `combined`.

    Pictures count as changed if the edition has edited ones, and then all of them do: the manifest counts licences over
    both. Licences of models are those whose text binds the use of what the model makes.
    """
    bound = _output_licences(manifest)
    outputs = dict.fromkeys(bound, manifest.pictures())
    return combined(manifest.licences, changed=manifest.sources_edited > 0, checked=checked, outputs=outputs)


def conditions(licence: str, *, changed: bool = False) -> frozenset[str]:
    """List a licence's conditions for one picture, and reasons why it may not be passed on.

    Of alternatives (`MIT OR GPL-3.0-only`) the one that asks least is taken.
    """
    choices = [_together(parts, changed) for parts in parts_of(licence)]
    return min(choices, key=lambda one: (len(one & BLOCKING.keys()), len(one), sorted(one)))


def address(licence: str) -> str:
    """The page of a licence with an SPDX id on spdx.org; the text itself for others."""
    found = facts_of(licence)
    return f"https://spdx.org/licenses/{found.spdx}" if found and found.spdx == licence else licence


def _together(parts: tuple[str, ...], changed: bool) -> frozenset[str]:
    """Combine the licences of one picture."""
    known: list[Facts] = []
    found: set[str] = set()
    for part in parts:
        facts = facts_of(part)
        if facts is None:
            found.add(_unknown(part))
        else:
            known.append(facts)
            found |= facts.conditions
    alike = {facts.name: facts.adapted for facts in known if facts.adapted}
    if NO_DERIVATIVES in found:
        found |= {CHANGED} if changed else set()
        found |= {JOINED} if len({*parts}) > 1 else set()
    if alike:
        outcomes = frozenset.intersection(*alike.values())
        outcomes -= REFUSE_APACHE if any(facts.name == "Apache-2.0" for facts in known) else frozenset()
        outcomes = frozenset(name for name in outcomes if _carries(name, found))
        name = next(iter(alike)) if len(alike) == 1 else " or ".join(sorted(outcomes))
        found |= {f"{SHARE_ALIKE}: {name}"} if outcomes else {CONFLICT}
    return frozenset(found)


def _carries(name: str, asked: set[str]) -> bool:
    """Return whether adaptations under a licence keep the restrictions on use that a picture has."""
    facts = facts_of(name)
    return facts is not None and {NON_COMMERCIAL, USES} & asked <= facts.conditions


def _unknown(part: str) -> str:
    return NOT_GIVEN if "-".join(part.lower().split()) in UNKNOWN else UNLISTED


def _covering(found: Mapping[str, frozenset[str]], asked: frozenset[str]) -> str:
    """The only licence whose conditions include all that is asked; `""` if there is none, or more than one."""
    if any(one & BLOCKING.keys() for one in found.values()) and len(found) > 1:
        return ""
    names = [licence for licence, own in found.items() if asked <= own]
    return names[0] if len(names) == 1 else ""


def _hub_id(covering: str, found: Mapping[str, frozenset[str]]) -> str:
    if not found or not covering:
        return "other" if found else "unknown"
    facts = facts_of(covering)
    if facts is None:
        return "unknown" if NOT_GIVEN in found[covering] and parts_of(covering) == ((covering,),) else "other"
    return facts.hub if facts.hub in HUB else "other"


def _why(refused: Mapping[str, str], licences: Mapping[str, int]) -> str:
    if not refused:
        return ""
    licence = min(refused, key=lambda one: (_rank(refused[one]), one))
    number, reason = licences[licence], refused[licence]
    others = len(refused) - 1
    more = f" (and {others} other licence{'s' if others > 1 else ''})" if others else ""
    name = repr(cut(licence)) if licence.strip() else "no licence"
    lifts = LIFTS if reason in LIFTABLE else ""
    ways = f"leave them out with a rule on the column `licence` (docs/guides/licences.md){lifts}"
    return f"{number} picture{'s' if number != 1 else ''} with {name}: {BLOCKING[reason]}{more}; {ways}"


def _rank(reason: str) -> int:
    return list(BLOCKING).index(reason)


def _place(condition: str) -> tuple[int, str]:
    return list(OBLIGATIONS).index(condition.partition(":")[0]), condition


def _sentence(condition: str) -> str:
    kind, _, rest = condition.partition(":")
    return f"{OBLIGATIONS[kind]}{rest}"


def _output_licences(manifest: Manifest) -> list[str]:
    """Licences of the edition's models that bind the use of what they make, if this version of the table has them."""
    from variorum.models.table_entries import read_table

    table: Mapping[str, Any] = read_table(manifest.profile)
    there = ((table[alias][0], pin) for alias, pin in manifest.models.items() if alias in table)
    found = {entry.licence for entry, pin in there if pin.startswith(f"{entry.name}@")}
    return sorted(one for one in found if (facts := facts_of(one)) and USES in facts.conditions)
