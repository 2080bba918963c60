"""Comparison of generated sets with real ones, as the figures of a data card."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from variorum.arrays import Array, Floats, Ints, Singles
from variorum.evaluation.imagenet_g.diversity import apart, spread, vendi_score
from variorum.evaluation.imagenet_g.frechet import frechet_distance, too_few
from variorum.evaluation.imagenet_g.kernel import kernel_distance
from variorum.evaluation.imagenet_g.manifold import manifold
from variorum.evaluation.imagenet_g.robustness import FEWEST, Accuracies, effective_robustness
from variorum.kit.sets import scaling
from variorum.kit.sets.accuracy_score import difference, heads, share
from variorum.kit.sets.network_score import network_rights
from variorum.kit.sets.pictures import Pictures, matched, part_of
from variorum.schemas.canonical import Json, derive_seed

HEADS, NETWORKS = "heads", "networks"
"""Kinds of classifiers: linear ones on embeddings, and small networks trained from scratch."""
TRAINED_ON = ("real", "generated", "both", "twice")
ERROR, LOSS = "error", "nll"
"""What falls with the size of a training set: the share of wrong answers, and the mean loss of a head."""
SAME_SIZE = 2
"""Most training sets of one size through which a line of effective robustness is drawn."""
SHIFTED = "shifted_"
"""What names of shifted references begin with."""
GENERATED = "generated "
"""What a variant's name follows where test sets are named."""
NO_LPIPS = "no `perceptual` model is named; docs/datasets/imagenet_g.md says where to get one"
NO_REAL = "no real pictures are named; give `train` and `test`"
NO_TWICE = "`train` has fewer than twice as many pictures of each class as the largest variant"
NO_LINE = "`train` has too few pictures of each class: twice as many as the largest variant, and at least 8"
NO_SIZES = f"it takes {scaling.FEWEST} sizes; give more `fractions` or larger sets"

OfClass = Mapping[str, Floats]
"""Figures by name, each `[K]`, NaN for a class without one."""
Told = Mapping[str, Array]
"""By test set: whether a classifier is right on each picture, as a share where several are asked."""


class Part(NamedTuple):
    """Pictures of a set to train on.

    Attributes:
        name: of the variant; None for the real training pictures.
        first: rank `[K]` of the first picture of each class.
        last: rank `[K]` after the last one.
    """

    name: str | None
    first: Ints
    last: Ints


def fitted(losses: Mapping[int, Floats]) -> tuple[Floats, Floats, tuple[scaling.Law, scaling.Law], bool]:
    """Sizes `[S]`, losses `[1 + R, S]`, laws through them without and with a floor, and whether that is better."""
    sizes, loss = np.array(list(losses), float), np.stack(list(losses.values()), axis=1)
    laws = scaling.power_law(sizes, loss), scaling.with_floor(sizes, loss)
    return sizes, loss, laws, scaling.has_floor(*laws, len(sizes))


@dataclass
class Comparison:
    """Generated sets by variant, and real sets `train`, `test` and `shifted_…`, all in the same classes.

    Without real sets only recognition and diversity are measured. `names` has the classes' names for people, and
    `steps` is how long a network is trained, 0 for none.
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
    steps: int
    _results: dict[Any, Told] = field(default_factory=dict)
    _weights: dict[str, Singles] = field(default_factory=dict)

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
        for kind in self._kinds():
            figures[kind] = {name: self._trained_on(kind, name) for name in self.generated}
        figures["scaling"] = self._scaling(largest)
        figures["power_law"] = laws = self._power_laws(largest)
        if len(laws) <= len(self.generated):
            missing["power_law"] = NO_SIZES
        shifts = [name for name in self.real if name.startswith(SHIFTED)]
        whole = self._both_have(largest)
        if not self._have_twice(whole):
            missing["twice"] = NO_TWICE
        if not shifts:
            missing["effective_robustness"] = "no shifted reference is named"
        else:
            figures["robustness"] = {one.removeprefix(SHIFTED): self._robustness(largest, one) for one in shifts}
            if any(len(self._ordinary(kind, whole)) < FEWEST for kind in self._kinds()):
                missing["effective_robustness"] = NO_LINE
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

    # ── classifiers ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _trained_on(self, kind: str, name: str) -> dict[str, Json]:
        """Accuracies of classifiers trained on a set, on as many real ones of each class, on both, on twice as many.

        Those by twice as many real pictures are None if there aren't so many.
        """
        numbers = self._both_have(self.generated[name])
        told = {what: self._told(kind, *parts) for what, parts in self._training_sets(name, numbers).items()}
        right = {what: one["test"] for what, one in told.items()}
        twice = right.get("twice")
        return {
            "n": int(numbers.sum()),
            **{f"{what}_to_real": self._share(right.get(what)) for what in TRAINED_ON},
            "real_to_generated": self._share(told["real"][GENERATED + name]),
            "generated_less_real": self._less(right["generated"], right["real"]),
            "both_less_real": self._less(right["both"], right["real"]),
            "twice_less_real": self._less(twice, right["real"]),
            "both_less_twice": self._less(right["both"], twice),
        }

    def _training_sets(self, name: str, numbers: Ints) -> dict[str, list[Part]]:
        """By what classifiers are trained on, the parts of sets that it is made of."""
        real, made = Part(None, 0 * numbers, numbers), Part(name, 0 * numbers, numbers)
        found = {"real": [real], "generated": [made], "both": [real, made]}
        return found | ({"twice": [Part(None, 0 * numbers, 2 * numbers)]} if self._have_twice(numbers) else {})

    def _scaling(self, largest: Pictures) -> dict[str, Json]:
        """By variant and for `real`, one row per size: pictures, accuracy of a head on real pictures, KID.

        The real set also has twice the size of the largest variant, if there are so many pictures.
        """
        table: dict[str, Json] = {}
        real = self._real_set(largest)
        for name in (None, *self.generated):
            whole = self._both_have(largest if name is None else self.generated[name])
            rows: list[Json] = []
            for fraction, numbers in self._sizes(name, whole):
                told = self._told(HEADS, Part(name, 0 * numbers, numbers))["test"]
                some = self._capped(real if name is None else self.generated[name]).first(numbers)
                like, rng = self._capped(self._like(some)), self._rng(f"scaling {name or ''} {fraction}")
                kid, error = kernel_distance(some.x, some.y, like.x, like.y, rng)
                rows.append(
                    {
                        "fraction": fraction,
                        "n": int(numbers.sum()),
                        "accuracy": self._share(told),
                        "kid": number(kid, 6),
                        "kid_error": number(error, 6),
                    }
                )
            table["real" if name is None else name] = rows
        return table

    def _sizes(self, name: str | None, whole: Ints) -> list[tuple[float, Ints]]:
        """Fractions of a set with the numbers `[K]` of pictures, and twice the whole for the real one if possible."""
        twice = (2.0,) if name is None and self._have_twice(whole) else ()
        return [(fraction, part_of(whole, fraction)) for fraction in (*self.fractions, *twice)]

    def _power_laws(self, largest: Pictures) -> dict[str, Json]:
        """By variant and for `real`, how a head's error and its loss (`nll`) fall with its training set; see `scaling`.

        `crossing` is how many real pictures a generated one of the whole variant is worth; its interval ends where the
        measured range does.
        """
        found: dict[str, Json] = {}
        real: dict[str, Mapping[int, Floats]] = {}
        for name in (None, *self.generated):
            whole = self._both_have(largest if name is None else self.generated[name])
            errors, losses = dict[int, Floats](), dict[int, Floats]()
            for _, numbers in self._sizes(name, whole):
                told, n = self._told(HEADS, Part(name, 0 * numbers, numbers)), int(numbers.sum())
                errors[n] = np.maximum(1 - self._resampled("test", told["test"]), 0.5 / len(told["test"]))
                losses[n] = self._resampled("test", told[LOSS])
            if len(errors) < scaling.FEWEST:
                continue
            rows = [self._law(what, of, real.get(what)) for what, of in ((ERROR, errors), (LOSS, losses))]
            real = {ERROR: errors, LOSS: losses} if name is None else real
            found["real" if name is None else name] = {**rows[0], LOSS: rows[1]}
        return found

    def _law(self, what: str, losses: Mapping[int, Floats], real: Mapping[int, Floats] | None) -> dict[str, Json]:
        """The power law of an error, whose floor is in percent, or of a loss; `real` are those of real pictures."""
        sizes, loss, (plain, floored), has_floor = fitted(losses)
        half = (len(sizes) + 1) // 2
        ends = [scaling.power_law(sizes[part], loss[:, part]) for part in (np.s_[:half], np.s_[-half:])]
        row: dict[str, Json] = {
            "sizes": [int(size) for size in sizes],
            "k": self._figure(plain.k),
            "a": number(float(plain.a[0]), 4),
            "r2": number(scaling.straightness(plain, loss), 4),
            "bend": [number(float(law.k[0]), 4) for law in ends],
            "with_floor": None,
            "crossing": None,
        }
        if len(sizes) >= scaling.FEWEST_WITH_FLOOR:
            floor = number((100 if what == ERROR else 1) * float(floored.floor[0]), 4)
            row["with_floor"] = {"k": self._figure(floored.k), "floor": floor, "chosen": has_floor}
        if real is not None:
            known, _, laws, floor_of_real = fitted(real)
            worth, low, high = scaling.pictures_for(laws[floor_of_real], loss[:, -1]), known.min(), known.max()
            within = low <= worth[0] <= high
            row["crossing"] = self._figure(np.clip(worth, low, high) / sizes[-1]) if within else None
        return row

    def _robustness(self, largest: Pictures, shift: str) -> dict[str, Json]:
        """By kind of classifier: accuracies and effective robustness, by variant and what it is trained on.

        `real` and `twice` stand for the numbers of the largest variant; they are None without so many real pictures.
        """
        return {kind: self._above_line(kind, largest, shift) for kind in self._kinds()}

    def _above_line(self, kind: str, largest: Pictures, shift: str) -> dict[str, Json]:
        whole = self._both_have(largest)
        ordinary = [self._accuracies(told, shift) for told in self._ordinary(kind, whole)]
        pictures = len(self.real["test"]), len(self.real[shift])

        def figures(parts: Sequence[Part] | None) -> dict[str, Json] | None:
            if parts is None:
                return None
            told = self._told(kind, *parts)
            found: dict[str, Json] = {"accuracy": self._share(told["test"]), "shifted": self._share(told[shift])}
            if len(ordinary) < FEWEST:
                return found | {"effective_robustness": None}
            model, rng = self._accuracies(told, shift), self._rng("robustness")
            above = effective_robustness(ordinary, model, pictures, confidence=self.confidence, rng=rng)
            return found | {"effective_robustness": percents(above)}

        variants: dict[str, Json] = {}
        for name in self.generated:
            sets = self._training_sets(name, self._both_have(self.generated[name]))
            variants[name] = {what: figures(sets[what]) for what in ("generated", "both")}
        real = self._training_sets("", whole)
        return {
            "ordinary": len(ordinary),
            "real": figures(real["real"]),
            "twice": figures(real.get("twice")),
            "variants": variants,
        }

    def _ordinary(self, kind: str, numbers: Ints) -> list[Told]:
        """Results of classifiers trained on other real pictures, one for each accuracy."""
        found: dict[float, Told] = {}
        for part in self._other_real(numbers):
            told = self._told(kind, part)
            found.setdefault(float(told["test"].mean()), told)
        return list(found.values())

    def _other_real(self, numbers: Ints) -> list[Part]:
        """Training sets of real pictures other than the first `numbers [K]` of each class, and one twice as large.

        They are halves, quarters and eighths of the next `numbers`, and all of these.
        """
        found = [Part(None, 0 * numbers, 2 * numbers)]
        for pieces in (1, 2, 4, 8):
            size = numbers // pieces
            if (size[numbers > 0] > 0).all():
                starts = [numbers + k * size for k in range(min(pieces, SAME_SIZE))]
                found += [Part(None, start, start + size) for start in starts]
        return found if self._have_twice(numbers) else []

    def _told(self, kind: str, *parts: Part) -> Told:
        """Results of a classifier trained on parts of sets; None is the real training set."""
        key = (kind, tuple((name, first.tobytes(), last.tobytes()) for name, first, last in parts))
        if key not in self._results:
            pools = [
                (self.real["train"] if name is None else self.generated[name]).between(first, last)
                for name, first, last in parts
            ]
            tests = {name: pictures for name, pictures in self.real.items() if name != "train"}
            tests |= {GENERATED + name: pictures for name, pictures in self.generated.items()}
            told: Sequence[Array]
            if kind == HEADS:
                said = heads(pools, list(tests.values()))
                told = [one.right for one in said] + [said[list(tests).index("test")].loss]
            else:
                seed = derive_seed(self.seed, "generated_set", "network")
                told = network_rights(pools, list(tests.values()), len(self.classes), self.steps, seed)
            self._results[key] = dict(zip([*tests, LOSS], told, strict=False))  # networks have no loss
        return self._results[key]

    def _kinds(self) -> tuple[str, ...]:
        return (HEADS, NETWORKS) if self.steps else (HEADS,)

    # ── intervals ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _share(self, right: Array | None) -> dict[str, Json] | None:
        return None if right is None else percents(share(right, self.confidence))

    def _less(self, right: Array | None, other: Array | None) -> dict[str, Json] | None:
        return None if right is None or other is None else percents(difference(right, other, self.confidence))

    def _figure(self, resampled: Floats) -> dict[str, Json]:
        """A figure with its interval from its value, which comes first, and its resamples."""
        low, high = np.quantile(resampled[1:], [(1 - self.confidence) / 2, (1 + self.confidence) / 2])
        return {
            "value": number(float(resampled[0]), 4),
            "low": number(float(low), 4),
            "high": number(float(high), 4),
        }

    def _resampled(self, test: str, right: Array) -> Floats:
        """The share of right answers `[1 + R]` in a test set, then in resamples of it, the same for all classifiers."""
        if test not in self._weights:
            n, rng = len(right), self._rng(f"resamples {test}")
            drawn = (rng.multinomial(n, np.full(n, 1 / n)).astype(np.float32) for _ in range(self.bootstrap))
            self._weights[test] = np.stack([np.ones(n, np.float32), *drawn])
        return np.asarray(self._weights[test] @ right.astype(np.float32) / len(right), float)

    def _accuracies(self, told: Told, shift: str) -> Accuracies:
        return Accuracies(self._resampled("test", told["test"]), self._resampled(shift, told[shift]))

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

    def _have_twice(self, numbers: Ints) -> bool:
        """Whether there are twice as many real training pictures of each class."""
        return bool((self.real["train"].counts(len(self.classes)) >= 2 * numbers).all())

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
