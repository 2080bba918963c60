"""Known limits of an edition: what its manifest alone says that readers should be careful with."""

from __future__ import annotations

from variorum.reports.hub_types import ATTACKED
from variorum.reports.licence_facts import UNKNOWN
from variorum.schemas.manifest import Manifest, is_dev


def limits(manifest: Manifest) -> list[str]:
    """The limits, one sentence or two each, the more general ones first."""
    recipe, found = manifest.recipe, []
    if is_dev(manifest.version):
        found.append("The version is a -dev version, which may be made anew with other pictures.")
    if manifest.classes and "labels.json" not in manifest.members:
        found.append("Any labels are those of the source; nobody reviewed them for this edition.")
    if manifest.filters:
        found.append(
            f"{_several(len(manifest.filters), 'model')} decided which pictures were made or accepted and may not be "
            "measured on these alone. Models like these may find the pictures easier than others do, or harder if the "
            "pictures were made to fool them."
        )
    gone = ("failed", "quarantined", "ineligible")
    counted = [pair for counts in manifest.counts.values() for pair in counts.items()]
    lost = sum(n for key, n in counted if key.partition(":")[0] in gone)
    if lost:
        found.append(
            "Pictures are missing, and not at random: those that failed, weren't made or didn't pass a check "
            f"({lost:,})."
        )
    if said := unstored(manifest):
        found.append(said)
    splits = manifest.splits()
    if len(splits) == 1:
        found.append(
            f"There is one split, {next(iter(splits))}; a training set and a test set from it must be drawn apart."
        )
    if manifest.profile == "embedded" and manifest.models:
        found.append("It was made with the small models of the profile embedded, not with the checkpoints of a paper.")
    unknown = sum(number for licence, number in manifest.licences.items() if licence.strip().lower() in UNKNOWN)
    if unknown:
        found.append(f"The licence of {_several(unknown, 'picture')} isn't known.")
    if recipe.get("generate"):
        found.append(
            "Pictures were changed or made by programs; how models fare on them needn't be how they fare outside."
        )
    return found


def unstored(manifest: Manifest) -> str:
    """What was made and judged for an edition and isn't stored, and how to have it; `""` if there is nothing."""
    if ATTACKED not in manifest.members:
        return ""
    return (
        f"Attacked pictures were judged when they were made and aren't stored; the member {ATTACKED} has the record "
        "and the sha256 of each. Whoever has the edition's keys can store them, to the byte: the same command with "
        "--set generate.watermark_attack.keep=pictures."
    )


def _several(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
