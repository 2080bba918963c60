"""Say how well phrases fit the pictures of a page, so that it can be sorted and filtered by them: search by meaning."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from variorum.machine.prefetch import batched
from variorum.machine.progress import Progress
from variorum.pixels import UndecodableImage, decode
from variorum.reports.page.picture_records import Entry, read_place
from variorum.reports.page.table import numbers
from variorum.schemas.canonical import Json
from variorum.schemas.component import Models
from variorum.schemas.errors import ModelUnavailable, RecipeError, VariorumError

if TYPE_CHECKING:
    from variorum.arrays import Pixels

ALIAS = "zero_shot"
"""The model of pictures and texts."""
MOST, LONGEST = 20, 200
"""Phrases on a page, and characters of one."""
BATCH = 32
COLUMN = "search."
"""What the name of a phrase's column begins with."""


def check_phrases(phrases: Sequence[str], models: Models | None) -> None:
    """Check before any work that phrases can be searched for.

    Raises:
        VariorumError: a phrase is empty, too long, or one too many.
        ModelUnavailable: there is no model of pictures and texts on this machine; the message says what to do.
    """
    if len(phrases) > MOST or len(set(phrases)) < len(phrases):
        raise VariorumError(f"search: give up to {MOST} different phrases; these are {len(phrases)}")
    for one in phrases:
        if not one.strip() or len(one) > LONGEST:
            raise VariorumError(f"search: a phrase has 1 to {LONGEST} characters; one has {len(one.strip())}")
    if not phrases:
        return
    why = "there are no models" if models is None else models.why_unavailable(ALIAS)
    if why:
        raise ModelUnavailable(
            f"search by meaning needs a model of pictures and texts: {why}. The embedded models read no text; without "
            "--search the page still finds words in the records, and pictures like the one that is open"
        )


def phrase_columns(
    phrases: Sequence[str], entries: Sequence[Entry], models: Models, progress: Progress
) -> list[dict[str, Json]]:
    """A column `search.PHRASE` for each phrase: cosine of text and picture in [-1, 1], none without a picture.

    Raises:
        CorruptShard: a picture is damaged, or isn't where its row says.
        ModelUnavailable: the model can't be loaded, or isn't one of pictures and texts.
    """
    found = np.full((len(entries), len(phrases)), np.nan)
    progress.start("comparing pictures with phrases", len(entries))
    model = models.get(ALIAS)
    for some in batched(list(enumerate(entries)), BATCH):
        images: list[Pixels] = []
        rows = list[int]()
        for row, entry in some:
            place = entry.places[0]
            try:
                if place is not None:
                    images.append(decode(read_place(place)[1], min_side=1))
                    rows.append(row)
            except UndecodableImage:
                continue
        if images:
            found[rows] = model(images, list(phrases))
        progress.advance(len(some))
    return [numbers(f"{COLUMN}{phrase}", found[:, place].tolist()) for place, phrase in enumerate(phrases)]


def phrases_of(given: Sequence[str]) -> list[str]:
    """Phrases as they are given, and those in files that end in `.txt`, one in each line.

    Raises:
        RecipeError: a file can't be read.
    """
    found = list[str]()
    for one in given:
        if not one.endswith(".txt"):
            found.append(one)
            continue
        try:
            with Path(one).open(encoding="utf-8-sig") as file:
                found += filter(None, map(str.strip, file.read(1 << 20).splitlines()))
        except (OSError, ValueError) as error:
            raise RecipeError(f"--search {one}: a phrase, or a file with a phrase in each line ({error})") from None
    return list(dict.fromkeys(found))
