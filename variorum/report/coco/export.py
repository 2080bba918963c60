"""An edition as folders in COCO's format, one for each variant, laid out as COCO-O is (Mao et al., ICCV 2023).

<folder>/<variant>/annotations/instances_val2017.json
<folder>/<variant>/val2017/<id of the picture>.png
<folder>/export.json                                      what was exported
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from variorum.annotations import decode_mask
from variorum.edition.samples import picture_ending, picture_pixels, read_record, read_sample
from variorum.edition.shards import read_shard
from variorum.edition.store import Store
from variorum.machine.progress import QUIET, Progress
from variorum.machine.steady import hash_content
from variorum.machine.workplace import workplace
from variorum.pixels import encode_png
from variorum.report.coco.objects import Marked, categories, marked
from variorum.report.coco.parts import ANNOTATIONS, PICTURES, Part
from variorum.report.contents import annotation_counts
from variorum.schemas.annotations import Check, Object
from variorum.schemas.component import ClassInfo
from variorum.schemas.errors import StoreError
from variorum.schemas.lookup import cut
from variorum.schemas.manifest import Manifest
from variorum.schemas.sample import Sample

REVISION = 1
"""Rises when the same edition is exported otherwise."""
NOTE = "export.json"
IGNORED: frozenset[Check] = frozenset({"missing"})
"""Unless told otherwise, objects with these checks are written as crowds, which no measure counts for or against a
detector."""
UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
LONGEST = 80
"""Characters of a folder's name."""
BAD_MASKS = "with a mask that can't be read"
READABLE = ("jpg", "png")
"""Formats of pictures that are copied as they are; the others become PNG."""


@dataclass(frozen=True, slots=True)
class Exported:
    """One variant of an export.

    Attributes:
        variant: its name in the edition.
        folder: its name in the export.
        pictures: their number.
        boxes: number of annotations.
        sha256: of the annotation file.
        left_out: number of objects that aren't in it, by reason; masks that aren't, too.
    """

    variant: str
    folder: str
    pictures: int
    boxes: int
    sha256: str
    left_out: Mapping[str, int] = field(default_factory=dict)


def export_coco(
    manifest: Manifest,
    store: Store,
    folder: Path,
    variants: Sequence[str] = (),
    split: str = "",
    progress: Progress = QUIET,
    ignore: Collection[Check] = IGNORED,
) -> list[Exported]:
    """Write an edition's accepted pictures and their objects into a new folder; it appears when it is complete.

    Args:
        manifest: the edition.
        store: its store.
        folder: new, empty, or with the same export.
        variants: only these; all by default.
        split: only the pictures of this split; all by default.
        progress: receives the pictures.
        ignore: objects with these checks become crowds.

    Raises:
        StoreError: no such variant or split, an edition without objects, or a folder with something else in it.
        CorruptShard: a picture can't be read.
    """
    chosen = _chosen(manifest, variants, split)
    if not annotation_counts(manifest, store).objects.number:
        raise StoreError(
            f"{_name(manifest)} has no pictures with objects; COCO's format is for pictures with boxes, from a source "
            "that has them, such as coco"
        )
    note = {
        "edition": _name(manifest),
        "digest": manifest.digest(),
        "as": "coco",
        "revision": REVISION,
        "variants": list(chosen),
        "split": split,
        "ignore": sorted(ignore),
    }
    if kept := _there(folder, note):
        return kept
    progress.start("exporting", manifest.pictures())
    place = folder.resolve()  # a link to an empty folder stays one
    with workplace(place.parent) as work:
        made = work / "export"
        made.mkdir()
        found = _write(manifest, store, made, chosen, split, progress, ignore)
        (made / NOTE).write_text(json.dumps({**note, "exported": [asdict(one) for one in found]}, indent=1) + "\n")
        try:
            os.rename(made, place)  # takes the place of an empty folder too
        except OSError as error:
            if kept := _there(folder, note):  # another process has just made the same
                return kept
            raise StoreError(f"{folder}: {error.strerror}") from error
    return found


def _chosen(manifest: Manifest, variants: Sequence[str], split: str) -> dict[str, str]:
    """The variants with accepted pictures that are asked for, and the name of each one's folder."""
    there = [name for name, statuses in manifest.counts.items() if statuses.get("accepted")]
    listed = ", ".join(map(cut, there)) or "none"
    if unknown := [name for name in variants if name not in there]:
        raise StoreError(
            f"{_name(manifest)} has no accepted pictures of variant {cut(repr(unknown[0]))}; it has: {listed}"
        )
    splits = manifest.splits()
    if split and split not in splits:
        raise StoreError(
            f"{_name(manifest)} has no split {cut(repr(split))}; it has: {', '.join(name for name in splits if name)}"
        )
    names = folder_names(there)
    return {name: names[name] for name in there if not variants or name in variants}


def folder_names(variants: Sequence[str]) -> dict[str, str]:
    """A name for each variant's folder: safe on all systems, and no two the same, also where case doesn't matter."""
    found: dict[str, str] = {}
    taken: set[str] = {NOTE}
    for variant in variants:
        plain = UNSAFE.sub("_", variant)[:LONGEST].strip(".") or "_"
        name, number = plain, 1
        while name.casefold() in taken:
            number += 1
            name = f"{plain}_{number}"
        taken.add(name.casefold())
        found[variant] = name
    return found


def _there(folder: Path, note: Mapping[str, Any]) -> list[Exported] | None:
    """What a folder has, if that is this export; None for a new or empty one. Raises StoreError for anything else."""
    if not folder.exists() and not folder.is_symlink():
        return None
    if not folder.is_dir():
        raise StoreError(f"{folder} is a file; give a new folder")
    if not any(folder.iterdir()):
        return None
    try:
        kept = json.loads((folder / NOTE).read_bytes())
        if {name: kept.pop(name) for name in note} == note:
            found = [Exported(**one) for one in kept["exported"]]
            if all(_intact(folder, one) for one in found):
                return found
        what = "another export, or one that has changed"
    except (OSError, ValueError, TypeError, LookupError, AttributeError):
        what = "other files"
    raise StoreError(f"{folder} has {what} in it; give a new folder, or delete this one")


def _intact(folder: Path, one: Exported) -> bool:
    """Whether an exported variant has its annotation file, and as many pictures as it had."""
    part = folder / one.folder
    with os.scandir(part / PICTURES) as entries:
        return sum(1 for _ in entries) == one.pictures and hash_content(part / ANNOTATIONS) == one.sha256


def _write(
    manifest: Manifest,
    store: Store,
    folder: Path,
    chosen: Mapping[str, str],
    split: str,
    progress: Progress,
    ignore: Collection[Check],
) -> list[Exported]:
    classes = [ClassInfo(*pair) for pair in manifest.classes]
    listed, ids = categories(classes)
    index = {one.id: number for number, one in enumerate(classes)}
    parts = {name: Part(folder / place, _info(manifest, name, split), listed) for name, place in chosen.items()}
    left_out: dict[str, Counter[str]] = {name: Counter() for name in chosen}
    for _, shard in manifest.accepted():
        path = store.path(shard)
        for key, members in read_shard(path):
            progress.advance(1)
            record = read_record(members)
            if (part := parts.get(record["variant"])) is None or (split and record.get("split") != split):
                continue
            sample, _ = read_sample(f"{path}, sample {key}", members, check=False)
            size = record.get("height", 0), record.get("width", 0)
            ending, data, size = _picture(f"{path}, sample {key}", sample, picture_ending(members), record, size)
            found, missed = marked(sample.annotations.objects, index, *size)
            left_out[sample.variant] += missed
            entries = list(_annotations(found, ids, size, left_out[sample.variant], ignore))
            part.made += bool(sample.ops)
            part.add(f"{sample.id}.{ending}", data, _entry(sample, size), sample.licence, entries)
        for part in parts.values():
            part.flush()
    return [_closed(parts[name], name, place, left_out[name]) for name, place in chosen.items()]


def _closed(part: Part, variant: str, place: str, left_out: Counter[str]) -> Exported:
    part.info["synthetic"] = part.made > 0
    part.close()
    counts = dict(sorted(left_out.items()))
    return Exported(variant, place, part.pictures, part.boxes, hash_content(part.file), counts)


def _picture(
    where: str, sample: Sample, ending: str, record: Mapping[str, Any], size: tuple[int, int]
) -> tuple[str, bytes, tuple[int, int]]:
    """A picture as any reader shows it upright and in the right colours: file ending, content, height and width."""
    assert isinstance(sample.image, bytes)
    plain = record.get("orientation", 1) == 1 and (not (profile := record.get("profile", "")) or "sRGB" in profile)
    if ending in READABLE and plain and all(size):
        return ending, sample.image, size
    pixels = picture_pixels(where, sample.image)
    return "png", encode_png(pixels), (pixels.shape[0], pixels.shape[1])


def _entry(sample: Sample, size: tuple[int, int]) -> dict[str, Any]:
    return {
        "height": size[0],
        "width": size[1],
        "photograph": sample.photograph,
        "digital_source_type": sample.digital_source_type,
    }


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
    """Whether the mask is one of the picture; pycocotools would trust it blindly."""
    try:
        decode_mask(item, *size)
    except ValueError:
        return False
    return True


def _info(manifest: Manifest, variant: str, split: str) -> dict[str, Any]:
    return {
        "description": f"{_name(manifest)}, variant {variant}{f', split {split}' if split else ''}",
        "version": manifest.version,
        "edition": _name(manifest),
        "digest": manifest.digest(),
        "variant": variant,
    }


def _name(manifest: Manifest) -> str:
    return f"{manifest.dataset}@{manifest.version}"
