"""Where a generator says that an object is, its pixels are: of every installed generator that keeps objects.

The photograph is grey, but for two marked objects: a green subject, and something magenta behind it. So the pixels of
each can be found in whatever picture is made of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest
import skimage.data
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from variorum.annotations import box_of, encode_mask, moved, region
from variorum.models import ModelTable
from variorum.schemas.annotations import Annotations, Object, Text
from variorum.schemas.component import ClassInfo, Context, Generator, Source
from variorum.schemas.edit import Edit
from variorum.schemas.lookup import build_component, component_class, component_names
from variorum.schemas.sample import Failure, Sample, source_id

PAINTED = {"domain_diffusion"}
"""What models paint has other colours: test_domain_diffusion looks for the objects in what these are given."""
REWRITING = {"content_dilution"}
"""What changes texts, and keeps the objects."""
CUTTING = {"translation"}
"""Frames cut slivers off objects at the long sides: test_translation looks for objects in the middle."""
KEEPING = [name for name in component_names("generate") if component_class("generate", name).keeps_objects]
GENERATORS = [name for name in KEEPING if name not in PAINTED | CUTTING]
FIELDS: dict[str, dict[str, Any]] = {
    "adversarial_example": {"frame": 128},
    "attribute_edit": {
        "frame": 128,
        "classifier": None,
        "attributes": ["background", "size", "position", "direction", "mirror"],
        "sizes": ["full", 0.1, 0.05],
        "texture_up": [1.2, 1.1, 1.0],
        "texture_down": [0.4, 0.7, 0.9],
    },
    "content_dilution": {"sources": ["text_keywords", "random_url"]},
    "corruption": {  # elastic ones show reflections at the border, and frames cut slivers off: test_corruption
        "kinds": ["brightness", "pixelate", "motion_blur", "zoom_blur"],
        "severities": [1],
        "frame": None,
    },
    "cue_conflict": {"stimuli": ["low_pass", "object"], "low_pass": [0.4], "segmenter": None},
    "feature_distillation": {"steps": 2},
    "few_shot_episodes": {"frame": 128, "difficulties": ["clean", "small"], "sizes": [0.05]},
    "low_light": {"exposures": [0.5], "enhancers": [], "enhanced": [], "frame": None},
    "natural_transformation": {"strengths": [0.33], "classifier": None},
    "watermark": {"frame": None},  # frames cut slivers off, as those of `corruption`
    "watermark_attack": {  # erased ones leave parts, shifted ones show reflections at the border: test_watermark_attack
        "attacks": [{"name": "distortion", "kind": kind} for kind in ("rotation", "stretch", "flip")],
        "strengths": [0.2],
    },
    "domain_stylization": {  # the other domains change colours until no green is green: test_domain_stylization
        "size": 128,
        "domains": ["cartoon"],
        "styles": {"cartoon": ["cel"]},
        "segmenter": None,
    },
}
"""Fields of those that would need models or take long, or that would change outlines and colours too much."""

SIDE = 160
"""Short side of the photograph."""
LEAST_IOU = 0.75
"""Of an object's mask and its pixels."""
LEAST_BOX_IOU = 0.7
"""Of an object's box and the box around its pixels. Less, as what sticks out behind another may be a thin tip."""
MOST_DRIFT = 1.5
"""Pixels between the centroid of an object's mask and that of its pixels, or from its box to a pixel outside."""
MOST_LEFT = 0.6
"""Share of an object's pixels that may still be there if the picture is said not to show it."""
COLOURS = {"green": (0, 255, 0), "magenta": (255, 0, 255)}


def pixels_of(picture: np.ndarray, colour: str) -> np.ndarray:
    """Where the picture shows the colour, at least half as strong as where it is strongest: also if it is blurred."""
    red, green, blue = np.moveaxis(picture.astype(int), -1, 0)
    strength = green - np.maximum(red, blue) if colour == "green" else np.minimum(red, blue) - green
    return strength > max(64, strength.max() / 2)


def check(sample: Sample, child: Sample) -> None:
    """Raise AssertionError unless the objects of the picture made of a sample are where its pixels show them.

    There may be several of one label, as a plate may show a thing more than once.
    """
    picture = np.asarray(child.image)
    height, width = picture.shape[:2]
    if not child.ops or child.ops[-1]["name"] not in REWRITING:
        assert child.annotations.texts == sample.annotations.texts
    for before in sample.annotations.objects:
        seen, what = pixels_of(picture, before.label), f"{child.variant}: {before.label}"
        found = [item for item in child.annotations.objects if item.label == before.label]
        if not found:
            there = pixels_of(np.asarray(sample.image), before.label).sum()
            resized = (min(height, width) / min(np.asarray(sample.image).shape[:2])) ** 2
            assert seen.sum() <= MOST_LEFT * there * resized, f"{what} is still there"
            continue
        around = box_of(seen)
        assert around is not None, f"{what} isn't there"
        assert sorted(item.id for item in found)[:-1] == [""] * (len(found) - 1)
        for item in found:
            assert item.id in (before.id, "")
            assert (item.crowd, item.score, item.origin) == (before.crowd, before.score, before.origin)
            assert item.mask or not before.mask  # one without a mask may have got one
            assert not item.mask or (item.box, item.area) == (box_of(mask := region(item, height, width)), mask.sum())
        said = np.any([region(item, height, width) for item in found], axis=0)
        if before.mask:
            iou = (said & seen).sum() / (said | seen).sum()
            assert iou >= LEAST_IOU, f"{what} has IoU {iou:.2f}"
            drift = np.abs(np.argwhere(said).mean(axis=0) - np.argwhere(seen).mean(axis=0)).max()
            assert drift <= MOST_DRIFT, f"{what} is {drift:.1f} pixels away"
        else:
            sides = np.array([corners(item.box) for item in found])
            outer = np.concatenate([sides[:, :2].min(axis=0), sides[:, 2:].max(axis=0)])
            inner = np.array(corners(around))
            beyond = np.concatenate([outer[:2] - inner[:2], inner[2:] - outer[2:]]).max()
            assert beyond <= MOST_DRIFT, f"{what} reaches {beyond:.1f} pixels out of its box"
            shared = np.minimum(outer[2:], inner[2:]) - np.maximum(outer[:2], inner[:2])
            areas = [np.prod(box[2:] - box[:2]) for box in (outer, inner)]
            iou = shared.prod() / (sum(areas) - shared.prod())
            assert iou >= LEAST_BOX_IOU, f"{what} has a box with IoU {iou:.2f}"


def corners(box: tuple[float, ...]) -> tuple[float, ...]:
    return box[0], box[1], box[0] + box[2], box[1] + box[3]


# ── pictures ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@lru_cache
def texture(name: str, height: int, width: int) -> np.ndarray:
    """A grey photograph of a surface from near by: coarse, as `attribute_edit` repeats fine ones instead of amplifying
    them, which tests/kit/test_following.py looks at."""
    grey = cv2.resize(getattr(skimage.data, name)()[:48, :48], (width, height), interpolation=cv2.INTER_CUBIC)
    return np.repeat((64 + grey // 2)[..., None], 3, axis=2)


@st.composite
def scenes(draw: st.DrawFn) -> dict[str, Any]:
    """Arguments of `photograph`: a subject, and something behind it, one beside the other and both in the frame."""
    longer = draw(st.sampled_from([SIDE, 200, 240]))
    height, width = draw(st.sampled_from([(SIDE, longer), (longer, SIDE)]))
    a, b = draw(st.integers(16, 32)), draw(st.integers(16, 32))
    x, y = draw(st.integers(a + 4, width - a - 4)), draw(st.integers(b + 4, height - b - 4))
    wide, high = draw(st.integers(28, 60)), draw(st.integers(28, 60))
    left, top = draw(st.integers(0, width - wide)), draw(st.integers(0, height - high))
    reach = max(a, b)  # what is behind the subject isn't known, so nothing is
    assume(not (left - reach < x < left + wide + reach and top - reach < y < top + high + reach))
    return {
        "size": (height, width),
        "ellipse": (x, y, a, b, draw(st.integers(0, 90))),
        "behind": (left, top, wide, high),
        "masks": draw(st.booleans()),
    }


def photograph(
    size: tuple[int, int],
    ellipse: tuple[int, int, int, int, int],
    behind: tuple[int, int, int, int],
    masks: bool,
) -> Sample:
    """A grey surface with the two things, and the parts that it was put together from."""
    x, y, a, b, angle = ellipse
    left, top, wide, high = behind
    plate = texture("gravel", *size).copy()
    plate[top : top + high, left : left + wide] = COLOURS["magenta"]
    mask = cv2.ellipse(np.zeros(size, np.uint8), (x, y), (a, b), angle, 0, 360, 255, -1)
    cv2.circle(mask, (x + a // 2, y), b // 2, 255, -1)  # so that it isn't symmetric
    picture = np.where(mask[..., None] > 0, np.array(COLOURS["green"], np.uint8), plate)
    objects = []
    for number, label in enumerate(COLOURS):
        seen = pixels_of(picture, label)
        box = box_of(seen)
        assert box is not None
        mark = Object(box, label, float(seen.sum()), id=str(number), origin="test", mask=encode_mask(seen))
        objects.append(mark if masks else replace(mark, mask=""))
    return Sample(
        source_id("objects", f"{size} {ellipse} {behind}"),
        picture,
        extras={"mask.png": mask, "plate.png": plate},
        annotations=Annotations(tuple(objects[::-1]), (Text("a green thing"),)),
    )


class Surfaces(Source):
    """Other pictures, whose plates may be lent."""

    def pin(self, ctx: Context) -> str:
        return "surfaces"

    def size(self, ctx: Context) -> int:
        return 2

    def read(self, start: int, stop: int, ctx: Context) -> Iterator[Sample | Failure]:
        for name in ("brick", "grass")[start:stop]:
            plain = texture(name, SIDE, SIDE) // (1 if name == "brick" else 2)
            mask = cv2.circle(np.zeros((SIDE, SIDE), np.uint8), (80, 80), 30, 255, -1)
            picture = np.where(mask[..., None] > 0, np.uint8(250), plain)
            yield Sample(source_id("surfaces", name), picture, extras={"mask.png": mask, "plate.png": plain})

    def classes(self, ctx: Context) -> tuple[ClassInfo, ...]:
        return ()


CTX = Context(seed=2, models=ModelTable("embedded"), memo=lambda key, compute: compute(), source=Surfaces())
CENTRAL = {"size": (SIDE, 200), "ellipse": (70, 90, 32, 22, 30), "behind": (120, 20, 40, 50)}
MASKS, BOXES = photograph(**CENTRAL, masks=True), photograph(**CENTRAL, masks=False)


def made(generator: Generator, sample: Sample) -> list[Sample]:
    return [item for item in generator.generate([sample], CTX) if isinstance(item, Sample)]


# ── every generator ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_there_are_generators_that_keep_objects():
    assert "attribute_edit" in GENERATORS


@pytest.mark.parametrize("name", GENERATORS)
@settings(max_examples=10)
@given(scene=scenes())
@example(scene={**CENTRAL, "masks": True})
def test_objects_are_where_their_pixels_are(name, scene):
    sample = photograph(**scene)
    generator = build_component("generate", {"name": name, **FIELDS.get(name, {})}, "here")
    children = made(generator, sample)
    for child in children:
        check(sample, child)


@pytest.mark.parametrize("name", GENERATORS)
def test_pictures_are_made_at_all(name):
    """The test above looks at every kind of picture."""
    generator = build_component("generate", {"name": name, **FIELDS.get(name, {})}, "here")
    children = made(generator, MASKS)
    assert any(len(child.annotations.objects) == 2 for child in children)
    if name == "attribute_edit":
        from variorum.generators.imagenet_e.attribute_edit import AttributeEdit

        assert isinstance(generator, AttributeEdit)
        of = Edit(generator, MASKS, CTX)
        assert [child.variant for child in children] == [wanted.variant for wanted in generator._wanted(of)]


# ── the check itself ─────────────────────────────────────────────────────────────────────────────────────────────────


class Toy(Generator):
    """Makes one picture of each; right or wrong."""

    keeps_objects: ClassVar[bool] = True

    def edit(self, sample: Sample, of: Edit) -> Iterator[Sample | Failure]:
        pixels, annotations = self.picture(np.asarray(sample.image), sample.annotations)
        yield of.made(pixels, variant="toy", requested={}, annotations=annotations)

    def picture(self, pixels: np.ndarray, annotations: Annotations) -> tuple[np.ndarray, Annotations | None]:
        raise NotImplementedError


class Darker(Toy):
    """Nothing moves, so nothing need be said."""

    def picture(self, pixels, annotations):
        return pixels - pixels // 8, None


class Mirrored(Toy):
    """Objects move along."""

    def picture(self, pixels, annotations):
        height, width = pixels.shape[:2]
        flip = np.array([[-1, 0, width], [0, 1, 0]])
        return pixels[:, ::-1], moved(annotations, flip, (height, width), (height, width))


class Forgetful(Toy):
    """Wrong: the pixels are mirrored, the objects aren't."""

    def picture(self, pixels, annotations):
        return pixels[:, ::-1], None


class Careless(Toy):
    """Wrong: the picture is cut on the left, and the objects are moved by less."""

    def picture(self, pixels, annotations):
        height, width = pixels.shape[:2]
        less = np.array([[1, 0, -2], [0, 1, 0]])
        return pixels[:, 8:], moved(annotations, less, (height, width), (height, width - 8))


class Dropping(Toy):
    """Wrong: an object that is still there is dropped."""

    def picture(self, pixels, annotations):
        return pixels, Annotations(annotations.objects[1:], annotations.texts)


class Inventing(Toy):
    """Wrong: an object that is no longer there is kept."""

    def picture(self, pixels, annotations):
        plain = texture("gravel", *pixels.shape[:2])
        return np.where(pixels_of(pixels, "magenta")[..., None], plain, pixels), None


class Unmasking(Toy):
    """Wrong: the masks are lost."""

    def picture(self, pixels, annotations):
        bare = tuple(Object(item.box, item.label, id=item.id, origin=item.origin) for item in annotations.objects)
        return pixels, Annotations(bare, annotations.texts)


@pytest.mark.parametrize("sample", [MASKS, BOXES], ids=["masks", "boxes"])
@pytest.mark.parametrize("right", [Darker, Mirrored])
def test_a_right_generator_passes(right, sample):
    (child,) = made(right(), sample)
    check(sample, child)


@pytest.mark.parametrize("sample", [MASKS, BOXES], ids=["masks", "boxes"])
@pytest.mark.parametrize("wrong", [Forgetful, Careless, Dropping, Inventing])
def test_a_wrong_generator_is_caught(wrong, sample):
    (child,) = made(wrong(), sample)
    with pytest.raises(AssertionError):
        check(sample, child)


def test_a_generator_that_loses_masks_is_caught():
    (child,) = made(Unmasking(), MASKS)
    with pytest.raises(AssertionError):
        check(MASKS, child)
