"""Measures brightness and ranks it over the edition: a detector with all of its hooks."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Detector, Row
from variorum.schemas.sample import Sample
from variorum.schemas.table import Table


class Bright(Detector):
    """Mean brightness of each picture, and its rank in the edition."""

    late: ClassVar[frozenset[str]] = frozenset({"scale", "notes"})
    adds: ClassVar[Mapping[str, str]] = {"note.txt": "note"}

    channels: int = 3
    scale: float = 1.0
    notes: bool = False

    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterator[Row]:
        """Mean brightness and the mean of each channel; leaves a line for each picture where PROBE_LOG says."""
        for sample in samples:
            time.sleep(float(os.environ.get("PROBE_SECONDS", "0")))
            if log := os.environ.get("PROBE_LOG"):
                with open(log, "a") as file:
                    file.write(f"{sample.id}\n")
            channels = sample.image.mean((0, 1))[: self.channels].astype(np.float16)
            yield {"mean": float(sample.image.mean()), "channels": channels}

    def score(self, table: Table, ctx: Context) -> Mapping[str, Any]:
        """Rank from the darkest."""
        rank = table["mean"].argsort().argsort()
        assert table["channels"].shape == (len(rank), self.channels)
        columns: dict[str, Any] = {"rank": rank, "score": rank * self.scale}
        if self.notes:
            columns["note"] = [b"rank %d" % place for place in rank]
        return columns

    def figures(self, table: Table, ctx: Context) -> Mapping[str, Json]:
        """The darkest and the brightest."""
        return {"darkest": float(table["mean"].min()), "brightest": float(table["mean"].max())}
