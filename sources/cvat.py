"""CVAT's export "CVAT for images 1.1": an XML file and a folder of pictures. Tags become labels, shapes objects."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from variorum.schemas.component import place_of
from variorum.schemas.errors import SourceError
from variorum.sources.exports.annotated_folder import (
    Told,
    ToldPictures,
    listed,
    provenance,
    read_file_of,
    with_provenance,
)
from variorum.sources.exports.annotated_source import ToldSource
from variorum.sources.exports.cvat_xml import read_cvat, with_region
from variorum.sources.folders.listing import key_of

PLACES = ("{name}", "images/{name}", "images/{subset}/{name}")
"""Where CVAT and its users put a picture, from the folder of the file."""


class Cvat(ToldSource):
    """A sample for each image of the file, also without annotations.

    Boxes, polygons and masks become objects; a box and a mask of one group are one object. Rotated boxes, lines, points
    and tracks of videos aren't read.
    """

    path: Path
    """The folder with the file, and with the pictures in `images` or beside it."""
    annotations: str = "annotations.xml"
    """The XML file, in `path`."""
    clip: bool = True
    """Whether boxes that leave their picture are clipped, as people draw beyond the edge; otherwise the picture goes
    into quarantine."""
    licence: str = "unknown"
    """Licence of pictures without one in `pictures.jsonl`: an SPDX id or the terms in a few words."""

    def place(self) -> str:
        """The folder and the file."""
        return place_of(self, ["path", "annotations"])

    @cached_property
    def _pictures(self) -> ToldPictures:
        root = self.path.expanduser()
        listing = listed(root, "cvat", ())
        data, pinned = read_file_of(root, self.annotations, "cvat")
        names, images = read_cvat(data, f"cvat: {root / self.annotations}")
        if not images:
            raise SourceError(f"cvat: {root / self.annotations} has no image; export from CVAT as CVAT for images 1.1")
        known, pins = provenance(root, "cvat")
        there = {key_of(name) for name in listing.files}
        told = []
        for one in images:
            places = [place.format(name=one.name, subset=one.subset) for place in PLACES]
            path = next((place for place in places if place in there), places[0])
            metadata = {"cvat_id": one.id} if one.id else {}
            found = Told(path, tuple(one.tags), (), one.objects, "", one.subset, metadata=metadata)
            told.append(with_provenance(found, known.get(path)))
        return ToldPictures(
            "cvat",
            listing,
            told,
            {self.annotations: pinned, **pins},
            names,
            self.licence,
            "xywh",
            self.clip,
            with_region,
        )
