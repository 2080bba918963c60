"""Mean brightness per variant: an evaluation without a model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Evaluation
from variorum.schemas.sample import Sample


class Brightness(Evaluation):
    """The mean of all pixels, by variant."""

    def measure(self, samples: Iterable[Sample], ctx: Context) -> Iterator[Mapping[str, Json]]:
        """One row a picture."""
        for sample in samples:
            yield {"id": sample.id, "variant": sample.variant, "mean": float(sample.image.mean())}

    def summarise(self, table: Any, seed: int) -> dict[str, Json]:
        """Variant to mean brightness, three decimals."""
        means = table.group_by("variant").aggregate([("mean", "mean")]).to_pylist()
        return {row["variant"]: round(row["mean_mean"], 3) for row in sorted(means, key=lambda row: row["variant"])}
