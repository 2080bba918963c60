"""List the files of a thing, then run its tests, types and digests: `make thing T=few_shot`."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
KINDS = {"generators": "generate", "curation": "curate", "evaluation": "evaluate"}


def files(thing: str) -> list[Path]:
    """Tracked files in a folder of this name, and those whose name begins with it."""
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    return [
        ROOT / one for one in listed if thing in one.split("/")[:-1] or f"{Path(one).stem}_".startswith(f"{thing}_")
    ]


def recipes(thing: str) -> list[str]:
    """Shipped recipes that use one of its components."""
    from variorum.stages.recipe_files import load_recipe, shipped_recipes

    plates = [f"variorum.{kind}.{thing}" for kind in KINDS if (ROOT / kind / thing / "__init__.py").exists()]
    own = {name for plate in plates for name in importlib.import_module(plate).COMPONENTS}
    return [
        name
        for name in shipped_recipes()
        if own & {step.component_name() for step in load_recipe(name, (), None).components()}
    ]


def main(thing: str) -> int:
    """Print the files with their lines; the exit code is that of the first command that fails."""
    found = files(thing)
    rooms = [kind for kind in KINDS if (ROOT / kind / thing).is_dir()]
    if not rooms:
        known = sorted({one.parent.name for kind in KINDS for one in (ROOT / kind).glob("*/__init__.py")})
        sys.exit(f"no thing named {thing!r}; there are: {', '.join(known)}")
    for one in found:
        text = one.suffix in (".py", ".md", ".j2", ".yaml", ".csv", ".txt")
        print(f"{len(one.read_text().splitlines()) if text else '':>6}  {one.relative_to(ROOT)}")
    used = recipes(thing)
    print(f"── recipes: {', '.join(used) or 'none'}")
    python = [sys.executable, "-m"]
    commands = [
        [*python, "mypy", *(word for kind in rooms for word in ("-p", f"variorum.{kind}.{thing}"))],
        [*python, "pytest", f"tests/{thing}", "tests/contract/test_things.py"],
        [*python, "pytest", "tests/contract/test_digests.py", "-k", " or ".join(f"[{name}]" for name in used)],
    ]
    for command in commands if used else commands[:2]:
        print(f"── {' '.join(command[2:])}", flush=True)
        if code := subprocess.run(command, cwd=ROOT, check=False).returncode:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
