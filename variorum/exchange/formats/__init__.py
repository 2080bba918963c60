"""The formats in which an edition can be exported, a module each; the module's name is the format's.

A module has `write(folder, selection, pictures)`, which writes the pictures into an empty folder, and `REVISION`, which
is raised when the same edition is exported differently. It may have `check(selection)`, which raises StoreError for an
edition that the format isn't for, before any picture is read.
"""

from __future__ import annotations

from pkgutil import iter_modules

FORMATS = tuple(sorted(one.name for one in iter_modules(__path__)))
"""Their names, all but `coco`, which has options of its own; see `variorum.exchange.coco.export`."""
