"""Recipes, and steps of recipes, on the pages about curation, people, sources and measures are valid."""

import re
from pathlib import Path

import pytest
import yaml

from variorum.schemas.lookup import build_component
from variorum.schemas.recipe import Recipe

DOCS = Path(__file__).parents[2] / "docs"
GUIDES = [DOCS / "guides" / f"{name}.md" for name in ("bring_your_pictures", "measures", "other_tools")]
PAGES = [*sorted((DOCS / "curation").glob("*.md")), *sorted((DOCS / "people").glob("*.md")), *GUIDES]
BLOCKS = [
    pytest.param(block, id=f"{page.stem}-{place}")
    for page in PAGES
    for place, block in enumerate(re.findall(r"```yaml\n(.*?)```", page.read_text("utf-8"), re.DOTALL))
]


@pytest.mark.parametrize("block", BLOCKS)
def test_the_recipes_and_steps_on_pages_are_valid(block):
    fields = yaml.safe_load(block)
    if isinstance(fields, list):
        fields = {"curate": fields}
    if "dataset" in fields:
        Recipe.parse(fields)
    elif "source" in fields:
        Recipe.parse({"dataset": "d", "version": "1.0.0", **fields})
    else:
        ((kind, steps),) = fields.items()
        for step in steps:
            assert build_component(kind, step, "here").component_name() == step["name"]
