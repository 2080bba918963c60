"""The notebooks of examples/ are valid, small and free of anything of one machine, and they run from start to end."""

import os
import re
import shutil
from pathlib import Path

import nbformat
import pytest

FOLDER = Path(__file__).parents[2] / "examples"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
LARGEST = 400_000
"""Bytes of a notebook with its outputs."""
PRIVATE = re.compile(
    r"/(tmp|root|home|Users|work|mnt|workspace)/|[A-Z]:\\\\|hf_[A-Za-z0-9]{20}|AKIA[A-Z0-9]{16}|ghp_\w{20}"
)


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def test_there_are_notebooks_and_the_readme_lists_them():
    listed = re.findall(r"\]\((.+?\.ipynb)\)", (FOLDER / "README.md").read_text())
    assert listed
    assert sorted(listed) == [path.name for path in NOTEBOOKS]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_valid_and_shows_what_it_does(path):
    book = read(path)
    nbformat.validate(book)
    assert path.stat().st_size < LARGEST
    assert not PRIVATE.search(path.read_text())
    assert book.cells[0].source.startswith("# ")
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert any(cell.outputs for cell in code)
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))  # of one run, from the beginning
    for cell in code:
        compile(cell.source, path.name, "exec")
        assert {output.output_type for output in cell.outputs} <= {"execute_result", "display_data", "stream"}
        assert not any(output.get("name") == "stderr" for output in cell.outputs)
    for target in re.findall(r"\]\((\.\./[^)#]+)", "".join(cell.source for cell in book.cells)):
        assert (FOLDER / target).exists(), target


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_says_the_same(path, tmp_path, monkeypatch):
    from nbclient import NotebookClient

    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    shutil.copy(path, tmp_path)
    stored = read(path)
    book = read(tmp_path / path.name)
    for cell in book.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    before = set(os.listdir(FOLDER))
    NotebookClient(book, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert set(os.listdir(FOLDER)) == before
    printed = [
        (cell.source, kinds(there), kinds(now))
        for cell, there, now in zip(stored.cells, outputs(stored), outputs(book), strict=True)
        if cell.cell_type == "code"
    ]
    for source, there, now in printed:
        assert there <= now, source


def outputs(book: nbformat.NotebookNode) -> list[list[nbformat.NotebookNode]]:
    return [list(cell.get("outputs", ())) for cell in book.cells]


def kinds(found: list[nbformat.NotebookNode]) -> set[str]:
    """What a cell shows: the kinds of its outputs, but not their text, which may differ on another machine."""
    return {kind for one in found for kind in one.get("data", {one.get("name", ""): ""})}
