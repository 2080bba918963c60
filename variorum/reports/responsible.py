"""The fields of Croissant's extension RAI 1.0, which say how a dataset came about and what to be careful with.

Only what the manifest knows is said. Biases and social impact aren't in it, so there is no such field.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from variorum.reports.limits import limits
from variorum.schemas.manifest import Manifest


def responsible(manifest: Manifest, findings: Sequence[str] = ()) -> dict[str, str | list[str]]:
    """The fields `rai:…` of an edition, without those of which nothing is known.

    Args:
        manifest: the edition.
        findings: what curation found of the edition as a whole, in sentences.
    """
    recipe, warning = manifest.recipe, manifest.warning
    found: dict[str, str | list[str]] = {
        "rai:dataCollection": _collection(manifest),
        "rai:dataCollectionMissingData": " ".join(_missing(manifest)),
        "rai:dataManipulationProtocol": _listed("Generators, in order", step_names(recipe.get("generate"))),
        "rai:dataPreprocessingProtocol": [
            text
            for text in (
                _listed("Curated by, in order", step_names(manifest.ledger.curate if manifest.ledger else ())),
                _listed("Models that decided what was accepted", manifest.filters),
            )
            if text
        ],
        "rai:dataAnnotationProtocol": _annotation(manifest),
        "rai:machineAnnotationTools": sorted({*manifest.ledger.models.values()} if manifest.ledger else ()),
        "rai:personalSensitiveInformation": [f"Content warning: {warning}"] if warning else [],
        "rai:dataLimitations": [*findings, *limits(manifest)],
    }
    return {name: value for name, value in found.items() if value}


def _collection(manifest: Manifest) -> str:
    source = manifest.recipe.get("source", {}).get("name")
    samples = f"{manifest.sources} samples" + (f" of the source {source}" if source else "")
    if manifest.ledger:
        return f"A release, made by curating an edition of {samples}."
    return f"An edition made of {samples}."


def _missing(manifest: Manifest) -> list[str]:
    """Count the pictures that aren't there, by status and reason. Withheld ones are never listed by id."""
    totals = Counter[str]()
    for counts in manifest.counts.values():
        totals.update({status: number for status, number in counts.items() if status != "accepted"})
    words = [
        f"{number} {status.replace(':', ' (', 1)}{')' if ':' in status else ''}" for status, number in totals.items()
    ]
    said = [f"Pictures that aren't among the accepted ones: {', '.join(sorted(words))}."] if words else []
    if any(status.startswith("withheld") for status in totals):
        said.append("A withheld picture may not be kept: the index has its hash and labels, and there are no pixels.")
    return said


def _annotation(manifest: Manifest) -> list[str]:
    said = []
    if "labels.json" in manifest.members:
        said.append("People were asked about the labels; labels.json of each picture has the outcome.")
    if "safety.json" in manifest.members:
        said.append(
            "Labelers, and people where they were asked, said in which ways a picture is unsafe; safety.json has the "
            "outcome. A category that nobody scored is never called safe."
        )
    return said


def step_names(steps: object) -> list[str]:
    """Names of the steps of a recipe that a manifest holds."""
    parts = steps if isinstance(steps, list | tuple) else ()
    return [str(step["name"]) for step in parts if isinstance(step, dict) and step.get("name")]


def _listed(what: str, names: Sequence[str]) -> str:
    return f"{what}: {', '.join(names)}." if names else ""
