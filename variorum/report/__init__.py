"""Show an edition: card, contact sheet, tables, differences; and models: their report.

`variorum.report` is also the name of the function that makes a report, so this package can be called.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    """A package that stands for `variorum.api.report.report` where it is called or described."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        return _function()(*args, **options)

    @property
    def __doc__(self) -> str | None:  # type: ignore[override]
        return inspect.getdoc(_function())

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(_function())


def _function() -> Any:
    return importlib.import_module("variorum.api.report").report


sys.modules[__name__].__class__ = _Callable
