"""What classifiers look at: the texture of one thing in the shape of another, and each of the two alone.

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

from variorum.annotations import box_iou, box_of
from variorum.generators.corruptions.change import Before
from variorum.generators.corruptions.frames import Unusable
from variorum.generators.cues import bands, outlines, textures
from variorum.generators.cues.categories import category_of
from variorum.generators.cues.gates import Limits, blank, contour_kept
from variorum.generators.cues.partners import Categories, Partners, Texture, both_licences, label_of
from variorum.generators.cues.pictures import Ready, ready
from variorum.generators.cues.stimuli import (
    ALONE,
    CONFLICTS,
    STIMULI,
    Edges,
    Grid,
    Sigma,
    Stimulus,
    changed,
    tile_order,
)
from variorum.schemas.annotations import Annotations
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Generator
from variorum.schemas.edit import Edit
from variorum.schemas.errors import RecipeError
from variorum.schemas.sample import COMPOSITE, ENHANCED, PARTLY_GENERATED, Failure, Sample

if TYPE_CHECKING:
    from variorum.arrays import Pixels

STYLE_TRANSFER = "style_transfer"
"""Alias of the network."""
STYLE_SIDE = 256
"""Side in pixels at which it paints, and of the surface whose style it takes."""
SAME_OBJECT = 0.5
"""IoU with the mask's box above which an object's box is that of the object that is left."""


class CueConflict(Generator):
    """The `original` in its frame, and stimuli that keep some cues to its class and take others away.

    - `grey`: no colour; `low_pass_3`, `high_pass_1.5`: no fine or no coarse detail; `scrambled_4`: tiles out of order.
    - `edges`, `silhouette`: shape alone. `object`: the object without its surroundings.
    - `texture_fill`: the shape of the object, the texture of an object of another class.
    - `style_transfer`: the object, repainted by a network in the style of that texture.

    Lengths are in pixels at a frame of 224 and grow with it. The label stays that of the shape. Masks are the members
    `mask.png` of the source, or else the segmenter's; every picture has one, empty where none was found.
    """

    keeps_objects: ClassVar[bool] = True
    digital_source_type: ClassVar[str] = ENHANCED

    stimuli: tuple[Stimulus, ...] = Field(default=STIMULI, min_length=1)
    grids: tuple[Grid, ...] = Field(default=(4, 7), description="tiles along a side, of scrambled")
    low_pass: tuple[Sigma, ...] = Field(default=(1, 3, 7), description="sigmas")
    high_pass: tuple[Sigma, ...] = Field(default=(3, 1.5, 0.7), description="sigmas")
    edges: Edges = Edges()
    ground: Literal["white", "own"] = Field(
        default="white", description="of what needs a mask: white or the photograph"
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
    frame: int = Field(default=224, ge=64, le=1024)
    gates: Limits = Limits()

    @model_validator(mode="after")
    def _once_each(self) -> CueConflict:
        for name in ("stimuli", "grids", "low_pass", "high_pass"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ValueError(f"{name} {list(values)} names one twice")
            if name in self.stimuli and not values:
                raise ValueError(f"{name} is empty; leave it out of stimuli instead")
        if "scrambled" in self.stimuli and not self.grids:
            raise ValueError("grids is empty; leave scrambled out of stimuli instead")
        if uneven := [grid for grid in self.grids if self.frame % grid and "scrambled" in self.stimuli]:
            raise ValueError(f"a frame of {self.frame} pixels can't be cut into {uneven[0]} equal tiles")
        if self.edges.low > self.edges.high:
            raise ValueError(f"edges: low is {self.edges.low:g}, and must be at most high, {self.edges.high:g}")
        return self

    def aliases(self) -> tuple[str, ...]:
        """The segmenter, where a stimulus needs a mask, and the network of `style_transfer`."""
        needed = (self._segmenter, STYLE_TRANSFER if "style_transfer" in self.stimuli else None)
        return tuple(alias for alias in needed if alias is not None)

    def check(self, ctx: Context) -> None:
        """Raise RecipeError where no two pictures of the source can be in conflict."""
        if ctx.source is None or not set(self.stimuli) & set(CONFLICTS):
            return
        out = f"leave {' and '.join(CONFLICTS)} out of stimuli"
        classes = ctx.source.classes(ctx)
        if len(classes) < 2:
            raise RecipeError(f"cue_conflict: texture and shape are of different classes, and there are none; {out}")
        if self.categories == "sixteen":
            known = {category for one in classes if (category := category_of(one.id) or category_of(one.name))}
            if len(known) < 2:
                raise RecipeError(
                    "cue_conflict: the source's classes belong to fewer than two of the sixteen categories; set "
                    f"categories to label, or {out}"
                )

    def generate(self, samples: Iterable[Sample], ctx: Context) -> Iterator[Sample | Failure]:
        """The stimuli of each picture; textures come from the pictures of the same split."""
        partners = Partners(self.frame, self._segmenter, self.gates, self.categories, self.patch, ctx, self.pool)
        for sample in samples:
            yield from self._made_of(sample, Edit(self, sample, ctx), partners)

    @property
    def _segmenter(self) -> str | None:
        """The segmenter, unless no stimulus needs a mask."""
        return self.segmenter if set(self.stimuli) & {*ALONE, *CONFLICTS} else None

    def _made_of(self, sample: Sample, of: Edit, partners: Partners) -> Iterator[Sample | Failure]:
        first: dict[str, Json] = {"frame": self.frame}
        wanted = [("original", first), *self._plain(), *self._alone(), *self._conflicts()]
        try:
            found = ready(sample, self.frame, self._segmenter, self.gates, of.ctx)
        except Unusable as error:
            for variant, requested in wanted:
                yield of.skipped(error.reason, str(error), variant=variant, requested=requested)
            return
        for alias in found.models:
            of.model(alias)
        yield of.made(
            found.image,
            variant="original",
            requested=first,
            gates={"blank": blank(found.image, self.gates)},
            extras={"mask.png": _mask(found)},
            annotations=found.annotations,
            digital_source_type=sample.digital_source_type,
        )
        before = Before(found.image)
        for variant, requested in self._plain():
            yield self._changed(of, found, before, variant, requested)
        for variant, requested in self._alone():
            yield self._cut_out(of, found, variant, requested)
        for stimulus in CONFLICTS:
            if stimulus in self.stimuli:
                yield from self._in_conflict(of, found, partners, stimulus)

    # ── what is asked for ────────────────────────────────────────────────────────────────────────────────────────────

    def _plain(self) -> Iterator[tuple[str, dict[str, Json]]]:
        """Variant and request of each stimulus that needs no mask."""
        scale = round(self.frame / 224, 6)
        for stimulus in self.stimuli:
            common: dict[str, Json] = {"stimulus": stimulus, "frame": self.frame}
            if stimulus == "grey":
                yield "grey", common
            elif stimulus in ("low_pass", "high_pass"):
                for sigma in self.low_pass if stimulus == "low_pass" else self.high_pass:
                    yield f"{stimulus}_{sigma:g}", {**common, "sigma": sigma, "scale": scale}
            elif stimulus == "scrambled":
                for grid in self.grids:
                    yield f"scrambled_{grid}", {**common, "grid": grid}
            elif stimulus == "edges":
                yield "edges", {**common, **self.edges.model_dump(), "scale": scale}

    def _alone(self) -> Iterator[tuple[str, dict[str, Json]]]:
        """The same of each stimulus that needs a mask alone."""
        for stimulus in self.stimuli:
            if stimulus in ALONE:
                yield stimulus, {"stimulus": stimulus, "frame": self.frame, "ground": self.ground}

    def _conflicts(self) -> Iterator[tuple[str, dict[str, Json]]]:
        """The same of each stimulus with two cues, where the other picture isn't known."""
        for stimulus in self.stimuli:
            if stimulus in CONFLICTS:
                for number in range(self.partners):
                    yield stimulus, self._conflict(stimulus, number)

    def _conflict(self, stimulus: str, number: int) -> dict[str, Json]:
        return {"stimulus": stimulus, "frame": self.frame, "ground": self.ground, "partner": number + 1}

    # ── how it is made ───────────────────────────────────────────────────────────────────────────────────────────────

    def _changed(
        self, of: Edit, found: Ready, before: Before, variant: str, requested: dict[str, Json]
    ) -> Sample | Failure:
        """The whole picture without some of its cues."""
        stimulus = str(requested["stimulus"])
        mask, annotations = _mask(found), found.annotations
        achieved: dict[str, Json] = {}
        order: list[int] = []
        if stimulus == "scrambled":
            order = tile_order(int(str(requested["grid"])), of.rng(variant))
            mask, annotations = bands.scrambled(mask, order), replace(annotations, objects=())
            achieved = {"order": [*order]}
        sigma = float(str(requested.get("sigma", 0))) * self.frame / 224
        image = changed(found.image, stimulus, sigma=sigma, edges=self.edges, order=order)
        if np.array_equal(image, found.image):
            detail = "every pixel is that of the original"
            return of.skipped("unchanged", detail, variant=variant, requested=requested, status="failed")
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
        ground = self._ground(found)
        if variant == "silhouette":
            image = outlines.silhouette(found.alpha, ground)
        else:
            image = outlines.laid(found.image, found.alpha, ground)
        if np.array_equal(image, found.image):
            detail = "every pixel is that of the original"
            return of.skipped("unchanged", detail, variant=variant, requested=requested, status="failed")
        return of.made(
            image,
            variant=variant,
            requested=requested,
            achieved={"mask_source": found.mask_source},
            gates={**found.gates, "blank": blank(image, self.gates)},
            extras={"mask.png": found.alpha},
            annotations=self._left(found),
        )

    def _in_conflict(self, of: Edit, found: Ready, partners: Partners, stimulus: str) -> Iterator[Sample | Failure]:
        """The shape with each of several textures of other classes."""
        shape = label_of(of.sample)
        why, detail = found.refusal
        if not why and not shape:
            why, detail = "no_label", f"it has {len(of.sample.labels)} labels, and a shape has one"
        if not why and self.categories == "sixteen" and not category_of(shape):
            why, detail = "no_category", f"{shape} belongs to none of the sixteen categories"
        rng = of.rng("partners")
        drawn = [] if why else list(islice(partners.drawn(of.sample, rng), self.partners))
        for number in range(self.partners):
            requested = self._conflict(stimulus, number)
            if why:
                yield of.skipped(why, detail, variant=stimulus, requested=requested, gates=found.gates)
            elif number >= len(drawn):
                detail = f"of pictures of other classes, {len(drawn)} have a texture"
                yield of.skipped("no_partner", detail, variant=stimulus, requested=requested, gates=found.gates)
            else:
                yield self._filled(of, found, drawn[number], stimulus, requested)

    def _filled(
        self, of: Edit, found: Ready, texture: Texture, stimulus: str, requested: dict[str, Json]
    ) -> Sample | Failure:
        assert found.alpha is not None
        shape = label_of(of.sample)
        purpose = f"{stimulus}_{requested['partner']}"
        cues: dict[str, Json] = {"shape_label": shape, "texture_label": texture.label, "texture_id": texture.id}
        ground = self._ground(found)
        if stimulus == "texture_fill":
            offset = of.rng(purpose).integers(0, 2 * len(texture.patch), 2).tolist()
            surface = textures.covered(texture.patch, self.frame, self.frame, (offset[0], offset[1]))
            kind = COMPOSITE
        else:
            offset = [0, 0]
            surface = self._repainted(of, outlines.laid(found.image, found.alpha, ground), texture)
            kind = PARTLY_GENERATED
        image = outlines.laid(surface, found.alpha, ground)
        made = of.made(
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
            annotations=self._left(found),
            digital_source_type=kind,
        )
        return replace(made, licence=both_licences(of.sample.licence, texture.licence))

    def _repainted(self, of: Edit, content: Pixels, texture: Texture) -> Pixels:
        """A picture in the style of a surface covered with the texture."""
        model = of.model(STYLE_TRANSFER)
        vectors = model.vectors([textures.covered(texture.patch, STYLE_SIDE, STYLE_SIDE)])
        (painted,) = model([content], vectors, longest=max(STYLE_SIDE, min(512, self.frame)))
        return np.asarray(painted, np.uint8)

    def _ground(self, found: Ready) -> Pixels:
        return found.image if self.ground == "own" else outlines.blank_ground(found.image)

    def _left(self, found: Ready) -> Annotations:
        """The annotations of what is there: on a white ground, only those of the object."""
        box = None if found.alpha is None else box_of(found.alpha > 127)
        if self.ground == "own" or box is None:
            return found.annotations
        mine = [item for item in found.annotations.objects if box_iou(item.box, box) >= SAME_OBJECT]
        return replace(found.annotations, objects=tuple(mine))


def _mask(found: Ready) -> Pixels:
    """The member `mask.png`: the object's opacity, empty without one."""
    return np.zeros(found.image.shape[:2], np.uint8) if found.alpha is None else found.alpha
