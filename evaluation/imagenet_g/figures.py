"""Comparison of generated sets with real ones, as the figures of a data card."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from variorum.arrays import Bools, Floats, Ints
from variorum.evaluation.imagenet_g.diversity import apart, spread, vendi_score
from variorum.evaluation.imagenet_g.frechet import frechet_distance, too_few
from variorum.evaluation.imagenet_g.kernel import kernel_distance
from variorum.evaluation.imagenet_g.manifold import manifold
from variorum.evaluation.imagenet_g.robustness import FEWEST, effective_robustness
from variorum.kit.sets.accuracy_score import difference, rights, share
from variorum.kit.sets.pictures import Pictures, matched, part_of
from variorum.schemas.canonical import Json, derive_seed

BASELINES = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2)
"""Shares of the real training pictures for the baseline heads of effective robustness."""
NO_LPIPS = "no `perceptual` model is named; docs/datasets/imagenet_g.md says where to get one"
NO_REAL = "no real pictures are named; give `train` and `test`"

OfClass = Mapping[str, Floats]
"""Figures by name, each `[K]`, NaN for a class without one."""
Told = Mapping[str, Bools]
"""By test set, `test` and `shifted`: whether a head is right on each picture."""


@dataclass
class Comparison:
    """Generated sets by variant, and real sets `train`, `test` and optionally `shifted`, all in the same classes.

    Without real sets only recognition and diversity are measured. `names` has the classes' names for people.
    """

    classes: Sequence[str]
    names: Sequence[str]
    real: Mapping[str, Pictures]
    generated: Mapping[str, Pictures]
    neighbours: int
    fractions: Sequence[float]
    most: int
    bootstrap: int
    confidence: float
    seed: int
    _heads: dict[Any, Told] = field(default_factory=dict)

    def figures(self) -> dict[str, Json]:
        """All figures; shares and accuracies in percent, their differences in percentage points."""
        missing = {"lpips": NO_LPIPS} if all(found.looks is None for found in self.generated.values()) else {}
        figures: dict[str, Json] = {
            "confidence": self.confidence,
            "neighbours": self.neighbours,
            "classes": len(self.classes),
            "references": {name: len(pictures) for name, pictures in self.real.items()},
            "variants": {},
            "not_measured": missing,
        }
        if not self.generated or not all(map(len, self.real.values())):
            return figures | {"not_measured": {"all": "no picture of a class that the edition and all references have"}}
        largest = max(self.generated.values(), key=len)
        sets: dict[str | None, Pictures] = {None: self._real_set(largest)} if self.real else {}
        sets.update(self.generated.items())
        alike = self._alike(sets)
        of_class = {name: self._of_class(pictures, alike) for name, pictures in sets.items()}
        figures["width"] = largest.x.shape[1]
        figures["alike"] = int(alike.sum())
        if self.real:
            figures["real"] = self._set(None, sets[None], alike, of_class[None])
        figures["variants"] = {name: self._set(name, sets[name], alike, of_class[name]) for name in self.generated}
        if all(np.isnan(pictures.right).all() for pictures in self.generated.values()):
            missing["recognised"] = "no judge is named, or no label is one of its classes"
        figures["by_class"] = self._by_class(of_class)
        if not self.real:
            return figures | {"not_measured": missing | {"real": NO_REAL}}
        if len(self.classes) < 2:
            missing["accuracy_score"] = "it takes two classes"
            return figures
        figures["heads"] = {name: self._trained_on(name) for name in self.generated}
        figures["scaling"] = self._scaling(largest)
        if "shifted" not in self.real:
            missing["effective_robustness"] = "no shifted reference is named"
        elif len(baseline := self._baselines(largest)) < FEWEST:
            missing["effective_robustness"] = "too few training pictures for heads of different accuracy"
        else:
            figures["robustness"] = {name: self._robustness(name, baseline) for name in self.generated}
        return figures

    # ── one set ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _set(self, name: str | None, pictures: Pictures, alike: Ints, of_class: OfClass) -> dict[str, Json]:
        """A set's recognition, its diversity as the mean over classes, and its distances from the training pictures."""
        asked = pictures.right[~np.isnan(pictures.right)]
        return {
            "n": len(pictures),
            "recognised": percents(share(asked, self.confidence)) if len(asked) else None,
            **(self._distances(name or "real", pictures) if self.real else {}),
            "vendi": number(mean(of_class["vendi"]), 3),
            "vendi_of_all": number(vendi_score(self._capped(pictures.first(alike)).x), 3),
            "spread": number(mean(of_class["spread"]), 4),
            "lpips": number(mean(of_class["lpips"]), 4),
        }

    def _distances(self, name: str, pictures: Pictures) -> dict[str, Json]:
        """Distances from the training pictures, drawn in the same class proportions."""
        reference = self._like(pictures)
        d, n = pictures.x.shape[1], min(len(pictures), len(reference))
        some, others = self._capped(pictures), self._capped(reference)
        kid, error = kernel_distance(some.x, some.y, others.x, others.y, self._rng(f"kid {name}"))
        lies = manifold(others.x, some.x, self.neighbours)
        return {
            "reference": len(reference),
            "fid": number(frechet_distance(pictures.x, reference.x), 3),
            "fid_warning": too_few(n, d),
            "kid": number(kid, 6),
            "kid_error": number(error, 6),
            **{key: number(value, 4) for key, value in lies._asdict().items()},
        }

    def _of_class(self, pictures: Pictures, alike: Ints) -> OfClass:
        """Figures `[K]` of each class of a set; the Vendi score uses `alike [K]` pictures per class."""
        k = len(self.classes)
        some, looks = pictures.first(alike), pictures.looks
        rows, fewer = rows_of_classes(pictures.y, k), rows_of_classes(some.y, k)
        return {
            "n": pictures.counts(k).astype(float),
            "recognised": np.array([mean(pictures.right[own]) for own in rows]),
            "vendi": np.array([vendi_score(some.x[own]) if len(own) > 1 else math.nan for own in fewer]),
            "spread": np.array([spread(pictures.x[own]) for own in rows]),
            "lpips": np.array([math.nan if looks is None else apart(looks[own]) for own in rows]),
        }

    def _by_class(self, of_class: Mapping[str | None, OfClass]) -> list[Json]:
        """Figures of each class by set, the least recognised class first.

        `diversity` is the mean of the variants' Vendi scores, in percent of the real set's if there is one.
        """

        def figures(name: str | None, k: int) -> dict[str, Json]:
            found = {figure: float(values[k]) for figure, values in of_class[name].items()}
            return {
                "n": int(found["n"]),
                "recognised": percent(found["recognised"]),
                "vendi": number(found["vendi"], 3),
                "spread": number(found["spread"], 4),
                "lpips": number(found["lpips"], 4),
            }

        recognised, diverse = (
            np.array([mean([of_class[name][figure][k] for name in self.generated]) for k in range(len(self.classes))])
            for figure in ("recognised", "vendi")
        )
        if self.real:
            diverse = 100 * diverse / of_class[None]["vendi"]
        order = np.argsort(recognised, kind="stable")  # NaN comes last, ties stay in class order
        return [
            {
                "class": self.classes[k],
                "name": self.names[k],
                "diversity": number(float(diverse[k]), 3),
                "real": figures(None, k) if self.real else None,
                "variants": {name: figures(name, k) for name in self.generated},
            }
            for k in order.tolist()
        ]

    # ── heads ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _trained_on(self, name: str) -> dict[str, Json]:
        """Accuracies of heads trained on a set, on as many real pictures of each class, and on both."""
        numbers = self._both_have(self.generated[name])
        real, made, both = self._head(numbers, None), self._head(numbers, name), self._head(numbers, None, name)
        reverse = rights([self.real["train"].first(numbers)], [self.generated[name]])[0]
        return {
            "n": int(numbers.sum()),
            "real_to_real": percents(share(real["test"], self.confidence)),
            "generated_to_real": percents(share(made["test"], self.confidence)),
            "both_to_real": percents(share(both["test"], self.confidence)),
            "real_to_generated": percents(share(reverse, self.confidence)),
            "generated_less_real": percents(difference(made["test"], real["test"], self.confidence)),
            "both_less_real": percents(difference(both["test"], real["test"], self.confidence)),
        }

    def _scaling(self, largest: Pictures) -> dict[str, Json]:
        """By variant and for `real`, one row per fraction: pictures, accuracy of a head on real pictures, KID."""
        table: dict[str, Json] = {}
        real = self._real_set(largest)
        for name in (None, *self.generated):
            whole = self._both_have(largest if name is None else self.generated[name])
            rows: list[Json] = []
            for fraction in self.fractions:
                numbers = part_of(whole, fraction)
                told = self._head(numbers, name)["test"]
                some = self._capped(real if name is None else self.generated[name]).first(numbers)
                like, rng = self._capped(self._like(some)), self._rng(f"scaling {name or ''} {fraction}")
                kid, error = kernel_distance(some.x, some.y, like.x, like.y, rng)
                rows.append(
                    {
                        "fraction": fraction,
                        "n": int(numbers.sum()),
                        "accuracy": percents(share(told, self.confidence)),
                        "kid": number(kid, 6),
                        "kid_error": number(error, 6),
                    }
                )
            table["real" if name is None else name] = rows
        return table

    def _baselines(self, largest: Pictures) -> list[Told]:
        """Results of heads trained on parts of the real pictures, one head per accuracy."""
        found: dict[float, Told] = {}
        for fraction in BASELINES:
            told = self._head(part_of(self._both_have(largest), fraction), None)
            found.setdefault(float(told["test"].mean()), told)
        return list(found.values())

    def _robustness(self, variant: str, baseline: list[Told]) -> dict[str, Json]:
        """By training set of the head (`real`, `generated`, `both`): accuracies and effective robustness."""
        numbers = self._both_have(self.generated[variant])
        below = np.array([told["test"] for told in baseline]), np.array([told["shifted"] for told in baseline])
        figures: dict[str, Json] = {"n": int(numbers.sum()), "baselines": len(baseline)}
        trained: dict[str, list[str | None]] = {"real": [None], "generated": [variant], "both": [None, variant]}
        for name, sets in trained.items():
            told = self._head(numbers, *sets)
            above = effective_robustness(
                below,
                (told["test"], told["shifted"]),
                confidence=self.confidence,
                draws=self.bootstrap,
                rng=self._rng("robustness"),
            )
            figures[name] = {
                "accuracy": percents(share(told["test"], self.confidence)),
                "shifted": percents(share(told["shifted"], self.confidence)),
                "effective_robustness": percents(above),
            }
        return figures

    def _head(self, numbers: Ints, *sets: str | None) -> Told:
        """Results of a head trained on `numbers [K]` pictures per class of each set; None is the real training set."""
        key = (numbers.tobytes(), sets)
        if key not in self._heads:
            pools = [self.real["train"] if name is None else self.generated[name] for name in sets]
            names = [name for name in self.real if name != "train"]
            told = rights([pool.first(numbers) for pool in pools], [self.real[name] for name in names])
            self._heads[key] = dict(zip(names, told, strict=True))
        return self._heads[key]

    # ── draws ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _like(self, pictures: Pictures) -> Pictures:
        """As many training pictures as possible in the class proportions of these."""
        train, k = self.real["train"], len(self.classes)
        return train.first(matched(pictures.counts(k), train.counts(k)))

    def _real_set(self, largest: Pictures) -> Pictures:
        """Test pictures, per class up to as many as the largest set has."""
        return self.real["test"].first(largest.counts(len(self.classes)))

    def _alike(self, sets: Mapping[str | None, Pictures]) -> Ints:
        """Per class `[K]` the smallest number of any set with two or more, as Vendi scores grow with n."""
        counts = np.stack([pictures.counts(len(self.classes)) for pictures in sets.values()])
        most = counts.max(axis=0)
        fewest = np.where(counts > 1, counts, most).min(axis=0)
        return np.where(most > 1, fewest, 0)

    def _both_have(self, pictures: Pictures) -> Ints:
        """Numbers per class `[K]` that both a generated set and the training pictures can provide."""
        k = len(self.classes)
        return np.minimum(pictures.counts(k), self.real["train"].counts(k))

    def _capped(self, pictures: Pictures) -> Pictures:
        counts = pictures.counts(len(self.classes))
        return pictures.first(matched(counts, counts, self.most))

    def _rng(self, purpose: str) -> np.random.Generator:
        return np.random.default_rng(derive_seed(self.seed, "generated_set", purpose))


def rows_of_classes(y: Ints, classes: int) -> list[Ints]:
    """The rows of each class, for classes `[n]` in 0..K-1."""
    return np.split(np.argsort(y, kind="stable"), np.cumsum(np.bincount(y, minlength=classes))[:-1])


def mean(values: Any) -> float:
    """Mean of the values that aren't NaN; NaN if there are none."""
    known = np.asarray(values, dtype=float)
    known = known[~np.isnan(known)]
    return float(known.mean()) if len(known) else math.nan


def number(value: float, digits: int) -> float | None:
    """A rounded figure for JSON; None for NaN, which JSON doesn't have."""
    return round(value, digits) if math.isfinite(value) else None


def percent(value: float) -> float | None:
    """A share in percent, rounded to two decimals."""
    return number(100 * value, 2)


def percents(figure: Mapping[str, float]) -> dict[str, Json]:
    """A figure and its interval in percent."""
    return {name: percent(value) for name, value in figure.items()}
