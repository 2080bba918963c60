"""Makes the README's pictures: docs/contact_sheet.jpg, and a thumbnail of each dataset in docs/thumbnails/.

The sheet shows a photograph, its mask, its edits, and refused edits with their reasons. It comes from `imagenet_e` on
the two photographs inside scikit-learn, without the classifier that judges edits, because their classes are none of
ImageNet's. The thumbnails come from short editions of the shipped recipes, without curation and evaluations.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from importlib.resources import files
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import variorum as va
from variorum.pixels import blurred
from variorum.schemas.sample import Sample

CELL, GAP, HEAD = 232, 6, 26
PAPER, INK, WARN = (250, 249, 245), (30, 30, 30), (176, 32, 32)
SHOWN = {
    "background_random": "another background",
    "texture_up": "finer texture",
    "texture_down": "coarser texture",
    "plate": "object removed",
    "size_full": "as large as fits",
    "size_0.1": "a tenth of the area",
    "size_0.05": "a twentieth",
    "position": "moved",
    "direction": "turned",
}

SIDE = 72
"""Of each picture of a thumbnail."""
THUMBNAILS = {
    "imagenet_e": ("imagenet_e", ("original", "background_random", "size_0.05")),
    "imagenet_c": ("imagenet_c", ("gaussian_noise_5", "frost_4", "motion_blur_5")),
    "coco_o": ("coco_o", ("original", "sketch", "painting")),
    "translation": ("translation", ("original", "shift_+1_0", "shift_0_+1")),
    "natural_transformation": ("natural_transformation", ("original", "shadow_1", "warmer_1")),
    "low_light": ("low_light", ("original", "low_light_2", "low_light_4")),
    "cue_conflict": ("cue_conflict", ("original", "edges", "scrambled_4")),
    "few_shot": ("few_shot", ("clean", "camouflaged", "small")),
    "box_noise": ("box_noise", ("original", "shift_iou_0.7_1", "scale_iou_0.5_1")),
    "content_dilution": ("content_dilution", ("original",)),
    "tileable_texture": ("tileable_texture", ("crossfade", "shifted_seam", "ramp")),
    "imagenet_g": ("imagenet_g", ()),
    "ai_detection": ("ai_detection", ("original", "denoised_120", "enhanced")),
    "watermark": ("watermark", ("stdm", "stdm_jpeg_1", "stdm_combined_all_0.5")),
    "safety": ("unsafebench", ("original",)),
    "cnn_filters": ("cnn_filters", ("original",)),
}
"""By dataset, the recipe and the variants of one photograph; with fewer than three, several photographs."""


def main() -> None:
    """Build the editions in a temporary folder and draw the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", type=Path, default=Path("docs"))
    parser.add_argument("--only", nargs="*", default=["contact_sheet", *THUMBNAILS])
    given = parser.parse_args()
    (given.to / "thumbnails").mkdir(exist_ok=True)
    for name in given.only:
        if name == "contact_sheet":
            make_sheet(given.to / "contact_sheet.jpg")
        else:
            with tempfile.TemporaryDirectory() as folder:
                make_thumbnail(name, given.to / "thumbnails" / f"{name}.jpg", folder)


def make_thumbnail(thing: str, to: Path, store: str) -> None:
    """Three small pictures of one dataset in a row."""
    recipe, wanted = THUMBNAILS[thing]
    edition = va.run(recipe, store=store, limit=4, curate=[], evaluate=[])
    rows = edition.table().to_pandas()
    rows = rows[rows.status == "accepted"]
    groups = [dict(zip(group.variant, group.id, strict=True)) for _, group in rows.groupby("source", sort=False)]
    if len(wanted) == 3:
        ids = next([group[name] for name in wanted] for group in groups if set(wanted) <= set(group))
    else:
        ids = list(dict.fromkeys(group.get(wanted[0]) if wanted else next(iter(group.values())) for group in groups))[
            :3
        ]
    strip = Image.new("RGB", (3 * SIDE + 8, SIDE), "white")
    for place, one in enumerate(ids):
        sample = edition[one]
        picture = Image.fromarray(np.asarray(sample.image))
        scale = SIDE / min(picture.size)
        picture = picture.resize([max(SIDE, round(scale * side)) for side in picture.size], Image.Resampling.LANCZOS)
        picture = blurred(picture) if edition.manifest.warning else picture
        if thing == "box_noise":
            for item in sample.annotations.objects:
                x, y, width, height = (scale * side for side in item.box)
                ImageDraw.Draw(picture).rectangle((x, y, x + width, y + height), outline=(214, 39, 40), width=2)
        left = (picture.width - SIDE) // 2
        strip.paste(picture.crop((left, 0, left + SIDE, SIDE)), (place * (SIDE + 4), 0))
    strip.save(to, quality=88, optimize=True)
    print(json.dumps({"picture": str(to), "of": edition.name}))


def make_sheet(to: Path) -> None:
    """The photograph of a flower with its edits."""
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder, "photos")
        for name in ("china", "flower"):
            (photos / name).mkdir(parents=True)
            shutil.copy(str(files("sklearn.datasets") / "images" / f"{name}.jpg"), photos / name)
        source = {"name": "image_folder", "path": str(photos)}
        changes = {"generate.attribute_edit.classifier": None, "curate": [], "evaluate": []}
        edition = va.run("imagenet_e", source=source, store=f"{folder}/store", **changes)
        rows = edition.table().to_pandas()
        flower = {row.variant: row for row in rows.itertuples() if "flower" in row.origin}
        drawn = draw({name: edition[row.id] for name, row in flower.items() if row.sha256}, flower)
    drawn.save(to, quality=88, optimize=True)
    said = {name: f"{row.status} {row.reason}".strip() for name, row in flower.items() if name in SHOWN}
    print(json.dumps({"picture": str(to), "pixels": drawn.size, "edits": said}))


def draw(samples: dict[str, Sample], rows: dict) -> Image.Image:
    """The original at the left, twice as large; beside it two rows of its mask and its edits."""
    step, row_step = CELL + GAP, CELL + GAP + HEAD
    sheet = Image.new("RGB", (7 * step - GAP, 2 * row_step - GAP), PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(18)
    mask = Image.fromarray(samples["original"].extras["mask.png"]).convert("RGB")
    cells = [("mask", mask, "")]
    for name, title in SHOWN.items():
        row = rows[name]
        picture = Image.fromarray(np.asarray(samples[name].image))
        refused = "" if row.status == "accepted" else f"{row.status}:\n{row.reason}"
        cells.append((title, picture, refused))
    large = 2 * CELL + GAP + HEAD
    original = Image.fromarray(np.asarray(samples["original"].image)).resize((large, large), Image.Resampling.LANCZOS)
    pen.text((2, 2), "photograph", INK, font)
    left = original.crop(((large - 2 * step + GAP) // 2, 0, (large + 2 * step - GAP) // 2, large))
    sheet.paste(left, (0, HEAD))
    for place, (title, picture, refused) in enumerate(cells):
        x, y = (2 + place % 5) * step, place // 5 * row_step
        pen.text((x + 2, y + 2), f"{title}: refused" if refused else title, WARN if refused else INK, font)
        picture = picture.resize((CELL, CELL), Image.Resampling.LANCZOS)
        if refused:
            picture = Image.blend(picture, Image.new("RGB", picture.size, PAPER), 0.55)
        sheet.paste(picture, (x, y + HEAD))
        if refused:
            pen.multiline_text((x + 10, y + HEAD + 10), refused, WARN, font)
    return sheet


if __name__ == "__main__":
    main()
