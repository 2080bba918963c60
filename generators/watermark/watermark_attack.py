"""Attacks on watermarks: each picture with every attack at every strength, marked pictures and unmarked ones alike.

It stands behind a generator that marks pictures, such as `watermark`. Unmarked pictures are attacked too, because a
detector is judged by both sides: one that takes attacked pictures for marked ones is no better than one that is fooled.

A photograph has hundreds of attacked pictures, at 110 KB each for 256 pixels. With `keep: records` they are judged as
they are made, and not stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from variorum.generators.watermark.strips import mark_strips
from variorum.generators.watermark.watermarking.arms import PERCEPTUAL, Grid
from variorum.generators.watermark.watermarking.keys import keys_id, read_keys
from variorum.generators.watermark.watermarking.records import recorded
from variorum.generators.watermark.watermarking.subjects import batches, subject_of
from variorum.generators.watermark.watermarking.target import check_material
from variorum.kit.diffusion.settings import check_settings
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Generator, Source, Use
from variorum.schemas.lookup import NestedSource
from variorum.schemas.sample import ENHANCED, Failure, Sample
from variorum.schemas.uses import all_models
from variorum.schemas.watermark import Attack, Mark, NestedAttack, NestedMark, checked_strengths


class WatermarkAttack(Generator):
    """Each picture itself, and attacked: variants such as `stdm_jpeg_0.4`, and `original_jpeg_0.4` for an unmarked one.

    The strengths of an attack share their random numbers, so that they differ in strength alone. Objects and masks move
    along where pixels do. A picture that can't be attacked is a row with the reason, such as a model that is missing.

    With `keep: records` each picture before the attack has the member `attacked.json` in place of the attacked ones:
    what was asked for and measured, the seed, the sha256 of the PNG, and what each mark's detector found. The same
    recipe with `keep: pictures` makes those very pictures.
    """

    keeps_objects: ClassVar[bool] = True
    takes_turns: ClassVar[bool] = True
    digital_source_type: ClassVar[str] = ENHANCED
    location: ClassVar[frozenset[str]] = frozenset({"keys"})
    card_pictures = staticmethod(mark_strips)

    attacks: tuple[NestedAttack, ...] = Field(default_factory=lambda: _distortions("jpeg", "blur"), min_length=1)
    """The attacks, each at its own strengths."""
    strengths: tuple[float, ...] = (0.2, 0.4, 0.6, 0.8, 1.0)
    """Relative, above 0 and at most 1; an attack says what they mean in absolute terms."""
    marks: tuple[NestedMark, ...] = ()
    """Marks from files of your own, which attacks on a mark and `keep: records` can't find by name."""
    keep: Literal["pictures", "records"] = "pictures"
    """What is stored of attacked pictures: themselves, or only their records."""
    material: NestedSource | None = None
    """Source of the photographs that an attacker has; null is half of the recipe's, which is then not attacked."""
    keys: Path | None = None
    """The file of secret keys that `watermark` has; attacks on a mark need it, and so does `keep: records`."""

    _in_range = field_validator("strengths")(checked_strengths)

    @field_validator("attacks")
    @classmethod
    def _attacks_told_apart(cls, value: tuple[Attack, ...]) -> tuple[Attack, ...]:
        _check_names([attack.called for attack in value], "attacks")
        return value

    @field_validator("marks")
    @classmethod
    def _marks_told_apart(cls, value: tuple[Mark, ...]) -> tuple[Mark, ...]:
        _check_names([mark.called for mark in value], "marks")
        return value

    def identity(self) -> dict[str, Json]:
        """The fields; where an attack is about the mark, the hash of the keys stands for their file."""
        found = {**super().identity(), **({"keys": keys_id(self.keys)} if self._need_keys() else {})}
        if self.keep == "pictures":
            del found["keep"]  # so that ids are those of editions from before there was a choice
        return found

    def uses(self) -> list[Use]:
        """Return the models of its attacks and marks, and the one behind `lpips`; it does without any."""
        wanted = {*all_models(*self.attacks, *self.marks), PERCEPTUAL}
        return [Use(alias, optional=True) for alias in sorted(wanted)]

    def references(self) -> dict[str, Source]:
        """The attacker's source, if he has one of his own."""
        return {} if self.material is None else {"material": self.material}

    def check(self, ctx: Context) -> None:
        """Raise RecipeError or SourceError.

        An attack can't have one of the strengths, or its model doesn't take its settings; an attacker lacks
        photographs, or there are no usable keys.
        """
        for attack in self.attacks:
            for strength in attack.strengths or self.strengths:
                attack.amount(strength)
            check_settings(attack, ctx)
        check_material(self.attacks, self.material, ctx)
        if self._need_keys():
            read_keys(self.keys)

    def generate(self, samples: Iterable[Sample], ctx: Context) -> Iterator[Sample | Failure]:
        """Each sample and, for each batch, its attacked pictures, attack by attack and strength by strength."""
        maker = self.model_copy(update={"keep": "pictures"})
        own = {mark.called: mark for mark in self.marks}
        grid = Grid(maker, self.attacks, self.strengths, ctx, marks=self.marks, material=self.material, keys=self.keys)
        for batch in batches(map(subject_of, samples)):
            for subject in batch:
                if not isinstance(subject.sample.image, bytes):
                    subject.sample.image.setflags(write=False)
            before = [subject.sample for subject in batch]
            if self.keep == "records":
                yield from recorded(before, grid.attacked(batch), own, self.keys, ctx)
            else:
                yield from before
                yield from grid.attacked(batch)

    def _need_keys(self) -> bool:
        return self.keep == "records" or any(attack.about_mark for attack in self.attacks)


def _distortions(*kinds: str) -> tuple[Attack, ...]:
    from variorum.generators.watermark.attacks.distortion import Distortion

    return tuple(Distortion(kind=kind) for kind in kinds)


def _check_names(names: Sequence[str], field: str) -> None:
    if twice := next((name for place, name in enumerate(names) if name in names[:place]), None):
        raise ValueError(f"two {field} are called {twice!r}; give one of them a label")
