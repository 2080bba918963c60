"""Attacked pictures beside noise: what is measured, who is fitted on whom, and what comes of it on Fashion-MNIST."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from variorum.curation.adversarial.adversarial_detection import AdversarialDetection, cross_fitted, triplets
from variorum.generators.adversarial.adversarial_example import AdversarialExample
from variorum.kit.resampling.separation import Separation
from variorum.models import ModelTable
from variorum.schemas.component import Context
from variorum.schemas.errors import RecipeError
from variorum.schemas.sample import Failure
from variorum.schemas.table import Table
from variorum.sources.fashion_mnist import FashionMnist

BLOCKS = ("1", "4", "8", "12")
REFERENCE = {"name": "fashion_mnist", "part": "train", "per_class": 300}


def detector(**fields):
    return AdversarialDetection(**{"reference": REFERENCE, "layers": BLOCKS, "bootstrap": 100, **fields})


def auroc(score, rows):
    of = np.arange(len(rows))
    return Separation(score[rows[:, 2]], score[rows[:, :2]].T.ravel(), of, np.tile(of, 2)).auroc()


# ── who is compared with whom ────────────────────────────────────────────────────────────────────────────────────────


def listed(rows):
    columns = dict(zip(("photograph", "variant", "like", "right"), zip(*rows, strict=True), strict=True))
    return Table(pa.table({name: list(values) for name, values in columns.items()}), "adversarial_detection")


def test_a_triplet_needs_an_attack_that_fools_and_noise_that_does_not():
    found = triplets(
        listed(
            [
                ("b", "original", "", True), ("b", "pgd_8", "", False), ("b", "control_pgd_8", "pgd_8", True),
                ("a", "original", "", True), ("a", "control_pgd_8", "pgd_8", True), ("a", "pgd_8", "", False),
                ("c", "original", "", True), ("c", "control_pgd_8", "pgd_8", True), ("c", "pgd_8", "", True),
                ("d", "original", "", True), ("d", "control_pgd_8", "pgd_8", False), ("d", "pgd_8", "", False),
                ("e", "original", "", False), ("e", "control_pgd_8", "pgd_8", True), ("e", "pgd_8", "", False),
                ("f", "original", "", True), ("f", "pgd_8", "", False), ("f", "control", "", True),
            ]
        )
    )  # fmt: skip
    assert {attack: rows.tolist() for attack, rows in found.items()} == {"pgd_8": [[3, 4, 5], [0, 2, 1]]}


def test_no_photograph_is_judged_by_what_was_fitted_on_it():
    """Another attacked picture of a photograph moves the scores of other photographs, and none of its own."""
    layers = np.random.default_rng(0).normal(0, 1, (180, 4))
    rows = np.arange(180).reshape(3, 60).T
    folds = np.tile(np.arange(60) % 5, 3)
    before = cross_fitted(layers, rows, folds)
    layers[120] += 9  # the attacked picture of the first photograph
    after = cross_fitted(layers, rows, folds)
    own = (folds == folds[0]) & (np.arange(180) != 120)
    np.testing.assert_array_equal(after[own], before[own])
    assert (after[folds != folds[0]] != before[folds != folds[0]]).all()


def test_shuffled_labels_tell_nothing():
    rng = np.random.default_rng(1)
    layers = rng.normal(0, 1, (1500, 4))
    layers[1000:] += 1
    rows = np.arange(1500).reshape(3, 500).T
    folds = np.tile(np.arange(500) % 5, 3)
    assert auroc(cross_fitted(layers, rows, folds), rows) > 0.9
    shuffled = rng.permuted(rows, axis=1)
    assert auroc(cross_fitted(layers, shuffled, folds), shuffled) == pytest.approx(0.5, abs=0.05)


# ── what is measured ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def clothes():
    """Pictures of Fashion-MNIST's test part, class by class in turn, and their context."""
    source = FashionMnist(part="test", per_class=60)
    ctx = Context(seed=1807, models=ModelTable("embedded"), memo=lambda key, compute: compute())
    try:
        ctx = replace(ctx, classes=source.classes(ctx))
        return list(source.read(0, 600, ctx)), ctx
    except Exception as error:
        pytest.skip(f"needs Debian's package dataset-fashion-mnist: {error}")


def attacked(samples, ctx, *attacks):
    made = AdversarialExample(attacks=attacks, adversaries=("judge_adversary",), frame=28, control="l2", batch=10)
    return [one for one in made.generate(samples, ctx) if not isinstance(one, Failure)]


def test_noise_has_the_norm_of_the_attack_that_it_stands_beside(clothes):
    samples, ctx = clothes
    made = {one.variant: one for one in attacked(samples[:1], ctx, {"kind": "pgd", "epsilon": 16, "steps": 3})}
    assert list(made) == ["original", "pgd_16", "control_pgd_16"]
    norms = [made[name].ops[-1]["achieved"]["l2"] for name in ("pgd_16", "control_pgd_16")]
    assert norms[1] == pytest.approx(norms[0], rel=0.01)
    assert made["control_pgd_16"].ops[-1]["requested"]["like"] == "pgd_16"


def test_a_row_depends_on_no_other_picture(clothes):
    samples, ctx = clothes
    larger = replace(samples[2], image=np.kron(samples[2].image, np.ones((2, 2, 1), np.uint8)))
    some = [*samples[:2], larger, *samples[3:6]]
    whole = list(detector().measure(some, ctx))
    parts = [row for start in (0, 1, 4) for row in detector().measure(some[start : {0: 1, 1: 4, 4: 6}[start]], ctx)]
    for a, b in zip(whole, parts, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])
    assert [len(whole[0][f"features_{number}"]) for number in range(4)] == [32, 64, 128, 128]
    assert {row["truth"] for row in whole} == {[one.id for one in ctx.classes].index(one.labels[0]) for one in some}


def test_a_layer_that_is_not_there_is_named(clothes):
    samples, ctx = clothes
    with pytest.raises(RecipeError, match="no layer with weights is named 'conv9'"):
        list(detector(layers=("conv9",)).measure(samples[:1], ctx))


def scored(samples, ctx, reference, made):
    """The detector's table with its scores, as a curation makes it."""

    def table(rows, of):
        columns = {name: [row[name] for row in rows] for name in rows[0]}
        arrays = {
            name: pa.FixedSizeListArray.from_arrays(pa.array(np.concatenate(values)), len(values[0]))
            if isinstance(values[0], np.ndarray)
            else pa.array(values)
            for name, values in columns.items()
        }
        index = {one.id: place for place, one in enumerate(ctx.classes)}
        arrays |= {
            "id": pa.array([one.id for one in of]),
            "variant": pa.array([one.variant for one in of]),
            "photograph": pa.array([one.parent or one.id for one in of]),
            "source": pa.array([one.parent or one.id for one in of]),
            "label": pa.array([index[one.labels[0]] for one in of]),
        }
        return pa.table(arrays)

    own = detector()
    real = table(list(own.measure(reference, ctx)), reference)
    arrow = table(list(own.measure(made, ctx)), made)
    references = {"reference": Table(real, "adversarial_detection")}
    given = own.score(Table(arrow, "adversarial_detection", references), ctx)
    for name, values in given.items():
        arrow = arrow.append_column(name, pa.array(values))
    return Table(arrow, "adversarial_detection", references), own


def test_too_few_photographs_to_fit_on_are_an_error_that_says_what_there_is(clothes):
    samples, ctx = clothes
    made = attacked(samples[:3], ctx, {"kind": "pgd", "epsilon": 32, "steps": 3})
    with pytest.raises(RecipeError, match=r"'fgsm_8' needs 10 photographs .* there are: pgd_32 \(\d\)"):
        scored(samples, ctx, samples[:40], made)


@pytest.mark.slow
def test_the_judge_s_layers_tell_attacks_as_little_as_was_measured(clothes):
    """600 photographs: values above would say that noise or a leak is detected, below that nothing is."""
    samples, ctx = clothes
    reference = list(FashionMnist(part="train", per_class=300).read(0, 3000, ctx))
    made = attacked(samples, ctx, {"kind": "fgsm", "epsilon": 8}, {"kind": "pgd", "epsilon": 16})
    table, own = scored(samples, ctx, reference, made)
    found = own.figures(table, ctx)["attacks"]
    assert 0.75 <= found["pgd_16"]["known"]["auroc"]["value"] <= 0.95
    assert 0.5 <= found["fgsm_8"]["known"]["auroc"]["value"] <= 0.75
    for one in found.values():
        assert one["known"]["auroc"]["value"] >= one["unknown"]["auroc"]["value"] - 0.05
    layers = np.stack([table[f"layer_{number}"] for number in range(4)], 1)
    rows = np.random.default_rng(0).permuted(triplets(table)["pgd_16"], axis=1)
    assert auroc(cross_fitted(layers, rows, own._folds(table, ctx)), rows) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(("photographs", "told"), [(18, False), (19, True)])
def test_a_share_missed_of_too_few_photographs_is_not_given(photographs, told):
    """Of 18 attacked pictures not one may be missed where 5 % may be, and then a share says nothing."""
    rows = np.arange(3 * photographs).reshape(3, photographs).T
    score = np.repeat([0.0, 0.0, 1.0], photographs)
    found = detector()._told(score, rows, np.tile(np.arange(photographs), 3), Context(seed=1, models=None, memo=None))
    assert found["auroc"]["value"] == 1
    assert (found["tnr"] is not None) is told
