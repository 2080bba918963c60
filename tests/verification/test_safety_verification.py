"""Regions that are decided right, pictures that prove it, and what can't be asked for."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from variorum.evaluation.verification.certified import Certified
from variorum.generators.verification.safety_verification import SafetyVerification, nearest_moves
from variorum.models import ModelTable
from variorum.models.brought.function import from_function
from variorum.schemas.component import ClassInfo, Context
from variorum.schemas.errors import ModelFailed, RecipeError
from variorum.schemas.lookup import build_component
from variorum.schemas.sample import CAPTURED, Failure, Sample, source_id
from variorum.schemas.table import Table
from variorum.sources.fashion_mnist import FashionMnist

CLASSES = ("dark", "light")
PLACES = [[3, 4], [10, 20]]


def linear(bias):
    """Light if the levels of two pixels sum to more than `-bias`: a margin known to the level."""
    import torch
    from torch import nn

    made = nn.Sequential(nn.Flatten(), nn.Linear(3 * 28 * 28, 2))
    with torch.no_grad():
        for weights in made.parameters():
            weights.zero_()
        for row, column in PLACES:
            made[1].weight[1, [channel * 784 + row * 28 + column for channel in range(3)]] = 255 / 3
        made[1].bias[1] = bias
    return from_function(made.eval(), name=f"linear{bias:g}", classes=CLASSES, revision="1", preprocess="none")


@pytest.fixture(scope="module")
def ctx():
    models = ModelTable("embedded").with_models({"near": linear(-209.5), "far": linear(-210.5)})
    classes = tuple(ClassInfo(name, name) for name in CLASSES)
    return Context(seed=3, models=models, memo=lambda key, compute: compute(), classes=classes)


def picture(label="dark", grey=True):
    image = np.full((28, 28, 3), 100, np.uint8)
    if not grey:
        image[0, 0] = 1, 2, 3
    return Sample(source_id("test", label), image, labels=(label,), digital_source_type=CAPTURED)


def verified(ctx, sample=None, **fields):
    fields = {"adversary": "near", "regions": [{"pixels": 2, "levels": 5}], **fields}
    made = build_component("generate", {"name": "safety_verification", **fields}, "generate")
    found = list(made.generate([picture() if sample is None else sample], ctx))
    return found, [one["verdict"] for one in found[0].ops[-1]["achieved"].get("certificates", [])]


def test_a_network_of_known_margin_is_decided_right_on_both_sides(ctx):
    """Two pixels of 100: five levels up each make 210, beyond 209.5 and short of 210.5."""
    found, verdicts = verified(ctx)
    assert verdicts == ["unsafe"]
    original, wrong, control = found
    assert [one.variant for one in found] == ["original", "wrong_k2_e5", "control_k2_e5"]
    change = wrong.image.astype(int) - original.image
    assert {tuple(one) for one in np.argwhere(change.any(2)).tolist()} == {tuple(one) for one in PLACES}
    assert change.max() == change[change > 0].min() == 5
    assert wrong.ops[-1]["achieved"]["l1"] == 10
    assert control.ops[-1]["achieved"]["l2"] == pytest.approx(wrong.ops[-1]["achieved"]["l2"], rel=0.02)
    far, verdicts = verified(ctx, adversary="far")
    assert verdicts == ["safe"]
    (certificate,) = far[0].ops[-1]["achieved"]["certificates"]
    assert certificate["visited"] == 11**2
    assert certificate["pixels"] == PLACES
    assert certificate["model"] == ctx.models.pin("far")
    assert (far[1].status, far[1].reason) == ("ineligible", "safe")


def test_the_nearest_counterexample_is_found_first(ctx):
    found, _ = verified(ctx, regions=[{"pixels": 2, "levels": 30}])
    assert found[1].ops[-1]["achieved"]["l1"] == 10


@pytest.mark.parametrize(
    ("region", "fields", "verdict"),
    [
        ({"pixels": 0, "levels": 255}, {}, "safe"),
        ({"pixels": 2, "levels": 5, "step": 2}, {}, "safe_on_grid"),  # 104 + 104
        ({"pixels": 2, "levels": 5}, {"limit": 60}, "undecided"),
        ({"pixels": 2, "levels": 30}, {"limit": 500}, "unsafe"),  # found before the limit
        ({"pixels": [[0, 0], [3, 4]], "levels": 9}, {}, "safe"),
        ({"pixels": [[0, 0], [3, 4]], "levels": 10}, {}, "unsafe"),
    ],
)
def test_safe_is_said_only_of_what_was_looked_at_whole(ctx, region, fields, verdict):
    assert verified(ctx, regions=[region], **fields)[1] == [verdict]


def test_a_pixel_of_a_coloured_picture_has_three_values(ctx):
    found, verdicts = verified(ctx, picture(grey=False), regions=[{"pixels": [[3, 4]], "levels": 2}])
    assert verdicts == ["safe"]
    assert found[0].ops[-1]["achieved"]["certificates"][0]["visited"] == 5**3


def test_what_can_not_be_verified_has_a_reason(ctx):
    _, wrong = verified(ctx, picture("light"))[0]
    assert (wrong.reason, wrong.detail) == ("source_misclassified", "near takes it for dark")
    assert verified(ctx, replace(picture(), labels=("zebra",)))[0][1].reason == "no_such_class"
    assert verified(ctx, replace(picture(), labels=CLASSES))[0][1].reason == "no_other_class"
    small = replace(picture(), image=picture().image[:20])
    made = SafetyVerification(adversary="near")
    assert {one.reason for one in made.generate([small], ctx)} == {"too_small"}


def test_moves_are_all_there_are_and_the_nearest_first():
    """Against a plain product, with values at both ends of the scale."""
    moves, whole = nearest_moves(np.array([1, 100, 254]), 3, 1, 1000)
    every = set(product(range(-1, 4), range(-3, 4), range(-3, 2)))
    assert whole
    assert {tuple(one) for one in moves.tolist()} == every
    far = np.abs(moves).sum(1)
    assert (np.diff(far) >= 0).all()
    some, whole = nearest_moves(np.array([1, 100, 254]), 3, 1, 60)
    assert not whole
    assert len(some) <= 60
    assert len(some) == (far <= np.abs(some).sum(1).max()).sum()
    assert nearest_moves(np.array([7]), 255, 255, 9)[0].ravel().tolist() == [0, -7, 248]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"regions": []}, "at least 1 item"),
        ({"regions": [{"pixels": 13, "levels": 1}]}, "must be 0 to 12"),
        ({"regions": [{"pixels": [[0, 0], [0, 0]], "levels": 1}]}, "different places"),
        ({"regions": [{"pixels": [[0, 28]], "levels": 1}]}, "the pixel [0, 28] is outside of a frame of 28"),
        ({"regions": [{"levels": 0.5}]}, "valid integer"),
        ({"regions": [{"levels": 0}]}, "greater than or equal to 1"),
        ({"regions": [{"levels": 2, "step": 3}]}, "a step of 3 is beyond the region's 2 levels"),
        ({"regions": [{"levels": 2}, {"levels": 2}]}, "two regions would be called k4_e2"),
    ],
)
def test_what_can_not_be_asked_for_is_refused_when_it_is_read(fields, message):
    with pytest.raises(RecipeError) as error:
        build_component("generate", {"name": "safety_verification", **fields}, "generate")
    assert message in str(error.value)


def test_a_model_without_gradients_is_refused_before_any_work(ctx):
    answers = from_function(lambda images: np.tile([0.9, 0.1], (len(images), 1)), name="a", classes=CLASSES,
                            revision="1")  # fmt: skip
    models = ctx.models.with_models({"answers": answers})
    with pytest.raises(RecipeError, match="the model 'answers' gives no gradients"):
        SafetyVerification(adversary="answers").check(replace(ctx, models=models))


# ── the judge of Fashion-MNIST ───────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def clothes():
    """Pictures of Fashion-MNIST's test part and their context."""
    source = FashionMnist(part="test", per_class=2)
    ctx = Context(seed=3, models=ModelTable("embedded"), memo=lambda key, compute: compute())
    ctx = replace(ctx, classes=source.classes(ctx))
    try:
        return list(source.read(0, 20, ctx)), ctx
    except Exception as error:
        pytest.skip(f"needs Debian's package dataset-fashion-mnist: {error}")


REGIONS = [{"pixels": 1, "levels": 60}, {"pixels": 5, "levels": 255, "step": 255}]


def test_no_verdict_depends_on_the_batch(clothes):
    samples, ctx = clothes

    def made(batch):
        found = SafetyVerification(regions=REGIONS, batch=batch).generate(samples[:4], ctx)
        return [
            (one.variant, one.reason if isinstance(one, Failure) else (one.image.tobytes(), one.ops[-1]["achieved"]))
            for one in found
        ]

    assert made(256) == made(7)


def measured(samples, ctx):
    rows = list(Certified().measure(samples, ctx))
    return rows, Certified().figures(table_of(rows), ctx)


def table_of(rows):
    import pyarrow as pa

    return Table(pa.Table.from_pylist(rows), "certified")


def test_every_unsafe_has_a_picture_that_the_judge_gets_wrong(clothes):
    samples, ctx = clothes
    made = [
        one for one in SafetyVerification(regions=REGIONS[1:]).generate(samples, ctx) if not isinstance(one, Failure)
    ]
    rows, figures = measured(made, ctx)
    unsafe = [one for one in rows if one["verdict"] == "unsafe"]
    found = [one for one in made if one.variant.startswith("wrong_")]
    assert len(unsafe) == len(found) >= 1
    for one in found:
        said = ctx.models.get("judge")([one.image])[0]
        assert ctx.classes[int(said.argmax())].id not in one.labels
    one = figures["regions"]["k5_e255_s255"]
    assert one["number"] >= 1
    assert one["confirmed"] == one["number"]
    assert one["safe"]["value"] == 0
    total = sum(one[kind]["value"] for kind in ("safe_on_grid", "unsafe", "undecided"))
    assert total == pytest.approx(100, abs=0.1)


def test_a_picture_found_in_a_region_that_is_certified_safe_is_an_error(ctx):
    found, _ = verified(ctx, regions=[{"pixels": 2, "levels": 30}])
    original = found[0]
    evaluation = Certified(adversary="near")
    (row,) = evaluation.measure([original], ctx)
    assert (row["verdict"], row["pgd"]) == ("unsafe", True)

    def telling(**more):
        op = original.ops[-1]
        (one,) = op["achieved"]["certificates"]
        achieved = {**op["achieved"], "certificates": [{**one, **more}]}
        return replace(original, ops=(*original.ops[:-1], {**op, "achieved": achieved}))

    with pytest.raises(ModelFailed, match=r"is certified safe in k2_e30, and pgd finds a picture there"):
        list(evaluation.measure([telling(verdict="safe")], ctx))
    with pytest.raises(RecipeError, match="are of 'other@sha256:12', not of 'near'"):
        list(evaluation.measure([telling(model="other@sha256:12")], ctx))
    between = {"verdict": "safe", "step": 2}
    for more in (between, {"verdict": "fine"}, {"levels": True}, {"pixels": [[0, 28]]}, {"more": 1}, {"visited": 0}):
        with pytest.raises(RecipeError, match="has no valid certificates"):
            list(evaluation.measure([telling(**more)], ctx))


def test_a_distance_that_a_record_does_not_say_is_left_out(ctx):
    found, _ = verified(ctx, regions=[{"pixels": 2, "levels": 30}])
    made = [one for one in found if isinstance(one, Sample)]
    odd = []
    for one in made:
        op = one.ops[-1]
        achieved = {**op["achieved"], **({"l1": 2**40} if op["requested"].get("attack") == "search" else {})}
        odd.append(replace(one, ops=(*one.ops[:-1], {**op, "achieved": achieved})))
    evaluation = Certified(adversary="near", bootstrap=100)
    figures = evaluation.figures(table_of(list(evaluation.measure(odd, ctx))), ctx)
    assert figures["regions"]["k2_e30"]["number"] == 1
    assert figures["regions"]["k2_e30"]["l1"] is None
