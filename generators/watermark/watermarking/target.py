"""Give attackers what they may use: the service that marks, and photographs of their own.

The service marks whatever it is given, as a picture generator with a watermark does. Its keys are those of the edition
if the mark is `keyed: shared`; otherwise each picture gets a new key, which no picture of the edition has. The
attacker's photographs are never among the attacked ones: they come from another source, or from half of the recipe's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from variorum.generators.watermark.watermarking.checked import embedded
from variorum.generators.watermark.watermarking.subjects import subject_of
from variorum.kit.corrupt.frames import Unusable, framed
from variorum.schemas.canonical import Json, derive_seed, digest
from variorum.schemas.component import Context, Source
from variorum.schemas.errors import RecipeError
from variorum.schemas.sample import Lender, Sample
from variorum.schemas.uses import required_models
from variorum.schemas.watermark import Attack, Mark
from variorum.stages.lending import let_through

if TYPE_CHECKING:
    from variorum.arrays import Pixels
    from variorum.generators.watermark.watermarking.keys import Keys

Arrays = Mapping[str, np.ndarray[Any, Any]]

BATCH = 16
"""Photographs that the service marks at a time; bounds the memory."""
CERTAIN = 3
"""A source with this many times the wanted photographs in its attacker's half isn't counted."""
OWN = "attackers_own"


@dataclass(frozen=True)
class Service:
    """The `Target` of one attack on one mark; keep it while a unit is made, as it keeps the photographs.

    Attributes:
        mark: the mark that is attacked, or None for an attack that doesn't depend on it.
        attack: whose photographs and preparations these are.
        keys: of the edition.
        ctx: `ctx.source` has the recipe's pictures, as the generators before this one let them through.
        frame: side of the square that the edition's pictures are cut to, or None.
        material: the attacker's source; None for half of the recipe's.
        stream: what `attackers_photographs` gives; its own by default. Services of one unit share what was read.
    """

    mark: Mark | None
    attack: Attack
    keys: Keys = field(repr=False)
    ctx: Context
    frame: int | None = None
    material: Source | None = None
    stream: Iterator[tuple[Sample, Pixels]] | None = None

    def marked(self, images: Sequence[Pixels]) -> list[Pixels]:
        """These pictures, marked by the service; a picture's key depends on the picture alone."""
        assert self.mark is not None
        mark, label = self.mark, self.mark.called
        shared = mark.keyed == "shared"
        keys = [self.keys.shared(label) if shared else self.keys.of(label, f"service {_hash(one)}") for one in images]
        found: list[Pixels] = [np.empty(0, np.uint8)] * len(images)
        for places in _alike(images):
            done = embedded(mark, [images[n] for n in places], [keys[n] for n in places], self.ctx)
            for n, image in zip(places, done, strict=True):
                found[n] = image
        return found

    def photographs(self, number: int) -> list[Pixels]:
        """The first this many of the attacker's photographs, in an order that the recipe's seed draws.

        Raises:
            RecipeError: there are fewer that can be used.
        """
        self._draw(number)
        found = self._drawn
        if len(found) < number:
            raise RecipeError(_too_few(self.attack, number, len(found), self.material))
        return [image for _, image in found[:number]]

    def lent(self, used: Sequence[int] | None) -> list[Lender]:
        """Return what the attacker's photographs in a picture lend to it; None for all that the attack asks for."""
        wanted = self.attack.own_photographs()
        self._draw(wanted)
        return [one for place in (range(wanted) if used is None else used) for one in self._drawn[place][0].lent()]

    def prepared(self, purpose: str, compute: Callable[[], Arrays]) -> Arrays:
        """The arrays that `compute` gives, kept in the memo."""
        mark = self.mark
        pins: Json = [[alias, self.ctx.models.pin(alias)] for alias in required_models(mark)] if mark else []
        source: Json = [self._source.fingerprint(), self._source.pin(self.ctx), self.material is None]
        said: Json = [self.attack.preparation(), mark.fingerprint() if mark else "", self.keys.id, self.ctx.seed]
        return self.ctx.memo(digest(["attacker", said, pins, source, self.frame, purpose]), compute)

    def refusal(self, sample: Sample, picture: str) -> tuple[str, str] | None:
        """Why a picture isn't attacked, a reason in a word and a sentence; None if it is.

        Args:
            sample: the picture.
            picture: id of the source's sample that it was made from.
        """
        if self.attack.about_mark and self.mark is not None and self.mark.made_with:
            return "no_service", f"{self.mark.called} is put into a picture while it is made, not into photographs"
        about = self.mark if self.attack.about_mark else None
        if about and not isinstance(sample.image, bytes) and (why := about.refusal(sample.image)):
            return why[0], f"{about.called}: {why[1]}"  # nor can the attacker's photographs carry it
        wanted = self.attack.own_photographs()
        if not wanted:
            return None
        if self.material is None and attackers(picture, self.ctx.seed):
            return OWN, "it is in the half of the source that belongs to the attacker"
        self._draw(wanted)
        if sample.photograph and sample.photograph in {one.photograph for one, _ in self._drawn[:wanted]}:
            return OWN, "the attacker has a copy of this photograph"
        return None

    @property
    def _source(self) -> Source:
        found = self.material or self.ctx.source
        if found is None:
            raise RecipeError(f"{self.attack.called}: there is no source that the attacker's photographs could be of")
        return found

    @cached_property
    def _drawn(self) -> list[tuple[Sample, Pixels]]:
        """The photographs that were drawn so far, without pixels, and their pixels in the frame."""
        return []

    @cached_property
    def _stream(self) -> Iterator[tuple[Sample, Pixels]]:
        """Those that the mark can be put into."""
        stream = self.stream or attackers_photographs(self.material, self.frame, self.ctx)
        return (one for one in stream if self.mark is None or self.mark.refusal(one[1]) is None)

    def _draw(self, number: int) -> None:
        """Draw until there are enough, or no more."""
        while len(self._drawn) < number:
            one = next(self._stream, None)
            if one is None:
                return
            self._drawn.append(one)


def attackers(picture: str, seed: int) -> bool:
    """Return whether a sample of the recipe's source, given by id, is in the half that belongs to the attacker."""
    return derive_seed(seed, "attackers half", picture) % 2 == 0


def check_material(attacks: Iterable[Attack], material: Source | None, ctx: Context) -> None:
    """Raise RecipeError for an attack that wants more photographs than its attacker has.

    A large source isn't counted, as that would list all of its samples.
    """
    source = material or ctx.source
    wanting = [attack for attack in attacks if attack.own_photographs()]
    if not wanting or source is None:
        return
    most = max(wanting, key=lambda attack: attack.own_photographs())
    wanted, size = most.own_photographs(), source.size(ctx)
    there = size if material else size // 2
    if not material and there < CERTAIN * wanted:
        own = (sample for sample in source.outline(0, size, ctx) if attackers(sample.id, ctx.seed))
        there = sum(1 for _ in islice(own, wanted))
    if there < wanted:
        raise RecipeError(_too_few(most, wanted, there, material))


def _too_few(attack: Attack, wanted: int, there: int, material: Source | None) -> str:
    where = "`material`" if material else "the half of the source that belongs to the attacker"
    way_out = "name a source with more" if material else "name another source as `material`"
    return f"{attack.called}: wants {wanted} photographs and {where} has {there}; {way_out}, or let it use fewer"


def attackers_photographs(material: Source | None, frame: int | None, ctx: Context) -> Iterator[tuple[Sample, Pixels]]:
    """The attacker's photographs without marks, each once, in an order drawn by the seed; arguments as in `Service`.

    Yields:
        The sample without its pixels, and its pixels in the frame.
    """
    source, seen = let_through(material, ()) if material else ctx.source, set[str]()
    if source is None:
        return
    order = np.random.default_rng(derive_seed(ctx.seed, "attackers order")).permutation(source.size(ctx))
    for position in order.tolist():
        for sample in source.read(position, position + 1, ctx):
            if not isinstance(sample, Sample) or sample.photograph in seen:
                continue
            subject = subject_of(sample)
            if subject.mark or (material is None and not attackers(subject.photograph, ctx.seed)):
                continue
            try:
                image = framed(sample, frame).image
            except Unusable:
                continue
            seen.add(sample.photograph)
            yield replace(sample, image=b"", extras={}, encoded=None), image


def _alike(images: Sequence[Pixels]) -> Iterator[list[int]]:
    """Positions of pictures of one size, a batch at a time."""
    places: dict[tuple[int, ...], list[int]] = {}
    for n, image in enumerate(images):
        places.setdefault(image.shape, []).append(n)
    for same in places.values():
        yield from (same[start : start + BATCH] for start in range(0, len(same), BATCH))


def _hash(image: Pixels) -> str:
    return hashlib.sha256(repr(image.shape).encode() + np.ascontiguousarray(image).tobytes()).hexdigest()
