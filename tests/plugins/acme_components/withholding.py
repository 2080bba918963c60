"""Keeps back pictures by the name of their file: a generator that meets pictures that may not be kept."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from variorum.schemas.component import Generator
from variorum.schemas.edit import Edit
from variorum.schemas.sample import Failure, Sample


class Withholding(Generator):
    """Each picture and its negative. A picture whose origin matches `source` is withheld, and so is its negative if its
    origin matches `made`. Every picture is kept in the memo first, as masks and plates are."""

    source: str = "^$"
    made: str = "^$"
    negatives: bool = True

    def edit(self, sample: Sample, of: Edit) -> Iterator[Sample | Failure]:
        """The picture, and its negative."""
        assert not isinstance(sample.image, bytes)
        pixels, key = sample.image, sample.photograph
        of.ctx.memo(key, lambda: {"plate": pixels})
        gates = {"harm": {"value": 0.9, "limit": "below 0.5", "passed": False}}
        if re.search(self.source, sample.origin):
            yield sample.withheld("unsafe", "the test says so", gates=gates)
            return
        yield sample
        if not self.negatives:
            return
        image = np.ascontiguousarray(255 - pixels)
        if re.search(self.made, sample.origin):
            yield of.withheld(image, "unsafe", variant="negative", requested={"negative": True}, gates=gates)
        else:
            yield of.made(image, variant="negative", requested={"negative": True})
