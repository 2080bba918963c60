"""Draws the pictures of docs/datasets/coco_o.md: twelve packaged photographs in each of the six domains, with boxes.

    python examples/coco_o_pictures.py docs/datasets

Debian's budgie-backgrounds and lomiri-wallpapers-16.04 are needed, and the weights of the style networks (`variorum
doctor --fetch`). Styles take turns, and parameters are drawn by each picture's number. A tattoo needs an object that
stands alone, so those are of single objects, cut out of the photographs.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import simplejpeg
from PIL import Image, ImageFont

from variorum.annotations import decode_mask
from variorum.generators.coco_o.stylization.domains import DOMAINS, STYLES
from variorum.kit.pictures.scene import Scene
from variorum.machine.memo import DiskMemo
from variorum.models.coco import CATEGORIES
from variorum.pixels import decode
from variorum.reports.boxes import draw_boxes
from variorum.schemas.annotations import Object
from variorum.schemas.component import Context
from variorum.sources.sample_scenes import SampleScenes
from variorum.stages.job import models

PHOTOGRAPHS = (
    "astronaut",
    "camera",
    "chelsea",
    "coffee",
    "grace_hopper",
    "canyon-wren",
    "perched-osprey",
    "desert-hike",
    "Picture_0B",
    "friends",
    "Wine",
)
"""Words of their origins. Their licences allow copies, with credit."""
ALONE = (
    ("coffee", 0),
    ("coffee", 1),
    ("canyon-wren", 0),
    ("perched-osprey", 0),
    ("Picture_0B", 0),
    ("friends", 0),
    ("Wine", 0),
    ("friends", 1),
    ("Wine", 1),
    ("coffee", 0),
    ("Picture_0B", 0),
    ("perched-osprey", 0),
)
"""Photographs and numbers of their objects, for tattoos."""
HEIGHT, WIDTH, GAP = 250, 1500, 6
MOST = 245_000
"""Bytes of a file."""
AGAIN = "{} again"
NAMES = {item.name: item.name for item in CATEGORIES} | {AGAIN.format(item.name): "" for item in CATEGORIES}
"""Only the first of several objects of a class has its name. The order decides the colours, which are ten."""


class Shown(NamedTuple):
    """A photograph with the boxes and masks of its objects."""

    image: np.ndarray
    objects: list[Object]
    masks: list[np.ndarray]


def main(folder: Path) -> None:
    """Write a picture for each domain, and one of single objects."""
    ctx = Context(0, models("embedded"), DiskMemo(Path("~/.cache/variorum/memo").expanduser()))
    source = SampleScenes(stamps="none")
    found = {}
    for sample in source.read(0, source.size(ctx), ctx):
        name = next((word for word in PHOTOGRAPHS if word in sample.origin), None)
        if name:
            found[name] = shown(sample)
    if missing := [name for name in PHOTOGRAPHS if name not in found]:
        sys.exit(f"no {', '.join(missing)}: install the packages that this file's first lines name")
    single = [cropped(found[name], number, 0.22) for name, number in ALONE]
    whole = [*(found[name] for name in PHOTOGRAPHS), cropped(found["canyon-wren"], 0, 0.3)]
    for domain in DOMAINS:
        alone = all(style.needs_subject for style in STYLES[domain].values())
        scenes = single if alone else whole
        save(
            folder / f"coco_o_{domain}.jpg", [painted(scene, domain, at, alone, ctx) for at, scene in enumerate(scenes)]
        )
    chosen = [(domain, at) for at, domain in enumerate((*DOMAINS, *DOMAINS))]
    save(folder / "coco_o_isolated.jpg", [painted(single[at % 9], domain, at // 6, True, ctx) for domain, at in chosen])


def shown(sample) -> Shown:
    image = decode(sample.image)
    objects = sample.annotations.objects
    masks = [np.where(decode_mask(item, *image.shape[:2]), 255, 0).astype(np.uint8) for item in objects if item.mask]
    return Shown(image, list(objects), masks)


def cropped(scene: Shown, number: int, margin: float) -> Shown:
    """One object with a margin, in parts of its longer side; enlarged to a short side of 320 px."""
    (left, top, wide, high), label = scene.objects[number].box, scene.objects[number].label
    reach = margin * max(wide, high)
    height, width = scene.image.shape[:2]
    x0, y0 = int(max(0, left - reach)), int(max(0, top - reach))
    x1, y1 = int(min(width, left + wide + reach)), int(min(height, top + high + reach))
    scale = max(1.0, 320 / min(x1 - x0, y1 - y0))
    image, mask = (
        cv2.resize(pixels[y0:y1, x0:x1], None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        for pixels in (scene.image, scene.masks[number])
    )
    box = tuple(scale * value for value in (left - x0, top - y0, wide, high))
    return Shown(image, [Object(box, label)], [mask])


def painted(scene: Shown, domain, at: int, alone: bool, ctx: Context) -> np.ndarray:
    """The photograph in the domain's style whose turn it is, with boxes."""
    styles = [style for style in STYLES[domain].values() if alone or not style.needs_subject]
    style, rng = styles[at % len(styles)], np.random.default_rng([2307, at])
    masks = sorted(scene.masks, key=np.count_nonzero, reverse=True)
    boxes = [item.box for item in scene.objects]
    what = Scene(scene.image, masks, masks[0] if alone else None, ctx.models.get, boxes)
    return boxed(style.paint(what, style.draw(rng), rng), scene.objects)


def boxed(picture: np.ndarray, objects: list[Object]) -> np.ndarray:
    """The picture at the row's height, with boxes and names."""
    scale = HEIGHT / picture.shape[0]
    size = round(picture.shape[1] * scale), HEIGHT
    out = Image.fromarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC))
    named: set[str] = set()
    for number, item in enumerate(objects := sorted(objects, key=lambda item: -item.box[2] * item.box[3])):
        if item.label in named:
            objects[number] = replace(item, label=AGAIN.format(item.label))
        named.add(item.label)
    draw_boxes(out, objects, scale, NAMES, ImageFont.load_default(12))
    return np.asarray(out)


def save(path: Path, pictures: list[np.ndarray]) -> None:
    """Write the pictures as lines of one width."""
    total = sum(picture.shape[1] for picture in pictures)
    number = max(1, round(total / WIDTH + 0.35))
    lines: list[list[np.ndarray]] = [[]]
    for picture in pictures:
        full = sum(one.shape[1] for one in lines[-1]) + picture.shape[1] / 2
        if full > total / number and len(lines) < number:
            lines.append([])
        lines[-1].append(picture)
    rows = []
    for line in lines:
        row = np.concatenate([np.pad(one, ((0, GAP), (0, GAP), (0, 0)), constant_values=255) for one in line], axis=1)
        rows.append(cv2.resize(row, (WIDTH, round(row.shape[0] * WIDTH / row.shape[1])), interpolation=cv2.INTER_AREA))
    pixels = np.ascontiguousarray(np.concatenate(rows))
    for quality in range(80, 40, -4):
        data = simplejpeg.encode_jpeg(pixels, quality=quality, colorsubsampling="420")
        if len(data) <= MOST:
            break
    path.write_bytes(data)
    print(path, f"{len(data) / 1000:.0f} kB")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/datasets"))
