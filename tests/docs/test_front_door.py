"""The README, the index of the documentation and the printed reference: sizes, links, and what comes from the code."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
from pydantic import BaseModel

from variorum.flows import reference
from variorum.schemas import manifest
from variorum.schemas.described import described_fields
from variorum.schemas.lookup import OWN, component_class, component_names, component_origin, kinds
from variorum.schemas.recipe import Recipe

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
INDEX = ROOT / "docs" / "index.md"


@pytest.fixture(scope="module")
def printed() -> ModuleType:
    """The script that `make docs` calls."""
    spec = importlib.util.spec_from_file_location("printed", ROOT / "docs" / "printed.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def words(text: str) -> int:
    return sum(1 for word in text.split() if re.search("[A-Za-z]", word))


def links(page: Path) -> set[Path]:
    """The pages of this repository that a page links to."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    found = re.findall(r"(?<!!)\[[^\]]*\]\(([^)#\s]+)", text)
    return {(page.parent / link).resolve() for link in found if not re.match("[a-z]+:", link)}


def test_the_readme_is_read_in_three_minutes():
    assert words(README) <= 700
    assert len(re.findall(r"(?<!!)\[[^\]]*\]\(", README)) <= 30
    assert all((ROOT / picture).is_file() for picture in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README))


def test_the_table_of_datasets_is_that_of_the_recipes(printed):
    assert printed.readme() == README, "run make docs"
    assert all(len(asks.split()) <= 8 for asks in re.findall(r"^\|\[[^|]*\|([^|]*)\|", README, re.MULTILINE))


def test_the_index_is_short_and_reaches_every_page():
    assert words(INDEX.read_text(encoding="utf-8")) <= 350
    reached, left = set[Path](), {INDEX, ROOT / "README.md"}
    while left:
        page = left.pop()
        reached.add(page)
        left |= {one for one in links(page) if one.suffix == ".md" and one.is_file()} - reached
    assert {page for page in (ROOT / "docs").rglob("*.md") if page not in reached} == set()


def test_the_reference_is_printed_from_the_code(printed, monkeypatch):
    monkeypatch.delenv("VARIORUM_MODELS", raising=False)
    pages = {page.name: page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "reference").glob("*.md")}
    assert len(pages) == 9
    for name, text in printed.pages().items():
        assert pages[name] == text, f"{name} isn't what the code says: run make docs"


def test_every_field_is_described():
    classes: list[type[BaseModel]] = [Recipe, manifest.Manifest, manifest.Ledger, manifest.Receipt]
    for part in kinds():
        names = [name for name in component_names(part) if component_origin(part, name) == OWN]
        classes += [component_class(part, name) for name in names]
    missing = [f"{cls.__name__}.{name}" for cls in classes for name, _, text in described_fields(cls) if not text]
    assert missing == []


def test_every_column_is_described():
    """By its detector's docstrings, in backticks; a check's flag and excess go by the check's name."""
    missing = []
    for name in component_names("curate"):
        given = getattr(component_class("curate", name), "gives", None) or {}
        before, _, after = reference.entry(name).partition("**Columns.**")
        said = set(re.findall(r"`(\w+)", before + after.partition(". ")[2]))
        columns = {re.sub("_(flag|excess)$", "", column) for column in given}
        missing += [f"{name}.{column}" for column in columns if f"{column}_flag" not in given and column not in said]
    assert "\n".join(sorted(missing)) == ""
