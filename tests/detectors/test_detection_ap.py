"""The evaluation on editions with boxes: figures, card and plot, and what it refuses."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from detecting import OwnModels, ShapeDetector, by_pycocotools, edition

from variorum.evaluation.detectors.detection_ap import DetectionAp
from variorum.exchange.coco.export import export_coco
from variorum.exchange.coco.parts import ANNOTATIONS, PICTURES
from variorum.kit.detection.records import FOUND, MOST, pack_found, unpacked
from variorum.kit.predicted.resamples import percent
from variorum.models.roles import Detected
from variorum.pipeline import Job, evaluate
from variorum.pixels import decode
from variorum.reports.card import _render
from variorum.schemas.annotations import Annotations, Object
from variorum.schemas.component import ClassInfo, Context
from variorum.schemas.errors import ModelFailed, RecipeError
from variorum.schemas.recipe import Recipe
from variorum.schemas.sample import Sample
from variorum.schemas.table import Table
from variorum.stages.evaluate import check_references, read_figures

CLASSES = (ClassInfo("circle", "a circle | <b>"), ClassInfo("square", "square"))


def figures_of(samples, model, classes=CLASSES, **fields):
    step = DetectionAp(detectors=("mine",), bootstrap=20, **fields)
    ctx = Context(1, OwnModels(mine=model), None, classes=classes)
    rows = [dict(row) for row in step.measure(samples, ctx)]
    found = step.figures(Table(pa.Table.from_pylist(rows) if rows else pa.table({}), "detection_ap"), ctx)
    json.dumps(found, allow_nan=False)
    return found


def square(left=20, side=30, **fields) -> Object:
    return Object((left, 10, side, side), "square", **fields)


def picture(*objects, shown=None, number=0, **fields) -> Sample:
    """A yellow square for each object, or for those that are `shown`."""
    image = np.full((80, 120, 3), 100, np.uint8)
    for one in objects if shown is None else shown:
        left, top, wide, high = map(int, one.box)
        image[top : top + high, left : left + wide] = (220, 180, 40)
    return Sample(f"{number:032d}", image, annotations=Annotations(objects), **fields)


@pytest.fixture(scope="module")
def shifted(tmp_path_factory):
    """An edition with a variant whose pictures are too dark for one of two detectors, and one with missing objects."""
    models = OwnModels(mine=ShapeDetector(), keen=ShapeDetector(least=0))
    job, manifest = edition(tmp_path_factory.mktemp("shifted"), models, {"skip": 3})
    return job, manifest, read_figures("detection_ap", manifest, job.store)["figures"]


def value(figure):
    return figure["value"]


def test_each_variant_is_measured_and_compared_with_its_own_originals(shifted):
    _, _, found = shifted
    mine, keen = (found["detectors"][name]["variants"] for name in ("mine", "keen"))
    assert found["variants"][0] == "original"
    assert (mine["original"]["n"], mine["original"]["boxes"], value(mine["original"]["map"])) == (12, 12, 100)
    assert (mine["dark"]["n"], mine["dark"]["paired"], mine["dark"]["boxes"]) == (8, 8, 12)
    assert (value(mine["dark"]["map"]), value(mine["dark"]["relative_drop"])) == (0, 100)
    assert value(keen["dark"]["map"]) == 100
    assert value(keen["dark"]["drop"]) == 0


class Shaken(ShapeDetector):
    """Its boxes are a little off, always the same for the same picture."""

    def __call__(self, images, texts):
        found = super().__call__(images, texts)
        return [self._shaken(*pair) for pair in zip(images, found, strict=True)]

    def _shaken(self, image, one):
        off = np.random.default_rng(int(image.sum())).normal(0, 1.5, one.boxes.shape).astype(np.float32)
        return one._replace(boxes=(one.boxes + off).clip(0))


def test_pycocotools_on_the_exported_files_gives_the_same_figures(shifted, tmp_path):
    job, manifest, _ = shifted
    shaken = Shaken(least=0)
    step = job.recipe.evaluate[0].model_copy(update={"detectors": ("shaken",)})
    recipe = job.recipe.model_copy(update={"evaluate": (step,)})
    other = Job(recipe, job.store, ctx=replace(job.ctx, models=OwnModels(shaken=shaken)))
    found = evaluate(other, manifest)["detection_ap"]["detectors"]["shaken"]["variants"]
    for part in export_coco(manifest, job.store, tmp_path / "out"):
        folder = tmp_path / "out" / part.folder
        data = json.loads((folder / ANNOTATIONS).read_bytes())
        names = {one["id"]: one["name"] for one in data["categories"]}
        results = []
        for image in data["images"]:
            pixels = decode((folder / PICTURES / image["file_name"]).read_bytes())
            (answer,) = shaken([pixels], list(names.values()))
            for (left, top, right, bottom), score, text in zip(*(one.tolist() for one in answer), strict=True):
                box = [left, top, right - left, bottom - top]
                result = {"image_id": image["id"], "category_id": list(names)[text], "bbox": box, "score": score}
                results.append(result)
        stats = by_pycocotools(data, results).stats
        mine = found[part.variant]
        assert 0 < stats[0] < 1
        assert value(mine["map"]) == percent(stats[0])
        for name, place in (("ap50", 1), ("ap75", 2), ("ap_small", 3), ("ar100", 8)):
            assert mine[name] == percent(stats[place])


def test_missing_objects_are_ignored(shifted):
    job, manifest, found = shifted
    lost = found["detectors"]["mine"]["variants"]["lost one/half"]
    assert (lost["boxes"], lost["ignored"], value(lost["map"])) == (4, 8, 100)
    step = job.recipe.evaluate[0].model_copy(update={"ignore": ()})
    other = Job(job.recipe.model_copy(update={"evaluate": (step,)}), job.store, ctx=job.ctx)
    again = evaluate(other, manifest)["detection_ap"]["detectors"]["mine"]["variants"]["lost one/half"]
    assert (again["boxes"], again["ignored"]) == (12, 0)
    assert value(again["map"]) == 50  # none of the circles, all of the squares


def test_checks_are_counted_whatever_is_ignored(shifted):
    _, _, found = shifted
    assert found["checks"] == {"lost one/half": {"confirmed": 0, "unconfirmed": 0, "missing": 8}}
    marks = [square(check="confirmed"), square(70, check="missing"), square(20, check="unconfirmed", crowd=True)]
    circle = Object((70, 20, 20, 20), "circle", check="confirmed")
    samples = [picture(*marks, number=1), picture(circle, marks[0], number=2)]
    again = figures_of(samples, ShapeDetector(["square"]), ignore=())
    assert again["checks"] == {"original": {"confirmed": 3, "unconfirmed": 1, "missing": 1}}
    assert again["detectors"]["mine"]["variants"]["original"]["boxes"] == 3
    assert "| original | 5 | 60.0 | 20.0 | 20.0 |" in card(again)
    assert "*Confirmed*" not in card(figures_of([picture(square())], ShapeDetector()))


def test_the_mean_over_domains_is_unweighted(shifted):
    _, _, found = shifted
    (mean,) = found["detectors"]["mine"]["over_domains"]
    assert (mean["view"], sorted(mean["domains"])) == ("scene", ["dark", "lost one/half"])
    assert value(mean["map"]) == 50
    assert value(found["detectors"]["keen"]["over_domains"][0]["map"]) == 100


def test_the_card_and_the_plot_show_it(shifted):
    job, manifest, found = shifted
    card = job.store.read(f"editions/shapes/{manifest.version}/README.md").decode()
    assert "| dark | 8 | 12 | 0 | 0.0 [0.0, 0.0] |" in card
    assert "| mean over 2, scene |" in card
    assert "detection_ap-map.png" in card
    plot = job.recipe.evaluate[0].plots(found)["map"]
    assert set(plot.rows) == {"original", "dark", "lost one/half", "mean over domains, scene"}
    assert plot.series["keen"][plot.rows.index("dark")] == (100, 100, 100)


def test_the_same_seed_gives_the_same_intervals():
    rng = np.random.default_rng(3)
    samples = []
    for number in range(12):
        item = square(int(rng.integers(0, 40)))
        samples.append(picture(item, shown=[item] if rng.random() < 0.6 else [], number=number))
    found = figures_of(samples, ShapeDetector())
    assert found == figures_of(samples, ShapeDetector())
    whole = found["detectors"]["mine"]["variants"]["original"]["map"]
    assert 0 <= whole["low"] < whole["value"] < whole["high"] <= 100


def test_classes_that_a_detector_does_not_know_are_left_out_and_counted():
    circle = Object((70, 20, 20, 20), "circle")
    samples = [picture(square(), circle, number=1), picture(circle, number=2), picture(square(), number=3)]
    found = figures_of(samples, ShapeDetector(["square"]))["detectors"]["mine"]
    assert (found["unknown_classes"], found["unknown_boxes"], found["only_unknown"]) == (["a circle | <b>"], 2, 1)
    assert found["variants"]["original"]["boxes"] == 2
    assert found["n"] == 3


def test_without_originals_there_is_no_drop():
    samples = [picture(square(), variant="dark", parent="f" * 32, number=1)]
    found = figures_of(samples, ShapeDetector())
    dark = found["detectors"]["mine"]["variants"]["dark"]
    assert value(dark["map"]) == 100
    assert "drop" not in dark
    (mean,) = found["detectors"]["mine"]["over_domains"]
    assert value(mean["map"]) == 100
    assert "effective_robustness" not in mean
    assert DetectionAp().plots(found)["map"].rows == ("dark", "mean over domains")
    assert "Against the same objects" not in card(found)


def test_pictures_of_other_photographs_are_not_compared():
    samples = [
        picture(square(), number=1),
        picture(square(), shown=[], number=2),
        picture(square(), variant="dark", parent=f"{1:032d}", number=3),
        picture(square(), shown=[], variant="dark", parent="f" * 32, number=4),
    ]
    dark = figures_of(samples, ShapeDetector())["detectors"]["mine"]["variants"]["dark"]
    assert (dark["n"], dark["paired"]) == (2, 1)
    assert value(dark["map"]) == pytest.approx(50, abs=1)
    assert (value(dark["original_map"]), value(dark["drop"])) == (100, 0)


def test_a_picture_is_compared_with_the_same_objects_in_its_photograph():
    """The detector finds one of two squares in each photograph; the variants have either that one or the other."""
    easy, hard = square(id="easy"), square(70, id="hard")
    samples = [picture(easy, hard, shown=[easy], number=1)]
    for number, (variant, kept) in enumerate({"easy": easy, "hard": hard}.items(), 2):
        made = {"variant": variant, "parent": f"{1:032d}"}
        samples.append(picture(kept, number=number, **made))
        lost = replace(hard if kept is easy else easy, check="missing")
        samples.append(picture(kept, lost, shown=[kept], number=number + 10, **{**made, "variant": f"{variant}_left"}))
    bare = [replace(item, id="") for item in (easy, hard)]
    samples.append(picture(bare[0], number=30, variant="bare", parent=f"{1:032d}"))
    found = figures_of(samples, ShapeDetector())["detectors"]["mine"]["variants"]
    assert value(found["original"]["map"]) == pytest.approx(50, abs=1)
    for variant in ("easy", "easy_left"):
        assert (value(found[variant]["original_map"]), value(found[variant]["drop"])) == (100, 0)
        assert found[variant]["other_objects"] == 1
    for variant in ("hard", "hard_left"):
        assert (value(found[variant]["original_map"]), value(found[variant]["drop"])) == (0, -100)
        assert found[variant]["relative_drop"] is None
    assert found["bare"]["other_objects"] == 0  # nobody knows which of the two it is
    assert value(found["bare"]["original_map"]) == value(found["original"]["map"])


def test_each_view_has_a_mean_of_its_own():
    step = {"name": "paint", "revision": 1, "achieved": {}, "gates": {}, "models": {}, "seed": 1}
    samples = [picture(square(), number=1)]
    for number, (name, view) in enumerate([("tattoo", "scene"), ("tattoo_alone", "isolated"), ("plate", "scene")], 2):
        made = picture(square(), variant=name, parent=f"{1:032d}", number=number)
        samples.append(replace(made, ops=({**step, "requested": {"view": view}},)))
    found = figures_of(samples, ShapeDetector())
    means = {one["view"]: one["domains"] for one in found["detectors"]["mine"]["over_domains"]}
    assert means == {"scene": ["tattoo"], "isolated": ["tattoo_alone"]}
    mine = found["detectors"]["mine"]
    compared = {"tattoo": mine["variants"]["tattoo"], "tattoo_alone": mine["variants"]["tattoo_alone"]}
    compared |= {one["view"]: one for one in mine["over_domains"]}
    assert all("drop" in one for one in compared.values())
    assert "drop of isolated objects" in card(found)
    assert "isolated" not in card(figures_of(samples[:2], ShapeDetector()))
    assert DetectionAp().plots(found)["map"].rows[-2:] == ("mean over domains, scene", "mean over domains, isolated")


def test_effective_robustness_needs_five_detectors(shifted):
    job, manifest, _ = shifted
    names = [f"one{number}" for number in range(5)]
    models = OwnModels(**{name: ShapeDetector(**({"least": 0} if name == "one0" else {})) for name in names})

    def figures(aliases):
        step = job.recipe.evaluate[0].model_copy(update={"detectors": tuple(aliases)})
        other = Job(job.recipe.model_copy(update={"evaluate": (step,)}), job.store, ctx=replace(job.ctx, models=models))
        return evaluate(other, manifest)["detection_ap"]

    found = figures(names)
    above = [value(found["detectors"][name]["over_domains"][0]["effective_robustness"]) for name in names]
    assert above == [40, -10, -10, -10, -10]  # mAP of 100 and four times 50, all of 100 on the originals
    assert "| one0 | 100.0 [100.0, 100.0] | 100.0 [100.0, 100.0] | 40.0" in card(found)
    few = figures(names[:4])
    assert "effective_robustness" not in few["detectors"]["one0"]["over_domains"][0]
    assert "no effective robustness here" in card(few)


def test_no_pictures_and_no_boxes():
    found = figures_of([], ShapeDetector())
    assert (found["pictures"], found["detectors"]) == (0, {})
    assert DetectionAp().plots(found) == {}
    assert "no picture" in card(found)
    empty = figures_of([picture(number=1), picture(variant="dark", parent=f"{1:032d}", number=2)], ShapeDetector())
    for figures in empty["detectors"]["mine"]["variants"].values():
        assert (figures["map"], figures["boxes"], figures["n"]) == (None, 0, 1)
    assert empty["detectors"]["mine"]["over_domains"] == []
    assert DetectionAp().plots(empty) == {}
    assert "pictures" in card(empty)


def test_objects_that_do_not_count():
    objects = (
        square(),
        square(side=0.5),
        square(left=200),
        square(left=float("nan")),
        Object((0, 0, 9, 9), "triangle"),
        Object((0, 0, 9, 9)),
    )
    found = figures_of([picture(*objects, shown=[objects[0]])], ShapeDetector())["detectors"]["mine"]
    assert (found["left_out"], found["variants"]["original"]["boxes"]) == (5, 1)


def card(figures):
    models = dict.fromkeys(figures["names"], "mine@sha256:0")
    return _render("_detection_ap", figures=figures, models=models, order=["original", "dark"], plots={})


# ── what is refused ──────────────────────────────────────────────────────────────────────────────────────────────────


class Says(ShapeDetector):
    """Answers as it is told."""

    def __init__(self, boxes, scores, texts):
        super().__init__()
        self._answer = Detected(np.array(boxes, np.float32), np.array(scores, np.float32), np.array(texts))

    def __call__(self, images, texts):
        return [self._answer] * len(images)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (([[0, 0, np.nan, 9]], [0.5], [0]), "no finite number"),
        (([[0, 0, 9, 9]], [np.inf], [0]), "no finite number"),
        (([[0, 0, 9, 9]], [0.5, 0.4], [0, 0]), "shapes"),
        (([[0, 0, 9, 9]], [0.5], [2]), "text 2 of 2"),
    ],
)
def test_a_detector_whose_answer_cannot_be_used(answer, said):
    with pytest.raises(ModelFailed, match=said):
        figures_of([picture(square())], Says(*answer))


class TooMany(ShapeDetector):
    def __call__(self, images, texts):
        raise ValueError("2 texts are 9 tokens, but this model reads 4 at once")


@pytest.mark.parametrize(
    ("model", "classes", "said"),
    [
        (ShapeDetector(["unicorn"]), CLASSES, "knows none of the edition's classes: a circle"),
        (ShapeDetector(), (), "no classes"),
        (object(), CLASSES, "is no detector"),
        (TooMany(), CLASSES, "can't look for 2 classes: 2 texts are 9 tokens"),
    ],
)
def test_a_detector_that_cannot_be_asked(model, classes, said):
    with pytest.raises(RecipeError, match=said):
        figures_of([picture(square())], model, classes)


def test_editions_without_objects_are_refused_before_work(tmp_path, shifted):
    models = OwnModels(mine=ShapeDetector())
    with pytest.raises(RecipeError, match=r"no picture of shapes@1\.0\.0 has an object, which detection_ap needs"):
        edition(tmp_path, models, boxes=False, pictures=2)
    job = shifted[0]
    bare = {**job.recipe.dump()["source"], "boxes": False, "captions": False, "states": False}
    recipe = Recipe.parse({**job.recipe.dump(), "source": bare})
    with pytest.raises(
        RecipeError, match=r"annotated_set has no objects with classes.*--set evaluate\.detection_ap=null"
    ):
        check_references(Job(recipe, str(tmp_path / "other"), ctx=replace(job.ctx, source=recipe.source)))
    assert not (tmp_path / "other" / "objects").exists()


def test_a_detector_that_filtered_may_not_judge(tmp_path, shifted):
    job, manifest, _ = shifted
    filtered = manifest.model_copy(update={"filters": [job.ctx.models.pin("mine")]})
    with pytest.raises(RecipeError, match="can't judge the result: 'mine'"):
        evaluate(job, filtered)
    with pytest.raises(ValueError, match="Input should be"):
        DetectionAp(ignore=("lost",))


def test_of_many_detections_the_likeliest_of_each_class_stay():
    rng = np.random.default_rng(0)
    scores = np.round(rng.random(300), 2).astype(np.float32)
    kinds = (np.arange(300) % 3 == 0).astype(np.int64)
    answer = Detected(rng.random((300, 4)).astype(np.float32), scores, kinds)
    (found, _) = unpacked(pack_found("mine", answer, np.array([4, 7])), b"")
    assert found.dtype == FOUND
    for category, kind in ((4, 0), (7, 1)):
        mine = np.sort(found["score"][found["category"] == category])[::-1]
        assert np.array_equal(mine, np.sort(scores[kinds == kind])[::-1][:MOST])


def test_a_report_has_the_same_averages_and_counts_photographs_as_told():
    spots = [(square(5 + number, 20 + number), square(60, 30 + number)) for number in range(4)]
    originals = [picture(*spots[number], number=number) for number in range(4)]
    edits = [
        picture(*spots[number], shown=spots[number][:shown], number=10 * (1 + domain) + number, variant=name)
        for domain, (name, shown) in enumerate((("dark", 2), ("half", 1)))
        for number in range(4)
    ]
    edits = [replace(one, parent=f"{int(one.id) % 10:032d}") for one in edits]
    step, ctx = (
        DetectionAp(detectors=("mine",), bootstrap=20),
        Context(1, OwnModels(mine=Shaken()), None, classes=CLASSES),
    )
    table = Table(pa.Table.from_pylist([dict(row) for row in step.measure([*originals, *edits], ctx)]), "detection_ap")
    found = step.figures(table, ctx)["detectors"]["mine"]
    domains, isolated, alone = step.rows(table, ctx)
    assert isolated.why_not == "the edition has no pictures of this kind"
    assert (domains.figure, alone.figure, domains.columns) == ("ap", "originals", ("dark", "half"))
    assert list(domains.photographs) == [f"{number:032d}" for number in range(4)]
    once = np.ones(4)
    assert 0 < value(found["variants"]["half"]["map"]) < value(found["variants"]["dark"]["map"]) < 100
    assert percent(alone.whole_by(once)[0]) == value(found["variants"]["original"]["map"])
    assert percent(domains.whole_by(once).mean()) == value(found["over_domains"][0]["map"])
    shown, half = domains.pictures, domains.pictures.column == 1
    assert {said for said, here in zip(shown.said, half, strict=True) if here} == {"1 of 2 found"}
    assert (shown.p_label[half] == 0.5).all()
    assert shown.right[~half].all()
    assert shown.ids[4] == edits[4].id
    doubled = np.array([2, 0, 1, 0])
    twice = replace(originals[0], id="9" * 32)
    rows = [dict(row) for row in step.measure([originals[0], twice, originals[2]], ctx)]
    copies = step.figures(Table(pa.Table.from_pylist(rows), "detection_ap"), ctx)["detectors"]["mine"]["variants"]
    assert percent(alone.whole_by(doubled)[0]) == value(copies["original"]["map"])
    assert np.isnan(alone.whole_by(once * 0)).all()


def test_a_report_says_why_a_detector_has_no_average():
    bare = [picture(number=number) for number in range(2)]
    step = DetectionAp(detectors=("mine",))
    ctx = Context(1, OwnModels(mine=Shaken()), None, classes=CLASSES)
    table = Table(pa.Table.from_pylist([dict(row) for row in step.measure(bare, ctx)]), "detection_ap")
    nothing = "the edition has no pictures of this kind"
    why_not = [one.why_not for one in step.rows(table, ctx)]
    assert why_not == [nothing, nothing, "no object of a class that the detector knows"]
