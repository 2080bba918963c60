"""Cost of Prefect for each part of a stage, relative to a unit of a minute; the parts do nothing.

The limit is the same parts on threads. A flow costs something once, however many parts it has: it is measured alone.
The server is our own, on SQLite, and runs on the same cores.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from timing import measure

PARTS = 300
ROUNDS = 3
UNIT = 60.0
"""Seconds of the unit that the cost is compared with."""
GOAL = 0.02


@dataclass(frozen=True)
class Part:
    """A piece of no work."""

    number: int
    samples: int = 1

    def __str__(self) -> str:
        return f"part {self.number}"


class Nothing:
    """A stage whose parts take no time."""

    name = "unit"
    doing = "making nothing of"
    uses_models = False

    def make(self, part: Part, _advance: Any) -> int:
        """The part's number."""
        return part.number


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        os.environ["PREFECT_HOME"] = str(Path(name) / "prefect")
        print(json.dumps(compare(Path(name)), indent=1))


def compare(place: Path) -> dict[str, object]:
    from variorum.flows.prefect_runner import in_flow
    from variorum.pipeline import Job, Threads
    from variorum.schemas.recipe import Recipe

    (place / "photos").mkdir()
    source = {"name": "image_folder", "path": str(place / "photos")}
    job = Job(Recipe.parse({"dataset": "d", "version": "1.0.0", "source": source}), str(place / "store"))
    stage: Any = Nothing()

    def flow(parts: int, workers: int) -> None:
        def work(_: Job, runner: Any, progress: Any) -> list[int]:
            return runner.map(stage, [Part(number) for number in range(parts)], progress)

        assert in_flow("bench", work, job, workers=workers) == list(range(parts))

    def threads() -> None:
        from variorum.machine.progress import QUIET

        Threads(2).map(stage, [Part(number) for number in range(PARTS)], QUIET)

    began = time.perf_counter()
    flow(0, 1)
    first = time.perf_counter() - began
    variants = {
        "empty": lambda: flow(0, 1),
        "one_worker": lambda: flow(PARTS, 1),
        "two_workers": lambda: flow(PARTS, 2),
        "threads": threads,
    }
    rounds = [{name: measure(work) for name, work in variants.items()} for _ in range(ROUNDS)]

    def a_part(name: str, what: str) -> float:
        spent: list[float] = [
            getattr(turn[name], what) - getattr(turn["empty"], what) - getattr(turn["threads"], what) for turn in rounds
        ]
        return statistics.median(spent) / PARTS

    def seconds(name: str) -> float:
        return statistics.median(turn[name].wall for turn in rounds)

    cost = a_part("one_worker", "wall")
    return {
        "parts": PARTS,
        "milliseconds_a_part": round(1e3 * cost, 1),
        "milliseconds_a_part_two_workers": round(1e3 * a_part("two_workers", "wall"), 1),
        "cpu_milliseconds_a_part_without_the_server": round(1e3 * a_part("one_worker", "cpu"), 1),
        "share_of_a_unit_of_60_s": round(cost / UNIT, 5),
        "goal": f"<= {GOAL}",
        "seconds_of_a_flow_without_parts": round(seconds("empty"), 2),
        "seconds_of_the_first_flow_with_a_new_server_and_database": round(first, 1),
        "limit": "the same parts on threads",
        "milliseconds_a_part_on_threads": round(1e3 * seconds("threads") / PARTS, 3),
    }


if __name__ == "__main__":
    main()
