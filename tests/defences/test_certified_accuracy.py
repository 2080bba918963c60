"""Certificates: the radius, what voids one, what is refused, and that no attack inside of a certified ball wins."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from scipy.special import ndtr, ndtri

from variorum.evaluation.defences.certified_accuracy import NO_CERTIFICATE, CertifiedAccuracy, reach
from variorum.evaluation.defences.radius import largest, lower, radii
from variorum.models import ModelTable
from variorum.models.brought.function import from_function
from variorum.models.gradients import adversary
from variorum.models.loaders.smoothed import filled
from variorum.schemas.component import ClassInfo, Context
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import build_component
from variorum.schemas.sample import CAPTURED, Sample, source_id
from variorum.schemas.table import Table

CLASSES = ("light", "dark")
SMOOTHED = " + smoothed sigma=.1"


def brightness(images):
    """Log odds that grow with a picture's mean, of any size."""
    return np.array([[40 * (one.mean() / 255 - 0.5), 0.0] for one in images])


def colours(images):
    """Whether a picture is redder than it is blue."""
    return np.array([[float(one[..., 0].mean()), float(one[..., 2].mean())] for one in images]) / 8


@pytest.fixture(scope="module")
def ctx():
    given = {
        name: from_function(function, name=name, classes=classes, revision="1")
        for name, function, classes in (
            ("bright", brightness, CLASSES),
            ("again", brightness, CLASSES),
            ("red", colours, CLASSES),
            ("three", lambda images: np.zeros((len(images), 3)), ("a", "b", "c")),
        )
    }
    models = ModelTable("embedded").with_models(given)
    classes = tuple(ClassInfo(one, one) for one in CLASSES)
    return Context(seed=1, models=models, memo=lambda key, compute: compute(), classes=classes)


def picture(level, number=0, label="light", colour=0):
    image = np.full((6, 6, 3), level, np.uint8)
    image[..., 0] += np.uint8(colour)
    labels = (label,) if label else ()
    return Sample(
        source_id("test", str(number)), image, labels, digital_source_type=CAPTURED, photograph=f"photo{number}"
    )


def measured(samples, ctx, *names, **fields):
    evaluation = CertifiedAccuracy(classifiers=names, **{"n0": 50, "n": 200, **fields})
    return evaluation, list(evaluation.measure(samples, ctx))


def table_of(rows):
    return Table(pa.Table.from_pylist(rows), "certified_accuracy")


# ── the radius ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_known_radii():
    assert lower(990, 1000, 0.001) == pytest.approx(0.97604, abs=1e-5)
    assert radii([990, 500, 0], 1000, 0.001, 0.25) == pytest.approx([0.4945, 0, 0], abs=1e-4)
    assert [round(largest(n, 0.001, 1), 3) for n in (500, 1000, 10**4, 10**5)] == [2.205, 2.463, 3.199, 3.811]
    assert radii(range(501), 500, 0.001, 0.25).max() == pytest.approx(0.5513, abs=1e-4)


def test_a_radius_of_halves_keeps_the_sum_of_probabilities_and_that_of_the_released_code_does_not():
    """For a = (2, .1) the radius is 1.4849 σ; √(R₀² + R₁²) claims 2.0025 σ, at which the sum falls to .787."""

    def least_sum(a, far):
        angle = np.linspace(0, np.pi / 2, 10_001)
        return (ndtr(a[0] - far * np.cos(angle)) + ndtr(a[1] - far * np.sin(angle))).min()

    n = 10**6
    votes = np.array([[int(n * ndtr(2.0)), int(n * ndtr(0.1))], [int(n * 0.45), int(n * 0.9)], [int(n * 0.45), 0]])
    found, bounds = radii(votes, n, 0.001, 1.0), ndtri(lower(votes, n, 0.0005))
    assert found[0] == pytest.approx(1.4849, abs=0.01)
    assert found[1] > 0  # one half may be below ½
    assert found[2] == 0
    for radius, a in zip(found[:2], bounds, strict=False):
        assert least_sum(a, radius) == pytest.approx(1, abs=1e-6)
    assert least_sum((2.0, 0.1), np.hypot(2.0, 0.1)) == pytest.approx(0.787, abs=1e-3)


def test_too_few_votes_for_an_error_certify_nothing():
    with pytest.raises(ValueError, match=r"9 votes certify nothing at an error of 0\.001: take more votes"):
        radii([9], 9, 0.001, 0.25)


def test_the_radius_of_a_linear_classifier_is_below_its_distance(ctx):
    """Of a mean brightness the distance to the boundary is exact; α is .1, so that a wrong bound would show."""
    model = ctx.models.get("bright" + SMOOTHED)
    image = picture(132).image
    votes = model.votes([image] * 150, range(150), 100)[:, 0, 0]
    distance = (132 / 255 - 0.5) * 6  # of 36 equal values
    over = (radii(votes, 100, 0.1, 0.1) > distance).sum()
    assert over <= 25
    assert radii(votes, 100, 0.1, 0.1).max() > 0.6 * distance


# ── votes ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_votes_depend_on_the_picture_and_its_seed_alone(ctx):
    model = ctx.models.get("bright" + SMOOTHED)
    images = [picture(level).image for level in (126, 128, 130)]
    together = model.votes(images, [1, 2, 3], 150)
    assert together.shape == (3, 1, 2)
    assert (together.sum(2) == 150).all()
    assert np.array_equal(together[1], model.votes([images[1]], [2], 150)[0])
    said = model(images)
    assert np.array_equal(said[2], model([images[2].copy()])[0])
    assert said.sum(1) == pytest.approx(1)
    assert not np.array_equal(said[0], said[2])


def test_halves_see_nothing_of_each_other(ctx):
    rng = np.random.default_rng(1)
    values, noise = rng.random((2, 7, 5)), rng.random((2, 7, 5))
    other = np.add.outer(np.arange(7), np.arange(5)) % 2 == 1
    assert np.array_equal(filled(values, 0), filled(np.where(other, noise, values), 0))
    flat = np.full((1, 7, 5), 0.3)
    assert filled(flat, 1) == pytest.approx(flat)
    model = ctx.models.get("bright" + SMOOTHED + " half=again")
    assert model.votes([picture(128).image], [1], 100).shape == (1, 2, 2)
    evaluation, rows = measured([picture(200, n) for n in range(2)], ctx, "bright" + SMOOTHED + " half=again")
    told = evaluation.figures(table_of(rows), ctx)["classifiers"]["bright" + SMOOTHED + " half=again"]
    assert ", halves, " in told["told"]
    assert told["acr"]["value"] == pytest.approx(largest(200, 0.001, 0.1, 2), abs=1e-3)


def test_the_gradient_is_that_of_the_mean_probability(ctx):
    import torch

    table = ModelTable("embedded")
    name = table.steering("judge + smoothed sigma=.25 half=judge_gate")
    model = adversary(name, table.get(name))
    grey = torch.rand((2, 1, 28, 28), generator=torch.Generator().manual_seed(1))
    pictures = grey.expand(-1, 3, -1, -1).clone().requires_grad_()
    said = model(pictures)
    assert said.exp().sum(1).tolist() == pytest.approx([1, 1], abs=1e-5)
    assert torch.allclose(said[1], model(pictures[1:])[0], atol=1e-5)
    (slope,) = torch.autograd.grad(said[:, 0].sum(), pictures)
    assert (slope.flatten(1).abs().amax(1) > 0).all()


@pytest.mark.slow
def test_a_denoiser_takes_the_noise_away_at_the_first_step_with_as_much(ctx):
    model = ctx.models.get("judge + smoothed sigma=.25 denoiser=denoiser_small")
    assert "at step 289" in model.preprocessing
    clean = np.zeros((28, 28, 3), np.uint8)
    clean[6:24, 8:20] = 180
    (noisy,) = model._noisy[0].drawn(clean, 1, np.random.default_rng(1))
    (bare,) = ctx.models.get("judge + smoothed sigma=.25")._noisy[0].drawn(clean, 1, np.random.default_rng(1))
    far, before = (np.abs(one.astype(int) - clean).mean() for one in (noisy, bare))
    assert far < 0.6 * before
    with pytest.raises(RecipeError, match="smoothed: the denoiser knows grey pictures"):
        model.votes([np.dstack([clean[..., :2], clean[..., 0] // 2])], [1], 1)


# ── the evaluation ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_figures_say_what_holds_and_under_which_terms(ctx):
    name = "bright" + SMOOTHED
    samples = [picture(200, 0), picture(128, 1), picture(60, 2), picture(60, 3, "dark"), picture(99, 4, "")]
    evaluation, rows = measured(samples, ctx, "bright", name, radii=(0, 0.2, 0.3))
    found = evaluation.figures(table_of(rows), ctx)
    assert found["without"] == ["bright"]
    one = found["classifiers"][name]
    cap = largest(200, 0.001, 0.1)
    assert (one["n"], one["unscored"]) == (4, 1)
    assert [one["certified"][r]["value"] for r in ("0", "0.2", "0.3")] == [50, 50 * (cap > 0.2), 0]
    assert one["abstains"]["value"] == 25
    assert one["acr"]["value"] == pytest.approx(cap / 2, abs=1e-3)
    assert one["told"] == (
        "ℓ2 radius in grey [0, 1] at 6 × 6, σ = 0.1, n = 200, α = 0.001, 4 pictures; none is larger than "
        f"{cap:.3f}; of 3 certificates 0.003 are void on average, at most"
    )


def test_another_error_costs_no_vote(ctx):
    name = "bright" + SMOOTHED
    _, rows = measured([picture(level, level) for level in (126, 140, 170)], ctx, name)
    means = [
        CertifiedAccuracy(classifiers=(name,), n0=50, n=200, alpha=alpha).figures(table_of(rows), ctx)
        for alpha in (0.1, 1e-6)
    ]
    strict = [one["classifiers"][name]["acr"]["value"] for one in means]
    assert strict[0] > strict[1] > 0
    assert {"alpha", "radii"} <= CertifiedAccuracy.late


def test_a_certificate_of_a_coloured_picture_ends_at_the_nearest_grey_one(ctx):
    coloured = picture(150, colour=3)
    distance = reach(coloured.image)
    grey = coloured.image.astype(float).mean(2, keepdims=True)
    assert distance == pytest.approx(np.linalg.norm((coloured.image - grey) / 255))
    name = "bright" + SMOOTHED
    evaluation, rows = measured([coloured], ctx, name)
    one = evaluation.figures(table_of(rows), ctx)["classifiers"][name]
    assert one["acr"]["value"] == pytest.approx(distance, abs=1e-3)
    assert distance < largest(200, 0.001, 0.1)
    assert "in RGB [0, 1]" in one["told"]


def test_rows_of_a_report(ctx):
    name = "bright" + SMOOTHED
    evaluation, rows = measured([picture(200, n) for n in range(3)], ctx, "bright", name)
    bare, smoothed = evaluation.rows(table_of(rows), ctx)
    assert (bare.model, bare.why_not) == ("bright", NO_CERTIFICATE)
    assert smoothed.columns == ("0", "0.25", "0.5", "0.75", "1")
    assert smoothed.axes == {"radius": (0, 0.25, 0.5, 0.75, 1)}
    assert smoothed.top.tolist() == [[1, largest(200, 0.001, 0.1) > 0.25, 0, 0, 0]] * 3
    assert "σ = 0.1, n = 200" in smoothed.note
    (none,) = measured([], ctx, "bright")[0].rows(table_of([]), ctx)
    assert none.why_not == NO_CERTIFICATE


def test_a_mixture_has_a_certificate_only_inside(ctx):
    mixed = "bright + mixed with=again"
    _, rows = measured([picture(200)], ctx, mixed, mixed + SMOOTHED)
    assert [one["classifier"] for one in rows] == [mixed + SMOOTHED]


def test_originals_are_taken_as_many_of_each_class(ctx):
    labels = [0] * 30 + [1] * 8 + [-1] * 5 + [0] * 4
    variants = ["original"] * 43 + ["dark"] * 4
    columns = {"id": [f"{n:04}" for n in range(47)], "variant": variants, "label": labels}
    table = Table(pa.table(columns))
    taken = CertifiedAccuracy(most=16).chosen(table, ctx)
    assert np.bincount(np.array(labels)[taken]).tolist() == [8, 8]
    assert not taken[43:].any()
    assert not np.array_equal(taken, CertifiedAccuracy(most=16).chosen(table, replace(ctx, seed=2)))
    assert CertifiedAccuracy(most=40).chosen(table, ctx).sum() == 40
    assert CertifiedAccuracy().chosen(Table(pa.table({**columns, "variant": ["dark"] * 47})), ctx).all()


# ── bad input ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_fewer_counted_votes_than_first_ones_are_refused():
    with pytest.raises(RecipeError, match="n=100 is smaller than n0=200"):
        build_component("evaluate", {"name": "certified_accuracy", "n0": 200, "n": 100}, "evaluate")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("sigma=1 denoiser=denoiser", "'denoiser' was trained for noise up to sigma="),
        ("sigma=.25 denoiser=again", "'again' takes no noise from pixels in one step"),
        ("half=three", "'three' has other classes than 'bright'"),
        ("half=again denoiser=denoiser", "a denoiser sees whole pictures"),
        ("sigma=3", "sigma"),
    ],
)
def test_what_cannot_work_is_refused_before_any_vote(ctx, words, message):
    with pytest.raises(RecipeError, match=message):
        ctx.models.get(f"bright + smoothed {words}")


def test_the_denoiser_may_not_have_made_the_picture(ctx):
    name = "judge + smoothed sigma=.1 denoiser=denoiser"
    op = {"name": "made", "requested": {}, "achieved": {}, "models": {"x": ctx.models.pin("denoiser")}}
    sample = replace(picture(9), ops=(op,))
    with pytest.raises(RecipeError, match="'denoiser' made picture"):
        measured([sample], replace(ctx, classes=()), name)


# ── attacks ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
def test_no_attack_inside_of_a_certified_ball_wins():
    """A thousand tries of PGD in ℓ2 on the mean probability, each judged as a stored picture by 300 fresh votes."""
    import torch
    from torch.nn import functional

    from variorum.sources.fashion_mnist import FashionMnist

    models = ModelTable("embedded")
    name = "judge + smoothed sigma=.25"
    model, steering = models.get(name), adversary(name, models.get(models.steering(name)))
    ctx = Context(seed=1, models=models, memo=lambda key, compute: compute())
    try:
        samples = list(FashionMnist(part="test").read(0, 100, ctx))
    except Exception as error:
        pytest.skip(f"needs Debian's package dataset-fashion-mnist: {error}")
    balls = []
    for place, sample in enumerate(samples):
        choice = int(model.votes([sample.image], [place], 100)[0, 0].argmax())
        far = radii(model.votes([sample.image], [1000 + place], 1000)[0, :, choice], 1000, 0.001, 0.25)[0]
        balls += [(sample.image, choice, far)] if far > 0.05 else []  # rounding alone moves a picture by .03
    tried = [balls[place % len(balls)] for place in range(1000)]
    fooled, moved = 0, []
    for start in range(0, len(tried), 50):
        part = tried[start : start + 50]
        clean = torch.from_numpy(np.stack([image[..., 0] for image, _, _ in part]))[:, None].float() / 255
        labels = torch.tensor([choice for _, choice, _ in part])
        radius = torch.tensor([far for _, _, far in part]).float().view(-1, 1, 1, 1)

        def unit(change):
            return change / change.flatten(1).norm(dim=1).view(-1, 1, 1, 1).clamp_min(1e-12)

        def inside(change, clean=clean, radius=radius):
            change = (clean + change).clamp(0, 1) - clean
            return torch.minimum(change.flatten(1).norm(dim=1).view(-1, 1, 1, 1), radius) * unit(change)

        change = inside(radius * unit(torch.randn(clean.shape, generator=torch.Generator().manual_seed(start))))
        for _ in range(10):
            change.requires_grad_()
            loss = functional.nll_loss(steering((clean + change).expand(-1, 3, -1, -1)), labels, reduction="sum")
            change = inside((change + radius / 3 * unit(torch.autograd.grad(loss, change)[0])).detach())
        for place, (image, choice, far) in enumerate(part):
            for scale in np.arange(1, 0.2, -0.02):  # rounding may lead outside
                levels = ((clean[place, 0] + scale * change[place, 0]) * 255).round().numpy().astype(np.uint8)
                norm = np.linalg.norm((levels.astype(float) - image[..., 0]) / 255)
                if norm < far:
                    break
            assert norm < far
            moved.append(norm / far)
            votes = model.votes([np.repeat(levels[..., None], 3, 2)], [10_000 + start + place], 300)[0, 0]
            fooled += int(votes.argmax()) != choice
    assert fooled == 0
    assert np.median(moved) > 0.9
