import json
import re

import numpy as np
import pyarrow as pa
import pytest
import skimage.data

from variorum.edition.store import Store
from variorum.evaluation.imagenet_c.corruption_error import CorruptionError, corruption_of
from variorum.generators.imagenet_c.corruption import Corruption
from variorum.kit.corrupt.kinds import COMMON
from variorum.kit.predicted.corrupted import ALEXNET, ALEXNET_CLEAN
from variorum.models import ModelTable
from variorum.models.brought.function import from_function
from variorum.models.imagenet_classes import class_infos
from variorum.models.loaders import efficientnet_lite
from variorum.pipeline import Job, build, evaluate
from variorum.reports.card import _render
from variorum.schemas.component import ClassInfo, Context
from variorum.schemas.edit import Edit
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import build_component
from variorum.schemas.sample import Sample
from variorum.schemas.table import Table
from variorum.stages.recipe_files import load_recipe

RIGHT, WRONG = 3, 7


def context(classes=None, models=None):
    models = models or ModelTable("embedded")
    return Context(seed=1, models=models, memo=lambda key, compute: compute(), classes=classes or class_infos())


def row(photograph, kind="", severity=0, *, right, classifier="c", scale=1.0, frame=224, outputs=1000):
    variant = f"{kind}_{severity}" if kind else "original"
    return {
        "id": f"{photograph}-{variant}" if kind else photograph,
        "parent": photograph if kind else "",
        "variant": variant,
        "reference": "",
        "classifier": classifier,
        "label": RIGHT,
        "labels": 1,
        "top1": RIGHT if right else WRONG,
        "correct": right,
        "confidence": 0.75,
        "p_label": 0.5,
        "outputs": outputs,
        "preprocessing": "",
        "kind": kind,
        "severity": severity,
        "scale": scale if kind else 0.0,
        "frame": frame if kind else 0,
    }


def rows(wrong, clean=(), photographs=4, severities=(1, 2, 3, 4, 5), kinds=COMMON, **more):
    """Rows of photographs 0 to 3; `wrong(kind, severity)` says how many of them are wrong, `clean` which originals."""
    names = [f"p{number}" for number in range(photographs)]
    originals = [row(name, right=number not in clean, **more) for number, name in enumerate(names)]
    return originals + [
        row(name, kind, severity, right=number >= wrong(kind, severity), **more)
        for kind in kinds
        for severity in severities
        for number, name in enumerate(names)
    ]


def figures(found, classes=None, **fields):
    table = Table(pa.Table.from_pylist(found), "corruption_error")
    figures = CorruptionError(classifiers=("c",), **fields).figures(table, context(classes))
    return figures, figures["classifiers"]["c"]


def test_errors_by_kind_and_severity():
    found = rows(lambda kind, severity: {1: 0, 3: 1, 5: 3}[severity], (0,), kinds=("fog",), severities=(1, 3, 5))
    _, one = figures(found)
    fog = one["kinds"]["fog"]
    assert {level: figure["value"] for level, figure in fog["severities"].items()} == {"1": 0, "3": 25, "5": 75}
    assert fog["severities"]["3"]["n"] == 4
    assert fog["error"]["value"] == pytest.approx(33.33)
    assert (one["n"], one["clean_error"]["value"]) == (4, 25)
    assert one["mean_error"]["value"] == pytest.approx(33.33)
    assert one["relative_error"]["value"] == pytest.approx(8.33)
    shared = [
        {
            **one,
            "photograph": "",
            "said": "x",
            "requested": json.dumps({"kind": one["kind"], "severity": one["severity"]} if one["kind"] else {}),
        }
        for one in found
    ]
    (answers,) = CorruptionError().rows(Table(pa.Table.from_pylist(shared)), context())
    assert (answers.top.sum(axis=0) / answers.bottom.sum(axis=0)).tolist() == [1, 0.75, 0.25]
    assert answers.axes == {"severity": (1, 3, 5), "kind": ("fog",) * 3}
    assert answers.columns == ("fog_1", "fog_3", "fog_5")
    (nothing,) = CorruptionError().rows(Table(pa.Table.from_pylist(shared[:4])), context())
    assert nothing.why_not == "no edit of an original has a label that the model knows"


def test_ce_and_mce_by_hand():
    """Fog has errors of 0, 25, 50, 75 and 100 %: 50 % over AlexNet's 81.9324 % are 61.03 %. All else has 75 %."""
    found = rows(lambda kind, severity: severity - 1 if kind == "fog" else 3, (0,))
    _, one = figures(found)
    fog, snow = one["kinds"]["fog"], one["kinds"]["snow"]
    assert fog["ce"]["value"] == 61.03
    assert fog["relative_ce"]["value"] == round(100 * 0.25 / (0.819324 - 0.43478), 2) == 65.01
    assert snow["ce"]["value"] == round(75 / 0.866816, 2) == 86.52
    ces = [0.5 / 0.819324, *(0.75 / alexnet for kind, alexnet in ALEXNET.items() if kind != "fog")]
    assert one["mce"]["value"] == round(100 * sum(ces) / 15, 2)
    above = [(0.25 if kind == "fog" else 0.5) / (alexnet - ALEXNET_CLEAN) for kind, alexnet in ALEXNET.items()]
    assert one["relative_mce"]["value"] == round(100 * sum(above) / 15, 2)
    assert one["why_no_mce"] == ""


def test_alexnet_has_an_mce_of_100():
    """Errors of a model that is wrong on the share of photographs on which AlexNet is."""
    share = {kind: round(200 * alexnet) for kind, alexnet in ALEXNET.items()}
    found = rows(lambda kind, _: share[kind], range(87), photographs=200)
    _, one = figures(found, bootstrap=100)
    assert one["mce"]["value"] == pytest.approx(100, abs=0.3)
    assert one["relative_mce"]["value"] == pytest.approx(100, abs=0.5)


def test_intervals_hold_their_values():
    _, one = figures(rows(lambda kind, severity: (len(kind) * severity) % 5, (1,)))
    found = [one["mce"], one["relative_mce"], one["mean_error"], one["relative_error"], one["clean_error"]]
    found += [figure[name] for figure in one["kinds"].values() for name in ("error", "ce", "relative_ce")]
    found += [level for figure in one["kinds"].values() for level in figure["severities"].values()]
    found += one["families"].values()
    assert len(found) > 100
    assert all(figure["low"] <= figure["value"] <= figure["high"] for figure in found)


def test_families_average_their_kinds():
    wrong = {"snow": 1, "frost": 2, "fog": 3, "saturate": 4}
    _, one = figures(rows(lambda kind, _: wrong[kind], kinds=tuple(wrong)))
    assert {name: (figure["value"], figure["kinds"]) for name, figure in one["families"].items()} == {
        "weather": (50, 3),
        "extra": (100, 1),
    }
    assert one["mean_error"]["value"] == 50  # of ImageNet-C's 15
    assert one["kinds"]["saturate"]["ce"] is None  # AlexNet's error isn't published


def test_pictures_without_their_original_are_left_out():
    found = rows(lambda kind, severity: 2, kinds=("fog",))
    _, one = figures([one for one in found if one["id"] != "p0"])
    assert one["kinds"]["fog"]["severities"]["1"] == {
        "value": 33.33,
        "low": 0.84,
        "high": 90.57,
        "n": 3,
        "photographs": 3,
    }


@pytest.mark.parametrize(
    ("changed", "fields", "said", "ce"),
    [
        ({"kinds": COMMON[:14]}, {}, "there is no jpeg_compression", True),
        ({"severities": (1, 3, 5)}, {}, "all five severities; gaussian_noise, shot_noise", False),
        ({"frame": 512, "scale": 512 / 224}, {}, "frames of 224 pixels, and this edition's are 512 pixels", False),
        ({"frame": 0}, {}, "this edition's are the whole picture", False),
        ({"scale": 0.5}, {}, "at a scale of 1, and this edition's is 0.5", False),
        ({"outputs": 21843}, {}, "1000 classes; this model has 21843 outputs", False),
        ({}, {"norm": "none"}, "norm is none", False),
        ({}, {"classes": (ClassInfo("cat", "cat"),)}, "ImageNet's 1000 classes, and this edition has others", False),
        ({}, {"classes": class_infos()[::-1]}, "ImageNet's 1000 classes, and this edition has others", False),
    ],
)
def test_without_what_alexnet_saw_there_is_a_reason(changed, fields, said, ce):
    _, one = figures(rows(lambda kind, severity: 1, **changed), **fields)
    assert one["mce"] is one["relative_mce"] is None
    assert said in one["why_no_mce"]
    assert (one["kinds"]["fog"]["ce"] is not None) == ce
    assert one["kinds"]["fog"]["error"]["value"] == 25  # errors are there all the same


def test_plots_have_a_point_for_each_kind(monkeypatch):
    monkeypatch.setattr("variorum.schemas.plot.FEWEST", 1)
    found, _ = figures(rows(lambda kind, severity: 1, kinds=("snow", "fog")))
    plots = CorruptionError(classifiers=("c",)).plots(json.loads(json.dumps(found)))
    assert set(plots) == {"kinds", "severities_1"}
    assert plots["kinds"].rows == ("snow", "fog")
    assert list(plots["severities_1"].series) == [f"severity {level}" for level in range(1, 6)]
    assert all(point.value == 25 for points in plots["severities_1"].series.values() for point in points)


def test_an_empty_edition_has_figures():
    table = Table(pa.table({"id": pa.array([], pa.string())}), "corruption_error")
    evaluation = CorruptionError(classifiers=("c",))
    found = evaluation.figures(table, context())
    assert found["classifiers"] == {}
    assert evaluation.plots(found) == {}


def judged_by_mean(images):
    """A classifier with ImageNet's outputs, right about a cat in every picture that isn't bright."""
    scores = np.zeros((len(images), 1000))
    for number, image in enumerate(images):
        scores[number, 281 if image.mean() < 160 else 0] = 1
    return scores


def test_it_reads_what_the_generator_asked_for():
    """Pictures of the real generator: only the brighter one loses this model."""
    photograph = Sample("0" * 32, skimage.data.chelsea(), ("n02123045",), variant="original")
    models = ModelTable("embedded").with_models({"mine": from_function(judged_by_mean)})
    generator, ctx = Corruption(kinds=("brightness", "contrast"), severities=(1, 5)), context(models=models)
    made = list(generator.edit(photograph, Edit(generator, photograph, ctx)))
    assert corruption_of(photograph) == {"kind": "", "severity": 0, "scale": 0.0, "frame": 0}
    assert corruption_of(made[0]) == {"kind": "", "severity": 0, "scale": 0.0, "frame": 0}
    assert corruption_of(made[2]) == {"kind": "brightness", "severity": 5, "scale": 1.0, "frame": 224}
    evaluation = CorruptionError(classifiers=("mine",))
    found = Table(pa.Table.from_pylist(list(evaluation.measure(made, ctx))), "corruption_error")
    one = evaluation.figures(found, ctx)["classifiers"]["mine"]
    assert one["clean_error"]["value"] == 0
    assert one["kinds"]["brightness"]["severities"]["5"]["value"] == 100
    assert one["kinds"]["contrast"]["error"]["value"] == 0


def card(found):
    names = {"c": "model@sha256:0"}
    evaluation = CorruptionError(classifiers=("c",))
    plots = {name: f"plot {name}" for name in evaluation.plots(found)}
    return _render("_corruption_error", figures=found, models=names, order=[], plots=plots)


def test_the_card_says_what_the_figures_are(monkeypatch):
    monkeypatch.setattr("variorum.schemas.plot.FEWEST", 1)
    text = card(figures(rows(lambda kind, severity: severity - 1))[0])
    assert "can't be compared with published ones" in text
    (fog,) = re.findall(r"\| fog \| 0 \| 25 \| 50 \| 75 \| 100 \| 50.0 \[[^|]*\| 61.0 \[[^|]*\| 130.0 \[", text)
    assert fog
    assert "plot severities_1" in text
    assert "No mCE" not in text


def test_the_card_says_why_there_is_no_mce():
    text = card(figures(rows(lambda kind, severity: 1, kinds=("fog",)))[0])
    assert "No mCE: mCE is the mean over ImageNet-C's 15 kinds; there is no gaussian" in text
    assert "can't be compared" not in text


def test_the_card_of_an_edition_without_corruptions():
    assert "nothing to measure" in card(figures([row("p0", right=True)])[0])


def test_the_recipe_s_evaluations_look_at_a_picture_once(photos, tmp_path, monkeypatch):
    """And say of it what each of them says alone."""
    seen, kept = [], efficientnet_lite.network_input
    monkeypatch.setattr(efficientnet_lite, "network_input", lambda image, side: seen.append(side) or kept(image, side))
    settings = ["source.name=image_folder", f"source.path={photos}", "limit=2", "generate.corruption.kinds=[fog]"]
    shipped = load_recipe("imagenet_c", [*settings, "evaluate.intrinsic_properties=null"])
    found = {}
    for number, asked in enumerate((shipped.evaluate, *([one] for one in shipped.evaluate))):
        job = Job(shipped.model_copy(update={"evaluate": tuple(asked)}), Store(str(tmp_path / str(number))))
        seen.clear()
        figures = evaluate(job, build(job))
        assert seen == [240] * 12  # two photographs and five severities of each; Lite1 reads 240 pixels
        found = found or figures
        assert figures.items() <= found.items()


def test_the_norm_may_be_another_model_whose_own_mce_is_100():
    """Of eight photographs the norm is wrong on 2 in fog and 4 in snow, the other on 3 and 2: 150 % and 50 %."""
    wrong = {"n": {"fog": 2, "snow": 4}, "c": {"fog": 3, "snow": 2}}
    many = {"photographs": 8, "kinds": ("snow", "fog"), "severities": (1, 3)}
    found = [
        one for name, by in wrong.items() for one in rows(lambda kind, _, by=by: by[kind], classifier=name, **many)
    ]

    def mce(found):
        table = Table(pa.Table.from_pylist(found), "corruption_error")
        return CorruptionError(classifiers=("c", "n"), norm="n").figures(table, context(class_infos()[:8]))[
            "classifiers"
        ]

    of = mce(found)
    assert of["n"]["mce"] == {"value": 100.0, "low": 100.0, "high": 100.0, "photographs": 8}
    assert (of["c"]["kinds"]["fog"]["ce"]["value"], of["c"]["kinds"]["snow"]["ce"]["value"]) == (150.0, 50.0)
    assert of["c"]["mce"]["value"] == of["c"]["relative_mce"]["value"] == 100.0
    assert of["c"]["mce"]["low"] < 100 < of["c"]["mce"]["high"]
    assert mce(found[::-1]) == of  # the order of kinds changes nothing
    seldom = {"n": {"fog": 2, "snow": 3}, "c": {"fog": 8, "snow": 8}}  # wrong on all eight: 400 % in fog
    often = mce(
        [one for name, by in seldom.items() for one in rows(lambda kind, _, by=by: by[kind], classifier=name, **many)]
    )
    assert often["c"]["kinds"]["fog"]["ce"]["value"] == 400
    assert 100 < often["c"]["kinds"]["fog"]["ce"]["low"] < 400 < often["c"]["kinds"]["fog"]["ce"]["high"]
    exact = mce(
        [{**one, "correct": True} if (one["kind"], one["classifier"]) == ("fog", "n") else one for one in found]
    )
    assert (exact["c"]["mce"], exact["c"]["why_no_mce"]) == (None, "the norm makes no error in fog")
    with pytest.raises(RecipeError, match="norm is alexnet, none, or one of the classifiers, not 'alex'"):
        build_component("evaluate", {"name": "corruption_error", "norm": "alex"}, "here")
