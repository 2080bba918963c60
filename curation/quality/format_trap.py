"""Refuses a set for detectors of generated pictures whose arms differ in how their files were compressed.

JPEG leaves a grid of 8 x 8 pixels. If the real pictures were JPEGs and the generated ones never were, a detector finds
the grid and seems to find generated pictures; much published accuracy is of this kind. So the traces of the grid are
measured on the pictures as they are shipped, and a set that they tell apart is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Detector, column_kinds
from variorum.schemas.errors import RecipeError
from variorum.schemas.sample import Sample
from variorum.schemas.table import Table

if TYPE_CHECKING:
    from variorum.arrays import Bools, Floats, Pixels

LUMA = np.array([0.299, 0.587, 0.114])
GRID = 8
"""Side of JPEG's blocks in pixels."""
LEAST_SIDE = 3 * GRID
FINE = 4
"""DCT coefficients from this frequency on, in both directions, are rounded to 0 by most JPEGs."""
ZERO = 0.5
"""Below it in size a coefficient counts as 0."""


class FormatTrap(Detector):
    """Two traces of a JPEG's grid, and how well each tells the arms from the real pictures, as AUROC.

    `comb` is the share of fine DCT coefficients that are 0 on the grid, minus the same off the grid. It also rises and
    falls with sharpness, so it is compared a second time among pictures with equally many zeros off the grid; only what
    both find counts. `blockiness` is the step between pixels across the grid, over that elsewhere.
    """

    gives: ClassVar[Mapping[str, str] | None] = column_kinds(numbers="comb zeros blockiness")
    late: ClassVar[frozenset[str]] = frozenset({"real", "tolerance"})

    real: tuple[str, ...] = Field(default=("original",), min_length=1)
    """Variants that hold the real pictures; each other variant is an arm."""
    tolerance: float = Field(default=0.1, gt=0, le=0.5)
    """A set is refused if a trace has an AUROC outside 0.5 ± this, or for few pictures ± what chance explains."""

    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterator[Mapping[str, Any]]:
        """`comb` in [-1, 1], `zeros` in [0, 1] off the grid, and `blockiness`; NaN for pictures under 24 pixels."""
        for sample in samples:
            assert not isinstance(sample.image, bytes)
            yield dict(zip(("comb", "zeros", "blockiness"), traces(sample.image), strict=True))

    def score(self, table: Table, ctx: Context) -> Mapping[str, Any]:
        """No columns.

        Raises:
            RecipeError: a trace tells an arm from the real pictures.
        """
        found = separations(table, self.real)
        variant = table["variant"]
        real = int(np.isin(variant, self.real).sum())
        for arm, traces in found.items():
            allowed = max(self.tolerance, by_chance(real, int((variant == arm).sum())))
            comb = [traces["comb"], traces["comb_at_equal_sharpness"]]
            for name, values in (("comb", comb), ("blockiness", [traces["blockiness"]])):
                known = [value for value in values if value is not None]
                if len(known) == len(values) and all(abs(value - 0.5) > allowed for value in known):
                    said = " and ".join(f"{value:.2f}" for value in known)
                    raise RecipeError(
                        f"format_trap: the {name} of a JPEG's grid tells {arm!r} from the real pictures (AUROC {said}, "
                        f"allowed is 0.5 ± {allowed:.2g}), so a detector could read the file format in place of "
                        "the picture; shrink all arms by one factor that isn't a power of two and compress them alike, "
                        "as the generator detection_arms does"
                    )
        return {}

    def figures(self, table: Table, ctx: Context) -> Mapping[str, Json]:
        """AUROC of each trace by arm."""
        found = separations(table, self.real)
        return {f"{arm}: {name}": value for arm, traces in found.items() for name, value in traces.items()}


def traces(image: Pixels) -> tuple[float, float, float]:
    """Comb, zeros off the grid, and blockiness of RGB `[H, W, 3]`."""
    if min(image.shape[:2]) < LEAST_SIDE:
        return (np.nan,) * 3
    luma = image @ LUMA
    on, off = _zeros(luma), _zeros(luma[GRID // 2 :, GRID // 2 :])
    return on - off, off, (_steps(luma) + _steps(luma.T)) / 2


def separations(table: Table, real: Sequence[str]) -> dict[str, dict[str, float | None]]:
    """AUROC of each trace between each arm and the real pictures, by arm; None if it can't be told.

    Above 0.5 the arm has more of it.
    """
    variant, comb, zeros, blockiness = (table[name] for name in ("variant", "comb", "zeros", "blockiness"))
    known, of_real = ~np.isnan(comb), np.isin(variant, real)
    found: dict[str, dict[str, float | None]] = {}
    for arm in sorted(set(variant[~of_real].tolist())):
        both = known & (of_real | (variant == arm))
        truth = ~of_real[both]
        found[str(arm)] = {
            "comb": auroc(truth, comb[both]),
            "comb_at_equal_sharpness": auroc(truth, at_equal(comb[both], zeros[both])),
            "blockiness": auroc(truth, blockiness[both]),
        }
    return found


def at_equal(comb: Floats, zeros: Floats) -> Floats:
    """Return the part of `comb [N]` that remains at equally many zeros off the grid.

    That is the log odds of zeros on the grid minus a parabola in those off the grid, fitted to all pictures.
    """
    if len(comb) < 4:
        return comb
    on, off = _log_odds(zeros + comb), _log_odds(zeros)
    if np.ptp(off) < 1e-9:
        return comb
    middle = off - off.mean()
    return np.asarray(on - np.polyval(np.polyfit(middle, on, 2 if np.ptp(off) > 0.1 else 1), middle))


def auroc(truth: Bools, values: Floats) -> float | None:
    """Compute the AUROC: how often a value of the true ones is above one of the others; None without both."""
    from sklearn.metrics import roc_auc_score

    return round(float(roc_auc_score(truth, values)), 4) if 0 < truth.sum() < len(truth) else None


def by_chance(real: int, made: int) -> float:
    """Compute how far an AUROC of this many pictures lies from 0.5 by chance: two standard errors."""
    return 2 * float(np.sqrt((real + made + 1) / (12 * real * made))) if real and made else 0.5


def _zeros(luma: Floats) -> float:
    """Share of fine DCT coefficients that are 0, over all blocks of 8 x 8."""
    height, width = (side // GRID for side in luma.shape)
    blocks = luma[: height * GRID, : width * GRID].reshape(height, GRID, width, GRID).swapaxes(1, 2)
    fine = _DCT[FINE:] @ blocks @ _DCT[FINE:].T
    return float((np.abs(fine) < ZERO).mean())


def _steps(luma: Floats) -> float:
    """Mean step between columns across the grid, over that elsewhere."""
    steps = np.abs(np.diff(luma, axis=1)).mean(axis=0)
    across = np.arange(len(steps)) % GRID == GRID - 1
    inside = float(steps[~across].mean())
    return float(steps[across].mean()) / inside if inside > 0 else 1.0


def _log_odds(share: Floats) -> Floats:
    share = np.clip(share, 1e-3, 1 - 1e-3)
    return np.asarray(np.log(share / (1 - share)))


_DCT = np.sqrt(2 / GRID) * np.cos(np.outer(np.arange(GRID), np.arange(GRID) + 0.5) * np.pi / GRID)
_DCT[0] /= np.sqrt(2)
