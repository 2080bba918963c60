"""Real labelled pictures from Python and Debian packages, and strangers that belong to none of their classes."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from variorum.arrays import Ints, Pixels
from variorum.pixels import decode
from variorum.sources.fashion_mnist import DEBIAN, idx_files
from variorum.sources.folders.idx import read_idx

STAMPS = Path("/usr/share/tuxpaint/stamps")
SIDE = 96

FASHION = ("tshirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot")
PHOTOGRAPHS = (
    "brick",
    "camera",
    "cell",
    "chelsea",
    "china",
    "coffee",
    "coins",
    "flower",
    "grass",
    "gravel",
    "hubble_deep_field",
    "ihc",
    "motorcycle_left",
    "retina",
    "rocket",
    "astronaut",
)
"""Photographs of scikit-image and scikit-learn with at least 30 tiles of 56 px."""
GREY = ("brick", "camera", "cell", "coins", "grass", "gravel", "moon", "page", "text", "clock_motion")
STAMP_GROUPS = ("animals", "clothes", "food", "household", "people", "plants", "seasonal", "town", "vehicles")
GROUPS = {
    "birds": "brambling robin water_ouzel black_grouse quail lorikeet jacamar black_swan flamingo limpkin "
    "red-backed_sandpiper king_penguin",
    "reptiles": "European_fire_salamander bullfrog mud_turtle American_chameleon Gila_monster American_alligator "
    "green_snake night_snake sea_snake",
    "invertebrates": "harvestman black_widow flatworm sea_slug fiddler_crab hermit_crab tiger_beetle dung_beetle ant "
    "mantis damselfly sulphur_butterfly",
    "dogs": "Shih-Tzu Afghan_hound black-and-tan_coonhound Irish_wolfhound otterhound American_Staffordshire_terrier "
    "Norfolk_terrier Sealyham_terrier Boston_bull Tibetan_terrier flat-coated_retriever German_short-haired_pointer "
    "Brittany_spaniel Sussex_spaniel malinois Shetland_sheepdog German_shepherd Appenzeller French_bulldog "
    "Siberian_husky Leonberg chow toy_poodle white_wolf African_hunting_dog",
    "mammals": "koala sea_lion grey_fox Egyptian_cat jaguar American_black_bear wood_rabbit fox_squirrel zebra ox ibex "
    "llama otter orangutan guenon colobus titi Indian_elephant",
    "vehicles": "airship bobsled container_ship fire_engine freight_car golfcart harvester lifeboat mobile_home moped "
    "motor_scooter moving_van oxcart passenger_car schooner steam_locomotive tricycle unicycle warplane",
    "clothes": "academic_gown bikini bulletproof_vest cowboy_hat gasmask football_helmet jersey knee_pad Loafer "
    "miniskirt pickelhaube poncho running_shoe sarong chain_mail",
    "buildings": "apiary bakery barn breakwater cliff_dwelling dam drilling_platform greenhouse tobacco_shop toyshop "
    "water_tower yurt stone_wall china_cabinet",
    "devices": "car_mirror cash_machine CD_player digital_clock electric_fan espresso_maker hand-held_computer iPod "
    "laptop microphone odometer power_drill projector radio_telescope refrigerator slot space_bar",
    "food": "consomme French_loaf mashed_potato spaghetti_squash bell_pepper orange jackfruit chocolate_sauce burrito",
}
"""Classes of ImageNet by coarse group; those in no group are strangers."""


class NotInstalled(Exception):
    """A Debian package with the pictures is missing."""


@dataclass(frozen=True)
class Pool:
    """Pictures to draw from.

    Attributes:
        pictures: pixels, grey `[H, W]` or RGB `[H, W, 3]`.
        label: class of each.
        names: of the classes.
        strangers: pictures of no class, the ones to take first in front.
    """

    pictures: list[Pixels]
    label: Ints
    names: tuple[str, ...]
    strangers: list[Pixels]


def enlarged(pixels: Pixels, side: int) -> Pixels:
    """A square picture enlarged smoothly, so it is soft."""
    return np.asarray(cv2.resize(pixels, (side, side), interpolation=cv2.INTER_CUBIC), np.uint8)


def grey(pixels: Pixels) -> Pixels:
    return pixels if pixels.ndim == 2 else np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.uint8)


@cache
def photograph(name: str) -> Pixels:
    """A photograph from one of the two packages, RGB `[H, W, 3]`."""
    for package, folder in (("skimage", "data"), ("sklearn", "datasets/images")):
        spec = importlib.util.find_spec(package)
        assert spec
        for path in (Path(str(spec.origin)).parent / folder).glob(f"{name}.[pj][np]g"):
            return decode(path.read_bytes())
    raise FileNotFoundError(name)


def tiles(name: str, side: int, most: int, rng: np.random.Generator, least_spread: float = 4.0) -> list[Pixels]:
    """Up to `most` tiles of a photograph that don't overlap, on a grid with a random offset; empty ones are left out.

    Args:
        name: of the photograph.
        side: of a tile, in pixels.
        most: tiles to draw.
        rng: draws offset and tiles.
        least_spread: least standard deviation of a tile's grey levels.
    """
    pixels = photograph(name)
    tops, lefts = (np.arange(int(rng.integers(whole % side + 1)), whole - side + 1, side) for whole in pixels.shape[:2])
    every = [np.ascontiguousarray(pixels[top : top + side, left : left + side]) for top in tops for left in lefts]
    every = [tile for tile in every if grey(tile).std() >= least_spread]
    return [every[i] for i in rng.permutation(len(every))[:most]]


def of_classes(named: dict[str, list[Pixels]], strangers: list[Pixels]) -> Pool:
    label = np.repeat(np.arange(len(named)), [len(some) for some in named.values()])
    return Pool([one for some in named.values() for one in some], label, tuple(named), strangers)


@cache
def fashion_part(part: str) -> tuple[Pixels, Ints]:
    """Fashion-MNIST of one part. Raises NotInstalled."""
    images, labels = idx_files(part, DEBIAN)
    try:
        return read_idx(images), read_idx(labels).astype(np.int64)
    except FileNotFoundError:
        raise NotInstalled("Fashion-MNIST is missing; install it with: make fashion") from None


def fashion(
    rng: np.random.Generator, report: bool, sizes: list[int], side: int = SIDE, without: tuple[str, ...] = ()
) -> Pool:
    """Clothes from Fashion-MNIST, of the part for testing in report draws.

    Args:
        rng: draws pictures, and which class has which size.
        report: whether the draw is for the report.
        sizes: of the classes.
        side: of the pictures; more than 28 enlarges them.
        without: classes left out, which are the strangers then; otherwise strangers are digits and tiles.
    """
    pictures, label = fashion_part("t10k" if report else "train")
    named: dict[str, list[Pixels]] = {}
    kept = [name for name in FASHION if name not in without]
    for name, size in zip(rng.permutation(kept).tolist(), sizes, strict=True):
        rows = rng.permutation(np.flatnonzero(label == FASHION.index(name)))[:size]
        named[name] = [resized(pictures[row], side) for row in rows]
    named = dict(sorted(named.items()))
    if without:
        others = np.flatnonzero(np.isin(label, [FASHION.index(name) for name in without]))
        return of_classes(named, [resized(pictures[row], side) for row in rng.permutation(others)[:200]])
    return of_classes(named, mixed(digit_strangers(rng, side), grey_tiles(rng, side), rng))


def resized(pixels: Pixels, side: int) -> Pixels:
    return pixels if pixels.shape[0] == side else enlarged(pixels, side)


def digit_strangers(rng: np.random.Generator, side: int) -> list[Pixels]:
    pictures, _ = all_digits()
    return [enlarged(pictures[row], side) for row in rng.permutation(len(pictures))[:100]]


def grey_tiles(rng: np.random.Generator, side: int) -> list[Pixels]:
    names = ("astronaut", "coffee", "chelsea", "rocket", "gravel", "coins")
    return [enlarged(grey(tile), side) for name in names for tile in tiles(name, 56, 20, rng)]


def mixed(one: list[Pixels], other: list[Pixels], rng: np.random.Generator) -> list[Pixels]:
    """As many of both kinds, in turn."""
    many = min(len(one), len(other))
    pairs = zip(rng.permutation(len(one))[:many].tolist(), rng.permutation(len(other))[:many].tolist(), strict=True)
    return [picture for i, j in pairs for picture in (one[i], other[j])]


@cache
def all_digits() -> tuple[Pixels, Ints]:
    """scikit-learn's 1797 handwritten digits, `[1797, 8, 8]` in 0..255, and their labels."""
    from sklearn.datasets import load_digits

    data = load_digits()
    return np.round(data.images * (255 / 16)).astype(np.uint8), data.target.astype(np.int64)


def digits(rng: np.random.Generator, report: bool, each: int, side: int = SIDE) -> Pool:
    """Handwritten digits, enlarged from 8 px; strangers are clothes."""
    pictures, label = all_digits()
    named = {
        f"digit_{k}": [enlarged(pictures[row], side) for row in rng.permutation(np.flatnonzero(label == k))[:each]]
        for k in range(10)
    }
    clothes, _ = fashion_part("t10k" if report else "train")
    return of_classes(named, [enlarged(clothes[row], side) for row in rng.permutation(len(clothes))[:200]])


def faces(rng: np.random.Generator, report: bool) -> Pool:
    """scikit-image's 100 faces and 100 other pictures of 25 px; strangers are clothes."""
    from skimage.data import lfw_subset

    pictures = np.round(lfw_subset() * 255).astype(np.uint8)
    clothes, _ = fashion_part("t10k" if report else "train")
    strangers = [np.asarray(cv2.resize(clothes[row], (25, 25)), np.uint8) for row in rng.permutation(len(clothes))[:50]]
    return of_classes({"face": list(pictures[:100]), "other": list(pictures[100:])}, strangers)


def photograph_tiles(rng: np.random.Generator, report: bool, each: int, side: int = 56) -> Pool:
    """Tiles of photographs, a class for each; strangers are tiles of other ones."""
    named = {name: tiles(name, side, each, rng, 2.0) for name in PHOTOGRAPHS}
    return of_classes(
        named, [tile for name in ("moon", "clock_motion", "page", "text") for tile in tiles(name, side, 15, rng)]
    )


def grey_photographs(rng: np.random.Generator, report: bool, each: int, side: int = 48) -> Pool:
    """Tiles of grey photographs, a class for each; strangers are tiles of colour photographs, made grey."""
    named = {name: [grey(tile) for tile in tiles(name, side, each, rng, 2.0)] for name in GREY}
    others = ("chelsea", "coffee", "flower", "china", "motorcycle_left")
    return of_classes(named, [grey(tile) for name in others for tile in tiles(name, side, 15, rng)])


def medical(rng: np.random.Generator, report: bool, each: int, side: int = 40) -> Pool:
    """Small tiles of an eye's background, stained tissue, cells and two non-medical pictures, enlarged to 96 px.

    Near classes are the centre and the rim of the eye's background, and tissue with more and with less brown stain.
    """
    from skimage.color import rgb2hed

    eye, size = photograph("retina"), photograph("retina").shape[0]
    eye_tiles: dict[str, list[Pixels]] = {"retina_centre": [], "retina_rim": []}
    shift = int(rng.integers(side))
    for top in range(shift, size - side + 1, side):
        for left in range(shift, size - side + 1, side):
            from_centre = np.hypot(top + side / 2 - size / 2, left + side / 2 - size / 2) / (size / 2)
            name = "retina_centre" if from_centre < 0.4 else "retina_rim" if 0.65 < from_centre < 0.9 else ""
            tile = eye[top : top + side, left : left + side]
            if name and grey(tile).std() >= 2:
                eye_tiles[name].append(np.ascontiguousarray(tile))
    tissue = tiles("ihc", side, 200, rng)
    brown = np.array([rgb2hed(tile)[..., 2].mean() for tile in tissue])
    order = np.argsort(brown)
    third = len(order) // 3
    named = {
        **{name: [some[i] for i in rng.permutation(len(some))[:each]] for name, some in eye_tiles.items()},
        "tissue_blue": [tissue[i] for i in order[:third]][:each],
        "tissue_brown": [tissue[i] for i in order[-third:]][:each],
        "cells": tiles("cell", side, each, rng, 5.0),
        "galaxies": tiles("hubble_deep_field", side, each, rng),
        "moon": tiles("moon", side, each, rng, 2.0),
    }
    strangers = [tile for name in ("coins", "grass", "coffee", "page") for tile in tiles(name, side, 15, rng)]
    return of_classes(
        {name: [enlarged(tile, SIDE) for tile in some] for name, some in named.items()},
        [enlarged(tile, SIDE) for tile in strangers],
    )


def regions(rng: np.random.Generator, report: bool, classes: int, side: int = 64, part: int = 44) -> Pool:
    """Regions of photographs, a class for each, with two crops that overlap by half or less in each direction."""
    names = [name for name in (*PHOTOGRAPHS, "moon", "clock_motion") if name != "astronaut"]
    every = [tile for name in names for tile in tiles(name, side, 10_000, rng, 6.0)]
    chosen = [every[i] for i in rng.permutation(len(every))[:classes]]
    named = {
        f"region_{number:04d}": [
            np.ascontiguousarray(tile[:part, :part]),
            np.ascontiguousarray(tile[side - part :, side - part :]),
        ]
        for number, tile in enumerate(chosen)
    }
    return of_classes(named, tiles("astronaut", part, 100, rng))


def stamps(rng: np.random.Generator, report: bool, side: int = 128) -> Pool:
    """Tux Paint's stamps in nine groups, on white; strangers are its symbols."""
    if not STAMPS.is_dir():
        raise NotInstalled("Tux Paint's stamps are missing; install them with: make stamps")
    named = {group: [stamp(path, side) for path in sorted((STAMPS / group).rglob("*.png"))] for group in STAMP_GROUPS}
    symbols = sorted((STAMPS / "symbols").rglob("*.png"))
    return of_classes(named, [stamp(symbols[i], side) for i in rng.permutation(len(symbols))[:60]])


def stamp(path: Path, side: int) -> Pixels:
    """A stamp on white, centred in a square."""
    loaded = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert loaded is not None, path
    if loaded.ndim == 2:
        loaded = cv2.cvtColor(loaded, cv2.COLOR_GRAY2BGR)
    pixels = loaded[..., 2::-1].astype(np.float32)
    if loaded.shape[2] == 4:
        share = loaded[..., 3:].astype(np.float32) / 255
        pixels = pixels * share + 255 * (1 - share)
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    square = np.full((side, side, 3), 255, np.uint8)
    top, left = (side - size[1]) // 2, (side - size[0]) // 2
    square[top : top + size[1], left : left + size[0]] = np.clip(np.round(small), 0, 255)
    return square


def imagenet(rng: np.random.Generator, report: bool, folder: Path) -> Pool:
    """Photographs named `<wnid>_<name>.JPEG`, in coarse groups; those of no group are strangers."""
    group = {name: key for key, names in GROUPS.items() for name in names.split()}
    named: dict[str, list[Pixels]] = {name: [] for name in GROUPS}
    strangers = []
    for path in sorted(folder.glob("*.JPEG")):
        pixels = decode(path.read_bytes())
        scale = 256 / min(pixels.shape[:2])
        if scale < 1:
            pixels = np.asarray(cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
        named.get(group.get(path.stem.partition("_")[2], ""), strangers).append(pixels)
    return of_classes(named, [strangers[i] for i in rng.permutation(len(strangers))])
