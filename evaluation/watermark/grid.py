"""From looks to figures: each mark without an attack, and the grid of attacks and strengths."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from variorum.evaluation.watermark.bound import VACUOUS, distance_of, least_errors, linear_schedule
from variorum.evaluation.watermark.identification import USERS, by_bits, by_p_values
from variorum.evaluation.watermark.mark_rows import Looks, Threshold
from variorum.evaluation.watermark.trading import LEVELS, quality_at
from variorum.generators.watermark.watermarking.quality import q
from variorum.kit.resampling.separation import Draws, Separation
from variorum.kit.resampling.thresholds import share, too_few, unsure
from variorum.schemas.canonical import Json

if TYPE_CHECKING:
    from variorum.arrays import Floats

QUALITY = ("psnr", "ssim", "nmi", "lpips")
SEEN = 30.0
"""PSNR in dB to the picture before the attack, below which people are said to see it. It was judged by eye."""
LOST = 50.0
"""Percent of the marked pictures; a mark of which fewer are found counts as lost."""
BIASED = 2.0
"""Half-widths of its interval that a wrong key's share of right bits may lie off one half."""
SIMPLY = ("none", "black box")
"""Access of an attacker who knows nothing of the mark's inside."""


@dataclass(frozen=True)
class Judge:
    """The thresholds and settings that judge all cells of a mark.

    Attributes:
        clean: looks at pictures that weren't attacked.
        rates: false positive rates, the main one first.
        analytic: threshold by chance for each rate.
        empirical: threshold by unmarked pictures for each rate.
        draws: resamples of the photographs.
        confidence: of all intervals.
        identify: why users can't be told apart; `""` if they can.
    """

    clean: Looks
    rates: tuple[float, ...]
    analytic: Mapping[float, Threshold]
    empirical: Mapping[float, Threshold]
    draws: Draws
    confidence: float
    identify: str

    @property
    def fixed(self) -> Threshold | None:
        """The threshold that performance is measured at: the analytic one of the main rate, where there is one."""
        both = self.analytic[self.rates[0]], self.empirical[self.rates[0]]
        return next((one for one in both if one.known), None)


def mark_figures(
    looks: Looks,
    method: Mapping[str, Any],
    rates: tuple[float, ...],
    draws: Draws,
    confidence: float,
    sure: float | None = None,
) -> dict[str, Json]:
    """All figures of one mark; shares are in percent, AUROC and Q are not. `sure` is of thresholds, see `Threshold`."""
    clean = looks.clean
    controls = looks.where(looks.wrong_key)
    analytic = {rate: Threshold(clean, rate, empirical=False) for rate in rates}
    empirical = {rate: Threshold(clean, rate, empirical=True, sure=sure) for rate in rates}
    control = _control(controls, analytic[rates[0]], confidence)
    judge = Judge(clean, rates, analytic, empirical, draws, confidence, _no_users(method, clean, control))
    marked = clean.has_mark
    quality = {
        name: None if method["made_with"] else _mean(values)
        for name, values in (("psnr", marked.mark_psnr), ("ssim", marked.mark_ssim))
    }
    attacks = {name: attack_figures(name, looks, judge, method) for name in _names(looks)}
    return {
        "method": dict(method),
        "bits": clean.payload,
        "n": len(marked),
        "n_unmarked": len(clean.has_none),
        **quality,
        "thresholds": {
            f"{rate:g}": {"analytic": analytic[rate].said(), "empirical": empirical[rate].said()} for rate in rates
        },
        "clean": cell(clean, judge),
        "false_positives": _false_positives(judge),
        "wrong_key": control,
        "identification": judge.identify,
        "adaptive": [name for name, found in attacks.items() if found["adaptive"]],
        "order": list[Json](attacks),
        "attacks": attacks,
    }


def attack_figures(name: str, looks: Looks, judge: Judge, method: Mapping[str, Any]) -> dict[str, Any]:
    """One attack on a mark: a cell per strength, and the attack's price in quality."""
    mine = looks.own.where(looks.own.attack == name)
    first = mine.where(np.array([0]))
    strengths = np.unique(mine.strength)
    cells = {f"{strength:g}": cell(looks.at(name, strength), judge) for strength in strengths}
    goal, access, about = str(first.goal[0]), str(first.access[0]), bool(first.about_mark[0])
    for strength, found in cells.items():
        found["amount"] = json.loads(str(mine.where(mine.strength == float(strength)).amount[0]))
        if goal == "removal" and not method["made_with"]:
            found["bound"] = _bound(looks.at(name, float(strength)), judge, found["amount"])
    strongest = looks.at(name, float(strengths[-1]))
    found = {
        "component": str(first.component[0]),
        "family": str(first.family[0]),
        "goal": goal,
        "access": access,
        "adaptive": access not in SIMPLY or about,
        "moved": bool(first.moved[0]),
        "strengths": cells,
        "lost": _lost(cells) if goal == "removal" else None,
        "tradeoff": _separation(strongest.has_mark, strongest.has_none, lambda one: one.tradeoff()),
    }
    return found | (_price([*cells.values()], judge) if goal == "removal" else {})


def cell(looks: Looks, judge: Judge) -> dict[str, Any]:
    """One attack at one strength, or none: what is left of the mark, and what the attack did to unmarked pictures."""
    marked, unmarked, draws = looks.has_mark, looks.has_none, judge.draws
    shown = marked if len(marked) else unmarked
    measured = {name: _mean(getattr(shown, name)) for name in QUALITY}
    loss, used = q({name: value for name, value in measured.items() if value is not None})
    clean = judge.clean
    setups = {
        "combined": (marked, unmarked),
        "removal": (marked, clean.has_none),
        "spoofing": (clean.has_mark, unmarked),
    }
    return {
        "n": len(marked),
        "n_unmarked": len(unmarked),
        **measured,
        "seen": None if measured["psnr"] is None or shown.moved.any() else measured["psnr"] < SEEN,
        "q": None if loss is None else round(loss, 4),
        "q_of": list(used),
        "auroc": {
            setup: _separation(*sides, lambda one: one.resampled_auroc(draws)) for setup, sides in setups.items()
        },
        "tpr": {f"{rate:g}": _tpr(marked, unmarked, rate, draws) for rate in judge.rates},
        "bit_accuracy": share(marked.right / np.maximum(marked.bits, 1), marked.photograph, judge.confidence)
        if clean.payload
        else None,
        "analytic": _errors(marked, unmarked, judge.analytic, judge),
        "empirical": _errors(marked, unmarked, judge.empirical, judge),
        "found": None if judge.fixed is None else share(judge.fixed.found(marked), marked.photograph, judge.confidence),
        "identified": _identified(marked, judge),
    }


def _lost(cells: Mapping[str, Mapping[str, Any]]) -> dict[str, Json] | None:
    """The weakest strength after which fewer than half are found, and what it costs; None if there is none."""
    for strength, one in cells.items():
        if one["found"] and one["found"]["value"] < LOST:
            return {"strength": strength, **{name: one[name] for name in ("psnr", "ssim", "seen")}}
    return None


def _separation(marked: Looks, unmarked: Looks, figure: Any) -> Any:
    if not len(marked) or not len(unmarked):
        return None
    return figure(Separation(marked.score, unmarked.score, marked.photograph, unmarked.photograph))


def _tpr(marked: Looks, unmarked: Looks, rate: float, draws: Draws) -> dict[str, Json]:
    """In percent; no value, and why, with too few negatives."""
    negatives = len(np.unique(unmarked.photograph))
    why = too_few(negatives, rate) if len(marked) else "n/a: no marked pictures"
    if why:
        return {"value": None, "why": why}
    warning = unsure(negatives, rate)
    found: dict[str, Json] = _separation(marked, unmarked, lambda one: one.resampled_tpr(rate, draws))
    return {**found, **({"warning": warning} if warning else {})}


def _errors(marked: Looks, unmarked: Looks, thresholds: Mapping[float, Threshold], judge: Judge) -> dict[str, Json]:
    """By rate, the errors in percent at a threshold that no attack moves: of marked and of unmarked pictures."""
    found: dict[str, Json] = {}
    for rate, threshold in thresholds.items():
        if threshold.known:
            found[f"{rate:g}"] = {
                "evasion": share(~threshold.found(marked), marked.photograph, judge.confidence),
                "spoofing": share(threshold.found(unmarked), unmarked.photograph, judge.confidence),
            }
    return found


def _identified(marked: Looks, judge: Judge) -> dict[str, Json] | None:
    """By number of users, how often the right one is found, in percent."""
    if judge.identify or not len(marked):
        return None
    bits = judge.clean.payload
    chances = {n: by_bits(marked.right, bits, n) if bits else by_p_values(marked.p_value, n) for n in USERS}
    return {str(n): share(chance, marked.photograph, judge.confidence) for n, chance in chances.items()}


def _no_users(method: Mapping[str, Any], clean: Looks, control: Mapping[str, Any]) -> str:
    if method["keyed"] == "shared":
        return "n/a: all pictures have the same key"
    if clean.payload:
        return ""
    if not clean.tells_chance:
        return "n/a: the mark has neither bits nor p-values"
    return "" if control["as_expected"] else "n/a: other keys are taken for the right one, see the wrong-key control"


def _control(controls: Looks, threshold: Threshold, confidence: float) -> dict[str, Any]:
    """Measure what a wrong key finds in marked pictures: half of the bits, and false positives as often as promised."""
    bits, found = None, None
    if controls.payload:
        bits = share(controls.right / controls.payload, controls.photograph, confidence)
    if threshold.known:
        found = share(threshold.found(controls), controls.photograph, confidence)
    as_expected = True
    if bits is not None:
        value, half = _float(bits["value"]), (_float(bits["high"]) - _float(bits["low"])) / 2
        as_expected = abs(value - 50) <= max(BIASED * half, 0.5)
    if found is not None:
        as_expected = as_expected and _float(found["low"]) <= 100 * threshold.expected
    return {"n": len(controls), "bit_accuracy": bits, "found": found, "as_expected": as_expected}


def _false_positives(judge: Judge) -> dict[str, Json]:
    """By rate, unmarked pictures without an attack that are taken for marked ones at the analytic threshold."""
    unmarked, found = judge.clean.has_none, dict[str, Json]()
    for rate, threshold in judge.analytic.items():
        hits = threshold.found(unmarked) if threshold.known else np.zeros(0, bool)
        if taken := share(hits, unmarked.photograph, judge.confidence):
            expected = 100 * threshold.expected
            inside = _float(taken["low"]) <= expected
            counts = {"hits": int(hits.sum()), "n": len(hits)}
            found[f"{rate:g}"] = {**taken, **counts, "expected": round(expected, 4), "as_expected": inside}
    return found


def _price(cells: Sequence[Mapping[str, Any]], judge: Judge) -> dict[str, Json]:
    """Performance against loss of quality over the strengths."""
    clean = cell_found(judge)
    pairs = [(one["q"], one["found"]["value"] / 100) for one in cells if one["q"] is not None and one["found"]]
    if clean is None or not pairs:
        return {"mean_p": None, "mean_q": None, **dict.fromkeys(LEVELS)}
    return {
        "mean_p": round(100 * float(np.mean([found for _, found in pairs])), 3),
        "mean_q": round(float(np.mean([loss for loss, _ in pairs])), 4),
        **{name: quality_at(pairs, level, clean) for name, level in LEVELS.items()},
    }


def cell_found(judge: Judge) -> float | None:
    """The share of marked pictures that are found without an attack, in [0, 1]."""
    marked = judge.clean.has_mark
    return None if judge.fixed is None or not len(marked) else float(judge.fixed.found(marked).mean())


def _bound(looks: Looks, judge: Judge, amount: Mapping[str, Any]) -> dict[str, Json] | None:
    """The smallest sum of errors that the theorem leaves, in percent, for noise that is added to pixels."""
    scale = _noise(str(looks.component[0]), amount)
    marked = judge.clean.has_mark
    known = np.isfinite(marked.mark_psnr)
    if scale is None or not known.any():
        return None
    pairs = zip(marked.mark_psnr[known], marked.values[known], strict=True)
    distance = float(np.mean([distance_of(float(psnr), int(values)) for psnr, values in pairs]))
    least = least_errors(distance, *scale)
    return {"distance": round(distance, 3), "least_errors": round(100 * least, 6), "vacuous": least < VACUOUS}


def _noise(component: str, amount: Mapping[str, Any]) -> tuple[float, float] | None:
    """Factor of the picture and deviation of the noise, for pixels from -1 to 1; None for other attacks."""
    step, deviation = amount.get("t"), amount.get("deviation")
    if component == "purification" and isinstance(step, int) and amount.get("times", 1) == 1:
        return linear_schedule(step)
    if component == "distortion" and isinstance(deviation, float):
        return 1.0, 2 * deviation
    return None


def _names(looks: Looks) -> list[str]:
    """Names of the attacks in the order in which they come first."""
    return [name for name in dict.fromkeys(looks.own.attack.tolist()) if name]


def _mean(values: Floats) -> float | None:
    known = values[np.isfinite(values)]
    return round(float(known.mean()), 4) if len(known) else None


def _float(value: Json) -> float:
    assert isinstance(value, int | float)
    return float(value)
