"""Refuses a set for detectors of generated pictures whose arms differ in how their files were compressed.

JPEG leaves a grid of 8 x 8 pixels. If the real pictures were JPEGs and the generated ones never were, a detector finds
the grid and seems to find generated pictures; much published accuracy is of this kind. So the traces of the grid are
measured on the pictures as they are shipped, and a set that they tell apart is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import cv2
import numpy as np
from pydantic import Field

from variorum.kit.pictures import jpeg_grid
from variorum.kit.resampling.separation import Draws, Separation
from variorum.schemas.canonical import Json, derive_seed
from variorum.schemas.component import Context, Detector, column_kinds
from variorum.schemas.errors import RecipeError
from variorum.schemas.sample import Sample
from variorum.schemas.table import Table

if TYPE_CHECKING:
    from variorum.arrays import Floats, Pixels

FLAT = 0.5
"""A step between pixels below it counts as none."""
LEAST = 48
"""Photographs of an arm from which a set is refused; of fewer, chance tells too much."""
BOOTSTRAP = 1000
SHARPNESS = "laplacian", "median", "fine", "step", "flat_across", "flat_down"
"""Beside the zeros off the grid."""
COLUMNS = "comb", "blockiness", "zeros", *SHARPNESS


class FormatTrap(Detector):
    """Two traces of a JPEG's grid, and how well each tells the arms from the real pictures, as AUROC.

    `comb` is the share of fine DCT coefficients that are 0 on the grid, minus the same off the grid. `blockiness` is
    the step between pixels across the grid, over that elsewhere. Both also rise and fall with sharpness, and a model
    that smooths isn't a trap. So both are compared among pictures that are equally sharp in seven ways.
    """

    revision: ClassVar[int] = 2
    gives: ClassVar[Mapping[str, str] | None] = column_kinds(numbers=" ".join(COLUMNS))
    late: ClassVar[frozenset[str]] = frozenset({"real", "tolerance"})

    real: tuple[str, ...] = Field(default=("original",), min_length=1)
    """Variants that hold the real pictures; each other variant is an arm."""
    tolerance: float = Field(default=0.15, gt=0, le=0.5)
    """A set is refused if the 95 % interval of a trace's AUROC lies wholly outside 0.5 ± this."""

    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterator[Mapping[str, Any]]:
        """`comb` in [-1, 1], `blockiness`, and seven measures of sharpness; NaN for pictures under 24 pixels.

        `zeros` in [0, 1] is the share of coefficients that are 0 off the grid, `flat_across` and `flat_down` that of
        steps under half a grey level. `laplacian`, `median`, `fine` and `step` are logs.
        """
        for sample in samples:
            assert not isinstance(sample.image, bytes)
            yield traces(sample.image)

    def score(self, table: Table, ctx: Context) -> Mapping[str, Any]:
        """No columns.

        Raises:
            RecipeError: a trace tells an arm of at least 48 photographs from the real pictures.
        """
        told = [why for photographs, why in self._told(table, ctx) if photographs >= LEAST]
        if told:
            raise RecipeError(f"format_trap: {told[0]}")
        return {}

    def figures(self, table: Table, ctx: Context) -> Mapping[str, Json]:
        """AUROC of each trace by arm with its 95 % interval; `findings` warns of traces in too few photographs."""
        found: dict[str, Json] = {
            f"{arm}: {name}": "{value:.2f} [{low:.2f}, {high:.2f}]".format(**auroc)
            for arm, (_, traces) in separations(table, self.real, ctx.seed).items()
            for name, auroc in traces.items()
        }
        warnings: list[Json] = [
            f"{why} ({photographs} photographs are too few to refuse the set)"
            for photographs, why in self._told(table, ctx)
        ]
        return {**found, "findings": warnings} if warnings else found

    def _told(self, table: Table, ctx: Context) -> Iterator[tuple[int, str]]:
        """Each trace that tells an arm: the number of its photographs, and what to do."""
        for arm, (photographs, traces) in separations(table, self.real, ctx.seed).items():
            for name, one in traces.items():
                if one["low"] > 0.5 + self.tolerance or one["high"] < 0.5 - self.tolerance:
                    yield (
                        photographs,
                        f"the {name} of a JPEG's grid tells {arm!r} from the real pictures (AUROC {one['value']:.2f} "
                        f"[{one['low']:.2f}, {one['high']:.2f}], allowed is 0.5 ± {self.tolerance:.2g}), so a detector "
                        "could read the file format in place of the picture; shrink all arms by one factor that isn't "
                        "a power of two and compress them alike, as the generator detection_arms does",
                    )


def traces(image: Pixels) -> dict[str, float]:
    """The columns of `FormatTrap` for RGB `[H, W, 3]`."""
    if min(image.shape[:2]) < jpeg_grid.LEAST_SIDE:
        return dict.fromkeys(COLUMNS, np.nan)
    luma = image @ jpeg_grid.LUMA
    grey = np.rint(luma).astype(np.uint8)
    across, down = (np.abs(np.diff(luma, axis=axis)) for axis in (1, 0))
    sharp = {
        "laplacian": cv2.Laplacian(luma, cv2.CV_64F).var(),
        "median": (luma - cv2.medianBlur(grey, 3)).std(),
        "fine": (luma - cv2.GaussianBlur(luma, (0, 0), 1)).std(),
        "step": (across.mean() + down.mean()) / 2,
    }
    logs = {name: float(np.log(value + 1e-3)) for name, value in sharp.items()}
    flat = {"flat_across": float((across < FLAT).mean()), "flat_down": float((down < FLAT).mean())}
    return {**jpeg_grid.traces(luma), **logs, **flat}


def separations(table: Table, real: Sequence[str], seed: int) -> dict[str, tuple[int, dict[str, dict[str, Any]]]]:
    """By arm the number of photographs, and the AUROC of each trace against the real pictures, at equal sharpness.

    Above 0.5 the arm has more of it. Each has `value`, `low` and `high`; an arm without pictures that can be measured,
    or without real ones, has none.
    """
    variant, known = table["variant"].astype(str), np.isfinite(table["comb"])
    of_real = np.isin(variant, real)
    source = table["photograph"].astype(str) if "photograph" in table else np.full(len(variant), "")
    source = np.where(source == "", table["id"].astype(str), source)
    found: dict[str, tuple[int, dict[str, dict[str, Any]]]] = {}
    for arm in sorted(set(variant[~of_real].tolist())):
        both = known & (of_real | (variant == arm))
        made, photograph = ~of_real[both], np.unique(source[both], return_inverse=True)[1].reshape(-1)
        number = len(np.unique(photograph[made]))
        traces: dict[str, dict[str, Any]] = {}
        if 0 < made.sum() < len(made):
            draws = Draws(int(photograph.max()) + 1, BOOTSTRAP, 0.95, derive_seed(seed, "format_trap", arm))
            sharp = np.column_stack([_log_odds(table["zeros"][both]), *(table[name][both] for name in SHARPNESS)])
            for name, values in (
                ("comb", _log_odds(table["zeros"][both] + table["comb"][both])),
                ("blockiness", np.log(np.maximum(table["blockiness"][both], 1e-3))),
            ):
                left = at_equal(values, sharp)
                pair = Separation(left[made], left[~made], photograph[made], photograph[~made])
                traces[name] = pair.resampled_auroc(draws)
        found[arm] = number, traces
    return found


def at_equal(trace: Floats, sharpness: Floats) -> Floats:
    """Return what is left of a trace `[N]` at equal sharpness `[N, d]`, by linear and square terms fitted to all."""
    spread = sharpness.std(axis=0)
    x = (sharpness - sharpness.mean(axis=0)) / np.where(spread > 1e-9, spread, np.inf)
    terms = np.column_stack([np.ones(len(x)), x, x**2])
    return np.asarray(trace - terms @ np.linalg.lstsq(terms, trace, rcond=None)[0])


def _log_odds(share: Floats) -> Floats:
    share = np.clip(share, 1e-3, 1 - 1e-3)
    return np.asarray(np.log(share / (1 - share)))
