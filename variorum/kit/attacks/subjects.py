"""Photographs in their frames, what models under attack say of them, and the records of what is made of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from variorum.kit.attacks import budget
from variorum.kit.attacks.opponents import Aim, Opponent, first_of
from variorum.kit.corrupt.frames import Framed, Unusable, framed
from variorum.kit.gates import gates
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Generator
from variorum.schemas.edit import Edit
from variorum.schemas.lookup import cut
from variorum.schemas.sample import Failure, Gate, Sample

if TYPE_CHECKING:
    from variorum.arrays import Pixels, Singles

SMALLEST = 28
"""Pixels of a frame's side, and of a picture's shorter side."""
Said: TypeAlias = "Mapping[str, Singles]"
"""Probabilities `[K]` of a picture by alias."""
Problem: TypeAlias = tuple[str, str, dict[str, Gate]]
"""A reason, a sentence, and the check that was failed."""


@dataclass(slots=True)
class Subject:
    """A photograph in its frame, what the models say of it, and what is made of it.

    Attributes:
        of: makes records.
        framed: the photograph.
        said: probabilities `[K]`, by alias.
        aims: what each model should no longer answer, by alias; no output at all if it doesn't know the label.
        target: id of the class that is aimed at; `""` for none.
        why_not: why no attack can aim at a class, as reason and detail; None if one can.
        lent: pictures that it is made to resemble, in their frames; the record of a control has their classes too.
        made: its pictures so far.
    """

    of: Edit
    framed: Framed
    said: dict[str, Singles] = field(default_factory=dict)
    aims: dict[str, Aim] = field(default_factory=dict)
    target: str = ""
    why_not: tuple[str, str] | None = None
    lent: list[tuple[Pixels, Sample]] = field(default_factory=list)
    made: list[Sample | Failure] = field(default_factory=list)

    def look(self, models: Iterable[Opponent], *, guess: bool = False) -> None:
        """Ask models about it. What they should no longer answer is its labels, or with `guess` their own answer."""
        for one in models:
            said = self.said[one.alias] = one.answers([self.framed.image])[0]
            self.aims[one.alias] = Aim(first_of(said) if guess else one.outputs(self.of.sample.labels))

    def unknown(self, own: Iterable[Opponent]) -> Problem | None:
        """Why a model can't be right or wrong about it."""
        for model in own:
            right = self.aims[model.alias].away
            if not right.any():
                labels = ", ".join(self.of.sample.labels) or "it has none"
                return "no_such_class", f"{model.alias} has no output for the picture's label ({cut(labels)})", {}
            if right.all():
                return "no_other_class", f"{model.alias} has no output beside the picture's labels", {}
        return None

    def problem(self, own: Sequence[Opponent], *, aiming: bool = True) -> Problem | None:
        """Why it can't be attacked, or when `aiming` not at a class: reason, sentence, and the check that it failed."""
        for model in own:
            right, said = self.aims[model.alias].away, self.said[model.alias]
            if problem := self.unknown([model]):
                return problem
            if not right[said.argmax()]:
                checks = {"source_right": gates.gate(Aim(right).margin(said), False, "< 0")}
                return "source_misclassified", f"{model.alias} takes it for {model.names[int(said.argmax())]}", checks
        return (*self.why_not, {}) if self.why_not and aiming else None

    def add(
        self,
        image: Pixels,
        models: Sequence[Opponent],
        said: Said,
        achieved: Mapping[str, Json],
        mask: Pixels | None = None,
        **record: Any,
    ) -> None:
        """Add a picture, with each model's probability of the label, None if it doesn't know it, and first answer.

        Its `mask.png` is this one, or by default the photograph's.
        """
        mask = self.framed.mask if mask is None else mask
        p_label = chances(models, said, self.of.sample.labels)
        top1: dict[str, Json] = {one.alias: one.names[int(said[one.alias].argmax())] for one in models}
        made = self.of.made(
            image,
            achieved={**achieved, "p_label": p_label, "top1": top1},
            extras={} if mask is None else {"mask.png": mask},
            annotations=self.framed.annotations,
            models={one.alias: one.pin for one in models},
            **record,
        )
        self.made.append(made)

    def original(self, models: Sequence[Opponent], mask: Pixels | None = None) -> None:
        """Add the photograph in its frame."""
        sample, side = self.of.sample, len(self.framed.image)
        enlarged: dict[str, Json] = {"enlarged": min(np.shape(sample.image)[:2]) < side}
        self.add(self.framed.image, models, self.said, enlarged, mask, variant="original", requested={"frame": side},
                 digital_source_type=sample.digital_source_type)  # fmt: skip

    def control(self, image: Pixels, models: Sequence[Opponent], variant: str, requested: Mapping[str, Json]) -> None:
        """Add a picture that was changed at random."""
        said, change = answers_of(models, image), budget.norms(self.framed.image, image)
        checks = {"changed": gates.at_least(change.l0, 1)}
        aimed: dict[str, Json] = {"targets": [one.labels[0] for _, one in self.lent]} if self.lent else {}
        self.add(image, models, said, {**budget.measured(change), **aimed}, variant=variant, requested=requested,
                 gates=checks, purpose=variant)  # fmt: skip


def chances(models: Sequence[Opponent], said: Said, labels: Sequence[str]) -> dict[str, Json]:
    """Each model's probability of labels, None if it doesn't know them."""
    own = {one.alias: one.outputs(labels) for one in models}
    return {name: round(float(said[name][of].sum()), 6) if of.any() else None for name, of in own.items()}


def begun(
    generator: Generator, sample: Sample, ctx: Context, side: int, wanted: Iterable[tuple[str, Mapping[str, Json]]]
) -> Subject | list[Sample | Failure]:
    """A sample in its frame, or why there are neither the original nor the variants that are wanted."""
    of = Edit(generator, sample, ctx)
    try:
        return Subject(of, framed(sample, side, larger=1.0, least=SMALLEST))
    except Unusable as error:
        every: list[tuple[str, Mapping[str, Json]]] = [("original", {"frame": side}), *wanted]
        return [of.skipped(error.reason, str(error), variant=name, requested=asked) for name, asked in every]


def answers_of(models: Iterable[Opponent], image: Pixels) -> dict[str, Singles]:
    """What models say of a stored picture."""
    return {one.alias: one.answers([image])[0] for one in models}
