"""A source of small pictures with splits, several formats, boxes, captions and label states, named by its path."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from variorum.schemas.annotations import Annotations, LabelState, Object, Text
from variorum.schemas.canonical import digest
from variorum.schemas.component import ClassInfo, Context, Source
from variorum.schemas.sample import CAPTURED, COMPOSITE, Sample, source_id

ANNOTATED = {"name": str(Path(__file__).with_name("annotated_set.py"))}
"""The source in recipes of tests; its fields may be added."""
WIDTH, HEIGHT = 96, 64
CLASSES = {"circle": "a circle | <b>", "square": "square"}
FORMATS = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "bmp": "BMP"}
SPLITS = ("train", "train", "validation", "test")
PLACES = ("hall", "street 5")


class AnnotatedSet(Source):
    """Picture `k` has `k % 3` objects, and its split, its format and its place by turns."""

    pictures: int = 12
    boxes: bool = True
    captions: bool = True
    states: bool = True
    splits: bool = True
    formats: tuple[str, ...] = ("jpg", "png")
    labelled: bool = True
    caption: str | None = None
    """Of every picture; by default one that says how many objects there are."""
    shifted: bool = False
    """Whether the boxes of picture 1 lie a pixel further to the right."""

    def pin(self, ctx: Context) -> str:
        """Nothing but the fields decides the pictures."""
        return digest(["annotated_set"])

    def size(self, ctx: Context) -> int:
        """Number of pictures."""
        return self.pictures

    def classes(self, ctx: Context) -> tuple[ClassInfo, ...]:
        """Two shapes."""
        return tuple(ClassInfo(*pair) for pair in CLASSES.items())

    def captioned(self, ctx: Context) -> bool:
        """As the field says."""
        return self.captions

    def annotated(self, ctx: Context) -> bool:
        """As the fields say."""
        return self.boxes or self.captions or self.states

    def read(self, start: int, stop: int, ctx: Context) -> Iterator[Sample]:
        """The pictures."""
        for k in range(start, stop):
            yield self._sample(k)

    def _sample(self, k: int) -> Sample:
        rng = np.random.default_rng(k)
        image = Image.fromarray(rng.integers(90, 110, (HEIGHT, WIDTH, 3), np.uint8))
        draw, objects = ImageDraw.Draw(image), []
        for number in range(k % 3):
            label = list(CLASSES)[number]
            left, top, side = 8 + 40 * number, 10 + k, 30 - 10 * number
            shape = draw.ellipse if number == 0 else draw.rectangle
            shape((left, top, left + side - 1, top + side - 1), fill=(220, 180, 40))
            left += self.shifted and k == 1
            objects.append(Object((left, top, side, side), label, origin="a person", mask=_region(left, top, side)))
        out, ending = io.BytesIO(), self.formats[k % len(self.formats)]
        image.save(out, FORMATS[ending], quality=90)
        held = list(CLASSES)[: k % 3]
        return Sample(
            id=source_id("annotated_set", str(k)),
            image=out.getvalue(),
            labels=tuple(held) if self.labelled else (),
            origin=f"{k}.{ending}",
            licence="CC-BY-4.0 | <i>" if k % 4 else "CC0-1.0",
            split=SPLITS[k % 4] if self.splits else "",
            annotations=Annotations(
                tuple(objects) if self.boxes else (),
                self._texts(k) if self.captions else (),
                tuple(LabelState(name, "correct" if name in held else "wrong") for name in CLASSES)
                if self.states and k % 2
                else (),
            ),
            metadata={"place": PLACES[k % 2]},
            digital_source_type=("", CAPTURED, COMPOSITE)[k % 3],
            credentials=k == 7,
        )

    def _texts(self, k: int) -> tuple[Text, ...]:
        if self.caption is not None:
            return (Text(self.caption),) if self.caption else ()
        asked = Text("what is it?", "question")
        return (Text(f"{k % 3} shapes | on <grey>, picture {k}"), asked) if k % 5 else ()


def _region(left: int, top: int, side: int) -> str:
    """The pixels of a box as a compressed RLE."""
    from pycocotools import mask

    pixels = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
    pixels[top : top + side, left : left + side] = 1
    return str(mask.encode(pixels)["counts"], "ascii")
