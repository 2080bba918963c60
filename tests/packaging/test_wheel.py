"""The package as people install it: one import name, beside packages and folders that bear the names of our folders."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


def call(*command: str | Path, **options) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from the source distribution, as the package index does it."""
    out = tmp_path_factory.mktemp("dist")
    call(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT)
    (wheel,) = out.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory) -> Path:
    """A new environment with the wheel; its dependencies are those of this one, without this checkout."""
    place = tmp_path_factory.mktemp("venv")
    call(sys.executable, "-m", "venv", place)
    python = place / "bin" / "python"
    (site,) = place.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")  # its own .pth files aren't followed
    call(python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel)
    return python


def test_the_wheel_takes_one_name_and_holds_everything(wheel):
    with zipfile.ZipFile(wheel) as file:
        names = file.namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"variorum"}
    assert not [name for name in names if "__pycache__" in name]
    tracked = call("git", "ls-files", cwd=ROOT).stdout.split() if (ROOT / ".git").exists() else []
    folders = ("schemas", "generators", "curation", "evaluation", "flows", "recipes", "data_cards")
    wanted = [f"variorum/{path}" for path in tracked if path.split("/")[0] in folders]
    wanted += [path for path in tracked if path.startswith("variorum/") and path.count("/") > 1]
    assert [path for path in wanted if path not in names and (ROOT / path).exists()] == []
    assert "variorum/py.typed" in names


def test_it_runs_beside_others_who_use_the_names_of_our_folders(python, tmp_path):
    for name in ("schemas", "recipes", "generators", "curation", "flows"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise ImportError('this is the user\\'s own')\n")
    code = "import variorum.schemas.sample, variorum.generators.imagenet_e.attribute_edit as a; print(a.__file__)"
    environment = {**os.environ, "NO_COLOR": "1", "PYTHONPATH": str(tmp_path)}
    assert str(python.parents[1]) in call(python, "-c", code, cwd=tmp_path, env=environment).stdout
    command = python.parent / "variorum"
    done = call(command, "run", "imagenet_e", "--limit", "8", "--runner", "threads", cwd=tmp_path, env=environment)
    assert "imagenet_e@3.0.0-dev-r1" in done.stdout
    assert "have an accepted variant" in done.stdout
    assert "attribute_edit" in call(command, "components", cwd=tmp_path, env=environment).stdout


def test_it_runs_beside_torchtune(python, tmp_path):
    """Its wheel installs a package `recipes`."""
    command = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "torchtune==0.6.1"]
    fetched = subprocess.run(command, capture_output=True, text=True)
    if fetched.returncode:
        pytest.skip(f"torchtune can't be had here: {fetched.stderr.strip().splitlines()[-1:]}")
    code = "import importlib.util; print(importlib.util.find_spec('recipes').origin)"
    assert "site-packages/recipes" in call(python, "-c", code, cwd=tmp_path).stdout
    planned = call(python.parent / "variorum", "plan", "imagenet_e", cwd=tmp_path).stdout
    assert "samples" in planned


def test_the_package_page_has_no_dead_link(wheel):
    with zipfile.ZipFile(wheel) as file:
        (name,) = [name for name in file.namelist() if name.endswith(".dist-info/METADATA")]
        text = file.read(name).decode()
    page = text.partition("\n\n")[2]
    assert page.startswith("# Variorum")
    assert [link for link in re.findall(r"\]\(([^)]+)\)", page) if not link.startswith("http")] == []
    assert "docs/start/technique.md" in page


TEN_LINES = """
import numpy as np
import variorum as va

photos = {"name": "image_folder", "path": "photos"}
edition = va.run("curate_folder", source=photos, curate=[{"name": "quality"}], progress=False)
base = edition.base()
bright = [sample.id for sample in base.samples(where=lambda row: "coffee" in row["labels"])]
edition.show(rows=2).save("sheet.png")
first = lambda images: np.eye(3)[[0] * len(images)]
results = va.evaluate(base, first, classes=list(base.classes), name="first", progress=False)
accuracy = results.figures["classifiers"]["first"]["original_accuracy"]
print(len(edition), len(bright), accuracy, len(va.diff(base, edition)))
print(va.view(edition).pictures, va.leaderboard(base).models[0], va.verify(base, progress=False))
"""


def test_ten_lines_of_python_in_an_empty_folder(python, tmp_path, photos):
    (tmp_path / "photos").symlink_to(photos)
    done = call(python, "-W", "error", "-c", TEN_LINES, cwd=tmp_path)
    first, second = done.stdout.splitlines()
    assert first.split() == ["12", "4", "33.33", "0"], done.stdout
    assert second == "12 first []"
    assert (tmp_path / "sheet.png").stat().st_size > 1000


RUN = ("run", "imagenet_c", "--source", "photos", "--runner", "threads", "--set", "curate=[]", "--set", "evaluate=[]")


def digest_by(python: Path, folder: Path) -> str:
    """Digest of a small edition that needs no model, made by the command of an environment."""
    call(python.parent / "variorum", *RUN, cwd=folder)
    shown = call(python.parent / "variorum", "show", "imagenet_c", "--json", cwd=folder)
    return json.loads(shown.stdout)["digest"]


@pytest.mark.parametrize("version", ["3.12", "3.13"])
def test_another_python_gives_the_same_digest(version, wheel, python, tmp_path, photos):
    """With the pinned packages of users, but PyTorch, whose builds differ by machine; models aren't asked."""
    uv = Path(sys.executable).parent / "uv"
    there = [*Path.home().glob(f".pyenv/versions/{version}.*/bin/python"), f"/usr/bin/python{version}"]
    found = next((path for path in there if Path(path).exists()), None)
    if found is None:
        pytest.skip(f"there is no Python {version} here")
    other, pins = tmp_path / "venv" / "bin" / "python", tmp_path / "pins.txt"
    call(uv, "venv", "--quiet", "--python", found, tmp_path / "venv")
    pins.write_text(
        re.sub(r"^# dev\n\S.*\n(?:\s.*\n)+", "", (ROOT / "constraints.txt").read_text(), flags=re.MULTILINE)
    )
    install = [str(uv), "pip", "install", "--quiet", "--python", str(other), "--no-deps"]
    fetched = subprocess.run([*install, "--require-hashes", "-r", pins], capture_output=True, text=True)
    if fetched.returncode:
        pytest.skip(f"the packages for Python {version} can't be had here: {fetched.stderr.strip().splitlines()[-1:]}")
    call(*install, wheel)
    for folder in (tmp_path / "here", tmp_path / "there"):
        folder.mkdir()
        (folder / "photos").symlink_to(photos)
    assert digest_by(other, tmp_path / "there") == digest_by(python, tmp_path / "here")
