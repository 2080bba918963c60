"""List what each licence asks, with its SPDX id and the Hub's id; docs/guides/licences.md says why.

A licence that isn't here is one whose terms nobody has checked, and so a reason not to publish.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

ATTRIBUTION = "attribution"
NOTICE = "notice"
CHANGES = "changes stated"
SOURCE = "source offered"
SHARE_ALIKE = "share alike"
NON_COMMERCIAL = "non-commercial"
NO_DERIVATIVES = "no derivatives"
USES = "use restrictions"

FORBIDDEN, CHANGED, JOINED, CONFLICT = "forbidden", "changed", "joined", "conflict"
RESEARCH, NOT_GIVEN, UNLISTED = "research", "not given", "unlisted"
BLOCKING = {
    FORBIDDEN: "it doesn't allow anybody to pass the pictures on",
    CHANGED: "it allows no adaptations, and the edition has edited pictures",
    JOINED: "it allows no adaptations, and the picture was joined from several works",
    CONFLICT: "an adaptation of works under these licences can't keep the terms of all of them",
    RESEARCH: "it speaks of research or of non-commercial use, and doesn't say whether pictures may be passed on",
    NOT_GIVEN: "nobody says under which terms the pictures may be passed on",
    UNLISTED: "its terms aren't known here",
}
"""Why pictures may not be passed on, the gravest reason first."""
LIFTABLE = frozenset((RESEARCH, NOT_GIVEN, UNLISTED))
"""Reasons that a person who has looked into the matter may overrule."""
UNKNOWN = frozenset(("", "unknown", "none", "none-given", "not-given", "noassertion", "n/a"))
"""Texts that name no licence."""
HUB_IDS = (
    "apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0 "
    "bigcode-openrail-m bsl-1.0 bsd-2-clause bsd-3-clause cc cc0-1.0 cc-by-2.0 cc-by-2.5 cc-by-3.0 "
    "cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 "
    "cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0 "
    "cdla-permissive-1.0 cdla-permissive-2.0 wtfpl etalab-2.0 agpl-3.0 gpl-2.0 gpl-3.0 lgpl-2.1 lgpl-3.0 "
    "isc odc-by odbl openrail++ postgresql ofl-1.1 ncsa unlicense zlib pddl unknown other "
)
HUB = frozenset(HUB_IDS.split())
"""The ids of the Hub (its documentation, page "Licenses") for licences that are here."""
LONGEST, MOST_PARTS, MOST_CHOICES = 1_000, 40, 32
"""Characters and words of an expression that is read, and alternatives in it; a larger one is an unknown licence."""


@dataclass(frozen=True, slots=True)
class Facts:
    """A licence.

    Attributes:
        name: one name for all ways to write it.
        conditions: what it asks; reasons of `BLOCKING` among them.
        adapted: names of the licences under which an adaptation may be published; empty if the licence doesn't say.
        hub: the Hub's id; `""` without one.
        spdx: the SPDX id; `""` without one.
    """

    name: str
    conditions: frozenset[str]
    adapted: frozenset[str] = frozenset()
    hub: str = ""
    spdx: str = ""


PERMISSIVE = {
    **dict.fromkeys(("CC0-1.0", "PDDL-1.0", "Unlicense", "0BSD", "MIT-0", "WTFPL", "CC-PDM-1.0"), frozenset[str]()),
    **dict.fromkeys(("MIT", "ISC", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0"), frozenset((NOTICE,))),
    **dict.fromkeys(("NCSA", "PostgreSQL", "CDLA-Permissive-1.0", "CDLA-Permissive-2.0"), frozenset((NOTICE,))),
    "Zlib": frozenset((NOTICE, CHANGES)),
    "Apache-2.0": frozenset((NOTICE, CHANGES)),
    **dict.fromkeys(("ODC-By-1.0", "etalab-2.0", "OGL-UK-3.0"), frozenset((ATTRIBUTION,))),
}
GPL2 = ("GPL-2.0-only", "GPL-2.0-or-later")
GPL3 = ("GPL-3.0-only", "GPL-3.0-or-later")
LGPL3 = ("LGPL-3.0-only", "LGPL-3.0-or-later")
ALIKE: dict[str, tuple[str, ...]] = {
    "GPL-2.0-only": (),
    "GPL-2.0-or-later": ("GPL-2.0-only", *GPL3),
    "GPL-3.0-only": (),
    "GPL-3.0-or-later": ("GPL-3.0-only",),
    "LGPL-2.1-only": GPL2,
    "LGPL-2.1-or-later": ("LGPL-2.1-only", *GPL2, *LGPL3, *GPL3),
    "LGPL-3.0-only": ("GPL-3.0-only",),
    "LGPL-3.0-or-later": ("LGPL-3.0-only", *GPL3),
    "AGPL-3.0-only": (),
    "AGPL-3.0-or-later": ("AGPL-3.0-only",),
    "ODbL-1.0": (),
    "CDLA-Sharing-1.0": (),
    "OFL-1.1": (),
    "LAL-1.3": ("CC-BY-SA-4.0",),
}
"""Licences that bind adaptations, without those of Creative Commons, and under which others these may be published."""
REFUSE_APACHE = frozenset(("GPL-2.0-only", "LGPL-2.1-only"))
"""Licences under which no adaptation of a work under Apache 2.0 can go out, by the Free Software Foundation's list."""
OLD = {"GPL-2.0": "GPL-2.0-only", "GPL-2.0+": "GPL-2.0-or-later", "GPL-3.0": "GPL-3.0-only"} | {
    "GPL-3.0+": "GPL-3.0-or-later",
    "AGPL-3.0": "AGPL-3.0-only",
    "LGPL-2.1": "LGPL-2.1-only",
    "LGPL-3.0": "LGPL-3.0-only",
}
"""Ids that SPDX has given up."""
VERSION = r"1\.0|2\.[015]|3\.0|4\.0"
"""Versions of Creative Commons' licences; 2.1 is of some countries only."""
COMMONS = re.compile(
    rf"cc-by((?:-(?:nc|nd|sa)){{0,2}})(?:-({VERSION}))?(?:-\(?(?:intl|international|unported|generic)\)?)?"
)
PORTED = re.compile(r"(cc-by(?:-(?:nc|nd|sa)){0,2}-(?!4)[0-9]\.[0-9])-([a-z]{2,3})")
"""Licences of one country, which there are up to version 3.0."""
SITE = r"(?:https?://)?(?:www\.)?creativecommons\.org/"
REST = r"(?:/[a-z.-]*)*(?:\?ref=[a-z0-9-]*)?"
ADDRESS = re.compile(rf"{SITE}licenses/(by[a-z-]*)/({VERSION})(?:/([a-z]{{2,3}})(?=[/?]|$))?{REST}")
DEDICATED = re.compile(rf"{SITE}publicdomain/(zero|mark)/1\.0{REST}")
IN_WORDS = re.compile(
    r"creative-commons-attribution((?:-(?:non-?commercial|no-?deriv(?:ative)?s?|share-?alike))*)(-.*)?"
)
"""A licence of Creative Commons with its elements in words."""
ELEMENT = re.compile("-(?:(non)|(no)|(share))[a-z]*(?:-(?:commercial|deriv|alike)[a-z]*)?")
USUAL = {
    **dict.fromkeys(("cc0", "cc-zero", "cc0-1.0-universal"), "cc0-1.0"),
    **{"odc-by": "odc-by-1.0", "odbl": "odbl-1.0", "pddl": "pddl-1.0"},
    **dict.fromkeys(("mit-license", "the-mit-license"), "mit"),
    **dict.fromkeys(("apache-2", "apache-license-2.0", "apache-license,-version-2.0"), "apache-2.0"),
}
"""Other names of licences, the Hub's ids among them, and the id in lower case."""
LATER = ("2.0", "2.1", "2.5", "3.0", "4.0")
"""Versions with a clause that lets adaptations be published under a later version; 1.0 has none."""
RAIL = (
    (re.compile(r"(?:creativeml-)?open-?rail\+\+(?:-m)?(?:-license)?"), "openrail++", "CreativeML Open RAIL++-M"),
    (re.compile(r"creativeml-open-?rail-m"), "creativeml-openrail-m", "CreativeML OpenRAIL-M"),
    (re.compile(r"bigscience-open-?rail-m"), "bigscience-openrail-m", "BigScience OpenRAIL-M"),
    (re.compile(r"bigscience-bloom-rail-1\.0"), "bigscience-bloom-rail-1.0", "BigScience BLOOM RAIL 1.0"),
    (re.compile(r"bigcode-open-?rail-m(?:-v1)?"), "bigcode-openrail-m", "BigCode OpenRAIL-M"),
    (re.compile(r"open-?rail(?:-m)?"), "openrail", "OpenRAIL"),
)
FREE = (
    (re.compile(r"(?:licenseref-)?public-domain(?:-mark)?(?:-1\.0)?"), "public domain", frozenset[str]()),
    (re.compile(r"imagenet(?:-.*)?"), "ImageNet terms of access", frozenset((NON_COMMERCIAL, FORBIDDEN))),
    (re.compile(r"(?:.*-)?all-rights-reserved\.?"), "all rights reserved", frozenset((FORBIDDEN,))),
    (
        re.compile(
            r"(?:for-)?(?:non-?commercial|academic|research)(?:-(?:and|or|use|research|educational|only|purposes))*"
        ),
        "research only",
        frozenset((NON_COMMERCIAL, RESEARCH)),
    ),
)
"""Texts that aren't ids, with the name and the conditions of what they mean."""
WORD = re.compile(r"\(|\)|[^()\s]+")
Choices = list[tuple[str, ...]]
"""Alternatives, each a tuple of licences that hold together."""


@lru_cache(maxsize=4096)
def facts_of(text: str) -> Facts | None:
    """Return the facts of one licence, however it is written; None if it isn't known.

    Args:
        text: an SPDX id, an address at Creative Commons, or the usual name of a licence. Not an expression.
    """
    if len(text) > LONGEST:
        return None
    plain = re.sub(r"[\s_-]+", "-", text.strip().lower())
    if found := ADDRESS.fullmatch(text.strip().lower()):
        plain = "-".join(part for part in ("cc", *found.groups()) if part)
    elif found := DEDICATED.fullmatch(text.strip().lower()):
        plain = {"zero": "cc0-1.0", "mark": "cc-pdm-1.0"}[found[1]]
    if found := IN_WORDS.fullmatch(plain):
        elements = ("nc" if one[1] else "nd" if one[2] else "sa" for one in ELEMENT.finditer(found[1]))
        plain = "-".join(("cc-by", *elements)) + (found[2] or "")
    plain = USUAL.get(plain, plain)
    if known := _LISTED.get(plain):
        return known
    if found := PORTED.fullmatch(plain):
        return _ported(found[1], found[2].upper())
    if found := COMMONS.fullmatch(plain):
        return _commons({*found[1].split("-")} - {""}, found[2] or "")
    for pattern, hub, name in RAIL:
        if pattern.fullmatch(plain):
            return Facts(name, frozenset((USES,)), hub=hub)
    return next((Facts(name, asked) for pattern, name, asked in FREE if pattern.fullmatch(plain)), None)


@lru_cache(maxsize=4096)
def parts_of(text: str) -> tuple[tuple[str, ...], ...]:
    """The alternatives of a licence expression, each a tuple of licences that hold together.

    Exceptions (`WITH …`) are left out, as they only loosen. A text that isn't an expression is one licence.
    """
    words = WORD.findall(text[: LONGEST + 1])
    whole = ((text,),)
    if len(text) > LONGEST or len(words) > MOST_PARTS or facts_of(text) or not {"AND", "OR", "WITH"} & {*words}:
        return whole
    try:
        found, end = _any(words, 0)
    except ValueError:
        return whole
    return tuple(dict.fromkeys(tuple(dict.fromkeys(one)) for one in found)) if end == len(words) else whole


def _any(words: list[str], at: int) -> tuple[Choices, int]:
    """The alternatives of `A OR B …` from a word on, and the word after it. Raises ValueError."""
    found, at = _all(words, at)
    while at < len(words) and words[at] == "OR":
        more, at = _all(words, at + 1)
        found = [*found, *more]
    if len(found) > MOST_CHOICES:
        raise ValueError("too many alternatives")
    return found, at


def _all(words: list[str], at: int) -> tuple[Choices, int]:
    """The same of `A AND B …`, which binds more tightly."""
    found, at = _one(words, at)
    while at < len(words) and words[at] == "AND":
        more, at = _one(words, at + 1)
        found = [one + other for one in found for other in more]
        if len(found) > MOST_CHOICES:
            raise ValueError("too many alternatives")
    return found, at


def _one(words: list[str], at: int) -> tuple[Choices, int]:
    """The same of a licence, which may be a name of several words, or of an expression in brackets."""
    if at < len(words) and words[at] == "(":
        found, at = _any(words, at + 1)
        if at >= len(words) or words[at] != ")":
            raise ValueError("a bracket isn't closed")
        return found, at + 1
    end = at
    while end < len(words) and words[end] not in ("AND", "OR", "WITH", "(", ")"):
        end += 1
    if end == at:
        raise ValueError("a licence is missing")
    name = " ".join(words[at:end])
    if end < len(words) and words[end] == "WITH":
        end += 2
        if end > len(words):
            raise ValueError("an exception is missing")
    return [(name,)], end


def _listed() -> Iterator[tuple[str, Facts]]:
    """(id in lower case, facts) of the licences with a list of their own."""
    for name, asked in PERMISSIVE.items():
        hub = {"ODC-By-1.0": "odc-by", "PDDL-1.0": "pddl"}.get(name, name.lower())
        yield name.lower(), Facts(name, asked, hub=hub, spdx=name)
    for name, others in ALIKE.items():
        asked = frozenset((NOTICE, SOURCE) if "GPL" in name else (ATTRIBUTION,) if name == "LAL-1.3" else (NOTICE,))
        hub = {"ODbL-1.0": "odbl"}.get(name, re.sub("-(only|or-later)$", "", name).lower())
        facts = Facts(name, asked, frozenset((name, *others)), hub, name)
        yield name.lower(), facts
        yield from ((old.lower(), facts) for old, new in OLD.items() if new == name)


def _commons(parts: set[str], version: str) -> Facts | None:
    """A licence of Creative Commons with attribution, by its other elements; `version` may be `""`."""
    if {"nd", "sa"} <= parts or version == "2.1":
        return None
    name = "CC-BY" + "".join(f"-{one.upper()}" for one in ("nc", "nd", "sa") if one in parts)
    asked = {ATTRIBUTION} | {says for one, says in (("nc", NON_COMMERCIAL), ("nd", NO_DERIVATIVES)) if one in parts}
    if not version:
        return Facts(name, frozenset(asked), frozenset((name,)) if "sa" in parts else frozenset(), hub="cc")
    whole, adapted = f"{name}-{version}", set[str]()
    if "sa" in parts:
        later = LATER[LATER.index(version) :] if version in LATER else (version,)
        adapted = {f"{name}-{one}" for one in later if one != "2.1"}
        if whole == "CC-BY-SA-4.0":
            adapted |= {"GPL-3.0-only", "LAL-1.3"}
    return Facts(whole, frozenset(asked), frozenset(adapted), whole.lower(), whole)


def _ported(plain: str, country: str) -> Facts | None:
    """The licence of one country, whose adaptations may also be published under later versions without one."""
    found = COMMONS.fullmatch(plain)
    facts = _commons({*found[1].split("-")} - {""}, found[2]) if found else None
    if facts is None:
        return None
    name = f"{facts.name}-{country}"
    adapted = {name, *(facts.adapted - {facts.name})} if facts.adapted else set[str]()
    return Facts(name, facts.conditions, frozenset(adapted), spdx=name)


_LISTED = dict(_listed())
