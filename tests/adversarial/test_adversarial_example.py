"""Attacked pictures and their records: what is made, what is refused, and who is right about what."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from variorum.generators.adversarial.adversarial_example import AdversarialExample
from variorum.models import ModelTable
from variorum.models.brought.function import from_function
from variorum.models.imagenet_classes import class_infos, index_of
from variorum.pipeline import Job, build
from variorum.pixels import decode, encode_png
from variorum.schemas.component import Context
from variorum.schemas.errors import RecipeError
from variorum.schemas.extras import there
from variorum.schemas.lookup import build_component
from variorum.schemas.recipe import Recipe
from variorum.schemas.sample import Failure
from variorum.schemas.uses import deciding_models

PGD = {"kind": "pgd", "epsilon": 8, "steps": 4}


def attack(*attacks, **fields):
    fields = {"adversaries": ("tiny",), "frame": 28, **fields}
    return AdversarialExample(attacks=attacks or (PGD,), **fields)


def made_by(generator, samples, ctx):
    return list(generator.generate(samples, ctx))


def test_a_record_says_what_was_asked_for_and_what_came_of_it(ctx, samples):
    generator = attack(PGD, {"kind": "cw", "steps": 30, "searches": 3})
    original, control, pgd, cw, like = made_by(generator, samples[:1], ctx)
    names = ["original", "control", "pgd_8", "cw", "control_cw"]
    assert [one.variant for one in (original, control, pgd, cw, like)] == names
    assert np.array_equal(original.image, samples[0].image)
    asked, achieved = pgd.ops[-1]["requested"], pgd.ops[-1]["achieved"]
    assert (asked["attack"], asked["epsilon"], asked["step"], asked["sources"]) == ("pgd", 8, 2.0, ["tiny"])
    change = np.abs(pgd.image.astype(int) - samples[0].image)
    assert achieved["linf"] == change.max() == 8
    assert achieved["l0"] == np.count_nonzero(change)
    assert achieved["gradients"] == 4
    said = ctx.models.get("tiny")([pgd.image, samples[0].image])
    label = int(said[1].argmax())
    assert achieved["p_label"] == {"tiny": pytest.approx(float(said[0][label]), abs=1e-5)}
    assert achieved["top1"] == {"tiny": ctx.classes[int(said[0].argmax())].id}
    assert list(pgd.ops[-1]["gates"]) == ["budget", "source_right", "changed", "rounding", "fooled"]
    assert pgd.ops[-1]["models"] == {"tiny": ctx.models.pin("tiny")}
    assert control.ops[-1]["achieved"]["linf"] == 8
    assert like.ops[-1]["achieved"]["l2"] == pytest.approx(cw.ops[-1]["achieved"]["l2"], rel=0.01)


def test_only_pictures_that_the_attacked_models_are_right_about_are_attacked(ctx, samples):
    wrong = made_by(attack(), samples[-1:], ctx)
    assert [one.variant for one in wrong] == ["original", "control", "pgd_8"]
    assert isinstance(wrong[2], Failure)
    assert (wrong[2].status, wrong[2].reason) == ("ineligible", "source_misclassified")
    assert not wrong[2].gates["source_right"]["passed"]
    (unknown,) = [
        one for one in made_by(attack(), [replace(samples[0], labels=("zebra",))], ctx) if isinstance(one, Failure)
    ]
    assert unknown.reason == "no_such_class"
    (every,) = [
        one
        for one in made_by(attack(), [replace(samples[0], labels=tuple(one.id for one in ctx.classes))], ctx)
        if isinstance(one, Failure)
    ]
    assert every.reason == "no_other_class"
    guessed = made_by(attack(against="prediction"), [samples[-1], replace(samples[0], labels=())], ctx)
    assert not [one for one in guessed if isinstance(one, Failure)]


def test_what_fails_stays_unless_it_is_asked_not_to(ctx, samples):
    weak = {"kind": "fgsm", "epsilon": 1}
    kept, dropped = (made_by(attack(weak, keep_failures=keep), samples[:7], ctx) for keep in (True, False))
    pairs = [(a, b) for a, b in zip(kept, dropped, strict=True) if a.variant == "fgsm_1"]
    survived = [not a.ops[-1]["gates"]["fooled"]["value"] > 0 for a, _ in pairs]
    assert any(survived)
    assert not any(a.reason for a, _ in pairs)
    assert [b.reason for _, b in pairs] == ["fooled" if one else "" for one in survived]


def test_pictures_are_the_same_in_any_order_and_company(ctx, samples):
    generator = attack(PGD, {"kind": "mi_fgsm", "epsilon": 4, "diversity": 0.5}, batch=3)
    there = {one.id: one for one in made_by(generator, samples[:7], ctx)}
    back = {one.id: one for one in made_by(generator, samples[6::-1], ctx)}
    alone = {one.id: one for one in made_by(generator, samples[3:4], ctx)}
    assert there.keys() == back.keys()
    assert all(np.array_equal(there[name].image, back[name].image) for name in there)
    assert all(np.array_equal(there[name].image, one.image) for name, one in alone.items())


def test_a_flat_network_can_not_be_followed(ctx, samples):
    said = ctx.models.get("flat")([samples[0].image])[0]
    sample = replace(samples[0], labels=(ctx.classes[int(said.argmax())].id,))
    found = made_by(
        attack({"kind": "pgd", "epsilon": 8}, {"kind": "cw", "steps": 2}, adversaries=("flat",)), [sample], ctx
    )
    assert [(one.status, one.reason) for one in found if isinstance(one, Failure)] == [("failed", "no_gradient")] * 2


@pytest.mark.parametrize("other", ["flat", "broken"])
def test_no_network_of_several_is_left_out(other, ctx, samples):
    kinds = [{"kind": "pgd", "epsilon": 8, "steps": 2}, {"kind": "mi_fgsm", "epsilon": 8, "steps": 2, "loss": "margin"}]
    both = attack(*kinds, {"kind": "cw", "steps": 2}, adversaries=("tiny", other), against="prediction")
    found = made_by(both, samples[:1], ctx)
    assert [(one.variant, one.status, one.reason) for one in found if isinstance(one, Failure)] == [
        (name, "failed", "no_gradient") for name in ("pgd_8", "mi_fgsm_8", "cw")
    ]


def test_targets(ctx, samples):
    named = attack({"kind": "pgd", "epsilon": 64, "steps": 20}, target="egg")
    found = [one for one in made_by(named, samples[:4], ctx) if one.variant == "pgd_64"]
    said = [one.ops[-1]["achieved"]["top1"]["tiny"] for one in found if not isinstance(one, Failure)]
    reasons = {one.reason for one in found if isinstance(one, Failure)}
    assert reasons <= {"target_is_label"}
    assert said.count("egg") > len(said) / 2
    answered = str(ctx.classes[int(ctx.models.get("tiny")([samples[0].image])[0].argmax())].id)
    made = made_by(attack(target=answered, against="prediction"), [samples[0]], ctx)
    assert [(one.reason, one.detail) for one in made if isinstance(one, Failure)] == [
        ("no_target", f"a model has no output for {answered}, or answers it")
    ]
    for target in ("least_likely", "random"):
        (one,) = [it for it in made_by(attack(target=target), samples[:1], ctx) if it.variant == "pgd_8"]
        aimed = one.ops[-1]["requested"]["target"]
        assert aimed in {info.id for info in ctx.classes} - {samples[0].labels[0]}
        if target == "least_likely":
            assert aimed == ctx.classes[int(ctx.models.get("tiny")([samples[0].image])[0].argmin())].id
    with pytest.raises(RecipeError, match="there is no class 'sofa'; there are apple, bread, clock, drum, egg"):
        attack(target="sofa").check(ctx)


def test_several_models_are_fooled_together(ctx, samples):
    both = attack({"kind": "pgd", "epsilon": 48, "steps": 20}, adversaries=("tiny", "other"), against="prediction")
    found = [one for one in made_by(both, samples[:4], ctx) if one.variant == "pgd_48"]
    for one in found:
        pair = [samples[found.index(one)].image, one.image]
        said = [np.log(ctx.models.get(name)(pair)) for name in ("tiny", "other")]
        gaps = np.array([np.delete(after, before.argmax()).max() - after[before.argmax()] for before, after in said])
        clean = np.array([np.sort(before)[-2] - before.max() for before, _ in said])
        assert one.ops[-1]["gates"]["fooled"]["value"] == pytest.approx(gaps.min(), abs=1e-4)
        assert (gaps > clean).all()  # both have come nearer
    assert {one.ops[-1]["achieved"]["gradients"] for one in found} == {40}


def test_grey_and_small_pictures(ctx, samples):
    grey = made_by(attack(PGD, {"kind": "deepfool"}), samples[6:7], ctx)
    assert all((one.image == one.image[..., :1]).all() for one in grey)
    large = made_by(attack(frame=40), samples[:1], ctx)
    assert large[0].ops[-1]["achieved"]["enlarged"] is True
    assert {one.image.shape for one in large if not isinstance(one, Failure)} == {(40, 40, 3)}
    tiny = made_by(attack(), [replace(samples[0], image=samples[0].image[:20, :20])], ctx)
    assert {one.reason for one in tiny} == {"too_small"}


def test_a_model_that_only_answers_takes_an_attack_by_queries(ctx, samples):
    generator = attack({"kind": "square", "epsilon": 16, "steps": 15}, adversaries=("answers",))
    generator.check(ctx)
    *_, found = made_by(generator, samples[:1], ctx)
    assert 1 <= found.ops[-1]["achieved"]["queries"] <= 15
    assert found.ops[-1]["achieved"]["gradients"] == 0
    with pytest.raises(RecipeError, match="'encoder' isn't a classifier"):
        attack({"kind": "square", "epsilon": 16}, adversaries=("encoder",)).check(ctx)
    with pytest.raises(RecipeError, match=r"adversarial_example.adversaries: the model 'answers' gives no gradients"):
        attack(adversaries=("answers",)).check(ctx)


def test_a_network_that_is_asked_answers_on_one_thread(ctx, samples):
    used = set()

    def threads(images):
        used.add(torch.get_num_threads())
        return ctx.models.get("tiny")(images)

    classes = tuple(one.id for one in ctx.classes)
    given = {"threads": from_function(threads, name="threads", classes=classes, revision="1")}
    own = replace(ctx, models=ctx.models.with_models(given))
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        made_by(attack({"kind": "square", "epsilon": 16, "steps": 3}, adversaries=("threads",)), samples[:1], own)
    finally:
        torch.set_num_threads(before)
    assert used == {1}


def test_autoattack_says_what_to_install(ctx):
    if there("pyautoattack"):
        pytest.skip("pyautoattack is here")
    with pytest.raises(RecipeError, match=r"needs the package pyautoattack: pip install 'variorum\[autoattack\]'"):
        attack({"kind": "autoattack", "epsilon": 8}).check(ctx)


def test_autoattack_fools_where_pgd_does_and_keeps_what_withstands(ctx, samples):
    pytest.importorskip("pyautoattack")
    standard = {"kind": "autoattack", "epsilon": 24}
    state = torch.random.get_rng_state()
    generator = attack({**PGD, "epsilon": 24}, standard)
    found = {one.id: one for one in made_by(generator, samples[:4], ctx)}
    assert torch.equal(state, torch.random.get_rng_state())
    gaps = {
        name: [one.ops[-1]["gates"]["fooled"]["value"] > 0 for one in found.values() if one.variant == name]
        for name in ("pgd_24", "autoattack_24")
    }
    assert sum(gaps["autoattack_24"]) >= max(sum(gaps["pgd_24"]), 1)
    made = [one for one in found.values() if one.variant == "autoattack_24"]
    assert len(made) == 4
    assert not any(isinstance(one, Failure) or one.reason for one in made)
    for one in made:
        checks = one.ops[-1]["gates"]
        assert checks["budget"]["value"] <= 24
        assert abs(checks["rounding"]["value"]) < 1e-3
    alone = [one for one in made_by(generator, samples[2:3], ctx) if one.variant == "autoattack_24"]
    assert np.array_equal(alone[0].image, found[alone[0].id].image)


@pytest.mark.slow
def test_autoattack_stores_what_withstands_unchanged_and_leaves_the_network_alone(ctx, samples):
    pytest.importorskip("pyautoattack")
    found = made_by(attack({"kind": "autoattack", "epsilon": 1}), samples[:1], ctx)
    held = [one for one in found if one.variant == "autoattack_1" and one.ops[-1]["gates"]["fooled"]["value"] < 0]
    assert held
    assert all(not one.reason and one.ops[-1]["achieved"]["l0"] == 0 for one in held)
    assert all(one.ops[-1]["achieved"]["gradients"] == 905 for one in held)
    assert not any(one.grad is not None for one in ctx.models.get("tiny").scores.network.parameters())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"attacks": [{"kind": "autoattack", "epsilon": 8, "steps": 3}]}, "has no steps; it has an epsilon only"),
        ({"attacks": [{"kind": "autoattack", "epsilon": 8}], "target": "egg"}, "autoattack aims at no class"),
        ({"attacks": [{"kind": "pgd", "epsilon": 0.5}]}, "must be whole grey levels of 255"),
        ({"attacks": [{"kind": "pgd", "epsilon": 0}]}, "greater than or equal to 1"),
        ({"attacks": [{"kind": "pgd"}]}, "pgd needs an epsilon"),
        ({"attacks": [{"kind": "cw", "epsilon": 8}]}, "cw looks for the smallest change, so it has no epsilon"),
        ({"attacks": [{"kind": "fgsm", "epsilon": 8, "steps": 3}]}, "fgsm has no steps; it has diversity, loss"),
        ({"attacks": [{"kind": "pgd", "epsilon": 8, "steps": 0}]}, "greater than or equal to 1"),
        ({"attacks": [PGD, {**PGD, "loss": "dlr"}]}, "two variants would be called pgd_8; give an attack another name"),
        ({"attacks": [{**PGD, "name": "control"}]}, "two variants would be called control"),
        ({"attacks": [{**PGD, "name": "plate"}]}, "no attack can be called plate"),
        (
            {"attacks": [PGD, {**PGD, "epsilon": 4}, {"kind": "cw", "name": "8"}]},
            "two variants would be called control_8",
        ),
        ({"attacks": []}, "attacks must name one or more"),
        ({"attacks": [{"kind": "deepfool"}], "adversaries": ["tiny", "other"]}, "deepfool attacks one model"),
    ],
)
def test_what_can_not_be_asked_for_is_refused_when_it_is_read(fields, message):
    with pytest.raises(RecipeError) as error:
        build_component("generate", {"name": "adversarial_example", **fields}, "generate")
    assert message in str(error.value)


def test_an_alias_without_gradients_is_refused_before_any_work(photos, tmp_path):
    entry = {"name": "adversarial_example", "adversaries": ["classifier"]}
    source = {"name": "image_folder", "path": str(photos)}
    job = Job(
        Recipe.parse({"dataset": "d", "version": "1.0.0", "source": source, "generate": [entry]}), str(tmp_path / "s")
    )
    with pytest.raises(RecipeError, match="'classifier' isn't an adversary, as it gives no gradients; name one"):
        build(job)


def test_attacked_models_count_as_having_decided():
    assert deciding_models(AdversarialExample(adversaries=("adversary", "tiny"))) == ("adversary", "tiny")


@pytest.mark.slow
def test_attacks_on_photographs_do_what_their_papers_say():
    """16 photographs: PGD fools Lite0, momentum carries over to Lite2, noise of the same size does neither."""
    models = ModelTable("embedded")
    ctx = Context(seed=1, models=models, memo=lambda key, compute: compute(), classes=class_infos())
    kinds = [{"kind": kind, "epsilon": 8} for kind in ("pgd", "mi_fgsm")]
    stored = build_component("source", {"name": "samples", "masks": False}, "source").read(0, 40, ctx)
    photographs = [replace(one, image=decode(one.image)) for one in stored]
    asked = [one for one in photographs if models.get("classifier_gate")([one.image])[0].max() > 0.5][:16]
    found = made_by(AdversarialExample(attacks=kinds), asked, ctx)
    made = {(one.source or one.photograph, one.variant): one for one in found if not isinstance(one, Failure)}
    attacked = [name for name, variant in made if variant == "pgd_8"]
    assert len(attacked) >= 10

    def fooled(alias, variant):
        right, wrong = 0, 0
        for name in attacked:
            before, after = (decode_png(made[name, kind].image) for kind in ("original", variant))
            said = models.get(alias)([before, after])
            label = index_of(made[name, variant].labels[0])
            right += said[0].argmax() == label
            wrong += said[0].argmax() == label != said[1].argmax()
        return wrong / right

    assert fooled("classifier_gate", "pgd_8") >= 0.95
    assert fooled("classifier_gate", "control") <= 0.2
    assert fooled("classifier", "control") <= 0.2
    assert fooled("classifier", "mi_fgsm_8") >= fooled("classifier", "pgd_8") + 0.1
    for name in attacked:
        change = decode_png(made[name, "pgd_8"].image).astype(int) - decode_png(made[name, "original"].image)
        assert np.abs(change).max() == 8
        assert not change[:16].any()  # Lite0 doesn't see the border


def decode_png(image):
    """What a stored picture is read back as."""
    return decode(encode_png(image))
