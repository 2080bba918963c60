"""Templates of cards beside a recipe and beside components: found first, checked before any work, kept in a sandbox."""

from pathlib import Path

import pytest
import yaml
from jinja2.exceptions import SecurityError

from variorum.edition.editions import read_beside
from variorum.pipeline import Job, check, run
from variorum.reports import one_file
from variorum.reports import templates as templates_module
from variorum.reports.card_check import check_card
from variorum.reports.rows import edition_rows
from variorum.reports.templates import CARDS, templates
from variorum.schemas.errors import CorruptShard, RecipeError
from variorum.schemas.lookup import component_names
from variorum.stages.recipe_files import load_recipe

BRIGHTNESS = """
from variorum.schemas.component import Evaluation


class Brightness(Evaluation):
    def measure(self, samples, ctx):
        return [{"light": float(sample.image.mean())} for sample in samples]

    def figures(self, table, ctx):
        return {"light": 7, "note": "<b>light</b>"}
"""
DARKNESS = """
from variorum.schemas.component import Detector


class Darkness(Detector):
    def measure(self, samples, ctx):
        return [{"dark": 1.0} for _ in samples]

    def figures(self, table, ctx):
        return {"rows": len(table)}
"""
CARD = """---
{{ header }}---

# Mine: {{ title }}

{% include "parts/warning.md.j2" %}
{{ evaluations }}
{{ curation }}
"""


@pytest.fixture
def load(photos, tmp_path):
    def load(**files):
        """The recipe with these files beside it; `card` is its template's name."""
        card = files.pop("card", "./card.md.j2")
        for name, text in {"brightness.py": BRIGHTNESS, "darkness.py": DARKNESS, "card.md.j2": CARD, **files}.items():
            (tmp_path / name).write_text(text)
        recipe = {
            "dataset": "lit",
            "version": "1.0.0",
            "limit": 2,
            "source": {"name": "image_folder", "path": str(photos)},
            "generate": [],
            "curate": [{"name": "./darkness.py"}],
            "evaluate": [{"name": "./brightness.py"}],
            "card": {"template": card, "title": "Light"},
        }
        path = tmp_path / "lit.yaml"
        path.write_text(yaml.safe_dump(recipe))
        return Job(load_recipe(str(path)), str(tmp_path / "store"))

    return load


def test_templates_beside_a_recipe_and_its_components_make_the_card(load):
    own = {
        "_brightness.md.j2": '### Light\n\n{{ table(("a", "b"), (("light", figures.light),)) }}\n{{ figures.note }}',
        "_darkness.md.j2": "Dark rows: {{ figures.rows }}.",
    }
    job = load(**own)
    manifest = run(job)
    card = read_beside(manifest, "README.md", job.store).decode()
    assert "# Mine: Light\n" in card
    assert "### Light\n\n| a | b |" in card
    assert "<b>" not in card
    assert "Dark rows: 2." in card
    assert "### brightness" not in card
    assert check_card(manifest, job.store, edition_rows(manifest, job.store)) == []
    job = load(**{**own, "_darkness.md.j2": "Dark: {{ figures.rows }}."})
    run(job)
    assert "Dark: 2." in read_beside(manifest, "README.md", job.store).decode()


@pytest.mark.parametrize(
    ("files", "error"),
    [
        ({"card": "./lost.md.j2"}, r"lost\.md\.j2: no such file"),
        ({"card": "../card.md.j2"}, r"card\.template: '\.\./card\.md\.j2' must lie beside the recipe: \./card\.md\.j2"),
        ({"card": "/etc/x.md.j2"}, "must lie beside the recipe"),
        ({"_brightness.md.j2": "one\n{% if %}"}, r"_brightness\.md\.j2, line 2: "),
        ({"card.md.j2": "{{ title"}, r"card\.md\.j2, line 1: "),
    ],
)
def test_a_bad_template_is_refused_before_any_work(load, files, error):
    with pytest.raises(RecipeError, match=error):
        check(load(**files))


@pytest.mark.parametrize(
    "text",
    [
        "{{ title.__class__.__mro__ }}",
        "{{ cycler.__init__.__globals__.os.listdir('/') }}",
        '{% include "../recipes/_new.yaml" %}',
        '{% include "/etc/passwd" %}',
    ],
)
def test_a_template_reaches_nothing_but_its_values_and_our_parts(load, text):
    with pytest.raises(CorruptShard, match=r"the template \S*card\.md\.j2 can't be shown \(.*\); correct it"):
        run(load(**{"card.md.j2": text}))


@pytest.mark.parametrize("module", [one_file, templates_module], ids=["pages", "cards"])
@pytest.mark.parametrize(
    "text", ["{{ ''.__class__.__mro__ }}", "{{ cycler.__init__.__globals__.os.popen('id').read() }}"]
)
def test_cards_and_pages_are_rendered_in_a_sandbox(module, text):
    with pytest.raises(SecurityError):
        module._environment().from_string(text).render()


def test_each_template_of_ours_lies_in_the_folder_of_its_component():
    parts = {"curate": "curation", "evaluate": "evaluation"}
    places = {name: CARDS.parent / folder for part, folder in parts.items() for name in component_names(part)}
    for file in CARDS.glob("*/_*.md.j2"):
        name = file.name.removesuffix(".md.j2")[1:]
        assert Path(places[name], file.parent.name, f"{name}.py").is_file()
        assert templates()[f"_{name}"] == f"_{name}"
    assert not {file.name for file in CARDS.glob("_*")} - {"_curation.md.j2", "_detectors.md.j2"}
