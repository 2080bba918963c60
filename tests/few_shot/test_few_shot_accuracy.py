"""Scores of episodes: against scikit-learn, by hand, and on a whole edition."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.linear_model import RidgeClassifier
from sklearn.neighbors import NearestCentroid

from variorum.evaluation.few_shot.few_shot_accuracy import FewShotAccuracy
from variorum.evaluation.few_shot.tables import MISSING, read_episodes, shared
from variorum.generators.few_shot.drawing import Picture, draw, stock
from variorum.kit.embeddings.episodes import predictions, unit
from variorum.pipeline import Job, Threads, build, evaluate
from variorum.reports.card import render_card
from variorum.schemas.component import Context
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import build_component
from variorum.schemas.plot import IntervalPlot
from variorum.schemas.sample import Sample
from variorum.schemas.table import Table
from variorum.sources.exports.stamps import stamps_folder
from variorum.stages.recipe_files import load_recipe

NAMES = ("clean", "small")
CTX = Context(5, None, None)


def pictures(classes: int = 6, photographs: int = 9) -> list[Picture]:
    return [
        Picture(f"{label}.{number}.{name}", f"{label}.{number}", f"{label}.{number}", name, f"c{label}")
        for label in range(classes)
        for number in range(photographs)
        for name in NAMES
    ]


def listing(found: list[Picture], episodes: int = 40, **fields: Any) -> dict[str, np.ndarray]:
    settings = {"way": 4, "shot": (1, 3), "queries": 4, "clean": "clean", "difficulties": NAMES, **fields}
    rows = draw(stock(found, "clean"), np.random.default_rng(1), episodes=episodes, **settings)
    return {name: np.array(values) for name, values in rows.items()}


def table(found: list[Picture], noise: dict[str, float], seed: int = 0, size: int = 24) -> Table:
    """Embeddings around a middle for each class, with more noise for some difficulties; lengths mean nothing."""
    rng = np.random.default_rng(seed)
    middles = rng.standard_normal((20, size))
    rows = [middles[int(one.label[1:])] + noise[one.difficulty] * rng.standard_normal(size) for one in found]
    lengths = rng.uniform(0.1, 9, (len(rows), 1))
    embeddings = np.array(rows, np.float32) * lengths.astype(np.float32)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(embeddings.ravel()), size)
    return Table(
        pa.table(
            {
                "id": [one.id for one in found],
                "photograph": [one.photograph for one in found],
                "embedding": vectors,
            }
        )
    )


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    rows = pictures()
    ctx = replace(CTX, listings={"episodes": listing(rows)})
    return FewShotAccuracy(bootstrap=200).figures(table(rows, {"clean": 1.0, "small": 4.0}), ctx)


def test_both_methods_answer_as_scikit_learn_does():
    rows = pictures()
    data = table(rows, {"clean": 2.0, "small": 4.0})
    episodes = read_episodes(listing(rows, episodes=12), data["id"])
    vectors = unit(np.asarray(data["embedding"], np.float32))
    queries = np.moveaxis(episodes.queries, 0, 1).reshape(12, -1)
    for shot in episodes.shots:
        answers = predictions(vectors, episodes.supports[:, :, :shot], queries, 0.5)
        labels = np.repeat(np.arange(4), shot)
        for number in range(12):
            given = vectors[episodes.supports[number, :, :shot].ravel()]
            with np.errstate(invalid="ignore"):
                centroid = NearestCentroid().fit(given, labels).predict(vectors[queries[number]])
            ridge = RidgeClassifier(alpha=0.5).fit(given, labels).predict(vectors[queries[number]])
            np.testing.assert_array_equal(answers["centroid"][number], centroid)
            np.testing.assert_array_equal(answers["ridge"][number], ridge)


def test_hard_queries_and_few_shots_cost_accuracy(found):
    assert found["episodes"] == 40
    assert (found["way"], found["shots"], found["chance"]) == (4, [1, 3], 25.0)
    assert found["queries"] == {"clean": 640, "small": 640}
    assert found["shared"] == 0
    for shots in found["methods"].values():
        for one in shots.values():
            clean, small = (one["accuracies"][name] for name in NAMES)
            assert clean["value"] > small["value"] > 25
            assert one["drops"]["small"]["value"] == pytest.approx(clean["value"] - small["value"], abs=0.02)
            assert one["drops"]["small"]["low"] > 0
            assert clean["low"] <= clean["value"] <= clean["high"]
        assert shots["3"]["accuracies"]["clean"]["value"] > shots["1"]["accuracies"]["clean"]["value"]


def test_a_report_has_the_same_accuracies_by_photograph(found):
    """Every episode asks as often, so the mean over the times asked is that over the episodes."""
    rows = pictures()
    ctx = replace(CTX, listings={"episodes": listing(rows)})
    (answers,) = FewShotAccuracy(encoder="mine").rows(table(rows, {"clean": 1.0, "small": 4.0}), ctx)
    assert (answers.figure, answers.model, answers.floor) == ("accuracy", "mine", 0.25)
    assert answers.columns == ("clean_1", "small_1", "clean_3", "small_3")
    assert answers.axes == {"difficulty": NAMES * 2, "shot": (1.0, 1.0, 3.0, 3.0)}
    shares = 100 * answers.top.sum(axis=0) / answers.bottom.sum(axis=0)
    figures = found["methods"]["centroid"]
    wanted = [figures[shot]["accuracies"][name]["value"] for shot in ("1", "3") for name in NAMES]
    assert shares == pytest.approx(wanted, abs=0.01)
    assert list(answers.photographs) == sorted({one.photograph for one in rows})
    shown = answers.pictures
    one = next(place for place, column in enumerate(shown.column) if column == 1)
    photograph = answers.photographs[shown.photograph[one]]
    assert shown.ids[one] == f"{photograph}.small"
    cell = shown.photograph[one], 1
    assert shown.p_label[one] == pytest.approx(answers.top[cell] / answers.bottom[cell])
    right = [said == f"c{name[0]}" for said, name in zip(shown.said, shown.ids, strict=True)]
    np.testing.assert_array_equal(shown.right, right)
    assert [label[1:] for label in shown.label] == [name[0] for name in shown.ids]


def test_an_edition_without_episodes_has_no_row():
    (answers,) = FewShotAccuracy().rows(table(pictures(), {"clean": 1.0, "small": 1.0}), CTX)
    assert answers.why_not == "the edition has no episodes"


def test_the_usual_half_width_is_that_of_the_mean_over_episodes():
    rows = pictures()
    data = table(rows, {"clean": 3.0, "small": 3.0})
    columns = listing(rows, shot=(1,))
    figures = FewShotAccuracy(bootstrap=100).figures(data, replace(CTX, listings={"episodes": columns}))
    episodes = read_episodes(columns, data["id"])
    vectors = unit(np.asarray(data["embedding"], np.float32))
    answers = predictions(vectors, episodes.supports, episodes.queries[0].reshape(40, -1), 1.0)["centroid"]
    by_episode = 100 * (answers.reshape(40, 4, -1) == np.arange(4)[None, :, None]).mean(axis=(1, 2))
    cell = figures["methods"]["centroid"]["1"]["accuracies"]["clean"]
    assert cell["value"] == pytest.approx(by_episode.mean(), abs=0.01)
    assert cell["usual"] == pytest.approx(1.96 * by_episode.std(ddof=1) / np.sqrt(40), abs=0.01)


def test_a_drop_is_that_of_the_queries_that_have_both_pictures():
    """The hard photographs of one class have no small picture, so its accuracy is too high, and the drop is not."""
    rows = pictures()
    data = table(rows, {"clean": 0.1, "small": 0.1})
    vectors = np.asarray(data["embedding"], np.float32).copy()
    hard = [place for place, one in enumerate(rows) if one.label == "c0" and int(one.photograph[2:]) >= 5]
    vectors[hard] = vectors[next(place for place, one in enumerate(rows) if one.label == "c1")]
    columns = listing([one for place, one in enumerate(rows) if place not in hard or one.difficulty == "clean"])
    flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    data = Table(data.arrow.set_column(2, "embedding", flat))
    figures = FewShotAccuracy(bootstrap=100).figures(data, replace(CTX, listings={"episodes": columns}))
    one = figures["methods"]["ridge"]["3"]
    assert figures["queries"]["small"] < figures["queries"]["clean"]
    assert one["accuracies"]["small"]["value"] > one["accuracies"]["clean"]["value"] + 1
    assert one["drops"]["small"]["value"] == pytest.approx(0, abs=1.5)


def test_accuracies_and_drops_are_means_over_episodes_of_the_queries_that_there_are():
    rng = np.random.default_rng(2)
    rows = [one for one in pictures() if one.difficulty == "clean" or rng.random() < 0.4]
    data, columns = table(rows, {"clean": 2.0, "small": 4.0}), listing(rows, shot=(1,))
    figures = FewShotAccuracy(bootstrap=100).figures(data, replace(CTX, listings={"episodes": columns}))
    episodes = read_episodes(columns, data["id"])
    vectors = unit(np.asarray(data["embedding"], np.float32))
    flat = np.moveaxis(episodes.queries, 0, 1).reshape(40, -1)
    taken = predictions(vectors, episodes.supports, flat, 1.0)["ridge"].reshape(40, 2, 4, -1)
    accuracies, drops = [], []
    for asked, answers in zip(np.moveaxis(episodes.queries, 0, 1), taken, strict=True):
        right, there = answers == np.arange(4)[:, None], asked[1] != MISSING
        if there.any():
            accuracies.append(100 * right[1][there].mean())
            drops.append(100 * (right[0][there].astype(float) - right[1][there]).mean())
    one = figures["methods"]["ridge"]["1"]
    for cell, by_episode in ((one["accuracies"]["small"], accuracies), (one["drops"]["small"], drops)):
        assert cell["value"] == pytest.approx(np.mean(by_episode), abs=0.01)
        assert cell["usual"] == pytest.approx(1.96 * np.std(by_episode, ddof=1) / len(by_episode) ** 0.5, abs=0.01)


def test_a_picture_is_measured_with_the_photograph_that_it_is_of():
    class Encoders:
        def get(self, alias: str) -> Any:
            return lambda images: np.array([[image.mean(), 1] for image in images])

    image = np.full((2, 2, 3), 7, np.uint8)
    samples = [
        Sample("0" * 32, image, parent="p", photograph="one"),
        Sample("1" * 32, image, parent="q"),
    ]
    rows = list(FewShotAccuracy().measure(samples, Context(0, Encoders(), None)))
    assert [(row["id"][0], row["photograph"]) for row in rows] == [("0", "one"), ("1", "q")]
    np.testing.assert_array_equal(rows[0]["embedding"], [7, 1])


def test_classes_that_have_no_query_of_a_difficulty_are_counted():
    rows = [one for one in pictures() if one.difficulty == "clean" or one.label == "c1"]
    data = table(rows, {"clean": 1.0, "small": 4.0})
    found = FewShotAccuracy(bootstrap=100).figures(data, replace(CTX, listings={"episodes": listing(rows)}))
    assert found["classes_asked"] == {"clean": 6, "small": 1}
    cell = found["methods"]["ridge"]["1"]["accuracies"]["small"]
    assert cell["low"] < 1 < cell["value"] < 98 < cell["high"]  # a single photograph


def test_a_photograph_on_both_sides_is_counted():
    rows = pictures()
    data = table(rows, {"clean": 1.0, "small": 1.0})
    columns = listing(rows)
    episodes = read_episodes(columns, data["id"])
    assert shared(episodes, data["photograph"]) == 0
    queries = episodes.queries.copy()
    queries[1, 7, 0, 2] = episodes.supports[7, 0, 0]
    queries[0, 9, 3, 1] = queries[0, 9, 3, 0]
    queries[1, 11, 0, :2] = MISSING
    assert shared(replace(episodes, queries=queries), data["photograph"]) == 2


def test_rows_in_another_order_and_lost_queries_are_read():
    rows = pictures()
    data = table(rows, {"clean": 1.0, "small": 1.0})
    columns = listing(rows)
    order = np.random.default_rng(0).permutation(len(columns["id"]))
    one, other = (read_episodes(each, data["id"]) for each in (columns, {k: v[order] for k, v in columns.items()}))
    np.testing.assert_array_equal(one.supports, other.supports)
    np.testing.assert_array_equal(one.queries, other.queries)
    assert (one.queries != MISSING).all()


def test_difficulties_have_one_order_whatever_queries_are_lost():
    rows = [replace(one, difficulty=name) for name in ("clean", "blurred", "mist", "small") for one in pictures()[::2]]
    rows = [replace(one, id=f"{one.parent}.{one.difficulty}") for one in rows]
    columns = listing(rows, difficulties=("clean", "small", "blurred", "mist"))
    kept = (columns["difficulty"] != "small") | (columns["episode"] > 0)
    ids = np.array([one.id for one in rows])
    found = read_episodes({name: values[kept] for name, values in columns.items()}, ids)
    assert found.difficulties == ("clean", "small", "blurred", "mist")
    there = {str(ids[row]).rpartition(".")[2] for row in found.queries[2].ravel()}
    assert there == {"blurred"}


def test_without_episodes_there_is_nothing_to_score_and_that_is_said():
    rows = {"class": ["c0", "c1"], "photographs": [3, 9], "needed": [7, 7], "status": ["too_few", "used"]}
    ctx = replace(CTX, listings={"episode_classes": {name: np.array(values) for name, values in rows.items()}})
    data = table(pictures(), {"clean": 1.0, "small": 1.0})
    found = FewShotAccuracy().figures(data, ctx)
    assert found["methods"] == {}
    assert "no episodes" in found["why_none"]
    assert found["too_few"] == [{"class": "c0", "photographs": 3, "needed": 7}]
    assert FewShotAccuracy().plots(found) == {}
    assert not FewShotAccuracy().chosen(data, ctx).any()  # so that no embedding is computed
    assert FewShotAccuracy().chosen(data, replace(CTX, listings={"episodes": {}})) is None


def test_a_listing_about_other_pictures_is_refused():
    rows = pictures()
    columns = listing(rows)
    data = table(rows[:-30], {"clean": 1.0, "small": 1.0})
    with pytest.raises(RecipeError, match="pictures that aren't in the edition"):
        FewShotAccuracy().figures(data, replace(CTX, listings={"episodes": columns}))
    fewer = {name: values[1:] for name, values in columns.items()}
    with pytest.raises(RecipeError, match="same number of supports"):
        FewShotAccuracy().figures(table(rows, {"clean": 1.0, "small": 1.0}), replace(CTX, listings={"episodes": fewer}))
    foreign = {name: values for name, values in columns.items() if name not in ("way", "number")}
    with pytest.raises(RecipeError, match="no column way, number"):
        FewShotAccuracy().figures(data, replace(CTX, listings={"episodes": foreign}))


@pytest.mark.parametrize("field", ["ridge", "confidence"])
@pytest.mark.parametrize("value", [0, 1e-30, float("inf"), float("nan")])
def test_a_penalty_or_a_level_that_cannot_be_computed_is_refused(field, value):
    with pytest.raises(RecipeError, match=field):
        build_component("evaluate", {"name": "few_shot_accuracy", field: value}, "here")


def test_embeddings_that_are_no_numbers_point_nowhere():
    vectors = np.array([[3, 4], [0, 0], [np.nan, 1], [np.inf, 0]], np.float32)
    np.testing.assert_allclose(unit(vectors), [[0.6, 0.8], [0, 0], [0, 0], [0, 0]], atol=1e-6)


def test_plots_have_a_row_for_each_difficulty(found):
    plots = FewShotAccuracy().plots(found)
    assert isinstance(plots["accuracy"], IntervalPlot)
    assert plots["accuracy"].rows == NAMES
    assert plots["drops"].rows == ("small",)
    assert list(plots["drops"].series) == ["1-shot, centroid", "3-shot, centroid", "1-shot, ridge", "3-shot, ridge"]


@pytest.mark.slow
@pytest.mark.skipif(stamps_folder() is None, reason="Debian's tuxpaint-stamps-default isn't installed")
def test_small_things_are_harder_on_the_packaged_photographs(tmp_path):
    """The whole recipe, with the real encoder on real photographs of eight groups."""
    maker = "generate.few_shot_episodes"
    overrides = ["source.per_group=11", f"{maker}.difficulties=[clean, small]", f"{maker}.queries=6"]
    work = Job(load_recipe("few_shot", overrides), str(tmp_path / "store"))
    manifest = build(work, Threads(2))
    figures = evaluate(work, manifest, Threads(2))["few_shot_accuracy"]
    assert len(figures["classes"]) == 8
    assert figures["shared"] == 0
    for shots in figures["methods"].values():
        for one in shots.values():
            assert one["drops"]["small"]["low"] > 0
            accuracy = one["accuracies"]["clean"]
            assert (accuracy["high"] - accuracy["low"]) / 2 > 2 * accuracy["usual"]
    card = render_card(work.recipe, manifest, work.store)
    assert "No episode has a photograph in two places" in card
