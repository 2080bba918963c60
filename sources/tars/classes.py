"""The classes of tars: given by the user as names or in a file, or found as the labels and categories that occur."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from variorum.schemas.component import ClassInfo
from variorum.schemas.errors import SourceError
from variorum.sources.class_names import read_classes
from variorum.sources.tables.rows import check_names, joined, ordered
from variorum.sources.tars.members import BadMember, Label, labels


class GivenClasses:
    """Classes in the order of their numbers, for labels that are numbers, names or ids.

    Args:
        given: names, or a file with one name per line, or a CSV file with the columns `id` and `name`; empty if labels
            are the ids themselves.
        where: what errors call the source.

    Raises:
        SourceError: the file can't be read, or two classes have the same name.
    """

    def __init__(self, given: tuple[str, ...] | Path, where: str) -> None:
        self.infos = _from_file(given, where) if isinstance(given, Path) else _infos(given, where)
        self.ids = tuple(info.id for info in self.infos)
        self._by_text = {text: info.id for info in self.infos for text in (info.name, info.id)}

    def __bool__(self) -> bool:
        return bool(self.infos)

    def labelled(self, value: Any) -> tuple[str, ...]:
        """The class ids in a value of a sample.

        Raises:
            BadMember: `unknown_label`.
        """
        return tuple(dict.fromkeys(self._id(label) for label in labels(value)))

    def _id(self, label: Label) -> str:
        if not self.ids:
            return str(label)
        if isinstance(label, str) and label in self._by_text:
            return self._by_text[label]
        if isinstance(label, int) and 0 <= label < len(self.ids):
            return self.ids[label]
        raise BadMember("unknown_label", f"its label {label!r} is none of the {len(self.ids)} classes")


def found_classes(labels: Iterable[Label], categories: Iterable[Label], where: str) -> tuple[ClassInfo, ...]:
    """The labels in order, then the categories of objects that aren't among them. Raises SourceError."""
    names = check_names(joined(_ordered(labels), _ordered(categories)), where)
    return tuple(ClassInfo(name, name) for name in names)


def _ordered(values: Iterable[Label]) -> tuple[str, ...]:
    """Numbers by size, texts by text. A number beside texts is a text, as `3` and `"3"` are one class."""
    distinct = set(values)
    return ordered(distinct if all(isinstance(value, int) for value in distinct) else set(map(str, distinct)))


def _infos(names: Iterable[str], where: str) -> tuple[ClassInfo, ...]:
    return tuple(ClassInfo(name, name) for name in check_names([name.strip() for name in names], where))


def _from_file(path: Path, where: str) -> tuple[ClassInfo, ...]:
    try:
        if path.suffix.lower() == ".csv":
            return read_classes(str(path))
        names = [line for line in path.expanduser().read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except SourceError as error:
        raise SourceError(f"{where}: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{where}: class_names: {path} can't be read: {error}") from None
    if not names:
        raise SourceError(f"{where}: class_names: {path} has no names; write one per line")
    return _infos(names, where)
