"""Each detector gives the columns that it declares, so that a recipe that names another is refused before any work."""

from __future__ import annotations

import pyarrow.parquet as pq
import pyarrow.types as types
import pytest
import skimage.data
from PIL import Image

from variorum.pipeline import Job, build, curate
from variorum.schemas.component import FLAGS, NUMBERS, OTHERS, TEXTS, Detector
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import OWN, build_component, component_class, component_names, component_origin
from variorum.schemas.more import known_columns
from variorum.schemas.recipe import Recipe

DETECTORS = [
    name
    for name in component_names("curate")
    if component_origin("curate", name) == OWN
    and issubclass(component_class("curate", name), Detector)
    and name not in ("major_errors", "mentions")
]
"""All but `major_errors`, which refuses an edition without reviewed labels (test_major_errors has one), and `mentions`,
whose model only profile hub has."""
SOMETIMES = {"training_dynamics": {"fake_margin"}}
"""Columns that an option adds."""


def in_order(names: list[str]) -> list[str]:
    """The detectors, each after those that it needs."""
    found: list[str] = []
    while left := [name for name in names if name not in found]:
        found += [one for one in left if set(build_component("curate", {"name": one}, "").needs()) <= set(found)]
    return found


def kind(given) -> str:
    if types.is_boolean(given):
        return FLAGS
    if types.is_integer(given) or types.is_floating(given):
        return NUMBERS
    return TEXTS if types.is_string(given) else OTHERS


@pytest.fixture(scope="module")
def columns(tmp_path_factory):
    """By detector, the columns that it gave of an edition of photographs, and what they hold."""
    place = tmp_path_factory.mktemp("columns")
    for name in ("astronaut", "chelsea", "coffee"):
        (place / "photos" / name).mkdir(parents=True)
        picture = Image.fromarray(getattr(skimage.data, name)())
        for number in range(12):
            crop = picture.crop((9 * number, 7 * number, 9 * number + 96, 7 * number + 64))
            crop.save(place / "photos" / name / f"{number}.jpg")
    recipe = {
        "dataset": "d",
        "version": "1.0.0",
        "source": {"name": "image_folder", "path": str(place / "photos")},
        "curate": [{"name": name} for name in in_order(DETECTORS)],
    }
    job = Job(Recipe.parse(recipe), str(place / "store"))
    _, ledger = curate(job, build(job))
    found: dict[str, dict[str, str]] = {name: {} for name in DETECTORS}
    for name in DETECTORS:
        for info in [*ledger.measured.get(name, ())[:1], *([ledger.scored[name]] if name in ledger.scored else [])]:
            schema = pq.read_schema(place / "store" / "objects" / f"{info.sha256}.parquet")
            own = [field for field in schema if field.name.startswith(f"{name}.")]
            found[name] |= {field.name.removeprefix(f"{name}."): kind(field.type) for field in own}
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", DETECTORS)
def test_a_detector_gives_what_it_declares(name, columns):
    declared = known_columns(build_component("curate", {"name": name}, ""))
    assert columns[name] == {one: held for one, held in declared.items() if one not in SOMETIMES.get(name, ())}
    assert SOMETIMES.get(name, set()) <= set(declared)


def recipe(*steps):
    return Recipe.parse(
        {
            "dataset": "d",
            "version": "1.0.0",
            "source": {"name": "image_folder", "path": "nowhere"},
            "curate": [{"name": "quality"}, {"name": "bright"}, *steps],
        }
    )


def policy(**condition):
    return {"name": "policy", "rules": [{"when": [condition], "action": "review", "reason": "odd"}]}


@pytest.mark.parametrize(
    ("step", "problem"),
    [
        (policy(column="quality.blury_excess", above=0), "quality gives no column 'blury_excess'; did you mean"),
        (policy(column="quality.zzz", above=0), "gives no column 'zzz'; it gives acutance, blurriness"),
        (policy(column="quality.flag", above=0), r"rule odd: column quality.flag holds true and false, not numbers"),
        (policy(column="quality.issue", equals=3), r"column quality.issue holds texts, not numbers"),
        (policy(column="quality.score", same_as="quality.issue"), "column quality.issue holds texts, not numbers"),
        ({"name": "audit", "flags": ["quality.score"]}, "curate.audit.flags: quality.score holds numbers, not true"),
        (
            {"name": "audit", "flags": ["quality.flg"]},
            "curate.audit.flags: quality gives no column 'flg'; did you mean",
        ),
        ({"name": "audit", "guesses": "quality.issue"}, "curate.audit.guesses: quality.issue holds texts, not numbers"),
        ({"name": "audit", "strata": "quality.isue"}, "curate.audit.strata: quality gives no column 'isue'"),
    ],
)
def test_columns_are_checked_when_the_recipe_is_read(step, problem):
    with pytest.raises(RecipeError, match=problem):
        recipe(step)


def test_a_detector_that_declares_nothing_is_trusted_until_it_runs():
    assert component_class("curate", "bright").gives is None
    recipe(policy(column="bright.anything", above=0), {"name": "audit", "flags": ["bright.anything"]})


NOTES = """
from typing import ClassVar

from variorum.schemas.component import Detector


class Notes(Detector):
    adds: ClassVar[dict[str, str]] = {"note.txt": "x"}

    def score(self, table, ctx):
        return {"x": [b""] * len(table)}
"""


def test_two_detectors_cannot_add_the_same_member(tmp_path):
    (tmp_path / "notes.py").write_text(NOTES)
    with pytest.raises(RecipeError, match=r"curate\.2: notes and bright both add note\.txt; leave one of them out"):
        recipe({"name": str(tmp_path / "notes.py")})
