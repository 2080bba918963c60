"""Everything on the page docs/guides/test_my_watermark.md works as it stands."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from warm_command import run_command

from variorum.schemas.component import Context
from variorum.schemas.lookup import build_component
from variorum.schemas.watermark import payload_of

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "guides" / "test_my_watermark.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n((?:.|\n)*?)^```$", PAGE, re.MULTILINE)
FILES = {
    match[1]: code
    for language, code in BLOCKS
    if language in ("python", "yaml") and (match := re.match(r"# ([\w.]+)\n", code))
}
COMMANDS = [line for language, code in BLOCKS if language == "bash" for line in code.splitlines()]
PRINTED = [code for language, code in BLOCKS if language == "text"]
RUN = "variorum run my_watermark.yaml --limit 12 --runner threads"
EDITION = "store/editions/my_watermark/1.0.0-dev"


def environment(folder: Path) -> dict[str, str]:
    own = {"COLUMNS": "118", "NO_COLOR": "1", "PYTHONPATH": "", "VARIORUM_CACHE": str(folder / "cache")}
    return {**os.environ, **own}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    for name, code in FILES.items():
        (folder / name).write_text(code)
    return folder


@pytest.fixture(scope="module")
def printed(study: Path) -> str:
    """What the page's command prints, on fewer photographs."""
    assert RUN in COMMANDS
    process = run_command(RUN.replace("12", "3").split()[1:], study, environment(study))
    assert process.returncode == 0, process.stderr
    return process.stdout


def test_the_page_has_every_file():
    assert set(FILES) == {"chips.py", "try_chips.py", "posterizing.py", "leaning.py", "my_watermark.yaml"}


def test_the_command_prints_the_tables_of_the_page(printed):
    numbers = r"\d+(\.\d+)?"
    kinds = {re.sub(numbers, "0", " ".join(line.split())) for line in printed.splitlines()}
    heads = [line for line in PRINTED[1].splitlines() if line and not re.search(rf"{numbers}$", line)]
    assert len(heads) >= 5
    for line in heads:
        assert re.sub(numbers, "0", " ".join(line.split())) in kinds, line


def test_the_mark_is_found_and_nothing_else(study, printed):
    found = json.loads((study / EDITION / "evaluation-watermark_detection.json").read_text())["figures"]
    for name in ("chips", "stdm"):
        mark = found["marks"][name]
        assert mark["clean"]["found"]["value"] == 100
        assert mark["clean"]["bit_accuracy"]["value"] > 90
        assert mark["false_positives"]["0.01"]["hits"] == 0
        assert abs(mark["wrong_key"]["bit_accuracy"]["value"] - 50) < 20
    assert found["marks"]["stdm"]["psnr"] > found["marks"]["chips"]["psnr"] + 5
    assert found["marks"]["chips"]["order"] == ["jpeg", "posterizing"]
    cells = found["marks"]["chips"]["attacks"]["posterizing"]["strengths"]
    assert [cells[strength]["amount"] for strength in ("0.5", "1")] == [{"step": 33}, {"step": 64}]


def test_without_a_recipe_it_prints_what_the_page_says(study):
    command = [sys.executable, "try_chips.py"]
    process = subprocess.run(command, cwd=study, env=environment(study), capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    said, page = process.stdout.splitlines(), PRINTED[0].splitlines()
    assert said[0] == page[0]
    shares = [re.fullmatch(r"(JPEG \d+): (\d+)% of the bits are right", line) for line in said[1:]]
    assert [one[1] for one in shares if one] == [line.partition(":")[0] for line in page[1:]]
    assert all(int(one[2]) >= 97 for one in shares if one)  # the key is a new one each time: one bit of 32 may be wrong


@pytest.mark.parametrize("size", [(64, 64), (70, 51), (33, 200)])
def test_the_mark_takes_any_size(study, size):
    mark = build_component("marks", {"name": str(study / "chips.py")}, "here")
    rng, key = np.random.default_rng(1), bytes(range(32))
    grey = np.full((*size, 3), 128, np.uint8) + rng.integers(0, 3, (*size, 1), np.uint8)
    (marked,) = mark.embed([grey], [key], Context(seed=1, models=None, memo=None))
    assert marked.shape == grey.shape
    found = mark.detect([marked], [key], Context(seed=1, models=None, memo=None))
    assert found.bits is not None
    assert (found.bits[0] == payload_of(key, 32)).mean() > 0.85


@pytest.mark.slow
def test_a_mark_that_the_evaluation_does_not_list_is_named(study):
    recipe = (study / "my_watermark.yaml").read_text().replace("dataset: my_watermark", "dataset: unlisted")
    kept, _, _ = recipe.partition("    marks:\n      - {name: ./chips.py}                 # the same entry again\n")
    assert kept != recipe
    (study / "unlisted.yaml").write_text(kept)
    command = ["run", "unlisted.yaml", "--limit", "1", "--runner", "threads"]
    process = run_command(command, study, environment(study))
    assert process.returncode == 1
    assert process.stderr.splitlines()[-1].endswith("chips.py; list it in watermark_detection's `marks`")


def test_the_packaged_recipe_can_be_copied_and_takes_the_mark(study):
    from variorum.stages.recipe_files import load_recipe

    copy, run = (line for line in COMMANDS if "my_grid" in line)
    assert shlex.split(copy)[0] == "cp"
    path = re.search(r'/(recipes/\w+\.yaml)" my_grid', copy)
    assert path
    import variorum

    packaged = (Path(variorum.__path__[0]) / path[1]).read_text()
    assert "--source photos" in run
    (study / "my_grid.yaml").write_text(packaged.replace("{name: stdm}", "{name: ./chips.py}"))
    recipe = load_recipe(str(study / "my_grid.yaml"), limit=1)
    marks = recipe.generate[0].marks  # type: ignore[attr-defined]
    assert marks[0].called == "chips"
