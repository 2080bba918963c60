"""Our corruptions beside imagecorruptions, where it is installed: `pip install --no-deps imagecorruptions`."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
import skimage.data

from variorum.kit.corrupt import spatter
from variorum.kit.corrupt.kinds import corrupt

pytestmark = pytest.mark.slow
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
PICTURES = [
    cv2.resize(getattr(skimage.data, name)()[:300, :400], (224, 224), interpolation=cv2.INTER_AREA)
    for name in ("astronaut", "coffee", "chelsea", "rocket")
]


@pytest.fixture(scope="module")
def peer() -> ModuleType:
    if importlib.util.find_spec("imagecorruptions") is None:
        pytest.skip("imagecorruptions isn't installed")
    sys.path.append(str(BENCHMARKS))
    try:
        import imagenet_c_peer
    finally:
        sys.path.remove(str(BENCHMARKS))
    return imagenet_c_peer


def results(peer: ModuleType, kind: str, severity: int, pictures: list[np.ndarray]) -> list[list[np.ndarray]]:
    """Ours and the peer's, rounded."""
    ours = [
        corrupt(one, kind, severity, np.random.default_rng(n)).image.astype(float) for n, one in enumerate(pictures)
    ]
    theirs = [np.asarray(peer.exact(one, kind, severity), float) for one in pictures]
    return [ours, [np.clip(np.rint(one), 0, 255) for one in theirs]]


@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
@pytest.mark.parametrize(
    "kind",
    [
        "contrast",
        "defocus_blur",
        "gaussian_blur",
        "jpeg_compression",
        "pixelate",
        "saturate",
        "brightness",
        "zoom_blur",
    ],
)
def test_what_is_not_random_is_the_same(peer, kind, severity):
    ours, theirs = results(peer, kind, severity, PICTURES)
    assert np.mean([np.abs(a - b).mean() for a, b in zip(ours, theirs, strict=True)]) < 0.15


@pytest.mark.parametrize("severity", [1, 3, 5])
@pytest.mark.parametrize("kind", ["gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise"])
def test_noise_is_as_strong(peer, kind, severity):
    ours, theirs = results(peer, kind, severity, PICTURES * 2)
    deviations = [np.mean([(a - b).std() for a, b in zip(side, PICTURES * 2, strict=True)]) for side in (ours, theirs)]
    assert deviations[0] == pytest.approx(deviations[1], rel=0.01)


@pytest.mark.parametrize("severity", [1, 4])
def test_glass_scatters_as_far(peer, severity):
    small = [np.ascontiguousarray(one[40:120, 60:160]) for one in PICTURES]
    ours, theirs = results(peer, "glass_blur", severity, small)
    for side in (np.std, lambda one: np.abs(np.diff(one, axis=1)).mean()):
        assert np.mean([side(one) for one in ours]) == pytest.approx(np.mean([side(one) for one in theirs]), rel=0.03)
    deviations = [np.mean([(a - b).std() for a, b in zip(side, small, strict=True)]) for side in (ours, theirs)]
    assert deviations[0] == pytest.approx(deviations[1], rel=0.03)


@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
def test_spatter_of_the_same_noise_is_the_same(peer, severity, monkeypatch):
    """Which drops there are is chance: of two sets of 20 pictures, one may have a fifth more than the other."""

    def drawn(rng: np.random.Generator, size: tuple[int, int], mean: float, deviation: float) -> np.ndarray:
        return np.random.RandomState(severity).normal(size=size, loc=mean, scale=deviation).astype(np.float32)

    monkeypatch.setattr(spatter, "normal", drawn)
    for picture in PICTURES:
        monkeypatch.setattr(np.random, "normal", np.random.RandomState(severity).normal)
        (ours,), (theirs,) = results(peer, "spatter", severity, [picture])
        assert np.abs(ours - theirs).mean() < 0.15
        assert np.abs(ours - picture).mean() > 0.15


@pytest.mark.parametrize("severity", [1, 3, 5])
def test_motion_changes_a_picture_as_much(peer, severity):
    ours, theirs = results(peer, "motion_blur", severity, PICTURES * 5)
    deviations = [np.mean([(a - b).std() for a, b in zip(side, PICTURES * 5, strict=True)]) for side in (ours, theirs)]
    assert deviations[0] == pytest.approx(deviations[1], rel=0.08)
    assert np.mean(ours) == pytest.approx(np.mean(theirs), abs=3)
