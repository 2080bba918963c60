"""Python processes that this project starts: none imports anything from the current folder."""

from __future__ import annotations

import shlex
import sys


SAFE = {"PYTHONSAFEPATH": "1"}
"""The same as a variable, for processes that a library starts."""


def python(*words: str) -> list[str]:
    """The command that runs this interpreter with some words, such as `-c`, a program, and its arguments.

    `-m` and `-c` put the current folder first in `sys.path`, and a file's folder goes there, so that a `pip.py` or
    `json.py` that lies there would run. `-P` forbids it; the user's own site and environment stay.
    """
    return [sys.executable, "-P", *words]


def python_text() -> str:
    """The same for a shell."""
    return shlex.join(python())
