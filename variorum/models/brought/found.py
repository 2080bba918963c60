"""Resolve a model's name on this machine, before it is loaded."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from variorum.models.brought.model import BroughtModel
from variorum.schemas.canonical import digest
from variorum.schemas.errors import ModelUnavailable

REVISION = 1
"""Part of every pin; raise it when the same weights start to give other output."""


@dataclass(frozen=True, slots=True)
class Found:
    """A model that can be loaded.

    Attributes:
        name: as the user gave it.
        label: short name for the pin: no path, so that moving a file changes nothing.
        revision: see `BroughtModel.revision`.
        location: where its weights are, for messages.
        path: of the files that must not change while they are loaded; None if there are none.
        load: loads it.
    """

    name: str
    label: str
    revision: str
    location: str
    path: Path | None
    load: Callable[[], BroughtModel]

    @property
    def pin(self) -> str:
        """The pin in the form of the table's: `label@content+brought.1`, then what else decides its output."""
        return pin_of(self.label, self.revision)


class NotFetched(ModelUnavailable):
    """The model has to be downloaded first."""


def pin_of(label: str, revision: str) -> str:
    """A pin made of a short name and a revision; a sha256 is cut to 32 digits, as in the pins of the model table."""
    content, _, more = revision.partition(";")
    if re.fullmatch("sha256:[0-9a-f]{64}", content):
        content = content[:39]
    elif not re.fullmatch(r"[\w.:-]{1,100}", content, re.ASCII):
        content = f"own:{digest(content)[:32]}"
    label = re.sub(r"[^A-Za-z0-9._:/@-]", "_", label)
    return f"{label}@{content}+brought.{REVISION}{f';{more}' if more else ''}"
