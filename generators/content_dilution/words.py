"""Words and keywords of a text, by counting: no model, and for English alone.

Keywords are found after RAKE (Rose et al., Automatic Keyword Extraction from Individual Documents, 2010): runs of words
between stop words and punctuation. They are ranked by how often their words occur and by how early they come, as a
caption has too few words for RAKE's own score.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from variorum.kit.prompts.subjects import plural

WORD = re.compile(r"[^\W\d_]+(?:['\u2019-][^\W\d_]+)*")
"""Letters, with apostrophes and hyphens inside."""
ADDRESS = re.compile(r"(?:https?://|www\.)\S+|@\w+", re.IGNORECASE)
"""What has letters and isn't a word: addresses of pages, names of accounts."""
LONGEST = 3
"""Words of a keyword; the last ones of a longer run, as English puts the noun last."""
OWNED = re.compile(r"['\u2019]s$")
"""End of a word in the genitive: the cat's."""
LATIN = 0.5
"""Share of Latin letters among a text's letters from which it counts as written in them."""


@lru_cache(maxsize=1024)
def words(text: str) -> tuple[str, ...]:
    """The words of a text in lower case, without addresses of pages.

    Parts with a hyphen between them are words of their own, and `cat's` is `cat`.
    """
    found = WORD.findall(ADDRESS.sub(" ", _composed(text)).casefold())
    return tuple(OWNED.sub("", part) for word in found for part in word.split("-"))


def latin(text: str) -> bool:
    """Return whether at least half of a text's letters are Latin. True for a text without letters."""
    letters = [letter for letter in text if letter.isalpha()]
    return sum(_is_latin(letter) for letter in letters) >= LATIN * len(letters)


def keywords(text: str, most: int) -> list[str]:
    """Up to `most` keywords of an English text, the best first, in lower case unless a word has capitals inside it.

    A keyword of which a better one has a word is left out.
    """
    plain = ADDRESS.sub(" . ", _composed(text))
    found = _runs(plain)
    counts = Counter(word.casefold() for run in found for word in run)
    ranked = sorted(
        range(len(found)),
        key=lambda place: (
            -sum(counts[word.casefold()] for word in found[place]) / len(found[place]) * (1 - 0.5 * place / len(found)),
            place,
        ),
    )
    chosen: list[str] = []
    taken: set[str] = set()
    for place in ranked:
        run = found[place]
        if not taken & {word.casefold() for word in run} and len(chosen) < most:
            chosen.append(" ".join(_lowered(word) for word in run))
            taken |= {word.casefold() for word in run}
    return chosen


def contains(text: tuple[str, ...], phrase: tuple[str, ...]) -> bool:
    """Return whether the words of a phrase follow each other in those of a text; the last may be plural in either."""
    *_, last = phrase
    start, before = len(phrase) - 1, phrase[:-1]
    return any(_same(word, last) and text[place : place + start] == before for place, word in enumerate(text[start:]))


def new_labels(added: str, original: str, labels: tuple[str, ...]) -> list[str]:
    """Names of classes that are in the text that was added and not in the original one.

    A class may have several names, divided by commas. Plurals count too, and so do singulars of names in the plural.
    """
    now, before = words(added), words(original)
    by_last = _by_last_word(labels)
    found = {
        label
        for word in {form for word in now for form in _forms(word)}
        for label, name in by_last.get(word, ())
        if contains(now, name) and not contains(before, name)
    }
    return sorted(found)


@lru_cache(maxsize=1)
def stopwords() -> frozenset[str]:
    """Words that end a keyword, among them verbs that captions are full of: `sitting`, `holding`."""
    return frozenset(Path(__file__).with_name("stopwords.txt").read_text(encoding="utf-8").split())


@lru_cache(maxsize=1024)
def _by_last_word(labels: tuple[str, ...]) -> Mapping[str, list[tuple[str, tuple[str, ...]]]]:
    """Each class and the words of one of its names, by the last word of that name and by its plurals."""
    found: dict[str, list[tuple[str, tuple[str, ...]]]] = {}
    for label in labels:
        for part in label.replace("_", " ").split(","):
            if name := words(part):
                for form in _forms(name[-1]):
                    found.setdefault(form, []).append((label, name))
    return found


@lru_cache(maxsize=4096)
def _is_latin(letter: str) -> bool:
    return unicodedata.name(letter, "").startswith(("LATIN", "FULLWIDTH LATIN"))


def _runs(text: str) -> list[list[str]]:
    """The runs of words between stop words, punctuation and digits, at most `LONGEST` words each."""
    found: list[list[str]] = [[]]
    end = 0
    for match in WORD.finditer(text):
        word = match[0]
        if text[end : match.start()].strip(" \t\n"):
            found.append([])
        end = match.end()
        if word.casefold().partition("'")[0].partition("\u2019")[0] in stopwords() or len(word) < 2:
            found.append([])
        else:
            found[-1].append(word)
    return [run[-LONGEST:] for run in found if run]


def _lowered(word: str) -> str:
    return word.casefold() if word[1:] == word[1:].lower() else word


def _same(word: str, other: str) -> bool:
    return word == other or word in _forms(other) or other in _forms(word)


@lru_cache(maxsize=65536)
def _forms(word: str) -> frozenset[str]:
    """A word and its plurals: `mouse` and `mice`; `photo`, `photos` and `photoes`."""
    return frozenset((word, plural(word), f"{word}es" if word.endswith("o") else word))


def _composed(text: str) -> str:
    """The same text with each accent in one character with its letter."""
    return unicodedata.normalize("NFC", text)
