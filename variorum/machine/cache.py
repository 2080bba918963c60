"""This machine's cache folder: model weights, file hashes, intermediate results.

Nothing in it is part of an edition, and all of it can be deleted at any time.
"""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir() -> Path:
    """`$VARIORUM_CACHE`, or `~/.cache/variorum`. The folder may not exist yet."""
    return Path(os.environ.get("VARIORUM_CACHE") or Path.home() / ".cache" / "variorum").expanduser()
