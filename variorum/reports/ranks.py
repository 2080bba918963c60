"""Rank the change between two editions for their readers: major, minor or patch, by rules and never by opinion.

`docs/guides/compare_versions.md` has the rules for readers; `KINDS` and the functions below are them in code.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from variorum.edition.editions import release_number
from variorum.edition.shards import ANNOTATIONS, PICTURES
from variorum.reports.diff import Change
from variorum.schemas.manifest import Manifest, is_dev

RANKS = ("none", "patch", "minor", "major")
"""By severity. `none`: the same edition, to the byte."""
KINDS = {
    "dropped": "major",
    "withheld": "major",
    "changed": "major",
    "relabelled": "major",
    "moved": "major",
    "annotated": "major",
    "added": "minor",
}
"""Rank of each kind of `Change`; `annotated` is minor where the earlier edition has no annotations at all."""
NAMES = ("version", "fingerprint", "units")
"""Fields of a manifest that differ between any two versions and say nothing about their content."""


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason for a rank, as `4 pictures dropped`."""

    rank: str
    text: str


@dataclass(frozen=True, slots=True)
class Rank:
    """The change of the second of two editions for readers of the first.

    Attributes:
        rank: one of `RANKS`, the most severe of the reasons.
        reasons: the most severe first; empty for `none`.
        fits: whether the step from the first version's number to the second's is large enough; None where the numbers
            promise nothing: other datasets, releases of one edition, -dev versions, a version that isn't later.
        step: the step of the numbers, one of `RANKS`; `""` where `fits` is None.
        needed: the smallest number that fits; `""` where `fits` is None.
    """

    rank: str
    reasons: tuple[Reason, ...]
    fits: bool | None = None
    step: str = ""
    needed: str = ""

    @property
    def why(self) -> str:
        """The reasons on one line."""
        return ", ".join(reason.text for reason in self.reasons) or "the same edition, to the byte"


def rank_of(first: Manifest, second: Manifest, changes: Sequence[Change]) -> Rank:
    """The rank of the differences of two editions."""
    found = [*_in_pictures(first, second, changes), *_in_form(first, second)]
    if not found and first.digest() != second.digest():
        found = [Reason("patch", _elsewhere(first, second))]
    reasons = tuple(sorted(found, key=lambda reason: -RANKS.index(reason.rank)))
    rank = reasons[0].rank if reasons else "none"
    if (step := _step(first, second)) is None:
        return Rank(rank, reasons)
    numbers = _numbers(first.version)
    fits = RANKS.index(step) >= RANKS.index(_promised(rank, numbers))
    return Rank(rank, reasons, fits, step, _next(numbers, rank))


def _in_pictures(first: Manifest, second: Manifest, changes: Sequence[Change]) -> Iterator[Reason]:
    """The reasons in pictures, labels, splits and annotations."""
    counted = Counter(change.kind for change in changes)
    first_annotated = ANNOTATIONS in first.members
    for kind, number in counted.items():
        new = kind == "annotated" and not first_annotated and ANNOTATIONS in second.members
        yield Reason("minor" if new else KINDS[kind], f"{number} picture{'s' if number > 1 else ''} {kind}")


def _in_form(first: Manifest, second: Manifest) -> Iterator[Reason]:
    """The reasons in what all samples have: format, members, classes."""
    if first.format != second.format:
        yield Reason("major", f"format {second.format} after {first.format}")
    had, has = set(first.members), set(second.members)
    for member in sorted(had - has):
        yield Reason("major", f"no member {member} any more")
    for member in sorted(has - had):
        # readers of one format's column miss the pictures that are in another one
        other = member in PICTURES and any(one in PICTURES for one in had)
        yield Reason("major" if other else "minor", f"new member {member}")
    if second.classes[: len(first.classes)] != first.classes:
        yield Reason("major", "classes are gone, renamed or numbered otherwise")
    elif more := len(second.classes) - len(first.classes):
        yield Reason("minor", f"{more} more class{'es' if more > 1 else ''}")


def _elsewhere(first: Manifest, second: Manifest) -> str:
    """List what differs between editions with the same pictures, labels and splits, by the manifest's fields."""

    def parts(manifest: Manifest) -> dict[str, object]:
        kept = {name: value for name, value in manifest.model_dump(mode="json").items() if name not in NAMES}
        recipe = kept["recipe"]
        return {**kept, "recipe": {name: value for name, value in recipe.items() if name != "version"}}

    one, other = parts(first), parts(second)
    differing = [name for name in one if one[name] != other[name]]
    same = "the same pictures, labels and splits"
    return f"{same}, other {', '.join(differing)}" if differing else f"{same} under another version"


# ── numbers ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _numbers(version: str) -> tuple[int, int, int]:
    number = release_number(version)
    base = version if number is None else version.removesuffix(f"-r{version.rpartition('-r')[2]}")
    major, minor, patch = (int(part) for part in base.removesuffix("-dev").split("."))
    return major, minor, patch


def _step(first: Manifest, second: Manifest) -> str | None:
    """The rank that the step from one version's number to the other's stands for; None if it stands for none."""
    one, other = _numbers(first.version), _numbers(second.version)
    if first.dataset != second.dataset or other <= one or any(is_dev(each.version) for each in (first, second)):
        return None
    return "major" if other[0] > one[0] else "minor" if other[1] > one[1] else "patch"


def _promised(rank: str, numbers: tuple[int, int, int]) -> str:
    """The step that a rank needs: before 1.0.0 nothing is promised, and a minor step may change anything."""
    return "minor" if rank == "major" and numbers[0] == 0 else rank


def _next(numbers: tuple[int, int, int], rank: str) -> str:
    major, minor, patch = numbers
    step = _promised(rank, numbers)
    if step == "major":
        return f"{major + 1}.0.0"
    return f"{major}.{minor + 1}.0" if step == "minor" else f"{major}.{minor}.{patch + 1}"
