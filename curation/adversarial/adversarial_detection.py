"""Finds attacked pictures by a network's inner layers, and measures how well that tells them from noisy ones.

After Lee et al. (NeurIPS 2018, arXiv 1807.03888): the Mahalanobis distance to the nearest class in every layer, and a
logistic regression over the layers. Attacked pictures are judged beside their originals and noise of the same L2 norm,
by regressions that were fitted on other photographs. There is no preprocessing by gradients and no adaptive attack: one
that knows the detector may pass it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from variorum.kit.attacks.opponents import opponent, with_outputs
from variorum.kit.embeddings.classes import fit_gaussians, squared_distances
from variorum.kit.labels.folds import dealt_folds
from variorum.kit.predicted.answers import last_of
from variorum.kit.resampling.separation import Draws, Separation
from variorum.kit.resampling.thresholds import needed
from variorum.models.device import float32, one_thread
from variorum.schemas.canonical import Json, derive_seed
from variorum.schemas.component import Context, Detector, Row, Source, Use
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import NestedSource
from variorum.schemas.sample import Sample
from variorum.schemas.table import Table

if TYPE_CHECKING:
    from variorum.arrays import Bools, Floats, Ints

BATCH = 32
FOLDS = 5
MISSED = 0.05
"""Share of the attacked pictures that may be missed, where the true negative rate is read."""
FEWEST = 10
"""Photographs of an attack that figures are given of."""
PLACES = {3: (1,), 4: (2, 3)}
"""Dimensions that a layer's output is averaged over: of tokens `[N, T, C]`, of channels `[N, C, H, W]`."""
REAL = "reference"


class AdversarialDetection(Detector):
    """How surely a picture is attacked, by Mahalanobis distances in a network's layers.

    `score` is the logit of the regression that is fitted on `train_on`, higher for attacked pictures, and `layer_0`,
    `layer_1` and so on are its inputs: minus half of the squared distance to the nearest class. It reads editions of
    the generator `adversarial_example` with `control: l2`.
    """

    late: ClassVar[frozenset[str]] = frozenset({"train_on", "bootstrap", "confidence"})
    needs_labels: ClassVar[bool] = True

    reference: NestedSource
    """Real pictures of the classes with right labels, such as those that the network was trained on. They give each
    class's mean and the covariance."""
    adversary: str = "judge_adversary"
    """The network: an alias of one with gradients, or a user's own."""
    layers: tuple[str, ...] = ()
    """Names of its layers, from the first to the last; empty for all with weights. What a layer gives is cut off at 0,
    as by the activation that follows it, and averaged over the picture."""
    train_on: str = "fgsm_8"
    """Variant whose pictures, with their originals and controls, the regression of `score` is fitted on."""
    bootstrap: int = Field(default=1000, ge=100, le=100_000)
    """Number of resamples per interval."""
    confidence: float = Field(default=0.95, gt=0, lt=1)
    """Level of the intervals, in (0, 1)."""

    def uses(self) -> list[Use]:
        """Return the network."""
        return [Use(self.adversary, "adversary")]

    def references(self) -> Mapping[str, Source]:
        """`reference`."""
        return {REAL: self.reference}

    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterator[Row]:
        """What each layer gives, `features_0 [C]` and so on; the largest probability `sure`; whether it is `right`.

        `truth` is the index of the label in the edition's class list, -1 for none, and `like` the attacked variant that
        a control belongs to, `""` for other pictures. A row depends on no other picture: the network always sees as
        many pictures of one size at once, the last one again if need be.

        Raises:
            RecipeError: the network gives no gradients, or has no such layer.
        """
        place_of = {one.id: place for place, one in enumerate(ctx.classes)}
        rows: dict[int, Row] = {}
        for shape in sorted({np.shape(one.image) for one in samples}):
            mine = [place for place, one in enumerate(samples) if np.shape(one.image) == shape]
            for start in range(0, len(mine), BATCH):
                part = mine[start : start + BATCH]
                own = [samples[place] for place in part]
                rows |= dict(zip(part, self._rows(own, place_of, ctx), strict=True))
        for place in range(len(samples)):
            yield rows[place]

    def _rows(self, samples: Sequence[Sample], place_of: Mapping[str, int], ctx: Context) -> Iterator[Row]:
        """The rows of up to `BATCH` pictures of one size."""
        import torch

        images: list[Any] = [one.image for one in samples] + [samples[-1].image] * (BATCH - len(samples))
        model = opponent(self.adversary, ctx, f"{self.component_name()}.adversary", gradients=True)
        model, network = with_outputs(model, images[0], ctx), model.network
        assert network is not None
        said = model.answers(images)
        with one_thread(), float32(), torch.no_grad():
            pictures = torch.from_numpy(np.stack(images).transpose(0, 3, 1, 2).astype(np.float32)) / 255
            given = [network.features(pictures, layer).float() for layer in self.layers or network.layers]
            means = [one.clamp_min(0).mean(PLACES[one.ndim]) if one.ndim > 2 else one.clamp_min(0) for one in given]
        for number, sample in enumerate(samples):
            like = last_of(sample).requested.get("like")
            yield {
                **{f"features_{layer}": one[number].cpu().numpy() for layer, one in enumerate(means)},
                "sure": float(said[number].max()),
                "right": bool(model.outputs(sample.labels)[said[number].argmax()]),
                "truth": place_of.get(sample.labels[0], -1) if sample.labels else -1,
                "like": like if isinstance(like, str) else "",
            }

    def score(self, table: Table, ctx: Context) -> Mapping[str, Any]:
        """`score` and `layer_…` `[N]`, higher `layer_…` is nearer to a class.

        Raises:
            RecipeError: there is no attack such as `train_on`, or it fooled the network on too few photographs; no
                reference is of a class of the edition.
        """
        real = table.references[REAL]
        _, y = np.unique(np.append(real["truth"], -1), return_inverse=True)
        y = y[:-1] - 1  # -1 for none
        if y.max(initial=-1) < 0:
            raise RecipeError(f"{self.component_name()}.reference: no picture is of a class of the edition")
        layers = []
        for name in _numbered(table, "features"):
            gaussians = fit_gaussians(real[name], y, np.flatnonzero(y >= 0), int(y.max()) + 1)
            layers.append(-squared_distances(table[name].astype(np.float64), gaussians).min(1) / 2)
        score = cross_fitted(np.stack(layers, 1), self._train(triplets(table)), self._folds(table, ctx))
        return {"score": score, **{f"layer_{number}": one for number, one in enumerate(layers)}}

    def figures(self, table: Table, ctx: Context) -> Mapping[str, Json]:
        """By attack how well attacked pictures are told from their originals and from noise of the same L2 norm.

        Each has the number `n` of photographs, on whose original and noise the network is right and on whose attacked
        picture it is wrong, and by score the `auroc`, and `tnr`, the share in percent of the others that pass where at
        most 5 % of the attacked pictures are missed, None of fewer than 19,
        which can't tell. `known` is fitted on the same attack, `unknown` on `train_on`,
        `last` is the last layer alone, and `sure` the largest probability.
        """
        layers = np.stack([table[name] for name in _numbered(table, "layer")], 1)
        finite, folds = np.asarray(np.isfinite(layers).all(1), bool), self._folds(table, ctx)
        found = {attack: rows[finite[rows].all(1)] for attack, rows in triplets(table).items()}
        _, photograph = np.unique(table["photograph"].astype(str), return_inverse=True)
        scores = {"unknown": table["score"], "last": -layers[:, -1], "sure": -table["sure"]}
        by: dict[str, Json] = {}
        for attack, rows in found.items():
            if len(rows) >= FEWEST:
                own = {"known": cross_fitted(layers, rows, folds), **scores}
                told = {name: self._told(one, rows, photograph, ctx) for name, one in own.items()}
                by[attack] = {"n": len(rows), **told}
        return {"attacks": by, "train_on": self.train_on, "layers": layers.shape[1], "confidence": self.confidence,
                "few": {attack: len(rows) for attack, rows in found.items() if len(rows) < FEWEST}}  # fmt: skip

    def _train(self, found: Mapping[str, Ints]) -> Ints:
        if len(found.get(self.train_on, ())) < FEWEST:
            there = ", ".join(f"{attack} ({len(rows)})" for attack, rows in found.items()) or "none"
            raise RecipeError(
                f"{self.component_name()}.train_on: {self.train_on!r} needs {FEWEST} photographs on whose original and "
                f"control the network is right and on whose attacked picture it is wrong; there are: {there}; take "
                "more pictures, or another attack, and make them with control: l2"
            )
        return found[self.train_on]

    def _folds(self, table: Table, ctx: Context) -> Ints:
        """A fold of each picture; those of one photograph share it."""
        y, _ = table.labels()
        return dealt_folds(table, y, FOLDS, ctx.rng(self.component_name(), "", "folds"), copies=False)

    def _told(self, score: Floats, rows: Ints, photograph: Ints, ctx: Context) -> dict[str, Json]:
        """How well a score `[N]` tells the attacked of triplets from the others, with intervals over photographs."""
        of = np.unique(photograph[rows[:, 0]], return_inverse=True)[1]
        attacked, other, twice = score[rows[:, 2]], score[rows[:, :2]].T.ravel(), np.tile(of, 2)
        draws = Draws(len(of), self.bootstrap, self.confidence, derive_seed(ctx.seed, self.component_name()))
        enough = len(of) >= needed(MISSED)
        return {
            "auroc": Separation(attacked, other, of, twice).resampled_auroc(draws),
            "tnr": Separation(-other, -attacked, twice, of).resampled_tpr(MISSED, draws) if enough else None,
        }


def _numbered(table: Table, name: str) -> list[str]:
    """Columns `name_0`, `name_1` and so on, as far as there are any."""
    found: list[str] = []
    while (column := f"{name}_{len(found)}") in table:
        found.append(column)
    return found


def triplets(table: Table) -> dict[str, Ints]:
    """By attack, the rows `[n, 3]` of an original, the noise that belongs to the attacked picture, and that picture.

    The network is right on the first two and wrong on the last, so nobody tells a failed attack from noise.
    """
    variant, like, right = table["variant"].astype(str), table["like"].astype(str), table["right"].astype(bool)
    photograph = table["photograph"].astype(str)

    def by_photograph(rows: Bools) -> dict[str, int]:
        return {photograph[row]: int(row) for row in np.flatnonzero(rows)}

    original, found = by_photograph((variant == "original") & right), {}
    for attack in np.unique(like[like != ""]):
        control, attacked = by_photograph((like == attack) & right), by_photograph((variant == attack) & ~right)
        whole = sorted(original.keys() & control.keys() & attacked.keys())
        rows = [[original[one], control[one], attacked[one]] for one in whole]
        found[str(attack)] = np.array(rows, np.int64).reshape(-1, 3)
    return found


def cross_fitted(layers: Floats, rows: Ints, folds: Ints) -> Floats:
    """The logit `[N]` that a picture is attacked, by regressions that were fitted on triplets of other photographs.

    Args:
        layers: `[N, L]`.
        rows: triplets to fit on, `[n, 3]`, as of `triplets`.
        folds: of each picture, `[N]`.

    Returns:
        NaN where the other folds have no triplet, or a layer isn't finite.
    """
    from sklearn.linear_model import LogisticRegression

    found, finite = np.full(len(layers), np.nan), np.asarray(np.isfinite(layers).all(1), bool)
    for fold in np.unique(folds):
        own = rows[(folds[rows[:, 0]] != fold) & finite[rows].all(1)]
        if not len(own):
            continue
        x, attacked = layers[own.T.ravel()], np.repeat([0, 0, 1], len(own))
        mean, deviation = x.mean(0), np.maximum(x.std(0), 1e-12)
        model = LogisticRegression(class_weight="balanced", max_iter=1000).fit((x - mean) / deviation, attacked)
        mine = (folds == fold) & finite
        found[mine] = model.decision_function((layers[mine] - mean) / deviation)
    return found
