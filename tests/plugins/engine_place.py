"""Runs of a small recipe on a runner's engine, whose workers say what they make; see `tallied`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import yaml

PLUGINS = Path(__file__).parent


class Place:
    """A folder with a recipe and a store, in which the command runs."""

    def __init__(self, folder: Path, photos: Path) -> None:
        self.folder, self.process = folder, None
        recipe = {
            "dataset": "d",
            "version": "1.0.0",
            "samples_per_shard": 2,
            "source": {"name": "image_folder", "path": str(photos)},
            "generate": [{"name": str(PLUGINS / "tallied.py")}],
            "curate": [{"name": "bright"}, {"name": "bright_rules", "drop": 2}],
            "evaluate": [{"name": "brightness"}],
        }
        (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))

    def start(self, runner: str, **environment: str) -> None:
        """Start the command with two workers."""
        program = "from variorum.flows.cli import main; main()"
        words = ["run", "recipe.yaml", "--json", "--workers", "2", "--runner", runner]
        words += ["--runner-set", "cluster=local"] if runner == "slurm" else []
        own = {"TALLY": str(self.folder), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(PLUGINS)}
        with (self.folder / "out").open("w") as out, (self.folder / "said").open("w") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", program, *words],
                cwd=self.folder,
                env={**os.environ, **own, **environment},
                stdout=out,
                stderr=said,
            )

    def finish(self) -> str:
        """The digest of the release, when the command has ended."""
        code = self.process.wait(150)
        assert code == 0, (self.folder / "said").read_text()
        return json.loads((self.folder / "out").read_text())["digest"]

    def made(self) -> list[list[str]]:
        """Process, model and picture of each picture that was made."""
        log = self.folder / "made"
        return [line.split() for line in log.read_text().splitlines()] if log.exists() else []

    def receipts(self) -> int:
        """Units that are finished."""
        return len(list((self.folder / "store" / "units").glob("*.json")))


def until(condition: Callable[[], object], seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.05)
