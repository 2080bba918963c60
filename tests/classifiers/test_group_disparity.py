"""Gaps between groups: on tables with planted gaps and without, on real rows of a folder, and in the card."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
import skimage.data
from PIL import Image
from scipy.stats import chi2_contingency

from variorum.evaluation.classifiers.group_disparity import GroupDisparity, said
from variorum.evaluation.classifiers.group_gaps import pairs, scored
from variorum.evaluation.classifiers.groups import alike, answers_of, cells_of, equal_shares
from variorum.models import ModelTable
from variorum.models.brought.function import from_function
from variorum.models.imagenet_classes import class_infos
from variorum.pixels import decode
from variorum.reports.card import _render
from variorum.schemas.component import Context
from variorum.schemas.errors import RecipeError, SourceError
from variorum.schemas.lookup import build_component
from variorum.schemas.sample import Failure, Sample
from variorum.schemas.table import Table
from variorum.sources.image_folder import ImageFolder
from variorum.statistics import holm


def context(models=None):
    models = models or ModelTable("embedded")
    return Context(seed=1, models=models, memo=lambda key, compute: compute(), classes=class_infos())


def row(photograph, group, *, right, variant="original", kind="cat", household=""):
    return {
        "id": photograph if variant == "original" else f"{photograph}-{variant}",
        "parent": "" if variant == "original" else photograph,
        "variant": variant,
        "reference": "",
        "classifier": "c",
        "label": 3,
        "class": kind,
        "correct": bool(right),
        "confidence": 0.75,
        "outputs": 1000,
        "preprocessing": "",
        "groups": json.dumps([group]),
        "household": household or photograph,
    }


def figures(found, **fields):
    evaluation = GroupDisparity(groups=("region",), classifiers=("c",), **fields)
    return evaluation.figures(Table(pa.Table.from_pylist(found), "group_disparity"), context())


def compared(found, **fields):
    return figures(found, **fields)["classifiers"]["c"]["by"]["region"]


def compare(right, household, group, groups):
    """Tests of all pairs of groups, and the rates, of answers `[N]`."""
    cells, cell = cells_of(household, group, [f"g{number}" for number in range(groups)])
    answers = answers_of(np.asarray(right, float), np.ones(len(group)), cell, cells)
    correlations = alike(answers, cells)
    return pairs(answers, cells, correlations), scored(answers, cells, correlations.by_group, level=0.95)


def drawn(rates, sizes, seed, *, pictures=1, correlation=0.0):
    """Tests and rates of groups of so many households, each of so many pictures whose answers are correlated."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(len(rates)), sizes)
    chance = np.array(rates, float)[group]
    if correlation:
        chance = rng.beta(chance * (1 / correlation - 1), (1 - chance) * (1 / correlation - 1))
    right = rng.random((len(group), pictures)) < chance[:, None]
    household = np.repeat(np.arange(len(group)), pictures)
    return compare(right.ravel(), household, np.repeat(group, pictures), len(rates))


# ── the statistics ───────────────────────────────────────────────────────────────────────────────────────────────────


def alarms(draws):
    return sum(any(test["significant"] for test in tests) for tests, _ in draws)


def test_equal_groups_are_rarely_told_apart_and_a_planted_gap_is_found():
    """Four equal groups of 200: a significant pair in about 3 of 100 draws. A gap of 20 points: found nearly always."""
    assert alarms(drawn([0.8] * 4, [200] * 4, seed) for seed in range(100)) <= 5
    found = [test for seed in range(20) for test in drawn([0.8, 0.8, 0.6], [200] * 3, seed)[0]]
    assert sum(test["significant"] for test in found if "g2" in test["of"]) >= 38
    assert sum(test["significant"] for test in found if "g2" not in test["of"]) <= 2


@pytest.mark.parametrize(
    ("rates", "sizes", "correlated"),
    [
        ([0.95] * 2, [20, 2000], {}),  # in the small group, all answers are often right
        ([0.9] * 4, [20, 20, 20, 2000], {}),
        ([0.7] * 2, [40, 40], {"pictures": 5, "correlation": 0.5}),
        ([0.9] * 2, [20, 500], {"pictures": 5, "correlation": 0.5}),
    ],
)
def test_tiny_and_huge_groups_and_alike_households_raise_no_false_alarms_and_intervals_cover(rates, sizes, correlated):
    draws = [drawn(rates, sizes, seed, **correlated) for seed in range(200)]
    assert alarms(draws) <= 16
    covered = np.array([(rate.low <= rates) & (rates <= rate.high) for _, rate in draws])
    assert (covered.mean(axis=0) > 0.91).all()
    assert np.mean([low <= 0 <= high for _, (*_, (low, high)) in draws]) > 0.89  # of the largest of several gaps


def test_a_group_whose_answers_are_all_right_has_an_interval():
    _, rates = compare(np.ones(40), np.arange(40), np.repeat([0, 1], 20), 2)
    np.testing.assert_allclose(rates.low, 0.82, atol=0.01)  # Wilson's for 20 of 20 with 2.09 in place of 1.96
    assert rates.high.tolist() == [1, 1]
    assert rates.gap == pytest.approx((-0.18, 0.18), abs=0.01)


def test_households_count_once():
    """Ten copies of each picture are no evidence, and make no difference to p and the intervals."""
    rng = np.random.default_rng(0)
    group, right = np.repeat([0, 1], 30), rng.random(60) < np.repeat([0.8, 0.5], 30)
    found = [
        compare(np.repeat(right, copies), np.repeat(np.arange(60), copies), np.repeat(group, copies), 2)
        for copies in (1, 10)
    ]
    assert found[0][0] == found[1][0]
    np.testing.assert_allclose(found[0][1].low, found[1][1].low)


def test_what_households_share_makes_no_difference_between_groups():
    """Each household in both groups: what is hard for one is hard in both, so a small difference is seen."""
    rng = np.random.default_rng(1)
    right = rng.random(100) < 0.6
    other = right & (np.arange(100) >= 12)
    both, group = np.concatenate([right, other]), np.repeat([0, 1], 100)
    (paired,), _ = compare(both, np.tile(np.arange(100), 2), group, 2)
    (apart,), _ = compare(both, np.arange(200), group, 2)
    assert paired["difference"] == apart["difference"] > 4
    assert paired["p"] < 0.02 < 0.2 < apart["p"]


def test_one_picture_a_household_is_the_test_of_two_proportions():
    right = np.array([1] * 80 + [0] * 20 + [1] * 60 + [0] * 40)
    (test,), _ = compare(right, np.arange(200), np.repeat([0, 1], 100), 2)
    assert test["difference"] == 20
    assert test["p"] == pytest.approx(chi2_contingency([[80, 20], [60, 40]]).pvalue, abs=5e-4)  # Yates's correction
    (test,), _ = compare(np.ones(200), np.arange(200), np.repeat([0, 1], 100), 2)
    assert test["p"] == 1


def test_holm_by_hand():
    np.testing.assert_allclose(holm(np.array([0.04, 0.01, 0.03])), [0.06, 0.03, 0.06])
    np.testing.assert_allclose(holm(np.array([0.9, 0.8])), [1, 1])
    assert len(holm(np.empty(0))) == 0


def test_equal_shares_weigh_the_shared_classes_alike():
    classes, group = np.array([0, 0, 1, 0, 1, 1, 2, -1]), np.array([0, 0, 0, 1, 1, 1, 1, 0])
    weights, shared = equal_shares(classes, group, 2)
    assert shared == 2
    np.testing.assert_allclose(weights, [0.5, 0.5, 1, 1, 0.5, 0.5, 0, 0])


# ── figures ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def planted():
    """Originals of a north at 90 %, a south at 60 % and a west of 5; edits cost the south 20 points more."""
    found = []
    for group, n, right, edited in (("north", 40, 36, 32), ("south", 40, 24, 12), ("west", 5, 5, 5)):
        for number in range(n):
            name = f"{group}{number:02}"
            found += [row(name, group, right=number < right), row(name, group, right=number < edited, variant="fog")]
    return [*found, row("nowhere", "", right=True)]


def test_rates_gaps_drops_and_what_is_not_compared(planted):
    one = compared(planted)
    assert (one["few"], one["unknown"]) == ({"west": 5}, 1)
    assert set(one["groups"]) == {"north", "south"}
    north = one["groups"]["north"]
    assert (north["n"], north["households"], north["rate"]["value"], north["drop"]["value"]) == (40, 40, 90, 10)
    assert 75 < north["rate"]["low"] < 90 < north["rate"]["high"] <= 100
    gap = one["gaps"]["rate"]
    assert (gap["best"], gap["worst"], gap["gap"]["value"], gap["ratio"]) == ("north", "south", 30, 0.6667)
    assert 10 < gap["gap"]["low"] < 20
    assert 2 < gap["by_chance"] < 12
    assert one["gaps"]["drop"]["gap"]["value"] == 20
    assert one["gaps"]["drop"]["best"] == "south"  # it loses most
    assert one["significant"] == 1
    assert compared(planted, least=5)["groups"].keys() == {"north", "south", "west"}


def test_variants_of_few_edits_weigh_as_much_in_a_drop_and_baselines_nothing():
    found = []
    for n in range(20):
        for group in ("north", "south"):
            name = f"{group}{n:02}"
            found += [row(name, group, right=True), row(name, group, right=False, variant="control")]
            found.append(row(name, group, right=n >= 2, variant="fog"))  # costs 10 points
            found += [row(name, group, right=n >= 5, variant="snow")] if n < 10 else []  # costs 50
    assert compared(found)["groups"]["south"]["drop"]["value"] == 30


def test_classes_that_differ_by_group_explain_a_gap():
    """In the north there are more pictures of the easier class; each class is as easy as in the south."""
    found = []
    for group, cats in (("north", 40), ("south", 10)):
        for kind, n, share in (("cat", cats, 0.9), ("dog", 50 - cats, 0.3)):
            found += [row(f"{group}{kind}{number}", group, right=number < share * n, kind=kind) for number in range(n)]
    one = compared(found)
    assert one["gaps"]["rate"]["gap"]["value"] == 36
    assert one["classes"] == 2
    assert one["gaps"]["equal_classes"]["gap"]["value"] == 0
    assert one["groups"]["north"]["equal_classes"]["value"] == 60
    assert "drop" not in one["gaps"]


def test_classes_that_few_households_of_a_group_share_are_not_compared():
    """Both groups have a dog, but the only one of the south says nothing of the south."""
    found = [row(f"{group}{n}", group, right=n % 3, kind=group) for group in ("north", "south") for n in range(30)]
    found += [row(f"{group}dog", group, right=True, kind="dog") for group in ("north", "south")]
    one = compared(found)
    assert one["classes"] == 1
    assert set(one["gaps"]) == {"rate"}
    assert "equal_classes" not in one["groups"]["south"]


def test_edits_of_few_households_have_no_drop(planted):
    without = [one for one in planted if one["variant"] == "original" or not one["id"].startswith("south1")]
    assert "drop" in compared(without)["gaps"]  # 30 of 40
    without = [
        one
        for one in planted
        if one["variant"] == "original" or not one["id"].startswith(("south1", "south2", "south3"))
    ]
    assert set(compared(without)["gaps"]) == {"rate", "equal_classes"}


def test_households_are_what_is_counted_and_resampled():
    found = [
        row(f"{group}{n}", group, right=n % 2, household=f"{group}{n // 10}") for group in "ab" for n in range(100)
    ]
    assert compared(found)["why_not"] == "fewer than two groups have 20 households or more"
    assert compared(found, least=10)["groups"]["a"]["households"] == 10


def test_nothing_to_compare_has_a_reason():
    assert compared([row("p", "", right=True)])["why_not"] == "no original has this key in its metadata"
    many = [row(f"p{n}", str(n % 60), right=True) for n in range(120)]
    assert compared(many, least=2)["why_not"] == "there are 60 groups; put the values into at most 50 first"
    table = Table(pa.table({"id": pa.array([], pa.string())}), "group_disparity")
    evaluation = GroupDisparity(groups=("region",), classifiers=("c",))
    found = evaluation.figures(table, context())
    assert found["classifiers"] == {}
    assert evaluation.plots(found) == {}


def test_deviation_and_paired_differences():
    """Rates of 90 and 70 % against 60 and 70 %, of the same pictures: the worst 10 points up, the gap 10 points up."""
    rights = {"c": {"north": 36, "south": 28}, "d": {"north": 24, "south": 28}}
    found = [
        row(f"{group}{n:02}", group, right=n < right) | {"classifier": name}
        for name, by in rights.items()
        for group, right in by.items()
        for n in range(40)
    ]
    table = Table(pa.Table.from_pylist(found), "group_disparity")
    half, figures = (
        GroupDisparity(groups=("region",), classifiers=("c", "d"), confidence=level).figures(table, context())
        for level in (0.5, 0.95)
    )
    gap = figures["classifiers"]["c"]["by"]["region"]["gaps"]["rate"]
    assert (gap["gap"]["value"], gap["deviation"]) == (20, 10)
    (pair,) = figures["differences"]
    assert (pair["of"], pair["worst"]["value"], pair["gap"]["value"]) == (["c", "d"], 10, 10)
    (sure,) = half["differences"]
    assert pair["worst"]["low"] < sure["worst"]["low"] < 10 < sure["worst"]["high"] < pair["worst"]["high"]
    assert "| region | c − d | 10.0 [" in card(figures)


def test_equal_groups_differ_by_no_more_than_chance():
    rng = np.random.default_rng(0)
    found = [row(f"{k}{n:02}", str(k), right=rng.random() < 0.8) for k in range(10) for n in range(30)]
    gap = compared(found)["gaps"]["rate"]
    assert gap["gap"]["value"] < 1.5 * gap["by_chance"]


def test_groups_by_class():
    """The model takes everything for a tabby."""
    model = from_function(lambda images: np.eye(1000)[[281] * len(images)])
    ctx = context(ModelTable("embedded").with_models({"c": model}))
    samples = [
        Sample(f"{label}{n}", np.zeros((32, 32, 3), np.uint8), (label,))
        for label in ("n02123045", "n02085620")
        for n in range(20)
    ]
    evaluation = GroupDisparity(by="label", classifiers=("c",))
    table = Table(pa.Table.from_pylist(list(evaluation.measure(samples, ctx))), "group_disparity")
    found = evaluation.figures(table, ctx)["classifiers"]["c"]["by"]["label"]
    rates = {name: one["rate"]["value"] for name, one in found["groups"].items()}
    assert rates == {"tabby cat": 100, "Chihuahua": 0}
    assert found["gaps"]["rate"]["gap"]["value"] == 100


# ── what is measured ─────────────────────────────────────────────────────────────────────────────────────────────────


def half_sure(images):
    """A tabby is the third choice in each picture."""
    scores = np.zeros((len(images), 1000))
    scores[:, [5, 6, 281]] = [0.5, 0.3, 0.2]
    return scores


def test_groups_come_from_a_file_beside_the_pictures_and_top5_from_the_first_five(tmp_path):
    folder = tmp_path / "n02123045"
    folder.mkdir()
    for name in "abc":
        Image.fromarray(skimage.data.chelsea()[:64, :64]).save(folder / f"{name}.png")
    said_here = "file_name,region,income\nn02123045/a.png,north,1\nn02123045/b.png, south ,\n"
    (tmp_path / "groups.csv").write_text(said_here)
    source, ctx = (
        ImageFolder(path=tmp_path),
        context(ModelTable("embedded").with_models({"c": from_function(half_sure)})),
    )
    read = [one for one in source.read(0, 3, ctx) if not isinstance(one, Failure)]
    assert [one.labels for one in read] == [("n02123045",)] * 3  # the folders' classes stay
    assert [one.reason for one in read] == [""] * 3
    samples = [Sample(one.id, decode(one.image), one.labels, metadata=one.metadata) for one in read]
    for metric, right in (("top1", False), ("top5", True)):
        evaluation = GroupDisparity(groups=("region", "income"), classifiers=("c",), metric=metric, household="income")
        rows = list(evaluation.measure(samples, ctx))
        assert [json.loads(one["groups"]) for one in rows] == [["north", "1"], ["south", ""], ["", ""]]
        assert [one["household"] for one in rows] == ["1", "", ""]
        assert {one["correct"] for one in rows} == {right}
    alone = GroupDisparity(groups=("region",), classifiers=("c",))
    same = [Sample(one.id, one.image, one.labels, photograph="one", metadata=one.metadata) for one in samples]
    assert [one["household"] for one in alone.measure(same, ctx)] == ["one"] * 3
    few = from_function(
        lambda images: np.full((len(images), 5), 0.2), classes=[one.id for one in class_infos()[279:284]]
    )
    tiny = context(ModelTable("embedded").with_models({"c": few}))
    with pytest.raises(RecipeError, match=r"'c' has 5 outputs, so top5 is always right; set metric to top1"):
        list(evaluation.measure(samples, tiny))


def test_a_file_of_groups_says_nothing_else(tmp_path):
    Image.fromarray(skimage.data.chelsea()[:64, :64]).save(tmp_path / "a.png")
    (tmp_path / "groups.csv").write_text("file_name,label\na.png,cat\n")
    with pytest.raises(SourceError, match=r"groups.csv: the column label is no group; put it into metadata.csv"):
        ImageFolder(path=tmp_path).size(context())
    for names in ("file_name", "file_name,"):
        (tmp_path / "groups.csv").write_text(f"{names}\n{names.replace('file_name', 'a.png')}\n")
        with pytest.raises(SourceError, match=r"groups.csv: no column with a name beside file_name"):
            ImageFolder(path=tmp_path).size(context())
    (tmp_path / "groups.csv").write_text("file_name,region\na.png,north\n")
    (tmp_path / "metadata.csv").write_text("file_name,region\na.png,south\n")
    with pytest.raises(SourceError, match=r"groups.csv and metadata.csv both have the column region; keep one"):
        ImageFolder(path=tmp_path).size(context())


def test_values_as_texts():
    metadata = {"a": True, "b": 1, "c": 0.50, "d": None, "e": ["x"], "f": " x " * 60}
    assert [said(metadata, key) for key in "abcdeg"] == ["true", "1", "0.5", "", "", ""]
    assert said({"a": float("nan")}, "a") == ""
    assert len(said(metadata, "f")) == 100
    assert said(metadata, "f") != said({"f": metadata["f"] + "y"}, "f")


def test_groups_must_be_named():
    for groups in ([], ["region", "region"], [""]):
        with pytest.raises(RecipeError, match="groups: "):
            build_component("evaluate", {"name": "group_disparity", "groups": groups}, "here")


# ── the card ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def card(found):
    evaluation = GroupDisparity(groups=("region",), classifiers=("c",))
    read = json.loads(json.dumps(found))
    plots = {name: f"plot {name}" for name in evaluation.plots(read)}
    return _render(
        "_group_disparity", figures=read, models={"c": "model@sha256:0", "d": "model@sha256:1"}, order=[], plots=plots
    )


def test_the_card_shows_gaps_and_says_what_groups_are(planted):
    text = card(figures(planted))
    assert "none was guessed from pixels" in text
    assert "plot groups_1" in text
    assert "| north | 40 | 40 | 90.0 [" in text
    assert "| on the originals | north | south | 30.0 [" in text
    assert "by Holm's method: 1 of 1." in text
    assert "| north − south | +30.0 |" in text
    assert "Too few to compare: west (5)." in text
    assert "Intervals of drops come from resamples and are too narrow for groups of fewer than about 50" in text
    assert "Intervals of drops" not in card(figures([one for one in planted if one["variant"] == "original"]))
    assert "Originals that say nothing under this key: 1." in text


def test_the_card_of_what_is_not_compared_and_of_hostile_names():
    assert "Nothing is compared: fewer than two groups" in card(figures([row("p", "north", right=True)]))
    name = "<script>|x"
    text = card(figures([row(f"{group}{n}", group, right=n > 3) for group in (name, "b") for n in range(20)]))
    assert "<script>" not in text
    assert "nothing to measure" in card({**figures([row("p", "a", right=True)]), "classifiers": {}}).lower()


# ── the row of a report ──────────────────────────────────────────────────────────────────────────────────────────────


def answers(groups, *, key="region"):
    """Answers to originals, by group how many and how many of them are right."""
    found = [
        {
            **row(f"{group}{number:03}", "", right=number < right, kind=group),
            "photograph": "",
            "metadata": json.dumps({key: group, "file": f"{group}{number}"} if key else {}),
            "said": "x",
            "p_label": 0.5,
        }
        for group, (size, right) in groups.items()
        for number in range(size)
    ]
    return list(GroupDisparity().rows(Table(pa.Table.from_pylist(found)), context()))


def test_the_worst_group_is_one_of_those_with_enough_photographs():
    found, spread = answers({"north": (40, 36), "south": (25, 15), "east": (19, 0)})
    assert found.columns == ("north", "south")
    assert (found.top.sum(axis=0) / found.bottom.sum(axis=0)).tolist() == [0.9, 0.6]
    assert found.note == "2 groups by region"
    assert 0.6 < found.floor < 51 / 65
    assert spread.whole(np.ones(65)) == pytest.approx(0.3)
    assert spread.photographs == found.photographs
    assert 0.03 < spread.floor < 0.15
    assert answers({"north": (40, 36), "south": (25, 15)}, key="")[0].note == "2 classes"
    few = answers({"north": (40, 36), "south": (19, 15)})
    assert {one.why_not for one in few} == {"fewer than two groups or classes have 20 photographs"}
