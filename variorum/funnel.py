"""Where an edition's pictures went: from what was read to what a release keeps, by class and by reason."""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import dataclass
from typing import Any

from schemas.manifest import Manifest
from variorum.store import Store
from variorum.tables import read_table

ACTIONS = ("kept", "weight", "relabel", "review", "drop")
COLOURS = {"kept": "#5b8a72", "weight": "#a9c3b3", "relabel": "#4a6fa5", "review": "#e0b04c", "drop": "#b0392e"}
NAMES = {
    "kept": "kept",
    "weight": "kept with a weight",
    "relabel": "relabelled",
    "review": "to people",
    "drop": "dropped",
}
MOST = 30
"""Groups that a table or a plot shows; an edition may have thousands of classes."""


@dataclass(frozen=True, slots=True)
class Funnel:
    """A release in counts.

    Attributes:
        stages: (what, number of pictures), from first to last.
        reasons: (action, step, reason, number), most frequent first.
        groups: kind of group (`class`, `variant`, `source`) to group to action to number; the most affected first.
    """

    stages: list[tuple[str, int]]
    reasons: list[tuple[str, str, str, int]]
    groups: dict[str, dict[str, dict[str, int]]]


def funnel(manifest: Manifest, store: Store) -> Funnel:
    """The counts of a release; of an edition that wasn't curated, its first stages."""
    import pyarrow.parquet as pq

    names = dict(manifest.classes)
    rows: list[dict[str, Any]] = []
    wanted = ["variant", "status", "labels", "origin", "licence"]
    for info in manifest.rows:
        there = pq.read_schema(store.path(info, ".parquet")).names
        columns = [*wanted, *(name for name in ("action", "by", "why", "given") if name in there)]
        rows += read_table(store, [info], columns).to_pylist()
    tried = len(rows)
    made = [row for row in rows if row["status"] in ("accepted", "quarantined", "dropped")]
    judged = [row for row in made if row["status"] != "quarantined"]
    kept = [row for row in judged if row["status"] == "accepted"]
    stages = [("source pictures", manifest.sources), ("pictures asked for", tried), ("made", len(made))]
    stages += [("passed the checks", len(judged))]
    if manifest.ledger:
        stages += [("kept by curation", len(kept))]
    reasons = Counter((row["action"], row["by"], row["why"]) for row in judged if row.get("action"))
    groups: dict[str, dict[str, dict[str, int]]] = {"class": {}, "variant": {}, "source": {}}
    for row in judged:
        labels = row.get("given") or row["labels"]
        label = labels[0] if labels else ""
        places = {
            "class": names.get(label, label) or "unlabelled",
            "variant": row["variant"],
            "source": row["origin"].partition("/")[0] if "/" in row["origin"] else row["licence"],
        }
        for kind, group in places.items():
            tally = groups[kind].setdefault(group, dict.fromkeys(ACTIONS, 0))
            action = row.get("action") or "kept"
            tally[action if action in tally else "kept"] += 1
    if set(groups["source"]) <= {label for label, _ in manifest.classes}:
        del groups["source"]  # class folders
    return Funnel(
        stages,
        sorted(((*cause, number) for cause, number in reasons.items()), key=lambda x: (-x[3], x[:3])),
        {kind: _most_affected(tallies) for kind, tallies in groups.items() if len(tallies) > 1},
    )


def plot(found: Funnel) -> bytes:
    """The funnel and the most affected classes as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    groups = found.groups.get("class") or found.groups.get("variant") or {}
    shown = dict(list(groups.items())[:MOST])
    height = max(2.6, 1.0 + 0.24 * len(shown))
    figure = Figure(figsize=(11, height), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.25))
    labels, numbers = [what for what, _ in found.stages], [number for _, number in found.stages]
    left.barh(labels, numbers, color="#5b8a72", height=0.62)
    for place, number in enumerate(numbers):
        left.text(number, place, f" {number:,}", va="center", fontsize=9)
    left.set_xlim(0, 1.16 * max([1, *numbers]))
    left.set_title("From source to release", loc="left", fontsize=11)
    start = [0.0] * len(shown)
    totals = [max(1, sum(tally.values())) for tally in shown.values()]
    for action in ACTIONS:
        shares = [100 * tally[action] / total for tally, total in zip(shown.values(), totals, strict=True)]
        if any(shares):
            names = [_short(f"{group} ({total})") for group, total in zip(shown, totals, strict=True)]
            right.barh(names, shares, left=start, color=COLOURS[action], label=NAMES[action], height=0.72)
        start = [a + b for a, b in zip(start, shares, strict=True)]
    right.set_xlim(0, 100)
    right.set_xlabel("% of the pictures judged")
    right.set_title(
        "By class, the most affected first" if "class" in found.groups else "By variant", loc="left", fontsize=11
    )
    if shown:
        figure.legend(fontsize=9, loc="outside lower right", ncols=len(ACTIONS), frameon=False)
    for axes in (left, right):
        axes.invert_yaxis()
        axes.tick_params(axis="y", labelsize=9)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=110, metadata={"Software": None})
    return out.getvalue()


def _most_affected(tallies: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
    def untouched(pair: tuple[str, dict[str, int]]) -> tuple[float, str]:
        group, tally = pair
        return (tally["kept"] + tally["weight"]) / max(1, sum(tally.values())), group

    return dict(sorted(tallies.items(), key=untouched))


def _short(text: str, most: int = 30) -> str:
    # a dollar sign would begin a formula
    text = text.replace("$", r"\$")
    return text if len(text) <= most else text[: most - 1] + "…"
