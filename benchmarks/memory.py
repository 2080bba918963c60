"""Peak memory of building and measuring a thousand and ten thousand samples; it must not grow with their number."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

SIZES = (1_000, 10_000)

OPENED = """
import resource, sys
from variorum import pipeline
from variorum.edition.editions import resolve
from variorum.schemas.recipe import Recipe
from variorum.stages.measure import Measure
from variorum.stages.pieces import edition_pieces
from variorum.stages.stage import complete
recipe = Recipe.parse({"dataset": "d", "version": "1.0.0", "samples_per_shard": 250,
                       "source": {"name": "image_folder", "path": sys.argv[1]},
                       "curate": [{"name": "quality"}, {"name": "duplicates", "embedding": False}]})
job = pipeline.Job(recipe, sys.argv[2])
"""
STAGES = {
    "build": """
manifest = pipeline.build(job)
assert manifest.counts == {"original": {"accepted": int(sys.argv[3])}}
""",
    "measure": """
pieces = edition_pieces(resolve("d@1.0.0", job.store), recipe.curate, job)
assert sum(piece.samples for piece in pieces) == int(sys.argv[3])
for part in complete(Measure(job, recipe.curate, pieces, "measuring"), pipeline.Threads()):
    assert len(part.tables) == 2
""",
}
PEAK = "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        for size in SIZES:
            write(place / str(size), size)
        peaks = {stage: {size: peak(place, stage, size) for size in SIZES} for stage in STAGES}
    small, large = SIZES
    result = {
        stage: {
            "peak_mb": {str(size): round(kb / 1024, 1) for size, kb in found.items()},
            "ratio": round(found[large] / found[small], 3),
        }
        for stage, found in peaks.items()
    }
    goals = {"goal": "<= 1.1", "limit": "1.0, the peak of the smaller edition"}
    print(json.dumps({**result, **goals}, indent=1))


def write(folder: Path, size: int) -> None:
    """Write this number of pictures of 32 x 32 pixels."""
    import numpy as np
    from PIL import Image

    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(size):
        stream = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(stream, "PNG")
        (folder / f"{number:06d}.png").write_bytes(stream.getvalue())


def peak(place: Path, stage: str, size: int) -> int:
    """Peak memory in KB of a separate process that runs one stage."""
    environment = {**os.environ, "VARIORUM_CACHE": str(place / "cache")}
    code = OPENED + STAGES[stage] + PEAK
    command = [sys.executable, "-c", code, str(place / str(size)), str(place / f"store{size}"), str(size)]
    return int(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)


if __name__ == "__main__":
    main()
