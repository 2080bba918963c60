"""Time of a run with nothing left to do, beyond the start of Prefect itself; and time of `--help`."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import skimage.data
import yaml
from PIL import Image

ROUNDS = 3
EMPTY = """
import variorum.flows.settings
from prefect import flow
@flow
def empty(): pass
empty()
"""
COMMAND = "from variorum.flows.cli import main; main()"


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        print(json.dumps(compare(Path(name)), indent=1))


def compare(place: Path) -> dict[str, object]:
    photos = place / "photos"
    photos.mkdir()
    picture = Image.fromarray(skimage.data.astronaut())
    for number in range(64):
        picture.crop((number, number, number + 224, number + 224)).save(photos / f"{number}.jpg")
    recipe = {
        "dataset": "d",
        "version": "1.0.0",
        "samples_per_shard": 8,
        "source": {"name": "image_folder", "path": str(photos)},
    }
    (place / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    environment = {
        **os.environ,
        "VARIORUM_CACHE": str(place / "cache"),
        "PREFECT_HOME": str(place / "prefect"),
    }

    def wall(*arguments: str) -> float:
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", *arguments], cwd=place, env=environment, check=True, capture_output=True)
        return time.perf_counter() - began

    wall(EMPTY)  # creates Prefect's database
    wall(COMMAND, "run", "recipe.yaml")
    timed = [
        {
            "empty": wall(EMPTY),
            "rerun": wall(COMMAND, "run", "recipe.yaml"),
            "plain": wall(COMMAND, "run", "recipe.yaml", "--runner", "threads"),
            "help": wall(COMMAND, "--help"),
            "python": wall("pass"),
        }
        for _ in range(ROUNDS)
    ]
    seconds = {name: round(statistics.median(t[name] for t in timed), 2) for name in timed[0]}
    return {
        "wall_seconds": seconds,
        "rerun_minus_empty_flow": round(statistics.median(t["rerun"] - t["empty"] for t in timed), 2),
        "goal": "<= 2",
        "limit": "an empty Prefect flow",
        "help_goal": "<= 0.5",
        "help_limit": "an empty Python program",
    }


if __name__ == "__main__":
    main()
