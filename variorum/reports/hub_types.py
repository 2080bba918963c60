"""Column types, splits and configurations of an edition in the terms of `datasets`, for the card's header.

Loaders read them there: without declared types, `datasets` guesses from the first five samples, and then drops or
refuses what differs later.
"""

from __future__ import annotations

import json
import os
from typing import Any

import yaml

from variorum.edition.shards import ANNOTATIONS, PICTURES
from variorum.schemas.errors import StoreError
from variorum.schemas.manifest import QUARANTINE, Manifest, Shard, group_of, split_of

ALL = "all"
"""The configuration with all accepted pictures, which is loaded by default."""
UNPACKED = ("npz", "gz")
"""Endings of members that `datasets` unpacks, however large they become."""
LARGEST = 64 << 20
"""Bytes of a card that are looked at."""
LABELS = "labels.json"
"""Member that the detector `consensus` adds."""
SAFETY = "safety.json"
"""Member that the detector `safety` adds."""
BOXES = "boxes.json"
"""Member that the generator `box_noise` adds."""
ATTACKED = "attacked.json"
"""Member that the generator `watermark_attack` adds with `keep: records`."""
RECORD = ("id", "sha256", "parent", "variant", "labels", "origin", "licence", "reason", "ops")
"""Fields of a record of format 3."""


def features(manifest: Manifest) -> Any:
    """`datasets.Features` of a sample: one column per member (`jpg`, `mask.png`, `txt`, `cls`, `json`)."""
    from datasets import ClassLabel, Features, Image, List, Value

    columns: dict[str, Any] = {}
    for member in manifest.members:
        if member == "json":
            columns[member] = record(manifest)
        elif member == ANNOTATIONS:
            columns[member] = annotation_types(manifest)
        elif member == LABELS:
            columns[member] = label_set_types()
        elif member == SAFETY:
            columns[member] = safety_types()
        elif member == BOXES:
            columns[member] = box_types()
        elif member == ATTACKED:
            columns[member] = attacked_types()
        elif member == "cls":
            columns[member] = ClassLabel(names=[name for _, name in manifest.classes])
        elif member in PICTURES or member.endswith(".png"):
            columns[member] = Image()
        elif member == "txt" or member.endswith(".txt"):
            columns[member] = Value("string")
        elif member.endswith(".npy"):  # `datasets` decodes it to an array, here of numbers `[n, d]`
            columns[member] = List(List(Value("float32")))
        else:
            columns[member] = Value("binary")
    return Features(columns)


def record(manifest: Manifest) -> dict[str, Any]:
    """The types of the `json` member."""
    from datasets import List, Value

    text = Value("string")
    found: dict[str, Any] = dict.fromkeys(RECORD, text) | {"labels": List(text)}
    if manifest.format == 3:
        return found
    return found | {
        **dict.fromkeys(("photograph", "split", "profile", "digital_source_type", "metadata"), text),
        **dict.fromkeys(("width", "height", "orientation"), Value("int32")),
        "credentials": Value("bool"),
    }


def annotation_types(manifest: Manifest) -> dict[str, Any]:
    """The types of the `annotations.json` member."""
    from datasets import ClassLabel, List, Value

    text, number = Value("string"), Value("float32")
    # an edition without classes has -1 in these lists, which a ClassLabel without names can't hold
    category = ClassLabel(names=[name for _, name in manifest.classes]) if manifest.classes else Value("int64")
    return {
        "objects": {
            "bbox": List(List(number, length=4)),
            "category": List(category),
            **{name: List(text) for name in ("label", "id", "origin", "mask", "check")},
            "area": List(number),
            "crowd": List(Value("bool")),
            "score": List(number),
        },
        "texts": {"text": List(text), "role": List(text)},
        "states": {"category": List(category), "label": List(text), "state": List(text)},
    }


def label_set_types() -> dict[str, Any]:
    """The types of the `labels.json` member: what people said of a picture's labels, which are ids of classes."""
    from datasets import List, Value

    text, whole = Value("string"), Value("int32")
    return {
        **dict.fromkeys(("given", "label", "state", "correct", "unclear", "wrong"), List(text)),
        "p": List(Value("float32")),
        "votes": List(whole),
        "problematic": Value("bool"),
        "reason": text,
        "n_votes": whole,
        "mistakes": {
            **dict.fromkeys(("label", "category", "severity"), List(text)),
            "unanimous": List(Value("bool")),
            "major": List(Value("float32")),
        },
    }


def safety_types() -> dict[str, Any]:
    """The types of the `safety.json` member: the state of each category; p is null where nobody looked."""
    from datasets import List, Value

    text = Value("string")
    return {
        **dict.fromkeys(("category", "state", "unsafe", "unscored"), List(text)),
        "p": List(Value("float32")),
        **dict.fromkeys(("yes", "unclear", "no", "people"), List(Value("int32"))),
        **dict.fromkeys(("policy_only", "needs_human"), Value("bool")),
    }


def box_types() -> dict[str, Any]:
    """The types of the `boxes.json` member: the noise, and true and noisy boxes, null for a dropped object."""
    from datasets import List, Value

    text, number, flag = Value("string"), Value("float32"), Value("bool")
    objects = {
        **dict.fromkeys(("id", "label", "noisy_label", "bin"), List(text)),
        **dict.fromkeys(("gt", "noisy"), List(List(number))),
        **dict.fromkeys(("area", "iou"), List(number)),
        **dict.fromkeys(("crowd", "duplicate", "kept"), List(flag)),
        "redraws": List(Value("int32")),
    }
    return {"kind": text, "law": text, "level": number, "seed": Value("int32"), "objects": objects}


def attacked_types() -> dict[str, Any]:
    """The types of the `attacked.json` member: pictures that aren't stored, each with a record in JSON, and marks."""
    from datasets import List, Value

    texts = List(Value("string"))
    return {
        "pictures": dict.fromkeys(("id", "variant", "sha256", "record"), texts),
        "marks": dict.fromkeys(("mark", "method"), texts),
    }


def front_matter(manifest: Manifest) -> dict[str, Any]:
    """`configs` and `dataset_info` of the card's YAML header, in the Hub's layout.

    `datasets` caches a local folder by its name and this header, not by its data. The header contains the digest, so
    that another edition of the same version isn't read from the cache.
    """
    types = _shared(features(manifest)._to_yaml_list(), {})  # private, but nothing public writes what the loader reads
    found, identity = configurations(manifest), f"{manifest.dataset}@{manifest.version}, digest {manifest.digest()}"
    return {
        "configs": [
            {
                "config_name": name,
                **({"default": True} if name == ALL else {}),
                "data_files": [{"split": split, "path": paths} for split, (paths, _) in splits.items()],
            }
            for name, splits in found.items()
        ],
        "dataset_info": [
            _info(identity, name, {split: shards for split, (_, shards) in splits.items()}, types)
            for name, splits in found.items()
        ],
    }


def configurations(manifest: Manifest) -> dict[str, dict[str, tuple[str, list[Shard]]]]:
    """By configuration and split, the pattern of the files and their shards: `all`, each other one, the quarantine."""
    found: dict[str, dict[str, tuple[str, list[Shard]]]] = {}
    own, splits = manifest.configs(), manifest.splits()
    if splits:
        above, every = "*/" if own else "", dict[str, list[Shard]]()
        for group, shards in manifest.shards.items():
            if group != QUARANTINE:
                every.setdefault(split_of(group), []).extend(shards)
        found[ALL] = {split: (f"data/{above}{split}-*.tar", every[split]) for split in splits}
    for name, there in own.items():
        found[name] = {
            split: (f"data/{name}/{split}-*.tar", manifest.shards[group_of(name, split)])
            for split in splits
            if split in there
        }
    if QUARANTINE in manifest.shards:
        found[QUARANTINE] = {QUARANTINE: (f"data/{QUARANTINE}-*.tar", manifest.shards[QUARANTINE])}
    return found


def read_back(folder: str, manifest: Manifest) -> str:
    """Load an edition with `datasets` and describe the result: columns, the first picture decoded, rows by split.

    Raises:
        StoreError: the number of rows isn't the edition's number of pictures, or the card would have loaders read
            other files than the edition's.
    """
    from datasets import load_dataset

    if not os.path.isdir(folder):  # `datasets` would take it for a name on the Hub
        name = f"{manifest.dataset}@{manifest.version}"
        raise StoreError(
            f"{name} isn't in a folder of this machine, so it isn't loaded as users of a folder do; in Python, its "
            f"`dataset()` loads it from the bucket"
        )
    if problems := check_header(folder, manifest):
        raise StoreError(problems[0])
    if unpacked := [ending for ending in manifest.members if ending.endswith(UNPACKED)]:
        raise StoreError(f"{folder}: `datasets` unpacks {unpacked[0]} into memory unseen, so it isn't loaded")

    head, lines = list[str](), list[str]()
    for name, splits in configurations(manifest).items():
        wanted = {split: sum(shard.samples for shard in shards) for split, (_, shards) in splits.items()}
        found = load_dataset(folder, None if name == ALL else name)
        if (numbers := {split: len(rows) for split, rows in found.items()}) != wanted:
            there = os.path.exists(f"{folder}/README.md")
            hint = "" if there else "; it has no card, which names the files to load: write it with `variorum card`"
            raise StoreError(
                f"load_dataset({folder!r}, {name!r}) gives {_numbers(numbers)} rows, the edition has "
                f"{_numbers(wanted)} pictures{hint}"
            )
        if not head:
            rows = next(iter(found.values()))
            first = rows[0]
            picture = next(first[column] for column in rows.column_names if column in PICTURES and first[column])
            columns = ", ".join(f"{column} {_type(kind)}" for column, kind in rows.features.items())
            head = [
                f"columns: {columns}",
                f"first row: {picture.width}×{picture.height} {first['json']['variant']} of {first['json']['origin']}",
            ]
        if name == ALL:
            lines += [f'load_dataset("{folder}", split="{split}"): {number} rows' for split, number in wanted.items()]
        else:
            lines.append(f'load_dataset("{folder}", "{name}"): {_numbers(wanted)} rows')
    return "\n".join([*head, *lines])


def check_header(folder: str, manifest: Manifest) -> list[str]:
    """Problems with the header of a card, which tells loaders the files to read and the names of the classes."""
    import fsspec

    path = f"{folder}/README.md"
    if os.path.lexists(path) and not os.path.isfile(path):  # a pipe would be read for ever
        return [f"{path}: it is no regular file; delete it"]
    try:
        with fsspec.open(path, "rb") as file:
            lines = file.read(LARGEST).decode(errors="replace").split("\n")
    except FileNotFoundError:
        return []
    try:
        found = yaml.safe_load("\n".join(lines[1 : lines.index("---", 1)])) if lines[0] == "---" else None
    except (yaml.YAMLError, ValueError, RecursionError):
        found = None
    wanted = yaml.safe_load(yaml.safe_dump(front_matter(manifest)))
    found = found if isinstance(found, dict) else {}
    odd = [name for name, value in wanted.items() if found.get(name) != value]
    name = f"{manifest.dataset}@{manifest.version}"
    return (
        [f"{path}: its header doesn't have the {odd[0]} of {name}; write it again with `variorum card`"] if odd else []
    )


def _numbers(splits: dict[str, int]) -> str:
    return ", ".join(f"{split} {number}" for split, number in splits.items())


def _type(kind: Any) -> str:
    return "struct" if isinstance(kind, dict) else type(kind).__name__


def _info(description: str, config: str, splits: dict[str, list[Shard]], types: Any) -> dict[str, Any]:
    size = sum(shard.size for shards in splits.values() for shard in shards)
    return {
        "config_name": config,
        "description": description,
        "features": types,
        "splits": [
            {
                "name": split,
                "num_bytes": sum(shard.size for shard in shards),
                "num_examples": sum(shard.samples for shard in shards),
            }
            for split, shards in splits.items()
        ],
        "download_size": size,
        "dataset_size": size,
    }


def _shared(value: Any, seen: dict[str, Any]) -> Any:
    """The same value with equal lists of class names made one object, so that YAML writes a long one only once.

    Nothing else is shared, because `datasets` empties the mappings that it reads.
    """
    if isinstance(value, list):
        return [_shared(item, seen) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: seen.setdefault(json.dumps(item), item) if name == "names" else _shared(item, seen)
        for name, item in value.items()
    }
