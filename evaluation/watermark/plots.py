"""Plots of the figures: a radar of attacks, curves of what is found against quality, and of both errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from variorum.evaluation.watermark.grid import SEEN
from variorum.schemas.plot import CurvePlot, CurvePoint, Plot, RadarPlot

MOST_AXES = 16
"""Attacks on a radar; with more it has families."""
FEWEST_AXES = 3
MOST_CURVES = 6
"""Attacks with a plot of their own, and lines of a trade-off."""
MOST_TRADED = 4
"""Marks with a trade-off."""
FOUND = "marked pictures found, %"


def plots_of(figures: Mapping[str, Any]) -> dict[str, Plot]:
    """The plots by name."""
    marks: Mapping[str, Any] = {name: _in_order(figures["marks"][name]) for name in figures["names"]}
    found: dict[str, Plot] = {}
    if (radar := _radar(marks)) is not None:
        found["robustness"] = radar
    if means := _means(marks, figures["strengths"]):
        title = "Found against quality, mean over the attacks"
        found["quality"] = CurvePlot(title, "loss of quality Q", FOUND, means, 100.0)
    for number, attack in enumerate(_telling(marks)[:MOST_CURVES], 1):
        moved = any(one["attacks"].get(attack, {}).get("moved") for one in marks.values())
        axis = ("q", "loss of quality Q") if moved else ("psnr", f"PSNR, dB; below {SEEN:g} the attack is seen")
        lines = {name: line for name, one in marks.items() if (line := _line(one["attacks"].get(attack), axis[0]))}
        if lines:
            found[f"quality_{number}"] = CurvePlot(f"Found against quality: {attack}", axis[1], FOUND, lines, 100.0)
    for number, (name, one) in enumerate([*marks.items()][:MOST_TRADED], 1):
        if lines := _traded(one["attacks"]):
            title = f"Both errors of {name} at the strongest attacks"
            across, unit = "spoofing error, % of unmarked pictures", "evasion error, % of marked pictures"
            found[f"tradeoff_{number}"] = CurvePlot(title, across, unit, lines, 100.0)
    return found


def _in_order(one: Mapping[str, Any]) -> dict[str, Any]:
    """A mark's figures with its attacks as the edition has them."""
    return {**one, "attacks": {name: one["attacks"][name] for name in one["order"]}}


def radar_axes(marks: Mapping[str, Any]) -> tuple[str, dict[str, list[str]]]:
    """Choose the axes of the radar, and the attacks whose mean each shows: attacks, or families of many."""
    families: dict[str, str] = {}
    for one in marks.values():
        for name, found in one["attacks"].items():
            if found.get("mean_p") is not None:
                families.setdefault(name, found["family"] or "other")
    if len(families) <= MOST_AXES:
        ordered = sorted(families, key=lambda name: [*dict.fromkeys(families.values())].index(families[name]))
        return "attack", {name: [name] for name in ordered}
    return "family of attacks", {
        family: [name for name in families if families[name] == family] for family in dict.fromkeys(families.values())
    }


def radar_values(one: Mapping[str, Any], axes: Mapping[str, Sequence[str]]) -> list[float | None]:
    """The mean share that is found, for each axis; None where the mark has no figures."""
    values = [
        [one["attacks"][name]["mean_p"] for name in names if one["attacks"].get(name, {}).get("mean_p") is not None]
        for names in axes.values()
    ]
    return [sum(some) / len(some) if some else None for some in values]


def _radar(marks: Mapping[str, Any]) -> RadarPlot | None:
    what, axes = radar_axes(marks)
    if len(axes) < FEWEST_AXES:
        return None
    series = {name: tuple(radar_values(one, axes)) for name, one in marks.items()}
    return RadarPlot(f"Robustness by {what}", f"{FOUND}, mean over its strengths", 100.0, tuple(axes), series)


def _line(attack: Mapping[str, Any] | None, across: str) -> tuple[CurvePoint, ...]:
    """One attack over its strengths, against a figure of its cells."""
    if attack is None or attack["goal"] != "removal":
        return ()
    cells = [one for one in attack["strengths"].values() if one[across] is not None and one["found"]]
    return tuple(CurvePoint(one[across], *(one["found"][end] for end in ("value", "low", "high"))) for one in cells)


def _means(marks: Mapping[str, Any], strengths: Sequence[str]) -> dict[str, tuple[CurvePoint, ...]]:
    """By mark, the mean over all attacks at each strength."""
    found: dict[str, tuple[CurvePoint, ...]] = {}
    for name, one in marks.items():
        removals = [attack for attack in one["attacks"].values() if attack["goal"] == "removal"]
        points = []
        for strength in strengths:
            cells = [attack["strengths"].get(strength) for attack in removals]
            pairs = [
                (one["q"], one["found"]["value"]) for one in cells if one and one["q"] is not None and one["found"]
            ]
            if pairs:
                loss, value = (sum(column) / len(pairs) for column in zip(*pairs, strict=True))
                points.append(CurvePoint(loss, value, value, value))
        if points:
            found[name] = tuple(points)
    return found


def _telling(marks: Mapping[str, Any]) -> list[str]:
    """Names of removals, those first under which least is found."""
    means: dict[str, list[float]] = {}
    for one in marks.values():
        for name, found in one["attacks"].items():
            if found.get("mean_p") is not None:
                means.setdefault(name, []).append(found["mean_p"])
    return sorted(means, key=lambda name: (sum(means[name]) / len(means[name]), name))


def _traded(attacks: Mapping[str, Any]) -> dict[str, tuple[CurvePoint, ...]]:
    """Attacks whose evasion and spoofing errors are largest at the strongest strength."""
    known = {name: one for name, one in attacks.items() if one["tradeoff"]}

    def area(name: str) -> float:
        auroc = [*known[name]["strengths"].values()][-1]["auroc"]["combined"]
        return 1.0 if auroc is None else float(auroc["value"])

    return {
        name: tuple(
            CurvePoint(100 * spoofing, 100 * evasion, 100 * evasion, 100 * evasion)
            for spoofing, evasion in known[name]["tradeoff"]
        )
        for name in sorted(known, key=area)[:MOST_CURVES]
    }
