"""Makes docs/contact_sheet.jpg, the README's picture: a photograph, its mask, eight edits, and one refused edit.

It builds `imagenet_e` on the two photographs inside scikit-learn and shows the flower. The classifier that judges edits
is left out, because the class of the second photograph is none of ImageNet's.
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
from variorum.schemas.sample import Sample

CELL, GAP, HEAD = 232, 6, 26
PAPER, INK, WARN = (250, 249, 245), (30, 30, 30), (176, 32, 32)
SHOWN = {
    "background_random": "another background",
    "texture_up": "finer texture",
    "texture_down": "coarser texture: refused",
    "plate": "object removed",
    "size_full": "as large as fits",
    "size_0.1": "a tenth of the area",
    "size_0.05": "a twentieth",
    "position": "moved",
    "direction": "turned",
}


def main() -> None:
    """Build the edition in a temporary folder and draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", type=Path, default=Path("docs/contact_sheet.jpg"))
    to = parser.parse_args().to
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
        pen.text((x + 2, y + 2), title, WARN if refused else INK, font)
        picture = picture.resize((CELL, CELL), Image.Resampling.LANCZOS)
        if refused:
            picture = Image.blend(picture, Image.new("RGB", picture.size, PAPER), 0.55)
        sheet.paste(picture, (x, y + HEAD))
        if refused:
            pen.multiline_text((x + 10, y + HEAD + 10), refused, WARN, font)
    return sheet


if __name__ == "__main__":
    main()
