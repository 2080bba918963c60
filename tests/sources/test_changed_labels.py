"""Sources that change another's labels, or how many pictures its classes have."""

from collections import Counter

import numpy as np
import pytest

from variorum.models import ModelTable
from variorum.schemas.component import Context
from variorum.schemas.errors import RecipeError, SourceError
from variorum.schemas.lookup import build_component
from variorum.sources.fashion_mnist import DEBIAN

pytestmark = pytest.mark.skipif(not DEBIAN.exists(), reason="Debian's package dataset-fashion-mnist isn't installed")
CLOTHES = {"name": "fashion_mnist", "part": "test", "per_class": 40}


@pytest.fixture
def ctx():
    return Context(3, ModelTable("embedded"), lambda key, compute: compute())


def made(name, **fields):
    return build_component("source", {"name": name, "of": CLOTHES, **fields}, "source")


@pytest.mark.parametrize("pairs", ["fixed", "confusable", "uniform"])
def test_labels_change_at_the_rate_and_the_clean_ones_are_kept(pairs, ctx):
    source = made("label_overlap", pairs=pairs)
    samples = list(source.read(0, 400, ctx))
    plain = list(source.of.read(0, 400, ctx))
    assert [one.metadata["clean_label"] for one in samples] == [one.labels[0] for one in plain]
    changed = {
        (one.metadata["clean_label"], one.labels[0]) for one in samples if one.labels[0] != one.metadata["clean_label"]
    }
    assert pytest.approx(np.mean([a.labels != b.labels for a, b in zip(samples, plain, strict=True)]), abs=0.07) == 0.3
    if pairs == "uniform":
        assert len(changed) > 50
    else:
        assert len(changed) == 10
    if pairs == "confusable":
        assert {("pullover", "coat"), ("sandal", "sneaker")} <= changed
    part = list(source.read(100, 110, ctx))
    assert [(one.id, one.labels) for one in part] == [(one.id, one.labels) for one in samples[100:110]]
    assert [one.labels for one in source.outline(0, 400, ctx)] == [one.labels for one in samples]
    other = Context(4, ctx.models, ctx.memo)
    assert [one.labels for one in source.read(0, 400, other)] != [one.labels for one in samples]
    assert source.pin(other) != source.pin(ctx) == made("label_overlap", pairs=pairs).pin(ctx)


def test_rare_classes_lose_pictures(ctx):
    source = made("imbalanced", rare=["bag", "coat"], ratio=8)
    samples = list(source.read(0, source.size(ctx), ctx))
    counts = Counter(one.labels[0] for one in samples)
    assert (counts.pop("bag"), counts.pop("coat")) == (5, 5)
    assert set(counts.values()) == {40}
    assert [one.id for one in source.outline(3, 9, ctx)] == [one.id for one in samples[3:9]]
    order = [one.id for one in source.of.outline(0, 400, ctx)]
    assert [one.id for one in samples] == sorted((one.id for one in samples), key=order.index)
    assert made("imbalanced", rare=["bag"], ratio=100).size(ctx) == 361  # one of forty is kept
    assert source.pin(ctx) != made("imbalanced", rare=["bag"], ratio=8).pin(ctx)


def test_what_does_not_fit_is_named(ctx):
    with pytest.raises(SourceError, match=r"imbalanced.rare: the source has no class 'sofa'"):
        made("imbalanced", rare=["sofa"]).size(ctx)
    with pytest.raises(RecipeError, match="ratio"):
        made("imbalanced", rare=["bag"], ratio=101)
    with pytest.raises(RecipeError, match="rate"):
        made("label_overlap", rate=0.6)
