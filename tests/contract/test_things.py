"""Each thing has a room: what belongs to it lies in folders of its name, and nothing else knows it.

A thing is a dataset (`few_shot`), or a family of judgements or measures (`labels`). import-linter holds the layers, and
that things of one kind don't import each other.
"""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from variorum.schemas.lookup import KINDS, component_names

ROOT = Path(__file__).parents[2]
PARTS = {"generate": "generators", "curate": "curation", "evaluate": "evaluation"}
ROOMS = {kind: {one.parent.name for one in (ROOT / kind).glob("*/__init__.py")} for kind in PARTS.values()}
THINGS = set().union(*ROOMS.values())
THING = re.compile(r"variorum\.(?:generators|curation|evaluation)\.(\w+)")
CORE = (
    "schemas",
    "sources",
    "flows",
    *(f"variorum/{one}" for one in ("exchange", "hub", "kit", "models", "reports", "stages")),
)
COMPONENTS = {name for part in PARTS for name in component_names(part)}
NAMES = {name for name in THINGS | COMPONENTS if "_" in name or name in ("watermark", "safety")}
"""Those that can only mean a thing or a component; `labels` is a word like any other."""
KNOWN = {
    "flows/deployments.py": {"major_errors", "watermark"},  # recipes that are slow
    "flows/recipe_commands.py": {"imagenet_e"},  # what `variorum demo` makes
    "variorum/exchange/formats/cleanlab.py": {"confident_learning", "out_of_distribution"},
    "variorum/models/loaders/flow_transformer.py": {"image_to_image", "text_to_image"},  # modes
    "variorum/models/loaders/stable_diffusion.py": {"image_to_image", "image_variation", "text_to_image"},  # modes
}
"""By file of the core, the names that it can't do without. This may only become shorter."""
BESIDE = (
    "campaign contract curate_folder docs examples flows kit lowest packaging plugins schemas sources training variorum"
)
"""Folders of tests that aren't about one thing."""
OTHER_RECIPES = {"curate_folder", "major_errors", "multi_label_review", "unsafebench"}


def python(folder: str, naming: re.Pattern[str]) -> Iterator[tuple[str, ast.Module]]:
    """The files of a folder that have such a name in them, by path; those in a folder of a thing's name are its."""
    for file in sorted((ROOT / folder).rglob("*.py")):
        if naming.search(text := file.read_text()):
            yield file.relative_to(ROOT).as_posix(), ast.parse(text)


def imported(tree: ast.Module) -> Iterator[str]:
    """Things that a module imports, also in functions and for types."""
    for node in ast.walk(tree):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [one.name for one in node.names] if isinstance(node, ast.Import) else []
        yield from (found[1] for name in names if (found := THING.match(name)))


@pytest.mark.parametrize("folder", [*PARTS.values(), *CORE])
def test_a_thing_is_imported_under_its_own_name_alone(folder):
    found = {
        (name, one) for name, tree in python(folder, THING) for one in imported(tree) if one not in name.split("/")
    }
    assert not found


def test_the_core_names_no_thing():
    found: dict[str, set[str]] = {}
    naming = re.compile("|".join(NAMES))
    for name, tree in (file for folder in CORE for file in python(folder, naming)):
        texts = {
            node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        if named := texts & NAMES - {*Path(name).parts, Path(name).stem}:
            found[name] = named
    assert found == KNOWN


@pytest.mark.parametrize("part", PARTS)
def test_a_name_plate_lists_the_components_beside_it(part):
    for thing in ROOMS[PARTS[part]]:
        package = f"variorum.{PARTS[part]}.{thing}"
        beside = [one.stem for one in sorted((ROOT / PARTS[part] / thing).glob("[!_]*.py"))]
        modules = {name: vars(importlib.import_module(f"{package}.{name}")) for name in beside}
        classes = {
            name: [one for one in module.values() if isinstance(one, type) and issubclass(one, KINDS[part].classes)]
            for name, module in modules.items()
        }
        own = [name for name, found in classes.items() if any(one.__module__ == f"{package}.{name}" for one in found)]
        assert list(importlib.import_module(package).COMPONENTS) == own


def test_recipes_pages_cards_and_tests_bear_the_name_of_a_thing():
    folders = {one.parent.name for one in ROOT.glob("tests/*/*.py")}
    assert folders - THINGS == set(BESIDE.split())
    assert {one.stem for one in ROOT.glob("docs/datasets/*.md")} <= THINGS
    assert {one.parent.name for one in ROOT.glob("data_cards/*/*.j2")} - THINGS == {"parts"}
    recipes = {one.stem for one in (ROOT / "recipes").glob("[!_]*.yaml")}
    assert {one for one in recipes if not any(f"{one}_".startswith(f"{thing}_") for thing in THINGS)} == OTHER_RECIPES
