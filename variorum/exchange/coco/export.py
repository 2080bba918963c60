"""An edition as folders in COCO's format, one for each variant, laid out as COCO-O is (Mao et al., ICCV 2023).

<folder>/<variant>/annotations/instances_val2017.json
<folder>/<variant>/val2017/<id of the picture>.png
<folder>/export.json                                      what was exported
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from variorum.annotations import decode_mask
from variorum.edition.store import Store
from variorum.exchange.coco.parts import ANNOTATIONS, Part
from variorum.exchange.folders import Exported, exported, folder_names, place_export
from variorum.exchange.objects import MASK, masked_object
from variorum.exchange.selection import ExportedPicture, Selection
from variorum.machine.progress import QUIET, Progress
from variorum.reports.coco_objects import Marked, categories, marked
from variorum.reports.contents import annotation_counts
from variorum.schemas.annotations import Check, Object
from variorum.schemas.errors import StoreError
from variorum.schemas.manifest import Manifest

REVISION = 2
"""Raised when the same edition is exported differently."""
IGNORED: frozenset[Check] = frozenset({"missing"})
"""Unless told otherwise, objects with these checks are written as crowds, which no measure counts for or against a
detector."""
BAD_MASKS = "with a mask that can't be read"
EVERY = 256
"""Pictures whose entries are held in memory."""


def export_coco(
    manifest: Manifest,
    store: Store,
    folder: Path,
    variants: Sequence[str] = (),
    split: str = "",
    progress: Progress = QUIET,
    ignore: Collection[Check] = IGNORED,
) -> Sequence[Exported]:
    """Write an edition's accepted pictures and their objects into a new folder; it appears when it is complete.

    In an edition without objects, the masks of pictures with one object each give box, region and area.

    Args:
        manifest: the edition.
        store: its store.
        folder: new, empty, or with the same export.
        variants: only these; all by default.
        split: only the pictures of this split; all by default.
        progress: receives the pictures.
        ignore: objects with these checks become crowds.

    Raises:
        StoreError: no such variant or split, an edition without objects and masks, or a folder with other files.
        CorruptShard: a picture can't be read.
    """
    selection = Selection(manifest, store, variants, split)
    note = selection.note("coco", REVISION, ignore=sorted(ignore))
    boxes = bool(annotation_counts(manifest, store).objects.number)
    if not boxes and not (MASK in manifest.members and manifest.classes):
        raise StoreError(
            f"{selection.name} has no pictures with objects; COCO's format is for pictures with boxes or with masks "
            "and a class, from a source that has them, such as coco; for labels alone: --as image_folder"
        )

    def write(made: Path) -> Sequence[Exported]:
        return selection.told(_write(made, selection, selection.pictures(progress), ignore, masks=not boxes))

    return place_export(folder, note, write)


def _write(
    folder: Path,
    selection: Selection,
    pictures: Iterator[ExportedPicture],
    ignore: Collection[Check],
    *,
    masks: bool,
) -> list[Exported]:
    listed, ids = categories(selection.classes)
    names = folder_names([name for name, found in selection.manifest.counts.items() if found.get("accepted")])
    chosen = {name: names[name] for name in selection.chosen}
    parts = {name: Part(folder / place, _info(selection, name), listed) for name, place in chosen.items()}
    left_out: dict[str, Counter[str]] = {name: Counter() for name in chosen}
    for number, one in enumerate(pictures, 1):
        part, counts = parts[one.sample.variant], left_out[one.sample.variant]
        objects = _from_mask(one, counts) if masks else one.sample.annotations.objects
        found, missed = marked(objects, selection.index, *one.size)
        counts += missed
        part.made += bool(one.sample.ops)
        entries = list(_annotations(found, ids, one.size, counts, ignore))
        part.add(one.file, one.data, _entry(one), one.sample.licence, entries)
        if number % EVERY == 0:
            for part in parts.values():
                part.flush()
    return [_closed(folder, parts[name], name, place, left_out[name]) for name, place in chosen.items()]


def _closed(root: Path, part: Part, variant: str, place: str, left_out: Mapping[str, int]) -> Exported:
    part.info["synthetic"] = part.made > 0
    part.close()
    return exported(
        root, place, [ANNOTATIONS], pictures=part.pictures, boxes=part.boxes, variant=variant, left_out=left_out
    )


def _from_mask(one: ExportedPicture, left_out: Counter[str]) -> Sequence[Object]:
    """The object that a picture's mask shows, if there is one."""
    try:
        found = masked_object(one.sample, one.size)
    except ValueError:
        left_out[BAD_MASKS] += 1
        return ()
    return () if found is None else (found,)


def _entry(one: ExportedPicture) -> dict[str, Any]:
    said = one.provenance()
    kept = ("photograph", "digital_source_type", "sha256", "labels", "origin", "split", "parent", "metadata")
    return {"height": one.size[0], "width": one.size[1], "picture": said["id"], **{name: said[name] for name in kept}}


def _annotations(
    found: Sequence[Marked],
    ids: Sequence[int],
    size: tuple[int, int],
    left_out: Counter[str],
    ignore: Collection[Check],
) -> Iterator[dict[str, Any]]:
    for item, category in found:
        segmentation: Any = []
        if item.mask:
            if _readable(item, size):
                segmentation = {"size": list(size), "counts": item.mask}
            else:
                left_out[BAD_MASKS] += 1
        yield {
            "category_id": ids[category],
            "bbox": [float(side) for side in item.box],
            "area": item.area,
            # detectron2 refuses files with `ignore`, and what is ignored works like a crowd
            "iscrowd": int(item.crowd or item.check in ignore),
            "segmentation": segmentation,
            **({"check": item.check} if item.check else {}),
        }


def _readable(item: Object, size: tuple[int, int]) -> bool:
    """Return whether the mask is one of the picture; pycocotools would trust it blindly."""
    try:
        decode_mask(item, *size)
    except ValueError:
        return False
    return True


def _info(selection: Selection, variant: str) -> dict[str, Any]:
    return {
        "description": f"{selection.name}, variant {variant}{f', split {selection.split}' if selection.split else ''}",
        "version": selection.manifest.version,
        "edition": selection.name,
        "digest": selection.digest,
        "variant": variant,
    }
