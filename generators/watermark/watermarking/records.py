"""Judge attacked pictures when they are made instead of storing them: the picture before the attack gets a record.

The record has what was asked for and measured, the seed, the sha256 of the PNG, and what each mark's detector found.
With the stored picture before the attack, that is enough to make the attacked one again, to the byte.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from variorum.edition.samples import picture_pixels
from variorum.generators.watermark.watermarking.arms import Grid
from variorum.generators.watermark.watermarking.detecting import Answer, Subject, looked, subject_of
from variorum.generators.watermark.watermarking.subjects import subject_of as attackable
from variorum.machine.cache import cache_dir
from variorum.machine.memo import DiskMemo
from variorum.pixels import encode_png
from variorum.schemas.canonical import Json, canonical_json
from variorum.schemas.component import Context
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import stored_component
from variorum.schemas.sample import Failure, Op, Sample, checked_op
from variorum.stages.job import models

if TYPE_CHECKING:
    from variorum.arrays import Pixels
    from variorum.schemas.manifest import Manifest
    from variorum.schemas.watermark import Mark

log = logging.getLogger(__name__)

MEMBER = "attacked.json"
"""Of a picture: the records of those that were made of it."""
TOGETHER = 32
"""Attacked pictures that are looked at together."""
DIGITS = 6
"""Of recorded scores and p-values, so that they are the same on every processor."""
LARGEST = 1e300
"""Score in place of an infinite one, which JSON can't hold."""
MOST_BITS = 1 << 31
"""Of a payload, at most."""


class Attempt(NamedTuple):
    """One attacked picture that isn't stored.

    Attributes:
        id: which its row would have if it were stored.
        variant: likewise.
        sha256: of the PNG that would be stored.
        op: the attack.
        found: the answer of each look at it.
    """

    id: str
    variant: str
    sha256: str
    op: Op
    found: Sequence[Answer]

    def of(self, base: Sample) -> Sample:
        """Its sample, with the pixels of the picture before the attack."""
        return replace(base, id=self.id, parent=base.id, variant=self.variant, ops=(*base.ops, self.op), extras={})


def recorded(
    bases: Sequence[Sample],
    made: Iterable[Sample | Failure],
    own: Mapping[str, Mark],
    keys: Path | None,
    ctx: Context,
) -> Iterator[Sample | Failure]:
    """The pictures before the attack with the records of those made of them, and the Failures as they come.

    Raises:
        RecipeError: the pictures have records already.
    """
    if any(MEMBER in base.extras for base in bases):
        raise RecipeError("watermark_attack: only the last one of a recipe can have `keep: records`")
    entries: dict[str, list[tuple[Sample, list[Answer]]]] = {base.id: [] for base in bases}
    for some in _together(made):
        yield from (one for one in some if isinstance(one, Failure))
        pictures = [one for one in some if isinstance(one, Sample)]
        found: dict[str, list[Answer]] = {one.id: [] for one in pictures}
        for look, answer in looked(pictures, own, keys, "generate.watermark_attack", ctx):
            found[look.subject.sample.id].append(answer)
        for one in pictures:
            sha256 = hashlib.sha256(encode_png(cast("Pixels", one.image))).hexdigest()
            entries[one.parent].append((replace(one, image=b"", detail=sha256, extras={}), found[one.id]))
    for base in bases:
        yield replace(base, extras={**base.extras, MEMBER: _written(entries[base.id])})


def attempts(sample: Sample) -> list[Attempt]:
    """The attacked pictures that were made of a sample and aren't stored. Raises RecipeError for a damaged record."""
    return _read(sample)[0]


def answered(sample: Sample, methods: Mapping[str, str]) -> Iterator[tuple[Subject, Answer]]:
    """What was found in the attacked pictures of a sample that aren't stored.

    Args:
        sample: with decoded pixels.
        methods: JSON of how each mark would look now.

    Raises:
        RecipeError: a mark's detector is another one now.
    """
    listed, before = _read(sample)
    for mark, method in before.items():
        if methods.get(mark, method) != method:
            raise RecipeError(
                f"{mark}: its detector has changed since it looked at the attacked pictures, which aren't stored; mark "
                "and attack the pictures again, as new versions"
            )
    for one in listed:
        subject = subject_of(one.of(sample))
        if subject is not None:
            for answer in one.found:
                yield subject, answer


def remade(manifest: Manifest, base: Sample, wanted: Attempt) -> Pixels | None:
    """An attacked picture made again from the stored one before the attack; None where it can't be had here.

    An edition may be a stranger's, so its recipe isn't used. Only attacks that `stored_component` lets through are run,
    on models that are here, without keys, marks and photographs. The picture is given only if its bytes are those of
    the record.
    """
    from variorum.generators.watermark.watermark_attack import WatermarkAttack

    asked: Mapping[str, Any] = wanted.op["requested"]
    if asked.get("about") is not None:
        return None
    try:
        table = models("hub" if manifest.profile == "hub" else "embedded")
        where = f"sample {base.id}: attack"
        attack: Any = stored_component("attacks", asked["settings"], where, "it isn't shown", table)
        if attack.about_mark or attack.own_photographs():
            return None
        ctx = Context(manifest.recipe.get("seed", 0), table, DiskMemo(cache_dir() / "memo"))
        pixels = picture_pixels(f"sample {base.id}", base.image) if isinstance(base.image, bytes) else base.image
        subject = attackable(replace(base, image=pixels, extras={}))
        grid = Grid(WatermarkAttack(attacks=(attack,)), [attack], (), ctx, only=float(asked["strength"]))
        for made in grid.attacked([subject]):
            if isinstance(made, Sample) and made.variant == wanted.variant:
                image = cast("Pixels", made.image)
                if hashlib.sha256(encode_png(image)).hexdigest() == wanted.sha256:
                    return image
                log.warning("%s of %s comes out with other bytes here than recorded", wanted.variant, base.id)
    except Exception as error:  # a record may ask for anything, at which an attack may fail in any way
        log.info("%s of %s can't be made again here: %s", wanted.variant, base.id, error)
    return None


def _together(made: Iterable[Sample | Failure]) -> Iterator[list[Sample | Failure]]:
    some: list[Sample | Failure] = []
    for one in made:
        some.append(one)
        if len(some) == TOGETHER:
            yield some
            some = []
    if some:
        yield some


def _written(entries: Sequence[tuple[Sample, Sequence[Answer]]]) -> bytes:
    """Columns of equal types for all samples, as loaders infer them from the first ones."""
    methods: dict[str, str] = {}
    columns: dict[str, list[Json]] = {"id": [], "variant": [], "sha256": [], "record": []}
    for sample, answers in entries:
        found: list[Json] = []
        for one in answers:
            methods[one.mark] = one.method
            p_value = None if math.isnan(one.p_value) else _rounded(one.p_value)
            found.append([one.mark, _rounded(one.score), one.bits, one.right, p_value])
        record: Json = {"op": cast("Json", sample.ops[-1]), "found": found}
        for name, value in zip(columns, (sample.id, sample.variant, sample.detail), strict=False):
            columns[name].append(value)
        columns["record"].append(canonical_json(record).decode())
    marks: dict[str, Json] = {"mark": list[Json](methods), "method": list[Json](methods.values())}
    return canonical_json({"pictures": cast("Json", columns), "marks": marks})


def _rounded(value: float) -> float:
    return float(f"{min(max(value, -LARGEST), LARGEST):.{DIGITS}g}")


def _read(sample: Sample) -> tuple[list[Attempt], dict[str, str]]:
    data = sample.extras.get(MEMBER)
    if data is None:
        return [], {}
    try:
        said = json.loads(bytes(data))
        pictures, marks = said["pictures"], said["marks"]
        methods = dict(zip(map(str, marks["mark"]), map(str, marks["method"]), strict=True))
        listed = []
        columns = (pictures[name] for name in ("id", "variant", "sha256", "record"))
        for key, variant, sha256, text in zip(*columns, strict=True):
            record = json.loads(text)
            found = [_answer(methods, *look) for look in record["found"]]
            listed.append(Attempt(str(key), str(variant), str(sha256), _attack(record["op"]), found))
        return listed, methods
    except (KeyError, ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise RecipeError(f"sample {sample.id}: its {MEMBER} can't be read ({type(error).__name__})") from None


def _attack(op: Op) -> Op:
    """A recorded attack. Raises RecipeError or an error of Python unless it is one."""
    checked = checked_op(op)
    asked: Mapping[str, Any] = checked["requested"]
    if not (isinstance(asked["settings"], Mapping) and 0 < asked["strength"] <= 1):
        raise ValueError("no attack with settings and a strength")
    return checked


def _answer(
    methods: Mapping[str, str], mark: str, score: float, bits: int, right: int, p_value: float | None
) -> Answer:
    """A recorded look. Raises an error of Python unless it is one."""
    if not (type(bits) is type(right) is int and 0 <= right <= bits <= MOST_BITS):
        raise ValueError(f"{right} of {bits} bits")
    return Answer(mark, methods[mark], float(score), bits, right, math.nan if p_value is None else float(p_value))
