"""Says how unusual a picture is among real ones by how far noise moves its embedding (RIGID): a hint, never proof.

Embeddings of generated pictures move more under faint noise than those of photographs (He et al., "RIGID: A
Training-Free and Model-Agnostic Framework for Robust AI-Generated Image Detection", 2024, arXiv 2405.20112). So do
those of blurred or enlarged photographs. A picture is therefore compared with real ones of like size and sharpness,
and the step gives a percentile and no `flag`: of any real pictures the stated share is suspect by construction.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from schemas.canonical import Json
from schemas.component import Context, CurationStep
from schemas.sample import Sample
from variorum.columns import vector
from variorum.images import Pixels

if TYPE_CHECKING:
    import pyarrow as pa

POOLED = "pooled"
IMAGENET_STD = (0.229, 0.224, 0.225)


class AiImage(CurationStep):
    """Mean cosine of a picture's embedding with those of noisy copies, and its percentile among comparable real ones.

    There is no `score` and no `flag`, so that no rule drops a picture for this alone; pair `suspect` with a second
    signal (metadata, a trained detector) or with people.
    """

    measured_by: ClassVar[frozenset[str]] = frozenset({"encoder", "strength", "std", "draws", "side", "jpeg_quality"})
    measured_with: ClassVar[frozenset[str]] = frozenset({"seed"})
    scored_by: ClassVar[frozenset[str]] = frozenset(
        {"real_variants", "strata", "sharpness_bins", "min_stratum", "false_positives"}
    )

    encoder: str = "encoder"
    """Alias of the encoder. The paper's is DINOv2 ViT-L/14; others have to show that they tell anything."""
    strength: float = Field(default=0.05, gt=0, le=1)
    """The noise's standard deviation λ in the encoder's normalised input, where the paper adds it."""
    std: tuple[float, float, float] = IMAGENET_STD
    """What the encoder divides RGB in [0, 1] by: ImageNet's deviations for DINOv2; 0.502 thrice for EfficientNet-Lite,
    whose input is (x - 127) / 128. Noise on pixels has `strength * std * 255` grey levels."""
    draws: int = Field(default=4, ge=1)
    """Noisy copies a picture; the estimate's variance falls as 1 / draws."""
    side: int = Field(default=256, ge=8)
    """Every picture is squashed to this square first. It has to be the size that the encoder resizes to (before it
    crops), or its resizing smooths the noise away."""
    jpeg_quality: int = Field(default=95, ge=1, le=100)
    """Every picture is re-encoded like this first, so that its file's format doesn't show."""
    real_variants: tuple[str, ...] = ("original",)
    """Variants that are the source's own pictures. All others are known to be made here, and calibrate nothing."""
    strata: tuple[str, ...] = ("licence",)
    """Columns of the edition that split the real pictures, besides size and sharpness."""
    sharpness_bins: int = Field(default=3, ge=1)
    """Quantile bins of `quality.blurriness` within each of those and each octave of size."""
    min_stratum: int = Field(default=500, ge=20)
    """A stratum with fewer real pictures is judged by all real pictures together."""
    false_positives: float = Field(default=0.05, gt=0, lt=1)
    """Share of real pictures that are suspect."""

    def needs(self) -> tuple[str, ...]:
        """Size and sharpness come from `quality`."""
        return ("quality",)

    def aliases(self) -> tuple[str, ...]:
        """The encoder."""
        return (self.encoder,)

    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterator[Mapping[str, Any]]:
        """`similarity`, the mean cosine in [-1, 1]; noise is drawn by the sample's id."""
        pictures: list[Pixels] = []
        for sample in samples:
            assert not isinstance(sample.image, bytes)
            even = equalised(sample.image, self.side, self.jpeg_quality)
            rng = ctx.rng(self.component_name(), sample.id, "noise")
            levels = noise_levels(self.strength, self.std)
            pictures += [even, *(noisy(even, levels, rng) for _ in range(self.draws))]
        if not pictures:
            return
        embeddings = np.asarray(ctx.models.get(self.encoder)(pictures), dtype=np.float64)
        embeddings = embeddings.reshape(len(samples), 1 + self.draws, -1)
        for value in mean_cosine(embeddings[:, 0], embeddings[:, 1:]):
            yield {"similarity": float(value)}

    def score(self, table: pa.Table, ctx: Context) -> Mapping[str, Any]:
        """Columns `percentile` (low is unusual, NaN without real ones), `suspect`, `stratum`, `known` (made here)."""
        similarity = vector(table, f"{self.component_name()}.similarity")
        known = ~np.isin(vector(table, "variant"), self.real_variants)
        size = np.sqrt(np.float64(vector(table, "quality.width")) * vector(table, "quality.height"))
        cells = join_labels([vector(table, name) for name in self.strata], size)
        real = ~known & ~np.isnan(similarity)
        stratum = sharpness_strata(cells, vector(table, "quality.blurriness"), real, self.sharpness_bins)
        stratum = pool_small(stratum, real, self.min_stratum)
        percentile = conformal_percentile(similarity, stratum, real)
        suspect = percentile <= self.false_positives
        return {"percentile": percentile, "suspect": suspect, "stratum": stratum.tolist(), "known": known}

    def summarise(self, table: pa.Table) -> Mapping[str, Json]:
        """False positives on real pictures held out of the calibration, and the share found of our own, by variant.

        Each half of the real pictures, by id, is held out in turn.
        """
        name = self.component_name()
        percentile, known = vector(table, f"{name}.percentile"), vector(table, f"{name}.known")
        suspect, stratum = vector(table, f"{name}.suspect"), vector(table, f"{name}.stratum")
        similarity, variant = vector(table, f"{name}.similarity"), vector(table, "variant")
        real = ~known & ~np.isnan(similarity)
        half = np.array([int(one[-1], 16) % 2 == 1 for one in vector(table, "id")], dtype=bool)
        by_others = [conformal_percentile(similarity, stratum, real & other) for other in (half, ~half)]
        held_out = np.where(half, by_others[1], by_others[0])[real]
        return {
            "real": int(real.sum()),
            "suspect": int((suspect & ~known).sum()),
            "judged_pooled": share(stratum[real] == POOLED),
            "strata": len(set(stratum[real]) - {POOLED}),
            "held_out_false_positives": share(held_out <= self.false_positives),
            "own_found": {
                str(one): share(suspect[known & (variant == one)])
                for one in np.unique(variant[known & ~np.isnan(percentile)])
            },
        }


def equalised(image: Pixels, side: int, jpeg_quality: int) -> Pixels:
    """RGB pixels squashed to `[side, side, 3]` and sent through JPEG, so that shape, size and format don't show."""
    import cv2

    smaller = min(image.shape[:2]) > side
    square = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)
    done, data = cv2.imencode(".jpg", square[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality])
    assert done
    again: Any = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return np.ascontiguousarray(again[..., ::-1], dtype=np.uint8)


def noise_levels(strength: float, std: Sequence[float]) -> NDArray[np.float64]:
    """Grey levels `[3]` of noise on pixels that has deviation `strength` after division by `std` in [0, 1]."""
    return strength * np.array(std) * 255


def noisy(image: Pixels, levels: NDArray[np.float64], rng: np.random.Generator) -> Pixels:
    """The picture with Gaussian noise of so many grey levels a channel, rounded and clipped to pixels."""
    noise = rng.standard_normal(image.shape, dtype=np.float32) * levels.astype(np.float32)
    return np.asarray(np.clip(np.rint(image + noise), 0, 255), dtype=np.uint8)


def mean_cosine(clean: NDArray[np.float64], moved: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over n of the cosine of `clean [N, d]` and `moved [N, n, d]`; NaN where an embedding has no direction."""
    lengths = np.linalg.norm(clean, axis=-1)[:, None] * np.linalg.norm(moved, axis=-1)
    cosines = np.einsum("nd,nkd->nk", clean, moved) / np.where(lengths > 0, lengths, np.nan)
    return np.asarray(cosines.mean(axis=1))


def join_labels(columns: Sequence[NDArray[Any]], size: NDArray[np.float64]) -> NDArray[np.object_]:
    """Names `[N]` of the columns' values and the octave of size (√area in pixels) that a picture is in."""
    octaves = (f"{2 ** int(np.log2(max(one, 1.0)))} px" for one in size)
    rows = zip(*(column.tolist() for column in columns), octaves, strict=True)
    return np.array([", ".join(map(str, row)) for row in rows], dtype=object)


def sharpness_strata(
    cells: NDArray[np.object_], blurriness: NDArray[np.float64], real: NDArray[np.bool_], bins: int
) -> NDArray[np.object_]:
    """Cells `[N]` split at quantiles of their real pictures' sharpness, bin 1 most blurred; pooled if none is real."""
    found = np.full(len(cells), POOLED, dtype=object)
    for cell in sorted(set(cells.tolist())):
        members = cells == cell
        if (members & real).any():
            edges = np.quantile(blurriness[members & real], np.arange(1, bins) / bins)
            place = np.searchsorted(edges, blurriness[members], side="left")
            found[members] = [f"{cell}, sharpness {one + 1} of {bins}" for one in place]
    return found


def pool_small(stratum: NDArray[np.object_], real: NDArray[np.bool_], least: int) -> NDArray[np.object_]:
    """Strata `[N]` with fewer real members than `least` renamed to the pool of all."""
    names, counts = np.unique(stratum[real].astype(str), return_counts=True)
    large = set(names[counts >= least].tolist())
    return np.array([one if one in large else POOLED for one in stratum], dtype=object)


def conformal_percentile(
    similarity: NDArray[np.float64], stratum: NDArray[np.object_], real: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Where each picture `[N]` ranks among the *other* real ones of its stratum, (1 + number no higher) / (1 + number).

    A conformal p-value (Vovk et al. 2005): of real pictures at most the share α has a percentile of α or less. The
    pool's percentiles are taken over all real pictures. NaN where there are no others, or no similarity.
    """
    percentile = np.full(len(similarity), np.nan)
    for name in sorted(set(stratum.tolist())):
        members = np.flatnonzero((stratum == name) & ~np.isnan(similarity))
        reference = np.sort(similarity[real if name == POOLED else real & (stratum == name)])
        others = len(reference) - real[members]
        no_higher = np.searchsorted(reference, similarity[members], side="right") - real[members]
        percentile[members] = np.where(others > 0, (1 + no_higher) / (1 + others), np.nan)
    return percentile


def share(chosen: NDArray[np.bool_]) -> float | None:
    """Share of true values, None of none."""
    return round(float(chosen.mean()), 4) if len(chosen) else None
