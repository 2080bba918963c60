"""Datasets that FiftyOne has exported in its own format: a folder with `samples.json`, `metadata.json` and pictures."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from variorum.schemas.errors import SourceError
from variorum.sources.exports.annotated_folder import LICENCES, Told, ToldPictures, listed, read_json_of, texts_in
from variorum.sources.exports.annotated_source import ToldSource
from variorum.sources.exports.regions import packed, with_region
from variorum.sources.exports.texts import split_name

SAMPLES, METADATA = "samples.json", "metadata.json"
OWN = frozenset({"id", "filepath", "metadata", "tags", "created_at", "last_modified_at"})
"""Fields of a sample that say nothing of the picture's content."""


class Fiftyone(ToldSource):
    """A sample for each sample of the dataset.

    Its label is the Classification in the field `label`, or the Classifications; its objects are the Detections in the
    field `objects`. The split is the first tag that names one. Other
    fields of texts and numbers become metadata, but for `photograph`, which pictures of one photograph share.
    """

    path: Path
    """The folder of the export."""
    label: str = "ground_truth"
    """Field with a Classification or Classifications; samples without it are unlabelled."""
    objects: str = "objects"
    """Field with Detections; samples without it have no objects."""
    clip: bool = False
    """Whether boxes that leave their picture are clipped; otherwise the picture goes into quarantine."""
    licence: str = "unknown"
    """Licence of pictures without one: an SPDX id or the terms in a few words."""

    @cached_property
    def _pictures(self) -> ToldPictures:
        root = self.path.expanduser()
        listing = listed(root, "fiftyone", (SAMPLES, METADATA))
        if SAMPLES not in listing.files:
            raise SourceError(
                f"fiftyone: {root} has no {SAMPLES}; export the dataset with "
                "dataset.export(export_dir=..., dataset_type=fiftyone.types.FiftyOneDataset)"
            )
        about: Any = {}
        pins = {}
        if METADATA in listing.files:
            about, pins[METADATA] = read_json_of(root, METADATA, "fiftyone")
        found, pins[SAMPLES] = read_json_of(root, SAMPLES, "fiftyone")
        samples = found.get("samples") if isinstance(found, dict) else None
        if not isinstance(samples, list) or not samples or not all(isinstance(one, dict) for one in samples):
            raise SourceError(f"fiftyone: {root / SAMPLES} has no list of samples")
        told = [self._told(one, number) for number, one in enumerate(samples)]
        return ToldPictures(
            "fiftyone", listing, told, pins, self._names(about), self.licence, "xywh_relative", self.clip, with_region
        )

    def _names(self, about: Any) -> tuple[str, ...]:
        """The classes that the dataset lists for its labels, else by default."""
        if not isinstance(about, Mapping):
            return ()
        by_field = about.get("classes")
        mine = by_field.get(self.label) if isinstance(by_field, Mapping) else None
        return tuple(dict.fromkeys(texts_in(mine or about.get("default_classes"))))

    def _told(self, sample: Mapping[str, Any], number: int) -> Told:
        path = sample.get("filepath")
        if not isinstance(path, str) or not path:
            raise SourceError(f"fiftyone: sample {number} of {self.path / SAMPLES} has no filepath")
        if path.startswith("/"):  # exported without the pictures' own folder
            path = posixpath.join("data", posixpath.basename(path))
        tags = texts_in(sample.get("tags"))
        licence = next((sample[name] for name in LICENCES if isinstance(sample.get(name), str)), "")
        split = next((tag for tag in tags if split_name(tag)), "")
        others = {
            name: value
            for name, value in sample.items()
            if name not in {*OWN, *LICENCES, self.label, self.objects, "captions"}
            and not name.startswith("_")
            and _plain(value)
        }
        if more := [tag for tag in tags if tag != split]:
            others["tags"] = more
        labels = tuple(dict.fromkeys(_labels(sample.get(self.label))))
        if (more_labels := texts_in(sample.get("labels")))[:1] == labels:  # an export of ours, which has them all
            labels = more_labels
            others.pop("labels", None)
        photograph = others.pop("photograph", "")
        return Told(
            path,
            labels,
            texts_in(sample.get("captions")),
            _objects(sample.get(self.objects), sample.get("metadata")),
            licence,
            split,
            photograph if isinstance(photograph, str) else "",
            others,
        )


def _labels(value: Any) -> list[str]:
    """The classes of a Classification, or of Classifications."""
    if not isinstance(value, Mapping):
        return []
    parts = value.get("classifications")
    many = parts if isinstance(parts, list) else [value]
    return [one["label"] for one in many if isinstance(one, Mapping) and isinstance(one.get("label"), str)]


def _objects(value: Any, metadata: Any) -> list[dict[str, Any]]:
    """Detections as `read_objects` takes them; the mask of one whose box was moved isn't the exported region."""
    parts = value.get("detections") if isinstance(value, Mapping) else None
    found = []
    for one in parts if isinstance(parts, list) else ():
        if not isinstance(one, Mapping):
            continue
        item = {
            "bbox": one.get("bounding_box"),
            "category": one.get("label") or None,
            "score": one.get("confidence"),
            "area": one.get("area"),
            "iscrowd": one.get("iscrowd"),
            "id": one.get("object_id"),
            "segmentation": one.get("rle") if one.get("rle_box") == one.get("bounding_box") else None,
        }
        if item["segmentation"] is None and (mask := packed(one.get("mask"), metadata)) is not None:
            item["segmentation"] = mask
        found.append({name: part for name, part in item.items() if part is not None})
    return found


def _plain(value: Any) -> bool:
    """Return whether a field is a text, a number or a list of such, which metadata can hold."""
    if isinstance(value, list):
        return all(isinstance(one, str | int | float) for one in value)
    return isinstance(value, str | int | float) and value != ""
