"""Pictures with patches and their records: where patches are, what is in them, what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from variorum.generators.adversarial.patch_perturbation import PatchPerturbation, cells
from variorum.kit.corrupt.kinds import corrupt, scale_of
from variorum.models import ModelTable
from variorum.models.brought.function import from_function
from variorum.models.imagenet_classes import class_infos
from variorum.pixels import decode
from variorum.schemas.component import Context
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import build_component
from variorum.schemas.sample import Failure

FRAME, PATCH = 32, 8


def patches(**fields):
    fields = {"adversaries": ("tiny",), "frame": FRAME, "patch": PATCH, "against": "prediction", **fields}
    return PatchPerturbation(**fields)


def made_by(generator, samples, ctx):
    return list(generator.generate(samples, ctx))


def mask_of(sample):
    return sample.extras["mask.png"] > 127


def test_a_patch_changes_its_cell_and_nothing_else(ctx, samples):
    generator = patches(kinds=("adversarial", "grey", "fog"), positions=("gradient", "random", "centre"))
    for sample in samples[:2]:
        original, *found = made_by(generator, [sample], ctx)
        assert not original.extras["mask.png"].any()
        assert {one.variant for one in found} == {
            f"{kind}_{position}"
            for kind in ("control", "adversarial", "grey", "fog")
            for position in generator.positions
        }
        for one in found:
            ((left, top, width, height),) = one.ops[-1]["achieved"]["boxes"]
            box = np.zeros((FRAME, FRAME), bool)
            box[top : top + height, left : left + width] = True
            assert (left % PATCH, top % PATCH, width, height) == (0, 0, PATCH, PATCH)
            assert np.array_equal(mask_of(one), box)
            assert not (one.image != original.image).any(2)[~box].any()
            said = ctx.models.get("tiny")([original.image, one.image])
            first = int(said[0].argmax())
            gap = np.log(np.delete(said[1], first).max() / said[1][first])
            assert one.ops[-1]["gates"]["fooled"]["value"] == pytest.approx(gap, abs=1e-4)
            assert list(one.ops[-1]["gates"]) == ["outside", "hidden", "source_right", "changed", "fooled"]


def test_what_is_in_a_patch(ctx, samples):
    generator = patches(kinds=("grey", "defocus_blur"), positions=("centre",), severity=4)
    original, noise, grey, blur = made_by(generator, samples[:1], ctx)
    where = mask_of(blur)
    assert (grey.image[where] == 128).all()
    scale = scale_of("defocus_blur", FRAME)
    whole = corrupt(original.image, "defocus_blur", 4, np.random.default_rng(0), scale=scale).image
    assert np.array_equal(blur.image[where], whole[where])  # a blur reads what is beside the cell
    assert noise.image[where].std() > 60
    assert noise.ops[-1]["requested"]["attack"] == "control"


def test_the_first_success_is_kept_and_begins_as_the_noise_beside_it(ctx, samples):
    def attacked(sample, steps):
        return made_by(patches(kinds=("adversarial",), step=4, steps=steps), [sample], ctx)[1:]

    steps = []
    for sample in samples[:4]:
        noise, found = attacked(sample, 60)
        achieved, fooled = found.ops[-1]["achieved"], found.ops[-1]["gates"]["fooled"]["value"] > 0
        steps.append(taken := achieved["steps_to_success"])
        assert fooled == (taken is not None)
        assert achieved["gradients"] == (min(taken + 1, 60) if fooled else 60)
        assert np.abs(found.image.astype(int) - noise.image).max() <= 4 * (taken if fooled else 60)
        if taken:
            assert np.array_equal(attacked(sample, taken)[1].image, found.image)
        if taken and taken > 1:
            assert attacked(sample, taken - 1)[1].ops[-1]["gates"]["fooled"]["value"] <= 0
    assert any(steps)


def test_cells_of_a_grid_tile_what_the_network_sees_exactly_once(ctx, samples):
    tiny = ctx.models.get("tiny")
    cut = from_function(tiny.scores.network, name="cut", classes=tiny.classes, revision="1", preprocess="crop=24")
    own = replace(ctx, models=ctx.models.with_models({"cut": cut}))
    found = made_by(patches(adversaries=("cut",), positions=("grid",), kinds=("grey",)), samples[:1], own)
    seen = np.zeros((FRAME, FRAME), int)
    seen[4:28, 4:28] = 1
    for kind in ("control", "grey"):
        mine = [one for one in found if one.variant == f"{kind}_grid"]
        assert np.array_equal(sum(mask_of(one).astype(int) for one in mine), seen)
        assert [one.ops[-1]["requested"]["cell"] for one in mine] == list(range(9))
    assert len({one.id for one in found}) == len(found) == 19
    with pytest.raises(RecipeError, match=r"4 patches of 9 pixels fit into 24 x 24, .* as these do: 8, 12, 24"):
        made_by(patches(adversaries=("cut",), positions=("grid",), patch=9), samples[:1], own)
    with pytest.raises(RecipeError, match="0 patches of 25 pixels fit"):
        made_by(patches(adversaries=("cut",), patch=25), samples[:1], own)


def test_cells_begin_where_something_is_seen():
    seen = np.zeros((256, 256), bool)
    seen[16:240, 16:240] = True
    grid = cells(seen, 32)
    assert (len(grid), len(grid[0])) == (7, 7)
    assert grid[0][1] == (slice(16, 48), slice(48, 80))
    assert cells(seen, 96)[-1][-1] == (slice(112, 208), slice(112, 208))  # what is left over is in no cell


def test_several_patches_are_in_different_cells(ctx, samples):
    found = made_by(patches(kinds=("adversarial",), positions=("gradient", "random"), count=4), samples[:2], ctx)
    several = [one for one in found if one.variant != "original"]
    assert {int(mask_of(one).sum()) for one in several} == {4 * PATCH**2}
    random = [one.ops[-1]["achieved"]["boxes"] for one in several if one.variant == "control_random"]
    assert random[0] != random[1]


def test_pictures_are_the_same_in_any_order_and_company(ctx, samples):
    generator = patches(kinds=("adversarial", "fog"), positions=("gradient", "grid"), batch=3, steps=2)
    there = {one.id: one for one in made_by(generator, samples[:2], ctx)}
    back = {one.id: one for one in made_by(generator, samples[1::-1], ctx)}
    assert there.keys() == back.keys()
    assert all(np.array_equal(there[name].image, back[name].image) for name in there)
    assert all(there[name].ops == back[name].ops for name in there)
    alone = made_by(patches(kinds=("adversarial", "fog"), batch=3, steps=2), samples[:1], ctx)[2]
    (same,) = [one for one in there.values() if (one.parent, one.variant) == (alone.parent, alone.variant)]
    assert np.array_equal(alone.image, same.image)  # whatever else is in its batch


def test_photographs_that_can_not_be_used(ctx, samples):
    wrong = made_by(patches(against="label", frame=28), samples[-1:], ctx)
    assert [(one.variant, getattr(one, "reason", "")) for one in wrong] == [
        ("original", ""),
        *((f"{kind}_gradient", "source_misclassified") for kind in ("control", "adversarial", "grey", "defocus_blur")),
    ]
    tiny = made_by(patches(), [replace(samples[0], image=samples[0].image[:20, :20])], ctx)
    assert {one.reason for one in tiny} == {"too_small"}
    assert len(tiny) == 5
    flat = made_by(patches(adversaries=("flat",), kinds=("adversarial",)), samples[:1], ctx)
    assert [(one.status, one.reason) for one in flat if isinstance(one, Failure)] == [("failed", "no_gradient")]
    grey = made_by(patches(kinds=("adversarial", "fog")), samples[6:7], ctx)
    assert all((one.image == one.image[..., :1]).all() for one in grey)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kinds": ["noise"]}, "no kind is called 'noise'; noise is always made, and there are adversarial, grey, "),
        ({"kinds": []}, "must be one or more, each once"),
        ({"positions": ["grid", "grid"]}, "must be one or more, each once"),
        ({"positions": ["gradient", "grid"], "count": 2}, "count is 2, and grid has one patch a picture"),
        ({"patch": 4}, "greater than or equal to 8"),
        ({"step": 0}, "greater than or equal to 1"),
        ({"step": 0.5}, "valid integer"),
    ],
)
def test_what_can_not_be_asked_for_is_refused_when_it_is_read(fields, message):
    with pytest.raises(RecipeError) as error:
        build_component("generate", {"name": "patch_perturbation", **fields}, "generate")
    assert message in str(error.value)


def test_a_model_without_gradients_is_refused(ctx):
    with pytest.raises(RecipeError, match=r"patch_perturbation.adversaries: the model 'answers' gives no gradients"):
        patches(adversaries=("answers",)).check(ctx)


@pytest.mark.slow
def test_patches_on_photographs():
    """A dozen photographs: noise fools few, and larger adversarial patches fool no fewer of the same photographs."""
    models = ModelTable("embedded")
    ctx = Context(seed=1, models=models, memo=lambda key, compute: compute(), classes=class_infos())
    stored = build_component("source", {"name": "samples", "masks": False}, "source").read(0, 60, ctx)
    photographs = [replace(one, image=decode(one.image)) for one in stored]
    asked = [one for one in photographs if models.get("classifier_gate")([one.image])[0].max() > 0.5][:14]
    rates = {}
    for side in (16, 32, 56):
        found = made_by(PatchPerturbation(kinds=("adversarial",), patch=side, against="prediction"), asked, ctx)
        for kind in ("control", "adversarial"):
            mine = [one for one in found if one.variant == f"{kind}_gradient"]
            assert len(mine) >= 12
            assert all(one.ops[-1]["gates"]["outside"]["value"] == 0 for one in mine)
            rates[kind, side] = np.mean([one.ops[-1]["gates"]["fooled"]["value"] > 0 for one in mine])
    assert rates["control", 16] <= 0.15
    assert rates["control", 32] <= 0.15
    assert rates["adversarial", 16] <= rates["adversarial", 32] <= rates["adversarial", 56]
    assert rates["adversarial", 32] >= rates["control", 32] + 0.4
