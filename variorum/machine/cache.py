"""Where this machine keeps what can be made or fetched again: model weights, file hashes.

Nothing in here is part of an edition, and all of it may be deleted at any time.
"""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir() -> Path:
    """`$VARIORUM_CACHE`, or `~/.cache/variorum`; not created here."""
    return Path(os.environ.get("VARIORUM_CACHE") or Path.home() / ".cache" / "variorum").expanduser()
