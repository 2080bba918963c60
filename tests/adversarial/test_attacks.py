"""The kit of attacks: losses by their definitions, budgets, changes that survive rounding, and independent pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from variorum.generators.adversarial.perturbations import Perturbation, perturbed
from variorum.kit.attacks import ascent, budget
from variorum.kit.attacks.losses import Victim, loss, margin
from variorum.kit.attacks.minimal import carlini_wagner
from variorum.kit.attacks.opponents import Aim, Opponent
from variorum.models import ModelTable
from variorum.models.gradients import adversary
from variorum.schemas.component import Context
from variorum.sources.fashion_mnist import DEBIAN, FashionMnist

PICTURES = arrays(np.uint8, (5, 6, 3))


def opponent(models, name="tiny"):
    network = adversary(name, models.get(name))
    return Opponent(network, network.answers)


def aims_of(one, images):
    return [Aim(row == row.max()) for row in one.answers(images)]


@given(PICTURES, st.integers(1, 40_000), st.integers(0, 99))
def test_specks_have_the_wanted_sum_of_squares_where_they_may_be(image, squares, seed):
    where = np.ones((5, 6), bool)
    where[0] = False
    made = budget.random_specks(image, squares, np.random.default_rng(seed), where)
    values = 3 * int(where.sum())
    found, base = budget.norms(image, made), int((squares / values) ** 0.5)
    assert 0 <= squares - found.squares < 3 * (2 * base + 3)
    assert np.array_equal(made[0], image[0])
    if squares <= values and not budget.is_grey(image):
        assert found.squares == squares == found.l0


def test_a_grey_picture_stays_grey_under_noise():
    image = np.repeat(np.random.default_rng(0).integers(0, 256, (9, 9, 1)).astype(np.uint8), 3, 2)
    where = np.ones((9, 9), bool)
    assert budget.is_grey(budget.random_signs(image, 5, np.random.default_rng(1), where))
    assert budget.is_grey(budget.random_specks(image, 60, np.random.default_rng(1), where))


def test_losses_are_those_of_their_papers():
    logits = torch.tensor([[3.0, 1.0, 0.5, -1.0, 0.0]])
    said = logits.log_softmax(1)
    right, aimed = (torch.tensor([[place == one for place in range(5)]]) for one in (0, 2))
    assert loss("margin", said, right).item() == pytest.approx(1.0 - 3.0)
    assert loss("ce", said, right).item() == pytest.approx(-said[0, 0].item())
    assert loss("ce", said, right, aimed).item() == pytest.approx(said[0, 2].item())
    assert loss("dlr", said, right).item() == pytest.approx((1 - 3) / (3 - 0.5))
    assert loss("dlr", said, right, aimed).item() == pytest.approx((0.5 - 3) / (3 - (0.5 + 0.0) / 2))
    assert margin(said, right, aimed).item() == pytest.approx(0.5 - 3)
    both = right | aimed  # of two labels either is right
    assert margin(said, both).item() == pytest.approx(1.0 - 3.0)
    scaled = (logits * 7).log_softmax(1)
    assert loss("dlr", scaled, right).item() == pytest.approx(loss("dlr", said, right).item())


def test_fgsm_is_one_step_of_the_whole_budget_along_the_sign(models, samples):
    image, one = samples[0].image, opponent(models)
    (aim,) = aims_of(one, [image])
    (found,) = perturbed(Perturbation(kind="fgsm", epsilon=6), [image], [one], [[aim]], [0], 1)
    x = torch.from_numpy(image.transpose(2, 0, 1)[None].copy()).float().requires_grad_()
    label = int(aim.away.argmax())
    (slope,) = torch.autograd.grad(-one.network(x / 255)[0, label], x)
    by_hand = np.clip(image + 6.0 * slope[0].sign().numpy().transpose(1, 2, 0), 0, 255)
    assert np.array_equal(found.image, by_hand.astype(np.uint8))
    assert found.gradients == 1


@pytest.mark.parametrize(
    "settings",
    [
        {"kind": "pgd", "epsilon": 8, "restarts": 2, "loss": "dlr"},
        {"kind": "mi_fgsm", "epsilon": 8, "diversity": 0.7},
        {"kind": "cw", "steps": 20, "searches": 2},
        {"kind": "deepfool"},
        {"kind": "square", "epsilon": 8, "steps": 30},
    ],
    ids=lambda one: one["kind"],
)
def test_a_picture_is_attacked_alike_in_any_company(settings, models, samples):
    attack, one = Perturbation(**settings), opponent(models)
    images = [sample.image for sample in samples[:4]] + [samples[6].image]
    seeds, aims = list(range(5)), aims_of(one, images)
    together = perturbed(attack, images, [one], [aims], seeds, 5)
    for number in (0, 4):
        (alone,) = perturbed(attack, images[number : number + 1], [one], [aims[number : number + 1]], [number], 5)
        assert np.array_equal(alone.image, together[number].image)
        assert alone[1:] == together[number][1:]  # what it cost too
    turned = perturbed(attack, images[::-1], [one], [aims[::-1]], seeds[::-1], 5)
    assert all(np.array_equal(a.image, b.image) for a, b in zip(together, turned[::-1], strict=True))
    assert budget.is_grey(together[4].image)
    if attack.epsilon:
        assert max(budget.norms(a, b.image).linf for a, b in zip(images, together, strict=True)) == 8


def test_a_neighbour_without_a_gradient_changes_nothing(models, samples):
    one = opponent(models, "bright")
    dark = samples[0].image
    images = [dark, np.minimum(dark.astype(int) + 110, 255).astype(np.uint8)]
    attack = Perturbation(kind="mi_fgsm", epsilon=8, diversity=0.7)
    aims = aims_of(one, images)
    dark_one, bright = perturbed(attack, images, [one], [aims], [1, 2], 2)
    assert (dark_one.gradients, bright.gradients > 10) == (10, True)
    (alone,) = perturbed(attack, images[:1], [one], [aims[:1]], [1], 2)
    assert np.array_equal(alone.image, dark_one.image)


def test_pgd_fools_more_than_noise_and_no_less_with_restarts(models, samples):
    one, images = opponent(models), [sample.image for sample in samples[:7]]
    aims = aims_of(one, images)

    def fooled(**settings):
        attack = Perturbation(kind="pgd", epsilon=8, **settings)
        made = perturbed(attack, images, [one], [aims], list(range(7)), 7)
        gaps = [aim.margin(said) for aim, said in zip(aims, one.answers([it.image for it in made]), strict=True)]
        assert [it.margin > 0 for it in made] == [gap > 0 for gap in gaps]
        assert all((it.first >= 0) == (it.margin > 0) for it in made)
        return np.array(gaps)

    where = np.ones((28, 28), bool)
    noisy = [budget.random_signs(image, 8, np.random.default_rng(n), where) for n, image in enumerate(images)]
    control = [aim.margin(said) for aim, said in zip(aims, one.answers(noisy), strict=True)]
    once = fooled()
    assert (once > np.array(control) + 0.1).all()
    assert (fooled(restarts=3) >= once - 0.05).all()


def test_a_change_that_counts_survives_rounding(models, samples):
    one, images = opponent(models), [sample.image for sample in samples[:6]]
    aims = aims_of(one, images)
    pictures = torch.from_numpy(np.stack(images).transpose(0, 3, 1, 2).astype(np.float32))
    victims = [Victim(one.network, torch.from_numpy(np.stack([aim.away for aim in aims])))]
    none = torch.zeros(6, dtype=torch.bool)
    found = carlini_wagner(pictures, victims, none, steps=60, searches=4, confidence=0.0)
    stored = [made.astype(np.uint8) for made in found.pictures.numpy().transpose(0, 2, 3, 1)]
    wrong = np.array([aim.margin(said) > 0 for aim, said in zip(aims, one.answers(stored), strict=True)])
    assert found.fooled.any()
    assert np.array_equal(found.fooled.numpy(), wrong)


def test_minimal_attacks_need_less_than_a_budget(models, samples):
    one, images = opponent(models), [sample.image for sample in samples[:5]]
    aims = aims_of(one, images)

    def l2(**settings):
        made = perturbed(Perturbation(**settings), images, [one], [aims], list(range(5)), 5)
        fooled = [aim.margin(said) > 0 for aim, said in zip(aims, one.answers([it.image for it in made]), strict=True)]
        return [budget.norms(a, b.image).l2 if ok else np.inf for a, b, ok in zip(images, made, fooled, strict=True)]

    large, small = l2(kind="pgd", epsilon=64), l2(kind="cw", steps=80, searches=6)
    deep = l2(kind="deepfool")
    assert np.isfinite(small).all()
    assert np.isfinite(deep).all()
    assert np.median(small) < np.median(large) / 2
    assert np.median(deep) < np.median(large) / 2


def test_a_random_start_leaves_alone_what_no_network_sees():
    seen = torch.zeros(8, 8, dtype=torch.bool)
    seen[2:6, 2:6] = True
    pictures = torch.full((1, 3, 8, 8), 100.0)
    grey = torch.tensor([False])
    moved = ascent.random_start(pictures, 8, [torch.Generator().manual_seed(0)], seen, grey) - pictures
    assert (moved[..., ~seen] == 0).all()
    assert (moved[..., seen] != 0).all()
    assert moved.abs().max() <= 8


def test_two_networks_count_alike_whatever_their_scale(models, samples):
    first, second = opponent(models), opponent(models, "other")
    images = [samples[0].image]
    state = torch.from_numpy(images[0].transpose(2, 0, 1)[None].astype(np.float32))
    grey = torch.tensor([False])

    def victim(one):
        return Victim(one.network, torch.from_numpy(np.stack([aim.away for aim in aims_of(one, images)])))

    alone = [ascent.Slope([victim(one)], "margin", grey)(state) for one in (first, second)]
    both = ascent.Slope([victim(first), victim(second)], "margin", grey)(state)
    torch.testing.assert_close(both, sum(ascent.unit(one) for one in alone))


@pytest.mark.slow
def test_without_looking_at_rounded_pictures_many_changes_are_lost():
    """40 pictures of Fashion-MNIST and the packaged judge: κ 0 fools before rounding, and hardly after it."""
    ctx = Context(seed=1, models=ModelTable("embedded"), memo=lambda key, compute: compute())
    if not DEBIAN.exists():
        pytest.skip("Fashion-MNIST isn't here: make fashion")
    network = ctx.models.get("judge_adversary")
    there = list(FashionMnist(part="test").read(0, 60, ctx))
    said = network.answers([one.image for one in there]).argmax(1)
    labels = np.array([network.classes.index(one.labels[0]) for one in there])
    right = np.flatnonzero(said == labels)[:40]
    images, labels = [there[n].image for n in right], labels[right]
    pictures = torch.from_numpy(np.stack(images).transpose(0, 3, 1, 2).astype(np.float32))
    victims = [Victim(network, torch.nn.functional.one_hot(torch.from_numpy(labels), 10).bool())]

    def lost(rounded):
        grey = torch.ones(40, dtype=torch.bool)
        found = carlini_wagner(pictures, victims, grey, steps=50, searches=4, confidence=0.0, rounded=rounded)
        stored = found.pictures.round().clamp(0, 255).numpy().transpose(0, 2, 3, 1).astype(np.uint8)
        fooled = float(found.fooled.float().mean())
        assert fooled > 0.5
        return fooled - float((network.answers(list(stored)).argmax(1) != labels).mean())

    assert lost(False) >= 0.2
    assert lost(True) == 0
