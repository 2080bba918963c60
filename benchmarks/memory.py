"""Peak memory of a build at a thousand and at ten thousand samples: an edition must not grow with its length."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

SIZES = (1_000, 10_000)

BUILD = """
import resource, sys
from schemas.recipe import Recipe
from variorum.context import open_context
from variorum.engine import build
from variorum.store import Store
recipe = Recipe.parse({"dataset": "d", "version": "1.0.0", "samples_per_shard": 250,
                       "source": {"name": "image_folder", "path": sys.argv[1]}})
manifest = build(recipe, open_context(recipe, "embedded"), Store(sys.argv[2]), profile="embedded")
assert manifest.counts == {"original": {"accepted": int(sys.argv[3])}}
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        peaks = {size: peak(place, size) for size in SIZES}
    small, large = (peaks[size] for size in SIZES)
    result = {
        "peak_mb": {str(size): round(kb / 1024, 1) for size, kb in peaks.items()},
        "ratio": round(large / small, 3),
        "goal": "<= 1.1",
        "limit": "1.0, the smaller edition's own peak",
    }
    print(json.dumps(result, indent=1))


def peak(place: Path, size: int) -> int:
    """KB that a process of its own needs at most to build an edition of so many 32 x 32 pictures."""
    import numpy as np
    from PIL import Image

    folder = place / str(size)
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(size):
        stream = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(stream, "PNG")
        (folder / f"{number:06d}.png").write_bytes(stream.getvalue())
    environment = {**os.environ, "VARIORUM_CACHE": str(place / "cache")}
    command = [sys.executable, "-c", BUILD, str(folder), str(place / f"store{size}"), str(size)]
    return int(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)


if __name__ == "__main__":
    main()
