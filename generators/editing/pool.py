"""Plates of other pictures, on which an object can be put."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from variorum.edition.samples import photograph_of
from variorum.generators.editing import gates
from variorum.generators.editing.scenes import BadInput, Scene, Setup, label_index, scenes
from variorum.schemas.component import Context
from variorum.schemas.sample import Failure, Sample
from variorum.stages.splits import split_of

if TYPE_CHECKING:
    from variorum.arrays import Pixels

ALIKE = 12.0
"""Mean difference in grey levels, at 4 x 4 pixels, below which two plates count as the same."""


@dataclass
class Pool:
    """Plates of other pictures, made as they are asked for.

    Attributes:
        setup: how the other pictures are taken apart.
        ctx: `ctx.source` has the pictures.
        wanted: how many pictures of the source may lend their plates.
    """

    setup: Setup
    ctx: Context
    wanted: int
    _seen: dict[int, tuple[Sample, Scene] | None] = field(default_factory=dict)

    def draw(self, sample: Sample, scene: Scene, index: int | None, rng: np.random.Generator) -> Scene | None:
        """The scene of another picture whose plate is clean and doesn't show this sample's class.

        Pictures are tried in an order drawn by `rng`; one with a label of this sample is taken only as a last resort.
        """
        source = self.ctx.source
        if source is None:
            return None
        positions = pool_positions(source.size(self.ctx), self.wanted)
        akin = None
        for place in rng.permutation(len(positions)):
            partner = self._partner(positions[place])
            if partner is None or not self._usable(partner[0], partner[1], sample, scene, index):
                continue
            if set(partner[0].labels) & set(sample.labels):
                akin = akin or partner[1]
                continue
            return partner[1]
        return akin

    def _partner(self, position: int) -> tuple[Sample, Scene] | None:
        if position not in self._seen:
            sample = next(iter(self.ctx.source.read(position, position + 1, self.ctx)), None)  # type: ignore[union-attr]
            made = None
            if sample is not None and not isinstance(sample, Failure):
                scene = scenes([sample], self.setup, self.ctx)[0]
                if not isinstance(scene, BadInput) and self._clean(scene, label_index(sample)):
                    split = split_of(photograph_of(sample), sample.split, self.ctx.splits)
                    made = (replace(sample, image=b"", extras={}, split=split), scene)
            self._seen[position] = made
        return self._seen[position]

    def _clean(self, scene: Scene, index: int | None) -> bool:
        """Whether its plate shows nothing of its object; stricter than for its own edits, as many pictures get it."""
        limits = self.setup.limits
        if scene.plate is None or gates.first_failed({**scene.gates, **scene.bare}):
            return False
        if scene.hole is not None:
            agreement = scene.gates.get("mask_agreement")
            if agreement and agreement["value"] < limits.min_agreement:
                return False
            if not scene.moving["mask_components"]["passed"]:
                return False
        if not gates.blank(scene.plate, limits)["passed"]:
            return False
        return not gates.first_failed(scene.class_gates(index, limits.max_partner_p))

    def _usable(self, partner: Sample, its: Scene, sample: Sample, scene: Scene, index: int | None) -> bool:
        """Whether this partner's plate may be used for this sample."""
        if sample.split and partner.split != sample.split:
            return False  # an edit is made of both photographs, so they must be on the same side
        if partner.id in (sample.id, sample.parent) or np.array_equal(its.picture, scene.picture):
            return False
        if its.plate is None or _alike(its.plate, scene.plate if scene.plate is not None else scene.picture):
            return False
        if not its.probabilities or not scene.probabilities:
            return True
        return float(its.probabilities[1][scene.index(index)]) <= self.setup.limits.negligible_p


def pool_positions(size: int, wanted: int) -> list[int]:
    """`wanted` positions spread evenly over a source of `size` pictures, or all of them."""
    count = min(size, wanted)
    return [(2 * place + 1) * size // (2 * count) for place in range(count)]


def _alike(first: Pixels, second: Pixels) -> bool:
    """Whether two plates look the same from afar: another part of the same lawn is no change of background."""
    coarse = [cv2.resize(plate, (4, 4), interpolation=cv2.INTER_AREA).astype(np.float32) for plate in (first, second)]
    return float(np.abs(coarse[0] - coarse[1]).mean()) < ALIKE
