"""A folder of real photographs with known faults: wrong labels, copies, foreign pictures and damage.

The pictures are tiles of photographs from scikit-image and scikit-learn; each photograph is a class.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from variorum.kit.copies.pdq import pdq
from variorum.pixels import decode

CLASSES = (
    "brick",
    "chelsea",
    "china",
    "coffee",
    "flower",
    "grass",
    "hubble_deep_field",
    "ihc",
    "motorcycle_left",
    "retina",
)
FOREIGN = ("astronaut", "camera", "cell", "clock_motion", "coins", "gravel", "moon", "page", "rocket", "text")

STRUCTURE = 60
"""Least PDQ quality of a tile to copy: the hash of a dark or blank one (below 50) is meaningless."""


@dataclass
class Faults:
    """File names (`class/file`) by fault.

    Attributes:
        flips: files with a wrong label, and the right label.
        copies: copies, and the file that each is a copy of.
        foreign: pictures of no class.
        damage: pictures that show nothing.
    """

    flips: dict[str, str] = field(default_factory=dict)
    copies: dict[str, str] = field(default_factory=dict)
    foreign: set[str] = field(default_factory=set)
    damage: set[str] = field(default_factory=set)


def photograph(name: str) -> np.ndarray:
    """A photograph from one of the two packages, RGB `[H, W, 3]`."""
    for package, folder in (("skimage", "data"), ("sklearn", "datasets/images")):
        spec = importlib.util.find_spec(package)
        assert spec
        for path in (Path(str(spec.origin)).parent / folder).glob(f"{name}.[pj][np]g"):
            return decode(path.read_bytes())
    raise FileNotFoundError(name)


def tiles(name: str, side: int, most: int) -> list[np.ndarray]:
    """Up to `most` non-overlapping tiles of a photograph, spread over it, row by row."""
    pixels = photograph(name)
    corners = [
        (top, left)
        for top in range(0, pixels.shape[0] - side + 1, side)
        for left in range(0, pixels.shape[1] - side + 1, side)
    ]
    chosen = (
        [corners[i * len(corners) // most] for i in range(min(most, len(corners)))] if len(corners) > most else corners
    )
    return [np.ascontiguousarray(pixels[top : top + side, left : left + side]) for top, left in chosen]


def save(folder: Path, label: str, name: str, pixels: np.ndarray, quality: int = 95) -> str:
    place = folder / label
    place.mkdir(parents=True, exist_ok=True)
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if name.endswith(".jpg") else []
    cv2.imwrite(str(place / name), pixels[..., ::-1], options)
    return f"{label}/{name}"


def inject(folder: Path, *, each: int = 20, side: int = 96, seed: int = 0) -> Faults:
    """Write about 200 pictures, 10 % with a flipped label, plus 5 % copies, 5 % foreign and 3 % damaged ones."""
    rng = np.random.default_rng(seed)
    faults, clean = Faults(), []
    everything = [(label, pixels) for label in CLASSES for pixels in tiles(label, side, each)]
    flipped = set(rng.choice(len(everything), len(everything) // 10, replace=False).tolist())
    for number, (label, pixels) in enumerate(everything):
        given = label
        if number in flipped:
            given = CLASSES[(CLASSES.index(label) + int(rng.integers(1, len(CLASSES)))) % len(CLASSES)]
        path = save(folder, given, f"{number:04d}.jpg", pixels)
        if number in flipped:
            faults.flips[path] = label
        elif pdq(pixels)[1] >= STRUCTURE:
            clean.append((path, label, pixels))
    chosen = rng.choice(len(clean), len(everything) // 20 + 6, replace=False).tolist()
    count = len(everything) // 20
    for turn, index in enumerate(chosen[:count]):
        path, label, pixels = clean[index]
        name, quality = f"copy{turn:02d}.jpg", 95
        if turn % 3 == 0:
            quality = 50
        elif turn % 3 == 1:
            pixels = cv2.resize(pixels, (side * 3 // 4, side * 3 // 4), interpolation=cv2.INTER_AREA)
        else:
            pixels = np.ascontiguousarray(pixels[:, ::-1])
        faults.copies[save(folder, label, name, pixels, quality)] = path
    strangers = [pixels for name in FOREIGN for pixels in tiles(name, side, 3)]
    for turn, pixels in enumerate(strangers[i] for i in rng.permutation(len(strangers))[:count]):
        label = CLASSES[int(rng.integers(len(CLASSES)))]
        faults.foreign.add(save(folder, label, f"foreign{turn:02d}.jpg", pixels))
    for turn, index in enumerate(chosen[count:]):
        _, label, pixels = clean[index]
        damaged = (np.zeros_like(pixels), cv2.GaussianBlur(pixels, (0, 0), 12), np.full_like(pixels, 255))[turn % 3]
        faults.damage.add(save(folder, label, f"damage{turn:02d}.jpg", damaged))
    return faults
