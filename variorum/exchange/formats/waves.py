"""An edition of watermarks in the folders of WAVES (An et al., ICML 2024, arXiv 2401.08573).

<folder>/main/mscoco/<source>/<i>.png                          unmarked pictures (`real`), and those of each mark
<folder>/attacked/mscoco/<attack>-<strength>-<source>/<i>.png   the same, attacked
<folder>/pictures.jsonl                                         what each file is, with licence and origin

The folder is the `DATA_DIR` of WAVES' scripts. They accept three names of datasets, and all pictures are under one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from variorum.exchange.folders import Exported, exported
from variorum.exchange.lines import Lines
from variorum.exchange.numbering import Photographs
from variorum.exchange.selection import PROVENANCE, ExportedPicture, Selection
from variorum.reports.rows import edition_rows
from variorum.schemas.errors import StoreError
from variorum.schemas.sample import Sample

REVISION = 1
MARKED = '"mark": "'
"""Part of the recorded steps of a marked picture, as tables store them."""
DATASET = "mscoco"
"""A name that WAVES' scripts accept; the pictures are the edition's."""
DATASETS = ("diffusiondb", DATASET, "dalle3")
"""All names that they accept. They list all three folders, so these must exist, two of them empty."""
REAL = "real"
"""What WAVES calls unmarked pictures."""
ATTACKS = {
    "rotation": "distortion_single_rotation",
    "resized_crop": "distortion_single_resizedcrop",
    "erasing": "distortion_single_erasing",
    "brightness": "distortion_single_brightness",
    "contrast": "distortion_single_contrast",
    "blur": "distortion_single_blurring",
    "noise": "distortion_single_noise",
    "jpeg": "distortion_single_jpeg",
    "combined_distortion": "distortion_combo_all",
    "regeneration": "regen_diffusion",
    "vae_regeneration": "regen_vae",
}
"""WAVES' names of attacks; the others keep ours."""
OTHER = "pictures that are neither unmarked, marked nor attacked"
AGAIN = "further pictures of a photograph in the same folder"


class Cell(NamedTuple):
    """The mark and attack of a picture.

    Attributes:
        mark: its name; `real` for none.
        attack: its name; `""` for none.
        strength: of the attack, relative to its range, in (0, 1].
    """

    mark: str
    attack: str = ""
    strength: float = 0.0

    @property
    def folder(self) -> str:
        """Where WAVES looks for such pictures."""
        if not self.attack:
            return f"main/{DATASET}/{self.mark}"
        strength = f"{self.strength:.9f}".rstrip("0").rstrip(".")  # hyphens separate, so no 1e-05
        return f"attacked/{DATASET}/{self.attack}-{strength}-{self.mark}"


def check(selection: Selection) -> None:
    """Raise StoreError if the edition has no marked picture, as its tables say."""
    import pyarrow.compute as pc

    rows = edition_rows(selection.manifest, selection.store, ("status", "ops"))
    accepted = rows.filter(pc.equal(rows["status"], "accepted"))["ops"]
    if not pc.any(pc.match_substring(accepted, MARKED)).as_py():
        raise StoreError(f"{selection.name} has no marked pictures; WAVES' layout is for editions of watermarks")


def write(folder: Path, selection: Selection, pictures: Iterator[ExportedPicture]) -> list[Exported]:
    """Write unmarked, marked and attacked pictures as PNG; a file's number is that of its photograph."""
    photographs, taken, made = Photographs(), set[str](), set[str]()
    number, left_out = 0, Counter[str]()
    for kind in ("main", "attacked"):
        for name in DATASETS:
            (folder / kind / name).mkdir(parents=True)
    with Lines() as lines:
        for one in pictures:
            cell = cell_of(one.sample)
            if cell is None:
                left_out[OTHER] += 1
                continue
            file = f"{cell.folder}/{photographs.number(one.sample)}.png"
            if file in taken:
                left_out[AGAIN] += 1
                continue
            taken.add(file)
            if cell.folder not in made:
                (folder / cell.folder).mkdir()
                made.add(cell.folder)
            (folder / file).write_bytes(one.png())
            lines.add_json(folder / PROVENANCE, {"file_name": file, **cell._asdict(), **one.provenance()})
            number += 1
    return [exported(folder, ".", [PROVENANCE], pictures=number, left_out=+left_out)]


def cell_of(sample: Sample) -> Cell | None:
    """Read a picture's mark and attack from the steps of its making; None for something else."""
    mark, attack, strength, known = REAL, "", 0.0, not sample.ops
    for op in sample.ops:
        said = op["requested"]
        if "mark" in said:
            mark, known = plain(said["mark"]) if said["mark"] else REAL, True
        elif "attack" in said and isinstance(said.get("strength"), int | float):
            name: Any = said["attack"]
            attack, known = ATTACKS.get(str(name), plain(name)), True
            strength = float(str(said["strength"]))
        else:
            known = False
    return Cell(mark, attack, strength) if known else None


def plain(name: object) -> str:
    """A name as part of a folder's: hyphens separate the parts, so it has none."""
    return re.sub(r"[^A-Za-z0-9_.]+", "_", str(name))[:60].strip(".") or "_"
