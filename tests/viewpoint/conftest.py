"""A box that is blue on two sides, as OBJ files in archives, and a classifier that goes by colour."""

from __future__ import annotations

import csv
import zipfile

import cv2
import numpy as np
import pytest

from variorum.models import ModelTable
from variorum.models.brought.function import from_function
from variorum.pixels import encode_png
from variorum.schemas.component import Context
from variorum.sources.objects_3d import Objects3d

BALL, CRATE = "n02802426", "n03127925"
RED, BLUE = (200, 30, 30), (30, 30, 200)
MTL = """newmtl painted
Kd 1 1 1
map_Kd paint.png
newmtl plain
Kd 0.12 0.12 0.78
newmtl red
Kd 0.78 0.12 0.12
newmtl glass
d 0.1
"""


def box_obj(mtl="box.mtl"):
    """A cube: blue towards x and -x, red elsewhere, towards z and -z by a texture; beside it a pane of glass."""
    corners = [(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]
    lines = [f"mtllib {mtl}", *(f"v {x} {y} {z}" for x, y, z in corners)]
    lines += [f"v {2 * x} {2 * y} {2 * z}" for x, y, z in corners]
    lines += ["vt 0 0", "vt 0.49 0", "vt 0.49 1", "vt 0 1"]  # the left half of the texture
    lines += ["usemtl painted", "f 2/1 6/2 8/3 4/4", "f -16/1 -12/2 -10/3 -14/4"]  # z, and -z by numbers from the end
    lines += ["usemtl plain", "f 1 2 4 3", "f 5 6 8 7", "usemtl red", "f 1 2 6 5", "f 3 4 8 7"]
    return "\n".join([*lines, "usemtl glass", "f 9 10 12 11", ""])


def paint():
    """A picture whose left half is red and whose right half is green."""
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:, :4], pixels[:, 4:] = RED, (0, 255, 0)
    return encode_png(pixels)


def write_table(file, rows):
    with file.open("w", newline="") as opened:
        csv.writer(opened).writerows([("id", "wnid", "licence", "author"), *rows])
    return file


def pack(file, **changed):
    """An archive of the box with what it needs, in the folder `deep`."""
    files = {"box.obj": box_obj(), "box.mtl": MTL, "paint.png": paint(), **changed}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(f"deep/{name}", data)


@pytest.fixture
def folder(tmp_path):
    """The box in two archives, one of them in a folder."""
    (tmp_path / "box").mkdir()
    pack(tmp_path / "box" / "one.zip")
    pack(tmp_path / "boxes.zip")
    rows = [("box/one.zip/deep/box.obj", CRATE, "CC0-1.0", "Ada"), ("boxes.zip/deep/box.obj", BALL, "CC0-1.0", "")]
    write_table(tmp_path / "objects.csv", rows)
    return tmp_path


@pytest.fixture
def source(folder):
    return Objects3d(path=folder, table=folder / "objects.csv", surfels=40_000)


def by_colour(images):
    """Probabilities of crate, the share of red among what is coloured, of barrel, and of basketball, seldom."""
    found = []
    for image in images:
        small = cv2.resize(image, (32, 32), interpolation=cv2.INTER_AREA).astype(float)
        redder = small[..., 0] - small[..., 2]
        red, blue = np.maximum(redder, 0).sum(), np.maximum(-redder, 0).sum()
        share = 0.9 * (red + 1) / (red + blue + 2)
        found.append((share, 0.9 - share, 0.1))
    return np.array(found, np.float32)


@pytest.fixture(scope="session")
def models():
    """The packaged models, `colour`, and `other`, which answers like it."""
    given = {
        name: from_function(function, name=name, classes=("crate", "barrel", "basketball"), revision="1")
        for name, function in (("colour", by_colour), ("other", lambda images: by_colour(images)))
    }
    return ModelTable("embedded").with_models(given)


@pytest.fixture
def ctx(models, source):
    bare = Context(seed=3, models=models, memo=lambda key, compute: compute())
    return Context(seed=3, models=models, memo=lambda key, compute: compute(), classes=source.classes(bare))
