"""This user's folders: the cache, with model weights, file hashes and intermediate results, and the configuration.

Nothing in them is part of an edition, and all of the cache can be deleted at any time.
"""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir() -> Path:
    """`$VARIORUM_CACHE`, or `~/.cache/variorum`. The folder may not exist yet."""
    return Path(os.environ.get("VARIORUM_CACHE") or Path.home() / ".cache" / "variorum").expanduser()


def config_dir() -> Path:
    """`$XDG_CONFIG_HOME/variorum`, or `~/.config/variorum`. The folder may not exist yet."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "variorum"
