"""Detectors of generated pictures on arms of real photographs: what is fitted, what is judged, at which threshold."""

import cv2
import numpy as np
import pyarrow as pa
import pytest
import skimage.data

from variorum.evaluation.ai_detection import features
from variorum.evaluation.ai_detection.ai_image_detection import AiImageDetection
from variorum.evaluation.ai_detection.judging import ORIGINAL, Judging, parts_of, thresholds
from variorum.reports.card import _render
from variorum.schemas.component import Context
from variorum.schemas.errors import RecipeError
from variorum.schemas.sample import Sample, source_id
from variorum.schemas.table import Table
from variorum.stages.job import models

CTX = Context(seed=5, models=models("embedded"), memo=None)
PHOTOGRAPHS, TRAINING = 32, 22


def crops(number):
    """Square crops of scikit-image's photographs."""
    rng, found = np.random.default_rng(0), []
    for place in range(number):
        image = getattr(skimage.data, ("astronaut", "coffee", "chelsea")[place % 3])()
        top, left = (int(rng.integers(0, side - 96)) for side in image.shape[:2])
        found.append(np.ascontiguousarray(image[top : top + 96, left : left + 96]))
    return found


def sample(image, photograph, variant, truth):
    op = {"name": "detection_arms", "revision": 1, "requested": {"truth": truth}, "achieved": {}, "gates": {}}
    op |= {"models": {}, "seed": 0}
    split = "train" if int(photograph) < TRAINING else "test"
    return Sample(
        source_id("t", f"{photograph} {variant}"), image, variant=variant, photograph=photograph, ops=(op,), split=split
    )


def samples_of_arms():
    """Photographs, blurred ones, and enlarged ones in place of generated ones, whose spectrum also shows the grid."""
    samples = []
    for place, image in enumerate(crops(PHOTOGRAPHS)):
        small = cv2.resize(image, (48, 48), interpolation=cv2.INTER_AREA)
        made = cv2.resize(small, (96, 96), interpolation=cv2.INTER_NEAREST)
        blurred = cv2.GaussianBlur(image, (0, 0), 0.8)
        samples += [sample(image, str(place), ORIGINAL, "real"), sample(made, str(place), "made", "generated")]
        samples += [sample(blurred, str(place), "blurred", "real")]
    return samples


@pytest.fixture(scope="module")
def plain():
    """What is measured without a model."""
    return list(AiImageDetection(rigid=None, probes=(), fit=("made",), network_steps=0).measure(samples_of_arms(), CTX))


def table(rows):
    return Table(pa.table({name: [row[name] for row in rows] for name in rows[0]}), "")


@pytest.mark.slow
def test_figures():
    detection = AiImageDetection(probes=("encoder",), fit=("made",), bootstrap=100, network_steps=16)
    measured = list(detection.measure(samples_of_arms(), CTX))
    found = detection.figures(table(measured), CTX)
    assert found["order"] == list(found["arms"]) == [ORIGINAL, "made", "blurred"]
    assert found["arms"]["made"]["truth"] == "generated"
    assert (found["fitted"], found["judged"]) == (TRAINING, PHOTOGRAPHS - TRAINING)
    assert set(found["detectors"]) == {"rigid", "trivial features", "probe on encoder", "spectrum", "network"}
    assert found["arms"]["made"]["audit"]["auroc"]["value"] > 0.9
    assert found["arms"]["made"]["audit"]["grade"] == "too few"  # 32 photographs
    assert found["missing"] == {}
    for name, least in (("spectrum", 0.9), ("network", 0.6)):
        arms = found["detectors"][name]["arms"]
        assert arms["made"]["auroc"]["value"] > least, name
        assert arms["made"]["auroc"]["low"] <= arms["made"]["auroc"]["value"] <= arms["made"]["auroc"]["high"]
        assert "called" not in arms[ORIGINAL]  # of 22 photographs half are set aside
        assert found["detectors"][name]["threshold"]["needed"] == 19
    assert found["detectors"]["rigid"]["arms"][ORIGINAL]["called"]["value"] < 50
    assert detection.plots(found)["called"].rows == ("original (real)", "made (generated)", "blurred (real)")
    assert detection.figures(table(measured), CTX) == found


def test_nothing_is_judged_that_was_fitted(plain):
    parts = parts_of(table(plain), ("made",))
    assert not (parts.judged & parts.training).any()
    assert (parts.fitted <= parts.training).all()
    assert not (parts.fitted & parts.set_aside).any()
    assert (parts.set_aside & parts.real).any()
    for photograph in np.unique(parts.photograph):
        assert len(set(parts.training[parts.photograph == photograph].tolist())) == 1
    by_hash = parts_of(table([{**row, "split": ""} for row in plain]), ("made",))
    assert 8 <= by_hash.photographs_fitted <= 24
    assert by_hash.photographs_fitted + by_hash.photographs_judged == PHOTOGRAPHS


def test_a_threshold_leaves_its_share_of_real_pictures():
    rng, n = np.random.default_rng(3), 6000
    sharp = rng.normal(0, 1, n)
    scores = -2 * sharp + rng.normal(0, 0.3, n)  # blur alone decides
    data = {
        "variant": [ORIGINAL if one > 0 else "blurred" for one in sharp],
        "truth": ["real"] * n,
        "photograph": [str(one) for one in range(n)],
        "split": ["train" if one % 2 else "test" for one in range(n)],
        "counter_of": [""] * n,
        "sharpness": sharp,
        "area": np.full(n, np.nan),
    }
    parts = parts_of(Table(pa.table(data), ""), ())
    limits = thresholds(scores, parts, 0.05, None, was_fitted=False)
    judged = parts.judged

    def called(limit, arm):
        return float((scores > limit)[judged & parts.arm(arm)].mean())

    pooled = limits.pooled.score
    assert (scores > pooled)[judged].mean() == pytest.approx(0.05, abs=0.015)
    assert called(pooled, ORIGINAL) < 0.001  # the pooled one spends all false alarms on blurred pictures
    assert called(pooled, "blurred") == pytest.approx(0.1, abs=0.03)
    gap = called(limits.by_sharpness, "blurred") - called(limits.by_sharpness, ORIGINAL)
    assert abs(gap) < 0.06
    assert (scores > limits.by_sharpness)[judged].mean() == pytest.approx(0.05, abs=0.015)


def test_too_few_photographs_have_no_threshold(plain):
    parts = parts_of(table(plain), ("made",))
    found = thresholds(np.arange(3.0 * PHOTOGRAPHS), parts, 0.05, None, was_fitted=True)
    assert (found.pooled, found.by_sharpness) == (None, None)
    assert found.photographs < 19
    assert thresholds(np.arange(3.0 * PHOTOGRAPHS), parts, 0.1, None, was_fitted=True).pooled is not None


def test_intervals_are_over_photographs(plain):
    parts = parts_of(table(plain), ("made",))
    scores = np.where(parts.generated, 1.0, 0.0)
    figures = Judging(parts, 100, 0.95, 1).of(scores, np.full(len(scores), 0.5))["arms"]
    assert figures["made"] == {
        "called": {"value": 100.0, "low": 69.1503, "high": 100.0},  # ten of ten
        "auroc": {"value": 1.0, "low": 0.6915, "high": 1.0},
    }
    assert figures[ORIGINAL]["called"]["value"] == 0


def test_few_pictures_and_other_editions():
    detection = AiImageDetection(probes=("encoder", "nowhere"), bootstrap=100)
    few = [sample(image, str(place), ORIGINAL, "real") for place, image in enumerate(crops(3))]
    found = detection.figures(table(list(detection.measure(few, CTX))), CTX)
    assert set(found["detectors"]) == {"rigid"}
    assert "fewer than 8 originals" in found["missing"]["spectrum"]
    assert "no model alias 'nowhere'" in found["missing"]["nowhere"]
    card = _render("_ai_image_detection", figures=found, plots={}, models={}, order=[], counts=())
    assert "none: 19 photographs are needed" in card
    plain = [Sample(source_id("t", "x"), crops(1)[0])]
    none = detection.figures(table(list(detection.measure(plain, CTX))), CTX)
    assert none["arms"] == {}
    assert "There are no pictures" in _render(
        "_ai_image_detection", figures=none, plots={}, models={}, order=[], counts=()
    )
    assert list(detection.measure([], CTX)) == []


def test_rigid_needs_an_encoder_that_says_how_it_takes_pictures():
    detection = AiImageDetection(rigid="judge", probes=(), network_steps=0, bootstrap=100)
    few = [sample(image, str(place), ORIGINAL, "real") for place, image in enumerate(crops(3))]
    found = detection.figures(table(list(detection.measure(few, CTX))), CTX)
    assert "rigid" not in found["detectors"]
    assert "its encoder doesn't say at which side and std" in found["missing"]["rigid"]


def test_a_classifier_must_name_the_class():
    detection = AiImageDetection(rigid=None, probes=(), classifiers={"judge": "artificial"})
    image = crops(1)[0]
    with pytest.raises(RecipeError, match="judge has no class 'artificial'; its classes: "):
        list(detection.measure([sample(image, "0", ORIGINAL, "real")], CTX))
    named = CTX.models.get("judge").classes[0]
    own = AiImageDetection(rigid=None, probes=(), classifiers={"judge": named})
    (row,) = own.measure([sample(image, "0", ORIGINAL, "real")], CTX)
    assert 0 <= row["answer_judge"] <= 1


def test_spectrum_falls_with_blur():
    image = skimage.data.coffee()
    sharp, soft = features.spectrum(image), features.spectrum(cv2.GaussianBlur(image, (0, 0), 2))
    assert sharp.shape == (features.BINS,)
    assert (sharp[features.BINS // 2 :] > soft[features.BINS // 2 :] + 1).all()
    assert abs(sharp[0] - soft[0]) < 0.1
    assert features.sharpness(image) > features.sharpness(cv2.GaussianBlur(image, (0, 0), 2))
    assert features.middle(image).shape == (128, 128, 3)
    assert features.middle(image[:40, :28]).shape == (40, 28, 3)
