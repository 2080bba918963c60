"""docs/labelers.md lists every labeler, and those with one model speak of what `alignment.yaml` says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from variorum.curation.harms.alignment import alignment
from variorum.schemas.lookup import component_class, component_names

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "labelers.md").read_text("utf-8")
SHIPPED = [name for name in component_names("labelers") if (ROOT / "curation" / "labelers" / f"{name}.py").is_file()]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_labeler_is_in_the_table(name):
    assert re.search(rf"^\| `{name}`", PAGE, re.MULTILINE)


@pytest.mark.parametrize("name", ["nudenet", "open_nsfw"])
def test_a_labeler_speaks_of_what_its_model_is_scored_on(name):
    assert component_class("labelers", name)().scored() == alignment()[name].categories
