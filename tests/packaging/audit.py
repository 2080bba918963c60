"""Looks up published flaws of what is installed, by pip-audit.

Exits with 1 if there is one without a reason in `audit.toml`, and with 75 if a package couldn't be looked up.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import tomllib
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

REASONS = Path(__file__).with_name("audit.toml")
FLAWED, UNKNOWN = 1, 75


def installed() -> list[str]:
    """Every package but our own, pinned. What follows a + in a version is left out: databases don't know builds."""
    found = {one.name: one.version.partition("+")[0] for one in distributions()}
    return sorted(f"{name}=={version}" for name, version in found.items() if name != "variorum")


def looked_up(packages: list[str]) -> list[dict[str, Any]]:
    """What pip-audit says of each package. It exits with 0 also if it knows none of them."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(packages))
        file.flush()
        options = ["--no-deps", "--disable-pip", "--format", "json", "--progress-spinner", "off", "-r", file.name]
        done = subprocess.run([sys.executable, "-m", "pip_audit", *options], capture_output=True, text=True)
    if not done.stdout:
        why = (done.stderr.strip().splitlines() or ["pip-audit says nothing"])[-1]
        return [{"name": package, "skip_reason": why} for package in packages]
    return list(json.loads(done.stdout)["dependencies"])


def judged(found: list[dict[str, Any]], reasons: dict[str, str]) -> tuple[list[str], int]:
    """What to say of what was found, and the exit code."""
    skipped = [one for one in found if "skip_reason" in one]
    said, used = [], set()
    for one in found:
        for flaw in one.get("vulns", []):
            if known := reasons.keys() & {flaw["id"], *flaw["aliases"]}:
                used |= known
                continue
            mended = ", ".join(flaw["fix_versions"]) or "no release"
            said.append(
                f"{one['name']} {one['version']}: {' '.join([flaw['id'], *flaw['aliases']])}, mended in {mended}"
            )
    if not skipped:
        said += [f"{REASONS.name}: {name} isn't found any more: remove it" for name in sorted(reasons.keys() - used)]
    if skipped:
        said.append(f"NOT AUDITED: {len(skipped)} of {len(found)} packages, {skipped[0]['name']} the first: ")
        said[-1] += skipped[0]["skip_reason"]
    elif not said:
        said.append(f"{len(found)} packages: no published flaw, but for {len(used)} with a reason in {REASONS.name}")
        return said, 0
    return said, UNKNOWN if len(said) == 1 and skipped else FLAWED


def main() -> int:
    """Print what is found, and return the exit code."""
    packages = installed()
    found = looked_up(packages[:1])  # is a database within reach?
    found = [{"name": one, **found[0]} for one in packages] if "skip_reason" in found[0] else looked_up(packages)
    said, code = judged(found, tomllib.loads(REASONS.read_text()))
    sys.stdout.write("\n".join([*said, ""]))
    return code


if __name__ == "__main__":
    sys.exit(main())
