import json

import numpy as np
import pytest
from reviewed_set import PEOPLE, kept

from variorum.curation.people.major_errors import MajorErrors
from variorum.edition.shards import read_shard
from variorum.edition.tables import read_table
from variorum.models import ModelTable
from variorum.models.brought.model import BroughtModel
from variorum.pipeline import Job, build, check, curate, release
from variorum.reports.card import render_card
from variorum.schemas.component import Context
from variorum.schemas.errors import RecipeError, StoreError
from variorum.schemas.recipe import Recipe
from variorum.schemas.vote import Vote
from variorum.stages.evaluate import check_judges
from variorum.stages.recipe_files import load_recipe

CLASSES = ("astronaut", "chelsea", "coffee")


def always(name: str) -> BroughtModel:
    """A classifier that predicts one class."""

    def scores(images):
        return np.tile(np.eye(3)[CLASSES.index(name)], (len(images), 1))

    return BroughtModel(name, f"sha256:{name.encode().hex():0<64}", CLASSES, "", scores, 3)


def job(recipe: Recipe, store) -> Job:
    models = ModelTable("embedded").with_models({name: always(name) for name in CLASSES})
    return Job(recipe, str(store), ctx=Context(recipe.seed, models, None, recipe.source))


@pytest.fixture(scope="module")
def reviewed(photos, tmp_path_factory):
    """A release of twelve photographs with reviewed labels: its store, and the ids in the order of the files."""
    folder = tmp_path_factory.mktemp("slice")
    source = {"name": "image_folder", "path": str(photos)}
    base = {"dataset": "reviewed", "version": "1.0.0", "masters": "original", "source": source}
    first = job(Recipe.parse(base), folder / "store")
    manifest = build(first)
    rows = read_table(first.store, manifest.rows, ["id", "sha256", "origin"]).sort_by("origin").to_pylist()

    def cast(row: int, subject: str, answers: str, severity: str = "", kind: str = "label") -> list[Vote]:
        words = {"y": "yes", "n": "no", "u": "unclear"}
        return [
            Vote(f"{row}.{kind}.{subject}.{who}", kind, rows[row]["id"], rows[row]["sha256"], subject, who, words[said],
                 severity=severity, category="spurious_correlation" if severity else "")
            for who, said in zip(PEOPLE, answers, strict=True)
        ]  # fmt: skip

    given = [
        *(vote for row in range(6) for vote in cast(row, "astronaut" if row < 4 else "chelsea", "yyy")),
        *cast(0, "coffee", "nnn", "major"),  # in the slice: `coffee` and `chelsea` miss it
        *cast(0, "chelsea", "nnn", "minor"),
        *cast(1, "coffee", "nnn", "minor"),  # not major
        *cast(2, "coffee", "uuy", "major"),  # not wrong
        *cast(3, "coffee", "nnn", "major"),  # problematic
        *cast(3, "", "yyy", kind="problem"),
        *cast(4, "coffee", "nnn", "major"),  # `chelsea` and `astronaut` are right
        *cast(4, "astronaut", "yyy"),
    ]
    curate_with = [
        {"name": "consensus", "votes": str(kept(folder, given))},
        {"name": "reviewed", "problematic": "keep"},
    ]
    whole = job(Recipe.parse({**base, "curate": curate_with}), folder / "store")
    release(whole, manifest, *curate(whole, manifest))
    return folder / "store", [row["id"] for row in rows]


def shipped(store, *more: str) -> Recipe:
    """The shipped recipe, on that release."""
    return load_recipe(
        "major_errors",
        [
            "source.edition=reviewed@1.0.0-r1",
            *([f"source.store={store}"] if store else []),
            "curate.major_errors.selectors=[chelsea, coffee]",
            *more,
        ],
    )


def test_the_slice_is_an_edition_of_its_own(reviewed, tmp_path):
    store, ids = reviewed
    work = job(shipped(store), tmp_path)
    manifest = build(work)
    number, ledger = curate(work, manifest)
    released = release(work, manifest, number, ledger)
    assert ledger.figures["major_errors"]["selectors"] == {"chelsea": 1, "coffee": 1}
    assert ledger.figures["major_errors"]["category"] == {"spurious_correlation": 1}
    assert ledger.counts == {"drop": {"no_major_error": 11}}
    found = {key: members for _, shard in released.accepted() for key, members in read_shard(work.store.path(shard))}
    assert list(found) == [ids[0]]
    assert json.loads(found[ids[0]]["labels.json"])["mistakes"]["severity"] == ["minor", "major"]
    again = job(shipped(store), tmp_path / "other")
    edition = build(again)
    assert release(again, edition, *curate(again, edition)).digest() == released.digest()  # frozen
    text = render_card(work.recipe, released, work.store)
    assert "at least 2 of chelsea, coffee miss them" in text
    assert "fail on them by construction" in text.replace("\n", " ")


def test_the_selectors_are_not_evaluated_on_it(reviewed, tmp_path):
    store, _ = reviewed
    work = job(shipped(store), tmp_path)
    manifest = build(work)
    released = release(work, manifest, *curate(work, manifest))
    for name, refused in (("coffee", True), ("astronaut", False)):
        judging = shipped(store).model_copy(
            update={"evaluate": Recipe.parse({**shipped(store).dump(), "evaluate": [
                {"name": "multi_label_accuracy", "classifiers": [name]}]}).evaluate}
        )  # fmt: skip
        (evaluation,) = judging.evaluate
        if refused:
            with pytest.raises(RecipeError, match="a model that decided what was accepted can't judge the result"):
                check_judges(evaluation, released, job(judging, tmp_path))
        else:
            check_judges(evaluation, released, job(judging, tmp_path))


def test_fewer_models_must_miss(reviewed, tmp_path):
    store, _ = reviewed
    work = job(shipped(store, "curate.major_errors.least=1"), tmp_path)
    manifest = build(work)
    _, ledger = curate(work, manifest)
    assert ledger.figures["major_errors"]["pictures"] == 2
    assert ledger.counts["drop"] == {"no_major_error": 10}


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (
            ["curate.major_errors.selectors=[coffee, astronaut]"],
            "at most 1 of coffee, astronaut miss the same one; lower",
        ),
        (["curate.major_errors.selectors=[chelsea, astronaut]"], "none has a prediction of chelsea, astronaut"),
        (["source.edition=reviewed@1.0.0"], r"no picture has reviewed labels \(labels.json\); name a release"),
    ],
)
def test_an_empty_slice_says_what_to_do(reviewed, tmp_path, more, why):
    store, _ = reviewed
    work = job(shipped(store, *more), tmp_path)
    with pytest.raises(RecipeError, match=why):
        curate(work, build(work))


def test_the_source_lies_in_the_store_of_the_run_unless_another_is_named(reviewed, tmp_path):
    store, _ = reviewed
    there, named = job(shipped(None), store), job(shipped(store), tmp_path)
    assert there.plan.fingerprint == named.plan.fingerprint
    assert there.recipe.source.size(there.ctx) == 12
    with pytest.raises(StoreError, match=rf"no edition 'reviewed@1.0.0-r1' in {tmp_path}; there are: none yet"):
        check(job(shipped(None), tmp_path))
    with pytest.raises(RecipeError, match="no picture has reviewed labels"):
        check(job(shipped(None, "source.edition=reviewed@1.0.0"), store))


def test_more_misses_than_models_are_refused():
    with pytest.raises(ValueError, match="least is 3, but there are only 2 selectors"):
        MajorErrors(selectors=("a", "b"), least=3)
