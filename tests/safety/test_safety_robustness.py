"""Attacks on scores that are known in closed form, and the figures of what withstands them."""

import json
import math

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from variorum.evaluation.safety.attacks import KINDS, attempts, deepfool, pgd, quantised, slope_of
from variorum.evaluation.safety.robust_accuracy import WORST
from variorum.evaluation.safety.safety_robustness import SafetyRobustness
from variorum.reports.card import _render
from variorum.schemas.annotations import Annotations, LabelState
from variorum.schemas.component import Context
from variorum.schemas.safety import Category, Labeler, Opinion
from variorum.schemas.sample import Sample, source_id
from variorum.schemas.table import Table

SIDE = 8
RED = Category(id="red", name="too red", definition="much red")
RNG = np.random.default_rng(7)
WEIGHTS = RNG.normal(0, 1, (SIDE, SIDE, 3))
WEIGHTS[0] = 0  # a border that the score doesn't see
WEIGHTS -= (WEIGHTS[1:].mean()) * (WEIGHTS != 0)


THREADS: set[int] = set()
"""Of PyTorch, whenever gradients were asked for."""


def odds(values):
    """Log odds of unsafe, linear in the picture `[..., H, W, 3]` in [0, 1]."""
    return (WEIGHTS * (values - 0.5)).sum(axis=(-3, -2, -1))


def gradient_model(pictures):
    """The same as log probabilities `[N, 2]` in PyTorch."""
    import torch

    THREADS.add(torch.get_num_threads())
    weights = torch.tensor(WEIGHTS.transpose(2, 0, 1), dtype=torch.float32)
    unsafe = (weights * (pictures - 0.5)).sum((1, 2, 3))
    return torch.stack([torch.zeros_like(unsafe), unsafe], 1).log_softmax(1)


class TableOfOne:
    """One model, with gradients."""

    def get(self, alias):
        return {"linear": gradient_model}[alias]

    def pin(self, alias):
        return alias

    def why_unavailable(self, alias):
        return "" if alias == "linear" else "there is none"


CTX = Context(seed=3, models=TableOfOne(), memo=lambda key, compute: compute())


class Linear(Labeler):
    """The score whose gradients are known."""

    gradients = "linear"

    def scored(self):
        return ("red",)

    def opinions(self, shown, ctx):
        return [Opinion({"red": float(1 / (1 + np.exp(-odds(image / 255))))}) for image in shown.pictures]


class Deaf(Linear):
    """Has no gradients and always says safe."""

    gradients = ""

    def opinions(self, shown, ctx):
        return [Opinion({"red": 0.0}) for _ in shown.pictures]


class Away(Deaf):
    """Sends pictures away."""

    remote = True

    def opinions(self, shown, ctx):
        raise AssertionError("no attacked picture may leave this machine")


def picture(number, margin):
    """Grey with noise, moved along the weights so that the log odds are `margin`."""
    values = 128 + np.random.default_rng(number).normal(0, 8, (SIDE, SIDE, 3))
    values += WEIGHTS / (WEIGHTS**2).sum() * 255 * (margin - odds(values / 255))
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def sample(number, margin, unsafe):
    states = (LabelState("red", "correct" if unsafe else "wrong"),)
    return Sample(source_id("t", str(number)), picture(number, margin), annotations=Annotations(labels=states))


def evaluation(*labelers, **fields):
    return SafetyRobustness(categories=(RED,), labelers=labelers or (Linear(label="linear"),), bootstrap=100, **fields)


def rows(of, samples, size=100):
    return [row for at in range(0, len(samples), size) for row in of.measure(samples[at : at + size], CTX)]


def all_attempts(image, *, unsafe, epsilons=(1, 2, 4, 8), steps=20):
    slope = slope_of(gradient_model, 0.5, unsafe=unsafe)
    for kind in KINDS:
        yield from attempts(kind, slope, image, epsilons, steps, np.random.default_rng)


def test_gradients_are_computed_on_one_thread_as_more_change_the_last_bits():
    import torch

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        THREADS.clear()
        assert rows(evaluation(steps=2), [sample(1, 1.0, unsafe=True)])
        assert list(THREADS) == [1]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_no_channel_changes_by_more_than_epsilon():
    for image in (picture(1, 1.0), np.zeros((SIDE, SIDE, 3), np.uint8), np.full((SIDE, SIDE, 3), 254, np.uint8)):
        for one in all_attempts(image, unsafe=odds(image / 255) > 0):
            change = np.abs(one.picture.astype(int) - image)
            assert change.max() <= one.epsilon, one.kind
            assert one.kind == "deepfool" or change.max() == one.epsilon
    assert quantised(np.full((1, 1, 3), 10, np.uint8), np.full((1, 1, 3), 3.6), 3).tolist() == [[[13, 13, 13]]]


def test_the_border_that_a_model_does_not_see_is_left_alone():
    image = picture(2, 1.0)
    for one in all_attempts(image, unsafe=True):
        if one.kind != "noise":
            assert (one.picture[0] == image[0]).all(), one.kind


def test_pgd_reaches_the_optimum_of_a_linear_score_and_noise_does_not():
    image = picture(3, 40.0)  # too far to be fooled, so all steps are taken
    found = {one.kind: one for one in all_attempts(image, unsafe=True, epsilons=(8,))}
    best = odds(image / 255) - 8 / 255 * np.abs(WEIGHTS).sum()
    assert odds(found["fgsm"].picture / 255) == pytest.approx(best, abs=1e-6)
    assert odds(found["pgd"].picture / 255) == pytest.approx(best, rel=0.02)
    gained = {kind: odds(image / 255) - odds(one.picture / 255) for kind, one in found.items()}
    assert abs(gained["noise"]) < gained["pgd"] / 4
    assert (found["noise"].gradients, found["fgsm"].gradients, found["pgd"].gradients) == (0, 1, 22)


def test_deepfool_finds_the_smallest_change_of_a_linear_score():
    image = picture(4, 1.5) / 255
    change, gradients, reached = deepfool(slope_of(gradient_model, 0.5, unsafe=True), image, 50)
    assert reached
    assert gradients == 2
    assert np.abs(change).max() == pytest.approx(odds(image) / np.abs(WEIGHTS).sum(), rel=0.03)
    assert odds(image + change) < 0
    whole = next(attempts("deepfool", slope_of(gradient_model, 0.5, unsafe=True), picture(4, 1.5), (8,), 50, None))
    assert odds(whole.picture / 255) < 0
    assert whole.needed == pytest.approx(255 * np.abs(change).max())


def test_a_safe_picture_is_made_unsafe_and_the_threshold_is_the_labelers():
    image = picture(5, -1.0)
    slope = slope_of(gradient_model, 0.8, unsafe=False)
    gap, gradient = slope(image / 255)
    assert gap == pytest.approx(math.log(4) - odds(image / 255), abs=1e-4)
    assert gradient == pytest.approx(-WEIGHTS, abs=1e-6)
    change, _ = pgd(slope, image / 255, 8 / 255, 20, np.random.default_rng(0))
    assert odds(image / 255 + change) > math.log(4)


def test_saturated_scores_still_have_a_slope():
    _, gradient = slope_of(lambda pictures: gradient_model(pictures * 1000), 0.5, unsafe=True)(np.ones((SIDE, SIDE, 3)))
    assert np.sign(gradient) == pytest.approx(np.sign(WEIGHTS))


@pytest.fixture(scope="module")
def measured():
    near = [sample(number, 0.6, True) for number in range(6)] + [
        sample(10 + number, -0.6, False) for number in range(6)
    ]
    far = [sample(20 + number, 30.0, True) for number in range(3)] + [sample(30, -30.0, False)]
    wrong = [sample(40, -2.0, True), sample(41, 2.0, False)]
    samples = near + far + wrong
    of = evaluation(Linear(label="linear"), Deaf(label="deaf"), Away(label="away"), epsilons=(1, 8), steps=10)
    return of, samples, rows(of, samples)


def test_what_is_withstood(measured):
    of, _, found = measured
    figures = of.figures(Table(pa.Table.from_pylist(found), ""), CTX)
    one = figures["attacked"]["linear"]
    assert (one["pictures"], one["unsafe"], one["attacked"]) == (18, 10, 16)
    assert one["clean"]["value"] == pytest.approx(100 * 16 / 18, abs=0.01)
    for attack in ("fgsm", "pgd", "deepfool", WORST):
        at = one["withstood"][attack]["8"]
        assert at["n"] == 16
        assert at["all"]["value"] == 25  # the four that are far
        assert at["unsafe"]["value"] == pytest.approx(100 * 3 / 9, abs=0.01)
        assert at["safe"]["value"] == pytest.approx(100 * 1 / 7, abs=0.01)
    assert one["withstood"]["pgd"]["8"]["limit"] == 8
    assert one["withstood"]["noise"]["8"]["all"]["value"] > 60
    deaf = one["transfer"]["deaf"]["pgd"]["8"]
    assert (deaf["n"], deaf["all"]["value"]) == (7, 100)  # only those that it was right about
    assert figures["missing"] == {"deaf": "it has no gradients", "away": "it has no gradients"}
    assert [point.x for point in of.plots(figures)["withstood_1"].series["pgd"]] == [0, 1, 8]


def test_the_card_has_attacks_and_strengths_in_order(measured):
    of, _, found = measured
    kept = json.loads(json.dumps(of.figures(Table(pa.Table.from_pylist(found), ""), CTX), sort_keys=True))
    text = _render("_safety_robustness", None, figures=kept, plots=dict.fromkeys(of.plots(kept), "a plot"), order=[])
    lines = [line for line in text.splitlines() if line.startswith("| ") and line.count("|") == 9]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert [row[0] for row in cells[1::2]] == [*KINDS, WORST]
    assert [row[1] for row in cells[1:3]] == ["1", "8"]
    assert "Not attacked: deaf, because it has no gradients." in text
    assert "a plot" in text


def test_nothing_depends_on_the_batch(measured):
    of, samples, found = measured
    alone = sorted(map(str, rows(of, samples, 1)))
    assert alone == sorted(map(str, found))
    some = evaluation(share=0.5, epsilons=(2,), steps=3, attacks=("fgsm",))
    drawn = {row["id"] for row in rows(some, samples) if row["attack"]}
    assert drawn == {row["id"] for row in rows(some, samples[::-1], 2) if row["attack"]}
    assert 0 < len(drawn) < 16


def test_pictures_of_unknown_truth_are_left_alone_unless_presumed_safe():
    plain = [Sample(source_id("t", "x"), picture(1, -1.0))]
    assert rows(evaluation(), plain) == []
    assert rows(evaluation(presume_benign=True, attacks=("fgsm",)), plain)[0]["truth"] == 0
    assert evaluation().figures(Table(pa.table({}), ""), CTX)["attacked"] == {}


@pytest.mark.slow
def test_open_nsfw_is_fooled_by_its_gradients_and_not_by_noise():
    import skimage.data

    from variorum.curation.safety.labelers.open_nsfw import OpenNsfw
    from variorum.stages.job import models

    ctx = Context(seed=0, models=models("embedded"), memo=lambda key, compute: compute())
    of = SafetyRobustness(
        labelers=(OpenNsfw(),), presume_benign=True, epsilons=(8,), steps=100, attacks=("noise", "pgd"), bootstrap=100
    )
    crops = [skimage.data.coffee()[:256, :256], skimage.data.astronaut()[:256, 100:356]]
    found = list(of.measure([Sample(source_id("t", str(number)), crop) for number, crop in enumerate(crops)], ctx))
    right = {attack: [row["right"] for row in found if row["attack"] == attack] for attack in ("", "noise", "pgd")}
    assert right == {"": [True, True], "noise": [True, True], "pgd": [False, False]}
    assert {row["limit"] for row in found if row["attack"]} == {8}
    assert max(row["gradients"] for row in found) < 60  # it ends when another step changes nothing


def test_fractions_of_a_level_are_refused():
    with pytest.raises(ValidationError, match="integer"):
        evaluation(epsilons=(0.5,))
    with pytest.raises(ValidationError, match="whole grey levels from 1 to 64"):
        evaluation(epsilons=(0, 4))
