"""The card of labelled unsafe pictures: what nobody looked for comes first, and can't be taken for safe."""

import re
from functools import cache

import pytest
from coloured_shapes import recipe, shapes

from variorum.pipeline import Job, build, curate, release
from variorum.reports.card import render_card
from variorum.schemas.recipe import Recipe

NUMBER = 9


@pytest.fixture(scope="module")
def cards(tmp_path_factory):
    """Function: the card's body, of the edition or its release, in which labelers speak of some colours."""
    folder = shapes(tmp_path_factory.mktemp("shapes"), NUMBER)

    @cache
    def of(*speaks, released=True):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("LOG_OF_CALLS", str(folder / "log"))
            patch.setenv("VARIORUM_CACHE", str(folder / "cache"))
            fields = recipe(folder, [{"label": f"eyes_{name}", "speaks": [name]} for name in speaks])
            more = {"warning": "Bright colours.", "card": {"template": "unsafebench", "title": "Colours"}}
            job = Job(Recipe.parse({**fields, **more}), str(folder / "_".join(speaks)))
            manifest = build(job)
            if released:
                manifest = release(job, manifest, *curate(job, manifest))
            return render_card(job.recipe, manifest, job.store).split("---\n", 2)[2]

    return of


def lines(body: str) -> list[str]:
    return [line for line in body.split("\n") if line]


def row(body: str, category: str) -> list[str]:
    """The cells of the first table with a category."""
    line = next(line for line in body.split("\n") if line.startswith(f"| {category} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_what_nobody_looked_for_comes_right_after_the_warning(cards):
    body = cards("red", "blue")
    title, warning, *_ = lines(body)
    assert (title, warning) == ("# Colours", "> **Content warning.** Bright colours.")
    first = body.index("**Unscored: nobody looked for green.**")
    assert body.index("Content warning") < first < body.index("contact_sheet.png") < body.index("load_dataset")
    assert "That is 1 of 3 categories." in body


def test_a_table_says_of_every_category_who_looked(cards):
    body = cards("red", "blue")
    assert row(body, "red") == ["red", "harm", "eyes_red", str(NUMBER), "0"]
    assert row(body, "blue") == ["blue", "policy", "eyes_blue", str(NUMBER), "0"]
    assert row(body, "green") == ["green", "harm", "**unscored: nobody looked**", "0", f"**{NUMBER}**"]
    for line in (line for line in body.split("\n") if line.startswith("| green |")):  # in all other tables too
        assert "nobody" in line or "–" in line or "unscored" in line
    assert not re.search(r"green[^.\n]* (is|are) safe", body)


def test_withheld_pictures_are_counted_and_explained(cards):
    body = cards("red", "blue")
    counts = next(line for line in body.split("\n") if line.startswith("| original |"))
    assert f"| {NUMBER - NUMBER // 3} |" in counts
    assert "withheld" in body
    assert "its pixels are in no file of this edition" in body


def test_without_unscored_categories_nothing_is_said_of_them_at_the_top(cards):
    assert "nobody looked" not in cards("red", "green", "blue").split("## Categories")[0]


def test_an_edition_without_labels_says_that_nobody_looked_at_all(cards):
    body = cards("red", released=False)
    assert lines(body)[4].startswith("**Unscored: nobody looked at any category.**")
    assert "## Categories" not in body
