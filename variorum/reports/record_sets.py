"""The files and records of an edition in the vocabulary of Croissant 1.1: how to read pictures and their labels.

JSON inside of shards can't be read that way. So the records are those of `index.parquet`, to which the pictures are
joined by id.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from variorum.edition.editions import readable, shard_name
from variorum.edition.shards import PICTURES
from variorum.reports.index_table import FILE as INDEX
from variorum.schemas.manifest import QUARANTINE, Manifest, ShardInfo

SPLIT_TYPES = {"train": "cr:TrainingSplit", "validation": "cr:ValidationSplit", "test": "cr:TestSplit"}
SUBTYPES = {"jpg": "jpeg", "tif": "tiff", "ppm": "x-portable-pixmap"}
"""Those of `image/` that differ from the file's ending."""
FIELDS = {
    "sha256": ("sc:Text", "sha256 of the picture's bytes"),
    "split": ("sc:Text", "train, validation or test"),
    "config": ("sc:Text", "configuration; empty in an edition without any"),
    "variant": ("sc:Text", "what was made of the source's picture; `original` if nothing"),
    "label": ("sc:Integer", "index of the first class, as in the record set `classes`; -1 without a class"),
    "labels": ("sc:Text", "ids of all classes"),
    "licence": ("sc:Text", "licence of this picture"),
    "origin": ("sc:Text", "where the picture comes from"),
    "width": ("sc:Integer", "in pixels, of the upright picture"),
    "height": ("sc:Integer", "in pixels, of the upright picture"),
    "digital_source_type": ("sc:Text", "term of IPTC's vocabulary DigitalSourceType; empty if unknown"),
}
"""Columns of the index that both record sets have, with type and description."""
MORE = {
    "status": ("sc:Text", "`accepted`, or `withheld`: a picture that may not be kept, of which there are no pixels"),
    "reason": ("sc:Text", "why a picture is withheld"),
    "shard": ("sc:Text", "the file in which the picture lies"),
}
"""Columns of the index that only the record set `index` has."""


def distribution(manifest: Manifest, index: ShardInfo, lengths: Sequence[int]) -> list[dict[str, Any]]:
    """Every file of the edition, whose id is its name, and the set of its pictures.

    Args:
        manifest: the edition.
        index: hash and size of `index.parquet`.
        lengths: how long the ids of accepted pictures are. The patterns that find pictures need it: `*.png` finds
            `mask.png` too, and `mlcroissant` ignores `excludes`.
    """
    files = [
        {
            "@type": "cr:FileObject",
            "@id": name,
            "name": name,
            "contentUrl": name,
            "contentSize": str(info.size),
            "encodingFormat": "application/x-tar" if suffix == ".tar" else "application/x-parquet",
            "sha256": info.sha256,
        }
        for name, (info, suffix) in {**readable(manifest), INDEX: (index, ".parquet")}.items()
    ]
    return [*files, _pictures(manifest, lengths)] if manifest.pictures() else files


def _pictures(manifest: Manifest, lengths: Sequence[int]) -> dict[str, Any]:
    endings = [member for member in manifest.members if member in PICTURES]
    extras = [member for member in manifest.members if member not in endings and member.split(".")[-1] in endings]
    shards = [
        shard_name(manifest, group, number)
        for group, shards in manifest.shards.items()
        for number in range(len(shards))
        if group != QUARANTINE
    ]
    return {
        "@type": "cr:FileSet",
        "@id": "picture-files",
        "name": "picture-files",
        "description": "The accepted pictures. Each file is named by the picture's id, and its ending is the format.",
        "containedIn": [{"@id": name} for name in shards],
        "encodingFormat": [f"image/{SUBTYPES.get(ending, ending)}" for ending in endings],
        "includes": [f"{'?' * length}.{ending}" for ending in endings for length in lengths],
        **({"excludes": [f"*.{extra}" for extra in extras]} if extras else {}),
    }


def record_sets(manifest: Manifest) -> Iterator[dict[str, Any]]:
    """`splits` and `classes` with their values, `pictures` with pixels, and `index` with every row of the index."""
    splits = [split for split in SPLIT_TYPES if split in manifest.splits()]
    references = {}
    if splits:
        references["split"] = "splits/name"
        values: list[dict[str, Any]] = [{"splits/name": one, "splits/url": SPLIT_TYPES[one]} for one in splits]
        yield _listed("splits", "cr:Split", {"name": "sc:Text", "url": "sc:URL"}, values)
    if manifest.classes:
        references["label"] = "classes/index"
        values = [
            {"classes/index": place, "classes/id": identity, "classes/name": name}
            for place, (identity, name) in enumerate(manifest.classes)
        ]
        yield _listed("classes", "sc:Enumeration", {"index": "sc:Integer", "id": "sc:Text", "name": "sc:Text"}, values)
    if manifest.pictures():
        yield {
            **_named("cr:RecordSet", "pictures", "The accepted pictures, with what the index says of them."),
            "key": {"@id": "pictures/id"},
            "field": [*_from_files(), *_columns("pictures", FIELDS, references)],
        }
    fields = {"id": ("sc:Text", "the picture's id"), **FIELDS, **MORE}
    yield {
        **_named("cr:RecordSet", "index", "One row for each accepted or withheld picture. It needs no shard."),
        "key": {"@id": "index/id"},
        "field": _columns("index", fields, references),
    }


def _listed(name: str, kind: str, fields: Mapping[str, str], values: list[dict[str, Any]]) -> dict[str, Any]:
    """A record set whose records stand in the document; its first field is its key."""
    return {
        **_named("cr:RecordSet", name),
        "dataType": kind,
        "key": {"@id": f"{name}/{next(iter(fields))}"},
        "field": [{**_named("cr:Field", f"{name}/{field}"), "dataType": of} for field, of in fields.items()],
        "data": values,
    }


def _from_files() -> list[dict[str, Any]]:
    """The field by which the index is joined, which must be the first, and the picture."""
    files = {"@id": "picture-files"}
    return [
        {
            **_named("cr:Field", "pictures/id", "the picture's id"),
            "dataType": "sc:Text",
            "source": {
                "fileSet": files,
                "extract": {"fileProperty": "filename"},
                "transform": {"regex": r"^([^.]+)"},
            },
            "references": _column("id"),
        },
        {
            **_named("cr:Field", "pictures/image", "the picture as it is stored, before any EXIF rotation"),
            "dataType": "sc:ImageObject",
            "source": {"fileSet": files, "extract": {"fileProperty": "content"}},
        },
    ]


def _columns(
    record_set: str, fields: Mapping[str, tuple[str, str]], references: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Fields that are columns of the index."""
    return [
        {
            **_named("cr:Field", f"{record_set}/{name}", description),
            "dataType": kind,
            **({"isArray": True, "arrayShape": "-1"} if name == "labels" else {}),
            "source": _column(name),
            **({"references": {"field": {"@id": references[name]}}} if name in references else {}),
        }
        for name, (kind, description) in fields.items()
    ]


def _column(name: str) -> dict[str, Any]:
    return {"fileObject": {"@id": INDEX}, "extract": {"column": name}}


def _named(kind: str, identity: str, description: str = "") -> dict[str, Any]:
    said = {"description": description} if description else {}
    return {"@type": kind, "@id": identity, "name": identity.rpartition("/")[2], **said}
