"""The contact sheet: one row per source picture, or per class where there are few variants; boxes, captions, splits."""

import io

import numpy as np
import pytest
from PIL import Image

from variorum.edition.editions import resolve
from variorum.edition.store import Store
from variorum.pipeline import Job, build
from variorum.reports.boxes import COLOURS
from variorum.reports.contact_sheet import FEWER, LINE, MOST_VARIANTS, MUTED, PAPER, contact_sheet, shown_variants
from variorum.reports.funnel import funnel, plot
from variorum.reports.rows import edition_rows, variants
from variorum.schemas.errors import CorruptShard
from variorum.schemas.manifest import Manifest
from variorum.schemas.recipe import Recipe

CELL, GAP, TOP, LEFT, BETWEEN = 40, 4, 44, 128, 10


def edition(tmp_path, classes, generate=()):
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
            "generate": generate,
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
    manifest, store = edition(tmp_path, {f"c{k}": 5 for k in range(9)})
    sheet = Image.open(io.BytesIO(contact_sheet(manifest, store, rows=3, cell=CELL)))
    every = Image.open(io.BytesIO(contact_sheet(manifest, store, rows=9, cell=CELL)))
    first, middle, last = (row[0] for row in cells(sheet, 5, 3))
    all_of_them = [row[0] for row in cells(every, 5, 9)]
    assert (first, middle, last) == (all_of_them[0], all_of_them[4], all_of_them[8])


def test_classes_with_one_picture_each_fill_the_rows_and_are_named_below(tmp_path):
    manifest, store = edition(tmp_path, {f"c{k:02d}": 1 for k in range(20)})
    sheet = opened(manifest, store, rows=3, cell=CELL)
    across, margin = 9, 8
    assert sheet.size == (
        margin + across * (CELL + GAP + BETWEEN) - BETWEEN + GAP,
        TOP + 3 * (CELL + LINE + GAP) + GAP,
    )
    for column in range(across):
        x, y = margin + column * (CELL + GAP + BETWEEN), TOP + CELL
        assert ink(sheet.crop((x, y, x + CELL, y + LINE)))


def test_of_many_variants_a_picture_has_several_rows_with_titles(tmp_path):
    noise = {"name": "corruption", "kinds": ["brightness", "gaussian_noise", "shot_noise"], "frame": 32}
    manifest, store = edition(tmp_path, {"ant": 3}, [noise])
    sheet = opened(manifest, store, rows=4, cell=CELL)
    across, lines, tall = 8, 2, TOP + CELL + GAP  # the original and fifteen variants, of two of three pictures
    assert sheet.size == (LEFT + across * (CELL + GAP) + GAP, 2 * lines * tall + GAP)
    for row in range(2 * lines):
        for column in range(across):
            x, y = LEFT + column * (CELL + GAP), row * tall
            assert ink(sheet.crop((x, y, x + CELL, y + TOP)))
            assert sheet.getpixel((x + CELL // 2, y + TOP + CELL // 2)) not in (PAPER, MUTED)


def opened(manifest, store, **options):
    return Image.open(io.BytesIO(contact_sheet(manifest, store, **options))).convert("RGB")


def cell_of(sheet, row, column, side, below):
    """A cell with what stands below it."""
    x, y = LEFT + column * (side + GAP + BETWEEN), TOP + row * (side + below + GAP)
    return sheet.crop((x, y, x + side, y + side + below))


def ink(image):
    """Whether anything is written."""
    return image.getcolors(image.width * image.height) != [(image.width * image.height, PAPER)]


def test_cells_show_boxes_captions_and_splits_over_configurations(everything):
    job, manifest = everything
    sheet = opened(manifest, job.store)
    side, below = 216, 3 * LINE
    assert sheet.size == (
        LEFT + FEWER * (side + GAP + BETWEEN) - BETWEEN + GAP,
        TOP + 2 * (side + below + GAP) + GAP,
    )
    unlabelled = [cell_of(sheet, 0, column, side, below) for column in range(4)]
    circles = [cell_of(sheet, 1, column, side, below) for column in range(FEWER)]

    def colours(cell):
        return {value for _, value in cell.crop((0, 0, side, side)).getcolors(side * side)}

    assert not any(set(COLOURS) & colours(cell) for cell in unlabelled)
    assert all(COLOURS[0] in colours(cell) for cell in circles)
    assert 0 < sum(COLOURS[1] in colours(cell) for cell in circles) < FEWER
    splits = [cell.crop((0, side, side, side + LINE)) for cell in (*unlabelled, *circles)]
    captions = [cell.crop((0, side + LINE, side, side + below)) for cell in (*unlabelled, *circles)]
    assert all(map(ink, splits))
    assert len({split.tobytes() for split in splits}) == 3
    assert sum(map(ink, captions)) == 8  # two of ten have none


def test_a_box_lies_on_its_object_at_the_cells_scale(make):
    job, manifest = make(source={"pictures": 2, "captions": False, "splits": False, "formats": ["png"]})
    cell = cell_of(opened(manifest, job.store), 1, 0, 216, 0)
    pixels = np.asarray(cell).astype(int)
    rows, columns = np.nonzero((pixels == COLOURS[0]).all(axis=2))
    # 96 x 64 pixels, twice as large and in the middle; the box of picture 1 is [8, 11, 30, 30], its name above it
    assert columns.min() == 12 + 2 * 8
    assert rows.max() == 44 + 2 * (11 + 30) - 1
    inside = pixels[44 + 2 * 11 + 3 : 44 + 2 * 41 - 3, 12 + 2 * 8 + 3 : 12 + 2 * 38 - 3]
    assert (abs(inside - (220, 180, 40)).max(axis=2) < 8).mean() > 0.7


@pytest.mark.parametrize("caption", ["", "short", "a b " * 200, "x" * 900, "\u202e 漢字 \n\n tab\t"])
def test_captions_of_any_length_end_within_two_lines(make, caption):
    job, manifest = make(source={"pictures": 2, "boxes": False, "states": False, "splits": False, "caption": caption})
    sheet = opened(manifest, job.store)
    assert sheet.height == TOP + 2 * (216 + 2 * LINE + GAP) + GAP
    cell = cell_of(sheet, 0, 0, 216, 2 * LINE)
    right = sheet.crop((LEFT + 216 + 1, TOP, LEFT + 216 + GAP, sheet.height))
    assert ink(cell.crop((0, 216, 216, 216 + 2 * LINE))) == bool(caption.strip())
    assert not ink(right)


def test_pictures_without_classes_fill_the_rows(make):
    source = {"pictures": 20, "captions": False, "states": False, "boxes": False, "splits": False, "labelled": False}
    job, manifest = make(source=source)
    sheet = opened(manifest, job.store, rows=2, cell=CELL)
    assert sheet.size == (LEFT + 9 * (CELL + GAP + BETWEEN) - BETWEEN + GAP, TOP + 2 * (CELL + GAP) + GAP)
    assert not ink(sheet.crop((0, TOP, LEFT, sheet.height)))  # no class to name


def test_an_edition_of_format_3_has_one(format3):
    assert opened(resolve("old@1.0.0-r1", format3), format3).width > LEFT


ODD = [
    "a\0b\x1b[2J\x9b",
    "\u202eabc\u2066",
    "न" * 400 + "مرحبا" * 99,
    "line\nbreak\r\u2028" * 50,
    "x" * 100_000,
    "$\\frac{$",
    "🎉\u200d👩",
]


@pytest.mark.parametrize("text", ODD)
def test_any_text_can_be_drawn(everything, text):
    """Names of classes, origins and captions, in the sheet and in a release's plot."""
    import pyarrow as pa

    job, manifest = everything
    odd = manifest.model_copy(update={"classes": [(identity, f"{text} {name}") for identity, name in manifest.classes]})
    table = edition_rows(odd, job.store)
    for name in ("origin", "reason", "variant", "licence"):
        column = pa.array([f"{text}{value}" for value in table.column(name).to_pylist()])
        table = table.set_column(table.column_names.index(name), name, column)
    assert contact_sheet(odd, job.store, table, cell=CELL).startswith(b"\x89PNG")
    assert plot(funnel(odd, table)).startswith(b"\x89PNG")


def test_a_picture_that_is_not_where_its_row_says_is_one_line(everything):
    job, manifest = everything
    table = edition_rows(manifest, job.store)
    moved = table.set_column(table.column_names.index("sha256"), "sha256", [["0" * 64] * len(table)])
    with pytest.raises(CorruptShard, match=r"^[^\n]*isn't the picture of [0-9a-f]{32}$"):
        contact_sheet(manifest, job.store, moved)
    lost = manifest.model_copy(update={"members": sorted([*manifest.members, "mask.png"])})
    with pytest.raises(CorruptShard, match=r"^sample [0-9a-f]{32}: it has no mask\.png"):
        contact_sheet(lost, job.store)
    groups = {group: shards[:1] for group, shards in manifest.shards.items()}
    with pytest.raises(CorruptShard, match="that aren't in its shards; look at it with: variorum verify shapes@1"):
        edition_rows(manifest.model_copy(update={"shards": dict(list(groups.items())[:1])}), job.store)


def test_of_many_variants_one_of_each_kind_has_a_column():
    many = ["original", *(f"{kind}_{severity}" for kind in ("fog", "jpeg", "snow") for severity in range(1, 15))]
    assert len(many) > MOST_VARIANTS
    assert shown_variants(many) == ["original", "fog_8", "jpeg_8", "snow_8"]
    few = many[:MOST_VARIANTS]
    assert shown_variants(few) == few
    assert len(shown_variants([f"{number}x" for number in range(99)])) == MOST_VARIANTS


def test_variants_are_in_the_order_of_their_numbers():
    made = ["original", "fog_10", "fog_5", "snow", "fog", "a_1.5"]
    counts = {name: {"accepted": 1} for name in made} | {"rain_1": {"ineligible:small": 2}}
    assert variants(Manifest.model_construct(counts=counts)) == ["original", "fog", "fog_5", "fog_10", "snow", "a_1.5"]
