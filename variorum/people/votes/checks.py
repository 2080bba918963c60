"""Checks of a vote that need no database."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator
from typing import Any

from variorum.schemas.vote import ANSWERS, BLIND, CATEGORIES, KINDS, REASONS, SEVERITIES, TOGETHER, Vote

NAME, COMMENT, SUBJECT, ID = 100, 2000, 500, 64
"""The longest texts, in characters."""
LONGEST = 30 * 24 * 3600.0
"""Seconds that an answer can take: a page may stay open for weeks."""
FARTHEST = 1e7
"""Pixels that a corner of a box can be away from the picture's."""
NUMBER = re.compile(r"[0-9A-Za-z._:-]{1,64}")
SHA256 = re.compile(r"[0-9a-f]{64}")
TEXTS = ("vote", "kind", "id", "sha256", "subject", "reviewer", "answer", "category", "severity", "reason", "comment")


def fault(vote: Vote) -> tuple[str, str]:
    """The first field of a vote that can't be right, and a sentence that says why; twice `""` for none."""
    return next(_faults(vote), ("", ""))


def _faults(vote: Vote) -> Iterator[tuple[str, str]]:
    for name in (*TEXTS, "replaces"):
        if not isinstance(getattr(vote, name), str):
            yield name, f"{name} is {_cut(getattr(vote, name))}, which isn't text"
            return
    yield from _of_texts(vote)
    yield from _of_words(vote)
    yield from _of_numbers(vote)


def _of_texts(vote: Vote) -> Iterator[tuple[str, str]]:
    for name in ("vote", "replaces"):
        value = getattr(vote, name)
        if not (NUMBER.fullmatch(value) or (not value and name == "replaces")):
            yield name, f"the vote's {name!r} is {_cut(value)}; it is a UUID, or at most 64 letters, digits and . _ : -"
    if not SHA256.fullmatch(vote.sha256):
        yield "sha256", f"sha256 is {_cut(vote.sha256)}; it has 64 digits from 0 to f"
    for name, longest in (("id", ID), ("subject", SUBJECT), ("reviewer", NAME), ("comment", COMMENT)):
        value = getattr(vote, name)
        if len(value) > longest:
            yield name, f"{name} has {len(value)} characters; at most {longest} are kept"
        if unfit := unfit_character(value, lines=name == "comment"):
            yield name, f"{name} contains the character {unfit}, which can't be kept"
    for name in ("id", "reviewer"):
        if not getattr(vote, name).strip():
            yield name, f"{name} is empty"


def _of_words(vote: Vote) -> Iterator[tuple[str, str]]:
    allowed: dict[str, tuple[str, ...]] = {
        "kind": KINDS,
        "answer": ANSWERS,
        "category": ("", *CATEGORIES),
        "severity": ("", *SEVERITIES),
        "reason": ("", *REASONS.get(vote.kind, ())),
    }
    for name, words in allowed.items():
        if getattr(vote, name) not in words:
            those = ", ".join(word for word in words if word) or "none for this kind of question"
            yield name, f"{name} is {_cut(getattr(vote, name))}; known are {those}"
    if vote.kind == "problem" and vote.subject:
        yield "subject", f"subject is {_cut(vote.subject)}; a problem is one of the whole picture and has none"


def _of_numbers(vote: Vote) -> Iterator[tuple[str, str]]:
    if isinstance(vote.round, bool) or vote.round not in (BLIND, TOGETHER):
        yield "round", f"round is {_cut(vote.round)}; it is {BLIND} for a vote given alone, {TOGETHER} for a decision"
    seconds = vote.seconds
    if not _is_number(seconds) or not (math.isnan(seconds) or 0 <= seconds <= LONGEST):
        yield "seconds", f"seconds is {_cut(seconds)}; it lies between 0 and {LONGEST:.0f}, or is NaN if unknown"
    if not _is_number(vote.at) or not 0 <= vote.at < 1e11:
        yield "at", f"at is {_cut(vote.at)}; it is in seconds since 1970"
    box: Any = vote.box
    if box is None:
        return
    if not isinstance(box, (list, tuple)) or len(box) != 4 or not all(_is_number(edge) for edge in box):
        yield "box", f"box is {_cut(box)}; it is left, top, width and height in pixels"
    elif not all(math.isfinite(edge) and abs(edge) <= FARTHEST for edge in box) or min(box[2:]) <= 0:
        yield "box", f"box is {_cut(box)}; its four numbers are finite, and width and height are above 0"


def unfit_character(text: str, *, lines: bool = False) -> str:
    """The first character, by its code point, that can't be kept or shown; `""` for none.

    Control characters, lone surrogates and marks that turn the direction of writing are unfit.

    Args:
        text: any text.
        lines: allow tabs and ends of lines.
    """
    if text.isprintable():
        return ""
    for one in text:
        if lines and one in "\t\n\r":
            continue
        category = unicodedata.category(one)
        turns = one in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069" and not lines
        if category in ("Cc", "Cs") or turns or one in "\u2028\u2029":
            return f"U+{ord(one):04X}"
    return ""


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _cut(value: object) -> str:
    shown = ascii(value)
    return shown if len(shown) <= 80 else f"{shown[:79]}…"
