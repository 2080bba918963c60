"""Measure how often classifiers recognise 3-D objects from natural, random and adversarial viewpoints.

What a search found means something only beside random views out of the same box, which pass the same checks. The model
that was searched against stands apart as *white-box*.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from variorum.kit.predicted.answers import answers, contents_named, last_of, predicted
from variorum.kit.predicted.drops import Results
from variorum.kit.predicted.fields import OfAttacked
from variorum.kit.predicted.offered import Asked, by_model
from variorum.kit.predicted.resamples import percent
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Row
from variorum.schemas.lookup import cut
from variorum.schemas.rows import Answers, Figure
from variorum.schemas.sample import Sample
from variorum.schemas.table import Table

if TYPE_CHECKING:
    from variorum.arrays import Floats, Ints

VARIANTS = ("natural", "random", "adversarial")
SEARCHED = "white-box: views were searched against it"
NO_OBJECTS = "no object has natural, random and adversarial views whose label the model knows"


class ViewpointAccuracy(OfAttacked):
    """Accuracy on natural, random and adversarial views, with bootstrap intervals over the objects.

    It reads editions of the generator `adversarial_viewpoint`. Objects count that have all three kinds of views.
    """

    offers: ClassVar[Mapping[str, Figure]] = {
        "natural": Figure("accuracy on natural views", filtered=SEARCHED),
        "random": Figure("accuracy on random views", filtered=SEARCHED),
        "adversarial": Figure("accuracy on views that were searched against another model", filtered=SEARCHED),
    }

    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterator[Row]:
        """One row per picture and classifier, as `accuracy_drop`'s, with the object's `photograph` and `origin`.

        `white_box` says whether the classifier has the weights of the model that was searched against.

        Raises:
            RecipeError: a classifier that isn't named under `white_box` was searched against.
        """
        for answer in answers(samples, self.everyone(ctx), ctx):
            sample = answer.sample
            yield {
                **predicted(answer, ctx),
                "photograph": sample.photograph,
                "origin": cut(sample.origin.rpartition("/")[2]),
                "white_box": self.followed(_searched(sample), answer.alias, ctx),
            }

    def figures(self, table: Table, ctx: Context) -> dict[str, Json]:
        """Accuracies in percent by classifier and kind of view, means over objects.

        `to_random` is the accuracy on natural views less that on random ones, `to_adversarial` that on random views
        less that on adversarial ones, both paired by object. `objects` has each object's accuracies on a model of
        `white_box`; of those in `unsearched` there are no adversarial views.
        """
        found: dict[str, Json] = {**self.common(table), "classifiers": {}, "objects": [], "unsearched": []}
        if not len(table):
            return found
        found["names"] = [alias for alias in self.named(table) if alias not in self.white_box]
        attacked = {*table["classifier"][table["white_box"].astype(bool)].astype(str).tolist()}
        white = [alias for alias in self.white_box if alias in attacked]
        found["white_box"] = [*white]
        classifiers: dict[str, Json] = {}
        for asked in by_model(table):
            means, objects = _means(asked)
            whole = means[np.isfinite(means).all(axis=1)]
            results = Results(self.resamples(max(len(whole), 1), ctx))
            preprocessing = str(asked.table["preprocessing"][0])
            figure: dict[str, Json] = {"outputs": asked.outputs, "preprocessing": preprocessing, "n": len(whole)}
            if len(whole):
                one = np.ones((len(whole), 1))
                for column, name in enumerate(VARIANTS):
                    figure[name] = results.told(whole[:, [column]], one)
                figure["to_random"] = results.told(whole[:, [0]] - whole[:, [1]], one, True)
                figure["to_adversarial"] = results.told(whole[:, [1]] - whole[:, [2]], one, True)
                results.fill()
            classifiers[asked.model] = figure
            if [asked.model] == white[:1]:
                found["objects"], found["unsearched"] = _objects(asked, means, objects)
        found["classifiers"] = classifiers
        return found

    def rows(self, table: Table, ctx: Context) -> Iterator[Answers]:
        """Accuracy by kind of view, of the objects that have all three."""
        for asked in by_model(table):
            means, objects = _means(asked)
            whole = np.isin(asked.photographs.of_row, objects[np.isfinite(means).all(axis=1)])
            for name in VARIANTS:
                rows = np.flatnonzero(whole & asked.scored & (asked.variant == name))
                if len(rows):
                    yield asked.share(name, rows, asked.right[rows], np.zeros(len(rows), np.int64), [name])
                else:
                    yield Answers(name, asked.model, why_not=NO_OBJECTS)


def _searched(sample: Sample) -> frozenset[str]:
    """Hashes and commits of the model that a view was searched against."""
    return contents_named(sample, "source") if last_of(sample).requested.get("attack") == "viewpoint" else frozenset()


def _means(asked: Asked) -> tuple[Floats, Ints]:
    """Accuracy by object and kind of view, `[n, 3]`, NaN where there is none; and the objects' numbers, `[n]`."""
    objects, place = np.unique(asked.photographs.of_row, return_inverse=True)
    means = np.full((len(objects), len(VARIANTS)), np.nan)
    for column, name in enumerate(VARIANTS):
        mine = asked.scored & (asked.variant == name)
        number = np.bincount(place[mine], minlength=len(objects))
        right = np.bincount(place[mine], asked.right[mine], len(objects))
        means[number > 0, column] = right[number > 0] / number[number > 0]
    return means, objects


def _objects(asked: Asked, means: Floats, objects: Ints) -> tuple[list[Json], list[Json]]:
    """Each searched object with its accuracies in percent, the least fooled first; and the others' origins."""
    _, first = np.unique(asked.photographs.of_row, return_index=True)
    origins = [str(one) for one in asked.table["origin"][first]]
    order = sorted(range(len(objects)), key=lambda one: (-np.nan_to_num(means[one, 2]), origins[one]))
    whole = [one for one in order if np.isfinite(means[one]).all()]
    found: list[Json] = [
        {"origin": origins[one], **{name: percent(means[one, column]) for column, name in enumerate(VARIANTS)}}
        for one in whole
    ]
    return found, [origins[one] for one in order if one not in whole]
