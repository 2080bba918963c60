"""Drawing pictures with a diffusion model, again with another seed where the safety checker objects.

A picture that is still flagged after the last redraw counts as `filtered_nsfw` and is dropped, unless the recipe keeps
it in the quarantine. It is never painted black.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from variorum.schemas.canonical import Json
from variorum.schemas.component import Models, Use
from variorum.schemas.edit import Edit
from variorum.schemas.sample import Failure, Gate

if TYPE_CHECKING:
    from variorum.arrays import Pixels


class Safety(BaseModel):
    """The treatment of pictures that are not safe for work."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    checker: str | None = "safety_checker"
    """Alias of the model that flags them; null for no check."""
    redraws: int = Field(default=3, ge=0, le=20)
    """How often a flagged picture is drawn again, each time with another seed."""
    keep: bool = False
    """Keep pictures that are flagged to the end in the quarantine, for people to look at; otherwise only a row of the
    edition's table remains."""

    def uses(self) -> list[Use]:
        """Return the checker, if there is one; it decides."""
        return [] if self.checker is None else [Use(self.checker, decides=True)]


@dataclass(frozen=True, slots=True)
class Request:
    """One picture that is asked for.

    Attributes:
        of: seeds, models and records for the sample that it is made from.
        variant: what users group it by: `guidance_1.5`.
        requested: all that is asked for; with the variant it decides the picture's id.
        setting: the variant's guidance or strength. A call to the model has one setting.
        number: of the picture among its sample's, from 0; one number has the same seeds at every setting.
        prompt: `""` for a model without prompts.
        problem: why it can't be made, in a word and in a sentence.
    """

    of: Edit
    variant: str
    requested: Mapping[str, Json]
    setting: float
    number: int
    prompt: str = ""
    problem: tuple[str, str] | None = None

    def skipped(self, reason: str, detail: str, gates: Mapping[str, Gate] | None = None) -> Failure:
        """The Failure in the picture's place."""
        return self.of.skipped(reason, detail, variant=self.variant, requested=self.requested, gates=gates)


@dataclass(slots=True)
class Drawn:
    """A picture, and how it was drawn.

    Attributes:
        image: RGB `[H, W, 3]` uint8.
        attempt: which of its seeds was used, from 0.
        together: number of pictures in the same call.
        margin: by how much the safety checker's score exceeds its limit; None without a checker.
        notes: the scorer's opinion.
        facts: what else was measured on it.
    """

    image: Pixels
    attempt: int
    together: int
    margin: float | None = None
    notes: Mapping[str, Gate] = field(default_factory=dict)
    facts: Mapping[str, Json] = field(default_factory=dict)

    @property
    def flagged(self) -> bool:
        """Return whether the safety checker objects."""
        return self.margin is not None and self.margin > 0


def noise(number: int, attempt: int = 0) -> str:
    """The purpose of a seed: the noise of a sample's picture `number`, drawn for the `attempt`th time from 0."""
    return f"noise/{number}/{attempt}"


Call: TypeAlias = "Callable[[Sequence[Request], Sequence[int], float], list[Pixels]]"
"""A call to the model: one picture for each request and its seed, all at one setting."""


def draw(requests: Sequence[Request], call: Call, safety: Safety, models: Models) -> list[Drawn]:
    """One picture per request, in order; flagged ones are drawn again with their next seed."""
    drawn: dict[int, Drawn] = {}
    for setting in dict.fromkeys(request.setting for request in requests):
        left = [place for place, request in enumerate(requests) if request.setting == setting]
        for attempt in range(safety.redraws + 1):
            part = [requests[place] for place in left]
            images = call(part, [request.of.seed(noise(request.number, attempt)) for request in part], setting)
            drawn |= {place: Drawn(image, attempt, len(part)) for place, image in zip(left, images, strict=True)}
            if safety.checker is None:
                break
            for place, margin in zip(left, models.get(safety.checker)(images), strict=True):
                drawn[place].margin = round(float(margin), 6)
            left = [place for place in left if drawn[place].flagged]
            if not left:
                break
    return [drawn[place] for place in range(len(requests))]
