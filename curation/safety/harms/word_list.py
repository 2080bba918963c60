"""Lists of words that say something of a picture's category where they are read in it, and how they are found.

A list is a CSV file with the columns `category`, `words`, `weight` and `language`. `word_list.csv` is the shipped one.
"""

from __future__ import annotations

import csv
import io
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from variorum.schemas.errors import RecipeError

FILE = Path(__file__).with_name("word_list.csv")
"""The shipped list: spam and weapons, in English. The weights are judgements, not fitted to anything."""
COLUMNS = ("category", "words", "weight", "language")
MOST_BYTES, MOST_ROWS = 2**20, 10_000
"""Of a list."""

ALIKE = str.maketrans("013457$i", "oleastsl")
"""Signs that stand for letters, and letters that a reader takes for one another."""
INSIDE = re.compile(r"(?<=\w)[!|](?=\w)")
"""Signs that stand for an `i` inside a word."""
CATEGORY = re.compile("[a-z][a-z0-9_]{0,39}")
SPACES = re.compile(r"[\W_]+")


class Phrase(NamedTuple):
    """A row of a list.

    Attributes:
        category: id of the category that it speaks for.
        words: one or more, as the list has them.
        weight: how certain it is that a picture with it is unsafe, in (0, 1].
        language: for people; nothing depends on it.
    """

    category: str
    words: str
    weight: float
    language: str


def plain(text: str) -> str:
    """A text's words with one space between them, so that what looks alike is alike: `FREE M0NEY!` is `free money`.

    Full-width letters are like others, capitals like small letters, and some signs like the letters that they resemble.
    """
    folded = INSIDE.sub("l", unicodedata.normalize("NFKC", text).casefold().translate(ALIKE))
    return SPACES.sub(" ", folded).strip()


def found_in(text: str, phrases: Iterable[Phrase]) -> list[Phrase]:
    """The phrases that a text has.

    A single word counts only as a whole word. A reader loses spaces, so of several words only the first must begin one.
    """
    words = plain(text).split(" ")
    run = "".join(words)
    starts = {sum(map(len, words[:number])) for number in range(len(words))}
    known = set(words)
    found = []
    for phrase in phrases:
        wanted = plain(phrase.words)
        if wanted in known:
            found.append(phrase)
        elif " " in wanted:
            joined = wanted.replace(" ", "")
            places = (match.start() for match in re.finditer(f"(?={re.escape(joined)})", run))
            if any(place in starts for place in places):
                found.append(phrase)
    return found


def weighed(phrases: Iterable[Phrase]) -> dict[str, float]:
    """By category, the probability that at least one phrase is right, as if they were independent."""
    wrong: dict[str, float] = {}
    for phrase in phrases:
        wrong[phrase.category] = wrong.get(phrase.category, 1.0) * (1 - phrase.weight)
    return {category: 1 - rest for category, rest in wrong.items()}


def read_list(file: Path, where: str) -> tuple[bytes, tuple[Phrase, ...]]:
    """The content of a list, and its rows.

    Raises:
        RecipeError: no such file, too large, or a row that can't be used, which the error names.
    """
    try:
        if not file.is_file():  # opening a pipe could wait forever
            raise FileNotFoundError("no such file")
        if file.stat().st_size > MOST_BYTES:
            raise RecipeError(f"{where}: {file} has more than {MOST_BYTES >> 20} MiB, too much for a list of words")
        content = file.read_bytes()
        return content, parsed(content)
    except OSError as error:
        raise RecipeError(
            f"{where}: {file} can't be read ({error.strerror or error}); leave the field out for the shipped list"
        ) from error
    except (ValueError, csv.Error) as error:
        raise RecipeError(f"{where}: {file}, {error}") from error


@lru_cache(maxsize=8)
def parsed(content: bytes) -> tuple[Phrase, ...]:
    """The rows of a list. Raises ValueError with the line for one that can't be used."""
    reader = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
    if missing := [name for name in COLUMNS if name not in (reader.fieldnames or ())]:
        raise ValueError(f"line 1: has no column {', '.join(missing)}; a list has {', '.join(COLUMNS)}")
    found: dict[tuple[str, str], Phrase] = {}
    for row in reader:
        line = f"line {reader.line_num}"
        phrase = _phrase(row, line)
        key = phrase.category, plain(phrase.words)
        if key in found:
            raise ValueError(f"{line}: {phrase.words!r} is there twice for {phrase.category}")
        if len(found) == MOST_ROWS:
            raise ValueError(f"{line}: a list has at most {MOST_ROWS:,} rows")
        found[key] = phrase
    if not found:
        raise ValueError("line 2: the list is empty")
    return tuple(found.values())


def _phrase(row: Mapping[str, str | None], line: str) -> Phrase:
    category, words, weight, language = ((row[name] or "").strip() for name in COLUMNS)
    if not CATEGORY.fullmatch(category):
        raise ValueError(f"{line}: category {category[:60]!r} isn't an id, such as spam")
    if not plain(words):
        raise ValueError(f"{line}: words {words[:60]!r} has no letter or digit")
    try:
        number = float(weight)
    except ValueError:
        number = math.nan
    if not 0 < number <= 1:
        raise ValueError(f"{line}: weight {weight[:60]!r} must be above 0 and at most 1")
    return Phrase(category, words, number, language)
