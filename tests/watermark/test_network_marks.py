"""Marks by networks: RivaGAN for real, and the row that each leaves where its weights aren't."""

from __future__ import annotations

import numpy as np
import pytest

from variorum.generators.watermark.marks.learned import Learned
from variorum.generators.watermark.marks.rivagan import Rivagan
from variorum.generators.watermark.marks.trustmark import Trustmark
from variorum.generators.watermark.watermark import Watermark
from variorum.models import ModelTable
from variorum.schemas.component import Context
from variorum.schemas.sample import Failure, Sample
from variorum.schemas.uses import optional_models, required_models


def test_rivagan_marks_pictures(photographs, keys):
    mark, ctx = Rivagan(), Context(0, ModelTable("embedded"), None)
    small = [image[:144, :144] for image in photographs[:2]]
    marked = mark.embed(small, keys[:2], ctx)
    found = mark.detect(marked, keys[:2], ctx)
    assert found.bits.shape == (2, 32)
    assert found.scores.min() >= 0.8
    assert found.p_values.max() < 1e-3
    assert (found.scores == (found.bits == mark.payloads(keys[:2])).mean(1)).all()
    wrong = mark.detect(marked, keys[3:5], ctx)
    assert wrong.p_values.min() > 0.01
    assert mark.refusal(photographs[0][:100])[0] == "too_small"
    assert mark.refusal(small[0]) is None


@pytest.mark.parametrize("mark", [Rivagan(), Trustmark(), Learned()])
def test_without_its_weights_a_mark_leaves_a_row(mark, photographs, own_cache):
    (alias,) = required_models(mark)
    ctx = Context(0, ModelTable("embedded"), None)
    if not ctx.models.why_unavailable(alias):
        pytest.skip(f"{alias} is part of this package")
    generator = Watermark(marks=(mark,), frame=None)
    assert optional_models(generator) == (alias,)
    original, row = generator.generate([Sample("0" * 32, photographs[0])], ctx)
    assert (original.image == photographs[0]).all()
    assert isinstance(row, Failure)
    assert row.reason == "unavailable"
    assert row.detail.startswith("unavailable: ")
    assert alias in row.detail


def test_the_learned_mark_in_decibels():
    assert Learned().decibels == 38
    assert Learned(decibels=40).fingerprint() != Learned().fingerprint()
    assert Learned().payloads([bytes(32)]).shape == (1, 32)


def test_the_learned_mark_for_real(photographs, keys):
    mark, ctx = Learned(), Context(0, ModelTable("embedded"), None)
    if why := ctx.models.why_unavailable("learned_watermark"):
        pytest.skip(why)
    marked = mark.embed(photographs[:4], keys[:4], ctx)
    found = mark.detect(marked, keys[:4], ctx)
    assert found.scores.min() > 0.9
    errors = [np.mean((a.astype(float) - b) ** 2) for a, b in zip(photographs, marked, strict=False)]
    assert all(abs(10 * np.log10(255**2 / error) - mark.decibels) < 1 for error in errors)
