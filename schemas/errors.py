"""The errors that the project raises on purpose, and their meaning.

    VariorumError                 one clear line for the user: what is wrong, the value, how to fix it
    ├── RecipeError               a recipe, an override or a component's field is wrong
    │   ├── UnknownName           a model, a suite or a row is named that isn't there
    │   └── StoredSettings        a component can't be had from the settings that an edition holds
    ├── SourceError               the data behind a source is missing or unusable
    │   └── SourceChanged         it changed while it was read
    ├── TemporaryError            a disk, a network or the machine failed; the same command may succeed
    ├── ModelUnavailable          a model's weights are missing or unusable here, or memory is too small
    │   └── ModelOutOfReach       they can't be fetched now, which is a TemporaryError too
    ├── ModelFailed               a model under test raised, or gave something else than scores of its classes
    ├── TooManyFailures           a unit failed past the recipe's failure rate
    ├── GuardFailed               a limit that a report should keep isn't kept
    └── StoreError                the store can't be written, read or trusted
        ├── VersionDrift          a sealed version already exists with other content
        └── CorruptShard          bytes on disk don't match the hash in their name

Any other exception is a bug; the command line shows its traceback only with --debug.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

from variorum.schemas.secrets import without_secrets

UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters except tab and newline, other ends of lines, marks that reverse the direction of text, and bytes
that aren't UTF-8. File names and recipes may hold them, and they could command a terminal or hide what is printed."""


def cut(text: str) -> str:
    """Text for a message: one line, cut off after 200 characters, and without secrets."""
    text = " ".join(without_secrets(text[:4000]).splitlines())
    return text if len(text) <= 200 else f"{text[:200]}…"


class VariorumError(Exception):
    """Base of the errors for users; the message needs no further context, and has no secrets and nothing `UNSAFE`.

    It is one line, whatever the names in it hold, unless the class says that it lists things line by line.
    """

    lists: ClassVar = False

    def __init__(self, *args: object) -> None:
        super().__init__(*(self._said(one) if isinstance(one, str) else one for one in args))

    def _said(self, text: str) -> str:
        text = UNSAFE.sub("\ufffd", without_secrets(text))
        return text if self.lists else " ".join(text.splitlines())


class RecipeError(VariorumError):
    """A recipe, an override or a component's field is wrong."""

    lists = True


class UnknownName(RecipeError):
    """A model, a suite or a row of a report is named that isn't there; the message says which there are."""


class StoredSettings(RecipeError):
    """A component can't be had from settings that an edition holds, as they name code, a file or a place, say."""


class SourceError(VariorumError):
    """The data behind a source is missing or unusable."""


class SourceChanged(SourceError):
    """The data isn't what the run was planned for: it changed, or went away, while the run went on."""


class TemporaryError(VariorumError):
    """A disk, a network or the machine failed for now; the same command may succeed later. Runners try again."""


class ModelUnavailable(VariorumError):
    """A model's weights are missing, unusable or not the pinned ones on this machine, or memory is too small."""

    lists = True


class ModelOutOfReach(ModelUnavailable, TemporaryError):
    """A model's weights can't be fetched now: the network or a server fails. The same command may succeed later."""


class ModelFailed(VariorumError):
    """A model under test raised, or gave something else than one finite score per picture and class."""


class TooManyFailures(VariorumError):
    """More samples of a unit failed than the recipe's `max_failure_rate` allows."""


class GuardFailed(VariorumError):
    """A model's value in a report is beyond a limit that was set for it."""


class StoreError(VariorumError):
    """The store can't be written, read or trusted."""


class VersionDrift(StoreError):
    """A sealed version already exists with other content."""


class CorruptShard(StoreError):
    """Bytes in the store don't match the hash in their name."""


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and then those that it was raised from or during."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


class BadObjects(ValueError):
    """Objects that can't be read. `reason` is a word for the sample, `detail` a sentence."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
