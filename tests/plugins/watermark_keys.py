"""The secret of all watermarks in tests: one for all, as pictures and digests depend on it."""

import json
import os
import tempfile
from pathlib import Path


def use_own_keys() -> None:
    """Point VARIORUM_KEYS to a file with the tests' secret, which only this user can read."""
    path = Path(tempfile.mkdtemp(prefix="variorum-keys-")) / "watermark.keys"
    path.touch(mode=0o600)
    path.write_text(json.dumps({"secret": "5e" * 32}))
    os.environ["VARIORUM_KEYS"] = str(path)
