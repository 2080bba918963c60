"""Patches: one cell of a photograph is replaced by what fools a network, by grey, or by a corruption of the photograph.

After Gu, Tresp & Qin, ECCV 2022 (arXiv 2111.10659). The budget is an area, not a distance: values in a patch are free,
and nothing outside it changes. Cells are those of a grid over what the network sees, so that a patch is a token of a
vision transformer with as large tokens. Beside each patch stands random noise in the same place, as the control.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import numpy as np
from pydantic import Field, field_validator, model_validator

from variorum.kit.attacks import ascent, budget
from variorum.kit.attacks.opponents import (
    Opponent,
    check_opponents,
    opponents,
    seen,
    victims_of,
    with_classes,
)
from variorum.kit.attacks.subjects import SMALLEST, Subject, answers_of, begun
from variorum.kit.corrupt.kinds import KINDS, corrupt, scale_of
from variorum.kit.gates import gates
from variorum.models.device import float32, one_thread
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Generator, Use
from variorum.schemas.errors import RecipeError
from variorum.schemas.sample import ENHANCED, Failure, Sample

if TYPE_CHECKING:
    from variorum.arrays import Bools, Pixels

Position = Literal["gradient", "random", "grid", "centre"]
Cell = tuple[slice, slice]
CONTROL, ADVERSARIAL, GREY = "control", "adversarial", "grey"
SHADE = 128
"""Grey level of a grey patch."""


class Place(NamedTuple):
    """Where one picture has its patches.

    Attributes:
        position: how the place was chosen.
        boxes: rows and columns of each patch.
        mask: their pixels, `[H, W]`.
        noise: the photograph with random noise there, `[H, W, 3]`.
        cell: number of the cell in a grid, row by row; -1 unless `position` is `grid`.
    """

    position: str
    boxes: Sequence[Cell]
    mask: Bools
    noise: Pixels
    cell: int = -1

    @property
    def purpose(self) -> str:
        """Of the seed of its noise."""
        return self.position if self.cell < 0 else f"{self.position}_{self.cell}"


class PatchPerturbation(Generator):
    """The `original` in its frame, and for each position a `control` and one picture for each kind of patch.

    Variants are called by both: `adversarial_gradient`, `control_centre`. With `grid` there is a picture for each cell.
    Only photographs that all attacked models are right about get patches. `mask.png` is white where the patches are.
    """

    keeps_objects: ClassVar[bool] = True
    digital_source_type: ClassVar[str] = ENHANCED

    kinds: tuple[str, ...] = (ADVERSARIAL, GREY, "defocus_blur")
    """What is in a patch: `adversarial`, `grey`, or a corruption of the generator `corruption`. The whole photograph is
    corrupted and a cell of it taken, so that a blur reads what is beside it. Random noise is always made."""
    positions: tuple[Position, ...] = ("gradient",)
    """`gradient`: where the attacked models' gradients are largest. `random`: drawn for each photograph. `grid`: every
    cell, one picture each; `patch` must then divide what the models see. `centre`: the cell in the middle, or the one
    before it."""
    patch: int = Field(default=32, ge=8, le=96)
    """Pixels of a patch's side, in the frame."""
    count: int = Field(default=1, ge=1, le=4)
    """Patches in a picture, for the positions `gradient` and `random`."""
    steps: int = Field(default=60, ge=1, le=10_000)
    """Most steps of an adversarial patch, from the control's noise; the first that fools all models is kept."""
    step: int = Field(default=8, ge=1, le=255)
    """Grey levels that a value changes by in a step."""
    severity: int = Field(default=5, ge=1, le=5)
    """Of corruptions."""
    adversaries: tuple[str, ...] = Field(default=("adversary",), min_length=1, max_length=8)
    """Models that are attacked together, as for `adversarial_example`. Patches lie in what all of them see."""
    frame: int = Field(default=256, ge=SMALLEST, le=1024)
    """Side of the square that the middle of a picture is cut to, with its short side resized to it."""
    against: Literal["label", "prediction"] = "label"
    """What the models should no longer answer: the label, or their own answer, for pictures without labels."""
    batch: int = Field(default=1, ge=1, le=1024)
    """Patches of one photograph that are attacked at once. One is fastest on a CPU. The bytes may depend on it."""

    @field_validator("kinds", "positions")
    @classmethod
    def _each_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or len(set(value)) < len(value):
            raise ValueError("must be one or more, each once")
        return value

    @model_validator(mode="after")
    def _possible(self) -> PatchPerturbation:
        there = (ADVERSARIAL, GREY, *KINDS)
        if other := next((one for one in self.kinds if one not in there), ""):
            raise ValueError(f"no kind is called {other!r}; noise is always made, and there are {', '.join(there)}")
        if self.count > 1 and (single := {"grid", "centre"} & {*self.positions}):
            raise ValueError(f"count is {self.count}, and {min(single)} has one patch a picture; leave one of them out")
        return self

    def uses(self) -> list[Use]:
        """Return the attacked models. Which pictures are made depends on them."""
        return [Use(alias, "adversary", decides=True, batch=self.batch) for alias in dict.fromkeys(self.adversaries)]

    def check(self, ctx: Context) -> None:
        """Raise RecipeError if a model gives no gradients."""
        check_opponents(self, ctx)

    def generate(self, samples: Iterable[Sample], ctx: Context) -> Iterator[Sample | Failure]:
        """The original and the patched pictures of each sample, or a Failure for each variant.

        Raises:
            RecipeError: the patches don't fit into what the models see.
        """
        models: list[Opponent] = []
        ctx = with_classes(ctx)
        for sample in samples:
            wanted = [self._wanted(*one) for one in self._every()]
            subject = begun(self, sample, ctx, self.frame, [(one["variant"], one["requested"]) for one in wanted])
            if not isinstance(subject, Subject):
                yield from subject
                continue
            models = models or list(opponents(self, subject.framed.image, ctx))
            with one_thread(), float32():
                self._make(subject, models)
            yield from subject.made

    def _make(self, subject: Subject, models: Sequence[Opponent]) -> None:
        """Add the original and all patched pictures of a photograph, or why there are none."""
        of, image = subject.of, subject.framed.image
        subject.look(models, guess=self.against == "prediction")
        subject.original(models, np.zeros(image.shape[:2], np.uint8))
        if problem := subject.problem(models):
            reason, detail, checks = problem
            subject.made += [of.skipped(reason, detail, gates=checks, **self._wanted(*one)) for one in self._every()]
            return
        grid = self._grid(_seen(models, self.frame))
        places = [place for position in self.positions for place in self._places(position, grid, subject, models)]
        for place in places:
            self._add(subject, models, CONTROL, place, place.noise)
        for kind in self.kinds:
            if kind == ADVERSARIAL:
                for start in range(0, len(places), self.batch):
                    self._attack(subject, models, places[start : start + self.batch])
                continue
            whole = np.full_like(image, SHADE)
            if kind != GREY:
                whole = corrupt(image, kind, self.severity, of.rng(kind), scale=scale_of(kind, self.frame)).image
            for place in places:
                self._add(subject, models, kind, place, np.where(place.mask[..., None], whole, image))

    def _grid(self, visible: Bools) -> list[list[Cell]]:
        """The cells that patches may fill. Raises RecipeError if they don't fit, or don't tile what is seen."""
        grid, (high, wide) = cells(visible, self.patch), (int(visible.any(axis).sum()) for axis in (1, 0))
        fit = sum(map(len, grid))
        if fit < self.count or ("grid" in self.positions and fit * self.patch**2 != high * wide):
            sides = ", ".join(str(side) for side in range(8, 97) if not (high % side or wide % side)) or "none"
            raise RecipeError(
                f"{self.component_name()}.patch: {fit} patches of {self.patch} pixels fit into {high} x {wide}, which "
                f"is what the models see of a frame of {self.frame}; there must be at least {self.count} (count), and "
                f"for the position grid they must tile it, as these do: {sides}"
            )
        return grid

    def _wanted(self, kind: str, position: str, cell: int = -1) -> dict[str, Any]:
        """Variant and request of a picture."""
        more: dict[str, Json] = {} if kind == CONTROL else {"sources": list(self.adversaries), "against": self.against}
        if kind == ADVERSARIAL:
            more |= {"steps": self.steps, "step": self.step}
        elif kind in KINDS:
            more["severity"] = self.severity
        if cell >= 0:
            more["cell"] = cell
        asked = {"attack": kind, "position": position, "patch": self.patch, "count": self.count, "frame": self.frame}
        return {"variant": f"{kind}_{position}", "requested": {**asked, **more}}

    def _every(self) -> list[tuple[str, str]]:
        """Kind and position of each variant."""
        return [(kind, position) for position in self.positions for kind in (CONTROL, *self.kinds)]

    def _places(
        self, position: str, grid: Sequence[Sequence[Cell]], subject: Subject, models: Sequence[Opponent]
    ) -> Iterator[Place]:
        """Where the pictures of a position have their patches."""
        of, image = subject.of, subject.framed.image
        every = [box for row in grid for box in row]
        if position == "grid":
            chosen = [[box] for box in every]
        elif position == "centre":
            middle = grid[(len(grid) - 1) // 2]
            chosen = [[middle[(len(middle) - 1) // 2]]]
        elif position == "random":
            chosen = [[every[n] for n in of.rng("cells").choice(len(every), self.count, replace=False).tolist()]]
        else:
            steepness = _slope(subject, models, 1)(_tensor([image]))[0].abs().sum(0).numpy()
            sums = [-steepness[box].sum() for box in every]
            chosen = [[every[n] for n in np.argsort(sums, kind="stable")[: self.count].tolist()]]
        channels = 1 if budget.is_grey(image) else 3
        for number, boxes in enumerate(chosen):
            cell = number if position == "grid" else -1
            place = Place(position, boxes, np.zeros(image.shape[:2], bool), image.copy(), cell)
            rng = of.rng(place.purpose)
            for box in boxes:
                place.mask[box] = True
                place.noise[box] = rng.integers(0, 256, (self.patch, self.patch, channels))
            yield place

    def _attack(self, subject: Subject, models: Sequence[Opponent], places: Sequence[Place]) -> None:
        """Add an adversarial patch in each place: it begins as the noise there, and moves by whole grey levels."""
        import torch

        filled = [places[min(n, len(places) - 1)] for n in range(self.batch)]  # gradients depend on the batch's size
        state, where = _tensor([one.noise for one in filled]), torch.from_numpy(np.stack([one.mask for one in filled]))
        where, slope = where[:, None], _slope(subject, models, self.batch)
        end = ascent.climb(
            state, state.where(~where, 0), state.where(~where, 255), lambda now: slope(now) * where,
            steps=self.steps, step=self.step, done=lambda: slope.first >= 0,
        )  # fmt: skip
        found = end.numpy().transpose(0, 2, 3, 1).astype(np.uint8)
        for number, place in enumerate(places):
            if slope.flat[number]:
                wanted = self._wanted(ADVERSARIAL, place.position, place.cell)
                detail = "the gradient is zero or not finite at the picture with noise"
                subject.made.append(subject.of.skipped("no_gradient", detail, status="failed", **wanted))
            else:
                self._add(subject, models, ADVERSARIAL, place, found[number], int(slope.first[number]))

    def _add(
        self, subject: Subject, models: Sequence[Opponent], kind: str, place: Place, image: Pixels, first: int = -1
    ) -> None:
        """Add a picture with patches, judged as it is stored; `first` is the step from which all models were fooled."""
        before, aims = subject.framed.image, subject.aims
        said = answers_of(models, image)
        gap = min(aims[one.alias].margin(said[one.alias]) for one in models)
        clean = max(aims[one.alias].margin(subject.said[one.alias]) for one in models)
        change, side = budget.norms(before, image), self.patch
        boxes: list[Json] = [[across.start, down.start, side, side] for down, across in place.boxes]
        achieved: dict[str, Json] = {**budget.measured(change), "margin": round(gap, 6), "boxes": boxes}
        if kind == ADVERSARIAL:
            steps = self.steps if first < 0 else first
            achieved["gradients"] = min(steps + 1, self.steps) * len(models)
            achieved["steps_to_success"] = steps if gap > 0 else None
        checks = {
            "outside": gates.at_most(int((image != before).any(2)[~place.mask].sum()), 0),
            "hidden": gates.at_most(int((place.mask & ~_seen(models, self.frame)).sum()), 0),
            "source_right": gates.gate(clean, True, "< 0"),
            "changed": gates.at_least(change.l0, 1),
            "fooled": gates.recorded(gap),
        }
        purpose = kind if kind in KINDS else place.purpose
        subject.add(image, models, said, achieved, place.mask.astype(np.uint8) * 255, gates=checks, purpose=purpose,
                    **self._wanted(kind, place.position, place.cell))  # fmt: skip


def cells(visible: Bools, patch: int) -> list[list[Cell]]:
    """Rows of the cells of a grid over what is seen, from its upper left corner: rows and columns of pixels of each.

    Args:
        visible: pixels that networks see, `[H, W]`; their bounding box counts.
        patch: pixels of a cell's side. What is left at the right and below is in no cell.
    """
    rows, columns = (np.flatnonzero(visible.any(axis)) for axis in (1, 0))
    down, across = (
        [slice(start, start + patch) for start in range(int(one[0]), int(one[-1]) - patch + 2, patch)]
        for one in (rows, columns)
    )
    return [[(high, wide) for wide in across] for high in down]


def _seen(models: Sequence[Opponent], side: int) -> Bools:
    """Pixels of a frame that all models see, `[side, side]`."""
    return np.asarray(np.all([seen([one], side, side) for one in models], axis=0), bool)


def _slope(subject: Subject, models: Sequence[Opponent], number: int) -> ascent.Slope:
    """The gradient of the models' margins, of pictures of one photograph."""
    import torch

    aims = [[subject.aims[one.alias]] * number for one in models]
    return ascent.Slope(victims_of(models, aims), "margin", torch.full((number,), budget.is_grey(subject.framed.image)))


def _tensor(images: Sequence[Pixels]) -> Any:
    import torch

    return torch.from_numpy(np.stack(images).transpose(0, 3, 1, 2).astype(np.float32))
