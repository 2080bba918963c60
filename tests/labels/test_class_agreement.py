"""A classifier's predictions and the labels: by hand, the packaged judge on generated pictures, CLIP."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from embedded_edition import scored
from pydantic import ValidationError
from tiny_pipelines import models_table

from variorum.curation.labels.class_agreement import ClassAgreement, class_probabilities, probability_and_rank
from variorum.generators.imagenet_g.class_conditional import ClassConditional
from variorum.machine.memo import DiskMemo
from variorum.models import ModelTable
from variorum.models.imagenet_classes import class_infos
from variorum.schemas.component import ClassInfo, Context
from variorum.schemas.errors import RecipeError
from variorum.schemas.sample import Sample
from variorum.schemas.table import Table
from variorum.sources.class_names import ClassNames


@pytest.fixture(scope="module")
def ctx(tmp_path_factory):
    source = ClassNames(table="fashion_mnist", per_class=2)
    return Context(7, ModelTable("embedded"), DiskMemo(tmp_path_factory.mktemp("memo")), source, source.classes(None))


@pytest.fixture(scope="module")
def pictures(ctx):
    """Twenty generated pictures, two of each class."""
    samples = ctx.source.read(0, 20, ctx)
    return list(ClassConditional(guidance=(3.0,), steps=6).generate(samples, ctx))


def table_of(step, samples, ctx):
    rows = list(step.measure(samples, ctx))
    columns = {f"class_agreement.{name}": [row[name] for row in rows] for name in ("p", "rank", "proposed")}
    classes = [info.id for info in ctx.source.classes(ctx)]
    table = pa.table(
        {
            "id": [s.id for s in samples],
            "variant": [s.variant for s in samples],
            "labels": [list(s.labels) for s in samples],
            "label": [classes.index(s.labels[0]) if s.labels else -1 for s in samples],
            **columns,
        }
    )
    return scored(step, table, ctx)


def test_probability_and_rank_by_hand():
    p, rank = probability_and_rank(np.array([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2], [0.4, 0.4, 0.2]]), np.array([2, -1, 1]))
    assert p[[0, 2]].tolist() == [0.2, 0.4]
    assert np.isnan(p[1])
    assert rank.tolist() == [3, 0, 1]


def test_right_labels_pass_and_wrong_ones_are_flagged(pictures, ctx):
    classes = [info.id for info in ctx.source.classes(ctx)]
    right = table_of(ClassAgreement(), pictures, ctx)
    assert right["flag"].mean() < 0.2
    wrong = [
        Sample(s.id, s.image, (classes[(classes.index(s.labels[0]) + 1) % 10],), variant=s.variant) for s in pictures
    ]
    found = table_of(ClassAgreement(), wrong, ctx)
    assert found["flag"].mean() > 0.7
    truth = np.array([classes.index(s.labels[0]) for s in pictures])
    assert (found["proposed"] == truth).mean() >= 0.8
    figures = ClassAgreement().figures(found, ctx)
    assert figures["judged"] == 20
    assert figures["agrees"]["guidance_3"] < 0.2
    loose = ClassAgreement(top=10)
    assert not table_of(loose, wrong, ctx)["flag"].any()


def asked(p, real):
    """Flags of pictures whose label comes second with these probabilities, beside real ones with those of `real`."""
    columns = {"class_agreement.p": p, "class_agreement.rank": [2] * len(p)}
    seen = pa.table({"class_agreement.p": real, "class_agreement.rank": [1] * len(real)})
    table = Table(pa.table(columns), "class_agreement", {"real": Table(seen, "class_agreement")})
    step = ClassAgreement(real={"name": "fashion_mnist", "part": "test"})
    return step.score(table, None)["flag"].tolist()


def test_real_pictures_say_how_low_a_probability_is_too_low():
    sure, unsure = np.linspace(0.5, 0.99, 99), np.linspace(0.01, 0.5, 99)
    p = [0.51, 0.53, 0.02, 0.04]
    assert asked(p, sure) == [True, False, True, True]  # the fifth of 99, as 5 of 100 are below it
    assert asked(p, unsure) == [False, False, True, False]
    assert asked(p, [*sure, *[float("nan")] * 50]) == asked(p, sure)
    assert asked(p, [float("nan")] * 99) == [False] * 4
    assert asked([1e-25, 1e-30], [*sure[:90], *[1e-27] * 9]) == [False, True]


def test_at_most_the_share_of_further_real_pictures_is_flagged():
    rng = np.random.default_rng(0)
    found = [np.mean(asked(rng.random(100), rng.random(199))) for _ in range(40)]
    assert 0.03 < np.mean(found) < 0.07


def test_too_few_real_pictures_are_refused_before_work(ctx):
    few = {"name": "concatenated", "of": [{"name": "class_names", "table": "fashion_mnist", "per_class": 1}]}
    with pytest.raises(RecipeError, match=r"class_agreement.real: 10 pictures are too few for share 0.05; .* least 19"):
        ClassAgreement(real=few).check(ctx)
    ClassAgreement(real=few, share=0.1).check(ctx)
    ClassAgreement().check(ctx)


def test_pictures_without_a_known_label_are_not_judged(pictures, ctx):
    image = pictures[0].image
    strange = [Sample("a" * 32, image), Sample("b" * 32, image, ("n01440764",))]
    rows = list(ClassAgreement().measure(strange, ctx))
    assert all(np.isnan(row["p"]) and row["rank"] == 0 for row in rows)
    assert {row["proposed"] for row in rows} == {0}
    bare = [Sample(s.id, s.image, variant="guidance_3") for s in pictures[:3]]
    found = table_of(ClassAgreement(), bare, ctx)
    assert found["flag"].tolist() == [False] * 3
    assert np.isnan(found["score"]).all()
    assert ClassAgreement().figures(found, ctx) == {"judged": 0, "flagged": 0, "agrees": {}, "most_flagged_classes": {}}


def test_no_pictures(ctx):
    assert list(ClassAgreement().measure([], ctx)) == []


def test_a_zero_shot_model_is_asked_for_every_class_by_its_name(tiny, tmp_path, monkeypatch, pictures, ctx):
    (tmp_path / "models.toml").write_text(models_table(tiny))
    monkeypatch.setenv("VARIORUM_MODELS", str(tmp_path / "models.toml"))
    models = ModelTable("embedded")
    images, classes = [s.image for s in pictures[:5]], ctx.source.classes(ctx)
    known, p = class_probabilities(models.get("zero_shot"), images, classes, "a {name}!")
    assert known == [info.id for info in classes]
    assert p.shape == (5, 10)
    assert np.allclose(p.sum(axis=1), 1)
    model = models.get("zero_shot")
    logits = model(images, [f"{'an' if info.name[0] in 'aeiou' else 'a'} {info.name}!" for info in classes])
    expected = np.exp(np.float64(logits) * model.temperature)
    assert np.allclose(p, expected / expected.sum(axis=1, keepdims=True))
    other = Context(7, models, ctx.memo, classes=ctx.classes)
    rows = list(ClassAgreement(model="zero_shot").measure(pictures[:5], other))
    assert all(0 < row["p"] < 1 and 1 <= row["rank"] <= 10 for row in rows)


def test_a_classifier_without_a_class_list_has_imagenets():
    known, p = class_probabilities(
        lambda images: np.full((len(images), 1000), 1e-3), [None], [ClassInfo("x", "x")], "a {name}"
    )
    assert known == [info.id for info in class_infos()]
    assert p.shape == (1, 1000)


@pytest.mark.parametrize(
    "fields", [{"template": "a photo"}, {"template": "{caption}"}, {"least": 2}, {"top": 0}, {"share": 0}]
)
def test_invalid_settings_are_refused(fields):
    with pytest.raises(ValidationError):
        ClassAgreement(**fields)
