"""Python processes that this project starts: none imports anything from the current folder, or a program's."""

from __future__ import annotations

import os
import sys

SAFE = "PYTHONSAFEPATH"
"""The variable that does the same as `-P`."""


def python(*words: str) -> list[str]:
    """The command that runs this interpreter with some words, such as `-c`, a program, and its arguments.

    `-m` and `-c` put the current folder first in `sys.path`, so that a `pip.py` or `json.py` that lies there would run.
    `-P` forbids it; the packages and variables of the user stay.
    """
    return [sys.executable, "-P", *words]


def shield() -> None:
    """Have processes that a library starts, such as Dask's and submitit's, do the same."""
    os.environ[SAFE] = "1"
