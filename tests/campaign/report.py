"""The figures of the attacks: prints those of the last `make test-fire`, and with --write puts them into the docs.

The rows are the marked tests. A test's docstring says what is guaranteed, in its first line, and how it is attacked.
A run can be cut into parts, `make test-fire PART=1/4` and so on. Figures of one commit add up, and are written into the
docs when all parts are there; so are the tests' seconds into `costs.json`, by which the next run is cut.
"""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trials import RESULTS

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "operate" / "reliability.md"
COSTS = HERE / "costs.json"
"""Seconds of each marked test in the last run whose figures were written."""
NEW = 60.0
"""Seconds that a test counts that isn't in `COSTS`."""
PARTS = RESULTS / "parts.json"
"""The commit of the run that is going on, in how many parts, and which have been run."""
THEMES = (
    "kills",
    "prefect",
    "races",
    "s3",
    "damage",
    "faults",
    "inputs",
    "limits",
    "hostile",
    "foreign",
    "slurm",
    "hub",
    "voting",
    "sizes",
    "models",
    "bombs",
    "pages",
    "fuzz",
    "reports",
)
"""Order of the tables; each is a module `test_<theme>.py`."""
BEGIN, END = "<!-- written by tests/campaign/report.py -->", "<!-- end -->"


@dataclass(frozen=True)
class Row:
    """A marked test: what it holds, and how."""

    theme: str
    test: str
    guarantee: str
    attack: str

    @property
    def start(self) -> str:
        """The row in the docs, without figures."""
        link = f"[`{self.test}`](../../tests/campaign/test_{self.theme}.py)"
        return f"| {self.guarantee} | {self.attack} {link} |"


def rows(theme: str) -> list[Row]:
    """The marked tests of a theme, in their order."""
    tree = ast.parse((HERE / f"test_{theme}.py").read_text())
    tests = [one for one in tree.body if isinstance(one, ast.FunctionDef)]
    marked = [one for one in tests if any(ast.unparse(mark) == "pytest.mark.fire" for mark in one.decorator_list)]
    found = []
    for test in marked:
        guarantee, _, attack = (ast.get_docstring(test) or "").partition("\n\n")
        found.append(Row(theme, test.name, " ".join(guarantee.split()), " ".join(attack.split())))
    return found


def title(theme: str) -> str:
    """The first line of a module's docstring."""
    return (ast.get_docstring(ast.parse((HERE / f"test_{theme}.py").read_text())) or "").partition("\n")[0]


def figures() -> dict[str, dict[str, Any]]:
    """Figures by test, of the last run."""
    kept = [json.loads(path.read_bytes()) for path in sorted(RESULTS.glob("test_*.json"))]
    return {str(one["test"]).rpartition("::")[2]: one for one in kept}


def tables(found: dict[str, dict[str, Any]]) -> str:
    """The tables of the docs."""
    lines = []
    for theme in THEMES:
        lines += [
            "",
            f"## {title(theme)}",
            "",
            "| what we guarantee | how it is tested | tried | held |",
            "|---|---|---|---|",
        ]
        for row in rows(theme):
            one = found.get(row.test, {})
            lines.append(f"{row.start} {one.get('tried', '–')} | {one.get('held', '–')} |")
    return "\n".join([total(found), *lines] if found else lines[1:])


def total(found: dict[str, dict[str, Any]]) -> str:
    """All trials of a run, and how long it took without the time between its parts, in a sentence."""
    tried, held = (sum(one[name] for one in found.values()) for name in ("tried", "held"))
    took, until = 0.0, 0.0
    for began, ended in sorted((one["began"], one["began"] + one["seconds"]) for one in found.values()):
        took += max(0.0, ended - max(began, until))
        until = max(until, ended)
    return f"In all, {tried} trials in {took / 60:.0f} minutes: {held} held, {tried - held} fell."


def summary(found: dict[str, dict[str, Any]]) -> str:
    """The figures as text, with every trial that fell."""
    lines = [f"{'attack':<52}{'tried':>6}{'held':>6}{'fell':>6}{'seconds':>9}"]
    for row in (row for theme in THEMES for row in rows(theme) if row.test in found):
        one, name = found[row.test], row.test.removeprefix("test_").replace("_", " ")
        lines.append(f"{name:<52}{one['tried']:>6}{one['held']:>6}{one['tried'] - one['held']:>6}{one['seconds']:>9}")
        lines += [f"  fell: {trial['trial']}: {trial['fell']}" for trial in one["trials"] if trial["fell"]]
    return "\n".join([*lines, total(found) if found else "nothing was tried", ""])


def part_of(tests: Iterable[str], costs: dict[str, float], count: int) -> dict[str, int]:
    """Which part each test is in, from 1: the most costly first, each into the part that costs least so far."""
    took, placed = [0.0] * count, {}
    for test in sorted(set(tests), key=lambda name: (-costs.get(name, NEW), name)):
        part = took.index(min(took))
        took[part] += costs.get(test, NEW)
        placed[test] = part + 1
    return placed


def costs() -> dict[str, float]:
    """Seconds by test."""
    return dict(json.loads(COSTS.read_text())) if COSTS.exists() else {}


def begin(part: str) -> None:
    """Remove the figures of other runs: of another commit, cut otherwise, or of the whole."""
    count = int(part.partition("/")[2])
    asked = subprocess.run(["git", "rev-parse", "HEAD"], cwd=HERE, capture_output=True, text=True)
    run = {"commit": asked.stdout.strip(), "count": count, "done": []}
    before = json.loads(PARTS.read_text()) if PARTS.exists() else {}
    if count == 1 or before | {"done": []} != run:
        shutil.rmtree(RESULTS, ignore_errors=True)
        RESULTS.mkdir(parents=True)
        PARTS.write_text(json.dumps(run))


def missing(part: str) -> list[str]:
    """Note that a part has been run; those that haven't."""
    run = json.loads(PARTS.read_text())
    run["done"] = sorted({*run["done"], int(part.partition("/")[0])})
    PARTS.write_text(json.dumps(run))
    return [f"{number}/{run['count']}" for number in range(1, run["count"] + 1) if number not in run["done"]]


def main(arguments: list[str]) -> None:
    """`begin 1/4` before a part. `end 1/4` prints all figures, writes a JSON file, and with --write into the docs."""
    step, part, *options = arguments
    if step == "begin":
        begin(part)
        return
    found = figures()
    sys.stdout.write(summary(found))
    (RESULTS / "figures.json").write_text(json.dumps(list(found.values()), indent=1))
    if left := missing(part):
        sys.stdout.write(f"not run yet: PART={', PART='.join(left)}\n")
    elif "--write" in options:
        before, _, rest = PAGE.read_text().partition(BEGIN)
        after = rest.partition(END)[2]
        PAGE.write_text(f"{before}{BEGIN}\n\n{tables(found)}\n\n{END}{after}")
        COSTS.write_text(json.dumps({name: found[name]["seconds"] for name in sorted(found)}, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
