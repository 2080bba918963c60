"""Generate variants of image datasets, record how each was made, and seal the result as a versioned edition."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from variorum.api.edition import Edition, open

__version__ = "0.1.0"

_WHERE = {"Edition": "edition", "open": "edition"}
"""By name, the module of `variorum.api` that has it. They are imported when first used: that takes a second."""
__all__ = ["Edition", "open"]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(importlib.import_module(f"variorum.api.{_WHERE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
