"""The audit of arms: numbers that say nothing of what a picture shows, the grades, and what a detector adds to them."""

from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pyarrow as pa
import pytest
import skimage.data

from variorum.evaluation.ai_detection.ai_image_detection import AiImageDetection
from variorum.evaluation.ai_detection.audit import Audit
from variorum.evaluation.ai_detection.judging import Judging, parts_of
from variorum.evaluation.ai_detection.trivial import trivial_features
from variorum.reports.card import _render
from variorum.schemas.component import Context
from variorum.schemas.table import Table
from variorum.stages.job import models


def parts(photographs, arms, **counters):
    """Each photograph with one picture of each arm, half of the photographs for training; `counters` by variant."""
    names = ["original", *arms]
    rows = [(str(one), arm) for one in range(photographs) for arm in names]
    data = {
        "variant": [arm for _, arm in rows],
        "truth": ["real" if arm == "original" else arms[arm] for _, arm in rows],
        "photograph": [one for one, _ in rows],
        "split": ["train" if int(one) % 2 else "test" for one, _ in rows],
        "counter_of": [counters.get(arm, "") for _, arm in rows],
        "sharpness": np.zeros(len(rows)),
        "area": np.full(len(rows), np.nan),
    }
    return parts_of(Table(pa.table(data), ""), ())


@pytest.fixture(scope="module")
def audited():
    """Features that a strong arm shifts by far, a weak one a little, and a third one not at all."""
    made = parts(100, {"strong": "generated", "weak": "generated", "none": "generated"})
    rng = np.random.default_rng(1)
    features = np.repeat(rng.normal(size=(100, 1, 6)), 4, axis=1).reshape(400, 6) + rng.normal(size=(400, 6))
    features[:, 0] += 4 * made.arm("strong") + 1.2 * made.arm("weak")
    return made, features, Audit(made, features, 200, 0.95, 3)


def test_grades(audited):
    found = {arm: audited[2].of(arm) for arm in ("strong", "weak", "none")}
    assert {arm: one["grade"] for arm, one in found.items()} == {
        "strong": "quarantined",
        "weak": "leaky",
        "none": "matched",
    }
    assert found["none"]["auroc"]["low"] < 0.5 < found["none"]["auroc"]["high"]  # nothing was judged that was fitted
    assert found["strong"]["photographs"] == 100


def test_few_photographs_have_no_grade():
    made = parts(30, {"strong": "generated"})
    features = 4.0 * made.arm("strong")[:, None] + np.random.default_rng(0).normal(size=(60, 2))
    found = Audit(made, features, 100, 0.95, 3).of("strong")
    assert found["grade"] == "too few"
    assert found["auroc"]["value"] > 0.9
    fewer = Audit(parts(10, {"strong": "generated"}), features[:20], 100, 0.95, 3)
    assert fewer.of("strong") == {"photographs": 10, "auroc": None, "auroc_counter": None, "grade": "too few"}
    assert fewer.adds("strong", features[:20, 0]) is None


def test_a_detector_adds_what_trivial_features_lack(audited):
    made, features, audit = audited
    own = 2.0 * made.arm("weak") + np.random.default_rng(2).normal(size=400)
    assert audit.adds("weak", own)["low"] > 0.02
    same = audit.adds("weak", features[:, 0])  # the feature that the arm shifts
    assert same["low"] <= 0.02
    assert same["value"] < audit.adds("weak", own)["value"]


def test_noise_adds_nothing_where_trivial_scores_are_the_wrong_way_round():
    made = parts(120, {"arm": "generated"})
    rng = np.random.default_rng(4)
    audit = Audit(made, rng.normal(size=(240, 2)), 200, 0.95, 3)
    audit._trivial["arm"] = rng.normal(size=240) - 0.6 * made.arm("arm")
    assert audit.adds("arm", rng.normal(size=240))["low"] <= 0


def test_intervals_of_perfect_scores_reach_as_far_as_exact_ones():
    made = parts(60, {"arm": "generated"})
    audit = Audit(made, np.random.default_rng(5).normal(size=(120, 2)), 200, 0.95, 3)
    found = audit.at_equal("arm", made.arm("arm").astype(float))
    assert found["value"] == 1
    assert 0.8 < found["low"] < 0.95


def test_at_equal_trivial_scores_only_what_is_more_than_trivial_counts():
    made, rng = parts(80, {"arm": "generated"}), np.random.default_rng(5)
    features = rng.normal(size=(160, 1)) + 1.5 * made.arm("arm")[:, None]
    audit = Audit(made, features, 200, 0.95, 3)
    trivial = audit.at_equal("arm", features[:, 0])
    own = audit.at_equal("arm", 2.0 * made.arm("arm") + rng.normal(size=160))
    alone = Judging(made, 200, 0.95, 3).of(features[:, 0], None)["arms"]["arm"]["auroc"]["value"]
    assert trivial["value"] < alone - 0.08
    assert own["low"] > trivial["value"]
    assert own["overlap"] > 0.5
    apart = Audit(made, features + 20 * made.arm("arm")[:, None], 100, 0.95, 3)
    assert apart.at_equal("arm", features[:, 0]) == {"value": None, "overlap": 0}


def test_arms_of_which_a_part_was_made_are_found_by_area():
    made = replace(parts(60, {"part": "partly_generated"}), area=np.tile([np.nan, 0.05], 60))
    made.area[1::8] = 0.3
    scores = np.nan_to_num(made.area)
    found = Judging(made, 100, 0.95, 1).of(scores, 0.2)["arms"]
    small, middle, large = found["part"]["by_area"]
    assert (small["value"], middle, large["value"]) == (0, None, 100)
    assert "by_area" not in found["original"]


def test_trivial_features_see_blur_and_not_the_side():
    image = np.ascontiguousarray(skimage.data.coffee()[:256, :256])
    sharp, soft = trivial_features(image), trivial_features(cv2.GaussianBlur(image, (0, 0), 1))
    assert sharp.shape == (89,)
    assert (soft[:4] < sharp[:4]).all()  # all files are smaller
    turned = trivial_features(np.ascontiguousarray(image[:, ::-1]))
    assert np.median(np.abs(turned - sharp)) < 0.1 * np.median(np.abs(soft - sharp))
    for flat in (np.zeros((28, 28, 3), np.uint8), np.full((17, 40, 3), 200, np.uint8)):
        assert np.isfinite(trivial_features(flat)).all()


def test_a_set_that_statistics_tell_says_so_first_and_shows_what_is_called_of_the_counter_arm():
    rng, n = np.random.default_rng(6), 48
    names = ["original", "arm", "arm_counter", "part"]
    features = rng.normal(size=(n, 4, 4)) + np.array([0, 6, 6, 6])[:, None] * np.array([1, 0, 0, 0])
    rows = [
        {
            "variant": name,
            "truth": {"arm": "reconstructed", "part": "partly_generated"}.get(name, "real"),
            "counter_of": "arm" if name == "arm_counter" else "",
            "area": 0.3 if name == "part" else float("nan"),
            "photograph": str(photograph),
            "split": "train" if photograph < 38 else "test",
            "sharpness": 0.0,
            "trivial": features[photograph, place],
            "spectrum": features[photograph, place],
            "answer_mine": float(name == "arm"),
        }
        for photograph in range(n)
        for place, name in enumerate(names)
    ]
    columns = {key: [row[key] for row in rows] for key in rows[0]}
    measure = AiImageDetection(
        rigid=None, probes=(), classifiers={"mine": "made"}, fit=("arm",), network_steps=0, bootstrap=100
    )
    found = measure.figures(Table(pa.table(columns), ""), Context(5, models("embedded"), None))
    assert found["arms"]["arm"]["audit"]["grade"] == found["arms"]["part"]["audit"]["grade"] == "quarantined"
    assert found["arms"]["arm"]["audit"]["auroc_counter"]["low"] < 0.5  # both have the same statistics
    trivial = found["detectors"]["trivial features"]["arms"]
    assert trivial["arm"]["auroc"]["value"] > 0.9 > trivial["arm"]["auroc_counter"]["value"]
    assert found["detectors"]["mine"]["arms"]["arm"]["auroc_counter"]["value"] == 1
    assert "can't tell detectors" in found["warnings"][0]
    first = _render("parts/warning", manifest=SimpleNamespace(warning=""), warnings=found["warnings"])
    assert first.startswith("> **Careful.** This set can't tell detectors")
    text = _render("_ai_image_detection", figures=found, plots={}, models={}, order=[], counts=())
    (headline,) = (line for line in text.splitlines() if line.startswith("| arm | reconstructed, fitted; "))
    assert headline.startswith(
        "| arm | reconstructed, fitted; trivial features alone 1.00 | 100.0 [69.2, 100.0] / 0.0 [0.0, 30.8] | "
    )
    assert "| over 25 % | 0.0 [0.0, 30.8] | " in text


def test_a_quarantined_arm_is_in_no_plot():
    detectors = {"rigid": {"arms": {}}}
    arms = {
        "original": {"truth": "real"},
        "made": {"truth": "generated", "audit": {"grade": "quarantined"}},
        "faint": {"truth": "generated", "audit": {"grade": "leaky"}},
        "blurred": {"truth": "real", "audit": {"grade": "quarantined"}},
    }
    figures = {"arms": arms, "order": list(arms), "detectors": detectors, "names": ["rigid"]}
    rows = AiImageDetection().plots(figures)["called"].rows
    assert rows == ("original (real)", "faint (generated)", "blurred (real)")
