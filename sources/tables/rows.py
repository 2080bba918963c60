"""Read a dataset's row: class, captions, objects, licence and metadata of its picture.

Sources find the values; here they become parts of a sample. A value that can't be used costs no picture: the sample is
quarantined, with the reason.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time
from typing import Any

import numpy as np

from variorum.pixels import UndecodableImage, upright_size
from variorum.schemas.canonical import Json
from variorum.schemas.errors import BadObjects, SourceError
from variorum.schemas.fields import LONGEST
from variorum.schemas.sample import Sample
from variorum.sources.exports.objects import NAMES, BoxFormat, checked, read_objects
from variorum.sources.exports.texts import BadText, NoValue, is_utf8, read_texts, text_of

DEEPEST = 100
"""Lists and mappings in each other that metadata may have."""
TOO_LARGE = 10**299
"""Whole numbers from here on are in no record, as readers of JSON make floats of them."""
CATEGORIES = NAMES["label"]
"""What data sets call the class of an object."""


@dataclass(frozen=True, slots=True)
class RowValues:
    """The values of one row, as they are stored; None and `()` for what it doesn't have.

    Attributes:
        label: a text or a number.
        captions: values that `read_texts` reads.
        objects: a value that `read_objects` reads.
        licence: a text.
        metadata: further values by column.
    """

    label: Any = None
    captions: Sequence[Any] = ()
    objects: Any = None
    licence: Any = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a table by what they hold; None for none.

    Attributes:
        names: class names by integer, of the columns whose type has them; those of the column of objects name its
            categories.
    """

    label: str | None = None
    caption: str | None = None
    objects: str | None = None
    licence: str | None = None
    metadata: tuple[str, ...] = ()
    names: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def needed(self, *, objects: bool = True) -> tuple[str, ...]:
        """The columns that are to be read, each once."""
        single = (self.label, self.caption, self.objects if objects else None, self.licence)
        return tuple(dict.fromkeys([*filter(None, single), *self.metadata]))

    def values(self, row: Mapping[str, Any]) -> RowValues:
        """Read the values of a row. Metadata that is a class number becomes the class's name."""

        def cell(name: str | None) -> Any:
            return row.get(name) if name else None

        metadata = {name: _named(row[name], self.names.get(name)) for name in self.metadata}
        return RowValues(cell(self.label), (cell(self.caption),), cell(self.objects), cell(self.licence), metadata)


class UnknownLabel(ValueError):
    """A label stands for no class."""


def described(sample: Sample, values: RowValues, names: Sequence[str] | None) -> Sample:
    """The sample with the label, captions, licence and metadata of its row.

    Args:
        sample: without these, or with the label and licence of pictures whose row has none.
        values: of the row.
        names: class ids by integer label; None if labels are the ids themselves.

    Returns:
        The sample. It has the reason `unknown_label` if the label stands for no class, and `bad_text` if a text isn't
        UTF-8 or isn't a text.
    """
    try:
        if values.licence not in (None, ""):
            sample = replace(sample, licence=_licence(values.licence))
        if values.label is not None:
            sample = replace(sample, labels=label_ids(values.label, names))
        texts = tuple(text for value in values.captions for text in read_texts(value))
        sample = replace(sample, annotations=replace(sample.annotations, texts=texts))
        return replace(sample, metadata={name: plain(value) for name, value in values.metadata.items()})
    except UnknownLabel as error:
        return replace(sample, reason="unknown_label", detail=str(error))
    except BadText as error:
        return replace(sample, reason="bad_text", detail=error.detail)


def _licence(value: Any) -> str:
    text = _text(value)
    if len(text) > LONGEST:
        raise BadText(f"its licence has {len(text)} characters, and may have {LONGEST}")
    return text


def with_objects(
    sample: Sample, value: Any, names: Sequence[str] | None, known: frozenset[str], box_format: BoxFormat, *, clip: bool
) -> Sample:
    """The sample with the objects in a cell, checked against its picture; quarantined if they can't be used.

    A sample that has a reason already, or whose picture has no readable size, is returned as it is.
    """
    if sample.reason or value is None:
        return sample
    assert isinstance(sample.image, bytes)
    try:
        size = upright_size(sample.image)
        objects = read_objects(value, box_format=box_format, size=size, names=names, origin="")
    except UndecodableImage:
        return sample  # it will be a Failure when it is decoded
    except BadObjects as error:
        return replace(sample, reason=error.reason, detail=error.detail)
    return checked(replace(sample, annotations=replace(sample.annotations, objects=objects)), size, known, clip=clip)


def label_ids(value: Any, names: Sequence[str] | None) -> tuple[str, ...]:
    """The class id that a label stands for; none for None, an empty text, and -1 where integers have names.

    Raises:
        UnknownLabel: the value is no class.
        BadText: a text isn't UTF-8.
    """
    if value is None or value == "":
        return ()
    if isinstance(value, bytes):
        value = _text(value)
    if not isinstance(value, int | str):
        raise UnknownLabel(f"the label is {type(value).__name__}; it must be a text or an integer")
    if names is None:
        return (_text(value),)
    if isinstance(value, str):
        if value not in names:
            raise UnknownLabel(f"the label {value!r} is none of the {len(names)} classes")
        return (value,)
    if value == -1:  # how `datasets` writes "not labelled"
        return ()
    if not 0 <= value < len(names):
        raise UnknownLabel(f"the label is {value}, but there are {len(names)} classes")
    return (names[value],)


def plain(value: Any, depth: int = 0) -> Json:
    """A value as JSON has it: dates and decimals become texts, and a number that isn't finite None.

    Raises:
        BadText: a text isn't UTF-8, a whole number is too large, or values are nested deeper than `DEEPEST`.
    """
    if depth > DEEPEST:
        raise BadText(f"a value is nested more than {DEEPEST} deep")
    if isinstance(value, NoValue):
        raise BadText(value.why)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        if abs(value) >= TOO_LARGE:
            raise BadText("a whole number has 300 digits or more")
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {_text(key): plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, depth + 1) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return _text(value)


def ordered(values: Iterable[Any]) -> tuple[str, ...]:
    """Class ids in index order: integers by size, everything else by text."""
    distinct = set(values)
    if all(isinstance(value, int) for value in distinct):
        return tuple(map(str, sorted(distinct)))
    return tuple(sorted(map(str, distinct)))


def check_names(names: Sequence[str], where: str) -> tuple[str, ...]:
    """The class names as they are. Raises SourceError if two are the same but for white space around them."""
    seen: set[str] = set()
    for name in map(str.strip, names):
        if not is_utf8(name):
            raise SourceError(f"{where}: a class has the name {name!a}, which UTF-8 can't hold; rename it")
        if len(name) > LONGEST:
            raise SourceError(
                f"{where}: a class has a name of {len(name)} characters, and may have {LONGEST}; rename it"
            )
        if name in seen:
            raise SourceError(
                f"{where}: two classes have the name {name!r}; write one class in one way, without spaces around it"
            )
        seen.add(name)
    return tuple(names)


def joined(labels: Sequence[str], categories: Sequence[str]) -> tuple[str, ...]:
    """All classes of a data set: those of its labels, then those of its objects that aren't among them."""
    return tuple(dict.fromkeys([*labels, *categories]))


def label_names(feature: Any) -> tuple[str, ...] | None:
    """The names in the description that `datasets` writes of a column of classes (ClassLabel), or of lists of these."""
    feature = _held(feature)
    if not isinstance(feature, Mapping) or feature.get("_type") != "ClassLabel":
        return None
    names = feature.get("names")
    return tuple(map(str, names)) if names and isinstance(names, list) else None


def category_names(feature: Any) -> tuple[str, ...] | None:
    """The names of the categories in the description that `datasets` writes of a column of objects."""
    feature = _held(feature)
    if not isinstance(feature, Mapping) or isinstance(feature.get("_type"), str):
        return None
    return next((label_names(feature[key]) for key in CATEGORIES if key in feature), None)


def categories_of(value: Any) -> Iterator[str | int]:
    """The categories in a value that `read_objects` reads; what isn't a category is left to it."""
    parts = value if isinstance(value, list | tuple) else [value]
    for part in parts:
        named = (part.get(key) for key in CATEGORIES) if isinstance(part, Mapping) else ()
        found = next((item for item in named if item is not None), None)
        for category in found if isinstance(found, list | tuple) else [found]:
            if isinstance(category, str | int) and category not in ("", -1):
                yield category


def _held(feature: Any) -> Any:
    """Return the element of a list of any depth; old versions of `datasets` write a list of one, or `Sequence`."""
    while True:
        if isinstance(feature, list) and len(feature) == 1:
            feature = feature[0]
        elif isinstance(feature, Mapping) and feature.get("_type") in ("List", "LargeList", "Sequence"):
            feature = feature.get("feature")
        else:
            return feature


def _named(value: Any, names: Sequence[str] | None) -> Any:
    if names is None or isinstance(value, bool) or not isinstance(value, int):
        return value
    return names[value] if 0 <= value < len(names) else None


def _text(value: Any) -> str:
    """Any value as a text that UTF-8 can hold. Raises BadText for bytes and texts that aren't UTF-8."""
    return text_of(value) if isinstance(value, str | bytes) else str(value)
