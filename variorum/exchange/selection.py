"""The pictures of an edition that are exported: accepted ones, of the requested variants and split.

Quarantined, withheld and restricted pictures are never exported. One shard is read at a time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from variorum.edition.outgoing import outgoing
from variorum.edition.samples import picture_ending, picture_pixels, read_record, read_sample
from variorum.edition.shards import read_shard
from variorum.edition.store import Store
from variorum.exchange.folders import Exported
from variorum.machine.progress import QUIET, Progress
from variorum.pixels import encode_png
from variorum.schemas.component import ClassInfo
from variorum.schemas.errors import StoreError
from variorum.schemas.lookup import cut
from variorum.schemas.manifest import Manifest, config_of, split_of
from variorum.schemas.outgoing import Outgoing
from variorum.schemas.sample import Sample

READABLE = ("jpg", "png")
"""Formats of pictures that are copied as they are; the others become PNG."""
PROVENANCE = "pictures.jsonl"
"""File with `ExportedPicture.provenance` of each picture, in formats that have no place for it."""


@dataclass(frozen=True, slots=True)
class ExportedPicture:
    """A picture as any tool shows it: upright, in sRGB, as JPEG or PNG.

    Attributes:
        sample: everything known of it.
        sha256: of the picture in the edition.
        ending: of its file.
        data: of its file.
        size: height and width.
        config: the edition's configuration that it is in; `""` where there are none.
        split: `train`, `validation` or `test`.
        converted: whether its bytes aren't those of the edition.
    """

    sample: Sample
    sha256: str
    ending: str
    data: bytes
    size: tuple[int, int]
    config: str
    split: str
    converted: bool

    @property
    def file(self) -> str:
        """A name for its file: its id, which is safe everywhere."""
        return f"{self.sample.id}.{self.ending}"

    @property
    def captions(self) -> list[str]:
        """Its captions; other texts of a picture aren't exported."""
        return [text.text for text in self.sample.annotations.texts if text.role == "caption"]

    def png(self) -> bytes:
        """The picture as PNG."""
        return self.data if self.ending == "png" else encode_png(picture_pixels(self.file, self.data))

    def provenance(self) -> dict[str, Any]:
        """Where the picture comes from, and its terms: ids, hashes, labels, licence, as JSON values.

        The names are the same in all formats.
        """
        sample = self.sample
        return {
            "id": sample.id,
            "sha256": self.sha256,
            "converted": self.converted,
            "parent": sample.parent,
            "photograph": sample.photograph,
            "variant": sample.variant,
            "split": self.split,
            "labels": list(sample.labels),
            "origin": sample.origin,
            "license": sample.licence,
            "digital_source_type": sample.digital_source_type,
            "metadata": json.dumps(sample.metadata, sort_keys=True, ensure_ascii=False, allow_nan=False),
        }


@dataclass(frozen=True)
class Selection:
    """The pictures that are exported.

    Attributes:
        manifest: the edition.
        store: its store.
        variants: only these; all by default.
        split: only this one; all by default.
    """

    manifest: Manifest
    store: Store
    variants: Sequence[str] = ()
    split: str = ""

    @property
    def name(self) -> str:
        """The edition's name and version."""
        return f"{self.manifest.dataset}@{self.manifest.version}"

    @cached_property
    def digest(self) -> str:
        """The edition's digest; computing it takes longer the more units there are."""
        return self.manifest.digest()

    @cached_property
    def gate(self) -> Outgoing:
        """Says which pictures aren't exported."""
        return outgoing(self.manifest, self.store)

    def told(self, found: Sequence[Exported]) -> Sequence[Exported]:
        """The parts of the export, of which the first says how many pictures may not leave this machine."""
        more = self.gate.counts()
        return [replace(one, left_out={**one.left_out, **({} if at else more)}) for at, one in enumerate(found)]

    @cached_property
    def chosen(self) -> tuple[str, ...]:
        """The requested variants with accepted pictures.

        Raises:
            StoreError: no such variant or split.
        """
        there = [name for name, statuses in self.manifest.counts.items() if statuses.get("accepted")]
        if unknown := [name for name in self.variants if name not in there]:
            listed = ", ".join(map(cut, there)) or "none"
            raise StoreError(
                f"{self.name} has no accepted pictures of variant {cut(repr(unknown[0]))}; it has: {listed}"
            )
        splits = self.manifest.splits()
        if self.split and self.split not in splits:
            listed = ", ".join(name for name in splits if name) or "none"
            raise StoreError(f"{self.name} has no split {cut(repr(self.split))}; it has: {listed}")
        return tuple(name for name in there if not self.variants or name in self.variants)

    @cached_property
    def classes(self) -> tuple[ClassInfo, ...]:
        """The edition's classes in index order."""
        return tuple(ClassInfo(*pair) for pair in self.manifest.classes)

    @cached_property
    def names(self) -> Mapping[str, str]:
        """Names of the classes by id."""
        return dict(self.manifest.classes)

    @cached_property
    def index(self) -> Mapping[str, int]:
        """Indices of the classes by id."""
        return {one.id: number for number, one in enumerate(self.classes)}

    def note(self, form: str, revision: int, **more: Any) -> dict[str, Any]:
        """Describe the export for `export.json`."""
        return {
            "edition": self.name,
            "digest": self.digest,
            "as": form,
            "revision": revision,
            "variants": list(self.chosen),
            "split": self.split,
            **({"warning": self.manifest.warning} if self.manifest.warning else {}),
            **({"withheld": len(self.gate.withheld)} if self.gate.withheld else {}),
            **more,
        }

    def pictures(self, progress: Progress = QUIET) -> Iterator[ExportedPicture]:
        """The pictures, in the edition's order.

        Raises:
            CorruptShard: one can't be read.
            StoreError: none of them may leave this machine.
        """
        progress.start("exporting", self.manifest.pictures())
        chosen, number = frozenset(self.chosen), 0
        for group, shard in self.manifest.accepted():
            path = self.store.path(shard)
            for key, members in read_shard(path):
                progress.advance(1)
                record = read_record(members)
                split = record.get("split") or split_of(group)
                if record["variant"] not in chosen or (self.split and split != self.split):
                    continue
                where = f"{path}, sample {key}"
                sample, sha256 = read_sample(where, members, check=False)
                if self.gate.why_not(sample.id, sample.metadata):
                    continue
                number += 1
                ending, data, size = _shown(where, sample, picture_ending(members), record)
                converted = data is not sample.image
                yield ExportedPicture(sample, sha256, ending, data, size, config_of(group), split, converted)
        if not number and (said := self.gate.said()):
            raise StoreError(f"{self.name} has no picture to export: {said}; export an edition without them")


def _shown(where: str, sample: Sample, ending: str, record: Mapping[str, Any]) -> tuple[str, bytes, tuple[int, int]]:
    """A picture as any reader shows it upright and in the right colours: file ending, content, height and width."""
    assert isinstance(sample.image, bytes)
    plain = record.get("orientation", 1) == 1 and (not (profile := record.get("profile", "")) or "sRGB" in profile)
    size = record.get("height", 0), record.get("width", 0)
    if ending in READABLE and plain and all(size):
        return ending, sample.image, size
    pixels = picture_pixels(where, sample.image)
    return "png", encode_png(pixels), (pixels.shape[0], pixels.shape[1])
