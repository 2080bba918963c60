"""Finds pictures that are too dark, too light, blurred, empty or oddly shaped, by cleanvision's definitions.

`out_of_focus` is this project's own check: cleanvision judges blur on a copy of 64 px, which hides a blur of a few
pixels. So is the rule that a check that finds too many pictures describes the dataset.

The measurements are kept, so changing a threshold reads no picture again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import numpy as np
from pydantic import Field

from variorum.curation.quality.measures import measures_of
from variorum.curation.quality.outlying import absolute, counted, relative, said
from variorum.kit.labels.classes import most_flagged
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Detector, column_kinds
from variorum.schemas.sample import Sample

if TYPE_CHECKING:
    from variorum.arrays import Bools, Floats
    from variorum.curation.quality.outlying import Found
    from variorum.schemas.table import Table

Check = Literal[
    "uniform", "dark", "light", "low_information", "blurry", "out_of_focus", "odd_aspect", "odd_size", "greyscale"
]
CHECKS: tuple[Check, ...] = tuple(check for check in get_args(Check) if check != "greyscale")

WORDS: Mapping[Check, tuple[str, str]] = {
    "dark": ("dark", "much darker"),
    "light": ("light", "much lighter"),
    "low_information": ("low in information", "much lower"),
    "blurry": ("blurred", "much more blurred"),
    "out_of_focus": ("soft, blurred or enlarged", "much softer"),
    "odd_aspect": ("long and narrow", "much narrower"),
    "odd_size": ("of an unusual size", "much further from the usual size"),
}
"""What pictures beyond a threshold are, and what those are that stand out among them."""
GREY_LEVEL = 1 / 255
"""Least brightness above black, and least difference from white."""
ROUNDING = 0.016
"""Blurred photographs rarely have less acutance, however wide the blur: what is left comes from rounding."""


class Quality(Detector):
    """Measures exposure, information, sharpness and shape, and flags what exceeds a threshold in a few pictures."""

    gives: ClassVar[Mapping[str, str]] = column_kinds(
        numbers="height width odd_aspect darkness lightness entropy blurriness histogram_std span acutance score "
        + " ".join(f"{check}_excess" for check in get_args(Check)),
        texts="issue",
        flags="flag greyscale " + " ".join(f"{check}_flag" for check in get_args(Check)),
    )
    """`height` and `width` are in pixels. `darkness` and `lightness` are the 99th and 5th percentile of perceived
    brightness. `entropy` is the histogram's, in tenths of a bit. `blurriness` is the deviation of a Laplacian on a
    copy of 64 px; low means blurred. `histogram_std` is the deviation of that copy's grey counts. `acutance` is
    about 1 for edges one pixel wide. `odd_aspect` is short side by long side, `span` the grey levels of the widest
    channel. Each check has a flag and an excess, and `issue` names the worst."""
    revision: ClassVar[int] = 2
    late: ClassVar[frozenset[str]] = frozenset(
        {"checks", "dark", "light", "low_information", "blurry", "blur_scale", "grey_std", "out_of_focus"}
        | {"odd_aspect", "iqr_factor", "uniform", "fault_share"}
    )

    checks: tuple[Check, ...] = CHECKS
    """Checks that raise the flag. Every check has its own column in any case. `greyscale` is off by default, because a
    grey photograph is not a fault."""
    dark: float = Field(default=0.32, ge=0, le=1)
    """A picture is dark if its 99th percentile of brightness is below this."""
    light: float = Field(default=0.05, ge=0, le=1)
    """A picture is light if its 5th percentile of brightness is above one minus this."""
    low_information: float = Field(default=0.3, ge=0, le=1)
    """Least entropy, in tenths of a bit."""
    blurry: float = Field(default=0.29, ge=0, le=1)
    """Least sharpness, as `sharpness` computes it."""
    blur_scale: float = Field(default=0.01, gt=0)
    """Turns the deviations of edges and histogram into scores 1 - exp(-scale * deviation)."""
    grey_std: float = Field(default=0.18, ge=0, le=1)
    """A histogram score up to this counts as 0 (cleanvision's `color_threshold`)."""
    out_of_focus: float = Field(default=0.12, ge=0)
    """Least `acutance`. None of 200 photographs had under 0.30; blurred by 2 px or more, 99 in 100 had under 0.117."""
    odd_aspect: float = Field(default=0.35, ge=0, le=1)
    """Least ratio of the short side to the long one."""
    iqr_factor: float = Field(default=3.0, ge=0)
    """A size is odd if it lies more than this many interquartile ranges beyond a quartile."""
    uniform: int = Field(default=2, ge=0, le=255)
    """A picture is uniform if no channel spans more grey levels than this."""
    fault_share: float = Field(default=0.1, ge=0, le=1)
    """Largest share of the edition that a check may find with each picture being a fault. Above it (and above 10
    pictures) the check describes the dataset, and only pictures that stand out among those are faults. `uniform` and
    `greyscale` have no degrees: each picture is a fault. 1 turns this off."""

    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterator[Mapping[str, Any]]:
        """`darkness`, `lightness`, `entropy`, `blurriness` (low is blurred), `acutance`, shape, size and others.

        `darkness` and `lightness` are the 99th and 5th percentile of perceived brightness in [0, 1], `entropy` is in
        tenths of a bit, `span` the grey levels of the widest channel, `odd_aspect` the short side over the long one,
        and `acutance` about 1 for edges one pixel wide.
        """
        for sample in samples:
            assert not isinstance(sample.image, bytes)
            yield measures_of(sample.image)

    def score(self, table: Table, ctx: Context) -> Mapping[str, Any]:
        """Columns `<check>_excess` (above 0 beyond the threshold) and `<check>_flag` (a fault) for every check.

        `score` is the largest excess of a fault by the checks in `checks`, at most 0 if there is none, `flag` whether
        there is one, `issue` its check.
        """
        found = self._found(table)
        excess = np.zeros((max(len(self.checks), 1), len(table)))
        for row, check in enumerate(self.checks):
            excess[row] = np.where(found[check].flag, found[check].excess, np.minimum(found[check].excess, 0))
        worst, score = np.argmax(excess, axis=0), np.max(excess, axis=0)
        issue = [self.checks[k] if value > 0 else "" for k, value in zip(worst, score, strict=True)]
        return {
            **{f"{check}_excess": one.excess for check, one in found.items()},
            **{f"{check}_flag": one.flag for check, one in found.items()},
            "score": score,
            "flag": score > 0,
            "issue": issue,
        }

    def figures(self, table: Table, ctx: Context) -> Mapping[str, Json]:
        """Flagged pictures by issue, what each check finds and flags, and the classes with the largest flagged share.

        `findings` are sentences about the checks that describe the dataset.
        """
        flag = table["flag"]
        issues = Counter(issue for issue in table["issue"] if issue)
        found = {check: one for check, one in self._found(table).items() if check in self.checks and one.beyond}
        findings: list[Json] = [
            sentence for check, one in found.items() if one.common and (sentence := sentence_on(check, one))
        ]
        return {
            "flagged": int(flag.sum()),
            "flagged_rate": round(float(flag.mean()), 4) if len(flag) else 0.0,
            "issues": dict(sorted(issues.items())),
            "by_check": {
                check: {"beyond": round(one.beyond / len(flag), 4), "flagged": int(one.flag.sum())}
                for check, one in found.items()
            },
            "most_flagged_classes": dict(most_flagged(table, flag, 5)),
            **({"findings": findings} if findings else {}),
        }

    def _found(self, table: Table) -> dict[Check, Found]:
        """Run each check on the measurements of the edition."""
        size = np.sqrt(np.float64(table["width"]) * table["height"])
        sharp = sharpness(table["blurriness"], table["histogram_std"], self.blur_scale, self.grey_std)
        low, share = partial(found_low, share=self.fault_share), self.fault_share
        entropy, least = table["entropy"], self.low_information
        soft = low(table["acutance"], self.out_of_focus, floor=ROUNDING)
        return {
            "uniform": absolute(np.where(table["span"] <= self.uniform, 1.0, 0.0), share),
            "dark": low(table["darkness"], self.dark, floor=GREY_LEVEL),
            "light": low(1 - table["lightness"], self.light, floor=GREY_LEVEL),
            "low_information": relative(shortfall(entropy, least), -10 * np.log(2) * entropy, share, worst=0.0),
            "blurry": low(sharp, self.blurry, among=soft.excess > 0 if soft.common else None),
            "out_of_focus": soft,
            "odd_aspect": low(table["odd_aspect"], self.odd_aspect),
            "odd_size": relative(fence_excess(size, self.iqr_factor), log_distance(size), share),
            "greyscale": absolute(np.where(table["greyscale"], 1.0, 0.0), share),
        }


def found_low(values: Floats, least: float, share: float, floor: float = 0.0, among: Bools | None = None) -> Found:
    """Run a check that wants values `[N]` of at least `least`.

    Args:
        values: 0 or more, NaN where there is nothing to measure.
        least: the threshold.
        share: as for `relative`.
        floor: values below it tell nothing.
        among: as for `relative`.
    """
    tiny = float(np.finfo(float).tiny)
    badness = -np.log(np.maximum(values, max(floor, tiny)))
    return relative(shortfall(values, least), badness, share, -np.log(max(floor, tiny)), among)


def sentence_on(check: Check, found: Found) -> str:
    """Explain a check that finds too many pictures; `""` for `greyscale`, which has to be asked for."""
    if check in WORDS:
        return said(found, *WORDS[check])
    if check == "uniform":
        return counted(found, "of one flat colour") + (
            " Each is flagged, because it shows nothing. So many often come from an error in reading or exporting."
        )
    return ""


def sharpness(blurriness: Floats, histogram_std: Floats, scale: float, grey_std: float) -> Floats:
    """The blur score of cleanvision, `[N]` in [0, 1], low where blurred: scaled edges plus the histogram's peakedness.

    A picture with few grey levels has a peaked histogram. Its score is added, so a sharp drawing on an empty page
    doesn't count as a blurred photograph.
    """
    peaked = 1 - np.exp(-scale * histogram_std)
    return np.asarray(np.minimum(1 - np.exp(-scale * blurriness) + np.where(peaked > grey_std, peaked, 0.0), 1.0))


def shortfall(values: Floats, least: float) -> Floats:
    """Return how far values `[N]` lie below the threshold, as a share of it: above 0 below it, 1 for a value of 0.

    -1 for NaN, such as the acutance of a picture of a few pixels.
    """
    return np.nan_to_num((least - values) / least, nan=-1.0) if least > 0 else np.full(len(values), -1.0)


def fence_excess(size: Floats, iqr_factor: float) -> Floats:
    """Return how far sizes `[N]` lie beyond Tukey's fences around the quartiles: in (0, 1] outside, at most 0 inside.

    If the two quartiles are equal the fences meet, and any other size is odd, as in cleanvision.
    """
    if not len(size):
        return np.zeros(0)
    q1, q3 = np.percentile(size, [25, 75])
    low, high = q1 - iqr_factor * (q3 - q1), q3 + iqr_factor * (q3 - q1)
    distance = np.abs(size - (low + high) / 2)
    return np.asarray(np.clip((distance - (high - low) / 2) / np.maximum(distance, 1e-12), -1.0, 1.0))


def log_distance(size: Floats) -> Floats:
    """Distance of sizes `[N]` from the middle of the fences, as the logarithm of the ratio."""
    return np.abs(np.log(size / np.mean(np.percentile(size, [25, 75])))) if len(size) else np.zeros(0)
