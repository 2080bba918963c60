"""A generator whose errors tell what they shouldn't: its exceptions, their causes and notes, and a log line."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator

from variorum.schemas.component import Context, Generator
from variorum.schemas.sample import Failure, Sample


class Refused(Exception):
    """An error that makes its text from what it holds, as those of many libraries do."""

    def __init__(self, answer: dict[str, str]) -> None:
        super().__init__("refused")
        self.answer = answer

    def __str__(self) -> str:
        return f"refused: {self.answer}"


class Telling(Generator):
    """Raises for every picture."""

    def generate(self, samples: Iterable[Sample], ctx: Context) -> Iterator[Sample | Failure]:
        """Raise an error with the token, which has another one as its cause."""
        secret = os.environ["HF_TOKEN"]
        logging.getLogger("telling").warning("the token is %s", secret)
        for _ in samples:
            try:
                raise Refused({"token": secret})
            except Refused as error:
                error.add_note(f"with {secret}")
                raise RuntimeError(f"refused with {secret}") from error
        yield from ()
