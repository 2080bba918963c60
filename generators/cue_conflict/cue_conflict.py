"""Make cue-conflict pictures: the texture of one thing in the shape of another, and each of the two alone.

After Geirhos et al., ICLR 2019 (arXiv 1811.12231). Theirs are 1200 pictures by iterative style transfer; `texture_fill`
is another stimulus: a silhouette covered with a piece of another object, without shading. Results on the one say little
about the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from variorum.generators.cue_conflict import bands, outlines, textures
from variorum.generators.cue_conflict.framed import Ready, ready
from variorum.generators.cue_conflict.gates import Limits, blank, contour_kept
from variorum.generators.cue_conflict.partners import Categories, Partners, Texture, label_of, refused
from variorum.generators.cue_conflict.stimuli import (
    ALONE,
    CONFLICTS,
    EVERY,
    STIMULI,
    Edges,
    Grid,
    Sigma,
    Stimulus,
    changed,
    tile_order,
)
from variorum.kit.corrupt.change import Before
from variorum.kit.corrupt.frames import Unusable
from variorum.kit.labels.categories import category_of
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Generator, Use
from variorum.schemas.edit import Edit
from variorum.schemas.errors import RecipeError
from variorum.schemas.sample import COMPOSITE, ENHANCED, PARTLY_GENERATED, Failure, Sample

if TYPE_CHECKING:
    from variorum.arrays import Pixels

STYLE_TRANSFER = "style_transfer"
"""Alias of the network."""
STYLE_SIDE = 256
"""Side in pixels at which it paints, and of the surface whose style it takes."""

UNCHANGED = "every pixel is that of the original"


class CueConflict(Generator):
    """The `original` in its frame, and stimuli that keep some cues to its class and take others away.

    - `grey`: no colour; `low_pass_3`, `high_pass_1.5`: no fine or no coarse detail; `scrambled_4`: tiles out of order.
    - `edges`, `silhouette`: shape alone. `object`: the object without its surroundings.
    - `texture_fill`: the shape of the object, the texture of an object of another class.
    - `style_transfer`: the object, repainted by a network in the style of that texture.

    Lengths are in pixels at a frame of 224 and grow with it. The label stays that of the shape. Masks are the members
    `mask.png` of the source, or else the segmenter's; every picture has one, empty where none was found.
    """

    revision: ClassVar[int] = 3
    keeps_objects: ClassVar[bool] = True
    digital_source_type: ClassVar[str] = ENHANCED

    stimuli: tuple[Stimulus, ...] = Field(
        default=STIMULI, min_length=1, description="which pictures are made of each photograph"
    )
    grids: tuple[Grid, ...] = Field(default=(4, 7), description="tiles along a side, of scrambled")
    low_pass: tuple[Sigma, ...] = Field(default=(1, 3, 7), description="sigmas")
    high_pass: tuple[Sigma, ...] = Field(default=(3, 1.5, 0.7), description="sigmas")
    edges: Edges = Field(default=Edges(), description="how edges are found")
    ground: Literal["white", "own"] = Field(
        default="white", description="of silhouettes and textures: white or the photograph; object is on white"
    )
    partners: int = Field(default=1, ge=1, le=16, description="textures for each shape")
    categories: Categories = Field(
        default="label",
        description="what shape and texture differ in: the class, or one of the sixteen categories too",
    )
    patch: float = Field(
        default=0.5, ge=0.1, le=1, description="side of a texture, of the largest square inside its object"
    )
    pool: int = Field(default=256, ge=2, description="pictures of a split whose textures others may get")
    segmenter: str | None = Field(default="segmenter", description="finds masks where there are none; None for no more")
    classifier: str | None = Field(
        default="classifier_gate",
        description="looks for the label's class in what the segmenter found, and decides nothing else; None for none",
    )
    frame: int = Field(default=224, ge=64, le=1024, description="side in pixels of the square pictures")
    gates: Limits = Field(default=Limits(), description="limits of the checks")

    @model_validator(mode="after")
    def _once_each(self) -> CueConflict:
        for name in ("stimuli", "grids", "low_pass", "high_pass"):
            values = getattr(self, name)
            # variants are called after six digits of a number
            if len({f"{one:g}" if isinstance(one, float) else one for one in values}) < len(values):
                raise ValueError(f"{name} {list(values)} names one twice")
        for name, stimulus in (("grids", "scrambled"), ("low_pass", "low_pass"), ("high_pass", "high_pass")):
            if stimulus in self.stimuli and not getattr(self, name):
                raise ValueError(f"{name} is empty; leave {stimulus} out of stimuli instead")
        if uneven := [grid for grid in self.grids if self.frame % grid and "scrambled" in self.stimuli]:
            raise ValueError(f"a frame of {self.frame} pixels can't be cut into {uneven[0]} equal tiles")
        return self

    def uses(self) -> list[Use]:
        """Return the segmenter, where a stimulus needs a mask, and the network of `style_transfer`."""
        segmenter, classifier = self.aliases()
        needed = (segmenter, STYLE_TRANSFER if "style_transfer" in self.stimuli else None)
        check = [] if classifier is None else [Use(classifier, "classifier", decides=True)]
        return [*(Use(alias) for alias in needed if alias is not None), *check]

    def check(self, ctx: Context) -> None:
        """Raise RecipeError where no two pictures of the source can be in conflict."""
        if ctx.source is None or not set(self.stimuli) & set(CONFLICTS):
            return
        out = f"leave {' and '.join(CONFLICTS)} out of stimuli"
        known = {one.id: category_of(one.id) for one in ctx.source.classes(ctx)}
        if len({category or label for label, category in known.items()}) < 2:
            raise RecipeError(
                f"cue_conflict: texture and shape are of classes that share no category, and there are no two; {out}"
            )
        if self.categories == "sixteen" and len({*known.values()} - {""}) < 2:
            raise RecipeError(
                "cue_conflict: the source's classes belong to fewer than two of the sixteen categories; set "
                f"categories to label, or {out}"
            )

    def generate(self, samples: Iterable[Sample], ctx: Context) -> Iterator[Sample | Failure]:
        """The stimuli of each picture; textures come from the pictures of the same split."""
        partners = Partners(self, ctx)
        for sample in samples:
            yield from self._made_of(sample, Edit(self, sample, ctx), partners)

    def aliases(self) -> tuple[str | None, str | None]:
        """The segmenter and the classifier, unless no stimulus needs a mask."""
        needed = self.segmenter if set(self.stimuli) & {*ALONE, *CONFLICTS} else None
        return needed, None if needed is None else self.classifier

    def ready(self, sample: Sample, limits: Limits, ctx: Context) -> Ready:
        """A picture in its frame. Raises Unusable."""
        return ready(sample, self.frame, *self.aliases(), limits, ctx)

    def _asked(self) -> Iterator[tuple[str, dict[str, Json]]]:
        """Variant and request of each picture; of two cues without the texture, which isn't known yet."""
        yield "original", {"frame": self.frame}
        scale = round(self.frame / 224, 6)
        for stimulus in EVERY:
            common: dict[str, Json] = {"stimulus": stimulus, "frame": self.frame}
            if stimulus not in self.stimuli:
                continue
            if stimulus in ("low_pass", "high_pass"):
                for sigma in self.low_pass if stimulus == "low_pass" else self.high_pass:
                    yield f"{stimulus}_{sigma:g}", {**common, "sigma": sigma, "scale": scale}
            elif stimulus == "scrambled":
                for grid in self.grids:
                    yield f"scrambled_{grid}", {**common, "grid": grid}
            elif stimulus == "edges":
                yield stimulus, {**common, **self.edges.model_dump(), "scale": scale}
            elif stimulus in CONFLICTS:
                for number in range(self.partners):
                    yield stimulus, {**common, "ground": self.ground, "partner": number + 1}
            elif stimulus in ALONE:
                yield stimulus, {**common, "ground": "white" if stimulus == "object" else self.ground}
            else:
                yield stimulus, common

    def _made_of(self, sample: Sample, of: Edit, partners: Partners) -> Iterator[Sample | Failure]:
        try:
            found = self.ready(sample, self.gates, of.ctx)
        except Unusable as error:
            for variant, requested in self._asked():
                yield of.skipped(error.reason, str(error), variant=variant, requested=requested)
            return
        for alias in found.models:
            of.model(alias)
        before = Before(found.image)
        drawn: list[Texture] | None = None
        for variant, requested in self._asked():
            if variant == "original":
                yield self._original(of, found, requested)
            elif variant in ALONE:
                yield self._cut_out(of, found, variant, requested)
            elif variant not in CONFLICTS:
                yield self._changed(of, found, before, variant, requested)
            elif any(refusal := refused(sample, found, self.categories)):
                yield of.skipped(*refusal, variant=variant, requested=requested, gates=found.gates)
            else:
                if drawn is None:
                    drawn = list(islice(partners.drawn(sample, of.rng("partners")), self.partners))
                yield self._in_conflict(of, found, drawn, variant, requested)

    def _original(self, of: Edit, found: Ready, requested: dict[str, Json]) -> Sample:
        return of.made(
            found.image,
            variant="original",
            requested=requested,
            gates={"blank": blank(found.image, self.gates)},
            extras={"mask.png": found.mask},
            annotations=found.annotations,
            digital_source_type=of.sample.digital_source_type,
        )

    def _changed(
        self, of: Edit, found: Ready, before: Before, variant: str, requested: dict[str, Json]
    ) -> Sample | Failure:
        """The whole picture without some of its cues."""
        stimulus = str(requested["stimulus"])
        mask, annotations = found.mask, found.annotations
        achieved: dict[str, Json] = {}
        order: list[int] = []
        if stimulus == "scrambled":
            order = tile_order(int(str(requested["grid"])), of.rng(variant))
            mask, annotations = bands.scrambled(mask, order), replace(annotations, objects=())
            achieved = {"order": [*order]}
        sigma = float(str(requested.get("sigma", 0))) * self.frame / 224
        image = changed(found.image, stimulus, sigma=sigma, edges=self.edges, order=order)
        if np.array_equal(image, found.image):
            return of.skipped("unchanged", UNCHANGED, variant=variant, requested=requested)
        return of.made(
            image,
            variant=variant,
            requested=requested,
            achieved={**achieved, **before.change(image)},
            gates={"blank": blank(image, self.gates)},
            extras={"mask.png": mask},
            purpose=variant,
            annotations=annotations,
        )

    def _cut_out(self, of: Edit, found: Ready, variant: str, requested: dict[str, Json]) -> Sample | Failure:
        """The object alone, or its silhouette."""
        why, detail = found.refusal
        if why or found.alpha is None:
            return of.skipped(why, detail, variant=variant, requested=requested, gates=found.gates)
        own = requested["ground"] == "own"
        ground = found.ground(own=own)
        if variant == "silhouette":
            image = outlines.silhouette(found.alpha, ground)
        else:
            image = outlines.laid(found.image, found.alpha, ground)
        if np.array_equal(image, found.image):
            return of.skipped("unchanged", UNCHANGED, variant=variant, requested=requested, gates=found.gates)
        return of.made(
            image,
            variant=variant,
            requested=requested,
            achieved={"mask_source": found.mask_source},
            gates={**found.gates, "blank": blank(image, self.gates)},
            extras={"mask.png": found.alpha},
            annotations=found.shown(own=own),
        )

    def _in_conflict(
        self, of: Edit, found: Ready, drawn: list[Texture], stimulus: str, requested: dict[str, Json]
    ) -> Sample | Failure:
        """The shape with one of the textures of other classes, if there are enough."""
        number = int(str(requested["partner"]))
        if number > len(drawn):
            detail = f"of pictures of other classes, {len(drawn)} have a texture"
            return of.skipped("no_partner", detail, variant=stimulus, requested=requested, gates=found.gates)
        assert found.alpha is not None
        texture, own, purpose = drawn[number - 1], self.ground == "own", f"{stimulus}_{number}"
        cues: dict[str, Json] = {
            "shape_label": label_of(of.sample),
            "texture_label": texture.label,
            "texture_id": texture.made_of[0]["id"],
        }
        ground = found.ground(own=own)
        if stimulus == "texture_fill":
            offset = of.rng(purpose).integers(0, 2 * len(texture.patch), 2).tolist()
            surface = textures.covered(texture.patch, self.frame, self.frame, (offset[0], offset[1]))
            kind = COMPOSITE
        else:
            offset = [0, 0]
            surface = self._repainted(of, outlines.laid(found.image, found.alpha, ground), texture)
            kind = PARTLY_GENERATED
        image = outlines.laid(surface, found.alpha, ground)
        return of.made(
            image,
            variant=stimulus,
            requested={**requested, **cues},
            achieved={**cues, "mask_source": found.mask_source, "texture_side": len(texture.patch), "offset": offset},
            gates={
                **found.gates,
                **texture.gates,
                "contour_kept": contour_kept(image, found.alpha, self.gates),
                "blank": blank(image, self.gates),
            },
            extras={"mask.png": found.alpha},
            purpose=purpose,
            annotations=found.shown(own=own),
            digital_source_type=kind,
            made_of=texture.made_of,
        )

    def _repainted(self, of: Edit, content: Pixels, texture: Texture) -> Pixels:
        """A picture in the style of a surface covered with the texture."""
        model = of.model(STYLE_TRANSFER)
        vectors = model.vectors([textures.covered(texture.patch, STYLE_SIDE, STYLE_SIDE)])
        (painted,) = model([content], vectors, longest=max(STYLE_SIDE, min(512, self.frame)))
        return np.asarray(painted, np.uint8)
