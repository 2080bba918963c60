"""A plausible report of invented figures, for tests of what is made of a report; nothing was measured."""

from __future__ import annotations

import io
import random
from collections.abc import Sequence
from itertools import permutations

from variorum.reports.profile.document import (
    Curve,
    CurvePoint,
    Difference,
    EditionFacts,
    Guard,
    Limit,
    Line,
    Model,
    ModelValue,
    NotMeasured,
    Photographs,
    Picture,
    Report,
    Row,
    Said,
    SuiteName,
    Value,
    Verdict,
    Work,
)

ROWS: tuple[tuple[str, str, str, str, str, tuple[float | str, ...]], ...] = (
    ("originals", "Originals", "As they are", "edits", "accuracy_drop.originals", ()),
    ("background", "Background", "One thing changes", "edits", "accuracy_drop.edits", ("plain", "soft", "rich")),
    ("size", "Object size", "One thing changes", "edits", "accuracy_drop.edits", (0.25, 0.1, 0.08, 0.05)),
    ("position", "Position and turn", "One thing changes", "edits", "accuracy_drop.edits", (0.1, 0.2, 0.3)),
    ("corruptions", "Common corruptions", "Camera and weather", "corrupted", "corruption_error.right", (1, 2, 3, 4, 5)),
    ("low_light", "Low light", "Camera and weather", "dark", "accuracy_drop.edits", (1, 2, 3)),
    (
        "translation",
        "Translation",
        "Camera and weather",
        "moved",
        "translation_consistency.agreement",
        (-16, -4, 4, 16),
    ),
    ("cue_conflict", "Cue conflict", "What it looks at", "cues", "shape_bias.shape", ()),
    ("few_shot", "Five classes, one example", "What it looks at", "shots", "few_shot_accuracy.accuracy", ()),
    ("calibration", "Calibration", "Its own word", "edits", "accuracy_drop.calibration", ()),
)
MEASURES = {"shape_bias.shape": "decisions by shape", "translation_consistency.agreement": "same answer after a shift"}
LABELS = ("tabby", "espresso", "space suit", "missile", "lighthouse", "soup bowl", "lynx", "mask")


def report(
    models: Sequence[str] = ("timm:resnet50.a1_in1k", "torchvision:resnet50", "module:mine.py:load"),
    n: int = 96,
    rows: int = 10,
) -> Report:
    """A report with ten rows and one below them, or with as many rows as asked for."""
    made, chance = list[Row](), random.Random(1)
    for number in range(rows):
        identity, title, section, edition, of, at = ROWS[number % len(ROWS)]
        again = f"_{number // len(ROWS)}" if number >= len(ROWS) else ""
        row = _row(chance, models, n, of, at)
        made.append(
            row.model_copy(update={"id": identity + again, "title": title, "section": section, "edition": edition})
        )
    if rows == len(ROWS):
        below = _row(chance, models, n, "accuracy_drop.calibration", ())
        update = {"id": "tempered", "title": "with temperature", "section": "Its own word", "under": "calibration"}
        made.append(below.model_copy(update={**update, "edition": "edits", "pictures": (), "curve": None}))
    short = [name.split(":", 1)[-1] for name in models]
    lead = tuple(f"{name} is worse at common corruptions; can’t be told apart in 9 of 10 rows." for name in short[1:])
    return Report(
        suite=SuiteName(name="robustness", version="1.0.0", digest="5" * 64, profile="embedded"),
        photographs=Photographs(n=n, classes=24, source="photos", left_out={"unreadable": 3, "a copy": 1}),
        models=tuple(
            Model(
                name=name,
                short=short[number],
                pin=f"{number}" * 64,
                weights=f"{number}" * 12,
                parameters=25_600_000,
                outputs=1000,
                preprocessing="resize 236, crop 224, bicubic",
                trained_on="ImageNet-1k; mixup, cutmix, label smoothing" if number % 2 == 0 else "",
            )
            for number, name in enumerate(models)
        ),
        reference=models[0],
        editions=tuple(
            EditionFacts(key=key, name=f"{name}@1.0.0-dev", digest=f"{number}" * 64, pictures=1108, photographs=n)
            for number, (key, name) in enumerate(
                {
                    "edits": "imagenet_e",
                    "corrupted": "imagenet_c",
                    "dark": "low_light",
                    "moved": "translation",
                    "cues": "cue_conflict",
                    "shots": "few_shot",
                }.items()
            )
        ),
        work=Work(pictures=11_904, answers=35_712, draws=4000),
        rows=tuple(made),
        not_measured=(
            NotMeasured(
                id="detection",
                title="Average precision of detectors",
                why_not="the photographs have no boxes",
                way_out="add a COCO file: `--source photos --boxes boxes.json`",
            ),
            NotMeasured(
                id="reviewed",
                title="Accuracy by reviewed labels",
                why_not="nobody has reviewed these labels",
                way_out="`variorum review`, about 40 minutes for 96 photographs",
            ),
        ),
        guards=(
            Guard(
                row="background",
                model=models[0],
                limit=50,
                kind="below",
                outcome="kept",
                value=65.6,
                low=59.6,
                high=71.6,
            ),
            Guard(
                row="low_light",
                model=models[-1],
                limit=5,
                kind="worse",
                outcome="failed",
                value=-12.6,
                low=-18.6,
                high=-6.2,
            ),
        ),
        limits=(
            Limit(
                title="Nothing about other photographs.",
                text="Intervals cover chance in drawing such photographs, not a biased choice.",
            ),
            Limit(
                title="No overall score.",
                text="Which row counts is yours to say, with --fail-below.",
            ),
            Limit(
                title="≈ is not “as good as”.",
                text="With 96 photographs a difference of less than about 8 points is rarely seen.",
            ),
            Limit(
                title="Edits are not the world.",
                text="An edited background is a picture that nobody took. Rows from one technique share its artefacts.",
            ),
        ),
        command="variorum report --suite robustness --source photos \\\n"
        + " \\\n".join(f"  --model {name}" for name in models),
        credits=("NASA (public domain)", "Rachel Michetti (CC0)"),
        lead=lead,
    )


def pictures(made: Report) -> dict[tuple[str, str], bytes]:
    """A small picture of one colour for each that the report shows."""
    from PIL import Image

    found = {}
    for one in (one for row in made.rows for one in row.pictures):
        out = io.BytesIO()
        Image.new("RGB", (32, 32), f"hsl({hash_of(one.id)}, 45%, 60%)").save(out, "WEBP")
        found[one.edition, one.id] = out.getvalue()
    return found


def hash_of(text: str) -> int:
    return sum(map(ord, text)) * 37 % 360


def _row(chance: random.Random, models: Sequence[str], n: int, of: str, at: Sequence[float | str]) -> Row:
    lower, none = of.endswith("calibration"), of.startswith("shape_bias")
    base, wide = (12.0, 4.0) if lower else (chance.uniform(45, 90), 55 / n**0.5)
    values, centre = {}, {}
    for number, name in enumerate(models):
        if of.startswith("few_shot") and name.startswith("module:"):
            values[name] = ModelValue(why_not="gives no embedding")
            continue
        centre[name] = min(97.0, max(3.0, base - 6 * number + chance.uniform(-4, 4)))
        says = ("at its floor",) if lower and number else ()
        floor = 9.0 if lower else None
        values[name] = ModelValue(figure=Value(**_ends(centre[name], wide), floor=floor, says=says))
    differences = []
    for one, other in permutations(centre, 2):
        gap = (centre[one] - centre[other]) * (-1 if lower else 1)
        differences.append(
            Difference(
                of=one, to=other, n=n, **_ends(gap, wide), p=0.01, holm=0.2, verdict=_verdict(gap, wide, n, none=none)
            )
        )
    curve = None
    if at:
        series = ("left", "right") if at == (0.1, 0.2, 0.3) else ("",)
        curve = Curve(
            by={str: "background", float: "share of the picture", int: "severity"}[type(at[0])],
            at=tuple(at),
            lines=tuple(
                Line(
                    model=name,
                    series=one,
                    points=tuple(
                        CurvePoint(**_ends(max(2.0, middle + 12 - 8 * step), wide), n=n) for step in range(len(at))
                    ),
                )
                for one in series
                for name, middle in centre.items()
            ),
        )
    shown = () if lower else tuple(_picture(chance, of, list(centre), number) for number in range(12))
    return Row(
        id="",
        title="",
        section="",
        edition="edits",
        of=of,
        measure="calibration error (ECE)" if lower else MEASURES.get(of, "accuracy"),
        kind="whole" if lower else "share",
        better="lower" if lower else "none" if none else "higher",
        scale=25 if lower else 100,
        n=n,
        pictures_each="" if lower else "4 edits each",
        note="15 bins" if lower else "",
        chance=None if lower or none else 4.17,
        seen=8.2,
        models=values,
        differences=tuple(differences),
        curve=curve,
        pictures=tuple(one.model_copy(update={"edition": "edits"}) for one in shown),
    )


def _ends(value: float, wide: float) -> dict[str, float]:
    return {"value": round(value, 2), "low": round(value - wide, 2), "high": round(value + wide, 2)}


def _verdict(gap: float, wide: float, n: int, *, none: bool) -> Verdict:
    if n < 20:
        return ""
    if abs(gap) < wide:
        return "same"
    if none:
        return "differs" if abs(gap) > 2 * wide else "perhaps differs"
    if abs(gap) > 2 * wide:
        return "better" if gap > 0 else "worse"
    return "perhaps better" if gap > 0 else "perhaps worse"


def _picture(chance: random.Random, of: str, models: Sequence[str], number: int) -> Picture:
    label = LABELS[number % 4]
    said = []
    for name in models:
        right = chance.random() < 0.5
        answer = label if right else chance.choice(LABELS[4:])
        said.append(Said(model=name, answer=answer, p_label=round(chance.random(), 2), right=right))
    return Picture(
        edition="",
        id=f"{of}.{number}",
        photograph=f"photo{number}",
        column="background_plain",
        label=label,
        said=tuple(said),
    )
