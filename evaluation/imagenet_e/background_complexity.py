"""Measure the complexity of backgrounds before and after an edit, on the pixels, without a model.

Covers the variants that leave the object in place. Each picture is paired with the original of the same photograph
and, for guided backgrounds, with its control. The complexity measures are those of the background edits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from variorum.kit.pictures import complexity
from variorum.kit.predicted.answers import reference
from variorum.kit.predicted.pairing import ORIGINAL, roots
from variorum.pixels import decode_mask
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Evaluation, Row
from variorum.schemas.sample import Sample
from variorum.schemas.table import Table

if TYPE_CHECKING:
    from variorum.arrays import Bools, Floats

MEASURES = ("masked_hf", "adm_compat", "contrast")
MASK = "mask.png"


class BackgroundComplexity(Evaluation):
    """Background complexity by variant, over the pictures that have an object mask."""

    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterator[Row]:
        """One row per picture: `masked_hf`, `adm_compat`, `contrast` and a hash of the mask; null without a mask."""
        for sample in samples:
            found: dict[str, Json] = dict.fromkeys(MEASURES)
            mask = sample.extras.get(MASK)
            if mask is not None:
                alpha = decode_mask(mask) if isinstance(mask, bytes) else mask
                found = measures(sample, alpha == 0)
            yield {
                "id": sample.id,
                "parent": sample.parent,
                "variant": sample.variant,
                "reference": reference(sample),
                "mask": "" if mask is None else hashlib.sha256(alpha.tobytes()).hexdigest()[:16],
                **found,
            }

    def figures(self, table: Table, ctx: Context) -> dict[str, Json]:
        """By variant: `n`, and for each measure the mean `original`, `edited` and `change`, paired by photograph.

        With a reference also `change_vs_reference`, and `risen`, the share of pictures whose measure is higher than
        the reference's. Pictures without a mask, or with a mask that differs from the original's, are left out: a
        different mask means a different background region, so the values can't be compared.
        """
        rows = [row for row in table.arrow.to_pylist() if row["mask"]]
        root = roots({row["id"]: row["parent"] for row in rows})
        by_variant: dict[str, dict[str, Row]] = {}
        for row in rows:
            by_variant.setdefault(row["variant"], {})[root[row["id"]]] = row
        originals = by_variant.get(ORIGINAL, {})
        figures: dict[str, Json] = {}
        for variant, found in sorted(by_variant.items()):
            mine = {
                source: row
                for source, row in found.items()
                if source in originals and originals[source]["mask"] == row["mask"]
            }
            if variant != ORIGINAL and mine:
                figures[variant] = summary(mine, originals, by_variant)
        return {"variants": figures}


def measures(sample: Sample, background: Bools) -> dict[str, Json]:
    """The measures of one picture, by name."""
    picture = sample.image
    assert not isinstance(picture, bytes)
    share, contrast = complexity.masked_hf(picture, background)
    return {"masked_hf": share, "adm_compat": complexity.adm_compat(picture), "contrast": contrast}


def summary(
    mine: Mapping[str, Row], originals: Mapping[str, Row], by_variant: Mapping[str, Mapping[str, Row]]
) -> dict[str, Json]:
    """The figures of one variant, given rows by source."""
    sources = sorted(mine)
    start = str(mine[sources[0]]["reference"])
    started = by_variant.get(start, {})
    both = [source for source in sources if source in started]
    figures: dict[str, Json] = {"n": len(sources)}
    if both:
        figures |= {"reference": start, "n_reference": len(both)}
    for name in MEASURES:
        before, after = values(originals, sources, name), values(mine, sources, name)
        figure: dict[str, Json] = {
            "original": short(before.mean()),
            "edited": short(after.mean()),
            "change": short((after - before).mean()),
        }
        if both:
            change = values(mine, both, name) - values(started, both, name)
            figure |= {"change_vs_reference": short(change.mean()), "risen": short((change > 0).mean())}
        figures[name] = figure
    return figures


def values(rows: Mapping[str, Row], sources: Sequence[str], name: str) -> Floats:
    """One measure `[n]` of these sources."""
    return np.array([rows[source][name] for source in sources], np.float64)


def short(value: float) -> float:
    """Rounded to four decimals."""
    return round(float(value), 4)
