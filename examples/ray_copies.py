"""Embeds the pictures of an edition and finds copies among them with Ray Data, where no single memory holds them.

    pip install 'variorum[ray]'
    python examples/ray_copies.py store/editions/photos/1.0.0 found      # on RAY_ADDRESS's cluster, or on this computer

`found/pictures` gets each picture's id, number of pixels, PDQ hash and embedding, `found/pairs.parquet` the pairs of
copies. The decider below drops the smaller picture of each pair: name this file in the recipe,
`curate: [{name: ./ray_copies.py, pairs: found/pairs.parquet}]`. Two hashes are compared where one of their 16 bands of
16 bits is the same, upright only: that finds all pairs up to 15 bits apart, and .91 of those 31 bits apart. Pictures
that show too little for a hash aren't compared.
"""

import sys
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow.parquet as pq

import variorum as va
from variorum.edition.read_at import with_pixels
from variorum.edition.samples import read_sample
from variorum.edition.shards import read_shard
from variorum.kit.copies.join import hamming_join
from variorum.kit.copies.pdq import LEAST_QUALITY, pdq
from variorum.machine.prefetch import batched
from variorum.schemas.component import Decider
from variorum.stages.job import models

SPLIT = 6  # the pictures are compared in 16 · 2^SPLIT groups, each with a 2^SPLIT-th of them in memory, 80 bytes each


class RayCopies(Decider):
    """Drops each picture that has a copy with as many pixels or more, which stays."""

    location: ClassVar[frozenset[str]] = frozenset({"pairs"})
    pairs: Path

    def decide(self, table, ctx):
        bits: dict[str, int] = {}
        for one in pq.read_table(self.pairs).sort_by([("pixels", "descending"), ("kept", "ascending")]).to_pylist():
            if one["kept"] not in bits:  # of a chain A–B–C, A and C stay
                bits.setdefault(one["copy"], one["bits"])
        rows = np.flatnonzero(np.isin(table["id"], list(bits)))
        yield table.verdicts(rows, "drop", "copy", value=[bits[name] for name in table["id"][rows]])


class Measure:
    """An actor: it loads the encoder once, and reads shard after shard."""

    def __init__(self):
        self.encoder = models("embedded").get("encoder")

    def __call__(self, batch):
        for some in batched(read_shard(Path(batch["shard"][0])), 64):
            samples = [with_pixels(read_sample(key, members)[0]) for key, members in some]
            images = [sample.image for sample in samples]
            hashes, quality = zip(*map(pdq, images))
            yield {
                "id": np.array([sample.id for sample in samples]),
                "pixels": np.array([image.shape[0] * image.shape[1] for image in images]),
                "clear": np.array(quality) >= LEAST_QUALITY,
                "pdq": np.stack([turns[0] for turns in hashes]),
                "embedding": self.encoder(images).astype(np.float16),
            }


def bands(batch):
    """A row for each of a hash's 16 bands, with the group that it is compared in."""
    first_bits = batch["pdq"].view("<u2") >> (16 - SPLIT)
    rows = {name: np.repeat(batch[name], 16, axis=0) for name in ("id", "pixels", "pdq")}
    return {"group": (np.arange(16) << SPLIT | first_bits).ravel(), **rows}


def copies(group):
    """The pairs of a group, the larger picture first."""
    order = np.lexsort((group["id"], -group["pixels"]))
    name, pixels, hashes = group["id"][order], group["pixels"][order], group["pdq"][order]
    near = hamming_join(hashes[:, None], hashes, exact=False, partitions=1)
    i, j, bits = (side[near.i < near.j] for side in (near.i, near.j, near.distance))
    return {"kept": name[i], "copy": name[j], "bits": bits.astype(np.int32), "pixels": pixels[i]}


def find(out, partitions):
    import ray

    hashes = ray.data.read_parquet(str(out / "pictures"), columns=["id", "pixels", "clear", "pdq"]).filter(expr="clear")
    groups = hashes.map_batches(bands, batch_format="numpy").groupby("group", num_partitions=partitions)
    pairs = groups.map_groups(copies, batch_format="numpy").to_pandas()
    pairs.drop_duplicates(["kept", "copy"]).to_parquet(out / "pairs.parquet", index=False)


def main(edition, out, workers=2):
    import ray

    shards = [{"shard": str(path)} for path in sorted((va.open(edition).path / "data").glob("*.tar"))]
    source = ray.data.from_items(shards, override_num_blocks=len(shards))
    pictures = source.map_batches(Measure, batch_format="numpy", batch_size=1, concurrency=workers)
    pictures.write_parquet(str(out / "pictures"))
    find(out, min(len(shards), 200))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]).absolute())
