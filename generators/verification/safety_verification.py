"""Safety verification: is a network right on every picture in a small region around a photograph?

After Huang et al. (CAV 2017, arXiv 1610.06940), who search such regions layer by layer with an SMT solver. A stored
picture has whole grey levels, so a region of a few pixels is a finite set, and looking at all of it is a complete proof
without a solver. Bounds by interval arithmetic prove nothing about networks that were trained in the ordinary way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from variorum.kit.attacks import budget
from variorum.kit.attacks.ascent import Slope
from variorum.kit.attacks.opponents import Aim, Opponent, opponent, seen, victims_of, with_classes, with_outputs
from variorum.kit.attacks.subjects import SMALLEST, Subject
from variorum.kit.corrupt.frames import Framed, Unusable, framed
from variorum.models.device import float32, one_thread
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Generator, Use
from variorum.schemas.edit import Edit
from variorum.schemas.sample import ENHANCED, Failure, Sample

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools, Ints, Pixels, Singles

MOST_PIXELS = 12
NEAR = 1e-3
"""Where two answers are nearer than this, in log probabilities, the picture is asked about alone, as the rounding of a
batch could decide."""
ARITHMETIC = f"floating point as the model ran; pictures alone within {NEAR:g}"
NO_GRADIENT = "no_gradient", "the gradient of the margin is zero or not finite at the picture", "failed"
Verdict = Literal["safe", "safe_on_grid", "unsafe", "undecided"]


class Region(BaseModel):
    """Pictures around one, see `SafetyVerification.regions`."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")

    pixels: int | tuple[tuple[int, int], ...] = 4
    levels: int = Field(ge=1, le=255)
    step: int = Field(default=1, ge=1, le=255)

    @field_validator("pixels")
    @classmethod
    def _few(cls, value: int | tuple[tuple[int, int], ...]) -> int | tuple[tuple[int, int], ...]:
        number = value if isinstance(value, int) else len(value)
        if not 0 <= number <= MOST_PIXELS or (not isinstance(value, int) and len({*value}) < number):
            raise ValueError(f"must be 0 to {MOST_PIXELS}, or as many different places [row, column]")
        return value

    @model_validator(mode="after")
    def _moves(self) -> Region:
        if self.step > self.levels:
            raise ValueError(f"a step of {self.step} is beyond the region's {self.levels} levels")
        return self

    @property
    def name(self) -> str:
        """Its name in variants: `k4_e8`, `k4_e64_s64`."""
        number = self.pixels if isinstance(self.pixels, int) else len(self.pixels)
        return f"k{number}_e{self.levels}{f'_s{self.step}' if self.step > 1 else ''}"


class Certificate(Region):
    """What was found out about a region, whose `pixels` are rows and columns, the most influential first.

    Attributes:
        verdict: `safe`: right on every picture of the region; `safe_on_grid`: on every one that was tried, at a step
            beyond 1; `unsafe`: wrong on one; `undecided`: right on all that were tried, and not all were.
        visited: pictures that were looked at, the nearest first.
        model: pin of the network.
        arithmetic: how it was computed. The proof is of this, not of exact numbers.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(strict=True)

    pixels: tuple[tuple[int, int], ...]
    verdict: Verdict
    visited: int = Field(ge=1)
    model: str
    arithmetic: str

    @model_validator(mode="after")
    def _proved(self) -> Certificate:
        if self.verdict == "safe" and self.step > 1:
            raise ValueError(f"a step of {self.step} proves nothing of what lies between")
        return self


class SafetyVerification(Generator):
    """The `original` with a certificate for each region around it, and the nearest counterexample of an unsafe one.

    That of a region `k4_e8` is `wrong_k4_e8`, beside `control_k4_e8` with noise of the same L2 norm. Objects and the
    mask stay. The certificates are in the original's record.
    """

    keeps_objects: ClassVar[bool] = True
    digital_source_type: ClassVar[str] = ENHANCED

    regions: tuple[Region, ...] = Field(default=(Region(pixels=4, levels=4),), min_length=1)
    """Each with `pixels` (4): how many, those with the steepest margin, 0 to 12, or places [row, column]; `levels`, by
    how many grey levels each of their values may move; `step` (1) between the values that are tried. Only a step of 1
    proves something of the region. The channels of a grey picture move together, and those of another one by
    themselves. Values beyond 0 and 255 become 0 and 255."""
    adversary: str = "judge_adversary"
    """The network: an alias of one with gradients, or a user's own, such as `timm:resnet50.a1_in1k`."""
    limit: int = Field(default=20_000, ge=1, le=1_000_000)
    """Pictures of a region that are looked at, at most. In a larger region the nearest ones are, and it stays
    `undecided` if none of them is a counterexample."""
    frame: int = Field(default=SMALLEST, ge=SMALLEST, le=1024)
    """Side of the square that the middle of a picture is cut to, with its short side resized to it."""
    batch: int = Field(default=256, ge=1, le=4096)
    """Pictures that the network is asked about at once. No verdict depends on it."""

    @model_validator(mode="after")
    def _apart(self) -> SafetyVerification:
        names = [one.name for one in self.regions]
        if twice := next((name for name in names if names.count(name) > 1), ""):
            raise ValueError(f"two regions would be called {twice}; put one of them into another recipe")
        given = [place for one in self.regions if not isinstance(one.pixels, int) for place in one.pixels]
        if outside := [place for place in given if not all(0 <= number < self.frame for number in place)]:
            raise ValueError(f"the pixel {list(outside[0])} is outside of a frame of {self.frame}")
        return self

    def uses(self) -> list[Use]:
        """Return the network. Which counterexamples there are depends on it."""
        return [Use(self.adversary, "adversary", decides=True, batch=self.batch)]

    def check(self, ctx: Context) -> None:
        """Raise RecipeError if a user's own model gives no gradients."""
        if ctx.models.role(self.adversary) is None:
            opponent(self.adversary, ctx, f"{self.component_name()}.adversary", gradients=True)

    def edit(self, sample: Sample, of: Edit) -> Iterator[Sample | Failure]:
        """The original, and for each region its counterexample with a control, or a Failure that says why not."""
        asked: dict[str, Json] = {"frame": self.frame, "regions": [one.model_dump(mode="json") for one in self.regions]}
        try:
            picture = framed(sample, self.frame, larger=1.0, least=SMALLEST)
        except Unusable as error:
            yield of.skipped(error.reason, str(error), variant="original", requested=asked)
            for region in self.regions:
                yield self._none(of, region, error.reason, str(error))
            return
        image = picture.image
        of.model(self.adversary)
        model = with_outputs(opponent(self.adversary, of.ctx, "", gradients=True), image, with_classes(of.ctx))
        subject = Subject(of, picture)
        subject.look([model])
        right, problem = model.outputs(sample.labels), subject.problem([model])
        certificates: list[Json] = []
        made: list[Sample | Failure] = []
        for region in self.regions:
            pixels = None if problem else self._pixels(region, model, right, image)
            if problem or pixels is None:
                made.append(self._none(of, region, *(problem[:2] if problem else NO_GRADIENT)))
                continue
            verdict, visited, wrong = self._search(region, pixels, model, right, image)
            certificate = Certificate(
                pixels=tuple((int(row), int(column)) for row, column in pixels), levels=region.levels, step=region.step,
                verdict=verdict, visited=visited, model=model.pin, arithmetic=ARITHMETIC,
            )  # fmt: skip
            certificates.append(certificate.model_dump(mode="json"))
            if wrong is None:
                detail = f"right on the {visited} nearest pictures of {region.name}"
                made.append(self._none(of, region, verdict, detail))
            else:
                made += self._wrong(of, region, model, picture, wrong)
        yield self._made(of, picture, image, model, "original", asked, {"certificates": certificates},
                         digital_source_type=sample.digital_source_type)  # fmt: skip
        yield from made

    def _pixels(self, region: Region, model: Opponent, right: Bools, image: Pixels) -> Ints | None:
        """Rows and columns `[k, 2]` of the pixels that move; None if no gradient tells which."""
        if not isinstance(region.pixels, int):
            return np.array(region.pixels, np.int64).reshape(-1, 2)
        influence = steepness(model, right, image) if region.pixels else np.ones(image.shape[:2])
        if not influence.any():  # what isn't finite is 0
            return None
        steepest = np.argsort(-influence.ravel(), kind="stable")[: region.pixels]
        return np.stack(np.unravel_index(steepest, influence.shape), 1).astype(np.int64)

    def _search(
        self, region: Region, pixels: Ints, model: Opponent, right: Bools, image: Pixels
    ) -> tuple[Verdict, int, Pixels | None]:
        """Look at the pictures of a region, the nearest first, until the network is wrong about one.

        Returns:
            The verdict, how many were looked at, and the one that the network is wrong about.
        """
        moves, whole = nearest_moves(values_of(image, pixels).ravel(), region.levels, region.step, self.limit)
        for start in range(0, len(moves), self.batch):
            pictures = moved(image, pixels, moves[start : start + self.batch])
            wrong = wrong_about(list(pictures), model, right)
            if wrong.any():
                first = int(wrong.argmax())
                return "unsafe", start + first + 1, pictures[first]
        if not whole:
            return "undecided", len(moves), None
        return "safe" if region.step == 1 else "safe_on_grid", len(moves), None

    def _wrong(self, of: Edit, region: Region, model: Opponent, picture: Framed, found: Pixels) -> Iterator[Sample]:
        """The counterexample, and noise of the same L2 norm."""
        asked, image, variant = self._wanted(region), picture.image, f"control_{region.name}"
        far = int(np.abs(found.astype(np.int64) - image).sum()) // (3 if budget.is_grey(image) else 1)
        wanted: dict[str, Json] = {**asked, "attack": "search"}
        yield self._made(of, picture, found, model, f"wrong_{region.name}", wanted, {"l1": far})
        where, squares = seen([model], *image.shape[:2]), budget.norms(image, found).squares
        control = budget.random_specks(image, squares, of.rng(variant), where)
        wanted = {**asked, "attack": "control", "like": f"wrong_{region.name}"}
        yield self._made(of, picture, control, model, variant, wanted, {}, purpose=variant)

    def _made(self, of: Edit, picture: Framed, image: Pixels, model: Opponent, variant: str, asked: Mapping[str, Json],
              achieved: Mapping[str, Json], **more: Any) -> Sample:  # fmt: skip
        """A picture with its change, and what the network says of it."""
        change, said = budget.norms(picture.image, image), model.names[int(model.answers([image])[0].argmax())]
        achieved = {**achieved, **budget.measured(change), "top1": {model.alias: said}}
        extras = {} if picture.mask is None else {"mask.png": picture.mask}
        return of.made(image, variant=variant, requested=asked, achieved=achieved, extras=extras,
                       annotations=picture.annotations, **more)  # fmt: skip

    def _wanted(self, region: Region) -> dict[str, Json]:
        return {**region.model_dump(mode="json"), "sources": [self.adversary], "limit": self.limit, "frame": self.frame}

    def _none(
        self, of: Edit, region: Region, reason: str, detail: str, status: Literal["ineligible", "failed"] = "ineligible"
    ) -> Failure:
        """The counterexample that there isn't."""
        asked: dict[str, Json] = {**self._wanted(region), "attack": "search"}
        return of.skipped(reason, detail, variant=f"wrong_{region.name}", requested=asked, status=status)


def wrong_about(images: Sequence[Pixels], model: Opponent, right: Bools) -> Bools:
    """Whether a model's first answer to each stored picture is wrong, `[N]`, whatever the pictures beside it.

    Args:
        images: RGB `[H, W, 3]` uint8.
        model: under attack.
        right: its outputs that are right, `[K]`.
    """
    said = np.array(model.answers(images))
    two = np.sort(np.log(np.maximum(said, 1e-30)), axis=1)[:, -2:]
    for place in np.flatnonzero(two[:, 1] - two[:, 0] < NEAR):
        said[place] = model.answers([images[int(place)]])[0]
    return np.asarray(~right[said.argmax(1)], bool)


def steepness(model: Opponent, right: Bools, image: Pixels) -> Singles:
    """How steeply each pixel moves the margin, `[H, W]`: the sum of |∂ margin| over its channels."""
    import torch

    picture = torch.from_numpy(image.transpose(2, 0, 1)[None].astype(np.float32))
    with one_thread(), float32():
        slope = Slope(victims_of([model], [[Aim(right)]]), "margin", torch.tensor([False]))(picture)
    return np.asarray(slope[0].abs().sum(0).cpu().numpy())


def values_of(image: Pixels, pixels: Ints) -> Ints:
    """Values of pixels `[k, 2]`: `[k, 3]`, or `[k, 1]` of a grey picture, whose channels move together."""
    values = image[pixels[:, 0], pixels[:, 1]].astype(np.int64)
    return values[:, :1] if budget.is_grey(image) else values


def moved(image: Pixels, pixels: Ints, moves: Array) -> Pixels:
    """Pictures `[M, H, W, 3]` whose values at pixels `[k, 2]` moved by `[M, k]`, or `[M, 3k]` with colours."""
    made = np.repeat(image[None], len(moves), 0)
    values = values_of(image, pixels)
    made[:, pixels[:, 0], pixels[:, 1]] = (values + moves.reshape(len(moves), *values.shape)).astype(np.uint8)
    return made


def nearest_moves(values: Ints, levels: int, step: int, limit: int) -> tuple[Array, bool]:
    """Every way in which values `[n]` can move, by its sum of absolute changes, and whether that is all.

    Args:
        values: from 0 to 255, where the moves end too.
        levels: most that one moves.
        step: between the moves of one value.
        limit: most ways. Beyond it the ways up to the largest sum that leaves at most so many.

    Returns:
        Moves `[M, n]` int16, ties in the order of the values; truth value.
    """
    away = step * np.arange(-(levels // step), levels // step + 1)
    ladders = [np.unique(np.clip(value + away, 0, 255)) - value for value in values]
    number = np.ones(1)
    for one in ladders:
        number = np.convolve(number, np.bincount(np.abs(one)))
    within = np.cumsum(number)
    radius = int(np.searchsorted(within, limit + 0.5)) - 1
    moves, far = np.zeros((1, 0), np.int16), np.zeros(1, np.int64)
    for one in ladders:
        sums = np.add.outer(far, np.abs(one))
        row, place = np.nonzero(sums <= radius)
        moves, far = np.concatenate([moves[row], one[place, None].astype(np.int16)], 1), sums[row, place]
    return moves[np.argsort(far, kind="stable")], bool(within[-1] <= limit)
