"""Open a page in the browser, where there is a display."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def has_display() -> bool:
    """Return whether a user can see a browser: the output is a terminal, and there is a display."""
    if not sys.stdout.isatty():
        return False
    if sys.platform in ("darwin", "win32"):
        return not os.environ.get("SSH_CONNECTION")
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def open_page(path: str) -> bool:
    """Open a file of this machine in a browser if `has_display`; returns whether one was started."""
    import webbrowser

    if "://" in path or not has_display():
        return False
    try:
        return webbrowser.open(Path(path).absolute().as_uri())
    except webbrowser.Error:
        return False


def open_address(url: str) -> bool:
    """The same for a server's address on this machine."""
    import webbrowser

    if not has_display():
        return False
    try:
        return webbrowser.open(url)
    except webbrowser.Error:
        return False
