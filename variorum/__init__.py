"""Generate variants of image datasets, record how each was made, and seal the result as a versioned edition.

    import variorum as va

    edition = va.run("imagenet_e", limit=8)
    edition.show()

docs/start/python.md has a page on all of it. The names below are imported when they are first used, so that the import
of the package itself costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from variorum.api.curate import curate
    from variorum.api.edition import Edition, open
    from variorum.api.evaluate import evaluate
    from variorum.api.leaderboard import leaderboard
    from variorum.api.listing import components, diff, verify
    from variorum.api.page import view
    from variorum.api.recipes import plan, run
    from variorum.api.report import report
    from variorum.schemas import errors

__version__ = "0.1.0"

_WHERE = {
    "Edition": "api.edition",
    "components": "api.listing",
    "curate": "api.curate",
    "diff": "api.listing",
    "errors": "schemas",
    "evaluate": "api.evaluate",
    "leaderboard": "api.leaderboard",
    "open": "api.edition",
    "plan": "api.recipes",
    "report": "api.report",
    "run": "api.recipes",
    "verify": "api.listing",
    "view": "api.page",
}
"""By name, the module that has it."""
__all__ = [
    "Edition",
    "components",
    "curate",
    "diff",
    "errors",
    "evaluate",
    "leaderboard",
    "open",
    "plan",
    "report",
    "run",
    "verify",
    "view",
]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        if name == "errors":
            value: Any = importlib.import_module("variorum.schemas.errors")
        else:
            value = getattr(importlib.import_module(f"variorum.{_WHERE[name]}"), name)
        globals()[name] = value  # the next look-up doesn't come here
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}{_near(name)}", name=name, obj=None)


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})


def _near(name: str) -> str:
    """A hint at the public name that somebody may have meant."""
    if name.startswith("_"):
        return ""
    from difflib import get_close_matches

    near = get_close_matches(name, __all__, 1)
    return f"; did you mean {near[0]!r}?" if near else ""
