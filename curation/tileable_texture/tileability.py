"""Finds textures that can't be repeated without a visible seam, and mirrored ones, by their borders alone.

The optional column `textile` is the learned metric of Rodriguez-Pardo et al. (CVPR 2024, arXiv 2403.12961). The other
columns are measures of pixels, and no TexTile scores.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field, model_validator

from variorum.kit.pictures.seams import border_step, evenness, repetition, seam_ratio
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Detector, Use, column_kinds
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import cut
from variorum.schemas.sample import Sample

if TYPE_CHECKING:
    from variorum.arrays import Floats, Pixels
    from variorum.schemas.table import Table

MEASURED = ("seam_ratio", "low_frequency", "repetition", "unevenness")
NOT_TILEABLE, MIRRORED = "not_tileable", "mirrored"


class Tileability(Detector):
    """Measures seam, light, repetition and evenness, and flags what a repetition would show."""

    revision: ClassVar[int] = 2
    late: ClassVar[frozenset[str]] = frozenset({"seam", "light", "mirror"})

    seam: float = Field(default=1.5, gt=0)
    """A picture is not tileable if its seam ratio is above this."""
    light: float = Field(default=8.0, gt=0)
    """Nor if its light jumps at the border by more grey levels than this: column `low_frequency`."""
    mirror: float = Field(default=0.3, ge=0)
    """A picture is mirrored if its seam ratio is below this. That is no fault of its borders, but people see it."""
    scorer: str | None = None
    """Alias of a model that gives the column `textile`, such as `tileability_scorer`; null for none."""

    @model_validator(mode="after")
    def _mirror_below_seam(self) -> Tileability:
        if self.mirror >= self.seam:
            raise ValueError(f"mirror is {self.mirror:g}; it must be below seam, which is {self.seam:g}")
        return self

    def uses(self) -> list[Use]:
        """Return the scorer."""
        return [Use(self.scorer)] if self.scorer else []

    def known_columns(self) -> Mapping[str, str]:
        """With `textile` if there is a scorer."""
        textile = " textile" if self.scorer else ""
        return column_kinds(numbers=" ".join(MEASURED) + " score" + textile, texts="issue", flags="flag mirrored")

    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterator[Mapping[str, Any]]:
        """The measures of `variorum/kit/pictures/seams.py`; `textile` is null where the scorer takes no such picture.

        Raises:
            RecipeError: the scorer is another kind of model.
        """
        images = [sample.image for sample in samples if not isinstance(sample.image, bytes)]
        scores = self._scores(images, ctx) if self.scorer else None
        for number, image in enumerate(images):
            measures = (seam_ratio(image), border_step(image), repetition(image), evenness(image).unevenness)
            row: dict[str, Any] = dict(zip(MEASURED, measures, strict=True))
            if scores is not None:
                row["textile"] = None if np.isnan(scores[number]) else float(scores[number])
            yield row

    def _scores(self, images: Sequence[Pixels], ctx: Context) -> Floats:
        scores = np.asarray(ctx.models.get(str(self.scorer))(images))
        if scores.shape != (len(images),) or scores.dtype.kind not in "fiu":
            raise RecipeError(
                f"curate.tileability: scorer {cut(repr(self.scorer))} doesn't give one number for each picture; name a "
                "model that does, such as tileability_scorer"
            )
        return scores.astype(np.float64)

    def score(self, table: Table, ctx: Context) -> Mapping[str, Any]:
        """`score` is how far the worse of seam ratio and light exceeds its threshold, as a share of it.

        `flag` is true above 0; `mirrored` if the seam ratio is that of a mirrored picture; `issue` names either.
        """
        score = np.maximum(table["seam_ratio"] / self.seam, table["low_frequency"] / self.light) - 1
        mirrored = table["seam_ratio"] < self.mirror
        issue = np.where(score > 0, NOT_TILEABLE, np.where(mirrored, MIRRORED, ""))
        return {"score": score, "flag": score > 0, "mirrored": mirrored & (score <= 0), "issue": issue.tolist()}

    def figures(self, table: Table, ctx: Context) -> Mapping[str, Json]:
        """Flagged pictures by issue, and by variant the number, the flagged share and the median seam ratio."""
        flag, variant, ratio = table["flag"], table["variant"].astype(str), table["seam_ratio"]
        of = {name: variant == name for name in np.unique(variant).tolist()}
        return {
            "flagged": int(flag.sum()),
            "flagged_rate": round(float(flag.mean()), 4),
            "issues": dict(sorted(Counter(issue for issue in table["issue"] if issue).items())),
            "by_variant": {
                name: {
                    "n": int(mine.sum()),
                    "flagged_rate": round(float(flag[mine].mean()), 4),
                    "median_seam_ratio": round(float(np.median(ratio[mine])), 3),
                }
                for name, mine in of.items()
            },
        }
