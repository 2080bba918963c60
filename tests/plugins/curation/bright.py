"""Measures brightness, ranks it over the edition, and judges by rank: a step with all of its movements."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from variorum.arrays import matrix, vector
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, CurationStep
from variorum.schemas.sample import Sample
from variorum.schemas.verdict import Verdict


class Bright(CurationStep):
    """Drops the brightest, gives the darkest another label, sends the next to people, weighs the one after."""

    measured_by: ClassVar[frozenset[str]] = frozenset({"channels"})
    scored_by: ClassVar[frozenset[str]] = frozenset({"scale", "notes"})
    adds: ClassVar[Mapping[str, str]] = {"note.txt": "note"}

    channels: int = 3
    scale: float = 1.0
    drop: int = 1
    relabel: int = 0
    to: str = "chelsea"
    review: int = 0
    notes: bool = False

    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterator[Mapping[str, Any]]:
        """Mean brightness and the mean of each channel; leaves a line a picture where PROBE_LOG says."""
        for sample in samples:
            time.sleep(float(os.environ.get("PROBE_SECONDS", "0")))
            if log := os.environ.get("PROBE_LOG"):
                with open(log, "a") as file:
                    file.write(f"{sample.id}\n")
            channels = sample.image.mean((0, 1))[: self.channels].astype(np.float16)
            yield {"mean": float(sample.image.mean()), "channels": channels}

    def score(self, table: Any, ctx: Context) -> Mapping[str, Any]:
        """Rank from the darkest."""
        rank = vector(table, "bright.mean").argsort().argsort()
        assert matrix(table, "bright.channels").shape == (len(rank), self.channels)
        columns: dict[str, Any] = {"rank": rank, "score": rank * self.scale}
        if self.notes:
            columns["note"] = [b"rank %d" % place for place in rank]
        return columns

    def decide(self, table: Any) -> Iterator[Verdict]:
        """Verdicts by rank."""
        rank = vector(table, "bright.rank").astype(int)
        ids, hashes = (table.column(name).to_pylist() for name in ("id", "sha256"))
        for place, name, sha256 in zip(rank, ids, hashes, strict=True):
            value = float(place)
            if place >= len(rank) - self.drop:
                yield Verdict(name, sha256, "drop", "bright", "too_bright", value=value)
            elif place < self.relabel:
                yield Verdict(name, sha256, "relabel", "bright", "dark_is_a_cat", (self.to,), value)
            elif place < self.relabel + self.review:
                yield Verdict(name, sha256, "review", "bright", "odd", value=value)

    def summarise(self, table: Any) -> Mapping[str, Json]:
        """The darkest and the brightest."""
        mean = vector(table, "bright.mean")
        return {"darkest": float(mean.min()), "brightest": float(mean.max())}
