"""The kinds of models that a table's `loader` can name: `TRUSTMARK = Loader(...)` in a module here is `trustmark`.

A name is part of the pin, so it never changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules

from variorum.models.loaders.loader import Loader
from variorum.schemas.errors import ModelUnavailable


def _found() -> dict[str, Loader]:
    """All loaders by name, in alphabetical order."""
    modules = [import_module(f"{__name__}.{one.name}") for one in iter_modules(__path__)]
    named = {name.lower(): one for module in modules for name, one in vars(module).items() if isinstance(one, Loader)}
    return dict(sorted(named.items()))


LOADERS: Mapping[str, Loader] = _found()


def find_loader(name: str) -> Loader:
    """The loader of this name.

    Raises:
        ModelUnavailable: there is none.
    """
    if name not in LOADERS:
        raise ModelUnavailable(f"no loader named {name!r}; there are: {', '.join(LOADERS)}")
    return LOADERS[name]
