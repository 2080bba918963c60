"""Write a watermark's results on an edition as files that people can add to a leaderboard, one per mark.

The files lie beside the manifest in `mark_results/`, written with the card, and collected ones in
`leaderboards/watermark/`. They come from strangers: every field has a limit. Two results can be compared if they have
the same `grid`: photographs, frame, seed, attacks and strengths. The editions' digests differ even then, as everybody
has other keys.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StringConstraints

from variorum.edition.records import BadRecord, parse, to_json
from variorum.reports.contents import summary_rows
from variorum.reports.results import EditionName, Name, Note, Part, Percent, slug
from variorum.schemas.canonical import Json, digest
from variorum.schemas.component import SealedEdition
from variorum.schemas.errors import SourceError
from variorum.schemas.fields import Alias, Count, Line, Sha256, Values, whole
from variorum.schemas.manifest import Manifest
from variorum.stages.job import installed_version

FOLDER = "mark_results"
LARGEST = 4 << 20
"""Bytes of a file."""
MOST_ATTACKS, MOST_STRENGTHS, MOST_MISSING = 200, 50, 1000

Number = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]
Unit = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
How = Literal["between", "at most", "never"]


class Share(Part):
    """A share in percent with the ends of its interval; of few photographs also a count, `9 of 9`."""

    value: Percent
    low: Percent
    high: Percent
    count: Note | None = None


class Area(Part):
    """An AUROC with the ends of its interval."""

    value: Unit
    low: Unit
    high: Unit


class At(Part):
    """The loss of quality at which performance falls to a level; no value for `never`."""

    value: Number | None
    how: How


class Cell(Part):
    """A mark after an attack at a strength, or without one.

    Attributes:
        n: marked pictures.
        n_unmarked: unmarked ones, attacked alike.
        q: loss of quality.
        found: marked pictures above the fixed threshold.
        bit_accuracy: bits that are right.
        spoofing: unmarked pictures above the fixed threshold.
        auroc: attacked marked pictures against attacked unmarked ones.
    """

    n: Count
    n_unmarked: Count
    q: Number | None = None
    found: Share | None = None
    bit_accuracy: Share | None = None
    spoofing: Share | None = None
    auroc: Area | None = None


class AttackResult(Part):
    """One attack over its strengths."""

    family: Note
    goal: Literal["removal", "spoofing", "tampering"]
    access: Note
    adaptive: bool
    strengths: Annotated[dict[Name, Cell], Field(max_length=MOST_STRENGTHS)]
    mean_p: Percent | None = None
    mean_q: Number | None = None
    q_at_95: At | None = None
    q_at_70: At | None = None


class MarkFacts(Part):
    """The mark, as somebody else can build it again.

    Attributes:
        name: its label in the recipe.
        settings: its identity: the component, its fields, and the content of its file if it is one of the user's own.
        revision: of its code.
        models: pins of its weights.
    """

    name: Name
    settings: Values
    revision: Count
    models: dict[Alias, Line]

    def pin(self) -> str:
        """Twelve hexadecimal digits that tell marks of the same name apart."""
        return digest(self.model_dump(mode="json"))[:12]


class Missing(Part):
    """Pictures of a variant that don't exist or don't count, and why."""

    variant: Name
    accepted: Count
    reasons: Note


class MarkResult(Part):
    """The content of a file."""

    format: Annotated[Literal[1], BeforeValidator(whole)] = 1
    edition: EditionName
    grid: Sha256
    mark: MarkFacts
    confidence: Annotated[float, Field(gt=0, lt=1)]
    rate: Annotated[float, Field(gt=0, lt=0.5)]
    """False positive rate of the fixed threshold."""
    photographs: Count
    quality_of: tuple[Name, ...]
    """Metrics that Q has here."""
    psnr: Number | None = None
    ssim: Number | None = None
    clean: Cell
    wrong_key: Share | None = None
    """Bits that are right with a wrong key."""
    attacks: Annotated[dict[Name, AttackResult], Field(max_length=MOST_ATTACKS)]
    missing: Annotated[tuple[Missing, ...], Field(max_length=MOST_MISSING)] = ()
    variorum: Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z.+-]{1,64}$")]
    """Version of this project."""

    def file_name(self) -> str:
        """`stdm-0123456789ab-ba9876543210.json`: the mark, its pin, and the beginning of the edition's digest."""
        return f"{slug(self.mark.name)}-{self.mark.pin()}-{self.edition.digest[:12]}.json"

    def to_bytes(self) -> bytes:
        """The file's content, with a digest of it."""
        return to_json(self) + b"\n"


def mark_results(figures: Mapping[str, Any], edition: SealedEdition) -> dict[str, bytes]:
    """By name, a result for each mark."""
    manifest, there = edition.manifest, edition.rows
    lacking = ("quarantined", "ineligible", "failed", "withheld")
    rows = [row for row in summary_rows(manifest) if any(row.get(name) for name in lacking)]
    missing = tuple(Missing(variant=row["variant"], accepted=row["accepted"], reasons=row["reasons"]) for row in rows)
    common = {
        "edition": EditionName(name=f"{manifest.dataset}@{manifest.version}", digest=manifest.digest()),
        "grid": grid_of(manifest, there["photograph"].to_pylist() if "photograph" in there.column_names else []),
        "confidence": figures["confidence"],
        "rate": float(figures["rates"][0]),
        "photographs": figures["photographs"],
        "missing": missing[:MOST_MISSING],
        "variorum": installed_version("variorum"),
    }
    made = [MarkResult(**common, **_mark(name, figures)) for name in figures["names"]]
    return {f"{FOLDER}/{one.file_name()}": one.to_bytes() for one in made}


def parse_mark_result(name: str, data: bytes) -> MarkResult:
    """A file's content. Raises SourceError, in a line with the file's name."""
    if len(data) > LARGEST:
        raise SourceError(f"{name}: has {len(data)} bytes; a mark's result has at most {LARGEST}")
    try:
        return parse(data, MarkResult)
    except BadRecord as error:
        raise SourceError(f"{name}: {error}") from None


def grid_of(manifest: Manifest, photographs: Sequence[str]) -> str:
    """Digest of what marks are compared on: photographs, seed, and all generators without marks, keys and `keep`."""
    recipe: Mapping[str, Any] = manifest.recipe
    steps: list[Json] = [
        {name: value for name, value in step.items() if name not in ("marks", "keys", "keep")}
        for step in recipe["generate"]
    ]
    return digest([list[Json](sorted(set(photographs))), recipe.get("seed", 0), steps])


def _mark(name: str, figures: Mapping[str, Any]) -> dict[str, Any]:
    one, rate = figures["marks"][name], figures["rates"][0]
    method = one["method"]
    cells = [cell for attack in one["attacks"].values() for cell in attack["strengths"].values()]
    return {
        "mark": MarkFacts(name=name, settings=method["settings"], revision=method["revision"], models=method["models"]),
        "quality_of": tuple(dict.fromkeys(metric for cell in cells for metric in cell["q_of"])),
        "psnr": one["psnr"],
        "ssim": one["ssim"],
        "clean": _cell(one["clean"], rate),
        "wrong_key": one["wrong_key"]["bit_accuracy"],
        "attacks": {attack: _attack(one["attacks"][attack], rate) for attack in one["order"]},
    }


def _attack(found: Mapping[str, Any], rate: str) -> dict[str, Any]:
    kept = ("family", "goal", "access", "adaptive", "mean_p", "mean_q", "q_at_95", "q_at_70")
    return {
        **{name: found[name] for name in kept if name in found},
        "strengths": {strength: _cell(cell, rate) for strength, cell in found["strengths"].items()},
    }


def _cell(found: Mapping[str, Any], rate: str) -> dict[str, Any]:
    errors = found["analytic"].get(rate) or found["empirical"].get(rate) or {}
    return {
        **{name: found[name] for name in ("n", "n_unmarked", "q", "found", "bit_accuracy")},
        "spoofing": errors.get("spoofing"),
        "auroc": found["auroc"]["combined"],
    }
