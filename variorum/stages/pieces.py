"""Pieces: the pictures that detectors and evaluations look at together, and the keys of what they find there.

A piece is a shard of the edition, or a range of samples of a reference. An evaluation that doesn't need all of an
edition chooses its pictures beforehand; what it chose is part of the keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np

from variorum.edition.store import Store
from variorum.schemas.canonical import Json, digest
from variorum.schemas.component import Context, Detector, Evaluation
from variorum.schemas.errors import RecipeError
from variorum.schemas.manifest import Manifest, ShardInfo
from variorum.schemas.more import ChoosesPictures, references_of
from variorum.schemas.table import Table
from variorum.stages.job import Job, pins
from variorum.stages.listings import read_listings
from variorum.stages.score import picture_table

PIECE = 1000
"""Samples of a reference in a piece."""

Measurer: TypeAlias = Detector | Evaluation


@dataclass(frozen=True, slots=True)
class Piece:
    """Pictures that are measured together.

    Attributes:
        content: identity of the pictures: a shard's sha256, or a source's digest with the positions.
        samples: number of pictures.
        keys: key of the table, by component.
        shard: of the edition; None for a reference.
        owner: name of the component that has the reference.
        reference: name of the reference; `""` for the edition.
        start: position of the first sample in the reference.
        chosen: by component that doesn't take all pictures, the ids of those that it takes, with its numbers for them.
    """

    content: Json
    samples: int
    keys: Mapping[str, str]
    shard: ShardInfo | None = None
    owner: str = ""
    reference: str = ""
    start: int = 0
    chosen: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def wanted(self, names: Iterable[str]) -> set[str] | None:
        """Ids of the pictures that any of these components takes; None for all."""
        taken = [self.chosen.get(name) for name in names]
        return None if None in taken else {picture for ids in taken if ids for picture in ids}

    @property
    def key(self) -> str:
        """Digest of the tables' keys."""
        return digest(dict(self.keys))

    @property
    def together(self) -> str:
        """Key of the record that names the tables which several detectors made of it first."""
        return digest(["measured", self.content])

    def __str__(self) -> str:
        return f"shard {self.shard.sha256[:12]}" if self.shard else f"{self.reference} from {self.start}"


def edition_pieces(
    manifest: Manifest, measurers: Sequence[Measurer], job: Job, store: Store | None = None
) -> list[Piece]:
    """The edition's shards of accepted pictures, unit by unit."""
    shards = [shard for _, shard in manifest.accepted()]
    keys = table_keys([shard.sha256 for shard in shards], measurers, job.judging)
    numbered, pieces, start = _chosen(manifest, measurers, job, store or job.store), [], 0
    for shard, own in zip(shards, keys, strict=True):
        rows = slice(start, start + shard.samples)
        chosen = {name: {picture: number for picture, number in of[rows] if number} for name, of in numbered.items()}
        own |= {name: digest([own[name], ids]) for name, ids in chosen.items()}
        pieces.append(Piece(shard.sha256, shard.samples, own, shard, chosen=chosen))
        start = rows.stop
    return pieces


def _chosen(
    manifest: Manifest, measurers: Sequence[Measurer], job: Job, store: Store
) -> dict[str, list[tuple[str, int]]]:
    """By evaluation that chooses its pictures, the id of each accepted picture with its number, in the edition's order.

    Raises:
        RecipeError: an evaluation didn't give one whole number for each picture.
    """
    choosing = [one for one in measurers if isinstance(one, Evaluation) and isinstance(one, ChoosesPictures)]
    if not choosing:
        return {}
    table = Table(picture_table(manifest, store))
    ctx = replace(job.judging, listings=read_listings(manifest, store))
    ids: list[str] = table["id"].tolist()
    found = {}
    for one in choosing:
        name, numbers = one.component_name(), one.chosen(table, ctx)
        if numbers is None:
            continue
        if not isinstance(numbers, np.ndarray) or numbers.shape != (len(ids),) or numbers.dtype.kind not in "biu":
            raise RecipeError(
                f"evaluate.{name}: chosen must give an array with one whole number for each of {len(ids)} pictures"
            )
        found[name] = list(zip(ids, map(int, numbers.tolist()), strict=True))
    return found


def reference_pieces(owner: Measurer, name: str, measurers: Sequence[Measurer], job: Job) -> list[Piece]:
    """One of a component's references in ranges of `PIECE` samples. Raises SourceError if it is missing."""
    source = references_of(owner)[name]
    held, size = digest([source.fingerprint(), source.pin(job.ctx)]), source.size(job.ctx)
    starts = range(0, size, PIECE)
    contents: list[Json] = [[held, start, min(start + PIECE, size)] for start in starts]
    keys = table_keys(contents, measurers, job.judging)
    return [
        Piece(content, min(PIECE, size - start), own, None, owner.component_name(), name, start)
        for start, content, own in zip(starts, contents, keys, strict=True)
    ]


def table_keys(contents: Sequence[Json], measurers: Sequence[Measurer], ctx: Context) -> list[dict[str, str]]:
    """For each content, the keys of the tables by component: digests of all that decides the measurement.

    All fields count except those declared `late`. The seed, the classes and the models always count. A detector and an
    evaluation of one name have different keys.
    """
    classes: list[Json] = [[one.id, one.name] for one in ctx.classes]
    common: dict[str, list[Json]] = {}
    for measurer in measurers:
        fields = {name: value for name, value in measurer.identity().items() if name not in measurer.late}
        kind: list[Json] = ["evaluate"] if isinstance(measurer, Evaluation) else []
        common[measurer.component_name()] = [fields, measurer.revision, ctx.seed, classes, pins(measurer, ctx), *kind]
    shared = {name: digest(parts) for name, parts in common.items()}
    return [{name: digest(["measure", part, content]) for name, part in shared.items()} for content in contents]
