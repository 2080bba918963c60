"""Turns labels, numbers or texts, into classes with names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np

from variorum.arrays import Ints
from variorum.schemas.errors import SourceError
from variorum.schemas.lookup import cut

FEW = 5
"""Values that an error lists."""


@dataclass(frozen=True)
class Labels:
    """One label per picture.

    Attributes:
        index: `[N]` int64, the class of each picture, -1 for none.
        names: of the classes, `[K]`; empty without labels.
        values: by name, the label as it was given: a number, or the text itself.
        none: what an unlabelled picture has: -1 among numbers, `""` among texts.
    """

    index: Ints
    names: tuple[str, ...]
    values: dict[str, Any]
    none: Any

    def texts(self) -> list[str]:
        """The names `[N]`, `""` for none."""
        return [self.names[number] if number >= 0 else "" for number in self.index.tolist()]


def read_labels(labels: Any, names: Sequence[str] | None, pictures: int) -> Labels:
    """The checked labels of pictures.

    Args:
        labels: None, or for each picture a number, a text, or None, -1, NaN or `""` for no label.
        names: of the classes by number, if labels are numbers. Without them the numbers are the names.
        pictures: their number.

    Raises:
        SourceError: another number of labels than pictures; values that aren't labels, or of both kinds; a number
            without a name; two classes with the same name.
    """
    if names is not None and (isinstance(names, str | bytes | Mapping | Set) or not isinstance(names, Iterable)):
        raise SourceError(f"curate: names is of type {type(names).__name__}; it must be a list, one name per class")
    if labels is None:
        if names is not None:
            raise SourceError("curate: names without labels; give labels too, one number per picture")
        return Labels(np.full(pictures, -1, np.int64), (), {}, "")
    if isinstance(labels, str | bytes | Mapping | Set) or not isinstance(labels, Iterable):
        raise SourceError(
            f"curate: labels is of type {type(labels).__name__}; it must be a list, one label per picture"
        )
    values = [_value(value, place) for place, value in enumerate(labels)]
    if len(values) != pictures:
        raise SourceError(f"curate: {len(values)} labels for {pictures} pictures; give one each, None for no label")
    kinds = {type(value) for value in values if value is not None}
    if len(kinds) > 1:
        raise SourceError("curate: labels has both numbers and texts; give one kind")
    if kinds == {str}:
        return _of_texts(values, names)
    return _of_numbers(values, names)


def _of_texts(values: list[Any], names: Sequence[str] | None) -> Labels:
    known = _checked(sorted({value for value in values if value is not None}) if names is None else list(names))
    number = {name: place for place, name in enumerate(known)}
    if odd := sorted({value for value in values if value is not None and value not in number}):
        raise SourceError(f"curate: labels has {_few(odd)}, which isn't among the names: {_few(known)}")
    index = np.array([-1 if value is None else number[value] for value in values], np.int64)
    return Labels(index, tuple(known), {name: name for name in known}, "")


def _of_numbers(values: list[Any], names: Sequence[str] | None) -> Labels:
    found = sorted({value for value in values if value is not None})
    if names is None:
        known, number = [str(value) for value in found], {value: place for place, value in enumerate(found)}
    else:
        known = _checked(list(names))
        number = {place: place for place in range(len(known))}
        if odd := [value for value in found if value not in number]:
            raise SourceError(
                f"curate: labels has {_few(odd)}, and there are {len(known)} names, for 0 to {len(known) - 1}"
            )
    index = np.array([-1 if value is None else number[value] for value in values], np.int64)
    return Labels(index, tuple(known), {known[place]: value for value, place in number.items()}, -1)


def _value(value: Any, place: int) -> int | str | None:
    """A label as a number or a text; None for no label."""
    if isinstance(value, np.generic) or (hasattr(value, "item") and getattr(value, "ndim", None) == 0):
        value = value.item()
    if value is None or type(value).__name__ == "NAType":  # pandas' own missing value, which compares with nothing
        return None
    if getattr(value, "ndim", 0):
        raise SourceError(
            f"curate: labels[{place}] has shape {list(value.shape)}; a label is a number or a text, such as "
            f"scores.argmax(1) for scores of classes"
        )
    if value == "" or value != value:
        return None
    if isinstance(value, float) and value.is_integer():  # pandas makes floats of numbers where some are missing
        value = int(value)
    if isinstance(value, bool | int):
        if value < -1:
            raise SourceError(f"curate: labels[{place}] is {value}; classes are numbers from 0, and -1 means no label")
        return None if value == -1 else int(value)
    if isinstance(value, str):
        return value
    kind = type(value).__name__
    raise SourceError(
        f"curate: labels[{place}] is {cut(repr(value))} ({kind}); a label is a number or a text, and labels=None takes "
        f"none"
    )


def _checked(names: list[Any]) -> list[str]:
    """Names that can stand for classes."""
    seen: dict[str, str] = {}
    for name in names:
        if not isinstance(name, str) or not name.strip():
            raise SourceError(f"curate: {cut(repr(name))} isn't a class name; give a text that isn't empty")
        if not name.isprintable():
            raise SourceError(f"curate: the class name {cut(ascii(name))} has unprintable characters; rename it")
        if (other := seen.get(name.strip())) is not None:
            raise SourceError(
                f"curate: two classes are called {cut(repr(other))} and {cut(repr(name))}; give each class one name"
            )
        seen[name.strip()] = name
        if name != name.strip():
            raise SourceError(f"curate: the class name {cut(repr(name))} has spaces around it; write it without")
    return names


def _few(values: Sequence[Any]) -> str:
    shown = ", ".join(cut(repr(value)) for value in values[:FEW])
    return f"{shown} and {len(values) - FEW} more" if len(values) > FEW else shown
