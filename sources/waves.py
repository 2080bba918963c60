"""Watermarked and attacked pictures in the folders of WAVES (An et al., ICML 2024, arXiv 2401.08573)."""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from variorum.schemas.errors import SourceError
from variorum.sources.exports.annotated_folder import Told, ToldPictures, listed, provenance, with_provenance
from variorum.sources.exports.annotated_source import ToldSource
from variorum.sources.folders.folder import is_picture
from variorum.sources.folders.listing import key_of

MAIN = re.compile(r"main/(?P<dataset>[^/]+)/(?P<mark>[^/-]+)/(?P<number>[0-9]{1,9})\.[^/.]+")
ATTACKED = re.compile(
    r"attacked/(?P<dataset>[^/]+)/(?P<attack>[^/-]+)-(?P<strength>[0-9.]{1,20})-(?P<mark>[^/-]+)/"
    r"(?P<number>[0-9]{1,9})\.[^/.]+"
)
REAL = "real"


class Place(NamedTuple):
    """The meaning of a file's path.

    Attributes:
        dataset: the set of photographs.
        mark: the mark; `real` for none.
        number: of the photograph.
        attack: its name; `""` for none.
        strength: as it is written.
    """

    dataset: str
    mark: str
    number: int
    attack: str = ""
    strength: str = ""

    @property
    def variant(self) -> str:
        """As editions of watermarks call it: `original`, `tree_ring`, `tree_ring_jpeg_0.4`."""
        mark = "original" if self.mark == REAL else self.mark
        return f"{mark}_{self.attack}_{self.strength}" if self.attack else mark


class Waves(ToldSource):
    """Each picture below `main` and `attacked`, with its mark, attack and strength as metadata.

    Pictures of one number and dataset are of one photograph. A marked picture was made from the unmarked one, an
    attacked one from the one that wasn't. The keys of the marks aren't in the folders.
    """

    path: Path
    """`DATA_DIR` of WAVES: the folder with `main` and `attacked`."""
    datasets: tuple[str, ...] = ()
    """Only these sets of photographs (`diffusiondb`, `mscoco`, `dalle3`); all by default."""
    licence: str = "unknown"
    """Licence of pictures without one in `pictures.jsonl`: an SPDX id or the terms in a few words."""

    @cached_property
    def _pictures(self) -> ToldPictures:
        root = self.path.expanduser()
        listing = listed(root, "waves", ())
        known, pins = provenance(root, "waves")
        found = {key: place for key in map(key_of, listing.files) if is_picture(key) and (place := place_of_path(key))}
        found = {key: one for key, one in found.items() if not self.datasets or one.dataset in self.datasets}
        if not found:
            raise SourceError(
                f"waves: {root} has no pictures such as main/mscoco/real/0.png or "
                "attacked/mscoco/distortion_single_jpeg-50-real/0.png; set path to WAVES' DATA_DIR"
            )
        by_cell = {place: key for key, place in found.items()}
        told = []
        for key, one in sorted(found.items(), key=lambda pair: (pair[1].dataset, pair[1].number, pair[0])):
            before = Place(one.dataset, one.mark if one.attack else REAL, one.number)
            parent = by_cell.get(before, "") if before != one else ""
            said = {"mark": one.mark, "attack": one.attack, "strength": one.strength}
            base = Told(
                key, photograph=f"{one.dataset}/{one.number}", metadata=said, variant=one.variant, parent=parent
            )
            told.append(with_provenance(base, known.get(key)))
        return ToldPictures("waves", listing, told, pins, (), self.licence)


def place_of_path(path: str) -> Place | None:
    """Read a path from `DATA_DIR`; None if it isn't one of WAVES."""
    match = MAIN.fullmatch(path) or ATTACKED.fullmatch(path)
    if match is None:
        return None
    said = match.groupdict()
    return Place(said["dataset"], said["mark"], int(said["number"]), said.get("attack", ""), said.get("strength", ""))
