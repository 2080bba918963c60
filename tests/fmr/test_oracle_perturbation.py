"""Pictures pushed as far as an oracle allows: what moves, who stops it, what stands beside it, what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from variorum.generators.fmr.ascents import at_random, movable, pushed
from variorum.generators.fmr.oracle_perturbation import OraclePerturbation
from variorum.generators.fmr.spaces import space
from variorum.models import ModelTable
from variorum.pixels import decode, encode_png
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import build_component
from variorum.schemas.sample import Failure

SPACES = {"low_frequency": 6, "colour": 1, "warp": 6}
"""Frequencies, of small pictures."""
NETWORKS = {"adversary": "pushed", "oracles": ("oracle",), "audit": "audit", "frame": 28}


def generator(kind="low_frequency", **fields):
    cutoff = SPACES[kind] if kind != "colour" else None
    return OraclePerturbation(space=kind, **{"cutoff": cutoff, "budgets": (1, 3, 8), "step": 4, **NETWORKS, **fields})


def made_by(one, samples, ctx):
    return list(one.generate(samples, ctx))


def achieved(one):
    return one.ops[-1]["achieved"]


def noise(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


@pytest.mark.parametrize("kind", SPACES)
def test_without_steps_a_picture_comes_back_to_the_last_level(kind):
    image = noise((28, 30, 3))
    within = space(kind, [image])
    assert np.array_equal(within.stored(within.start)[0], image)
    (at_once,) = pushed(within, None, None, (0,), step=1, sparsity=0)[0]
    assert np.array_equal(at_once.image, image)
    assert at_once.steps == 0


def test_steps_are_in_the_units_that_they_are_said_to_be_in():
    grey = np.full((32, 32, 3), 128, np.uint8)
    signs = torch.from_numpy(np.random.default_rng(1).choice([-2.0, 2.0], (1, 3, 6, 6)).astype(np.float32))
    change = space("low_frequency", [grey], 6).pictures(signs) - 128
    assert change.square().mean((2, 3)).sqrt().numpy() == pytest.approx(2.0, rel=1e-4)
    image = noise((32, 32, 3))
    moved = torch.zeros(1, 2, 6, 6)
    moved[0, 0, 0, 0] = 3 * 6  # the constant displacement is one of 36 numbers
    (found,) = space("warp", [image], 6).stored(moved)
    assert np.array_equal(found[:, :-3], image[:, 3:])
    term = torch.zeros(1, 3, 12, 1)
    term[0, 1, 3] = 5  # the constant of green
    assert (space("colour", [grey], 1).stored(term)[0] == [128, 133, 128]).all()


@pytest.mark.parametrize("kind", SPACES)
def test_only_what_the_oracles_accept_as_it_is_stored_is_kept(kind, ctx, samples):
    oracle = ctx.models.get("oracle")
    found = made_by(generator(kind, budgets=(2, 16), step=8), samples[:4], ctx)
    ends = [one for one in found if one.variant == "pushed_16"]
    assert {achieved(one)["stopped_by"] for one in ends} >= {"oracle"}
    for one in found:
        if one.variant.startswith(("pushed", "control_")):
            said = oracle([decode(encode_png(one.image))])[0]
            label = [info.id for info in ctx.classes].index(one.labels[0])
            assert said.argmax() == label
            assert said[label] >= 0.5
            assert achieved(one)["p_label"]["oracle"] == pytest.approx(float(said[label]), abs=1e-5)
    for one in ends:
        record = achieved(one)
        assert record["stopped_by"] == ("oracle" if record["steps_valid"] < 16 else "budget")
    (original, control) = found[:2]
    assert np.array_equal(original.image, control.image)  # these spaces rebuild to the last level
    assert max(achieved(one)["loss"] for one in ends) > achieved(control)["loss"] + 0.5


def test_the_last_accepted_step_is_kept_and_the_next_is_refused(samples):
    image = samples[0].image
    within = space("low_frequency", [image, image], 6)
    refused, asked = [], []

    def accepts(place, picture):
        asked.append(place)
        fine = np.abs(picture.astype(int) - image).max() <= (20, 255)[place]
        if not fine:
            refused.append(picture)
        return fine

    found = pushed(within, torch.ones_like, accepts, (1, 3, 9), step=1, sparsity=0)
    steps = [found[9][place].steps for place in (0, 1)]
    assert 1 <= steps[0] < 9
    assert steps[1] == 9
    assert len(refused) == 1  # a stopped picture is never asked about again
    assert asked.count(0) == steps[0] + 1
    by_hand = within.stored(torch.full_like(within.start, float(steps[0])))[0]
    assert np.array_equal(found[9][0].image, by_hand)
    assert np.array_equal(refused[0], within.stored(torch.full_like(within.start, steps[0] + 1.0))[0])


def test_one_ascent_gives_what_each_budget_alone_would(ctx, samples):
    together = made_by(generator(), samples[:2], ctx)
    for steps in (1, 3, 8):
        alone = made_by(generator(budgets=(steps,)), samples[:2], ctx)
        for name in (f"pushed_{steps}", f"control_{steps}"):
            pairs = zip(
                [a for a in together if a.variant == name], [a for a in alone if a.variant == name], strict=True
            )
            assert all(np.array_equal(a.image, b.image) and achieved(a) == achieved(b) for a, b in pairs)


@given(st.floats(0, 0.99), st.floats(0, 0.99), st.integers(0, 99))
def test_no_more_numbers_move_than_asked(first, second, seed):
    gradient = torch.randn(2, 3, 5, 5, generator=torch.Generator().manual_seed(seed))
    less, more = (movable(gradient, share).expand(gradient.shape) for share in sorted((first, second)))
    for free, share in ((less, min(first, second)), (more, max(first, second))):
        assert (free.flatten(1).sum(1) <= (1 - share) * 75 + 1e-6).all()
    assert not (more & ~less).any()  # what stays, stays with more sparsity
    size = gradient.abs().sum(1)
    for one, free in zip(size, less[:, 0], strict=True):
        assert free.all() or not free.any() or one[free].max() <= one[~free].min()


def test_sparse_pictures_move_fewer_numbers(ctx, samples):
    moved = []
    for share in (0, 0.5, 0.9):
        ends = [one for one in made_by(generator(sparsity=share), samples[:1], ctx) if one.variant[-2:] == "_8"]
        assert all(achieved(one)["moved"] <= (1 - share) * 108 for one in ends)
        moved.append(max(achieved(one)["moved"] for one in ends))
    assert moved[0] > moved[1] > moved[2] > 0


def test_controls_go_as_far_at_random_or_as_far_as_the_oracles_allow(samples):
    image = samples[0].image
    within = space("low_frequency", [image], 6)
    numbers = torch.full((3, 6, 6), 4.0)
    numbers[:, 0] = 0
    draws = [np.random.default_rng(3)]

    def found(accepts):
        return at_random(within, [numbers], accepts, [np.random.default_rng(3)])[0]

    whole, share = found(lambda place, picture: True)
    assert share == 1
    signs = torch.from_numpy(draws[0].integers(0, 2, (3, 6, 6)) * 2 - 1)
    assert np.array_equal(whole, within.stored((signs * numbers)[None].float())[0])
    far = np.abs(whole.astype(int) - image).max()
    half, share = found(lambda place, picture: np.abs(picture.astype(int) - image).max() < far)
    assert share == 0.5
    assert 0 < np.abs(half.astype(int) - image).max() < far
    none, share = found(lambda place, picture: False)
    assert (share, np.array_equal(none, image)) == (0, True)


@pytest.mark.parametrize("kind", SPACES)
def test_a_grey_picture_stays_grey(kind, ctx, samples):
    found = made_by(generator(kind), samples[-1:], ctx)
    assert len(found) == 8
    assert all((one.image == one.image[..., :1]).all() for one in found)
    assert achieved(found[-2])["linf"] > 0


def test_what_is_displaced_has_no_mask_any_more(ctx, samples):
    masked = replace(samples[0], extras={"mask.png": np.full((28, 28), 255, np.uint8)})
    for kind in ("warp", "colour"):
        found = made_by(generator(kind, budgets=(1,)), [masked], ctx)
        assert ["mask.png" in one.extras for one in found] == [True, True, *([kind == "colour"] * 2)]


def test_pictures_are_the_same_in_any_order_and_company(ctx, samples):
    three = generator(batch=3)
    there = {one.id: one for one in made_by(three, samples, ctx)}
    back = {one.id: one for one in made_by(three, samples[::-1], ctx)}
    alone = {one.id: one for one in made_by(three, samples[3:4], ctx)}
    assert there.keys() == back.keys() >= alone.keys()
    assert all(np.array_equal(there[name].image, back[name].image) for name in there)
    assert all(np.array_equal(there[name].image, one.image) for name, one in alone.items())


def test_records_say_what_each_picture_is_made_against(ctx, samples):
    found = {one.variant: one.ops[-1] for one in made_by(generator(), samples[:1], ctx)}
    names = ["original", "control", *(f"{kind}_{n}" for n in (1, 3, 8) for kind in ("pushed", "control"))]
    assert list(found) == names
    assert found["pushed_8"]["requested"]["made_against"] == ["pushed"]
    assert found["control_8"]["requested"]["made_against"] == found["control"]["requested"]["made_against"] == []
    assert found["control_8"]["achieved"]["rms"] == found["pushed_8"]["achieved"]["rms"]
    assert found["pushed_8"]["models"] == {name: ctx.models.pin(name) for name in ("pushed", "oracle", "audit")}
    assert found["pushed_8"]["achieved"]["top1"].keys() == {"pushed", "oracle", "audit"}


def reasons(one, samples, ctx):
    return {(made.status, made.reason) for made in made_by(one, samples, ctx) if isinstance(made, Failure)}


def test_what_can_not_be_pushed_is_a_row_with_a_reason(ctx, samples):
    first = samples[0]
    assert reasons(generator(), [replace(first, labels=("drum",))], ctx) == {("ineligible", "source_misclassified")}
    assert reasons(generator(), [replace(first, labels=("zebra",))], ctx) == {("ineligible", "no_such_class")}
    every = tuple(one.id for one in ctx.classes)
    assert reasons(generator(), [replace(first, labels=every)], ctx) == {("ineligible", "no_other_class")}
    unsure = generator(oracle_p=0.999)
    assert reasons(unsure, [first], ctx) == {("ineligible", "oracle_disagrees_at_once")}
    assert reasons(generator(), [replace(first, image=first.image[:20])], ctx) == {("ineligible", "too_small")}
    assert reasons(generator(adversary="flat"), [first], ctx) == {("failed", "no_gradient")}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"budgets": [0, 5]}, "budgets are 1 to 200 steps; 0 isn't"),
        ({"budgets": [5, 5]}, "budgets must differ"),
        ({"step": 0}, "greater than 0"),
        ({"sparsity": 1}, "less than 1"),
        ({"space": "colour", "cutoff": 8}, "colour has no cutoff; only low_frequency and warp have one"),
        ({"oracles": ["classifier", "adversary"]}, "adversary, oracles and audit must be different models"),
    ],
)
def test_what_can_not_be_asked_for_is_refused_when_it_is_read(fields, message):
    with pytest.raises(RecipeError) as error:
        build_component("generate", {"name": "oracle_perturbation", **fields}, "generate")
    assert message in str(error.value)


def test_no_model_confirms_itself(ctx):
    packaged = replace(ctx, models=ModelTable("embedded"))
    OraclePerturbation().check(packaged)
    with pytest.raises(RecipeError, match="'adversary' and 'classifier_gate' have the same weights"):
        OraclePerturbation(oracles=("classifier_gate",)).check(packaged)
    decided = {use.alias for use in OraclePerturbation().uses() if use.decides}
    assert decided == {"adversary", "classifier"}  # so neither may be judged; the audit may
