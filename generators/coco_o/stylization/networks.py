"""Paintings by networks: in the styles that one was trained on, and in the style of any picture."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import cv2
import numpy as np

from variorum.generators.coco_o.stylization.kuwahara import kuwahara
from variorum.generators.coco_o.stylization.materials import (
    CANVASES,
    between,
    clouds,
    on_ground,
    ragged,
    relief,
    spread,
    weave,
)
from variorum.generators.coco_o.stylization.style import Drawn
from variorum.kit.corrupt.air import blurred_widely
from variorum.kit.pictures.flow import edge_flow
from variorum.kit.pictures.scene import Scene
from variorum.pixels import decode
from variorum.schemas.errors import SourceError
from variorum.sources.exports.cutouts import package_file

if TYPE_CHECKING:
    from variorum.arrays import Pixels, Singles
    from variorum.models.roles import StyleTransfer

PAINTINGS = (0, 2, 4, 5, 10, 12, 14, 23, 24)
"""The styles of `style_network` in which photographs look painted and objects stay recognisable.

8, 11, 13, 15, 18 and 22 look drawn, printed or carved; objects drown in 1, 3, 6, 7, 9, 16, 17, 19, 20, 21 and 25.
"""
LONGEST = 320, 449
"""Range of the picture's long side as a network sees it, in pixels. Its strokes have a size in pixels."""
MARGIN = 24
"""Units around an object that stands alone which a network sees with it."""
DETAIL = {"network": 0.55, "arbitrary": 0.25}
"""Share of the photograph's own fine light and shade that objects get back, so that faces keep their eyes."""


class Pattern(NamedTuple):
    """A picture inside a package whose colours and textures serve as a style; `sha256` has its first 32 digits."""

    package: str
    path: str
    licence: str
    sha256: str


PATTERNS: Mapping[str, Pattern] = {
    "astronaut": Pattern("skimage", "data/astronaut.png", "public domain (NASA)", "88431cd9653ccd539741b555fb0a46b6"),
    "coffee": Pattern("skimage", "data/coffee.png", "CC0-1.0", "cc02f8ca188b167c775a7101b5d767d1"),
    "retina": Pattern("skimage", "data/retina.jpg", "CC0-1.0", "38a07f36f27f095e818aea7b96d34202"),
    "rocket": Pattern("skimage", "data/rocket.jpg", "public domain (SpaceX)", "c2dd0de7c538df8d111e479619b12946"),
    "china": Pattern("sklearn", "datasets/images/china.jpg", "CC-BY-2.0", "8378025ad2519d649d02e32bd98990db"),
    "flower": Pattern("sklearn", "datasets/images/flower.jpg", "CC-BY-2.0", "a77f6ec41e353afdf8bdff2ea981b295"),
}
"""Photographs, not paintings: the network takes their palette and grain."""


def draw_network(rng: np.random.Generator) -> Drawn:
    """Two of the network's styles with their shares, the long side that it works at, and the canvas."""
    first, second = rng.choice(PAINTINGS, 2, replace=False).tolist()
    share = between(rng, 0.7, 1) if rng.random() < 0.5 else 1.0
    return {"styles": [first, second], "share": share, "own_colour": between(rng, 0, 0.45), **_draw_ground(rng)}


def network(scene: Scene, drawn: Drawn, rng: np.random.Generator) -> Pixels:
    """Repainted by a network in one of the styles that it was trained on, or between two."""
    model = scene.model("style_network")
    weights = np.zeros((1, model.styles), np.float32)
    weights[0, drawn["styles"]] = drawn["share"], 1 - drawn["share"]
    where = _around(scene)
    ready = _surrounded(scene, where, rng)
    (painted,) = model([ready], weights, longest=_longest(scene, where, drawn))
    return _on_canvas(painted, ready, where, scene, drawn, rng, DETAIL["network"])


def draw_arbitrary(rng: np.random.Generator) -> Drawn:
    """Two pictures whose style is taken, the share of the first, and how far the photograph is to follow them."""
    names = rng.choice(list(PATTERNS), 2, replace=False).tolist()
    share = between(rng, 0.6, 1)
    follow = between(rng, 0.8, 1.05)
    return {
        "patterns": names,
        "share": share,
        "strength": follow,
        "own_colour": between(rng, 0, 0.6),
        **_draw_ground(rng),
    }


def arbitrary(scene: Scene, drawn: Drawn, rng: np.random.Generator) -> Pixels:
    """Repainted by a network with the palette and the grain of another picture."""
    model = scene.model("style_transfer")
    where = _around(scene)
    ready = _surrounded(scene, where, rng)
    smooth = kuwahara(ready, edge_flow(ready) if scene.subject is not None else scene.flow, 2 * scene.unit)
    (own,) = model.vectors([ready])
    first, second = (_vector(model, name) for name in drawn["patterns"])
    style = drawn["share"] * first + (1 - drawn["share"]) * second
    vector = own + drawn["strength"] * (style - own)
    (painted,) = model([smooth], vector[None], longest=_longest(scene, where, drawn))
    return _on_canvas(painted, ready, where, scene, drawn, rng, DETAIL["arbitrary"])


def _draw_ground(rng: np.random.Generator) -> Drawn:
    return {
        "longest": int(rng.integers(*LONGEST)),
        "weave": between(rng, 0.03, 0.14),
        "light": between(rng, 180, 300),
        "canvas": [int(value) for value in CANVASES[rng.integers(len(CANVASES))]],
    }


Part: TypeAlias = tuple[slice, slice]
"""Rows and columns of a picture."""


def _around(scene: Scene) -> Part:
    """What a network sees of the photograph: all of it, or the object that stands alone with some margin."""
    if scene.subject is None:
        return slice(None), slice(None)
    left, top, width, height = cv2.boundingRect(scene.subject)
    margin = round(MARGIN * scene.unit)
    return slice(max(0, top - margin), top + height + margin), slice(max(0, left - margin), left + width + margin)


def _longest(scene: Scene, where: Part, drawn: Drawn) -> int:
    """Long side in pixels at which a network sees a part, at the scale of the whole picture."""
    height, width = scene.image[where].shape[:2]
    return max(1, round(int(drawn["longest"]) * max(int(height), int(width)) / max(scene.shape)))


def _surrounded(scene: Scene, where: Part, rng: np.random.Generator) -> Pixels:
    """The photograph, or the object where its own colours go on around it with some texture.

    The networks normalise each feature over the picture, so a large flat ground would drive them to extremes.
    """
    if scene.subject is None:
        return scene.image
    subject = scene.subject[where]
    shape = subject.shape[0], subject.shape[1]
    texture = clouds(shape, 12 * scene.unit, rng, 3) * (20 * (1 - subject.astype(np.float32) / 255))
    around = spread(scene.image[where], subject, 16 * scene.unit) + texture[..., None]
    return np.asarray(np.clip(around + 0.5, 0, 255), np.uint8)


def _on_canvas(
    painted: Pixels,
    photograph: Pixels,
    where: Part,
    scene: Scene,
    drawn: Drawn,
    rng: np.random.Generator,
    detail: float,
) -> Pixels:
    """A network's picture, or its object alone, on canvas.

    It has some of the photograph's own colours, and in objects some of its fine light and shade.
    """
    theirs, own = (cv2.cvtColor(picture, cv2.COLOR_RGB2LAB) for picture in (painted, photograph))
    share = drawn["own_colour"]
    theirs[..., 1:] = cv2.addWeighted(theirs[..., 1:], 1 - share, cv2.blur(own[..., 1:], (3, 3)), share, 0)
    light = own[..., 0].astype(np.float32)
    fine = light - blurred_widely(light, 5 * scene.unit)
    soft = cv2.GaussianBlur(scene.cared[where], (0, 0), 3 * scene.unit).astype(np.float32) * np.float32(detail / 255)
    theirs[..., 0] = np.clip(theirs[..., 0] + soft * fine + 0.5, 0, 255).astype(np.uint8)
    mixed = np.asarray(cv2.cvtColor(theirs, cv2.COLOR_LAB2RGB))
    if scene.subject is not None:
        outline = np.rint(255 * ragged(scene.subject[where], scene.unit, rng)).astype(np.uint8)
        alone = np.full((*scene.shape, 3), drawn["canvas"], np.uint8)
        alone[where] = on_ground(mixed, outline, drawn["canvas"])
        mixed = alone
    lit = relief(weave(scene.shape, max(2.2 * scene.unit, 2), rng), drawn["light"], drawn["weave"])
    return np.asarray(cv2.multiply(mixed, cv2.merge([lit] * 3), dtype=cv2.CV_8U))


@lru_cache(maxsize=len(PATTERNS))
def _vector(model: StyleTransfer, name: str) -> Singles:
    """A pattern's style as a vector."""
    return np.asarray(model.vectors([_pattern(name)])[0])


def _pattern(name: str) -> Pixels:
    """A pattern's central square at the size that the network sees it at."""
    pattern = PATTERNS[name]
    data = package_file(pattern.package, pattern.path, "the style arbitrary").read_bytes()
    if not hashlib.sha256(data).hexdigest().startswith(pattern.sha256):
        what = f"{pattern.path} of the installed {pattern.package}"
        raise SourceError(f"{what} isn't the picture that the style arbitrary takes; leave that style out of `styles`")
    picture = decode(data)
    side = min(picture.shape[:2])
    top, left = (picture.shape[0] - side) // 2, (picture.shape[1] - side) // 2
    square = picture[top : top + side, left : left + side]
    return np.asarray(cv2.resize(square, (256, 256), interpolation=cv2.INTER_AREA))
