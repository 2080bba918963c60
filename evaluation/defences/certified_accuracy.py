"""Measure how many pictures a smoothed classifier is right about, certified within a radius.

Randomized smoothing (Cohen et al., ICML 2019, arXiv 1902.02918): first votes under noise choose a class, fresh votes
bound its probability, and no change of the picture with a smaller ℓ2 norm than the radius changes the smoothed answer.
Each certificate is void with probability α at most. It is about a classifier with infinitely many votes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from pydantic import Field, model_validator

from variorum.evaluation.defences.drawn import originals
from variorum.evaluation.defences.radius import largest, radii
from variorum.kit.predicted.answers import known, label_indices, outputs_of
from variorum.kit.predicted.drops import Results
from variorum.kit.predicted.fields import Resampled
from variorum.kit.predicted.pairing import UNSCORED
from variorum.models.defended import called
from variorum.models.filters import contents_of
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Row, Use
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import cut
from variorum.schemas.rows import Answers, Figure
from variorum.schemas.sample import Sample
from variorum.schemas.table import Table

if TYPE_CHECKING:
    from variorum.arrays import Bools, Floats

NO_CERTIFICATE = "has no certificate: add --defence 'smoothed sigma=.25'"


class CertifiedAccuracy(Resampled):
    """Share of pictures with a right and certified answer by radius, of models behind the defence `smoothed`.

    Radii are ℓ2 norms of changes of the picture at its own size, with values in [0, 1]; cropping and resizing are part
    of the classifier. In a grey picture the channels move together and count once, so its certificate is about grey
    pictures. That of a coloured one ends where the nearest grey picture is, which would get other noise.
    """

    late: ClassVar[frozenset[str]] = Resampled.late | {"alpha", "radii"}
    offers: ClassVar[Mapping[str, Figure]] = {
        "certified": Figure("right and certified, averaged over the radii", kind="bound")
    }

    classifiers: tuple[str, ...] = Field(default=("classifier_small",), min_length=1)
    """Models behind the defence `smoothed`; others have no certificate."""
    radii: tuple[Annotated[float, Field(ge=0, le=100)], ...] = Field(default=(0.0, 0.25, 0.5, 0.75, 1.0), min_length=1)
    """A picture counts at each radius that is smaller than its own."""
    most: int = Field(default=100, ge=10, le=100_000)
    """Pictures, as many of each class: originals, or others where there are none."""
    n0: int = Field(default=100, ge=10, le=10_000)
    """Votes that choose the class."""
    n: int = Field(default=1000, ge=100, le=1_000_000)
    """Fresh votes that bound its probability, and with it the largest radius."""
    alpha: float = Field(default=0.001, ge=1e-6, le=0.1)
    """Probability, at most, that a picture's certificate is void."""

    @model_validator(mode="after")
    def _fresh_votes(self) -> CertifiedAccuracy:
        if self.n < self.n0:
            raise ValueError(f"n={self.n} is smaller than n0={self.n0}; most votes must be those that are counted")
        return self

    def uses(self) -> list[Use]:
        """Return the classifiers."""
        return [Use(alias, "classifier") for alias in self.classifiers]

    def chosen(self, table: Table, ctx: Context) -> Bools:
        """`most` pictures drawn by the seed, as many of each class; those without a label last."""
        return originals(table, ctx, self.component_name(), self.most)

    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterator[Row]:
        """One row per picture and smoothed classifier.

        Of the class that the first votes chose: whether it is `right`, and the fresh `votes` for it; `votes_half` are
        those of a second classifier, -1 without one. `reach` is the distance to the nearest grey picture. A picture
        whose label the model doesn't know costs no vote. Raises RecipeError if the denoiser made a picture.
        """
        occurring = {label for sample in samples for label in sample.labels}
        for alias in self.classifiers:
            model = ctx.models.get(alias)
            if not hasattr(model, "votes"):
                continue
            output_of = outputs_of(alias, model, ctx, occurring)
            taken = contents_of(ctx.models.pin(model.denoiser)) if model.denoiser else frozenset()
            for sample in samples:
                image: Any = sample.image
                labels = label_indices(sample.labels) if output_of is None else known(sample.labels, output_of)
                if any(taken & contents_of(pin) for op in sample.ops for pin in op["models"].values()):
                    raise RecipeError(
                        f"{self.component_name()}.classifiers: {cut(repr(model.denoiser))} made picture {sample.id}, "
                        "so it can't denoise it; name another denoiser"
                    )
                row = {"id": sample.id, "photograph": sample.photograph or sample.id, "classifier": alias,
                       "label": labels[0] if labels else UNSCORED, "sigma": float(model.sigma), "n": self.n,
                       "height": image.shape[0], "width": image.shape[1]}  # fmt: skip
                if not labels:
                    yield {**row, "right": False, "votes": 0, "votes_half": -1, "reach": 0.0}
                    continue
                seeds = [ctx.seed_for(self.component_name(), sample.id, purpose) for purpose in ("choice", "votes")]
                choice = int(model.votes([image], seeds[:1], self.n0)[0].sum(0).argmax())
                votes = model.votes([image], seeds[1:], self.n)[0][:, choice].tolist()
                yield {**row, "right": choice in labels, "votes": votes[0], "votes_half": [*votes, -1][1],
                       "reach": reach(image)}  # fmt: skip

    def figures(self, table: Table, ctx: Context) -> dict[str, Json]:
        """By classifier, with intervals over photographs; `without` names those that have no certificate.

        `certified` has for each radius, as text, the share of the `n` pictures with a right answer and a larger radius,
        in percent; `acr` the mean radius, where wrong answers count 0; `abstains` the share without any radius; `told`
        the terms, in a line. `unscored` pictures have no label that the model knows.
        """
        found: dict[str, Json] = {}
        for alias, own in self._held_of(table):
            if not len(own.radius):
                found[alias] = {"n": 0, "unscored": own.unscored}
                continue
            results = Results(self.resamples(len(own.photographs), ctx))
            shares = {_text(r): results.told(own.by(own.earned > r), own.by()) for r in self.radii}
            abstains = results.told(own.by(own.radius == 0), own.by())
            mean: dict[str, Any] = results.told(own.by(own.earned / own.cap), own.by())
            results.fill()
            mean |= {end: round(mean[end] * own.cap / 100, 4) for end in ("value", "low", "high")}
            found[alias] = {"n": len(own.radius), "unscored": own.unscored, "told": own.told,
                            "certified": {**shares}, "acr": mean, "abstains": abstains}  # fmt: skip
        without: list[Json] = [one for one in self.classifiers if one not in found]
        return {"confidence": self.confidence, "radii": [*self.radii], "classifiers": found, "without": without}

    def rows(self, table: Table, ctx: Context) -> Iterator[Answers]:
        """Each model's right and certified answers by `radius`; a bare model has none."""
        held = dict(self._held_of(table))
        for alias in self.classifiers:
            own = held.get(alias)
            if own is None or not len(own.radius):
                why = NO_CERTIFICATE if own is None else "no picture has a label that the model knows"
                yield Answers("certified", alias, why_not=why)
                continue
            yield Answers(
                "certified",
                alias,
                own.photographs,
                np.hstack([own.by(own.earned > r) for r in self.radii]),
                np.repeat(own.by(), len(self.radii), axis=1),
                tuple(map(_text, self.radii)),
                {"radius": self.radii},
                note=f"{called(alias)}: {own.told}",
            )

    def _held_of(self, table: Table) -> Iterator[tuple[str, Held]]:
        """The certificates of each classifier that has some."""
        import pyarrow.compute as pc

        for alias in self.classifiers if len(table) else ():
            own = table.arrow.filter(pc.equal(table.column("classifier"), alias))
            if len(own):
                yield alias, Held(Table(own, table.step), self.alpha)


class Held:
    """One classifier's certificates.

    `radius` is 0 where it abstains, `earned` also for a wrong answer; none is above the `cap`; `told` are the terms.
    """

    def __init__(self, table: Table, alpha: float) -> None:
        scored = table["label"] != UNSCORED
        self.unscored = int((~scored).sum())
        names, self._place = np.unique(table["photograph"][scored].astype(str), return_inverse=True)
        self.photographs = names.tolist()
        right, ends = table["right"][scored], table["reach"][scored]
        votes = np.stack([table["votes"], table["votes_half"]], 1)[scored]
        votes = votes[:, :1] if (votes[:, 1] < 0).any() else votes
        self.radius: Floats = np.zeros(0)
        if not len(votes):
            return
        n, sigma, parts = int(table["n"][0]), float(table["sigma"][0]), votes.shape[1]
        self.radius = np.minimum(radii(votes, n, alpha, sigma), ends)
        self.earned: Floats = self.radius * right
        self.cap = largest(n, alpha, sigma, parts)
        spaces = " and ".join(one for one, there in (("grey", np.isinf(ends)), ("RGB", ~np.isinf(ends))) if there.any())
        sides = {*zip(table["width"][scored].tolist(), table["height"][scored].tolist(), strict=True)}
        at = "{} × {}".format(*sides.pop()) if len(sides) == 1 else "the pictures’ own sizes"
        given = int((self.radius > 0).sum())
        halves = ", halves" if parts == 2 else ""
        self.told = (
            f"ℓ2 radius in {spaces} [0, 1] at {at}, σ = {sigma:g}{halves}, n = {n:,}, α = {alpha:g}, "
            f"{len(votes)} pictures; none is larger than {self.cap:.3f}; of {given} certificates "
            f"{alpha * given:.2g} are void on average, at most"
        )

    def by(self, values: Any = None) -> Floats:
        """Sums of values `[m]` by photograph, `[n, 1]`; numbers of pictures without values."""
        return np.bincount(self._place, values, len(self.photographs)).astype(np.float64)[:, None]


def reach(image: Any) -> float:
    """ℓ2 distance of a picture, with values in [0, 1], to the nearest one without colour; infinite without colour."""
    if (image == image[..., :1]).all():
        return float("inf")
    values = image.astype(np.float64) / 255
    return float(np.linalg.norm(values - values.mean(2, keepdims=True)))


def _text(radius: float) -> str:
    return f"{radius:g}"
