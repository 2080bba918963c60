"""Folders of real pictures with planted faults, the same for the same seed, and the truth about every picture.

Report draws (seeds from 100) differ from tune draws in the seed, and for Fashion-MNIST in the part of the data. Sets
that are held out must not be used to choose any threshold.
"""

from __future__ import annotations

import csv
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from planted_parts import pools
from planted_parts.pools import Pool

from variorum.arrays import Pixels, Singles

REPORT = 100
"""The first seed of report draws; tune draws have the seeds 0 to 9."""


@dataclass(frozen=True)
class Shares:
    """Planted faults as shares of the pictures drawn.

    Attributes:
        any: labels changed to any other class.
        pair: labels changed to the class whose mean picture is nearest to the right one's.
        instance: labels of pictures near another class's mean, changed to that class.
        copies: pictures added that are the same file, a JPEG of lower quality, or smaller.
        foreign: pictures added that are of no class.
        blurred: blurred pictures.
    """

    any: float = 0.0
    pair: float = 0.0
    instance: float = 0.0
    copies: float = 0.0
    foreign: float = 0.0
    blurred: float = 0.0


@dataclass(frozen=True)
class PlantedSet:
    """A set with planted faults, and the way to make it.

    Attributes:
        what: what its pictures are, in a few words.
        pool: draws the pictures; its second argument says whether it's a report draw.
        shares: of the faults.
        held_out: whether no threshold may be tuned on it.
        quick: whether the short choice of sets has it.
    """

    what: str
    pool: Callable[[np.random.Generator, bool], Pool]
    shares: Shares = field(default_factory=Shares)
    held_out: bool = False
    quick: bool = False


def long_tail(head: int, ratio: float, classes: int = 10) -> list[int]:
    return [round(head * ratio ** (-k / (classes - 1))) for k in range(classes)]


SETS: dict[str, PlantedSet] = {
    "fashion_96_longtail": PlantedSet(
        "clothes enlarged from 28 to 96 px, largest class 20 times the smallest",
        lambda rng, report: pools.fashion(rng, report, long_tail(470, 20)),
        Shares(any=0.06, pair=0.03, instance=0.01, copies=0.03, foreign=0.05, blurred=0.01),
        quick=True,
    ),
    "digits": PlantedSet(
        "handwritten digits enlarged from 8 to 96 px",
        lambda rng, report: pools.digits(rng, report, 100),
        Shares(any=0.06, pair=0.02, copies=0.02, foreign=0.03),
        held_out=True,
        quick=True,
    ),
    "tiles": PlantedSet(
        "tiles of 16 photographs",
        lambda rng, report: pools.photograph_tiles(rng, report, 40),
        Shares(any=0.06, pair=0.04, copies=0.04, foreign=0.03, blurred=0.02),
        quick=True,
    ),
    "fashion_clean": PlantedSet(
        "clothes at 96 px without any fault: hard",
        lambda rng, report: pools.fashion(rng, report, [80] * 10),
        quick=True,
    ),
    "fashion_224": PlantedSet(
        "clothes enlarged from 28 to 224 px",
        lambda rng, report: pools.fashion(rng, report, [60] * 10, side=224),
        Shares(pair=0.04, instance=0.04, copies=0.02, foreign=0.03, blurred=0.01),
    ),
    "fashion_28": PlantedSet(
        "clothes at 28 px in eight classes; the foreign ones are of the two others",
        lambda rng, report: pools.fashion(rng, report, [100] * 8, side=28, without=("bag", "boot")),
        Shares(any=0.05, pair=0.05, copies=0.02, foreign=0.04, blurred=0.01),
    ),
    "fashion_96": PlantedSet(
        "clothes enlarged from 28 to 96 px",
        lambda rng, report: pools.fashion(rng, report, [80] * 10),
        Shares(any=0.1, copies=0.02, foreign=0.01),
    ),
    "fashion_noisy": PlantedSet(
        "the same with two labels in five wrong",
        lambda rng, report: pools.fashion(rng, report, [100] * 10),
        Shares(any=0.3, pair=0.1, foreign=0.02),
    ),
    "medical": PlantedSet(
        "small tiles of an eye's background, tissue and cells",
        lambda rng, report: pools.medical(rng, report, 90),
        Shares(any=0.03, pair=0.03, instance=0.02, copies=0.03, foreign=0.03, blurred=0.01),
    ),
    "grey": PlantedSet(
        "tiles of ten grey photographs",
        lambda rng, report: pools.grey_photographs(rng, report, 45),
        Shares(any=0.1, copies=0.03, foreign=0.03, blurred=0.02),
        quick=True,
    ),
    "tiles_clean": PlantedSet(
        "tiles of 16 photographs without any fault: easy", lambda rng, report: pools.photograph_tiles(rng, report, 40)
    ),
    "stamps": PlantedSet(
        "Tux Paint's stamps in nine groups",
        lambda rng, report: pools.stamps(rng, report),
        Shares(any=0.05, pair=0.03, copies=0.03, foreign=0.04, blurred=0.02),
        held_out=True,
    ),
    "faces": PlantedSet(
        "faces and other pictures of 25 px",
        lambda rng, report: pools.faces(rng, report),
        Shares(any=0.1, foreign=0.03),
        held_out=True,
        quick=True,
    ),
    "thousand": PlantedSet(
        "regions of photographs, 1,000 classes of two pictures",
        lambda rng, report: pools.regions(rng, report, 1000),
        Shares(any=0.05, copies=0.02, foreign=0.02),
    ),
}


def photographs(folder: Path) -> PlantedSet:
    """The set of ImageNet's photographs in a folder, files named `<wnid>_<name>.JPEG`."""
    return PlantedSet(
        "photographs of ImageNet in ten coarse groups",
        lambda rng, report: pools.imagenet(rng, report, folder),
        Shares(any=0.1, copies=0.04, foreign=0.05, blurred=0.02),
        held_out=True,
    )


@dataclass
class Row:
    """A picture of a set: pixels or the bytes of a file, given and true class (-1: foreign), its fault."""

    pixels: Pixels
    given: int
    true: int
    kind: str = ""
    quality: int = 0
    of: int = -1


def plant(pool: Pool, shares: Shares, rng: np.random.Generator) -> list[Row]:
    """The pictures of a set, faults included, each picture with one fault at most."""
    n = len(pool.pictures)
    rows = [Row(pixels, int(k), int(k)) for pixels, k in zip(pool.pictures, pool.label, strict=True)]
    free = rng.permutation(n)
    thumbs = thumbnails(pool.pictures)
    means = np.stack([thumbs[pool.label == k].mean(axis=0) for k in range(len(pool.names))])
    near = distances(means, means)
    np.fill_diagonal(near, np.inf)
    partner = near.argmin(axis=1)
    if shares.instance:
        to = distances(thumbs, means)
        own = to[np.arange(n), pool.label].copy()
        to[np.arange(n), pool.label] = np.inf
        hard = np.argsort(to.min(axis=1) - own, kind="stable")[: n // 4]
        for row in rng.permutation(hard)[: round(shares.instance * n)]:
            rows[row].given, rows[row].kind = int(to[row].argmin()), "flip_instance"
        free = free[[not rows[row].kind for row in free]]
    for kind, share in (("flip_any", shares.any), ("flip_pair", shares.pair)):
        many = round(share * n)
        for row in free[:many]:
            true = rows[row].true
            shift = int(rng.integers(1, len(pool.names)))
            rows[row].given = (true + shift) % len(pool.names) if kind == "flip_any" else int(partner[true])
            rows[row].kind = kind
        free = free[many:]
    many = round(shares.blurred * n)
    for row in free[:many]:
        rows[row].pixels, rows[row].kind = blurred(rows[row].pixels), "blurred"
    free = free[many:]
    for turn, row in enumerate(free[: round(shares.copies * n)].tolist()):
        rows.append(copied(rows[row], row, turn))
    frequent = pool.label[rng.permutation(n)]
    strangers = pool.strangers[: round(shares.foreign * n)]
    rows += [Row(pixels, int(k), -1, "foreign") for pixels, k in zip(strangers, frequent, strict=False)]
    return rows


def copied(row: Row, place: int, turn: int) -> Row:
    """A copy: by turns the same file, a JPEG of quality 60, and three quarters of the size."""
    pixels, height, width = row.pixels, *row.pixels.shape[:2]
    if turn % 3 == 2:
        pixels = np.asarray(cv2.resize(pixels, (width * 3 // 4, height * 3 // 4), interpolation=cv2.INTER_AREA))
    return Row(pixels, row.given, row.true, "copy", 60 if turn % 3 == 1 else 0, place)


def blurred(pixels: Pixels) -> Pixels:
    """With a Gaussian blur of a thirty-second of the shorter side, at least 1.5 px."""
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), max(1.5, min(pixels.shape[:2]) / 32)))


def thumbnails(pictures: list[Pixels]) -> Singles:
    """Small grey copies `[N, 256]` in [0, 1]."""
    small = [cv2.resize(pools.grey(one), (16, 16), interpolation=cv2.INTER_AREA).ravel() for one in pictures]
    return np.stack(small).astype(np.float32) / 255


def distances(one: Singles, other: Singles) -> Singles:
    """Squared Euclidean distances `[N, M]`."""
    squares = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1)[None]
    return np.asarray(squares - 2 * one @ other.T, np.float32)


def write(name: str, made: PlantedSet, seed: int, folder: Path) -> None:
    """Write the pictures to `photos/<given class>/` and `truth.csv` beside it.

    File names are random numbers, so that the order of the files tells nothing. `truth.csv` has the columns `path`,
    `given`, `true` (empty for foreign pictures), `kind` (empty for none) and `copy_of` (a path).
    """
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    pool = made.pool(rng, seed >= REPORT)
    rows = plant(pool, made.shares, rng)
    numbers = rng.permutation(len(rows))
    paths = [
        f"{pool.names[row.given]}/{number:05d}.{'jpg' if row.quality else 'png'}"
        for row, number in zip(rows, numbers.tolist(), strict=True)
    ]
    for row, path in zip(rows, paths, strict=True):
        place = folder / "photos" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        options = [cv2.IMWRITE_JPEG_QUALITY, row.quality] if row.quality else [cv2.IMWRITE_PNG_COMPRESSION, 3]
        cv2.imwrite(str(place), row.pixels if row.pixels.ndim == 2 else row.pixels[..., ::-1], options)
    with (folder / "truth.csv").open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["path", "given", "true", "kind", "copy_of"])
        for row, path in zip(rows, paths, strict=True):
            true = pool.names[row.true] if row.true >= 0 else ""
            table.writerow([path, pool.names[row.given], true, row.kind, paths[row.of] if row.of >= 0 else ""])
