"""What holds for every attack that is installed, and more for those that need nothing but the picture."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import skimage.data

from variorum.generators.watermark.watermark import Watermark
from variorum.generators.watermark.watermark_attack import WatermarkAttack
from variorum.generators.watermark.watermarking.arms import takes_long
from variorum.machine.memo import DiskMemo
from variorum.schemas.canonical import canonical_json
from variorum.schemas.component import Context
from variorum.schemas.lookup import build_component, component_names
from variorum.schemas.sample import Sample, source_id
from variorum.schemas.watermark import Access, Attack, Goal
from variorum.stages.job import models

CTX = Context(3, models("embedded"), DiskMemo(Path(tempfile.mkdtemp(prefix="variorum-memo-"))),
              build_component("source", {"name": "samples"}, "here"))  # fmt: skip
NAMES = component_names("attacks")
QUICK = [name for name in NAMES if not takes_long(build_component("attacks", {"name": name}, "here"))]
STRENGTHS = (0.5, 1.0)


def attack_of(name: str) -> Attack:
    found = build_component("attacks", {"name": name}, "here")
    assert isinstance(found, Attack)
    return found


@pytest.fixture(scope="module")
def marked() -> list[Sample]:
    """Two photographs at 64 pixels of side, unmarked and with a mark."""
    photographs = [
        Sample(source_id("test", name), np.ascontiguousarray(getattr(skimage.data, name)()[:200, 100:300]))
        for name in ("coffee", "astronaut")
    ]
    found = [item for item in Watermark(frame=96).generate(photographs, CTX) if isinstance(item, Sample)]
    assert [item.variant for item in found] == ["original", "stdm"] * 2
    return found


@pytest.mark.parametrize("name", NAMES)
def test_strength_0_is_the_picture_itself_and_an_attack_says_what_it_is(name, marked):
    attack = attack_of(name)
    stream = WatermarkAttack(attacks=(attack,), strengths=(1.0,)).generate(marked, CTX)
    pixels = [item.image.copy() for item in marked]
    for sample, before in zip(marked, pixels, strict=True):
        found = next(stream)
        assert found is sample
        np.testing.assert_array_equal(found.image, before)
    stream.close()
    assert attack.family
    assert attack.goal in get_args(Goal)
    assert attack.access in get_args(Access)
    assert attack.digital_source_type
    assert attack.called
    canonical_json([dict(attack.amount(strength)) for strength in STRENGTHS])


@pytest.mark.parametrize("name", QUICK)
def test_a_picture_is_attacked_alike_alone_and_in_company_and_never_written_to(name, marked):
    generator = WatermarkAttack(attacks=(attack_of(name),), strengths=STRENGTHS)
    pixels = [item.image.copy() for item in marked]
    made = {(item.parent, item.variant): item for item in generator.generate(marked, CTX) if item not in marked}
    assert made
    for sample, before in zip(marked, pixels, strict=True):
        np.testing.assert_array_equal(sample.image, before)
    half = [*generator.generate(marked[2:], CTX)]
    for item in half[2:]:
        twin = made[item.parent, item.variant]
        assert isinstance(twin, Sample), twin
        assert twin.image.shape == (96, 96, 3)
        assert twin.image.dtype == np.uint8
        np.testing.assert_array_equal(item.image, twin.image)
        assert item.ops[-1]["achieved"] == twin.ops[-1]["achieved"]
        assert not np.array_equal(twin.image, next(one for one in marked if one.id == item.parent).image)
    other = replace(CTX, seed=4)
    assert {item.variant for item in generator.generate(marked, other)} >= {variant for _, variant in made}
