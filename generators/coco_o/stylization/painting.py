"""Styles of the domain painting: watercolour, oil, and two kinds of networks that learned from paintings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from variorum.generators.coco_o.stylization.kuwahara import kuwahara, kuwahara_widely
from variorum.generators.coco_o.stylization.materials import (
    CANVASES,
    between,
    clouds,
    on_ground,
    paper,
    ragged,
    relief,
    smoothstep,
    spread,
    tone,
    weave,
)
from variorum.generators.coco_o.stylization.networks import arbitrary, draw_arbitrary, draw_network, network
from variorum.generators.coco_o.stylization.strokes import bristles, laid
from variorum.generators.coco_o.stylization.style import Drawn, Style
from variorum.kit.corrupt.air import blurred_widely
from variorum.kit.pictures.scene import Scene

if TYPE_CHECKING:
    from variorum.arrays import Pixels, Singles

WASHES = ((196, 214, 226), (222, 208, 178), (206, 218, 190), (226, 200, 190), (206, 204, 210))
"""Thin washes behind an object that stands alone."""
TOUCH = 0.5
"""Share of an object's fine light and shade that a watercolour has besides its washes."""
SMOOTH = 1.3
"""Scale that strokes are drawn at below which their edges are blurred."""
FINEST = 1.2
"""Pixels; strokes are no thinner, however small the picture."""


# ── watercolour ──────────────────────────────────────────────────────────────────────────────────────────────────────


def draw_watercolour(rng: np.random.Generator) -> Drawn:
    """Lengths are in units, colours RGB, angles degrees; the others have no unit."""
    return {
        "stroke": between(rng, 3.5, 6),
        "detail": between(rng, 1.6, 2.6),
        "key": between(rng, 0.5, 0.62),
        "saturation": between(rng, 1.0, 1.35),
        "dilution": between(rng, 0.7, 1.0),
        "turbulence": between(rng, 0.12, 0.26),
        "granulation": between(rng, 0.06, 0.18),
        "edges": between(rng, 3, 7),
        "gaps": between(rng, 0.4, 1),
        "margin": between(rng, 3, 8) if rng.random() < 0.5 else 0.0,
        "tooth": between(rng, 0.06, 0.13),
        "light": between(rng, 0, 360),
        "paper": [int(value) for value in (253, 250, 242) - rng.integers(0, 9, 3)],
        "wash": [int(value) for value in WASHES[rng.integers(len(WASHES))]],
    }


def watercolour(scene: Scene, drawn: Drawn, rng: np.random.Generator) -> Pixels:
    """Washes of transparent paint on rough paper.

    Paint absorbs light, so more of it raises the transmittance to a power (Bousseau et al., "Interactive Watercolor
    Rendering", NPAR 2006). Pigment gathers at the edges of washes and in the hollows of the paper; highlights and gaps
    between washes stay white.
    """
    unit, shape = scene.unit, scene.shape
    scene = _toned(scene, drawn, (255, 255, 255))
    broad = kuwahara_widely(scene.image, scene.flow, drawn["stroke"] * unit)
    fine = kuwahara(scene.image, scene.flow, drawn["detail"] * unit)
    washes = kuwahara(_mixed(broad, fine, _detail(scene)), scene.flow, 0.6 * drawn["stroke"] * unit)
    washes = _touched(washes, scene)
    tooth, turbulence = paper(shape, unit, rng), clouds(shape, 60 * unit, rng, 4)

    light = cv2.cvtColor(washes, cv2.COLOR_RGB2GRAY).astype(np.float32) * np.float32(1 / 255)
    white = max(float(np.percentile(light, 97)), 0.6)
    light *= np.float32(1 / white)
    step = blurred_widely(light, 4 * unit) - cv2.GaussianBlur(light, (0, 0), 1.2 * unit)
    amount = 1 + drawn["turbulence"] * turbulence - drawn["granulation"] * tooth + drawn["edges"] * np.maximum(step, 0)
    gaps = smoothstep(-8 * step + 0.12 * tooth, 0.35, 0.8) * np.float32(drawn["gaps"])
    amount *= (1 - 0.9 * smoothstep(light + 0.04 * turbulence, 0.82, 1.0)) * (1 - gaps)
    if scene.subject is None:
        distance = _to_frame(shape) / unit - drawn["margin"] + 1.2 * turbulence + 0.5 * tooth
        if drawn["margin"]:
            amount *= smoothstep(distance, -0.8, 0.8) * (1 + 0.7 * np.exp(-((distance / 2.2) ** 2)))
    amount = np.clip(amount * np.float32(drawn["dilution"]), 0, 2.2)

    transmitted = np.clip(washes.astype(np.float32) * np.float32(1 / (255 * white)), 0.06, 1)
    density = cv2.log(transmitted) * amount[..., None]
    grazed = np.clip(relief(tooth, drawn["light"], drawn["tooth"]), 0.85, 1.15)[..., None]
    lit = cv2.exp(density) * grazed * np.asarray(drawn["paper"], np.float32)
    if scene.subject is not None:
        lit *= _wash(drawn["wash"], scene.subject, unit, rng)
    return np.asarray(np.clip(lit + 0.5, 0, 255), np.uint8)


def _wash(colour: list[int], subject: Pixels, unit: float, rng: np.random.Generator) -> Singles:
    """Draw a loose wash around the object, `[H, W, 3]`: it has a ragged end and is darker there."""
    shape = subject.shape[0], subject.shape[1]
    near = blurred_widely(subject.astype(np.float32), 24 * unit) * np.float32(1 / 255)
    extent = np.asarray(near + 0.08 * clouds(shape, 90 * unit, rng, 4) - 0.1, np.float32)
    outside = 1 - subject.astype(np.float32) * np.float32(1 / 255)
    amount = smoothstep(extent, -0.02, 0.03) * (0.8 + 0.7 * np.exp(-((extent / 0.05) ** 2))) * outside
    return np.asarray(1 - amount[..., None] * (1 - np.asarray(colour, np.float32) / 255), np.float32)


def _to_frame(shape: tuple[int, int]) -> Singles:
    """Distance of each pixel to the frame."""
    rows, columns = (np.minimum(np.arange(side), np.arange(side)[::-1]).astype(np.float32) for side in shape)
    return np.minimum(rows[:, None], columns[None])


def _detail(scene: Scene) -> Singles:
    """1 where a picture has much fine detail, 0 where it has none, `[H, W, 1]`."""
    grey = cv2.cvtColor(scene.image, cv2.COLOR_RGB2GRAY)
    fine = cv2.absdiff(grey, cv2.GaussianBlur(grey, (0, 0), 3 * scene.unit))
    local = blurred_widely(fine.astype(np.float32), 7 * scene.unit)
    return smoothstep(local, 4, 12)[..., None]


def _touched(washes: Pixels, scene: Scene) -> Pixels:
    """Washes with the fine light and shade of objects, as of eyes, put in with a small brush."""
    grey = scene.grey.astype(np.float32)
    fine = grey - blurred_widely(grey, 5 * scene.unit)
    soft = cv2.GaussianBlur(scene.cared, (0, 0), 2 * scene.unit).astype(np.float32) * np.float32(TOUCH / 255)
    return np.asarray(np.clip(washes + (soft * fine)[..., None] + 0.5, 0, 255), np.uint8)


def _mixed(one: Pixels, other: Pixels, share: Singles) -> Pixels:
    """The one where the share of the other is 0."""
    return np.asarray(one + share * (other.astype(np.float32) - one) + 0.5, np.uint8)


# ── oil ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def draw_oil(rng: np.random.Generator) -> Drawn:
    """Lengths are in units, colours RGB, angles degrees, `detail` grey levels; the others have no unit."""
    return {
        "widths": [between(rng, 11, 15), between(rng, 6, 8), between(rng, 2.6, 3.4), between(rng, 1.2, 1.6)],
        "length": int(rng.integers(1, 4)),
        "detail": between(rng, 15, 22),
        "jitter": between(rng, 0.02, 0.07),
        "turn": between(rng, 0, 180),
        "bristles": between(rng, 0.5, 1),
        "key": between(rng, 0.36, 0.5),
        "saturation": between(rng, 1.0, 1.4),
        "impasto": between(rng, 0.25, 0.55),
        "weave": between(rng, 0.15, 0.5),
        "light": between(rng, 180, 300),
        "canvas": [int(value) for value in CANVASES[rng.integers(len(CANVASES))]],
    }


def oil(scene: Scene, drawn: Drawn, rng: np.random.Generator) -> Pixels:
    """Strokes of a bristle brush, wide in flat areas and fine at details, thick enough to catch the light.

    The finest, for eyes and mouths, are laid in objects alone.
    """
    unit, (height, width) = scene.unit, scene.shape
    subject = scene.subject
    scene = _toned(scene, drawn, None)
    care = scene.cared > 127
    seen = kuwahara(scene.image, scene.flow, 2.5 * unit)
    seen[care] = cv2.bilateralFilter(scene.image, 5, 30, max(1.2 * unit, 0.6))[care]
    strokes = laid(
        seen,
        scene.flow,
        drawn["canvas"],
        None if subject is None else subject > 60,
        [max(breadth * unit, FINEST) for breadth in drawn["widths"]],
        length=drawn["length"],
        detail=drawn["detail"],
        jitter=drawn["jitter"],
        turn=drawn["turn"],
        rng=rng,
        care=care,
    )
    if subject is not None:
        outline = cv2.resize(ragged(subject, unit, rng), strokes.numbers.shape[::-1], interpolation=cv2.INTER_LINEAR)
        strokes.numbers[outline < 0.5] = 0
    pixel = unit * strokes.scale
    streaks = bristles(strokes, drawn["bristles"] / max(unit, 0.3), rng)
    paint = rng.uniform(0.6, 1.4, len(strokes.colours)).astype(np.float32)
    paint[0] = 0
    surface = cv2.GaussianBlur(np.take(paint, strokes.numbers) * (2.2 + 0.9 * streaks), (0, 0), max(0.55 * pixel, 0.3))
    surface += weave(streaks.shape, max(2.2 * pixel, 2), rng) * np.float32(drawn["weave"])
    lit = relief(surface, drawn["light"], drawn["impasto"])
    shade = (0.35 + 0.65 * lit) * (1 + 0.05 * streaks)
    colours = np.take(strokes.colours, strokes.numbers, axis=0)
    shaded = cv2.multiply(colours, cv2.merge([shade] * 3), dtype=cv2.CV_8U)
    gloss = np.clip(90 * lit - 113, 0, 60).astype(np.uint8)
    shining = cv2.add(shaded, cv2.merge([gloss] * 3))
    if strokes.scale < SMOOTH:  # too little is shrunk to smooth the strokes' edges
        shining = cv2.GaussianBlur(shining, (0, 0), 0.5)
    return np.asarray(cv2.resize(shining, (width, height), interpolation=cv2.INTER_AREA))


# ── shared ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _toned(scene: Scene, drawn: Drawn, ground: tuple[int, int, int] | None) -> Scene:
    """The scene in the painter's tones.

    An object alone stands on the ground's colour, or on its own colours if that is None.
    """
    subject = scene.subject
    image = tone(scene.image, drawn["key"], drawn["saturation"], None if subject is None else subject > 100)
    if subject is not None:
        image = spread(image, subject, 5 * scene.unit) if ground is None else on_ground(image, subject, ground)
    return replace(scene, image=image)


STYLES: Mapping[str, Style] = {
    "watercolour": Style(draw_watercolour, watercolour),
    "oil": Style(draw_oil, oil),
    "network": Style(draw_network, network, models=("style_network",)),
    "arbitrary": Style(draw_arbitrary, arbitrary, models=("style_transfer",)),
}
