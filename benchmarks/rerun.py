"""CPU time of commands with nothing to do: a finished recipe asked again, and looks at it.

Whole commands with the default runner are counted, with the processes that they start. The limit is a process that
only imports the libraries that every command on a store needs.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

ROUNDS = 3
COMMAND = "from variorum.flows.cli import command; command()"
LIBRARIES = "import fsspec.implementations.local, numpy, pydantic, typer, yaml"
RECIPE = ("imagenet_e", "--limit", "4")
GOALS = {"run": 1.0, "plan": 1.0, "show": 0.5, "versions": 0.5, "help": 0.3}


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        print(json.dumps(compare(Path(name)), indent=1))


def compare(place: Path) -> dict[str, object]:
    store = ("--store", str(place / "store"))
    commands = {
        "run": (COMMAND, "run", *RECIPE, *store),
        "plan": (COMMAND, "plan", *RECIPE, *store),
        "show": (COMMAND, "show", "imagenet_e", *store),
        "versions": (COMMAND, "versions", "imagenet_e", *store),
        "help": (COMMAND, "--help"),
        "limit": (LIBRARIES,),
    }

    def cpu(*words: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", *words], cwd=place, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime

    work = cpu(*commands["run"], "--runner", "threads")
    timed = [{name: cpu(*words) for name, words in commands.items()} for _ in range(ROUNDS)]
    return {
        "cpu_seconds": {name: round(median(one[name] for one in timed), 2) for name in commands},
        "the_work_itself": round(work, 2),
        "goals": GOALS,
        "limit": "a process that imports fsspec, numpy, pydantic, typer and yaml",
    }


if __name__ == "__main__":
    main()
