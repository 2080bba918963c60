"""docs/guides/labelers.md lists every labeler, and the categories that those with one model or list speak of."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from variorum.schemas.lookup import component_class, component_names

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "guides" / "labelers.md").read_text("utf-8")
SHIPPED = [name for name in component_names("labelers") if (ROOT / "curation" / "labelers" / f"{name}.py").is_file()]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_labeler_is_in_the_table(name):
    assert re.search(rf"^\| `{name}`", PAGE, re.MULTILINE)


@pytest.mark.parametrize("name", ["nudenet", "open_nsfw", "stable_diffusion_filter", "words"])
def test_the_table_says_what_a_labeler_speaks_of(name):
    row = re.findall(rf"^\| `{name}` \|[^|]*\|([^|;]*)", PAGE, re.MULTILINE)[0]
    assert tuple(re.findall("`(.+?)`", row)) == component_class("labelers", name)().scored()
