"""Counts of an edition's pictures from source to release, by class, source and reason, as tables and as a plot."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from variorum.reports.plots import TEXT, dress, new, png, points, short, style
from variorum.schemas.manifest import Manifest

ACTIONS = ("kept", "weight", "unasked", "relabel", "review", "drop", "withhold")
COLOURS = {
    "kept": "#d6d6d6",
    "weight": "#a8a8a8",
    "unasked": "#f0e442",
    "relabel": "#0072b2",
    "review": "#56b4e9",
    "drop": "#d55e00",
    "withhold": "#000000",
}
"""Of Okabe & Ito, with grey for what stays as it was."""
NAMES = {
    "kept": "kept",
    "weight": "kept with a weight",
    "unasked": "not asked",
    "relabel": "relabelled",
    "review": "sent to people",
    "drop": "dropped",
    "withhold": "withheld",
}
COLUMNS = ("variant", "status", "labels", "origin", "licence", "split", "config", "action", "by", "why", "given")
"""Columns that are counted. The last four are missing in an edition that isn't a release."""
TOUCHED = ("withhold", "drop", "relabel", "review")
"""Actions whose reasons are counted by group."""
MOST = 20
"""Groups that a table or plot shows; an edition may have thousands of classes."""
WIDTH = 980
"""Of the plot, in pixels of a card, as all that follow; two panels side by side need more than one column."""
BAR, TITLE_LINE, LINE, EDGE = 25, 32, 24, 18
"""Heights of a bar, of a panel's title and of a line of text, and width of the margin."""
NAMED, LONGEST = 232, 28
"""Width of the labels beside the bars, and their characters."""


@dataclass(frozen=True, slots=True)
class Group:
    """Counts of a group of pictures.

    Attributes:
        actions: number of pictures by action, one of `ACTIONS`.
        reasons: number of pictures by (action, reason), for the actions in `TOUCHED`.
    """

    actions: Counter[str] = field(default_factory=Counter)
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def pictures(self) -> int:
        """Number of pictures."""
        return self.actions.total()

    @property
    def touched(self) -> int:
        """Number of pictures withheld, dropped, relabelled or sent to review."""
        return sum(self.actions[action] for action in TOUCHED)

    def __add__(self, other: Group) -> Group:
        return Group(self.actions + other.actions, self.reasons + other.reasons)


@dataclass(frozen=True, slots=True)
class Funnel:
    """A release in counts.

    Attributes:
        stages: (stage, number of pictures), from first to last.
        reasons: (action, step, reason, number of pictures), most frequent first.
        groups: by kind (`class`, `variant`, `source`, `licence`; with several also `split` and `configuration`), the
            groups by name, most affected first.
        class_folders: whether the class folders are the pictures' only folders, so that there are no `source` groups.
    """

    stages: list[tuple[str, int]]
    reasons: list[tuple[str, str, str, int]]
    groups: dict[str, dict[str, Group]]
    class_folders: bool


def funnel(manifest: Manifest, rows: Any) -> Funnel:
    """The counts of a release, or the first stages of an edition, from its `edition_rows`."""
    names = dict(manifest.classes)
    known = {*names, *names.values()}
    reasons: Counter[tuple[str, str, str]] = Counter()
    more = {"split": "split"} if len(manifest.splits()) > 1 else {}
    if len(manifest.configs()) > 1 and manifest.recipe.get("configs") not in ("variant", "licence"):
        more["configuration"] = "config"
    kinds = ("class", "variant", "source", "licence", *more)
    groups: dict[str, defaultdict[str, Group]] = {kind: defaultdict(Group) for kind in kinds}
    tried = made = judged = kept = 0
    folders = False
    for batch in rows.select([name for name in COLUMNS if name in rows.column_names]).to_batches():
        for row in batch.to_pylist():
            tried += 1
            made += row["status"] in ("accepted", "quarantined", "dropped", "withheld")
            # one that the build withheld was never judged
            if row["status"] not in ("accepted", "dropped") and row.get("action") != "withhold":
                continue
            judged += 1
            kept += row["status"] == "accepted"
            action = row.get("action")
            if action:
                reasons[action, row["by"], row["why"]] += 1
            labels = row.get("given") or row["labels"] or [""]
            name = names.get(labels[0], labels[0])
            folders |= "/" in row["origin"]
            places = {
                "class": name or "unlabelled",
                "variant": row["variant"],
                "source": source_of(row["origin"], known),
                "licence": row["licence"] or "none given",
                **{kind: row[column] or "none" for kind, column in more.items()},
            }
            for kind, place in places.items():
                group = groups[kind][place]
                group.actions[action if action in ACTIONS else "kept"] += 1
                if action in TOUCHED:
                    group.reasons[action, row["why"]] += 1
    stages = [("source pictures", manifest.sources), ("pictures asked for", tried), ("made", made)]
    stages += [("passed the checks", judged)]
    if manifest.ledger:
        stages += [("kept by curation", kept)]
    if set(groups["source"]) == {""}:
        del groups["source"]
    elif "" in groups["source"]:
        groups["source"]["no folder"] = groups["source"].pop("") + groups["source"].get("no folder", Group())
    return Funnel(
        stages,
        sorted(((*cause, number) for cause, number in reasons.items()), key=lambda x: (-x[3], x[:3])),
        {kind: most_affected(found) for kind, found in groups.items() if found},
        class_folders=folders and "source" not in groups,
    )


def source_of(origin: str, classes: Collection[str]) -> str:
    """The first folder of a picture's path that isn't named after a class; `""` without one.

    Of any class: a picture that has been relabelled still lies in the folder of its former class.
    """
    return next((part for part in origin.split("/")[:-1] if part not in classes), "")


def most_affected(groups: Mapping[str, Group]) -> dict[str, Group]:
    """Groups by share of `touched` pictures, highest first; ties by size, largest first."""

    def turn(pair: tuple[str, Group]) -> tuple[float, int, str]:
        name, group = pair
        return -group.touched / max(1, group.pictures), -group.pictures, name

    return dict(sorted(groups.items(), key=turn))


def worst(groups: Mapping[str, Group], most: int = MOST) -> tuple[dict[str, Group], int, Group]:
    """The first `most` groups with `touched` pictures, the number of other groups, and their sum."""
    shown = dict([(name, group) for name, group in groups.items() if group.touched][:most])
    others = [group for name, group in groups.items() if name not in shown]
    return shown, len(others), sum(others, Group())


def why(group: Group, most: int = 4) -> str:
    """A group's reasons with their counts, most frequent first: `copy 3, wrong_label 2`."""
    by_reason: Counter[str] = Counter()
    for (_, reason), number in group.reasons.items():
        by_reason[reason] += number
    ordered = sorted(by_reason.items(), key=lambda pair: (-pair[1], pair[0]))
    if len(ordered) > most + 1:
        ordered = [*ordered[:most], ("others", sum(number for _, number in ordered[most:]))]
    return ", ".join(f"{reason} {number}" for reason, number in ordered)


def plot(found: Funnel) -> bytes:
    """A PNG with the funnel, the reasons, and the most affected classes and sources."""
    with style():
        return png(_drawn(found))


def _drawn(found: Funnel) -> Any:
    panels = {kind: _bars(found.groups.get(kind, {})) for kind in ("class", "source", "variant", "licence")}
    panels = {kind: bars for kind, bars in panels.items() if len(bars) > 1} or {"class": panels["class"]}
    if "class" in panels:  # with other groups too, the plot would get too long
        panels = {kind: bars for kind, bars in panels.items() if kind in ("class", "source")}
    causes = [(action, reason, number) for action, _, reason, number in found.reasons if action in ACTIONS][:MOST]
    left = [len(found.stages), *([len(causes)] if causes else [])]
    right = [max(1, len(bars)) for bars in panels.values()]
    actions = [
        action for action in ACTIONS if any(group.actions[action] for bars in panels.values() for _, group in bars)
    ]
    legend = LINE * -(-len(actions) // 3)
    height = max(_below(left), _below(right) + LINE + legend) + EDGE
    figure = new(WIDTH, height, layout=None)
    stages, *reasons = _stack(figure, left, height, 0)
    _numbers(stages, found.stages, ["#6d6d6d"] * len(found.stages), "From source to release")
    if reasons:
        labels = [(f"{NAMES[action]}: {reason}", number) for action, reason, number in causes]
        _numbers(reasons[0], labels, [COLOURS[action] for action, *_ in causes], "Verdicts and reasons")
    axes = _stack(figure, right, height, WIDTH // 2)
    for place, (kind, bars) in zip(axes, panels.items(), strict=True):
        _shares(place, bars, f"By {kind}, most affected first")
    axes[-1].set_xlabel("% of the judged pictures")
    handles = {
        label: handle for place in axes for handle, label in zip(*place.get_legend_handles_labels(), strict=True)
    }
    if handles:
        top = 1 - (_below(right) + LINE) / height
        figure.legend(handles.values(), handles, loc="upper right", bbox_to_anchor=(1, top), ncols=3, frameon=False)
    return figure


def _below(panels: list[int]) -> int:
    """Height of panels of this many bars, in pixels of a card."""
    return sum(TITLE_LINE + BAR * bars + LINE for bars in panels)


def _bars(groups: Mapping[str, Group]) -> list[tuple[str, Group]]:
    """The groups that a plot shows: the worst ones by name, and the others as one."""
    if len(groups) <= MOST:
        return list(groups.items())
    shown, others, rest = worst(groups)
    return [*shown.items(), (f"{others} others", rest)]


def _stack(figure: Any, panels: list[int], height: float, left: float) -> list[Any]:
    """Axes below each other, one per panel of so many bars, with room for labels on the left; all bars are as thick."""
    axes = []
    for number, bars in enumerate(panels):
        bottom = height - _below(panels[: number + 1]) + LINE
        place = (left + NAMED) / WIDTH, bottom / height, (WIDTH // 2 - NAMED - EDGE) / WIDTH, BAR * bars / height
        axes.append(figure.add_axes(place))
    return axes


def _numbers(axes: Any, rows: list[tuple[str, int]], colours: list[str], title: str) -> None:
    numbers = [number for _, number in rows]
    axes.barh(range(len(rows)), numbers, color=colours, height=0.62)
    axes.set_yticks(range(len(rows)), [short(what, LONGEST) for what, _ in rows])
    for place, number in enumerate(numbers):
        axes.text(number, place, f" {number:,}", va="center_baseline")
    axes.set_xlim(0, 1.25 * max([1, *numbers]))
    axes.set_xticks([])
    axes.set_ylim(-0.5, len(rows) - 0.5)
    axes.spines["bottom"].set_visible(False)
    _dress(axes, title)


def _shares(axes: Any, bars: list[tuple[str, Group]], title: str) -> None:
    start = [0.0] * len(bars)
    for action in ACTIONS:
        shares = [100 * group.actions[action] / max(1, group.pictures) for _, group in bars]
        if any(shares):
            axes.barh(range(len(bars)), shares, left=start, color=COLOURS[action], label=NAMES[action], height=0.72)
        start = [a + b for a, b in zip(start, shares, strict=True)]
    numbers = [f" ({group.pictures:,})" for _, group in bars]
    named = [short(name, LONGEST - len(number)) + number for (name, _), number in zip(bars, numbers, strict=True)]
    axes.set_yticks(range(len(bars)), named)
    axes.set_xlim(0, 100)
    axes.set_ylim(-0.5, max(1, len(bars)) - 0.5)
    _dress(axes, title)


def _dress(axes: Any, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=points(TEXT + 1))
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    dress(axes)
