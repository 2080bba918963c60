"""Column types of an edition in the terms of `datasets`. The card's header has them, so loaders find them."""

from __future__ import annotations

from typing import Any

from variorum.schemas.errors import StoreError
from variorum.schemas.manifest import Manifest, Split

RECORD = ("id", "sha256", "parent", "variant", "labels", "origin", "licence", "reason", "ops")


def features(manifest: Manifest) -> Any:
    """`datasets.Features` of a sample: one column per member (`png`, `mask.png`, `cls`, `json`)."""
    from datasets import ClassLabel, Features, Image, List, Value

    record = {name: List(Value("string")) if name == "labels" else Value("string") for name in RECORD}
    columns: dict[str, Any] = {}
    for member in manifest.members:
        if member == "json":
            columns[member] = record
        elif member == "cls":
            columns[member] = ClassLabel(names=[name for _, name in manifest.classes])
        elif member.endswith("png"):
            columns[member] = Image()
        else:
            columns[member] = Value("binary")
    return Features(columns)


def front_matter(manifest: Manifest) -> dict[str, Any]:
    """`configs` and `dataset_info` of the card's YAML header, in the Hub's layout.

    `datasets` caches a local folder by its name and this header, not by its data. The header contains the digest, so
    that another edition of the same version isn't read from the cache.
    """
    names: dict[str, Split] = {"default": "test", "quarantine": "quarantine"}
    present = {config: split for config, split in names.items() if split in manifest.shards}
    configs = [
        {
            "config_name": config,
            **({"default": True} if config == "default" else {}),
            "data_files": [{"split": split, "path": f"data/{split}-*.tar"}],
        }
        for config, split in present.items()
    ]
    types = features(manifest)._to_yaml_list()  # private, but nothing public writes the format that the loader reads
    return {
        "configs": configs,
        "dataset_info": [_info(manifest, config, split, types) for config, split in present.items()],
    }


def _info(manifest: Manifest, config: str, split: Split, types: Any) -> dict[str, Any]:
    shards = manifest.shards[split]
    size, number = sum(shard.size for shard in shards), sum(shard.samples for shard in shards)
    return {
        "config_name": config,
        "description": f"{manifest.dataset}@{manifest.version}, digest {manifest.digest()}",
        "features": types,
        "splits": [{"name": split, "num_bytes": size, "num_examples": number}],
        "download_size": size,
        "dataset_size": size,
    }


def read_back(folder: str, manifest: Manifest) -> str:
    """Load an edition with `datasets` and describe the result: rows, columns, the first picture decoded.

    Raises:
        StoreError: the number of rows isn't the edition's number of pictures.
    """
    from datasets import load_dataset

    rows = load_dataset(folder, split="test")
    expected = sum(shard.samples for shard in manifest.shards["test"])
    if len(rows) != expected:
        raise StoreError(f"load_dataset({folder!r}) gives {len(rows)} rows, the edition has {expected} pictures")
    first = rows[0]
    columns = ", ".join(f"{name} {type(kind).__name__}" for name, kind in rows.features.items())
    width, height = first["png"].size
    return (
        f'load_dataset("{folder}", split="test"): {len(rows)} rows; {columns}\n'
        f"first row: {width}×{height} {first['json']['variant']} of {first['json']['origin']}"
    )
