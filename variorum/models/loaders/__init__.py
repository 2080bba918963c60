"""The kinds of models that a table's `loader` can name: `TRUSTMARK = Loader(...)` in a module here is `trustmark`.

A name is part of the pin, so it never changes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

from variorum.models.loaders.loader import Loader
from variorum.schemas.errors import ModelUnavailable

PLATE = re.compile(r"^([A-Z0-9_]+) = _?[Ll]oader\(", re.M)


def _found() -> dict[str, str]:
    """Read the names in the modules' texts, so that a module is imported when a model needs its loader."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    named = {name.lower(): one.stem for one in files for name in PLATE.findall(one.read_text(encoding="utf-8"))}
    return dict(sorted(named.items()))


LOADERS: Mapping[str, str] = _found()
"""By name, the module with the loader."""


def find_loader(name: str) -> Loader:
    """The loader of this name.

    Raises:
        ModelUnavailable: there is none.
    """
    if name not in LOADERS:
        raise ModelUnavailable(f"no loader named {name!r}; there are: {', '.join(LOADERS)}")
    found: Loader = getattr(import_module(f"{__name__}.{LOADERS[name]}"), name.upper())
    return found
