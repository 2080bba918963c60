"""Collects the files that components give beside a card: an evaluation's results, pictures that a generator draws."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from variorum.edition.outgoing import outgoing
from variorum.edition.read_at import stored_sample
from variorum.edition.store import Store
from variorum.pixels import encode_png, upright_size
from variorum.reports.responsible import step_names
from variorum.reports.templates import showable
from variorum.schemas.component import Component, Evaluation
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import cut, stored_class
from variorum.schemas.manifest import Manifest
from variorum.schemas.more import GivesFiles, GivesPictures
from variorum.schemas.outgoing import Outgoing
from variorum.schemas.sample import Sample

PART = "[A-Za-z0-9_][A-Za-z0-9_.-]{0,120}"
FILE = re.compile(rf"(?!(?:data|ledgers|listings|results|tables)/){PART}/{PART}|{PART}\.csv")
"""A name that no file of every edition has."""
PICTURE = re.compile(rf"{PART}\.png")


@dataclass(frozen=True)
class Sealed:
    """The `SealedEdition` that components get."""

    manifest: Manifest
    rows: Any
    store: Store

    def sample(self, row: Mapping[str, Any]) -> Sample:
        """The stored sample of a row that has a shard; grey if it may not leave this machine. Raises CorruptShard."""
        found = stored_sample(self.store, self.manifest.shards[row["group"]][row["shard"]], row)
        assert isinstance(found.image, bytes)
        if not self._gate.why_not(found.id, found.metadata):
            return found
        grey = np.full((*upright_size(found.image), 3), 128, np.uint8)
        return replace(found, image=encode_png(grey), extras={})

    @cached_property
    def _gate(self) -> Outgoing:
        return outgoing(self.manifest, self.store)


def given_files(evaluations: Iterable[Evaluation], found: Mapping[str, Any], edition: Sealed) -> dict[str, bytes]:
    """By name, the files that evaluations give.

    Raises:
        CorruptShard: an evaluation can't read its figures.
        RecipeError: a file has a name that it can't have.
    """
    files: dict[str, bytes] = {}
    for evaluation in evaluations:
        name = evaluation.component_name()
        if name in found and isinstance(evaluation, GivesFiles) and callable(evaluation.files):
            with showable(f"figures of {name}"):
                files |= evaluation.files(found[name]["figures"], edition)
    return _checked(files, FILE, "x.csv, or x/y in a folder of your own")


def given_pictures(edition: Sealed, more: Iterable[Component] = ()) -> dict[str, bytes]:
    """By name, the pictures that an edition's generators draw for its card, and those that other components do.

    Raises:
        CorruptShard: a picture that is shown is damaged, or isn't where its row says.
        RecipeError: a picture has a name that it can't have.
    """
    steps = [*_generators(edition.manifest), *map(type, more)]
    drawing = dict.fromkeys(step.card_pictures for step in steps if isinstance(step, GivesPictures))
    return _checked({name: data for draw in drawing for name, data in draw(edition).items()}, PICTURE, "x.png")


def _generators(manifest: Manifest) -> Iterator[type[Component]]:
    """The installed generators that an edition was made with."""
    for name in step_names(manifest.recipe.get("generate")):
        with suppress(RecipeError):
            yield stored_class("generate", name)  # a manifest may be anybody's


def _checked(files: dict[str, bytes], names: re.Pattern[str], like: str) -> dict[str, bytes]:
    if wrong := [name for name in files if not names.fullmatch(name)]:
        raise RecipeError(f"a file {cut(repr(wrong[0]))} can't lie beside a card; call it {like}")
    return files
