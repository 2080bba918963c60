"""Measure how often a patch changes the answers of classifiers, by what is in it and where it is.

What goes beyond noise in the same place is the work of what the patch shows. All models are compared on the same
photographs, those that every one of them is right about (Gu, Tresp & Qin, ECCV 2022, arXiv 2111.10659).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import numpy as np

from variorum.evaluation.adversarial.adversarial_transfer import (
    ATTACKED,
    CONTROL,
    AdversarialTransfer,
    rates,
    variants_of,
)
from variorum.kit.predicted.answers import last_of
from variorum.kit.predicted.drops import Results
from variorum.kit.predicted.pairing import paired
from variorum.models.preprocessing import view_of
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Row
from variorum.schemas.rows import Answers, Figure
from variorum.schemas.sample import Sample
from variorum.schemas.table import Table


class PatchRobustness(AdversarialTransfer):
    """How many patches fool each classifier, by kind and position, beside noise in the same place.

    It reads editions of the generator `patch_perturbation`.
    """

    offers: ClassVar[Mapping[str, Figure]] = {
        "fooled": Figure(
            "fooled by a patch, of the photographs that it is right about", better="lower", filtered=ATTACKED
        )
    }

    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterator[Row]:
        """The rows of `adversarial_transfer`, with the `position` of the patch and whether it is `aligned`.

        Raises:
            RecipeError: a classifier that isn't named under `white_box` was attacked.
        """
        of = {one.id: one for one in samples}
        for row in super().measure(samples, ctx):
            sample = of[str(row["id"])]
            position = last_of(sample).requested.get("position")
            preprocessing = getattr(ctx.models.get(str(row["classifier"])), "preprocessing", "")
            yield {
                **row,
                "position": position if isinstance(position, str) else "",
                "aligned": aligned(sample, preprocessing),
            }

    def figures(self, table: Table, ctx: Context) -> dict[str, Json]:
        """Rates in percent by classifier and variant, over the `photographs` that every classifier is right about.

        `fooled` is the mean over photographs of the share of their patches that change the answer, and `any` the share
        of photographs that have such a patch, where they have several. `above_control` is `fooled` less that of noise
        in the same place, paired by photograph. `aligned` says whether all patches are so for the classifier.
        """
        kinds = variants_of(table) if len(table) else {}
        names = self.all_named(table)
        common: dict[str, Json] = {**self.common(table), "photographs": 0, "attacks": [], "classifiers": {}}
        if not kinds:
            return common
        data = paired(table, names)
        known = [number for number in range(len(names)) if data.originals(number)[0].any()]
        sure = np.all([data.originals(number)[1] for number in known] or [np.zeros(data.sources, bool)], axis=0)
        order = [data.variants[one] for one in data.order if data.variants[one] in kinds]
        place = dict(zip(table["variant"].astype(str).tolist(), table["position"].astype(str).tolist(), strict=True))
        noise = {place[name]: name for name in order if kinds[name].attack == CONTROL}
        control_of = {name: noise.get(place[name], "") if kinds[name].attack != CONTROL else "" for name in order}
        results = Results(self.resamples(data.sources, ctx))
        who, white = table["classifier"].astype(str), table["white_box"].astype(bool)
        attacked, classifiers = {*who[white].tolist()}, dict[str, Json]()
        for number in known:
            said = {*table["aligned"][who == names[number]].astype(str).tolist()} - {""}
            classifiers[names[number]] = {
                "aligned": said.pop() if len(said) == 1 else "unknown",
                "followed": list[Json](order if names[number] in attacked else ()),
                "variants": rates(data, number, sure, control_of, results),
                "robust": {},
            }
        results.fill()
        return {
            **common,
            "photographs": int(sure.sum()),
            "names": [alias for alias in classifiers if alias not in attacked],
            "white_box": [alias for alias in classifiers if alias in attacked],
            "attacks": list[Json](order),
            "classifiers": classifiers,
        }

    def rows(self, table: Table, ctx: Context) -> Iterator[Answers]:
        """How often each model is `fooled`, of photographs whose originals it is right about."""
        return (answers for answers in super().rows(table, ctx) if answers.figure in self.offers)


def aligned(sample: Sample, preprocessing: str) -> str:
    """Whether a model sees the patches of a picture at their own size and in a grid of their side, which tokens share.

    Args:
        sample: with `boxes` in its record, each left, top, width and height in pixels.
        preprocessing: the model's, as a sentence of `variorum/models/preprocessing.py`.

    Returns:
        `yes`, `no`, `unknown` where the sentence doesn't say it, or `""` for a picture without patches.
    """
    try:
        boxes = np.array(last_of(sample).achieved.get("boxes"), np.int64).reshape(-1, 4)
    except (TypeError, ValueError, OverflowError):  # a record of a stranger
        return ""
    height, width = np.shape(sample.image)[:2]
    if not len(boxes):
        return ""
    view = view_of(preprocessing, height, width)
    if view is None or height != width:
        return "unknown"
    apart = (boxes[:, :2] - view.hidden) % np.maximum(boxes[:, 2:], 1)
    return "yes" if view.scale == 1 and not apart.any() else "no"
