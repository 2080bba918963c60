"""Describe a picture for a prompt: by its caption, or by its objects counted, *two dogs and a bench*."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from variorum.kit.prompts.prompts import articled
from variorum.schemas.annotations import Annotations, Object

IRREGULAR = {
    "person": "people",
    "man": "men",
    "woman": "women",
    "child": "children",
    "policeman": "policemen",
    "foot": "feet",
    "tooth": "teeth",
    "goose": "geese",
    "mouse": "mice",
    "ox": "oxen",
    "knife": "knives",
    "wolf": "wolves",
    "calf": "calves",
    "leaf": "leaves",
    "loaf": "loaves",
    "shelf": "shelves",
    "tomato": "tomatoes",
    "potato": "potatoes",
    "tv": "tvs",
}
UNCHANGED = {"sheep", "deer", "fish", "bison", "moose", "aircraft", "swordfish", "salmon", "trout", "squid"}
PAIRS = {"skis", "scissors", "glasses", "sunglasses", "trousers", "pants", "shorts", "jeans", "binoculars", "pliers"}
"""Plurals that come in pairs."""
UNCOUNTED = {"broccoli", "bread", "rice", "pasta", "grass", "water", "snow", "furniture", "luggage", "fruit"}
"""Things that are not counted."""
NUMBERS = ("", "a", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
MOST_KINDS = 4
"""Kinds of things in an enumeration, the largest first; a text encoder reads 77 tokens."""
OPENINGS = {
    *(
        "a",
        "an",
        "the",
        "this",
        "that",
        "these",
        "those",
        "there",
        "some",
        "several",
        "many",
        "few",
        "people",
        "person",
    ),
    *("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "one", "man", "woman", "close", "group"),
}
"""First words of captions that are no names, so that they have no capital within a sentence."""


def plural(name: str) -> str:
    """The plural of a noun, whose last word changes: `wine glass` to `wine glasses`."""
    *before, last = name.split(" ")
    lower = last.lower()
    if lower in UNCHANGED:
        found = last
    elif lower in IRREGULAR:
        found = IRREGULAR[lower]
    elif re.search(r"(s|x|z|ch|sh)$", lower):
        found = f"{last}es"
    elif re.search(r"[^aeiou]y$", lower):
        found = f"{last[:-1]}ies"
    else:
        found = f"{last}s"
    return " ".join([*before, found])


def counted(name: str, number: int) -> str:
    """That many of a thing: `a dog`, `two dogs`, `a pair of skis`, `many birds`."""
    last = name.rsplit(" ", 1)[-1].lower()
    if last in UNCOUNTED:
        return f"some {name}"
    if last in PAIRS:
        one, several = f"pair of {name}", f"pairs of {name}"
    else:
        one, several = name, plural(name)
    if number == 1:
        return articled(f"a {one}")
    return f"{NUMBERS[number] if number < len(NUMBERS) else 'many'} {several}"


def enumeration(objects: Iterable[Object], names: Mapping[str, str]) -> str:
    """The objects of a picture in words, the kinds that cover most first: `two dogs, a person and a bench`.

    A crowd counts as many. Objects without a class are left out; `""` if there are no others.

    Args:
        objects: of the picture.
        names: of the classes by id; an id without one stands for itself.
    """
    numbers: Counter[str] = Counter()
    areas: Counter[str] = Counter()
    for item in objects:
        if name := names.get(item.label, item.label).replace("_", " ").strip():
            numbers[name] += len(NUMBERS) if item.crowd else 1
            areas[name] += round(item.box[2] * item.box[3])
    kinds = sorted(numbers, key=lambda name: (-areas[name], name))[:MOST_KINDS]
    return listed([counted(name, numbers[name]) for name in kinds])


def listed(parts: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join([*filter(None, [", ".join(parts[:-1])]), *parts[-1:]])


def clause(caption: str) -> str:
    """A caption's first sentence for the middle of another: without its full stop, and without a capital at its start.

    A name keeps its capital.
    """
    text = re.split(r"(?<=[a-z)\"'])[.!?](?:\s+|$)", " ".join(caption.split()), maxsplit=1)[0].strip(" .!?")
    first = text.split(" ", 1)[0]
    return text[:1].lower() + text[1:] if first.lower() in OPENINGS else text


def subject(annotations: Annotations, caption: str, label: str, names: Mapping[str, str]) -> str:
    """Say what a picture shows: its caption, or else its objects, or else its class; `""` if nothing is known.

    Args:
        annotations: of the picture.
        caption: of the picture, `""` to leave it aside.
        label: id of its class, `""` for none.
        names: of the classes by id.
    """
    if found := clause(caption):
        return found
    name = names.get(label, label).replace("_", " ").strip()
    return enumeration(annotations.objects, names) or (counted(name, 1) if name else "")
