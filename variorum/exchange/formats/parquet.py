"""An edition as parquet files with pictures in them, as `datasets` and the Hub read them.

<folder>/data/[<configuration>/]<split>-00000-of-00002.parquet
<folder>/README.md                                     features, splits and configurations
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from variorum.exchange.folders import Exported, exported
from variorum.exchange.objects import object_lists
from variorum.exchange.selection import ExportedPicture, Selection
from variorum.reports.hub_types import ALL
from variorum.reports.warned import gate
from variorum.schemas.manifest import group_of

REVISION = 1
README = "README.md"
GROUP, GROUP_BYTES = 100, 32 << 20
"""Pictures, and bytes of pictures, after which a row group ends: that much is held in memory for each open file."""
FILE_BYTES = 500 << 20
"""Bytes of pictures after which a file ends."""


def write(folder: Path, selection: Selection, pictures: Iterator[ExportedPicture]) -> list[Exported]:
    """Write the pictures into parquet files by configuration and split, and the card that names the columns' types."""
    features = _features(selection)
    shards: dict[str, Shards] = {}
    boxes = 0
    for one in pictures:
        group = group_of(one.config, one.split)
        if group not in shards:
            shards[group] = Shards(folder / "data" / group, features.arrow_schema)
        shards[group].add(_row(one, selection), len(one.data))
        boxes += len(one.sample.annotations.objects)
    for part in shards.values():
        part.close()
    (folder / README).write_text(_card(selection, features, {group: part.rows for group, part in shards.items()}))
    total = sum(part.rows for part in shards.values())
    return [exported(folder, ".", [README], pictures=total, boxes=boxes)]


@dataclass
class Shards:
    """The parquet files of one configuration and split.

    Attributes:
        place: path of the files, without number and ending.
        schema: of the files.
    """

    place: Path
    schema: Any
    rows: int = 0
    _made: list[Path] = field(default_factory=list)
    _held: list[dict[str, Any]] = field(default_factory=list)
    _bytes: int = 0
    _written: int = 0
    _writer: Any = None

    def add(self, row: dict[str, Any], size: int) -> None:
        """Add a row whose picture has `size` bytes."""
        self._held.append(row)
        self.rows += 1
        self._bytes += size
        if len(self._held) >= GROUP or self._bytes >= GROUP_BYTES:
            self._flush()
            if self._written >= FILE_BYTES:
                self._end()

    def close(self) -> None:
        """Finish the last file, and give all files names that say how many there are."""
        self._flush()
        self._end()
        for number, path in enumerate(self._made):
            path.rename(self.place.parent / f"{self.place.name}-{number:05d}-of-{len(self._made):05d}.parquet")

    def _flush(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if not self._held:
            return
        if self._writer is None:
            self.place.parent.mkdir(parents=True, exist_ok=True)
            self._made.append(self.place.parent / f".{self.place.name}-{len(self._made)}")
            # pictures are compressed already, and without statistics their bytes aren't copied into the footer
            self._writer = pq.ParquetWriter(
                self._made[-1], self.schema, compression="zstd", write_statistics=["id", "label"], use_dictionary=False
            )
        self._writer.write_table(pa.Table.from_pylist(self._held, self.schema), row_group_size=GROUP)
        self._written += self._bytes
        self._held, self._bytes = [], 0

    def _end(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer, self._written = None, 0


def _features(selection: Selection) -> Any:
    """The types of the columns, for `datasets`."""
    from datasets import ClassLabel, Features, Image, List, Value

    text, number = Value("string"), Value("float64")
    label = ClassLabel(names=[one.name for one in selection.classes]) if selection.classes else Value("int64")
    texts = ("id", "sha256", "parent", "photograph", "variant", "split", "origin", "license", "digital_source_type")
    return Features(
        {
            "image": Image(),
            "label": label,
            "captions": List(text),
            "objects": {
                "bbox": List(List(number, length=4)),
                "category": List(label),
                "area": List(number),
                "iscrowd": List(Value("bool")),
                "id": List(text),
                "score": List(number),
                **{name: List(text) for name in ("segmentation", "origin", "check")},
            },
            "labels": List(text),
            **dict.fromkeys(texts, text),
            "converted": Value("bool"),
            "metadata": text,
        }
    )


def _row(one: ExportedPicture, selection: Selection) -> dict[str, Any]:
    sample = one.sample
    return {
        "image": {"bytes": one.data, "path": one.file},
        "label": selection.index.get(sample.labels[0], -1) if sample.labels else -1,
        "captions": one.captions,
        "objects": object_lists(sample.annotations.objects, lambda name: selection.index.get(name, -1)),
        **one.provenance(),
    }


def _card(selection: Selection, features: Any, rows: dict[str, int]) -> str:
    """A card whose header has the features, and the files of each configuration and split."""
    import yaml

    configs: dict[str, list[str]] = {}
    for group in rows:
        config, _, split = group.rpartition("/")
        configs.setdefault(config, []).append(split)
    splits = sorted({split for found in configs.values() for split in found})
    every = {split: f"data/*/{split}-*" if set(configs) != {""} else f"data/{split}-*" for split in splits}
    found = {ALL: every} | {
        name: {split: f"data/{name}/{split}-*" for split in held} for name, held in configs.items() if name
    }
    per_split = Counter[str]()
    for group, number in rows.items():
        per_split[group.rpartition("/")[2]] += number
    head = {
        **gate(selection.manifest),
        "configs": [
            {
                "config_name": name,
                **({"default": True} if name == ALL else {}),
                "data_files": [{"split": split, "path": path} for split, path in held.items()],
            }
            for name, held in found.items()
        ],
        # private, but nothing public writes what the loader reads
        "dataset_info": [{"config_name": name, "features": features._to_yaml_list()} for name in found],
    }
    header = yaml.dump(head, Dumper=_plain(), sort_keys=False, allow_unicode=True, width=10**6)
    counts = "".join(f"| {split} | {per_split[split]} |\n" for split in splits)
    return (
        f"---\n{header}---\n\n# {selection.manifest.dataset} {selection.manifest.version}\n\n"
        f"Exported by Variorum from the edition `{selection.name}`, digest `{selection.digest}`. `id` and `sha256` "
        f"of a row lead back to it.\n\n| split | pictures |\n|---|---|\n{counts}"
    )


def _plain() -> Any:
    """YAML without anchors: `datasets` empties the mappings that it reads, so none may be shared."""
    import yaml

    class Plain(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True

    return Plain
