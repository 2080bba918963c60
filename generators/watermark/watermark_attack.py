"""Attacks on watermarks: each picture with every attack at every strength, marked pictures and unmarked ones alike.

It stands behind a generator that marks pictures, such as `watermark`. Unmarked pictures are attacked too, because a
detector is judged by both sides: one that takes attacked pictures for marked ones is no better than one that is fooled.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from pydantic import Field, field_validator

from variorum.generators.watermark.strips import mark_strips
from variorum.generators.watermark.watermarking.arms import PERCEPTUAL, Grid
from variorum.generators.watermark.watermarking.keys import keys_id, read_keys
from variorum.generators.watermark.watermarking.subjects import batches, subject_of
from variorum.generators.watermark.watermarking.target import check_material
from variorum.kit.diffusion.settings import check_settings
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Generator, Source, Use
from variorum.schemas.lookup import NestedSource
from variorum.schemas.sample import ENHANCED, Failure, Sample
from variorum.schemas.uses import all_models
from variorum.schemas.watermark import Attack, Mark, NestedAttack, NestedMark


class WatermarkAttack(Generator):
    """Each picture itself, and attacked: variants such as `stdm_jpeg_0.4`, and `original_jpeg_0.4` for an unmarked one.

    The strengths of an attack share their random numbers, so that they differ in strength alone. Objects and masks move
    along where pixels do. A picture that can't be attacked is a row with the reason, such as a model that is missing.
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
    """Marks from files of your own, which attacks on a mark can't find by name."""
    material: NestedSource | None = None
    """Source of the photographs that an attacker has; null is half of the recipe's, which is then not attacked."""
    keys: Path | None = None
    """The file of secret keys that `watermark` has; attacks on a mark need it."""

    @field_validator("strengths")
    @classmethod
    def _in_range(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        for strength in value:
            if not 0 < strength <= 1:
                raise ValueError(f"strength {strength:g} must be above 0 and at most 1")
        named = [f"{strength:g}" for strength in value]
        if not value or len(set(named)) < len(named):
            raise ValueError("must be one or more strengths, each once")
        return value

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
        return {**super().identity(), **({"keys": keys_id(self.keys)} if self._about_marks() else {})}

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
            for strength in self.strengths:
                attack.amount(strength)
            check_settings(attack, ctx)
        check_material(self.attacks, self.material, ctx)
        if self._about_marks():
            read_keys(self.keys)

    def generate(self, samples: Iterable[Sample], ctx: Context) -> Iterator[Sample | Failure]:
        """Each sample, and behind each batch its attacked pictures, attack by attack and strength by strength."""
        grid = Grid(self, self.attacks, self.strengths, ctx, marks=self.marks, material=self.material, keys=self.keys)
        for batch in batches(map(subject_of, samples)):
            for subject in batch:
                if not isinstance(subject.sample.image, bytes):
                    subject.sample.image.setflags(write=False)
                yield subject.sample
            yield from grid.attacked(batch)

    def _about_marks(self) -> bool:
        return any(attack.about_mark for attack in self.attacks)


def _distortions(*kinds: str) -> tuple[Attack, ...]:
    from variorum.generators.watermark.attacks.distortion import Distortion

    return tuple(Distortion(kind=kind) for kind in kinds)


def _check_names(names: Sequence[str], field: str) -> None:
    if twice := next((name for place, name in enumerate(names) if name in names[:place]), None):
        raise ValueError(f"two {field} are called {twice!r}; give one of them a label")
