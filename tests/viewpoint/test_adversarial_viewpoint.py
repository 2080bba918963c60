"""The search finds where a classifier fails, beside a control that follows nothing."""

import hashlib
import io
from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from tests.viewpoint.conftest import BALL
from variorum.generators.viewpoint.adversarial_viewpoint import AdversarialViewpoint, Subject, read_surfels
from variorum.kit.attacks.opponents import Opponent
from variorum.kit.surfels import MEMBER, View, render
from variorum.models import ModelTable
from variorum.schemas.component import Context
from variorum.schemas.sample import Failure, Sample
from variorum.sources.objects_3d import DEBIAN, Objects3d

SMALL = AdversarialViewpoint(classifier="colour", frame=64, views=8, iterations=6)


@pytest.fixture
def samples(source, ctx):
    return list(source.read(0, 2, ctx))


def rows(generator, samples, ctx):
    found = list(generator.generate(samples, ctx))
    return [one for one in found if isinstance(one, Sample)], [one for one in found if isinstance(one, Failure)]


def right(made, variant):
    """Share of the views of a variant that the attacked model is right about."""
    mine = [one for one in made if one.variant == variant and not one.reason]
    return np.mean([one.ops[-1]["achieved"]["top1"] in one.labels for one in mine])


def digest(made):
    return hashlib.sha256(b"".join(np.asarray(one.image).tobytes() + one.id.encode() for one in made)).hexdigest()


def test_adversarial_views_are_worse_than_random_ones_and_these_than_natural_ones(samples, ctx):
    made, failed = rows(SMALL, samples[:1], ctx)
    assert not failed
    assert [one.variant for one in made] == ["natural"] * 8 + ["random"] * 8 + ["adversarial"] * 8
    assert right(made, "adversarial") < right(made, "random") <= right(made, "natural")
    for one in made:
        op = one.ops[-1]
        assert op["models"] == {"colour": ctx.models.pin("colour")}
        assert set(op["gates"]) == {"object_share", "cut_off", "holes"}
        assert one.image.shape == (64, 64, 3)
        assert one.reason in ("", *op["gates"])
        said = ctx.models.get("colour")([one.image])[0]
        view = View(*(op["achieved"][name] for name in View._fields))
        assert (render(read_surfels(samples[0]), view, 64).image == one.image).all()  # the record gives it in full
        assert op["achieved"]["p_label"] == pytest.approx(said[0], abs=1e-6)  # of the stored picture
    search = made[-1].ops[-1]["achieved"]["search"]
    assert np.shape(search["means"]) == np.shape(search["sigmas"]) == (3, 6)
    assert sum(search["weights"]) == pytest.approx(1)
    assert len(search["losses"]) == 6
    assert search["queries"] == (6 + 3) * 16  # three mixtures are drawn from anew


def test_three_components_cover_two_modes(samples, ctx):
    """The blue sides are at yaws of 90 and -90 degrees."""
    level = SMALL.model_copy(update={"lowest": 0})
    made, _ = rows(level, samples[:1], ctx)
    views = [one.ops[-1]["achieved"] for one in made if one.variant == "adversarial"]
    yaws = np.array([one["yaw"] for one in views if one["p_label"] < 0.5])
    assert (np.abs(yaws - 90) < 50).any()
    assert (np.abs(yaws + 90) < 50).any()
    means = 180 * np.tanh(np.array(views[0]["search"]["means"])[:, 0])
    apart = np.abs(np.subtract.outer(means, means))
    assert np.minimum(apart, 360 - apart).max() > 30


def test_the_same_bytes_again_whatever_comes_before(samples, ctx):
    short = SMALL.model_copy(update={"views": 4, "iterations": 2})
    alone = rows(short, samples[:1], ctx)[0]
    after = rows(short, samples[::-1], ctx)[0][-len(alone) :]
    assert digest(alone) == digest(after)
    other = rows(short, samples[:1], replace(ctx, seed=4))[0]
    assert digest(alone[:4]) == digest(other[:4])
    assert digest(alone[4:]) != digest(other[4:])


def test_an_object_that_is_never_recognised_is_not_searched(samples, ctx):
    odd = replace(samples[0], labels=(BALL,))
    made, failed = rows(SMALL.model_copy(update={"views": 2}), [odd], ctx)
    assert {one.variant for one in made} == {"natural", "random"}
    assert [(one.variant, one.reason) for one in failed] == [("adversarial", "never_recognised")]


def test_views_that_cut_the_object_off_or_show_holes_fail_their_gate(samples, ctx):
    model = Opponent(None, ctx.models.get("colour"))
    subject = Subject(read_surfels(samples[0]), 64, model, np.array([True, False, False]), SMALL._box())
    far, near = subject.judged([View(0, 20), View(0, 20, distance=1.8)])
    assert far.counts
    assert not near.checks["cut_off"]["passed"]
    member = io.BytesIO()
    np.save(member, read_surfels(samples[0])[::50])
    few = replace(samples[0], extras={MEMBER: member.getvalue()})
    sparse, failed = rows(SMALL.model_copy(update={"views": 1, "iterations": 1}), [few], ctx)
    assert [one.reason for one in sparse] == ["holes"] * 2
    assert [one.reason for one in failed] == ["no_view"]


def test_samples_without_points_or_with_another_class_are_rows(samples, ctx):
    bare = replace(samples[0], extras={})
    data = samples[0].extras[MEMBER]
    wrong = (
        data[:-5],
        b"PK\x03\x04",
        b"\x93NUMPY\x01\x00\x10\x00{'descr': 'zz9',}",
        data.replace(b"(40000,)", b"(4e99,) "),
    )
    damaged = [replace(samples[0], extras={MEMBER: one}) for one in wrong]
    unknown = replace(samples[0], labels=("n02123045",))
    odd = [(unknown, "no_such_class"), *((one, "no_surfels") for one in (bare, *damaged))]
    for sample, reason in odd:
        made, failed = rows(SMALL, [sample], ctx)
        assert not made
        assert [one.reason for one in failed] == [reason] * 3
        assert len({one.id for one in failed}) == 3


@pytest.mark.parametrize(
    ("fields", "said"),
    [({"population": 9}, "multiple of 2"), ({"lowest": 70}, "equal to 60"), ({"components": 0}, "equal to 1")],
)  # fmt: skip
def test_wrong_fields_are_refused(fields, said):
    with pytest.raises(ValidationError, match=said):
        AdversarialViewpoint(**fields)


@pytest.mark.slow
@pytest.mark.skipif(not DEBIAN.is_dir(), reason="Debian's package sweethome3d-furniture isn't installed")
def test_on_real_objects_the_attacked_network_does_worst_on_adversarial_views():
    models = ModelTable("embedded")
    source = Objects3d()
    ctx = Context(seed=3, models=models, memo=lambda key, compute: compute(), source=source)
    keys = ("forkLift", "umbrella", "teddyBear", "coffee-mug", "scooter2", "barrel")
    origins = [one.origin for one in source.outline(0, 99, ctx)]
    places = [place for place, origin in enumerate(origins) if any(f"/{key}.obj" in origin for key in keys)]
    found = {name: [] for name in ("natural", "random", "adversarial")}
    for place in places:
        made, failed = rows(AdversarialViewpoint(), list(source.read(place, place + 1, ctx)), ctx)
        if not failed:
            for name, values in found.items():
                values.append(right(made, name))
    assert len(found["natural"]) >= 4
    assert np.mean(found["adversarial"]) < np.mean(found["random"]) <= np.mean(found["natural"])
