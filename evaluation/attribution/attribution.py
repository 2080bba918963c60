"""Measure what maps of a classifier's attention are worth, each beside maps that know nothing.

Curves follow the classifier's confidence, so maps of one classifier are compared, never classifiers (Nourelahi et al.,
arXiv 2205.13042). A blob in the middle of the picture does well too, since objects are there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import numpy as np
from pydantic import Field

from variorum.annotations import box_of, region
from variorum.evaluation.attribution import curves
from variorum.evaluation.attribution.maps import (
    FLOORS,
    GRADIENTS,
    NO_GRADIENTS,
    RISE,
    by_gradients,
    floors,
    rise,
    size_of,
    window_of,
)
from variorum.evaluation.attribution.measured import NOT_A_NUMBER, Measured
from variorum.kit.corrupt.frames import Framed, Unusable, framed
from variorum.kit.predicted.answers import answers
from variorum.kit.predicted.drops import Results
from variorum.kit.predicted.fields import Resampled
from variorum.kit.predicted.pairing import one_each
from variorum.models.gradients import adversary
from variorum.models.preprocessing import view_of
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Row, Use
from variorum.schemas.errors import RecipeError
from variorum.schemas.rows import Answers, Figure
from variorum.schemas.sample import Sample
from variorum.schemas.table import Table

if TYPE_CHECKING:
    from variorum.arrays import Bools, Floats, Ints, Pixels, Singles
    from variorum.schemas.annotations import Box

Name = Literal["gradient", "input_x_gradient", "integrated_gradients", "grad_cam", "rise"]
SIDE = 256
"""Largest side in pixels of the square that a classifier is shown."""
AT_ONCE = 32
"""Pictures that a classifier is asked about at a time."""
NO_LABEL = "the classifier knows no label of it"
NO_OVERLAP = np.full(len(curves.THRESHOLDS), np.nan)


class Attribution(Resampled):
    """Insertion, deletion, pointing game and localisation by map and classifier, with intervals over photographs.

    Of each photograph one picture is looked at, its original if there is one: the central square, at most 256 pixels.
    A classifier without gradients has the map `rise` alone, and the floors, which are always there.
    """

    late: ClassVar[frozenset[str]] = frozenset({"bootstrap", "confidence"})
    offers: ClassVar[Mapping[str, Figure]] = {
        "gain": Figure(
            "what maps by gradients add to a random order, of all that a picture's pixels give",
            kind="whole",
            better="none",
        )
    }

    classifiers: tuple[str, ...] = Field(default=("classifier_small",), min_length=1)
    """Aliases of classifiers, or names of models that a user brings."""
    maps: tuple[Name, ...] = Field(default=GRADIENTS, min_length=1)
    """The maps, besides the floors `random` and `centre`. `rise`, which takes 500 answers a picture, is there too."""
    steps: int = Field(default=20, ge=5, le=224)
    """Of the curves of insertion and deletion. RISE's code takes 224 pixels a step, 224 steps at 224 x 224."""
    most: int = Field(default=40, ge=2, le=10_000)
    """Maximum number of photographs; with more, they are drawn by the hashes of their ids."""
    target: Literal["top1", "label"] = "top1"
    """The class that is asked for: the classifier's first answer to the picture, or the picture's label."""
    substrate: Literal["rise", "blur", "mean", "black"] = "rise"
    """What hidden pixels look like: `blur` (a Gaussian), the `mean` colour of the picture, or `black`. `rise` is blur
    for insertion and the mean colour for deletion and RISE's masks, as its authors have it."""

    def uses(self) -> list[Use]:
        """Return the classifiers."""
        return [Use(alias, "classifier", batch=AT_ONCE) for alias in self.classifiers]

    def chosen(self, table: Table, ctx: Context) -> Ints:
        """One picture of each photograph."""
        rows, ids, numbers = one_each(table), table["id"], np.zeros(len(table), np.int64)
        drawn = sorted(rows.tolist(), key=lambda row: sha256(str(ids[row]).encode()).digest())[: self.most]
        numbers[drawn] = 1
        return numbers

    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterator[Row]:
        """One row per classifier, picture and map; `why` says why it has no values, `""` if it has.

        `insertion` and `deletion` are areas, `p…` the probability of the class on the picture and where curves begin
        and end. `points` is -1 without an object, and `overlap [19]`, IoU by threshold, NaN. A picture that can't be
        used has one row, without a map.

        Raises:
            RecipeError: as `answers`.
        """
        blank = {"map": "", "why": "", "layer": "", "points": -1, "overlap": NO_OVERLAP}
        blank |= dict.fromkeys(("p", "p_insertion", "p_deletion", "insertion", "deletion"), np.nan)
        networks = {alias: _network(alias, ctx) for alias in self.classifiers}
        for sample in samples:
            for alias in self.classifiers:
                common = {"photograph": sample.photograph or sample.id, "classifier": alias, **blank}
                try:
                    view = self._view(sample, alias, *networks[alias], ctx)
                except Unusable as error:
                    yield {**common, "why": str(error)}
                else:
                    yield from ({**common, **row} for row in self._maps(view, ctx))

    def _view(self, sample: Sample, alias: str, network: Any, lacks: str, ctx: Context) -> _View:
        """What a classifier is shown of a picture. Raises Unusable if that can't be."""
        found = framed(sample, min(SIDE, *np.shape(sample.image)[:2]), larger=1.0, least=1)
        (answer,) = answers([replace(sample, image=found.image, encoded=None)], [alias], ctx)
        if self.target == "label" and not answer.labels:
            raise Unusable("no_label", NO_LABEL)
        target = answer.labels[0] if self.target == "label" else int(answer.probabilities.argmax())
        seen = _seen(network, str(getattr(answer.model, "preprocessing", "")), len(found.image))
        return _View(sample, found.image, answer.model, target, network, lacks, seen, *_object(sample, found, seen))

    def _maps(self, view: _View, ctx: Context) -> Iterator[Row]:
        """The rows of a picture and a classifier."""
        window, name = window_of(view.seen), self.component_name()
        side, rng = min(size_of(window)), ctx.rng(name, view.sample.id, "maps")
        how = ("blur", "mean") if self.substrate == "rise" else (self.substrate, self.substrate)
        start, end = (curves.hidden(view.image, view.seen, one, side) for one in how)
        wanted = [one for one in self.maps if one in GRADIENTS]
        found, why_not, layer = dict[str, "Floats"](), dict[str, str](dict.fromkeys(wanted, view.lacks)), ""
        if wanted and not view.lacks:
            found, why_not, layer = by_gradients(view.network, view.image, end, view.target, wanted, window)
        found |= floors(view.seen.shape, window, rng)
        if RISE in self.maps:
            found[RISE] = rise(view.ask, view.image, end, window, rng)
        p, p_start, p_end = view.ask([view.image, start, end]).tolist()
        for map_name in (*self.maps, *FLOORS):
            values = found.get(map_name)
            if values is None or not np.isfinite(values).all():
                yield {"map": map_name, "why": why_not[map_name] if values is None else NOT_A_NUMBER}
                continue
            order = curves.order_of(values, view.seen, ctx.rng(name, view.sample.id, "ties"))
            inserted = view.ask(curves.between(start, view.image, order, self.steps))
            deleted = view.ask(curves.between(view.image, end, order, self.steps))
            row: dict[str, Any] = {"points": -1, "overlap": NO_OVERLAP}
            if view.boxes:
                row["points"] = int(curves.points_at(int(order[0]), view.what, side))
                row["overlap"] = curves.overlaps(values, view.seen, view.boxes)
            yield {
                **{"map": map_name, "layer": layer if map_name == "grad_cam" else "", **row},
                **{"p": p, "p_insertion": p_start, "p_deletion": p_end},
                "insertion": curves.area(p_start, inserted.tolist(), p),
                "deletion": curves.area(p, deleted.tolist(), p_end),
            }

    def figures(self, table: Table, ctx: Context) -> dict[str, Json]:
        """Figures in percent by classifier and map, over `n` photographs; `why_not` by map for those without.

        A `…_gain` is how much better an area is than that of a random order, as a share of what the pixels give: p less
        p of the substrate. `over_centre` is the insertion less that of the blob in the middle. `points` is the share of
        the `objects` that the largest value is on, `localised` the share whose box is found, IoU 0.5 or more.
        """
        found: dict[str, Json] = {name: getattr(self, name) for name in ("confidence", "steps", "target", "substrate")}
        found |= {"names": list(self.classifiers), "maps": [*self.maps, *FLOORS], "classifiers": {}}
        if len(table):
            measured = [Measured(table, alias) for alias in self.classifiers]
            n = len(measured[0].photographs)
            first = ctx.rng(self.component_name(), "", "halves").permutation(n) % 2 == 0
            resamples = self.resamples(n, ctx)
            results = Results(resamples)
            found["classifiers"] = {one.alias: one.figures(first, resamples, results) for one in measured}
            results.fill()
        return found

    def rows(self, table: Table, ctx: Context) -> Iterator[Answers]:
        """The `gain` of each map by gradients, by `map`; the floor is that of a blob in the middle."""
        for alias in self.classifiers:
            one = Measured(table, alias) if len(table) else None
            if one and (names := [name for name in one.maps if name in GRADIENTS]):
                yield one.gain(names)
            else:
                why = [*one.why_not.values()] if one else []
                yield Answers("gain", alias, why_not=why[0] if why else "no picture can be used")


class _View(NamedTuple):
    """A picture as one classifier sees it: its square, the class that is asked for, and the objects in it."""

    sample: Sample
    image: Pixels
    model: Any
    target: int
    network: Any
    lacks: str
    seen: Bools
    what: Bools
    boxes: list[Box]

    def ask(self, pictures: Iterable[Pixels]) -> Singles:
        """Probability of the class `[n]` on pictures of the square's size."""
        waiting, found = iter(pictures), [np.zeros(0, np.float32)]
        while batch := list(islice(waiting, AT_ONCE)):
            found.append(self.model(batch)[:, self.target])
        return np.concatenate(found)


def _network(alias: str, ctx: Context) -> tuple[Any, str]:
    """The same model with gradients, or None and why there is none."""
    models: Any = ctx.models
    try:
        name = models.steering(alias)
        return adversary(name, models.get(name)), ""
    except RecipeError as error:
        way = "preprocessing" in str(error).partition(";")[0]
        return None, "its preprocessing can't be differentiated" if way else NO_GRADIENTS


def _seen(network: Any, preprocessing: str, side: int) -> Bools:
    """Which pixels of a square picture reach the classifier, `[side, side]`; all where that isn't known."""
    if network is not None:
        return np.asarray(network.seen(side, side).cpu().numpy(), bool)
    view = view_of(preprocessing, side, side)
    rim = int(view.hidden) if view else 0
    return np.pad(np.ones((side - 2 * rim, side - 2 * rim), bool), rim)


def _object(sample: Sample, found: Framed, seen: Bools) -> tuple[Bools, list[Box]]:
    """Where the objects of the picture's class are, as far as they are seen, and the boxes around them."""
    every = [one for one in found.annotations.objects if not one.crowd]
    own = [one for one in every if one.label in sample.labels] or every
    parts = [region(one, *seen.shape) for one in own] if found.mask is None else [found.mask > 127]
    what = np.any([np.zeros_like(seen), *parts], axis=0) & seen
    return what, [box for part in parts if (box := box_of(part & seen))]
