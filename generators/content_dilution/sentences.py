"""Sentences around keywords, from frames, and random addresses."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from variorum.generators.content_dilution.words import new_labels
from variorum.kit.prompts.subjects import NUMBERS, counted, listed

if TYPE_CHECKING:
    import numpy as np

LIST = "{list}"
BEFORE = {"a", "an", "the", "some", "several", "many", *NUMBERS[2:]}
"""What stands before a noun in a caption."""
UNCOUNTED = {
    *("broccoli", "cauliflower", "corn", "dough", "eggnog", "espresso", "guacamole", "hay", "potato", "sauce"),
    *("tissue", "trunks", "velvet", "wine", "wool", "bars"),
}
"""Last words of names of ImageNet's classes that take no article: what isn't counted, and plurals."""
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
ENDS = (*'.!?\u2026"\u201d)', *"\u3002\uff01\uff1f\u061f\u06d4\u0964")
"""What a sentence ends with, in Latin and other writing, such as the full stops of Chinese, Urdu and Hindi."""


@lru_cache(maxsize=1)
def frames() -> tuple[str, ...]:
    """Forty English sentences with a place for a list of keywords."""
    return tuple(Path(__file__).with_name("frames.txt").read_text(encoding="utf-8").splitlines())


@lru_cache(maxsize=1024)
def usable_frames(*names: tuple[str, ...]) -> tuple[str, ...]:
    """The frames without any of these names; all of them if none is left."""

    def fits(frame: str) -> bool:
        return not any(new_labels(frame.replace(LIST, " . "), "", some) for some in names)

    return tuple(filter(fits, frames())) or frames()


def written(
    keywords: Sequence[str], sentences: int, max_words: int, choice: Sequence[str], rng: np.random.Generator
) -> tuple[str, list[str]]:
    """Up to this many sentences with these keywords, and the keywords that are in them.

    Args:
        keywords: at least one, the best first.
        sentences: how many to write; fewer if there are fewer keywords.
        max_words: of all sentences. The last keywords are left out where they don't fit, never the first.
        choice: frames to draw from, without repetition as far as there are enough.
        rng: draws the frames.
    """
    order = [choice[place] for place in rng.permutation(len(choice))]
    for count in range(min(sentences, len(keywords)), 0, -1):
        for used in range(len(keywords), count - 1, -1):
            parts = [keywords[place:used:count] for place in range(count)]
            made = [order[place % len(order)].replace(LIST, listed(part)) for place, part in enumerate(parts)]
            text = " ".join(made)
            if len(text.split()) <= max_words:
                return text, list(keywords[:used])
    shortest = min(order, key=lambda frame: len(frame.split()))
    return shortest.replace(LIST, keywords[0]), [keywords[0]]


def thing(text: str, name: str) -> str:
    """A keyword as a sentence has it: as in the text if it is there, such as *two cakes*, else with an article."""
    before, there, after = f" {text} ".lower().partition(f" {name.lower()}")
    if there and not after[0].isalpha():
        count = before.rsplit(" ", 1)[-1]
        return f"{count} {name}" if count in BEFORE else name
    return name if name.rsplit(" ", 1)[-1].lower() in UNCOUNTED else counted(name, 1)


def address(rng: np.random.Generator) -> str:
    """A random address in a domain that is reserved for examples (RFC 2606)."""
    letters = "".join(LETTERS[place] for place in rng.integers(len(LETTERS), size=int(rng.integers(6, 13))))
    return f"https://www.example.org/{letters}"


def joined(original: str, added: str, *, append: bool) -> str:
    """Both texts in one; a full stop comes between sentences where the first has no end of its own."""
    first, second = (original, added) if append else (added, original)
    spaced = first[-1].isspace()
    bare = spaced or first.endswith(ENDS) or "://" in first.split()[-1] or "://" in second.split()[0]
    return f"{first}{'' if bare else '.'}{'' if spaced else ' '}{second}"
