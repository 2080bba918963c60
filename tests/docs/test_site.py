"""`docs/build_site.py` builds a site with search that asks no other host for anything."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MKDOCS = ROOT / ".cache" / "docs" / "bin" / "python"


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    if not MKDOCS.exists():
        pytest.skip("MkDocs isn't installed: make docs")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "build_site.py", "--to", folder], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_every_page_is_found_by_search(site):
    index = json.loads((site / "search" / "search_index.json").read_text())
    places = {entry["location"].partition("#")[0] for entry in index["docs"]}
    pages = {str(page.relative_to(ROOT).with_suffix(".html")) for page in (ROOT / "docs").rglob("*.md")}
    assert pages <= places
    assert "docs/reference/detectors_and_deciders.html#duplicates" in {entry["location"] for entry in index["docs"]}


@pytest.mark.slow
def test_nothing_comes_from_another_host(site):
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r'<(?:script|img|iframe|source)[^>]* src="?([^">\s]+)', text)
        loaded += re.findall(r'<link[^>]* rel="?(?:stylesheet|icon|preconnect|preload)"?[^>]* href="?([^">\s]+)', text)
        assert [one for one in loaded if re.match(r"(https?:)?//", one)] == [], page
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\((https?:)?//|@import", sheet.read_text(encoding="utf-8")), sheet


@pytest.mark.slow
def test_the_demo_is_the_page_of_an_edition(site):
    text = (site / "demo" / "view.html").read_text(encoding="utf-8")
    assert "imagenet_e@3.0.0-dev-r1" in text
    assert 'src="view.html"' in (site / "demo" / "index.html").read_text(encoding="utf-8")


def test_lists_stand_apart_from_paragraphs():
    spec = importlib.util.spec_from_file_location("build_site", ROOT / "docs" / "build_site.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    text = "Two:\n- one\n  more\n- two\n\n```\nno list:\n- here\n```"
    assert module.lists_apart(text) == "Two:\n\n- one\n  more\n- two\n\n```\nno list:\n- here\n```"
