"""The easy way to write a generator: one `edit`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from variorum.schemas.component import Generator
from variorum.schemas.edit import Edit
from variorum.schemas.sample import Failure, Sample


class Negative(Generator):
    """Keeps each picture and adds its negative with noise; pictures that are too dark are skipped."""

    noise: float = 2.0
    least: float = 5.0

    def edit(self, sample: Sample, of: Edit) -> Iterator[Sample | Failure]:
        """The original and the negative."""
        yield sample
        asked = {"noise": self.noise}
        if sample.image.mean() < self.least:
            yield of.skipped("too_dark", variant="negative", requested=asked)
            return
        noise = of.rng().normal(0, self.noise, sample.image.shape)
        pixels = np.clip(255 - sample.image + noise, 0, 255).astype(np.uint8)
        mean = float(pixels.mean())
        gates = {"blank": {"value": float(pixels.std()), "limit": ">= 2", "passed": bool(pixels.std() >= 2)}}
        yield of.made(pixels, variant="negative", requested=asked, achieved={"mean": mean}, gates=gates)
