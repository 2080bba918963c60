"""Distinct pictures (crops of scikit-image's and scikit-learn's photographs, and renders) and copies of them."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping
from functools import cache

import cv2
import numpy as np
import pyarrow as pa
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

from variorum.arrays import Pixels, Reals, arrow_column
from variorum.curation.copies.duplicates import Duplicates
from variorum.pixels import encode_png
from variorum.schemas.component import Context, Detector
from variorum.schemas.sample import Sample
from variorum.schemas.table import Table

CONTEXT = Context(0, None, lambda key, compute: compute())

SIDE = 160
PHOTOGRAPHS = (
    "astronaut",
    "chelsea",
    "coffee",
    "rocket",
    "stereo_motorcycle",
    "hubble_deep_field",
    "retina",
    "immunohistochemistry",
)


@cache
def crops() -> tuple[Pixels, ...]:
    """Non-overlapping crops `[160, 160, 3]` of ten photographs."""
    import skimage.data
    from sklearn.datasets import load_sample_images

    found = []
    loaded = [getattr(skimage.data, name)() for name in PHOTOGRAPHS]
    for picture in [*(item[0] if isinstance(item, tuple) else item for item in loaded), *load_sample_images().images]:
        height, width = picture.shape[:2]
        found += [
            np.ascontiguousarray(picture[top : top + SIDE, left : left + SIDE, :3])
            for top in range(0, height - SIDE + 1, SIDE)
            for left in range(0, width - SIDE + 1, SIDE)
        ]
    return tuple(found)


def render(number: int, side: int = SIDE) -> Pixels:
    """A scene with a soft background, some texture, and shapes of many colours; every number gives another one."""
    rng = np.random.default_rng(number)
    coarse = rng.random((4, 4, 3)).astype(np.float32)
    picture = np.asarray(cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC) * 255).clip(0, 255)
    scene = Image.fromarray(picture.astype(np.uint8))
    draw = ImageDraw.Draw(scene)
    for _ in range(int(rng.integers(6, 14))):
        (x, y), (width, height) = rng.uniform(-0.2, 1, 2) * side, rng.uniform(0.1, 0.5, 2) * side
        colour = tuple(int(value) for value in rng.integers(0, 256, 3))
        shape = (draw.ellipse, draw.rectangle)[int(rng.integers(2))]
        shape((x, y, x + width, y + height), fill=colour)
    noise = rng.normal(0, 4, (side, side, 3))
    return (np.asarray(scene) + noise).clip(0, 255).astype(np.uint8)


def jpeg(image: Image.Image, quality: int = 30) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Image.open(stream).convert("RGB")


def resized(image: Image.Image, share: float = 0.5) -> Image.Image:
    return image.resize((round(image.width * share), round(image.height * share)), Image.Resampling.BICUBIC)


def centre(image: Image.Image, share: float) -> Image.Image:
    width, height = image.width * (1 - share) / 2, image.height * (1 - share) / 2
    return image.crop((round(width), round(height), round(image.width - width), round(image.height - height)))


def text_box(image: Image.Image) -> Image.Image:
    image = image.copy()
    draw, (width, height) = ImageDraw.Draw(image), image.size
    draw.rectangle((0.1 * width, 0.85 * height, 0.6 * width, 0.95 * height), fill="white")
    draw.text((0.12 * width, 0.86 * height), "a line of text", fill="black")
    return image


def padded(image: Image.Image) -> Image.Image:
    frame = Image.new("RGB", (round(1.2 * image.width), round(1.2 * image.height)))
    frame.paste(image, (round(0.1 * image.width), round(0.1 * image.height)))
    return frame


def flipped(image: Image.Image) -> Image.Image:
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


TRANSFORMS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "jpeg": jpeg,
    "resize": resized,
    "brightness": lambda image: ImageEnhance.Brightness(image).enhance(1.4),
    "blur": lambda image: image.filter(ImageFilter.GaussianBlur(2)),
    "crop_90": lambda image: centre(image, 0.9),
    "crop_70": lambda image: centre(image, 0.7),
    "flip": flipped,
    "flip_jpeg": lambda image: jpeg(flipped(image)),
    "flip_resize": lambda image: resized(flipped(image)),
    "flip_crop_95": lambda image: centre(flipped(image), 0.95),
    "turn_90": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "rotate_5": lambda image: image.rotate(5, Image.Resampling.BICUBIC),
    "text": text_box,
    "padding": padded,
}
"""Ways of making a copy that people consider the same picture."""


def copy(pixels: Pixels, transform: str) -> Pixels:
    """A copy of a picture by one of `TRANSFORMS`."""
    return np.asarray(TRANSFORMS[transform](Image.fromarray(pixels)))


def measured(steps: list[Detector], samples: list[Sample], ctx: Context = CONTEXT) -> pa.Table:
    """The columns that detectors measure on samples, under their full names, after the samples' ids."""
    table = pa.table({"id": [sample.id for sample in samples]})
    for step in steps:
        rows = list(step.measure(samples, ctx))
        for name in rows[0]:
            values = [row[name] for row in rows]
            column = arrow_column(np.stack(values) if isinstance(values[0], np.ndarray) else values)
            table = table.append_column(f"{step.component_name()}.{name}", column)
    return table


def edition(pictures: list[Pixels], embedding: Reals | None = None, **columns: list) -> pa.Table:
    """The table that `duplicates` scores: one row per picture, with its own measurements and embeddings, if given.

    By default every picture is an unlabelled original of its own source, under CC0, in split `test`.
    """
    ids = columns.pop("id", [f"{k:032x}" for k in range(len(pictures))])
    table = measured([Duplicates()], [Sample(name, picture) for name, picture in zip(ids, pictures, strict=True)])
    n = len(pictures)
    given = {
        "id": ids,
        "sha256": [hashlib.sha256(encode_png(picture)).hexdigest() for picture in pictures],
        "source": ids,
        "label": [-1] * n,
        "licence": ["CC0-1.0"] * n,
        "variant": ["original"] * n,
        "split": ["test"] * n,
        "origin": [f"{k}.png" for k in range(n)],
        **columns,
    }
    for name, values in given.items():
        if name != "id":
            table = table.append_column(name, arrow_column(values))
    return table if embedding is None else table.append_column("features.embedding", arrow_column(embedding))


def scored(step: Detector, table: pa.Table, references: Mapping[str, Table] | None = None) -> pa.Table:
    """The table with the columns that the detector adds."""
    name = step.component_name()
    for column, values in step.score(Table(table, name, references or {}), CONTEXT).items():
        table = table.append_column(f"{name}.{column}", arrow_column(values))
    return table


def figures(step: Detector, table: pa.Table) -> Mapping[str, object]:
    """The figures of a detector for an edition that it has scored."""
    return step.figures(Table(table, step.component_name()), CONTEXT)
