"""Visible marks on real photographs: where they lie, what is read, how rarely chance looks like one, their limits."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from variorum.generators.watermark.marks.logo import Logo
from variorum.generators.watermark.marks.text_mark import TextMark
from variorum.generators.watermark.marks.tiled import Tiled
from variorum.generators.watermark.watermark import Watermark
from variorum.generators.watermark.watermarking.drawing import ALPHABET, code_of, letter_bits, text
from variorum.generators.watermark.watermarking.text_finder import line_score
from variorum.models import ModelTable
from variorum.schemas.component import Context
from variorum.schemas.sample import Sample
from variorum.schemas.uses import required_models
from variorum.schemas.watermark import random_of

CTX = Context(0, None, None)
MARKS = [Logo(), TextMark(), Tiled(), Tiled(content="logo", size=0.15)]
IDS = ["logo", "text", "tiled", "tiled_logo"]
every = pytest.mark.parametrize("mark", MARKS, ids=IDS)


def key_of(*what: object) -> bytes:
    return random_of(bytes(32), repr(what)).bytes(32)


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1])


@pytest.fixture(scope="module")
def few(photographs) -> list[np.ndarray]:
    """Eight photographs, whole."""
    return photographs[::2]


# ── drawing ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@given(st.lists(st.booleans(), min_size=20, max_size=20))
def test_codes_read_back(payload):
    code = code_of(np.array(payload))
    assert len(code) == 4
    assert letter_bits([ALPHABET.index(letter) for letter in code]).tolist() == payload


def test_letters_are_equally_wide_and_differ():
    drawn = [text(letter, 24) for letter in ALPHABET]
    assert len({one.shape for one in drawn}) == 1
    fills = np.stack([one.fill.ravel() for one in drawn])
    different = [np.abs(fills[a] - fills[b]).sum() for a in range(32) for b in range(a)]
    assert min(different) > 10
    assert all((one.cover <= 1.001).all() and one.edge.max() > 0.5 for one in drawn)


@every
def test_only_the_mask_changes(mark, few, keys):
    marked = mark.embed(few, keys[:8], CTX)
    for before, after, key in zip(few, marked, keys[:8], strict=True):
        mask = mark.mask(before, key)
        assert mask.shape == before.shape[:2]
        assert mask.max() >= 250
        assert (after[mask == 0] == before[mask == 0]).all()
        change = np.abs(after.astype(int) - before)
        assert (change[mask > 0].max(-1) > 0).mean() > 0.5
        assert (change.max(-1) <= np.ceil(mask.astype(float) * mark.opacity) + 1).all()


@every
def test_another_key_is_another_place_or_code(mark, photographs):
    image = photographs[0]
    masks = {mark.mask(image, key_of(number)).tobytes() for number in range(10)}
    assert len(masks) == 10
    assert mark.mask(image, key_of(0)).tobytes() in masks


@pytest.mark.parametrize("position", ["top_left", "top_right", "bottom_left", "bottom_right", "centre"])
def test_positions(position, photographs):
    wide = np.ascontiguousarray(photographs[0][:180])
    mask = Logo(position=position, jitter=0.05).mask(wide, key_of(position))
    rows, columns = np.nonzero(mask)
    height, width = mask.shape
    where = {"top": rows.max() < height / 2, "bottom": rows.min() > height / 2}
    where |= {"left": columns.max() < width / 2, "right": columns.min() > width / 2}
    if position == "centre":
        assert abs(rows.mean() - height / 2) < 0.1 * height
        assert abs(columns.mean() - width / 2) < 0.1 * height
    else:
        assert all(where[side] for side in position.split("_"))


def test_black_ink_darkens_and_white_lightens(photographs):
    grey = np.full((128, 128, 3), 128, np.uint8)
    for ink, sign in (("white", 1), ("black", -1)):
        (marked,) = Logo(ink=ink).embed([grey], [key_of(1)], CTX)
        change = marked.astype(int) - grey
        assert sign * change.sum() > 0
        assert (change * sign < 0).any()  # the outline


# ── finding them ─────────────────────────────────────────────────────────────────────────────────────────────────────


@every
@pytest.mark.parametrize("attack", ["none", "jpeg"])
def test_they_are_found_and_read(mark, attack, few, keys):
    marked = [image if attack == "none" else jpeg(image, 50) for image in mark.embed(few, keys[:8], CTX)]
    found = mark.detect(marked, keys[:8], CTX)
    assert (found.p_values <= 0.01).mean() == 1
    assert found.scores.min() > mark.detect(few, keys[:8], CTX).scores.max()
    payloads = mark.payloads(keys[:8])
    assert (found.bits is None) == (payloads.shape[1] == 0)
    if found.bits is not None:
        assert (found.bits == payloads).mean() >= 0.98


@every
def test_hardly_visible_marks_are_found(mark, few, keys):
    faint = mark.model_copy(update={"opacity": 0.08})
    found = faint.detect(faint.embed(few, keys[:8], CTX), keys[:8], CTX)
    assert (found.p_values <= 0.01).mean() >= 0.85


@every
def test_unmarked_pictures_have_uniform_p_values(mark, few):
    """The p-value is a proof for any picture, so few are enough, each under many keys."""
    rounds = 12
    keys = [[key_of(mark.called, number, place) for place in range(4)] for number in range(rounds)]
    found = [mark.detect(few[:4], one, CTX) for one in keys]
    p_values = np.concatenate([one.p_values for one in found])
    for level in (0.1, 0.3):
        assert (p_values <= level).sum() <= binom.ppf(0.999, p_values.size, level)
    assert 0.3 < p_values.mean() < 0.7
    if found[0].bits is not None:
        bits = np.concatenate([one.bits for one in found])
        payloads = np.concatenate([mark.payloads(one) for one in keys])
        assert abs((bits == payloads).mean() - 0.5) < 0.06


@every
def test_a_wrong_key_finds_little(mark, few, keys):
    marked = mark.embed(few, keys[:8], CTX)
    wrong = mark.detect(marked, [key_of("wrong", n) for n in range(len(marked))], CTX)
    assert (wrong.p_values <= 0.01).mean() <= 0.2
    assert wrong.scores.max() < mark.detect(marked, keys[:8], CTX).scores.min()


@every
def test_a_picture_depends_on_itself_alone(mark, photographs, keys):
    together = mark.embed(photographs[:4], keys[:4], CTX)
    alone = [mark.embed([image], [key], CTX)[0] for image, key in zip(photographs[:4], keys[:4], strict=True)]
    assert all((a == b).all() for a, b in zip(together, alone, strict=True))
    found = mark.detect(together, keys[:4], CTX)
    back = mark.detect(together[::-1], keys[3::-1], CTX)
    assert found.scores.tolist() == back.scores[::-1].tolist()


def test_the_text_detector_finds_text_without_a_key(few, keys):
    ctx = Context(0, ModelTable("embedded"), None)
    blind = TextMark(finder="text_detector", opacity=0.8)
    assert required_models(blind) == ("text_detector",)
    marked = blind.embed(few, keys[:8], ctx)
    found, unmarked = blind.detect(marked, keys[:8], ctx), blind.detect(few, keys[:8], ctx)
    assert found.p_values is None
    assert np.median(found.scores) > 5 * np.median(unmarked.scores)
    assert (found.scores > unmarked.scores).mean() >= 0.9
    assert (found.bits == blind.payloads(keys[:8])).mean() > 0.98


def test_a_line_of_text_scores_more_than_a_blot():
    """Three areas of equal size and probability."""
    line, square, hook = np.zeros((3, 128, 128), np.float32)
    line[60:68, 20:116] = 0.9
    square[50:78, 50:78] = 0.9
    hook[20:100, 20:25] = hook[95:100, 20:93] = 0.9
    scores = [line_score(one) for one in (line, square, hook, np.zeros((128, 128), np.float32))]
    assert scores[0] == pytest.approx(0.9, abs=0.01)
    assert scores[0] > 2 * scores[1] > 2 * scores[2] > scores[3] == 0


# ── limits ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@every
@pytest.mark.parametrize("grey", [0, 128, 255])
def test_flat_pictures(mark, grey):
    flat = np.full((160, 200, 3), grey, np.uint8)
    unmarked = mark.detect([flat], [key_of(1)], CTX)
    assert unmarked.p_values[0] == 1
    found = mark.detect(mark.embed([flat], [key_of(1)], CTX), [key_of(1)], CTX)
    assert found.p_values[0] <= 0.01


@every
@settings(max_examples=25, deadline=None)
@given(st.integers(1, 150), st.integers(1, 150))
def test_pictures_of_any_size_are_marked_or_refused(mark, height, width):
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    found = mark.detect([image], [key_of(1)], CTX)
    assert np.isfinite(found.scores).all()
    if why := mark.refusal(image):
        assert why[0] == "too_small"
        assert found.p_values.tolist() == [1]
    else:
        (marked,) = mark.embed([image], [key_of(1)], CTX)
        assert marked.shape == image.shape
        assert mark.mask(image, key_of(1)).any()


@pytest.mark.parametrize(
    "mark", [TextMark(words="PREVIEW OF A PICTURE ", size=0.3), Tiled(words="COPYRIGHT ", size=0.1)]
)
def test_text_that_nobody_could_read_is_refused(mark, photographs):
    assert mark.refusal(photographs[0])[0] == "too_small"


# ── in an edition ────────────────────────────────────────────────────────────────────────────────────────────────────


def samples(photographs, masks):
    extras = {"mask.png": np.full((256, 256), 200, np.uint8)} if masks else {}
    return [Sample(f"{n:032x}", image, extras=extras) for n, image in enumerate(photographs[:2])]


@pytest.mark.parametrize("masks", [False, True])
def test_every_picture_of_an_edition_says_where_it_is_covered(masks, photographs):
    generator = Watermark(marks=({"name": "stdm"}, {"name": "logo"}), frame=None)
    made = list(generator.generate(samples(photographs, masks), Context(0, ModelTable("embedded"), None)))
    assert [one.variant for one in made] == ["original", "stdm", "logo"] * 2
    for one in made:
        mask = one.extras["mask.png"]
        assert mask.shape == (256, 256)
        assert mask.any() == (one.variant == "logo")
    for original, _, logo in (made[:3], made[3:]):
        outside = logo.extras["mask.png"] == 0
        assert (logo.image[outside] == original.image[outside]).all()


def test_without_a_visible_mark_masks_are_the_sources(photographs):
    generator = Watermark(marks=({"name": "stdm"},), frame=None)
    ctx = Context(0, ModelTable("embedded"), None)
    assert all((one.extras["mask.png"] == 200).all() for one in generator.generate(samples(photographs, True), ctx))
    assert all(not one.extras for one in generator.generate(samples(photographs, False), ctx))
