"""Measure how well detectors of generated pictures separate an edition's arms from photographs, at fixed false alarms.

Detectors are fitted on one part of the photographs and judged on the others, and on arms that they never saw. RIGID (He
et al., 2024, arXiv 2405.20112) needs no fitting; its threshold is shown once for all pictures and once by sharpness,
because blur moves its score more than generation does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from variorum.arrays import Array, Bools, Floats, Pixels
from variorum.curation.ai_detection.ai_image import noise_levels, similarities
from variorum.evaluation.ai_detection import features, fitting
from variorum.evaluation.ai_detection.audit import Audit
from variorum.evaluation.ai_detection.judging import (
    LEAST,
    ORIGINAL,
    Judging,
    Thresholds,
    parts_of,
    thresholds,
)
from variorum.evaluation.ai_detection.trivial import trivial_features
from variorum.kit.predicted.fields import Resampled
from variorum.kit.resampling.thresholds import needed
from variorum.schemas.canonical import Json, derive_seed
from variorum.schemas.component import Context, Row, Use
from variorum.schemas.plot import IntervalPlot, Plot, Point
from variorum.schemas.sample import MADE_BY_MODEL, Sample
from variorum.schemas.table import Table

RIGID_QUALITY, RIGID_DRAWS, RIGID_STRENGTH = 95, 4, 0.05
NO_SCALE = "its encoder doesn't say at which side and std it takes pictures, so there is no telling how strong noise is"
SHORTCUT = (
    "This set can't tell detectors of generated pictures from file statistics: trivial features alone tell every arm "
    "that a model made from its photographs. No figure here shows that a detector finds generation."
)
TRIVIAL, BY_SHARPNESS = "trivial features", "rigid, by sharpness"


class AiImageDetection(Resampled):
    """AUROC and the share found at a fixed threshold, by detector and arm, with intervals over photographs.

    It reads editions of the generator `detection_arms`. Of the photographs in the split `train`, half are fitted on
    (two thirds, if there are more than 114) and the others set the thresholds; all other photographs are judged.
    Without such a split a hash of the photograph decides.

    Attributes:
        fit: arms that detectors are fitted on, beside the originals. Other arms that models made are held out.
        rigid: alias of the encoder of RIGID.
        probes: aliases of encoders; each gets a linear head. One that is missing is left out, with the reason.
        classifiers: models that say of a picture whether it is generated, each with the class that means it is, such as
            `{"hf:owner/name@COMMIT": "artificial"}`.
        network_steps: of the training of a small convolutional network, 32 pictures each; 0 for no network.
        false_positives: share of new photographs that may be called generated; it fixes each threshold.
        sure: probability with which this share holds for the photographs that happen to set a threshold: 0.9 takes 45
            of them for 5 %. With null it holds on average over such sets of photographs, which takes 19.
    """

    revision: ClassVar[int] = 3
    late: ClassVar[frozenset[str]] = frozenset(
        {"fit", "network_steps", "false_positives", "sure", "bootstrap", "confidence"}
    )

    fit: tuple[str, ...] = Field(default=("denoised_120",), min_length=1)
    rigid: str | None = "encoder"
    probes: tuple[str, ...] = ("encoder", "encoder_independent")
    classifiers: dict[str, str] = Field(default_factory=dict)
    network_steps: int = Field(default=200, ge=0, le=10_000)
    false_positives: float = Field(default=0.05, gt=0, lt=1)
    sure: float | None = Field(default=None, ge=0.5, lt=1)

    def uses(self) -> list[Use]:
        """Return the encoder of RIGID, the classifiers, and the encoders with linear heads, which it can do without."""
        required = [*([self.rigid] if self.rigid else []), *self.classifiers]
        return [*map(Use, required), *(Use(alias, optional=True) for alias in self.probes)]

    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterator[Row]:
        """One row per picture: its arm, `truth` and photograph, and what detectors read in it.

        `rigid` is the mean cosine with noisy versions, NaN without an encoder or with one that doesn't say how it takes
        pictures, its `side` and `std`; `embedding_…` those by encoder;
        `answer_…` the probability of the class that means generated. `middle` holds pixels.
        """
        if not samples:
            return
        images = [sample.image for sample in samples if not isinstance(sample.image, bytes)]
        columns: dict[str, Sequence[Any]] = {"rigid": self._rigid(samples, images, ctx)}
        for alias in self.probes:
            if not ctx.models.why_unavailable(alias):
                columns[f"embedding_{alias}"] = list(np.asarray(ctx.models.get(alias)(images), np.float32))
        for name, meaning in self.classifiers.items():
            columns[f"answer_{name}"] = _answers(ctx.models.get(name), name, meaning, images).tolist()
        for place, (sample, image) in enumerate(zip(samples, images, strict=True)):
            asked = sample.ops[-1]["requested"] if sample.ops else {}
            area = sample.ops[-1]["achieved"].get("area") if sample.ops else None
            part = features.middle(image)
            yield {
                "variant": sample.variant,
                "truth": str(asked.get("truth", "")),
                "counter_of": str(asked.get("counter_of", "")),
                "area": float(area) if isinstance(area, float | int) else float("nan"),
                "photograph": sample.photograph or sample.parent or sample.id,
                "split": sample.split,
                "spectrum": features.spectrum(image),
                "trivial": trivial_features(image),
                "sharpness": features.sharpness(image),
                "middle": part.tobytes(),
                "middle_height": part.shape[0],
                "middle_width": part.shape[1],
                **{name: values[place] for name, values in columns.items()},
            }

    def _rigid(self, samples: Sequence[Sample], images: Sequence[Pixels], ctx: Context) -> Sequence[float]:
        if not self.rigid:
            return [float("nan")] * len(samples)
        encoder = ctx.models.get(self.rigid)
        if not (hasattr(encoder, "side") and hasattr(encoder, "std")):
            return [float("nan")] * len(samples)
        rngs = [ctx.rng(self.component_name(), sample.id, "rigid") for sample in samples]
        levels = noise_levels(RIGID_STRENGTH, encoder.std)
        return similarities(encoder, images, rngs, encoder.side, levels, RIGID_DRAWS, RIGID_QUALITY)

    def figures(self, table: Table, ctx: Context) -> dict[str, Json]:
        """By detector and arm, on the photographs that nothing was fitted on.

        `called` is the percentage that is called generated at the fixed threshold: right answers of an arm that a model
        made, false alarms of a real one. `auroc` compares an arm with the originals. `adds` is how much higher the
        AUROC is of the detector and trivial features together than of trivial features alone, `at_equal` the AUROC at
        equal trivial scores. In `arms`, `counter` names an arm's counter-arm, and `audit` has the AUROC of trivial
        features on all photographs, with its grade. `warnings` has a sentence if all arms that a model made are
        quarantined, `missing` says why something isn't there. `order` and `names` have arms and detectors in order.
        """
        common: dict[str, Json] = {
            "confidence": self.confidence,
            "false_positives": self.false_positives,
            "sure": self.sure,
            "fit": list(self.fit),
        }
        missing: dict[str, Json] = {alias: why for alias in self.probes if (why := ctx.models.why_unavailable(alias))}
        empty: dict[str, Json] = {**common, "arms": {}, "detectors": {}, "fitted": 0, "judged": 0, "missing": missing}
        empty |= {"order": [], "names": [], "warnings": []}
        if not len(table):
            return empty
        parts = parts_of(table, self.fit)
        arms: dict[str, dict[str, Any]] = {
            arm: {
                "truth": truth,
                "n": int((parts.arm(arm) & parts.judged).sum()),
                "fitted": arm in self.fit,
                "counter": parts.counters.get(arm),
            }
            for arm, truth in parts.truths.items()
        }
        seed = derive_seed(ctx.seed, "ai_image_detection")
        judging = Judging(parts, self.bootstrap, self.confidence, seed)
        audit = Audit(parts, _rows(table["trivial"]), self.bootstrap, self.confidence, seed)
        grades = dict[str, Json]()
        for arm in parts.truths:
            if arm != ORIGINAL:
                arms[arm]["audit"] = audit.of(arm)
                grades[arm] = arms[arm]["audit"]["grade"]
        generated = [grades[arm] for arm, truth in parts.truths.items() if truth in MADE_BY_MODEL and arm in grades]
        detectors: dict[str, dict[str, Any]] = {}
        unfitted = {"rigid", *self.classifiers}
        for name, scores in self._scores(table, parts.fitted, parts.generated, parts.enough, seed, missing):
            if not np.isfinite(scores[parts.known]).all():
                silent = name == "rigid" and np.isnan(scores).all()
                missing[name] = NO_SCALE if silent else "it gives no number for some picture"
                continue
            limits = thresholds(scores, parts, self.false_positives, self.sure, was_fitted=name not in unfitted)
            one = limits.pooled
            detectors[name] = {**judging.of(scores, one and one.score), **self._promise(limits)}
            if name != TRIVIAL:
                for arm, figure in detectors[name]["arms"].items():
                    if arm != ORIGINAL and (more := audit.adds(arm, scores)):
                        figure |= {"adds": more, "at_equal": audit.at_equal(arm, scores)}
            if name == "rigid" and limits.by_sharpness is not None:
                detectors[BY_SHARPNESS] = judging.of(scores, limits.by_sharpness)
        counts: dict[str, Json] = {"fitted": parts.photographs_fitted, "judged": parts.photographs_judged}
        counts["warnings"] = [SHORTCUT] if generated and set(generated) == {"quarantined"} else []
        order: dict[str, Json] = {"order": list(parts.truths), "names": list(detectors)}
        return {**common, **counts, **order, "arms": dict(arms), "detectors": dict(detectors), "missing": missing}

    def _scores(
        self,
        table: Table,
        fitted: Bools,
        generated: Bools,
        enough: bool,
        seed: int,
        missing: dict[str, Json],
    ) -> Iterator[tuple[str, Floats]]:
        """Scores `[N]` by detector, higher for generated."""
        if self.rigid:
            yield "rigid", -np.asarray(table["rigid"], np.float64)
        for name in self.classifiers:
            yield name, np.asarray(table[f"answer_{name}"], np.float64)
        if not enough:
            few = f"fewer than {LEAST} originals or pictures of {', '.join(self.fit)} to fit on"
            wanted = [TRIVIAL, *(f"probe on {alias}" for alias in self.probes), "spectrum"] + ["network"] * (
                self.network_steps > 0
            )
            missing.update(dict.fromkeys(wanted, few))
            return
        yield TRIVIAL, fitting.trivial(_rows(table["trivial"]), generated, fitted, seed)
        for alias in self.probes:
            if alias not in missing:
                yield f"probe on {alias}", fitting.probe(_rows(table[f"embedding_{alias}"]), generated, fitted)
        yield "spectrum", fitting.spectral(_rows(table["spectrum"]), generated, fitted)
        if self.network_steps:
            pictures = _middles(table)
            if len({one.shape for one in pictures}) > 1 or min(pictures[0].shape[:2]) < 16:
                missing["network"] = "the pictures differ in size, or are under 16 pixels"
                return
            yield "network", fitting.network(pictures, generated, fitted, seed, self.network_steps)

    def _promise(self, limits: Thresholds) -> dict[str, Json]:
        """How a threshold was set: the number of photographs, and what it holds in percent, or why there is none."""
        if limits.pooled is None:
            return {"threshold": {"n": limits.photographs, "needed": needed(self.false_positives, self.sure)}}
        low, high = (round(100 * end, 1) for end in limits.pooled.likely())
        return {"threshold": {"n": limits.pooled.n, "rank": limits.pooled.rank, "likely": [low, high]}}

    def plots(self, figures: Mapping[str, Any]) -> dict[str, Plot]:
        """`called`: share of each arm that is called generated, by detector; without arms that are quarantined."""
        arms, detectors = figures["arms"], figures["detectors"]
        order = [arm for arm in figures["order"] if not is_quarantined(arms[arm])]
        if not detectors:
            return {}
        short = {"partly_generated": "in part"}  # longer labels are cut
        rows = tuple(f"{arm} ({short.get(arms[arm]['truth'], arms[arm]['truth'])})" for arm in order)
        series = {
            name: tuple(_point(detectors[name]["arms"].get(arm, {}).get("called")) for arm in order)
            for name in figures["names"]
        }
        return {"called": IntervalPlot("Called generated", "percent of the arm's pictures", rows, series)}


def is_quarantined(arm: Mapping[str, Any]) -> bool:
    """Return whether trivial features alone tell an arm that isn't real, so that finding it shows nothing."""
    return bool(arm["truth"] != "real" and arm["audit"]["grade"] == "quarantined")


def _answers(model: Any, name: str, meaning: str, images: Sequence[Pixels]) -> Array:
    """Probability `[N]` of the class that means generated."""
    classes = [str(one) for one in getattr(model, "classes", None) or ()]
    if meaning not in classes:
        from variorum.schemas.errors import RecipeError

        listed = ", ".join(classes[:10]) or "it names none"
        raise RecipeError(f"classifiers: {name} has no class {meaning!r}; its classes: {listed}")
    return np.asarray(model(images), np.float64)[:, classes.index(meaning)]


def _rows(column: Array) -> Array:
    return np.stack([np.asarray(row, np.float32) for row in column])


def _middles(table: Table) -> list[Pixels]:
    shapes = zip(table["middle_height"].tolist(), table["middle_width"].tolist(), strict=True)
    return [
        np.frombuffer(data, np.uint8).reshape(height, width, 3)
        for data, (height, width) in zip(table["middle"], shapes, strict=True)
    ]


def _point(figure: Mapping[str, float] | None) -> Point | None:
    return Point(figure["value"], figure["low"], figure["high"]) if figure else None
