"""How complex backgrounds are before and after an edit: what background edits were to change, whatever models say.

For each variant that leaves the object where it was, the mean of both measures of ImageNet-E edits on the pictures
themselves, paired with the same photograph's original and, for guided backgrounds, with their control.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from evaluation.accuracy_drop import ORIGINAL, reference, roots
from generators.editing import complexity
from schemas.canonical import Json
from schemas.component import Context, Evaluation
from schemas.sample import Sample
from variorum.images import decode_mask

if TYPE_CHECKING:
    import pyarrow as pa

MEASURES = ("masked_hf", "adm_compat", "contrast")
MASK = "mask.png"

Row = Mapping[str, Json]


class BackgroundComplexity(Evaluation):
    """Complexity by variant, of pictures that come with the object's mask."""

    measured_by: ClassVar[frozenset[str]] = frozenset()

    def measure(self, samples: Iterable[Sample], ctx: Context) -> Iterator[Row]:
        """A row a picture: both measures, the contrast, and which mask they were taken around; null without one."""
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

    def summarise(self, table: pa.Table, seed: int) -> dict[str, Json]:
        """By variant: `n`, and for each measure the mean `original`, `edited` and `change`, paired by photograph.

        With a reference, `change_vs_reference` and `risen`, the share of pictures whose measure rose against it, too.
        Left out are variants without masks, or with another mask than the original has: there the background is
        another one, and not only otherwise.
        """
        rows = [row for row in table.to_pylist() if row["mask"]]
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


def measures(sample: Sample, background: NDArray[np.bool_]) -> dict[str, Json]:
    """Of one picture, by name."""
    picture = sample.image
    assert not isinstance(picture, bytes)
    share, contrast = complexity.masked_hf(picture, background)
    return {"masked_hf": share, "adm_compat": complexity.adm_compat(picture), "contrast": contrast}


def summary(
    mine: Mapping[str, Row], originals: Mapping[str, Row], by_variant: Mapping[str, Mapping[str, Row]]
) -> dict[str, Json]:
    """The figures of one variant's rows, by source."""
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


def values(rows: Mapping[str, Row], sources: Sequence[str], name: str) -> NDArray[np.float64]:
    """One measure of these sources."""
    return np.array([rows[source][name] for source in sources], np.float64)


def short(value: float) -> float:
    """Four decimals."""
    return round(float(value), 4)
