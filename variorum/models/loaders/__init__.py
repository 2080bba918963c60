"""The kinds of models that a table's `loader` can name: `TRUSTMARK = Loader(...)` in a module here is `trustmark`.

A name is part of the pin, so it never changes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path

from variorum.models.loaders.loader import Loader
from variorum.schemas.errors import ModelUnavailable

PLATE = re.compile(r"^([A-Z0-9_]+) = (?:_?[Ll]oader|defence)\(", re.M)
DEFENCE = re.compile(r"^([A-Z0-9_]+) = defence\(", re.M)
"""Of a wrapper around models under test."""
JOINED = " + "
"""Between a model and its defence."""


def _found() -> tuple[dict[str, str], tuple[str, ...]]:
    """Read the names in the modules' texts, so that a module is imported when a model needs its loader."""
    texts = {one.stem: one.read_text(encoding="utf-8") for one in sorted(Path(__file__).parent.glob("*.py"))}
    named = {name.lower(): stem for stem, text in texts.items() for name in PLATE.findall(text)}
    return dict(sorted(named.items())), tuple(
        sorted(name.lower() for text in texts.values() for name in DEFENCE.findall(text))
    )


LOADERS: Mapping[str, str]
"""By name, the module with the loader."""
DEFENCES: tuple[str, ...]
"""Names of the loaders that are wrappers around models under test."""
LOADERS, DEFENCES = _found()


def split(name: str) -> tuple[str, str]:
    """The model and the defence in a name such as `judge + tempered t=2`; the defence is `""` without one."""
    model, joined, words = name.rpartition(JOINED)
    return (model, words) if joined and model and words.partition(" ")[0] in DEFENCES else (name, "")


def with_bare(names: Iterable[str]) -> tuple[str, ...]:
    """Models, each behind a defence after the one without it: what a defence costs is read beside the bare model."""
    found = dict[str, None]()
    for name in names:
        row = [name]
        while (one := split(row[0]))[1]:
            row.insert(0, one[0])
        found |= dict.fromkeys(row)
    return tuple(found)


def find_loader(name: str) -> Loader:
    """The loader of this name.

    Raises:
        ModelUnavailable: there is none.
    """
    if name not in LOADERS:
        raise ModelUnavailable(f"no loader named {name!r}; there are: {', '.join(LOADERS)}")
    found: Loader = getattr(import_module(f"{__name__}.{LOADERS[name]}"), name.upper())
    return found
