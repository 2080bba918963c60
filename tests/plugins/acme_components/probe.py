"""The negative of each picture, with the trouble that tests ask for: a real generator in a third-party folder."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Iterator

import numpy as np

from variorum.schemas.component import Context, Generator
from variorum.schemas.sample import Failure, Op, Sample


class Probe(Generator):
    """Yields each picture as it came and its negative with noise of `ctx.rng`; patterns are searched in `origin`."""

    strength: float = 2.0
    fail: str = "^$"
    ineligible: str = "^$"
    quarantine: str = "^$"
    explode: str = "^$"
    mask: str = "^$"
    copies: int = 1
    originals: bool = True

    def generate(self, samples: Iterable[Sample], ctx: Context) -> Iterator[Sample | Failure]:
        """Originals and negatives in order."""
        for sample in samples:
            time.sleep(float(os.environ.get("PROBE_SECONDS", "0")))  # the pace doesn't decide the output
            while "PROBE_HOLD" in os.environ and os.path.exists(os.environ["PROBE_HOLD"]):
                time.sleep(0.1)
            if re.search(self.explode, sample.origin):
                raise ZeroDivisionError(f"exploded at {sample.origin}")
            if self.originals:
                yield sample
            for status in ("failed", "ineligible"):
                if re.search(self.fail if status == "failed" else self.ineligible, sample.origin):
                    for copy in range(self.copies):
                        yield Failure(f"{copy:032x}", sample.id, status, "asked_for", variant=f"negative_{copy}")
                    break
            else:
                yield from (self._negative(sample, copy, ctx) for copy in range(self.copies))

    def _negative(self, sample: Sample, copy: int, ctx: Context) -> Sample:
        noise = ctx.rng("probe", sample.id, str(copy)).normal(0, self.strength, sample.image.shape)
        pixels = np.clip(255 - sample.image + noise, 0, 255).astype(np.uint8)
        quarantined = re.search(self.quarantine, sample.origin)
        op: Op = {
            "name": "probe",
            "revision": self.revision,
            "requested": {"copy": copy, "strength": self.strength},
            "achieved": {"mean": float(pixels.mean())},
            "gates": {"mean": {"value": float(pixels.mean()), "limit": "any", "passed": not quarantined}},
            "models": {},
            "seed": ctx.seed_for("probe", sample.id, str(copy)),
        }
        extras = {"mask.png": np.full(pixels.shape[:2], 255, np.uint8)} if re.search(self.mask, sample.origin) else {}
        return sample.child(
            pixels,
            op,
            variant=f"negative_{copy}",
            fingerprint=self.fingerprint(),
            extras=extras,
            reason="asked_for" if quarantined else "",
        )
