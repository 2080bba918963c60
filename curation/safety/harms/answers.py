"""Makes opinions of what vision-language models write: JSON, status lines, single words, sentences.

UnsafeBench (Qu et al., CCS 2025, arXiv 2405.03486) asks a second model what the first one meant and draws the rest at
random. Here an answer counts where it is plain, and the labeler abstains otherwise: nothing is drawn, and silence is
never taken for safe. All functions are pure, and their time grows with the length of the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from variorum.curation.safety.harms.loose_json import Pairs, is_json, number_of, objects
from variorum.curation.safety.harms.wording import NO, WORDS, YES, refuses, regrets, verdict
from variorum.schemas.safety import Category, Heard, Opinion

LONGEST = 20_000
"""Characters of an answer; a longer one is no answer."""
KEPT = 4_000
"""Characters of an answer that are kept."""
SCORES = {"unsafe": 1.0, "safe": 0.0}
FENCE = re.compile(r"```[a-z]{0,10}", re.IGNORECASE)
STATUS = re.compile(r"safety status[*_ ]{0,4}[:=][*_\s]{0,4}(unsafe|safe)\b", re.IGNORECASE)
NAMED = re.compile(r"(?:unsafe )?categor(?:y|ies)[*_ ]{0,4}[:=]([^\n]{0,300})", re.IGNORECASE)
LINE = re.compile(
    r"[\s\-*•>#|]{0,20}(?:\(?(\d{1,2})[.):]\s{0,4})?([^:=\n|]{1,60}?)[\s*_]{0,6}(?:[:=|]|\s[-–—]\s)[\s*_]{0,6}([^\n|]{1,60})"
)
"""`3. Violence: no` and the like."""
BROKEN = re.compile(r"\{|\[\s*[{\[\"]")
"""How JSON begins; its words aren't sentences."""
ODD = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffd\ud800-\udfff]")
ODDEST = 0.05
"""Share of characters that aren't text, from which on an answer is noise."""
SAYS_UNSAFE, SAYS_SAFE = WORDS["says_unsafe"], WORDS["says_safe"]
SAYS_VERDICT, SAYS_NUMBER = WORDS["says_verdict"], WORDS["says_number"]
TRUE = YES | {"unsafe", "true", "present", "nsfw"}
FALSE = NO | {"safe", "false", "none", "absent", "notpresent", "notunsafe", "sfw"}


class Text(NamedTuple):
    """An answer without reasoning marks and code fences.

    Attributes:
        plain: what is left.
        touched: whether anything was taken out.
    """

    plain: str
    touched: bool


def one_verdict(text: str, name: str, *, tokens: int | None = None) -> Opinion:
    """Read an answer to "is this picture unsafe?".

    Args:
        text: the answer.
        name: what the question was about: a category's id, `any` or `control`.
        tokens: that it took; by default its words are counted.
    """
    found = _prepared(text)
    if found is None:
        return _opinion(text, {}, "abstain", tokens)
    plain, touched = found
    if bool(status := {one.casefold() for one in STATUS.findall(plain)}):
        score = SCORES[status.pop()] if len(status) == 1 else None
        return _opinion(text, {} if score is None else {name: score}, "ok" if not touched else "repaired", tokens)
    scores = {score for pairs in objects(plain) for score in _overall(pairs, name)}
    if scores:
        overall = scores.pop() if len(scores) == 1 else None
        return _opinion(text, {} if overall is None else {name: overall}, "repaired", tokens)
    return _of_words(text, plain, name, touched, tokens)


def many_verdicts(text: str, categories: Sequence[Category], *, tokens: int | None = None) -> Opinion:
    """Read an answer about several categories. A category that it leaves out has no score.

    Args:
        text: the answer, which should be JSON from category to a score.
        categories: in the order in which they were shown, for answers that number them.
        tokens: that it took; by default its words are counted.
    """
    found = _prepared(text)
    if found is None:
        return _opinion(text, {}, "abstain", tokens)
    plain, touched = found
    names = Names(categories)
    read = [pair for pairs in objects(plain) for pair in _pairs(pairs, names)]
    heard: Heard = "ok" if is_json(plain) and not touched and all(one for one, _, _ in read) else "repaired"
    if not any(one for one, _, _ in read):
        read, heard = [*_status_lines(plain, names)], "ok" if not touched else "repaired"
    if not any(one for one, _, _ in read):
        read, heard = [*_lines(plain, names)], "repaired"
    scores = _agreed(read)
    if scores:
        return _opinion(text, scores, heard, tokens)
    return _opinion(text, {}, "refusal" if refuses(plain) or regrets(plain) else "abstain", tokens)


class Names:
    """Finds a category by its id, its name, or its number in the list."""

    def __init__(self, categories: Sequence[Category]) -> None:
        self._numbered = [one.id for one in categories]
        meant: dict[str, set[str]] = {}
        for one in categories:
            for name in (one.id, one.name):
                meant.setdefault(_bare(name), set()).add(one.id)
        self._known = {name: ids.pop() for name, ids in meant.items() if len(ids) == 1}

    def find(self, said: str) -> str:
        """The id of what a text names; `""` if that is no category, or a name that several have."""
        text = said.strip().strip("()[]")
        if text in self._numbered:
            return text
        number = re.match(r"(\d{1,2})(?:[.):\s]+|$)", text)
        rest = _bare(text[number.end() :] if number else text)
        if rest:
            return self._known.get(rest, "")
        place = int(number[1]) if number else 0
        return self._numbered[place - 1] if 0 < place <= len(self._numbered) else ""

    @property
    def all(self) -> list[str]:
        """The ids, in the order shown."""
        return self._numbered


Read = tuple[str, float | None, bool]
"""A category's id or `""`, its score or None, and whether that was a number without a percent sign."""


def _prepared(text: str) -> Text | None:
    """The part of an answer to read; None if it is empty, too long, noise, or reasoning that doesn't end."""
    bare = text.strip()
    if not bare or len(bare) > LONGEST or len(ODD.findall(bare)) > ODDEST * len(bare):
        return None
    plain = bare
    if "</think>" in plain:
        plain = plain.rpartition("</think>")[2]
    elif "<think>" in plain:
        return None
    plain = FENCE.sub(" ", plain).strip()
    return Text(plain, plain != bare) if plain else None


def _of_words(text: str, plain: str, name: str, touched: bool, tokens: int | None) -> Opinion:
    """Read the verdict in the words of an answer."""
    if refuses(plain):
        return _opinion(text, {}, "refusal", tokens)
    said = None if BROKEN.match(plain) else verdict(plain)
    if said is None and regrets(plain):
        return _opinion(text, {}, "refusal", tokens)
    if said not in SCORES:
        return _opinion(text, {}, "abstain", tokens)
    as_asked = not touched and plain.casefold().strip(" .!*\"'`") in SCORES
    return _opinion(text, {name: SCORES[str(said)]}, "ok" if as_asked else "repaired", tokens)


def _overall(pairs: Pairs, name: str) -> Iterator[float | None]:
    """Read an object's verdict on the picture as a whole; None where that isn't plain."""
    for key, value in pairs.items:
        bare = _bare(key)
        if isinstance(value, Pairs):
            yield from _overall(value, name)
        elif bare in SAYS_UNSAFE or bare == _bare(name):
            score = _score(value)[0]
            yield score if score is not None and score <= 1 else None
        elif bare in SAYS_SAFE:
            yield _opposite(value)[0]
        elif bare in SAYS_VERDICT and isinstance(value, str):
            yield _score(value)[0] if _bare(value) in ("safe", "unsafe") else None


def _pairs(pairs: Pairs, names: Names) -> Iterator[Read]:
    """Read an object's verdict on each category; one without a category stands for anything else."""
    for key, value in pairs.items:
        name, bare = names.find(key), _bare(key)
        if name:
            yield (name, *(_within(value) if isinstance(value, Pairs) else _score(value)))
        elif isinstance(value, Pairs):
            yield from _pairs(value, names)
        elif isinstance(value, list) and all(isinstance(one, Pairs) for one in value):
            for one in value:
                yield from _entry(one, names)
        elif isinstance(value, list) and bare.removesuffix("categories") in SAYS_UNSAFE | SAYS_SAFE:
            score = 0.0 if bare.removesuffix("categories") in SAYS_SAFE else 1.0
            for one in value:
                yield names.find(str(one)), score, False
        else:
            yield "", None, False


def _entry(pairs: Pairs, names: Names) -> Iterator[Read]:
    """Read `{"category": "hate", "score": 0.1}`, or an object in a list that is like any other."""
    keys = ("category", "name", "id")
    named = [names.find(value) for key, value in pairs.items if _bare(key) in keys and isinstance(value, str)]
    if len(named) == 1 and named[0]:
        yield (named[0], *_within(pairs))
    else:
        yield from _pairs(pairs, names)


def _within(pairs: Pairs) -> tuple[float | None, bool]:
    """The score in a category's own object, such as `{"unsafe": true, "reason": "…"}`."""
    found: list[tuple[float | None, bool]] = []
    worded = any(_bare(key) in SAYS_SAFE | SAYS_UNSAFE | SAYS_VERDICT for key, _ in pairs.items)
    for key, value in pairs.items:
        bare = _bare(key)
        if bare in SAYS_SAFE:
            found.append(_opposite(value))
        elif bare in SAYS_UNSAFE | SAYS_VERDICT or (bare in SAYS_NUMBER and not worded):
            found.append(_score(value))
    sides = {None if score is None else score >= 0.5 for score, _ in found}
    return found[0] if len(sides) == 1 else (None, False)


def _status_lines(text: str, names: Names) -> Iterator[Read]:
    """Read `Safety Status: Unsafe, Unsafe Category: Violence`, the form that PerspectiveVision answers in."""
    found = {one.casefold() for one in STATUS.findall(text)}
    if len(found) != 1:
        return
    parts = [part.strip(" .*_") for line in NAMED.findall(text) for part in re.split("[,;]", line)]
    named = [one for part in parts for one in ([part] if names.find(part) else re.split(r"\band\b", part))]
    named = [one for one in named if _bare(one) not in ("", "none", "na", "null")]
    ids = [name for one in named if (name := names.find(one))]
    if found == {"safe"} and not named:
        for name in names.all:
            yield name, 0.0, False
    elif found == {"unsafe"}:
        for name in ids:
            yield name, 1.0, False


def _lines(text: str, names: Names) -> Iterator[Read]:
    """Read lines such as `3. Violence: no`."""
    for line in text.splitlines():
        found = LINE.match(line)
        if found and (name := names.find(found[2]) or (names.find(found[1] or "") if not _bare(found[2]) else "")):
            yield (name, *_score(found[3].strip(" .,;*_")))


def _opposite(value: Any) -> tuple[float | None, bool]:
    """As `_score`, of a value that says how safe the picture is; `safe` and `unsafe` say nothing there."""
    score, loose = _score(value)
    if score is None or score > 1 or (isinstance(value, str) and _bare(value) in SCORES):
        return None, False
    return 1 - score, loose


def _score(value: Any) -> tuple[float | None, bool]:
    """The score that a value stands for, and whether it is a bare number; None for what isn't plain."""
    if isinstance(value, bool):
        return float(value), False
    if isinstance(value, int | float):
        return (float(value), True) if value >= 0 else (None, False)
    if not isinstance(value, str):
        return None, False
    if (number := number_of(value)) is not None:
        percent = value.strip().endswith("%")
        return (number, not percent) if number >= 0 and not (percent and number > 1) else (None, False)
    bare = _bare(value)
    return (1.0 if bare in TRUE else 0.0 if bare in FALSE else None), False


def _agreed(read: Sequence[Read]) -> dict[str, float]:
    """One score for each category of which all that was read says the same.

    Where a bare number exceeds 1, the scale of all bare numbers is unknown, and none of them counts.
    """
    unknown = any(loose and score is not None and score > 1 for _, score, loose in read)
    found: dict[str, set[float | None]] = {}
    for name, score, loose in read:
        if name:
            found.setdefault(name, set()).add(None if loose and unknown else score)
    single = {name: scores.pop() for name, scores in found.items() if len(scores) == 1}
    return {name: score for name, score in single.items() if score is not None}


def _opinion(text: str, scores: dict[str, float], heard: Heard, tokens: int | None) -> Opinion:
    """The opinion; without a score it is no usable answer."""
    if not scores and heard in ("ok", "repaired"):
        heard = "abstain"
    kept = ODD.sub("\ufffd", text.strip()[:KEPT])
    return Opinion(scores, heard, kept, len(text.split()) if tokens is None else tokens)


def _bare(text: str) -> str:
    """A name without case, spaces and signs."""
    return re.sub(r"[\W_]+", "", text.casefold().replace("&", "and"))
