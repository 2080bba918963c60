"""The classes of an edition as reviewers see them: name, definition, and a few example pictures.

A definition comes from a file of the user, or by the class's WordNet id; a class without one has none, whatever its
name. Examples are accepted pictures
with the class as their given label. Those that the panel asks about are left out where there are enough others, as an
example says which label its picture was given.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import numpy as np

from variorum.arrays import Bools, Ints
from variorum.kit.labels.phrases import phrase
from variorum.people.server.images import Pictures
from variorum.schemas.canonical import Json
from variorum.schemas.errors import RecipeError, SourceError
from variorum.schemas.lookup import cut

EXAMPLES = 4
SPARE = 64
"""Pictures of a class that are looked at, for examples from different photographs."""
LONGEST = 2000
"""Characters of a definition."""
LARGEST = 16 << 20
"""Bytes of a file of definitions."""
NOUNS = Path("/usr/share/wordnet/data.noun")
"""WordNet's nouns, as Debian's wordnet-base installs them. The number of a wnid is a byte of this file."""

VERSION = b"WordNet 3.0"
"""Stands at the beginning of the file. Wnids are of this version."""


class Classes:
    """The classes of an edition.

    Args:
        pictures: of the edition.
        definitions: class id to text, for those that have one.
        asked: whether the panel asks about each picture, `[pictures]`.
        doubtful: whether curation doubts each picture's label, `[pictures]`.
    """

    def __init__(self, pictures: Pictures, definitions: Mapping[str, str], asked: Bools, doubtful: Bools) -> None:
        self._pictures, self._definitions = pictures, definitions
        self.names = dict(pictures.manifest.classes)
        self._phrases: dict[str, str] = {}
        self._index = {identity: place for place, identity in enumerate(self.names)}
        self._rank = 4 * asked + 2 * doubtful + 1 * ~pictures.original

    def phrase(self, identity: str) -> str:
        """A class's name as it stands in a question, such as `a tench`."""
        if identity not in self._phrases:
            self._phrases[identity] = phrase(self.names.get(identity, identity), identity)
        return self._phrases[identity]

    def listed(self) -> list[Json]:
        """Pairs of id and name in index order."""
        return [[identity, name] for identity, name in self.names.items()]

    def about(self, identity: str, of: str = "") -> dict[str, Json] | None:
        """A class with its definition and examples; None if the edition has no such class.

        Args:
            identity: of the class.
            of: id of the picture that is judged. Examples aren't of its photograph.
        """
        if identity not in self.names:
            return None
        rows = self._examples(self._index[identity], self._pictures.row(of))
        return {
            "id": identity,
            "name": self.names[identity],
            "definition": self._definitions.get(identity, ""),
            "examples": [self._pictures.described(row, alone=True) for row in rows],
        }

    def _examples(self, index: int, judged: int | None) -> list[int]:
        order, begins = self._by_class
        rows = order[begins[index] : begins[index + 1]]
        seen = set[int]() if judged is None else {int(self._pictures.photograph[judged])}
        found = list[int]()
        for row in rows[:SPARE].tolist():
            if (photograph := int(self._pictures.photograph[row])) not in seen and not self._pictures.hidden(row):
                seen.add(photograph)
                found.append(row)
        certain = [row for row in found if self._rank[row] < 4]
        return (certain if len(certain) >= EXAMPLES else found)[:EXAMPLES]

    @cached_property
    def _by_class(self) -> tuple[Ints, Ints]:
        """Rows by class, the best examples first, and where each class begins; rows without a class come last."""
        label = self._pictures.label
        order = np.lexsort((self._rank, np.where(label < 0, len(self.names), label)))
        begins = np.searchsorted(label[order][: int((label >= 0).sum())], np.arange(len(self.names) + 1))
        return order, begins


def definitions(classes: Mapping[str, str], file: Path | None = None, nouns: Path = NOUNS) -> dict[str, str]:
    """Class id to definition, for the classes that have one.

    Args:
        classes: id to name.
        file: with definitions of some of them, as CSV with the columns `class` and `definition`, or as a mapping in
            JSON or YAML.
        nouns: WordNet's file, used for ids such as n02084071 that the table of ImageNet's thousand lacks.

    Raises:
        SourceError: the file can't be read.
        RecipeError: it has something else than texts, or a class that the edition lacks.
    """
    given = _given(file, classes) if file else {}
    return {**_wordnet([one for one in classes if one not in given], nouns), **given}


def _given(file: Path, classes: Mapping[str, str]) -> dict[str, str]:
    import yaml

    try:
        if file.stat().st_size > LARGEST:
            raise RecipeError(f"definitions {file}: larger than {LARGEST >> 20} MiB")
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"definitions {file}: {getattr(error, 'strerror', None) or error}") from None
    try:
        if file.suffix.lower() == ".csv":
            found: object = {row["class"]: row["definition"] for row in csv.DictReader(io.StringIO(text), strict=True)}
        elif file.suffix.lower() == ".json":
            found = json.loads(text)
        else:
            found = yaml.safe_load(text)
    except KeyError:
        raise RecipeError(f"definitions {file}: needs the columns class and definition") from None
    except (csv.Error, ValueError, RecursionError, yaml.YAMLError) as error:
        raise RecipeError(f"definitions {file}: {str(error).splitlines()[0] if str(error) else error!r}") from None
    if not isinstance(found, dict) or not all(isinstance(one, str) for pair in found.items() for one in pair):
        raise RecipeError(f"definitions {file}: must map the id of a class to a text")
    if unknown := found.keys() - classes.keys():
        raise RecipeError(
            f"definitions {file}: the edition has no class {cut(ascii(min(unknown)))}; there are "
            f"{cut(', '.join(classes)) or 'none'}"
        )
    return {identity: definition.strip()[:LONGEST] for identity, definition in found.items()}


def _wordnet(ids: list[str], nouns: Path) -> dict[str, str]:
    """Glosses of the ids that are WordNet's, from the table of ImageNet's classes or else from the file of nouns."""
    from variorum.kit.labels.phrases import OURS
    from variorum.models.imagenet_classes import WNID, table

    wnids = [one for one in ids if WNID.fullmatch(one)]
    if not wnids:
        return {}
    found = {one.wnid: one.gloss for one in table()} | dict(OURS)
    others = [one for one in wnids if one not in found]
    if others and nouns.is_file():
        with nouns.open("rb") as file:
            if VERSION not in file.read(4096):  # the same number means something else in another version
                return {wnid: found[wnid] for wnid in wnids if wnid in found}
            for wnid in others:
                file.seek(int(wnid[1:]))
                line = file.readline(LONGEST * 8).decode("utf-8", "replace")
                if line.startswith(f"{wnid[1:]} ") and " | " in line:
                    found[wnid] = line.partition(" | ")[2].partition('; "')[0].strip()[:LONGEST]
    return {wnid: found[wnid] for wnid in wnids if wnid in found}
