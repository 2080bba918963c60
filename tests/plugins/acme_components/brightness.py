"""Mean brightness per variant: an evaluation without a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Evaluation, Row
from variorum.schemas.sample import Sample
from variorum.schemas.table import Table


class Brightness(Evaluation):
    """The mean of all pixels, by variant."""

    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterator[Row]:
        """One row per picture."""
        for sample in samples:
            yield {"id": sample.id, "variant": sample.variant, "mean": float(sample.image.mean())}

    def figures(self, table: Table, ctx: Context) -> Mapping[str, Json]:
        """Variant to mean brightness, three decimals."""
        variant, mean = table["variant"], table["mean"]
        return {name: round(float(mean[variant == name].mean()), 3) for name in sorted(set(variant))}
