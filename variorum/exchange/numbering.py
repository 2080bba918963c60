"""Numbers and names of photographs, for layouts in which a file is named after its photograph."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from variorum.schemas.sample import Sample

IMAGENET = re.compile(r"ILSVRC2012_val_[0-9]{8}")
"""Names of ImageNet's validation pictures, without their ending."""


class Photographs:
    """Numbers for photographs in the order in which they come. Versions of one photograph share its number.

    Two files with the same content are two photographs, if their origins differ.
    """

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, str], int] = {}

    def number(self, sample: Sample) -> int:
        """The number, from 0, of the photograph that a picture was made from."""
        return self._numbers.setdefault((sample.photograph or sample.id, sample.origin), len(self._numbers))

    def name(self, sample: Sample) -> str:
        """ImageNet's name of the photograph if its origin has one, else its number in eight digits."""
        found = IMAGENET.match(PurePosixPath(sample.origin).name)
        return found[0] if found else f"{self.number(sample):08d}"
