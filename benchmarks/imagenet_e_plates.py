"""Measure recipe imagenet_e: cost per photograph, what it accepts, and its plates beside shift-map's.

The recipe's units are built one after the other from plain photographs without masks: with a source of these alone,
and, if the folder has more, with the whole folder as a source, whose other pictures may lend their plates. Then both
inpainters fill the same holes. The limit is the time that the models alone take: masks and classes, no plates, no
edits.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import skimage.data
from sklearn.datasets import load_sample_image

from variorum.edition.tables import read_table
from variorum.generators.imagenet_e.attribute_edit import AttributeEdit
from variorum.kit.gates import gates
from variorum.kit.pictures.scenes import BadInput, Scene, Setup, label_index, scenes
from variorum.machine.memo import DiskMemo
from variorum.models import ModelTable
from variorum.models.imagenet_classes import is_wnid
from variorum.pixels import decode, encode_png
from variorum.schemas.component import Context
from variorum.schemas.sample import BASELINES, Sample
from variorum.stages.build import Build
from variorum.stages.job import Job
from variorum.stages.recipe_files import load_recipe

if TYPE_CHECKING:
    from variorum.arrays import Pixels

ENDINGS = (".jpg", ".jpeg", ".png", ".webp")
FILLERS = {"patch_completion": "inpainter", "shift_map": "inpainter_shift_map"}
GOAL = 0.6
"""CPU seconds per photograph that are wanted."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photographs", type=Path, help="a folder; by default photographs inside packages")
    parser.add_argument("--number", type=int, default=64, help="photographs to edit, spread evenly over the folder")
    parser.add_argument("--sheet", type=Path, help="write a contact sheet: original, shift-map, patch completion")
    parser.add_argument("--plates", type=int, default=20, help="plates on the sheet")
    asked = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as place:
        found = measured(asked, Path(place))
    print(json.dumps(found, indent=1))


def measured(asked: argparse.Namespace, place: Path) -> dict[str, Any]:
    """All figures; writes the sheet if one is asked for."""
    files = packaged(place / "packaged") if asked.photographs is None else listed(asked.photographs)
    chosen = [files[n * len(files) // min(asked.number, len(files))] for n in range(min(asked.number, len(files)))]
    others = [file for file in files if file not in set(chosen)]
    for folder, part in (("alone/a", chosen), ("among/a", chosen), ("among/b", others)):
        (place / folder).mkdir(parents=True)
        for file in part:
            shutil.copy(file, place / folder)
    runs = {"these": built(place / "alone", len(chosen), place)}
    if others:
        runs["these_and_others"] = built(place / "among", len(chosen), place)
    filled = compared(chosen)
    if asked.sheet is not None:
        write_sheet(asked.sheet, filled, asked.plates)
    return {
        "benchmark": "plates",
        "photographs": len(chosen),
        "others_in_folder": len(others),
        "goal_cpu_seconds": GOAL,
        "models_alone": alone(chosen),
        "runs": runs,
        "fillers": {name: summary([plate for plate in filled if plate.filler == name]) for name in FILLERS},
    }


def packaged(folder: Path) -> list[Path]:
    """Photographs inside scikit-image and scikit-learn, as files."""
    pictures = {name: getattr(skimage.data, name)() for name in ("astronaut", "chelsea", "coffee", "rocket")}
    pictures |= {name: load_sample_image(f"{name}.jpg") for name in ("china", "flower")}
    folder.mkdir()
    for name, pixels in pictures.items():
        (folder / f"{name}.png").write_bytes(encode_png(np.ascontiguousarray(pixels)))
    return listed(folder)


def listed(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in ENDINGS)


# ── cost and acceptance ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Timed:
    """A table of models that adds up the CPU seconds, and the pictures, of each alias."""

    table: ModelTable
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    pictures: Counter[str] = field(default_factory=Counter)

    def get(self, alias: str) -> Any:
        """The model, timed."""
        model = self.table.get(alias)

        def call(pictures: Sequence[Pixels], *more: Any) -> Any:
            began = time.process_time()
            made = model(pictures, *more)
            self.seconds[alias] += time.process_time() - began
            self.pictures[alias] += len(pictures)
            return made

        return call

    def pin(self, alias: str) -> str:
        """As the table's."""
        return self.table.pin(alias)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.table, name)


def built(folder: Path, number: int, place: Path) -> dict[str, Any]:
    """Build the recipe's units for the first pictures of a folder."""
    labels = "wnid" if all(is_wnid(file.name[:9]) for file in folder.rglob("*.*")) else "none"
    source = ["source.name=image_folder", f"source.path={folder}", f"source.labels={labels}"]
    recipe = load_recipe("imagenet_e", source, number)
    models = Timed(ModelTable("embedded"))
    for alias in ("segmenter", "inpainter", "classifier_gate"):
        models.table.get(alias)
    ctx = Context(recipe.seed, models, DiskMemo(place / f"memo-{folder.name}"), recipe.source)
    job = Job(recipe, str(place / f"store-{folder.name}"), ctx=ctx)
    units, rows = [], []
    build = Build(job)
    for part in build.parts():
        began = time.process_time()
        receipt = build.make(part, lambda _: None)
        units.append(time.process_time() - began)
        rows += read_table(job.store, [receipt.rows]).to_pylist()
    total = sum(units)
    steps = {alias: round(seconds / number, 3) for alias, seconds in models.seconds.items()}
    return {
        "source_size": recipe.source.size(ctx),
        "cpu_seconds_per_photograph": round(total / number, 2),
        "photographs_per_cpu_minute": round(60 * number / total, 1),
        "cpu_seconds_by_step": {**steps, "rest": round((total - sum(models.seconds.values())) / number, 3)},
        "segmenter_passes": models.pictures["segmenter"],
        "holes_filled": models.pictures["inpainter"],
        "photographs_per_unit": recipe.samples_per_shard,
        "cpu_seconds_of_units": [round(seconds, 1) for seconds in units],
        "accepted": accepted(rows, number),
    }


def accepted(rows: Sequence[dict[str, Any]], number: int) -> dict[str, Any]:
    """Count photographs with an accepted edit, accepted pictures by variant, and reasons of the others."""
    good = [row for row in rows if row["status"] == "accepted"]
    edits = [row for row in good if row["variant"] not in BASELINES]
    bad = Counter(f"{row['variant']}: {row['reason']}" for row in rows if row["status"] != "accepted")
    return {
        "share_with_an_edit": round(len({row["source"] for row in edits}) / number, 3),
        "by_variant": dict(Counter(row["variant"] for row in good)),
        "frequent_reasons": dict(bad.most_common(30)),
        "lent": lent(Counter(row["made_of"][0] for row in good if row["variant"] == "background_random")),
    }


def lent(plates: Counter[str]) -> dict[str, Any]:
    """How evenly random backgrounds spread over plates; `effective` plates, equally frequent, would be as uneven."""
    times = np.array([*plates.values()], float)
    return {
        "backgrounds": int(times.sum()),
        "plates": len(times),
        "most_often": int(times.max(initial=0)),
        "effective": round(float(times.sum() ** 2 / max(1.0, (times**2).sum())), 1),
    }


def alone(files: Sequence[Path]) -> dict[str, float]:
    """The limit: a pass of the segmenter and one of the classifier for each photograph, and nothing else."""
    table = ModelTable("embedded")
    segmenter, classifier = table.get("segmenter"), table.get("classifier_gate")
    pictures = [decode(file.read_bytes()) for file in files]
    small = [cv2.resize(picture, (256, 256), interpolation=cv2.INTER_AREA) for picture in pictures]
    began = time.process_time()
    for picture, shrunk in zip(pictures, small, strict=True):
        segmenter([picture])
        classifier([shrunk])
    seconds = time.process_time() - began
    return {
        "cpu_seconds_per_photograph": round(seconds / len(files), 2),
        "photographs_per_cpu_minute": round(60 * len(files) / seconds, 1),
    }


# ── plates ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Plate:
    """A picture whose hole one inpainter has filled."""

    filler: str
    scene: Scene
    seconds: float
    checks: dict[str, Any]
    left: float
    """The class's probability on the plate, as a share of that on the picture, at most 1."""


class Kept(dict[str, Any]):
    """A memo for one photograph."""

    def __call__(self, key: str, compute: Callable[[], Any]) -> Any:
        """Return the value kept under the key; compute it first if there is none."""
        if key not in self:
            self[key] = compute()
        return self[key]


def compared(files: Sequence[Path]) -> list[Plate]:
    """The plates of all photographs with a trusted mask and a hole that isn't filled smoothly anyway."""
    table, out = ModelTable("embedded"), []
    for file in files:
        wnid = file.name[:9]
        sample = Sample(file.name, decode(file.read_bytes()), (wnid,) if is_wnid(wnid) else ())
        memo = Kept()  # both fillers get the same mask
        for filler, alias in FILLERS.items():
            models = Timed(table)
            setup = Setup(256, "object", "segmenter", alias, "classifier_gate", AttributeEdit().gates)
            scene = scenes([sample], setup, Context(0, models, memo))[0]
            if isinstance(scene, BadInput) or scene.plate is None or scene.hole is None:
                break
            if scene.hole.mean() > setup.limits.max_plate_hole:
                break
            index = label_index(sample)
            checks = {**scene.bare, **scene.class_gates(index, setup.limits.max_plate_p)}
            before, after = (float(row[scene.index(index)]) for row in scene.probabilities)
            out.append(Plate(filler, scene, models.seconds[alias], checks, min(1.0, after / max(before, 1e-9))))
    return out


def summary(plates: Sequence[Plate]) -> dict[str, Any]:
    """Cost, checks and evidence of the class that is left; nothing but the number if it filled none."""
    if not plates:
        return {"plates": 0}
    seams = [plate.checks["plate_seam"]["value"] for plate in plates if "plate_seam" in plate.checks]
    passed = Counter(name for plate in plates for name, check in plate.checks.items() if check["passed"])
    return {
        "plates": len(plates),
        "cpu_seconds_mean": round(float(np.mean([plate.seconds for plate in plates])), 2),
        "cpu_seconds_most": round(max(plate.seconds for plate in plates), 2),
        "seam_median": round(float(np.median(seams)), 2),
        "passed": {name: passed[name] for name in ("plate_seam", "plate_texture", "plate_clean")},
        "passed_all": sum(not gates.first_failed(plate.checks) for plate in plates),
        "class_left": round(float(np.mean([plate.left for plate in plates])), 3),
        "methods": dict(Counter(plate.scene.method for plate in plates)),
    }


def write_sheet(path: Path, filled: Sequence[Plate], number: int) -> None:
    """Two photographs a row, each as original, shift-map's plate and the patch completion's."""
    pairs = [(first, second) for first, second in zip(filled[::2], filled[1::2], strict=True)]
    number = min(number, len(pairs))
    shown = [pairs[n * len(pairs) // number] for n in range(number)]
    strips = [strip(ours.scene, theirs.scene) for ours, theirs in shown]
    strips += [np.full_like(strips[0], 255)] * (len(strips) % 2)
    rows = [np.concatenate(strips[n : n + 2], axis=1) for n in range(0, len(strips), 2)]
    path.write_bytes(encode_png(np.concatenate(rows, axis=0)))


def strip(ours: Scene, theirs: Scene) -> Pixels:
    """The picture with the hole's outline, and both plates."""
    assert ours.plate is not None
    assert theirs.plate is not None
    assert ours.hole is not None
    outlined = ours.picture.copy()
    contours, _ = cv2.findContours(ours.hole.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(outlined, contours, -1, (255, 0, 255), 1)
    tiles = [
        np.pad(tile, ((2, 2), (2, 2), (0, 0)), constant_values=255) for tile in (outlined, theirs.plate, ours.plate)
    ]
    return np.concatenate(tiles, axis=1)


if __name__ == "__main__":
    main()
