"""A generator that says which process makes which picture, and meets the ends that tests ask for."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from variorum.schemas.component import Context, Generator, Use
from variorum.schemas.edit import Edit
from variorum.schemas.errors import RecipeError
from variorum.schemas.sample import Failure, Sample

log = logging.getLogger(__name__)


class Odd(Exception):
    """An error that can't be unpickled."""

    def __init__(self, one: str, other: str) -> None:
        super().__init__(f"{one} and {other}")


class Tallied(Generator):
    """The same picture; $TALLY is a folder for the list of pictures, and the file `doomed` in it for a picture that
    ends its process once."""

    explode: str = ""

    def uses(self) -> list[Use]:
        """Return a real network."""
        return [Use("segmenter")]

    def edit(self, sample: Sample, of: Edit) -> Iterator[Sample | Failure]:
        """The same picture, after a look by the model."""
        model = of.model("segmenter")
        model([sample.image])
        folder = Path(os.environ["TALLY"])
        with (folder / "made").open("a") as file:
            file.write(f"{os.getpid()} {id(model)} {sample.origin}\n")
        time.sleep(float(os.environ.get("TALLY_SECONDS", "0")))
        doomed = folder / "doomed"
        if doomed.exists() and doomed.read_text() == sample.origin:
            doomed.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        log.warning("looked at %s", sample.origin)
        if self.explode and self.explode in sample.origin:
            self._explode(sample.origin, of.ctx)
        yield of.made(sample.image, variant="looked_at", requested={})

    def _explode(self, origin: str, ctx: Context) -> None:
        if origin.endswith("0.jpg"):
            raise ZeroDivisionError(f"exploded at {origin}")
        if origin.endswith("1.jpg"):
            raise Odd("this", "that")
        try:
            raise OSError(5, "Input/output error")
        except OSError as error:
            raise RecipeError(f"explode: refused {origin}") from error
