"""Measure how often attacked pictures fool classifiers: the attacked ones, and others that the attacks never saw.

A rate means something only beside that of the control, a picture that was changed as much at random. The attacked
models stand apart as *white-box*: a model that withstands attacks on others may fall at once to one on itself, so the
two can't be compared.

Where pictures were made to resemble a photograph of another class, it measures whether a model sees that class: by the
cross-entropy to it, from which DVERGE (Yang et al., NeurIPS 2020, arXiv 2009.14720) computes how diverse two networks
are.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from itertools import combinations
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from variorum.kit.predicted.answers import (
    Answer,
    answers,
    classes_of_outputs,
    known,
    label_indices,
    outputs_of,
    predicted,
)
from variorum.kit.predicted.drops import Results
from variorum.kit.predicted.fields import OfFamilies
from variorum.kit.predicted.offered import NO_EDITS, Asked, axes_of, by_model
from variorum.kit.predicted.pairing import Paired, paired
from variorum.kit.predicted.resamples import Resamples
from variorum.models.filters import contents_of
from variorum.schemas.canonical import Json, derive_seed
from variorum.schemas.component import Context, Row, Use
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import cut
from variorum.schemas.plot import CurvePlot, CurvePoint, IntervalPlot, Plot, point
from variorum.schemas.rows import Answers, Figure
from variorum.schemas.sample import Sample
from variorum.schemas.table import Table

if TYPE_CHECKING:
    from variorum.arrays import Bools, Floats

CONTROL = "control"
FEATURES = "nrf"
"""What records call pictures with the features of another."""
COSTS = ("gradients", "queries", "steps_to_success")
MOST = 2**31
"""Numbers in records beyond it are taken for none."""
LEAST = 1e-30
"""Probability that a smaller one counts as, so that its cross-entropy is finite."""


class Variant(NamedTuple):
    """What a variant is, as its pictures' records say.

    Attributes:
        attack: kind of attack, `control`, or `""` for another picture.
        epsilon: most that a value changes, in grey levels; 0 for an attack without a limit.
        like: of a control, the variant whose L2 norm it has; `""` for one with random signs.
        sources: the models that were attacked, in a line.
        target: class that was aimed at, `""` for none.
        chosen: only pictures that fool the attacked models are accepted, so they give no accuracy.
    """

    attack: str = ""
    epsilon: int = 0
    like: str = ""
    sources: str = ""
    target: str = ""
    chosen: bool = False


class AdversarialTransfer(OfFamilies):
    """How many pictures fool each classifier, by attack and attacked model, with bootstrap intervals over photographs.

    It reads editions of the generators `adversarial_example` and `feature_distillation`.
    """

    revision: ClassVar[int] = 2
    offers: ClassVar[Mapping[str, Figure]] = {
        "fooled": Figure(
            "fooled, of the photographs that it is right about", better="lower", filtered="white-box: it was attacked"
        ),
        "withstood": Figure("right on the original and under every attack", filtered="white-box: it was attacked"),
    }

    white_box: tuple[str, ...] = ("classifier_gate",)
    """Classifiers with the weights of attacked models. They may have decided what was accepted, and are shown
    apart for the attacks that followed them."""

    def uses(self) -> list[Use]:
        """Return the classifiers; those that were attacked only describe the pictures."""
        return [*super().uses(), *(Use(alias, "classifier", describes=True) for alias in self.white_box)]

    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterator[Row]:
        """One row per picture and classifier, as `accuracy_drop`'s, with what the picture's record says of the attack.

        `white_box` says whether the classifier has the weights of a model that was attacked to make this picture, and
        `hit` whether it answers the class that was aimed at. `p_target` is the probability of that class, `target_loss`
        its cross-entropy in nats; of a control the mean over its photograph's targets; NaN without any.

        Raises:
            RecipeError: a classifier that isn't named under `white_box` was attacked.
        """
        apart = [alias for alias in self.white_box if alias not in self.asked(ctx)]
        output_of: dict[str, Mapping[str, int] | None] = {}
        for answer in answers(samples, [*self.asked(ctx), *apart], ctx):
            row, sample = predicted(answer, ctx), answer.sample
            if answer.alias not in output_of:
                output_of[answer.alias] = outputs_of(answer.alias, answer.model, ctx, (), len(answer.probabilities))
            followed = bool(attacked_contents(sample) & contents_of(ctx.models.pin(answer.alias)))
            if followed and answer.alias not in self.white_box:
                raise RecipeError(
                    f"{self.component_name()}.classifiers: {cut(repr(answer.alias))} is a model that the pictures were "
                    "made to fool, so it can't be compared with others; name it under white_box"
                )
            yield {
                **row,
                **variant_of(sample)._asdict(),
                **_achieved(sample),
                "white_box": followed,
                "hit": _hit(answer, ctx),
                **_towards(answer, output_of[answer.alias]),
            }

    def figures(self, table: Table, ctx: Context) -> dict[str, Json]:
        """Rates in percent by classifier and variant.

        `fooled` is over the photographs whose original the classifier is right about, of a control over those that were
        attacked. `above_control` is that rate less the control's, paired by photograph. `robust` has by ε the share of
        photographs on which it is right on the original and on all attacked pictures with at most that ε; `clean` and
        `control` are its accuracy on the same photographs. These are the photographs that have all those pictures; of
        an attacked model, all that have a label, as those that it is wrong about weren't attacked. `attacks` has what
        each attack cost. `followed` are the variants that were made to fool a model. `not_attacked` are models under
        `white_box` that no picture was made to fool. `chosen` are attacks of which only successes are there, so they
        have no `robust`.

        Of an attacked model, `zero_gradient` is the share of photographs on which the attack's loss had at some step no
        gradient, zero or not finite, so that the margin's was followed. `unaided` is `fooled` that counts these as
        withstood: the loss alone fools at least so many, and with one step exactly so many. Photographs on which the
        margin has no gradient either are failed rows, `no_gradient`.

        Where pictures have the features of others, `aims` has by classifier and variant, and for the control,
        `target_loss` in nats and `p_target`, over all pictures with a target that the classifier knows. Intervals are
        wider where photographs share a target. `diversity` has for every two models whose features were followed the
        mean of the losses that each has on the pictures made with the other, DVERGE's d(i, j): the larger, the fewer
        features they share.
        """
        models = self.named(table)
        names = list(dict.fromkeys([*models, *self.white_box]))
        common: dict[str, Json] = {
            "confidence": self.confidence,
            "missing": [alias for alias in self.further if alias not in models],
            "names": [],
            "white_box": [],
            "attacks": {},
            "classifiers": {},
        }
        if not len(table):
            return common
        data = paired(table, names)
        variants, hits = variants_of(table), data.right
        if any(one.target for one in variants.values()):
            hits = _marked(table, names, table["hit"])
        zeros = np.asarray(table["zero_gradients"], np.float64)
        lost = _marked(table, names, zeros > 0)
        told = set(table["variant"].astype(str)[np.isfinite(zeros)].tolist())
        order = [data.variants[one] for one in data.order if data.variants[one] in variants]
        results = Results(
            Resamples(
                data.sources, self.bootstrap, self.confidence, derive_seed(ctx.seed, self.component_name()), data.units
            )
        )
        white = _followed(table)
        aims = Aims.of(data, table, names)
        classifiers: dict[str, Json] = {
            alias: {
                "outputs": data.outputs[number],
                "preprocessing": data.preprocessing[number],
                **_of_model(data, number, variants, order, results, white.get(alias, frozenset()), hits, lost, told),
            }
            for number, alias in enumerate(names)
        }
        of_features = [name for name in order if variants[name].attack in (FEATURES, CONTROL)]
        aimed, diversity = aims.figures(of_features, results), aims.diversity(variants, white, results)
        results.fill()
        in_nats([*(one["target_loss"] for of in aimed.values() for one in of.values()), *diversity])
        return {
            **common,
            "names": [alias for alias in names if alias not in self.white_box],
            "white_box": [alias for alias in self.white_box if alias in white],
            "not_attacked": [alias for alias in self.white_box if alias not in white],
            "attacks": {name: _cost(table, name, variants[name]) for name in order if variants[name].attack != CONTROL},
            "controls": [name for name in order if variants[name].attack == CONTROL],
            "chosen": [name for name in order if variants[name].chosen],
            "classifiers": classifiers,
            "aims": aimed,
            "diversity": diversity,
        }

    def rows(self, table: Table, ctx: Context) -> Iterator[Answers]:
        """How often each model is `fooled`, and what it `withstood`, of photographs whose originals were scored."""
        for asked in by_model(table):
            yield from _rows(asked)

    def plots(self, figures: Mapping[str, Any]) -> dict[str, Plot]:
        """`fooled` by attack and control; with several budgets also `robust` accuracy against ε."""
        every = [*figures["names"], *figures["white_box"]]
        labels = (*figures["attacks"], *figures.get("controls", ()))
        if not labels:
            return {}
        of = {_named(name, figures): figures["classifiers"][name] for name in every}
        series = {
            name: tuple(point(one["variants"].get(label, {}).get("fooled")) for label in labels)
            for name, one in of.items()
        }
        found: dict[str, Plot] = {"fooled": IntervalPlot("Fooled by attack", "fooled, percent", labels, series)}
        curves = {
            name: tuple(
                CurvePoint(int(epsilon), *(one["robust"][epsilon]["robust"][part] for part in ("value", "low", "high")))
                for epsilon in sorted(one["robust"], key=int)
            )
            for name, one in of.items()
        }
        if any(len(curve) > 1 for curve in curves.values()):
            across = "largest change of a value, in grey levels"
            found["robust"] = CurvePlot("Accuracy under the attacks", across, "right, percent", curves, full=100)
        return found


def _named(name: str, figures: Mapping[str, Any]) -> str:
    if name not in figures["white_box"]:
        return name
    followed = figures["classifiers"][name]["followed"]
    return f"{name} (white-box)" if {*figures["attacks"]} <= {*followed} else f"{name} (white-box in part)"


# ── what records say ─────────────────────────────────────────────────────────────────────────────────────────────────


def variant_of(sample: Sample) -> Variant:
    """What a picture's last operation was asked for; records of other generators give an empty one."""
    return _variant(sample.ops[-1]["requested"] if sample.ops else {})


def _variant(asked: Mapping[str, Any]) -> Variant:
    def text(name: str) -> str:
        value = asked.get(name)
        return value if isinstance(value, str) else ""

    epsilon, sources = asked.get("epsilon"), asked.get("sources")
    levels = epsilon if isinstance(epsilon, int) and not isinstance(epsilon, bool) and 0 <= epsilon <= 255 else 0
    named = " + ".join(one for one in sources if isinstance(one, str)) if isinstance(sources, list) else ""
    return Variant(
        text("attack"), levels, text("like"), cut(named), text("target"), asked.get("keep_failures") is False
    )


def attacked_contents(sample: Sample) -> frozenset[str]:
    """Hashes and commits of the models that were attacked to make a picture."""
    last = sample.ops[-1] if sample.ops else None
    sources = last["requested"].get("sources") if last else None
    if last is None or not isinstance(sources, list):
        return frozenset()
    pins = [pin for alias, pin in last["models"].items() if alias in sources and isinstance(pin, str)]
    return frozenset().union(*map(contents_of, pins))


def _achieved(sample: Sample) -> dict[str, float]:
    """What the attack cost and changed; NaN for what its record doesn't say."""
    found = sample.ops[-1]["achieved"] if sample.ops else {}
    return {name: _number(found.get(name)) for name in ("linf", "l2", "zero_gradients", *COSTS)}


def _number(value: Any) -> float:
    fits = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < MOST
    return float(value) if fits else math.nan


def _hit(answer: Answer, ctx: Context) -> bool:
    """Return whether a classifier answers the class that was aimed at."""
    target = variant_of(answer.sample).target
    if not target:
        return False
    said = classes_of_outputs(answer.model, ctx, len(answer.probabilities))[int(answer.probabilities.argmax())]
    return target == said[0]


def _towards(answer: Answer, output_of: Mapping[str, int] | None) -> dict[str, float]:
    """The columns `p_target` and `target_loss` of an answer."""
    sample, own = answer.sample, variant_of(answer.sample)
    listed = sample.ops[-1]["achieved"].get("targets") if sample.ops and own.attack == CONTROL else [own.target]
    targets = [one for one in listed if isinstance(one, str) and one] if isinstance(listed, list) else []
    places = [label_indices([one]) if output_of is None else known([one], output_of) for one in targets]
    chances = np.array([answer.probabilities[list(one)].sum() for one in places if one], np.float64)
    if not len(chances):
        return {"p_target": math.nan, "target_loss": math.nan}
    return {"p_target": float(chances.mean()), "target_loss": float(-np.log(chances.clip(LEAST, 1)).mean())}


def variants_of(table: Table) -> dict[str, Variant]:
    """What each variant is; those that no attack or control made are left out."""
    names, first = np.unique(table["variant"].astype(str), return_index=True)
    columns = [table[name][first].tolist() for name in Variant._fields]
    found = {str(name): Variant(*one) for name, one in zip(names, zip(*columns, strict=True), strict=True)}
    return {name: one for name, one in found.items() if one.attack}


# ── figures ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _of_model(
    data: Paired,
    number: int,
    variants: Mapping[str, Variant],
    order: Sequence[str],
    results: Results,
    followed: Collection[str],
    hits: Bools,
    lost: Bools,
    told: Set[str],
) -> dict[str, Json]:
    """Figures of one model, which was `followed` in some variants; `results` completes them."""
    scored, clean = data.originals(number)
    cells = {name: _cell(data, number, name) for name in order}
    controls = {name: one for name, one in variants.items() if one.attack == CONTROL}
    control_of = {name: _control_of(name, variants[name], controls) for name in order}
    found: dict[str, Json] = {}
    for name in order:
        there, right = cells[name]
        asked = there & clean
        if tried := [cells[one][0] for one in order if control_of[one] == name]:
            asked &= np.any(tried, axis=0)  # the photographs that were attacked
        if not asked.any():
            continue
        figure: dict[str, Json] = {
            "n": int(asked.sum()),
            "fooled": results.told(*_column(asked & ~right, asked)),
        }
        control = control_of[name]
        if control in cells:
            both = asked & cells[control][0]
            if both.any():
                change = (~right).astype(np.float64) - ~cells[control][1]
                figure["above_control"] = results.told(*_column(np.where(both, change, 0), both), True)
        if variants[name].target and variants[name].attack != CONTROL:
            hit = _cell(data, number, name, hits)[1]
            figure["hit"] = results.told(*_column(asked & hit, asked))
        if name in followed and name in told and variants[name].attack != CONTROL:
            zero = _cell(data, number, name, lost)[1]
            figure["zero_gradient"] = results.told(*_column(asked & zero, asked))
            figure["unaided"] = results.told(*_column(asked & ~right & ~zero, asked))
        found[name] = figure
    attacks = {
        name: one.epsilon for name, one in variants.items() if one.attack != CONTROL and one.epsilon and not one.chosen
    }
    robust: dict[str, Json] = {}
    for epsilon in sorted(set(attacks.values())):
        under = [cells[name] for name, level in attacks.items() if level <= epsilon]
        every = scored & np.all([there for there, _ in under], axis=0)
        counted = scored & (every | ~clean) if followed else every
        if not counted.any():
            continue
        held = clean & every & np.all([right for _, right in under], axis=0)
        figure = {
            "n": int(counted.sum()),
            "attacks": len(under),
            "clean": results.told(*_column(counted & clean, counted)),
            "robust": results.told(*_column(counted & held, counted)),
        }
        signs = [name for name, one in controls.items() if one.epsilon == epsilon and not one.like]
        if signs and (both := counted & cells[signs[0]][0]).any():
            figure["control"] = results.told(*_column(both & cells[signs[0]][1], both))
        robust[str(epsilon)] = figure
    return {"followed": [*sorted(followed)], "n": int(scored.sum()), "variants": found, "robust": robust}


def _followed(table: Table) -> dict[str, frozenset[str]]:
    """By classifier, the variants of which pictures were made to fool it; other classifiers are left out."""
    rows = table["white_box"].astype(bool)
    models, variants = (table[name][rows].astype(str).tolist() for name in ("classifier", "variant"))
    pairs = set(zip(models, variants, strict=True))
    return {model: frozenset(one for other, one in pairs if other == model) for model in models}


class Aims(NamedTuple):
    """How likely the classes that pictures aim at are to each classifier.

    Attributes:
        data: the pictures.
        names: of the classifiers.
        p_target: `[C, P]`, NaN where a picture aims at nothing that the classifier knows.
        loss: the cross-entropy in nats, `[C, P]`.
    """

    data: Paired
    names: Sequence[str]
    p_target: Floats
    loss: Floats

    @classmethod
    def of(cls, data: Paired, table: Table, names: Sequence[str]) -> Aims:
        """Read the columns of a table."""
        return cls(data, names, *(_by_picture(table, names, one) for one in ("p_target", "target_loss")))

    def figures(self, order: Sequence[str], results: Results) -> dict[str, dict[str, dict[str, Any]]]:
        """`n`, `target_loss` and `p_target` by classifier and variant, which `results` completes."""
        found: dict[str, dict[str, dict[str, Any]]] = {}
        for number, name in enumerate(self.names):
            for variant in order:
                top, bottom = self._sums(number, variant, self.loss)
                if bottom.any():
                    found.setdefault(name, {})[variant] = {
                        "n": int(bottom.sum()),
                        "target_loss": results.told(top, bottom),
                        "p_target": results.told(*self._sums(number, variant, self.p_target)),
                    }
        return found

    def diversity(
        self, variants: Mapping[str, Variant], white: Mapping[str, Collection[str]], results: Results
    ) -> list[Any]:
        """d(i, j) of every two classifiers i and j, as `between`."""
        own = {
            name: [one for one in sorted(white.get(name, ())) if one in variants and variants[one].attack == FEATURES]
            for name in self.names
        }
        found = []
        for one, other in combinations(range(len(self.names)), 2):
            first, second = (own[self.names[number]] for number in (one, other))
            if len(first) == len(second) == 1 and first != second:
                crossed = [self._sums(one, second[0], self.loss), self._sums(other, first[0], self.loss)]
                top, bottom = (np.concatenate(part, axis=1) for part in zip(*crossed, strict=True))
                if bottom.any(axis=0).all():
                    found.append(results.told(top, bottom, between=[self.names[one], self.names[other]]))
        return found

    def _sums(self, number: int, variant: str, values: Floats) -> tuple[Floats, Floats]:
        """Sum of a classifier's values, and number of pictures, by unit, `[U, 1]` both."""
        data = self.data
        there = np.isfinite(self.loss[number]) & (self.loss[number] + self.p_target[number] > 0)
        mine = (data.variant == data.variants.index(variant)) & (data.source >= 0) & ~data.original & there
        units = data.sources if data.units is None else len(data.units.source)
        counted = np.bincount(data.unit[mine], minlength=units)
        return _column(np.bincount(data.unit[mine], values[number, mine], units), counted)


def _by_picture(table: Table, names: Sequence[str], column: str) -> Floats:
    """A column of numbers as `[C, P]`, in the order of `paired`; 0 where a classifier has no row."""
    at = table.arrow.column_names.index("confidence")
    return paired(Table(table.arrow.set_column(at, "confidence", table.column(column))), names).confidence


def in_nats(figures: Iterable[dict[str, Any]]) -> None:
    """Turn figures in percent into such in units of 1."""
    for figure in figures:
        figure |= {end: round(figure[end] / 100, 3) for end in ("value", "low", "high")}


def _marked(table: Table, names: Sequence[str], values: Any) -> Bools:
    """Truth values of a table's rows, arranged as `Paired.right` is."""
    import pyarrow as pa

    at = table.arrow.column_names.index("correct")
    return paired(Table(table.arrow.set_column(at, "correct", pa.array(np.asarray(values, bool)))), names).right


def _control_of(name: str, variant: Variant, controls: Mapping[str, Variant]) -> str:
    """The control of an attack: of the same L2 norm if there is one, else of the same ε; `""` for none."""
    like = [one for one, what in controls.items() if what.like == name]
    same = [one for one, what in controls.items() if variant.epsilon and what.epsilon == variant.epsilon]
    return next(iter([*like, *same]), "") if variant.attack != CONTROL else ""


def _cell(data: Paired, number: int, variant: str, values: Bools | None = None) -> tuple[Bools, Bools]:
    """Of each source, whether it has a scored picture of a variant, and whether the model is right on it, `[S]`."""
    mine = np.flatnonzero(
        (data.variant == data.variants.index(variant)) & data.scored[number] & (data.source >= 0) & ~data.original
    )
    there, right = np.zeros(data.sources, bool), np.zeros(data.sources, bool)
    there[data.source[mine]] = True
    right[data.source[mine]] = (data.right if values is None else values)[number, mine]
    return there, right


def _column(top: Any, bottom: Any) -> tuple[Floats, Floats]:
    return np.asarray(top, np.float64)[:, None], np.asarray(bottom, np.float64)[:, None]


def _cost(table: Table, name: str, variant: Variant) -> dict[str, Json]:
    """What an attack changed and cost: medians over its pictures, the largest change of all."""
    rows = table["variant"].astype(str) == name
    _, first = np.unique(table["id"][rows].astype(str), return_index=True)
    found: dict[str, Json] = {"attack": variant.attack, "epsilon": variant.epsilon, "sources": variant.sources}
    for column in ("l2", *COSTS):
        values = np.asarray(table[column], np.float64)[rows][first]
        finite = values[np.isfinite(values)]
        found[column] = round(float(np.median(finite)), 2) if len(finite) else None
    largest = np.asarray(table["linf"], np.float64)[rows]
    return {**found, "n": len(first), "linf": int(np.nanmax(largest)) if np.isfinite(largest).any() else None}


def _rows(asked: Asked) -> Iterator[Answers]:
    """One model's rows of a report. Pictures belong together by their oldest ancestor."""
    requests = {name: _variant(all_of[0]) for name, all_of in asked.requests().items()}
    attacks = [name for name, one in requests.items() if one.attack not in ("", CONTROL)]
    edits = np.flatnonzero(asked.edit & np.isin(asked.variant, attacks))
    originals = np.flatnonzero(asked.original & asked.scored)
    if not len(edits) or not len(originals):
        for figure in AdversarialTransfer.offers:
            yield Answers(figure, asked.model, why_not=NO_EDITS)
        return
    root = asked.photographs.root
    clean = np.zeros(int(root.max()) + 1, bool)
    clean[root[originals[asked.right[originals]]]] = True
    sure = edits[clean[root[edits]]]
    names, column = asked.variants(sure) if len(sure) else ([], sure)
    if names:
        axes = axes_of(names, asked.requests())
        controls = [name for name, one in requests.items() if one.attack == CONTROL]
        beside = np.flatnonzero(np.isin(asked.variant, controls) & asked.scored & np.isin(root, root[sure]))
        note = f"{asked.model}: {100 * np.mean(~asked.right[beside]):.1f} % by the control" if len(beside) else ""
        yield asked.share("fooled", sure, ~asked.right[sure], column, names, axes=axes, note=note)
    else:
        yield Answers("fooled", asked.model, why_not="it is right about no attacked photograph")
    if any(requests[name].chosen for name in attacks):
        yield Answers("withstood", asked.model, why_not="the edition has only pictures that fool the attacked models")
        return
    made = np.bincount(root[edits], minlength=len(clean))
    held = np.bincount(root[edits], asked.right[edits], len(clean)) == made
    whole = originals[made[root[originals]] == len(attacks)]
    if not len(whole):
        yield Answers("withstood", asked.model, why_not="no photograph has a picture of every attack")
        return
    value = asked.right[whole] & held[root[whole]]
    note = f"{len(attacks)} attacks"
    yield asked.share("withstood", whole, value, np.zeros(len(whole), np.int64), ["original"], shown=False, note=note)
