"""What a mark of one's own gives is checked, before it is data of an edition."""

import numpy as np
import pytest
import skimage.data

from variorum.generators.watermark.watermarking.checked import detected, embedded
from variorum.schemas.component import Context
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import build_component

CTX = Context(1, None, None)
IMAGES = [skimage.data.astronaut()[:40, :48], skimage.data.coffee()[:40, :48]]
KEYS = [bytes([n]) * 32 for n in range(2)]
FILE = '''
"""A mark of one's own."""

import numpy as np

from variorum.schemas.watermark import Detected, Mark


class Mine(Mark):
    """Bits of the payload in the lowest bits of the first row."""

    bits: int = 32

    def embed(self, images, keys, ctx):
        made = [image.copy() for image in images]
        for image, payload in zip(made, self.payloads(keys)):
            image[0, : self.bits, 0] = image[0, : self.bits, 0] & 254 | payload
        return EMBED

    def detect(self, images, keys, ctx):
        bits = np.array([image[0, : self.bits, 0] & 1 for image in images])
        scores = (bits == self.payloads(keys)).mean(1)
        return DETECT
'''


def mark(tmp_path, embed="made", detect="Detected(scores, bits)"):
    folder = tmp_path / f"{len(embed)}_{len(detect)}"
    folder.mkdir(exist_ok=True)
    (folder / "mine.py").write_text(FILE.replace("EMBED", embed).replace("DETECT", detect))
    return build_component("marks", {"name": str(folder / "mine.py")}, "here")


@pytest.mark.parametrize("embed", ["made", "iter(made)"])
@pytest.mark.parametrize("detect", ["Detected(scores, bits)", "Detected(list(scores), bits.tolist())"])
def test_what_is_right_is_passed_on(tmp_path, embed, detect):
    mine = mark(tmp_path, embed, detect)
    made = embedded(mine, IMAGES, KEYS, CTX)
    found = detected(mine, made, KEYS, CTX)
    np.testing.assert_array_equal(found.scores, [1, 1])
    assert found.bits is not None
    assert found.bits.dtype == bool
    np.testing.assert_array_equal(found.bits, mine.payloads(KEYS))


@pytest.mark.parametrize(
    ("embed", "said"),
    [
        ("None", "mine: embed gave NoneType in place of a list"),
        ("made[:-1]", "mine: embed got 2 pictures and gave 1"),
        ("[image[:-1] for image in made]", r"mine: embed gave uint8 \[39, 48, 3\]; it must be uint8 \[40, 48, 3\]"),
        ("[image / 255 for image in made]", r"mine: embed gave float64 \[40, 48, 3\]; it must be uint8"),
        ("['made', 'up']", "mine: embed gave str; it must be uint8"),
    ],
)
def test_other_pictures_are_refused(tmp_path, embed, said):
    with pytest.raises(RecipeError, match=said):
        embedded(mark(tmp_path, embed), IMAGES, KEYS, CTX)


@pytest.mark.parametrize(
    ("detect", "said"),
    [
        ("scores", r"mine: detect gave float64 \[2\]; it must be a Detected"),
        ("Detected(scores * np.nan)", "mine: detect gave scores that are NaN"),
        ("Detected(np.zeros(3))", r"mine: detect gave scores of shape \[3\]; it must be \[2\]"),
        ("Detected(scores[:, None])", r"mine: detect gave scores of shape \[2, 1\]; it must be \[2\]"),
        ("Detected(['high', 'low'])", "mine: detect gave scores that aren't numbers, but list"),
        ("Detected(scores, bits[:, :5])", r"mine: detect gave bits of shape \[2, 5\]; it must be \[2, 32\]"),
        ("Detected(scores, [[True], [True, False]])", "mine: detect gave bits that aren't an array"),
        ("Detected(scores, bits + 7)", "mine: detect gave bits that are neither true nor false"),
        ("Detected(scores, bits, scores + 6)", "mine: detect gave a p-value of 7; they go from 0 to 1"),
    ],
)
def test_other_findings_are_refused(tmp_path, detect, said):
    mine = mark(tmp_path, detect=detect)
    with pytest.raises(RecipeError, match=said):
        detected(mine, embedded(mark(tmp_path), IMAGES, KEYS, CTX), KEYS, CTX)


def test_pictures_are_only_read(tmp_path):
    """Otherwise a detector that works in place would destroy the pictures that it is shown."""
    made = embedded(mark(tmp_path), IMAGES, KEYS, CTX)
    with pytest.raises(ValueError, match="read-only"):
        detected(mark(tmp_path, detect="[image.fill(0) for image in images]"), made, KEYS, CTX)
    with pytest.raises(ValueError, match="read-only"):
        embedded(mark(tmp_path, "[image.fill(0) for image in images]"), IMAGES, KEYS, CTX)
    assert all(image.flags.writeable for image in made)
