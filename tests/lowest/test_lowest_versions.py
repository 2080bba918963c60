"""The lowest versions that pyproject.toml allows, extras included: they install, and the contract tests pass with them.

They are those of direct dependencies; what these bring is the newest. PyTorch is this environment's own, because its
lowest release would fetch gigabytes of CUDA.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLACE = ROOT / ".cache" / "lowest"
TOOLS = ("hypothesis", "pytest", "pytest-xdist")
NOT_FROM_PYPI = re.compile(r"(torch|torchvision|triton|nvidia-.*|cuda-.*)==")
pytestmark = pytest.mark.slow


def uv(*words: str | Path) -> None:
    done = subprocess.run([Path(sys.executable).with_name("uv"), *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def python() -> Path:
    """The environment's Python; the environment is kept."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [f"--extra={name}" for name in project["optional-dependencies"] if name not in ("dev", "bench")]
    PLACE.mkdir(parents=True, exist_ok=True)
    torch = [f"{name}=={distribution(name).version.partition('+')[0]}" for name in ("torch", "torchvision")]
    (PLACE / "torch.txt").write_text("\n".join(torch))
    (PLACE / "tools.txt").write_text("\n".join(f"{name}=={distribution(name).version}" for name in TOOLS))
    pins, python = PLACE / "pins.txt", PLACE / "venv" / "bin" / "python"
    asked = ("pyproject.toml", *extras, PLACE / "tools.txt", "--override", PLACE / "torch.txt", "-o", pins)
    uv("pip", "compile", "--quiet", "--resolution=lowest-direct", "--upgrade", "--python", sys.executable, *asked)
    lines = pins.read_text().splitlines(keepends=True)
    pins.write_text("".join(line for line in lines if not NOT_FROM_PYPI.match(line)))
    if not python.exists():
        uv("venv", "--quiet", "--python", sys.executable, PLACE / "venv")
    uv("pip", "sync", "--quiet", "--python", python, pins)
    return python


@pytest.fixture(scope="module")
def torch() -> Path:
    """A folder with this environment's PyTorch and nothing else of it."""
    place = PLACE / "torch"
    place.mkdir(exist_ok=True)
    for link in place.iterdir():
        link.unlink()
    for one in (distribution("torch"), distribution("torchvision")):
        for name in {path.parts[0] for path in one.files or () if ".." not in path.parts}:
            (place / name).symlink_to(one.locate_file(name))
    return place


def test_the_contract_tests_pass(python, torch):
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{torch}"}
    command = [python, "-m", "pytest", "-p", "no:cacheprovider", "-n", "2", "--dist", "loadfile", "tests/contract"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-1000:]
    assert re.search(r"\d{3} passed", done.stdout), done.stdout[-500:]
