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
    contents_named,
    known,
    label_indices,
    last_of,
    number_in,
    outputs_of,
    predicted,
)
from variorum.kit.predicted.drops import Results
from variorum.kit.predicted.fields import OfAttacked
from variorum.kit.predicted.offered import NO_EDITS, Asked, axes_of, by_model
from variorum.kit.predicted.pairing import Paired, paired
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Row
from variorum.schemas.lookup import cut
from variorum.schemas.plot import CurvePlot, CurvePoint, IntervalPlot, Plot, point
from variorum.schemas.rows import Answers, Figure
from variorum.schemas.sample import Sample
from variorum.schemas.table import Table

if TYPE_CHECKING:
    from variorum.arrays import Bools, Floats

ATTACKED = "white-box: it was attacked"
CONTROL = "control"
FEATURES = "nrf"
"""What records call pictures with the features of another."""
COSTS = ("gradients", "queries", "steps_to_success")
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


class AdversarialTransfer(OfAttacked):
    """How many pictures fool each classifier, by attack and attacked model, with bootstrap intervals over photographs.

    It reads editions of the generators `adversarial_example` and `feature_distillation`.
    """

    revision: ClassVar[int] = 2
    offers: ClassVar[Mapping[str, Figure]] = {
        "fooled": Figure("fooled, of the photographs that it is right about", better="lower", filtered=ATTACKED),
        "withstood": Figure("right on the original and under every attack", filtered=ATTACKED),
    }

    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterator[Row]:
        """One row per picture and classifier, as `accuracy_drop`'s, with what the picture's record says of the attack.

        `white_box` says whether the classifier has the weights of a model that was attacked to make this picture, and
        `hit` whether it answers the class that was aimed at. `p_target` is the probability of that class, `target_loss`
        its cross-entropy in nats; of a control the mean over its photograph's targets; NaN without any.

        Raises:
            RecipeError: a classifier that isn't named under `white_box` was attacked.
        """
        output_of: dict[str, Mapping[str, int] | None] = {}
        for answer in answers(samples, self.everyone(ctx), ctx):
            row, sample = predicted(answer, ctx), answer.sample
            if answer.alias not in output_of:
                output_of[answer.alias] = outputs_of(answer.alias, answer.model, ctx, (), len(answer.probabilities))
            followed = self.followed(contents_named(sample, "sources"), answer.alias, ctx)
            yield {
                **row,
                **variant_of(sample)._asdict(),
                **_achieved(sample),
                "white_box": followed,
                **_towards(answer, output_of[answer.alias]),
            }

    def figures(self, table: Table, ctx: Context) -> dict[str, Json]:
        """Rates in percent by classifier and variant.

        `fooled` is the mean share of pictures that fool, over the photographs whose original the classifier is right
        about, of a control over those that were attacked; `any` is the share of photographs with a picture that fools,
        where some have several. `above_control` is that rate less the control's, paired by photograph. `robust` has by
        ε the share of photographs on which it is right on the original and on all attacked pictures with at most that
        ε; `clean` and `control` are its accuracy on the same photographs. These have all those pictures; of an attacked
        model they are also those that it alone is wrong about, which weren't attacked. `attacks` has what each attack
        cost. `followed` are the variants that were made to fool a model. `not_attacked` are models under `white_box`
        that no picture was made to fool. `chosen` are attacks of which only successes are there, so they have no
        `robust`.

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
        names = self.all_named(table)
        common: dict[str, Json] = {**self.common(table), "attacks": {}, "classifiers": {}}
        if not len(table):
            return common
        data = paired(table, names)
        variants, hits = variants_of(table), data.right
        if any(one.target for one in variants.values()):
            hits = _arranged(table, names, "correct", table["hit"]).right
        zeros = np.asarray(table["zero_gradients"], np.float64)
        lost = _arranged(table, names, "correct", zeros > 0).right
        told = set(table["variant"].astype(str)[np.isfinite(zeros)].tolist())
        order = [data.variants[one] for one in data.order if data.variants[one] in variants]
        results = Results(self.resamples(data.sources, ctx, data.units))
        white = _followed(table)
        whole = [data.originals(number)[1] for number, alias in enumerate(names) if alias in white]
        classifiers: dict[str, Json] = {}
        for number, alias in enumerate(names):
            own = data.originals(number)[1]
            several = [one for one in whole if not np.array_equal(one, own)]  # one network may have two names
            others = np.all([*several, np.ones(data.sources, bool)], axis=0)
            found = _of_model(data, number, variants, order, results, white.get(alias, frozenset()), others,
                              hits[number], lost[number], told)  # fmt: skip
            said: dict[str, Json] = {"outputs": data.outputs[number], "preprocessing": data.preprocessing[number]}
            classifiers[alias] = {**said, **found}
        aimed, diversity = _aims(table, data, names, variants, order, white, results)
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
    return _variant(last_of(sample).requested)


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


def _achieved(sample: Sample) -> dict[str, float]:
    """What the attack cost and changed; NaN for what its record doesn't say."""
    found = last_of(sample).achieved
    return {name: number_in(found.get(name)) for name in ("linf", "l2", "zero_gradients", *COSTS)}


def _towards(answer: Answer, output_of: Mapping[str, int] | None) -> Row:
    """The columns `hit`, `p_target` and `target_loss` of an answer."""
    sample, own = answer.sample, variant_of(answer.sample)
    listed = last_of(sample).achieved.get("targets") if own.attack == CONTROL else [own.target]
    targets = [one for one in listed if isinstance(one, str) and one] if isinstance(listed, list) else []
    places = [label_indices([one]) if output_of is None else known([one], output_of) for one in targets]
    hit = bool(own.target and places) and int(answer.probabilities.argmax()) in places[0]
    chances = np.array([answer.probabilities[list(one)].sum() for one in places if one], np.float64)
    if not len(chances):
        return {"hit": hit, "p_target": math.nan, "target_loss": math.nan}
    return {
        "hit": hit,
        "p_target": float(chances.mean()),
        "target_loss": float(-np.log(chances.clip(LEAST, 1)).mean()),
    }


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
    others: Bools,
    hits: Bools,
    lost: Bools,
    told: Set[str],
) -> dict[str, Json]:
    """Figures of one model, which was `followed` in some variants; `results` completes them.

    `others` are the sources that all other attacked models are right about, `[S]`. `hits` and `lost` are by picture.
    """
    (scored, clean), right = data.originals(number), data.right[number]
    mine = data.edits(number, scored)
    made, wrong = data.cells(mine), data.cells(mine, ~right)
    there, at = made > 0, {name: data.variants.index(name) for name in order}
    controls = {name: one for name, one in variants.items() if one.attack == CONTROL}
    found = rates(data, number, clean, {name: _control_of(name, variants[name], controls) for name in order}, results)
    marked = [data.cells(mine, one) / np.maximum(made, 1) for one in (hits, lost, ~right & ~lost)]
    for name in [one for one in found if one not in controls]:
        asked = _column(there[:, at[name]] & clean)
        hit, zero, unaided = (one[:, [at[name]]] * asked for one in marked)
        if variants[name].target:
            found[name]["hit"] = results.told(hit, asked)
        if name in followed and name in told:
            found[name] |= {"zero_gradient": results.told(zero, asked), "unaided": results.told(unaided, asked)}
    attacks = {name: variants[name].epsilon for name in order if name not in controls and not variants[name].chosen}
    robust: dict[str, Json] = {}
    for epsilon in sorted({*attacks.values()} - {0}):
        under = [at[name] for name, level in attacks.items() if 0 < level <= epsilon]
        every = scored & there[:, under].all(1)
        counted = every | (scored & ~clean & others) if followed else every
        if not counted.any():
            continue
        held = clean & every & (wrong[:, under] == 0).all(1)
        figure: dict[str, Json] = {
            "n": int(counted.sum()),
            "attacks": len(under),
            "clean": results.told(_column(counted & clean), _column(counted)),
            "robust": results.told(_column(counted & held), _column(counted)),
        }
        signs = [at[name] for name, one in controls.items() if name in at and one.epsilon == epsilon and not one.like]
        if signs and (both := counted & there[:, signs[0]]).any():
            figure["control"] = results.told(_column(both & (wrong[:, signs[0]] == 0)), _column(both))
        robust[str(epsilon)] = figure
    return {"followed": [*sorted(followed)], "n": int(scored.sum()), "variants": found, "robust": robust}


def rates(
    data: Paired, number: int, clean: Bools, control_of: Mapping[str, str], results: Results
) -> dict[str, dict[str, Json]]:
    """`n`, `fooled`, `any` and `above_control` of one model by variant, over `clean` sources; `results` completes them.

    `control_of` has of each variant its control, `""` for none.
    """
    mine = data.edits(number, clean)
    made, wrong = data.cells(mine), data.cells(mine, ~data.right[number])
    there, share, at = made > 0, wrong / np.maximum(made, 1), {name: data.variants.index(name) for name in control_of}
    found: dict[str, dict[str, Json]] = {}
    for name, own in at.items():
        asked = there[:, own]
        if tried := [at[one] for one, control in control_of.items() if control == name]:
            asked = asked & there[:, tried].any(1)  # the photographs that were attacked
        if not asked.any():
            continue
        found[name] = {"n": int(asked.sum()), "fooled": results.told(_column(share[:, own] * asked), _column(asked))}
        if made[:, own].max() > 1:
            found[name]["any"] = results.told(_column((wrong[:, own] > 0) & asked), _column(asked))
        control = at.get(control_of[name])
        if control is not None and (both := asked & there[:, control]).any():
            change = (share[:, own] - share[:, control]) * both
            found[name]["above_control"] = results.told(_column(change), _column(both), True)
    return found


def _followed(table: Table) -> dict[str, frozenset[str]]:
    """By classifier, the variants of which pictures were made to fool it; other classifiers are left out."""
    rows = table["white_box"].astype(bool)
    models, variants = (table[name][rows].astype(str).tolist() for name in ("classifier", "variant"))
    pairs = set(zip(models, variants, strict=True))
    return {model: frozenset(one for other, one in pairs if other == model) for model in models}


def _aims(
    table: Table,
    data: Paired,
    names: Sequence[str],
    variants: Mapping[str, Variant],
    order: Sequence[str],
    white: Mapping[str, Collection[str]],
    results: Results,
) -> tuple[dict[str, dict[str, dict[str, Any]]], list[Any]]:
    """How likely the classes that pictures aim at are, by classifier and variant; and d(i, j) of classifiers."""
    loss, chance = (_arranged(table, names, "confidence", table[one]).confidence for one in ("target_loss", "p_target"))
    at = {name: data.variants.index(name) for name in order if variants[name].attack in (FEATURES, CONTROL)}
    found: dict[str, dict[str, dict[str, Any]]] = {}
    sums = []
    for number, name in enumerate(names):
        mine = data.edits(number, np.ones(data.sources, bool)) & np.isfinite(loss[number])
        mine &= np.nan_to_num(loss[number]) + np.nan_to_num(chance[number]) > 0
        top, part, bottom = (data.parts(mine, one) for one in (loss[number], chance[number], None))
        sums.append((top, bottom))
        for variant in (one for one, column in at.items() if bottom[:, column].any()):
            own = [at[variant]]
            found.setdefault(name, {})[variant] = {
                "n": int(bottom[:, own].sum()),
                "target_loss": results.told(top[:, own], bottom[:, own]),
                "p_target": results.told(part[:, own], bottom[:, own]),
            }
    made = [[at[one] for one in white.get(name, ()) if one in at] for name in names]
    diversity: list[Any] = []
    for one, other in combinations(range(len(names)), 2):
        if len(made[one]) == len(made[other]) == 1 and made[one] != made[other]:
            crossed = (sums[one], made[other]), (sums[other], made[one])
            top, bottom = (np.concatenate([of[part][:, own] for of, own in crossed], axis=1) for part in (0, 1))
            if bottom.any(axis=0).all():
                diversity.append(results.told(top, bottom, between=[names[one], names[other]]))
    return found, diversity


def _arranged(table: Table, names: Sequence[str], column: str, values: Any) -> Paired:
    """The answers of classifiers, with other values of one column."""
    import pyarrow as pa

    at = table.arrow.column_names.index(column)
    return paired(Table(table.arrow.set_column(at, column, pa.array(values))), names)


def in_nats(figures: Iterable[dict[str, Any]]) -> None:
    """Turn figures in percent into such in units of 1."""
    for figure in figures:
        figure |= {end: round(figure[end] / 100, 3) for end in ("value", "low", "high")}


def _control_of(name: str, variant: Variant, controls: Mapping[str, Variant]) -> str:
    """The control of an attack: of the same L2 norm if there is one, else of the same ε; `""` for none."""
    like = [one for one, what in controls.items() if what.like == name]
    same = [one for one, what in controls.items() if variant.epsilon and what.epsilon == variant.epsilon]
    return next(iter([*like, *same]), "") if variant.attack != CONTROL else ""


def _column(values: Bools | Floats) -> Floats:
    return values.astype(np.float64)[:, None]


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
    sure = asked.beside(edits, asked.original & asked.right)
    names, column = asked.variants(sure) if len(sure) else ([], sure)
    if names:
        axes = axes_of(names, asked.requests())
        controls = [name for name, one in requests.items() if one.attack == CONTROL]
        noise = asked.beside(np.flatnonzero(np.isin(asked.variant, controls) & asked.scored), sure)
        said = "control" if len(controls) == 1 else "controls"
        note = f"{asked.model}: {100 * np.mean(~asked.right[noise]):.1f} % by the {said}" if len(noise) else ""
        yield asked.share("fooled", sure, ~asked.right[sure], column, names, axes=axes, note=note)
    else:
        yield Answers("fooled", asked.model, why_not="it is right about no attacked photograph")
    if any(requests[name].chosen for name in attacks):
        yield Answers("withstood", asked.model, why_not="the edition has only pictures that fool the attacked models")
        return
    (_, which), root = asked.variants(edits), asked.photographs.root
    made = np.bincount(np.unique(np.stack([root[edits], which]), axis=1)[0], minlength=int(root.max()) + 1)
    whole = originals[made[root[originals]] == len(attacks)]
    if not len(whole):
        yield Answers("withstood", asked.model, why_not="no photograph has a picture of every attack")
        return
    value = asked.right[whole] & ~np.isin(root[whole], root[edits[~asked.right[edits]]])
    note = f"{len(attacks)} attacks"
    yield asked.share("withstood", whole, value, np.zeros(len(whole), np.int64), ["original"], shown=False, note=note)
