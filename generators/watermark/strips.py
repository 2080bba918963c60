"""Strips of watermarked pictures: the original, marked, what the mark changed ten times enlarged, and attacked.

What a picture is follows from its record, as the generators `watermark` and `watermark_attack` write it. Attacked
pictures that aren't stored are made again, where that can be done. Editions without marks have no strips. The pictures
of an edition with a content warning are blurred.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from variorum.edition.samples import picture_pixels
from variorum.generators.watermark.watermarking.detecting import moves
from variorum.generators.watermark.watermarking.records import Attempt, attempts, remade
from variorum.pixels import blurred
from variorum.reports.figures import seen
from variorum.schemas.component import SealedEdition
from variorum.schemas.sample import Sample

FILE = "mark_strips.png"
INK, PALE, PAPER, MUTED = (28, 30, 34), (110, 108, 102), (250, 249, 246), (228, 226, 220)
TIMES = 10
"""By which a residual is enlarged."""
GREY = 128
PHOTOGRAPHS, MARKS, ATTACKS = 3, 4, 4
"""That are shown at most."""
MIDDLE = 0.6
"""The strength that is shown is the one next to it."""
CELL, LINE, GAP = 192, 14, 6


@dataclass(frozen=True, slots=True)
class Made:
    """The way in which a variant of a photograph was made.

    Attributes:
        mark: label of the mark in it; `""` for an unmarked picture.
        attack: its attack; `""` for none.
        strength: of the attack.
        family: of the attack.
    """

    mark: str
    attack: str = ""
    strength: float = 0.0
    family: str = ""


def mark_strips(edition: SealedEdition) -> dict[str, bytes]:
    """A PNG with a strip for each of some photographs and marks; none for an edition without marks.

    Raises:
        CorruptShard: a picture that is shown is damaged, or isn't where its row says.
    """
    groups = _groups(edition)
    known = _known(edition, groups)
    marks = [*dict.fromkeys(one.mark for one in known.values() if one.mark)][:MARKS]
    if not marks:
        return {}
    attacks = _chosen([one for one in known.values() if one.mark and one.attack])
    variant = {(one.mark, one.attack, one.strength): name for name, one in known.items()}
    bases = [name for name, one in known.items() if not one.mark and not one.attack]
    shown = [group for group in groups if any(name in group for name in bases)]
    most = max(map(len, shown), default=0)  # some photographs lack attacks, such as those of the attacker himself
    shown = [group for group in shown if len(group) == most]
    places = sorted({round(place) for place in np.linspace(0, len(shown) - 1, PHOTOGRAPHS)}) if shown else []
    strips = [
        _strip(edition, shown[place], next(name for name in bases if name in shown[place]), mark, attacks, variant)
        for place in places
        for mark in marks
    ]
    kept = [strip for strip in strips if strip]
    return {FILE: _drawn(kept, 3 + len(attacks), warned=bool(edition.manifest.warning))}


def _groups(edition: SealedEdition) -> list[dict[str, dict[str, Any]]]:
    """By photograph, its accepted pictures by variant."""
    columns = ["id", "sha256", "source", "variant", "status", "start", "group", "shard"]
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for record in edition.rows.select(columns).to_pylist():
        if record["status"] == "accepted" and record["shard"] >= 0:
            found.setdefault(record["source"], {}).setdefault(record["variant"], record)
    return list(found.values())


def _known(edition: SealedEdition, groups: Sequence[Mapping[str, Mapping[str, Any]]]) -> dict[str, Made]:
    """By variant, how it was made, from the record of its first picture. Stops at a photograph without marks."""
    found: dict[str, Made] = {}
    for group in sorted(groups, key=len, reverse=True)[:PHOTOGRAPHS]:
        for name, record in group.items():
            if name in found:
                continue
            sample = edition.sample(record)
            for variant, one in [(name, sample), *_records(sample)]:
                if (made := _made(one)) is not None:
                    found[variant] = made
        if not any(one.mark for one in found.values()):
            break
    return found


def _records(sample: Sample) -> list[tuple[str, Sample]]:
    """Attacked pictures that aren't stored; of attacks on a mark, none can be made again without the keys."""
    made = [(one.variant, one.of(sample)) for one in attempts(sample)]
    return [one for one in made if one[1].ops[-1]["requested"].get("about") is None]


def _made(sample: Sample) -> Made | None:
    ops = list(sample.ops)
    attack: Mapping[str, Any] = {}
    if ops and "attack" in ops[-1]["requested"] and "strength" in ops[-1]["requested"]:
        attack = ops.pop()["requested"]
    if not ops or "mark" not in ops[-1]["requested"] or "picture" not in ops[-1]["achieved"]:
        return None
    mark = ops[-1]["requested"]["mark"]
    strength, family = attack.get("strength", 0), str(attack.get("family", ""))
    return Made(str(mark or ""), str(attack.get("attack", "")), float(strength), family)


def _chosen(made: Sequence[Made]) -> list[tuple[str, float]]:
    """Attacks of as many families as there are, each at one strength."""
    strengths: dict[str, list[float]] = {}
    for one in made:
        strengths.setdefault(one.attack, []).append(one.strength)
    families: dict[str, list[str]] = {}
    for one in made:
        if one.attack not in families.setdefault(one.family, []):
            families[one.family].append(one.attack)
    ordered = sorted((place, name) for some in families.values() for place, name in enumerate(some))
    names = [name for name in strengths if name in {name for _, name in ordered[:ATTACKS]}]
    return [(name, min(strengths[name], key=lambda strength: abs(strength - MIDDLE))) for name in names]


def _strip(
    edition: SealedEdition,
    group: Mapping[str, Mapping[str, Any]],
    base: str,
    mark: str,
    attacks: Sequence[tuple[str, float]],
    variant: Mapping[tuple[str, str, float], str],
) -> list[tuple[Any, str]]:
    """Pictures with a line below each; None in place of a picture that isn't there. Empty without the mark."""
    record = group.get(variant.get((mark, "", 0.0), ""))
    if record is None:
        return []
    original, marked = _pixels(edition.sample(group[base])), edition.sample(record)
    pixels, quality = _pixels(marked), marked.ops[-1]["achieved"].get("psnr")
    same = isinstance(quality, int | float) and pixels.shape == original.shape
    residual = GREY + TIMES * (pixels.astype(np.int16) - original.astype(np.int16)) if same else None
    strip = [
        (original, "original"),
        (pixels, f"{mark}, {quality:.1f} dB" if same else mark),
        (
            None if residual is None else np.clip(residual, 0, 255).astype(np.uint8),
            f"residual x {TIMES}" if same else "",
        ),
    ]
    records = {one.variant: one for one in attempts(marked)}
    for name, strength in attacks:
        wanted = variant.get((mark, name, strength), "")
        shown, psnr = _attacked(edition, group.get(wanted), marked, records.get(wanted))
        said = f"{name} {strength:g}" + (f", {psnr:.1f} dB" if isinstance(psnr, int | float) else "")
        strip.append((shown, said))
    return strip


def _attacked(
    edition: SealedEdition, row: Mapping[str, Any] | None, marked: Sample, record: Attempt | None
) -> tuple[Any, Any]:
    """Pixels and PSNR of an attacked picture, stored or made again; None for each that isn't there or says nothing."""
    if row is not None:
        sample = edition.sample(row)
        op, pixels = sample.ops[-1], _pixels(sample)
    elif record is not None:
        op, pixels = record.op, remade(edition.manifest, marked, record)
    else:
        return None, None
    settings = op["requested"].get("settings")
    return pixels, None if isinstance(settings, dict) and moves(settings) else op["achieved"].get("psnr")


def _pixels(sample: Sample) -> Any:
    return picture_pixels(f"sample {sample.id}", sample.image)


def _drawn(strips: Sequence[Sequence[tuple[Any, str]]], across: int, *, warned: bool) -> bytes:
    from PIL import Image, ImageDraw, ImageFont

    small = ImageFont.load_default(11)
    size = GAP + across * (CELL + GAP), GAP + len(strips) * (CELL + LINE + GAP)
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    for row, strip in enumerate(strips):
        y = GAP + row * (CELL + LINE + GAP)
        for column, (pixels, said) in enumerate(strip):
            x = GAP + column * (CELL + GAP)
            draw.rectangle((x, y, x + CELL - 1, y + CELL - 1), fill=MUTED)
            if pixels is None:
                draw.text((x + 5, y + 5), "none", PALE, small)
            else:
                image = Image.fromarray(pixels)
                image.thumbnail((CELL, CELL), Image.Resampling.LANCZOS)
                image = blurred(image) if warned else image
                sheet.paste(image, (x + (CELL - image.width) // 2, y + (CELL - image.height) // 2))
            draw.text((x + 1, y + CELL), seen(said)[:32], INK, small)
    out = io.BytesIO()
    sheet.save(out, "PNG", compress_level=6)
    return out.getvalue()
