"""Hints at generated pictures by how far noise moves their embedding (RIGID); never proof.

Faint noise moves embeddings of generated pictures more than those of photographs (He et al., "RIGID: A Training-Free
and Model-Agnostic Framework for Robust AI-Generated Image Detection", 2024, arXiv 2405.20112). It also moves those of
blurred or enlarged photographs more, so a picture is compared with real ones of similar size and sharpness. The result
is a percentile and no `flag`: by construction a fixed share of any real pictures is suspect.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Detector, Use, column_kinds
from variorum.schemas.errors import RecipeError
from variorum.schemas.sample import Sample
from variorum.schemas.table import Table

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools, Floats, Pixels
    from variorum.models.roles import Encoder

POOLED = "pooled"


class AiImage(Detector):
    """Mean cosine between a picture's embedding and those of noisy versions, and its percentile among real pictures.

    It gives no `score` and no `flag`, so that no rule drops a picture for this alone. Combine `suspect` with a second
    signal (metadata, a trained detector) or with people.
    """

    gives: ClassVar[Mapping[str, str]] = column_kinds(
        numbers="similarity percentile", texts="stratum", flags="suspect known"
    )
    revision: ClassVar[int] = 2
    late: ClassVar[frozenset[str]] = frozenset(
        {"real_variants", "strata", "sharpness_bins", "min_stratum", "false_positives"}
    )

    encoder: str = "encoder"
    """Alias of the encoder. The paper uses DINOv2 ViT-L/14; validate any other."""
    strength: float = Field(default=0.05, gt=0, le=1)
    """Standard deviation λ of the noise in the encoder's normalised input, where the paper adds it."""
    std: tuple[float, float, float] | None = None
    """What the encoder divides RGB in [0, 1] by, if it doesn't say so itself. Noise on pixels has a deviation of
    `strength * std * 255` grey levels."""
    draws: int = Field(default=4, ge=1)
    """Noisy versions per picture; the variance of the estimate falls as 1 / draws."""
    side: int | None = Field(default=None, ge=8)
    """Every picture is first resized to a square of this side: by default the one that the encoder resizes to before it
    crops, as its own resizing would smooth the noise away."""
    jpeg_quality: int = Field(default=95, ge=1, le=100)
    """Every picture is first re-encoded at this quality, to hide its file format."""
    real_variants: tuple[str, ...] = ("original",)
    """Variants that are the source's own pictures. All others were made here and calibrate nothing."""
    strata: tuple[str, ...] = ("licence",)
    """Columns of the edition that split the real pictures into strata, besides size and sharpness."""
    sharpness_bins: int = Field(default=3, ge=1)
    """Quantile bins of `quality.blurriness` in each combination of `strata` and octave of size."""
    min_stratum: int = Field(default=500, ge=20)
    """A stratum with fewer real pictures is judged against all real pictures."""
    false_positives: float = Field(default=0.05, gt=0, lt=1)
    """Share of real pictures that are suspect."""

    def needs(self) -> tuple[str, ...]:
        """`quality`, for size and sharpness."""
        return ("quality",)

    def uses(self) -> list[Use]:
        """Return the encoder."""
        return [Use(self.encoder, "encoder")]

    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterator[Mapping[str, Any]]:
        """`similarity`, the mean cosine in [-1, 1]; the sample's id seeds the noise.

        Raises:
            RecipeError: the encoder doesn't say its `side` and `std`, and the recipe doesn't either.
        """
        encoder = ctx.models.get(self.encoder)
        side, std = self.side or getattr(encoder, "side", None), self.std or getattr(encoder, "std", None)
        if side is None or std is None:
            raise RecipeError(f"ai_image: {self.encoder} doesn't say at which side and std it takes pictures; set both")
        levels = noise_levels(self.strength, std)
        images = [sample.image for sample in samples if not isinstance(sample.image, bytes)]
        rngs = [ctx.rng(self.component_name(), sample.id, "noise") for sample in samples]
        for value in similarities(encoder, images, rngs, side, levels, self.draws, self.jpeg_quality):
            yield {"similarity": value}

    def score(self, table: Table, ctx: Context) -> Mapping[str, Any]:
        """Columns `percentile` (low is unusual, NaN without real ones), `suspect`, `stratum`, `known` (made here)."""
        similarity = table["similarity"]
        known = ~np.isin(table["variant"], self.real_variants)
        size = np.sqrt(np.float64(table["quality.width"]) * table["quality.height"])
        cells = strata_names([table[name] for name in self.strata], size)
        real = ~known & ~np.isnan(similarity)
        stratum = sharpness_strata(cells, table["quality.blurriness"], real, self.sharpness_bins)
        stratum = pool_small(stratum, real, self.min_stratum)
        percentile = conformal_percentile(similarity, stratum, real)
        suspect = percentile <= self.false_positives
        return {"percentile": percentile, "suspect": suspect, "stratum": stratum.tolist(), "known": known}

    def figures(self, table: Table, ctx: Context) -> Mapping[str, Json]:
        """False positives on held-out real pictures, and the share found of the edition's own variants.

        Each half of the real pictures, by id, is held out in turn.
        """
        percentile, known = table["percentile"], table["known"]
        suspect, stratum = table["suspect"], table["stratum"]
        similarity, variant = table["similarity"], table["variant"]
        real = ~known & ~np.isnan(similarity)
        half = np.array([int(one[-1], 16) % 2 == 1 for one in table["id"]], dtype=bool)
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


def similarities(
    encoder: Encoder,
    images: Sequence[Pixels],
    rngs: Sequence[np.random.Generator],
    side: int,
    levels: Floats,
    draws: int,
    jpeg_quality: int,
) -> list[float]:
    """Mean cosine of each picture's embedding with those of `draws` noisy versions, in [-1, 1].

    Args:
        encoder: a `roles.Encoder`.
        images: RGB `[H, W, 3]` uint8, N of them.
        rngs: one for each picture.
        side: to which pictures are resized before noise is added, pixels.
        levels: deviation of the noise by channel, grey levels.
        draws: number of noisy versions.
        jpeg_quality: of the JPEG that each picture passes before noise is added.
    """
    pictures: list[Pixels] = []
    for image, rng in zip(images, rngs, strict=True):
        even = equalised(image, side, jpeg_quality)
        pictures += [even, *(noisy(even, levels, rng) for _ in range(draws))]
    if not pictures:
        return []
    found = np.asarray(encoder(pictures), np.float64).reshape(len(images), 1 + draws, -1)
    return [float(value) for value in mean_cosine(found[:, 0], found[:, 1:])]


def equalised(image: Pixels, side: int, jpeg_quality: int) -> Pixels:
    """RGB pixels resized to `[side, side, 3]` and sent through JPEG, to hide shape, size and format."""
    import cv2

    smaller = min(image.shape[:2]) > side
    square = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)
    done, data = cv2.imencode(".jpg", square[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality])
    assert done
    again: Any = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return np.ascontiguousarray(again[..., ::-1], dtype=np.uint8)


def noise_levels(strength: float, std: Sequence[float]) -> Floats:
    """Deviation `[3]` in grey levels of noise that has deviation `strength` in the encoder's normalised input."""
    return strength * np.array(std) * 255


def noisy(image: Pixels, levels: Floats, rng: np.random.Generator) -> Pixels:
    """The picture plus Gaussian noise with these deviations per channel, rounded and clipped to pixels."""
    noise = rng.standard_normal(image.shape, dtype=np.float32) * levels.astype(np.float32)
    return np.asarray(np.clip(np.rint(image + noise), 0, 255), dtype=np.uint8)


def mean_cosine(clean: Floats, moved: Floats) -> Floats:
    """Mean over n of the cosine between `clean [N, d]` and `moved [N, n, d]`; NaN for an embedding of zeros."""
    lengths = np.linalg.norm(clean, axis=-1)[:, None] * np.linalg.norm(moved, axis=-1)
    cosines = np.einsum("nd,nkd->nk", clean, moved) / np.where(lengths > 0, lengths, np.nan)
    return np.asarray(cosines.mean(axis=1))


def strata_names(columns: Sequence[Array], size: Floats) -> Array:
    """Names `[N]` made of the columns' values and the octave of a picture's size (√area in pixels)."""
    octaves = (f"{2 ** int(np.log2(max(one, 1.0)))} px" for one in size)
    rows = zip(*(column.tolist() for column in columns), octaves, strict=True)
    return np.array([", ".join(map(str, row)) for row in rows], dtype=object)


def sharpness_strata(cells: Array, blurriness: Floats, real: Bools, bins: int) -> Array:
    """Cells `[N]` split at quantiles of their real pictures' sharpness, bin 1 most blurred; pooled if none is real."""
    found = np.full(len(cells), POOLED, dtype=object)
    for cell in sorted(set(cells.tolist())):
        members = cells == cell
        if (members & real).any():
            edges = np.quantile(blurriness[members & real], np.arange(1, bins) / bins)
            place = np.searchsorted(edges, blurriness[members], side="left")
            found[members] = [f"{cell}, sharpness {one + 1} of {bins}" for one in place]
    return found


def pool_small(stratum: Array, real: Bools, least: int) -> Array:
    """Strata `[N]`, where those with fewer than `least` real members become the common pool."""
    names, counts = np.unique(stratum[real].astype(str), return_counts=True)
    large = set(names[counts >= least].tolist())
    return np.array([one if one in large else POOLED for one in stratum], dtype=object)


def conformal_percentile(similarity: Floats, stratum: Array, real: Bools) -> Floats:
    """Rank `[N]` of each picture among the *other* real ones of its stratum: (1 + number no higher) / (1 + number).

    A conformal p-value (Vovk et al., 2005): at most a share α of real pictures has a percentile of α or less. The pool
    is ranked among all real pictures. NaN without other real pictures or without a similarity.
    """
    percentile = np.full(len(similarity), np.nan)
    for name in sorted(set(stratum.tolist())):
        members = np.flatnonzero((stratum == name) & ~np.isnan(similarity))
        reference = np.sort(similarity[real if name == POOLED else real & (stratum == name)])
        others = len(reference) - real[members]
        no_higher = np.searchsorted(reference, similarity[members], side="right") - real[members]
        percentile[members] = np.where(others > 0, (1 + no_higher) / (1 + others), np.nan)
    return percentile


def share(chosen: Bools) -> float | None:
    """Share of true values; None for an empty array."""
    return round(float(chosen.mean()), 4) if len(chosen) else None
