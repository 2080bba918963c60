"""Count what an edition holds: pictures by configuration and split, annotations, kinds of pictures.

The card and the command line show the same numbers. They come from the manifest and the edition's rows alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from variorum.edition.shards import ANNOTATIONS, PICTURES
from variorum.edition.store import Store
from variorum.reports.figures import Row, Shown
from variorum.schemas.manifest import Manifest

MANY = 40
"""Configurations that a table still lists if they only repeat the variants."""


class Count(NamedTuple):
    """A number of things, and the number of pictures that have them."""

    number: int = 0
    pictures: int = 0


NONE = Count()


@dataclass(frozen=True, slots=True)
class Contents:
    """Counts over the accepted pictures of an edition. What its rows don't say is 0, as the objects of format 3.

    Attributes:
        labelled: pictures with a class.
        objects: marked objects.
        captions: texts that describe a picture.
        states: classes of which somebody said whether the picture shows them.
        kinds: by term of IPTC's DigitalSourceType, `""` for unknown, the number of pictures, most frequent first.
        credentials: pictures whose source had content credentials.
    """

    labelled: int = 0
    objects: Count = NONE
    captions: Count = NONE
    states: Count = NONE
    kinds: tuple[tuple[str, int], ...] = ()
    credentials: int = 0

    @property
    def annotations(self) -> list[tuple[str, Count]]:
        """Those that there are, by name."""
        named = (("objects", self.objects), ("captions", self.captions), ("label states", self.states))
        return [(name, count) for name, count in named if count.number]


ANNOTATED = ("objects", "captions", "states")
CONTENTS = ("status", "labels", *ANNOTATED, "digital_source_type", "credentials")
"""Columns that are counted."""


def contents(rows: Any) -> Contents:
    """The counts of an edition, from its `edition_rows` or from some of their columns, `status` among them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    there = rows.select([name for name in CONTENTS if name in rows.column_names])
    there = there.filter(pc.equal(there.column("status"), "accepted"))

    def column(name: str, kind: pa.DataType) -> Any:
        known = name in there.column_names
        return there.column(name) if known else pa.chunked_array([pa.nulls(len(there), kind)])

    def count(name: str) -> Count:
        numbers = column(name, pa.int32())
        return Count(pc.sum(numbers).as_py() or 0, pc.sum(pc.greater(numbers, 0)).as_py() or 0)

    labels = pc.list_value_length(column("labels", pa.list_(pa.string())))
    kinds = []
    if "digital_source_type" in there.column_names:
        kinds = pc.value_counts(pc.fill_null(there.column("digital_source_type"), "")).to_pylist()
    return Contents(
        labelled=pc.sum(pc.greater(labels, 0)).as_py() or 0,
        objects=count("objects"),
        captions=count("captions"),
        states=count("states"),
        kinds=tuple(sorted(((one["values"], one["counts"]) for one in kinds), key=lambda pair: (-pair[1], pair[0]))),
        credentials=pc.sum(column("credentials", pa.bool_())).as_py() or 0,
    )


def annotation_counts(manifest: Manifest, store: Store) -> Contents:
    """The counts of an edition's annotations alone; the rows are read only if there can be some."""
    if ANNOTATIONS not in manifest.members:
        return Contents()
    import pyarrow as pa

    from variorum.edition.tables import read_unit

    tables = [read_unit(store, info, ("status", *ANNOTATED).__contains__) for info in manifest.rows]
    return contents(pa.concat_tables(tables, promote_options="default"))


def summary_rows(manifest: Manifest) -> list[dict[str, Any]]:
    """The edition's counts: one row per variant with the number of pictures by status, and the reasons.

    `dropped` is there for a release, `withheld` where a picture is.
    """
    rows = []
    withheld = any(key.startswith("withheld:") for found in manifest.counts.values() for key in found)
    for variant, counts in manifest.counts.items():
        totals: dict[str, int] = {"accepted": 0, "quarantined": 0, "ineligible": 0, "failed": 0}
        if manifest.ledger:
            totals["dropped"] = 0
        if withheld:
            totals["withheld"] = 0
        for key, number in counts.items():
            totals[key.partition(":")[0]] += number
        reasons = sorted(((n, key.partition(":")[2]) for key, n in counts.items() if ":" in key), reverse=True)
        why = ", ".join(f"{reason} {number}" for number, reason in reasons)
        rows.append({"variant": variant, **totals, "reasons": why})
    return rows


def split_table(manifest: Manifest) -> Shown | None:
    """The number of pictures by configuration and split.

    None where all pictures are of one split and there are no configurations, or many that are the variants.
    """
    splits, configs = manifest.splits(), manifest.configs()
    if not configs:
        if len(splits) < 2:
            return None
        return Shown("Pictures by split", ("split", "pictures"), [(split, str(n)) for split, n in splits.items()])
    several = len(splits) > 1
    if not several and len(configs) > MANY and set(configs) == set(manifest.counts):
        return None

    def row(name: str, numbers: dict[str, int]) -> Row:
        counted = [numbers.get(split, 0) for split in splits]
        return (name, *map(str, [*counted, sum(counted)] if several else counted))

    rows = [row(name, numbers) for name, numbers in configs.items()]
    head = ("configuration", *splits, *(["all splits"] if several else []))
    return Shown("Pictures by configuration and split", head, [*rows, row("all", splits)])


def formats(manifest: Manifest) -> list[str]:
    """The members that hold pictures; each sample has one of them."""
    return [member for member in manifest.members if member in PICTURES]


def tasks(manifest: Manifest, found: Contents) -> list[str]:
    """List what a model can learn from an edition, in the words of the Hub's `task_categories`."""
    captioned = ["image-to-text", "text-to-image"] if found.captions.number or "txt" in manifest.members else []
    return [
        *(["object-detection"] if found.objects.number else []),
        *captioned,
        *(["image-classification"] if found.labelled and manifest.classes else []),
    ]
