"""The figures of the attacks: prints those of the last `make test-fire`, and with --write puts them into the docs.

The rows are the marked tests. A test's docstring says what is guaranteed, in its first line, and how it is attacked.
"""

from __future__ import annotations

import ast
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trials import RESULTS

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "reliability.md"
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
    "hub",
    "review",
    "sizes",
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
        link = f"[`{self.test}`](../tests/campaign/test_{self.theme}.py)"
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
    """All trials of a run, and how long it took, in a sentence."""
    tried, held = (sum(one[name] for one in found.values()) for name in ("tried", "held"))
    took = max(one["began"] + one["seconds"] for one in found.values()) - min(one["began"] for one in found.values())
    return f"In all, {tried} trials in {took / 60:.0f} minutes: {held} held, {tried - held} fell."


def summary(found: dict[str, dict[str, Any]]) -> str:
    """The figures as text, with every trial that fell."""
    lines = [f"{'attack':<52}{'tried':>6}{'held':>6}{'fell':>6}{'seconds':>9}"]
    for row in (row for theme in THEMES for row in rows(theme) if row.test in found):
        one, name = found[row.test], row.test.removeprefix("test_").replace("_", " ")
        lines.append(f"{name:<52}{one['tried']:>6}{one['held']:>6}{one['tried'] - one['held']:>6}{one['seconds']:>9}")
        lines += [f"  fell: {trial['trial']}: {trial['fell']}" for trial in one["trials"] if trial["fell"]]
    return "\n".join([*lines, total(found) if found else "nothing was tried", ""])


def main(arguments: list[str]) -> None:
    """Print the figures, write them as one JSON file, and with --write into the docs."""
    found = figures()
    sys.stdout.write(summary(found))
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "figures.json").write_text(json.dumps(list(found.values()), indent=1))
    if "--write" in arguments:
        before, _, rest = PAGE.read_text().partition(BEGIN)
        after = rest.partition(END)[2]
        PAGE.write_text(f"{before}{BEGIN}\n\n{tables(found)}\n\n{END}{after}")


if __name__ == "__main__":
    main(sys.argv[1:])
