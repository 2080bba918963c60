"""The contact sheet: one row per source picture, or per class where there are few variants."""

import io

import numpy as np
from PIL import Image

from variorum.edition.store import Store
from variorum.report.contact_sheet import MUTED, PAPER, contact_sheet
from variorum.run import Job, build
from variorum.schemas.recipe import Recipe

CELL, GAP, TOP, LEFT, BETWEEN = 40, 4, 44, 128, 10


def edition(tmp_path, classes):
    rng = np.random.default_rng(0)
    for label, number in classes.items():
        (tmp_path / "photos" / label).mkdir(parents=True)
        for k in range(number):
            colour = Image.fromarray(np.full((40, 40, 3), rng.integers(60, 200, 3), np.uint8))
            colour.save(tmp_path / "photos" / label / f"{k}.png")
    recipe = Recipe.parse(
        {
            "dataset": "sheet",
            "version": "1.0.0",
            "source": {"name": "image_folder", "path": str(tmp_path / "photos")},
        }
    )
    store = Store(str(tmp_path / "store"))
    return build(Job(recipe, store)), store


def cells(sheet, across, rows):
    """Mean colour at the middle of each cell."""
    pixels = np.asarray(sheet.convert("RGB"))
    step = CELL + GAP + BETWEEN
    return [
        [
            tuple(int(v) for v in pixels[TOP + r * (CELL + GAP) + CELL // 2, LEFT + c * step + CELL // 2])
            for c in range(across)
        ]
        for r in range(rows)
    ]


def test_of_one_variant_a_row_is_a_class_with_as_many_pictures_as_fit(tmp_path):
    manifest, store = edition(tmp_path, {"ant": 20, "bee": 3})
    sheet = Image.open(io.BytesIO(contact_sheet(manifest, store, cell=CELL)))
    assert sheet.size == (LEFT + 9 * (CELL + GAP + BETWEEN) - BETWEEN + GAP, TOP + 2 * (CELL + GAP) + GAP)
    ants, bees = cells(sheet, 9, 2)
    assert len(set(ants)) == 9
    assert not {PAPER, MUTED} & set(ants)
    assert bees[3:] == [PAPER] * 6
    assert len(set(bees[:3])) == 3


def test_classes_beyond_the_rows_are_spread_evenly(tmp_path):
    manifest, store = edition(tmp_path, {f"c{k}": 1 for k in range(9)})
    sheet = Image.open(io.BytesIO(contact_sheet(manifest, store, rows=3, cell=CELL)))
    every = Image.open(io.BytesIO(contact_sheet(manifest, store, rows=9, cell=CELL)))
    first, middle, last = (row[0] for row in cells(sheet, 1, 3))
    all_of_them = [row[0] for row in cells(every, 1, 9)]
    assert (first, middle, last) == (all_of_them[0], all_of_them[4], all_of_them[8])
