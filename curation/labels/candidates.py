"""Proposes the labels of a picture that people are asked about: several classifiers, other detectors, the given label.

A few different classifiers suffice: six gave 97 % of the right labels on ImageNet (Beyer et al. 2020, arXiv
2006.07159). They should differ in what they were trained on. They propose questions and decide nothing, so the same
classifiers may judge the release.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator

from variorum.curation.labels.class_agreement import class_probabilities
from variorum.kit.labels.matching import columns as output_columns
from variorum.kit.prompts.prompts import PHOTO
from variorum.kit.raters.accuracy import collapsed_classes
from variorum.kit.raters.candidates import Cells, candidate_cells
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Detector, Use, column_kinds
from variorum.schemas.errors import RecipeError
from variorum.schemas.sample import Sample
from variorum.schemas.table import Table
from variorum.schemas.uses import required_models

if TYPE_CHECKING:
    from variorum.arrays import Bools, Floats, Ints

ZERO_SHOT = 3
"""Guesses of a zero-shot model; its further ones are poor."""
DIGITS = 4
"""Of a probability in the column `cells`."""


class Candidates(Detector):
    """The labels of each picture that are worth asking about, and whether all models agree with the given one."""

    gives: ClassVar[Mapping[str, str]] = column_kinds(
        texts="cells", flags="agree", others="top top_p given_p top1 proposals chances"
    )
    late: ClassVar[frozenset[str]] = frozenset({"columns", "least", "cap", "collapsed"})
    proposes_only: ClassVar[bool] = True

    classifiers: tuple[str, ...] = ("classifier_small", "classifier")
    """Aliases of classifiers for ImageNet or for classes of their own; the more they differ, the better."""
    zero_shot: str = ""
    """Alias of a zero-shot model, which proposes three classes by name; empty for none."""
    columns: tuple[str, ...] = ()
    """Columns with a class index that propose it, such as `neighbours.proposed` or `probabilities.predicted`."""
    top: int = Field(default=5, ge=1, le=100)
    """Guesses kept of each classifier; the first is always proposed."""
    least: float = Field(default=0.1, ge=0, le=1)
    """A guess after the first is proposed if its probability is above this."""
    cap: int = Field(default=8, ge=1, le=100)
    """Most labels of a picture, the given one among them."""
    collapsed: Literal["imagenet", ""] | dict[str, tuple[str, ...]] = ""
    """Classes that people can't tell apart, which are proposed together: class id to class ids, or `imagenet`."""

    @field_validator("columns")
    @classmethod
    def _of_detectors(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if odd := [name for name in value if not all(name.partition("."))]:
            raise ValueError(f"{odd[0]!r} must be a detector and one of its columns, such as neighbours.proposed")
        return value

    def uses(self) -> list[Use]:
        """Return the classifiers, and the zero-shot model if there is one."""
        zero_shot = [] if not self.zero_shot else [Use(self.zero_shot)]
        return [*(Use(alias, "classifier") for alias in self.classifiers), *zero_shot]

    def needs(self) -> tuple[str, ...]:
        """The detectors whose columns propose."""
        return tuple(dict.fromkeys(name.partition(".")[0] for name in self.columns))

    def without(self, steps: Collection[str]) -> Candidates:
        """Without the columns of these steps."""
        kept = tuple(name for name in self.columns if name.partition(".")[0] not in steps)
        return self if kept == self.columns else self.model_copy(update={"columns": kept})

    def check(self, ctx: Context) -> None:
        """Raise RecipeError for `collapsed` classes that the edition doesn't have."""
        if ctx.classes:
            collapsed_classes(self.collapsed, [(info.id, info.name) for info in ctx.classes])

    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterator[Mapping[str, Any]]:
        """Each model's best classes `top` and their probabilities `top_p`, M times `top` values, and `given_p`, M.

        Classes are indices in the edition's list. The first guess is -1 if it is a class that the edition doesn't have;
        guesses that are missing are -1 with a probability of 0. `given_p` is the probability of the first label, NaN
        without one and for a label that the model doesn't know.
        """
        images, aliases = [sample.image for sample in samples], required_models(self)
        index = {info.id: k for k, info in enumerate(ctx.classes)}
        label = np.array([index.get(s.labels[0], -1) if s.labels else -1 for s in samples], np.int64)
        n = len(samples)
        top = np.full((n, len(aliases), self.top), -1, np.int32)
        top_p = np.zeros((n, len(aliases), self.top), np.float32)
        given_p = np.full((n, len(aliases)), np.nan, np.float32)
        for number, alias in enumerate(aliases):
            if not n or not ctx.classes:
                continue
            p = edition_probabilities(alias, images, ctx)
            k = min(self.top, ZERO_SHOT) if alias == self.zero_shot else self.top
            top[:, number, :k], top_p[:, number, :k] = best_classes(p, k)
            own = p[np.arange(n), np.maximum(label, 0)]
            given_p[:, number] = np.where(label >= 0, own, np.nan)
        for row in range(n):
            yield {"top": top[row].ravel(), "top_p": top_p[row].ravel(), "given_p": given_p[row]}

    def score(self, table: Table, ctx: Context) -> Mapping[str, Any]:
        """Columns `cells`, `proposals`, `chances`, `top1` and `agree`.

        `cells` is JSON, a list of [class id, number of proposals, probabilities]: one probability a model, 0 for a
        class that isn't among its guesses, null for one that it doesn't know. `proposals [N, cap]` and
        `chances [N, cap * M]` say the same in numbers, -1 and NaN for none. `top1 [N, M]` is each model's best class,
        -1 for one that the edition doesn't have. `agree` says whether all of them are the given label.

        Raises:
            RecipeError: a column doesn't hold class indices, or `collapsed` names an unknown class.
        """
        label, models = table["label"].astype(np.int64), len(required_models(self))
        shape = len(table), models, self.top
        top, p = (table[name].reshape(shape).transpose(1, 0, 2) for name in ("top", "top_p"))
        others = [class_indices(table, name, len(ctx.classes)) for name in self.columns]
        names = [(info.id, info.name) for info in ctx.classes]
        partners = collapsed_classes(self.collapsed, names)
        cells = candidate_cells(
            top.astype(np.int64), p, label, others, least=self.least, cap=self.cap, partners=partners
        )
        known = np.array([knows(alias, ctx) for alias in required_models(self)]).reshape(models, -1)
        chances = cell_probabilities(cells, top, p, label, table["given_p"].reshape(len(table), models), known)
        first = top[:, :, 0].T if models else np.zeros((len(table), 0), np.int64)
        agree = (label >= 0) & (first == label[:, None]).all(axis=1) & (models > 0)
        cells, chances = by_support(cells, chances)
        place = cells.picture * self.cap + np.arange(len(cells)) - np.searchsorted(cells.picture, cells.picture)
        labels = np.full(len(table) * self.cap, -1, np.int32)
        labels[place] = cells.label
        said = np.full((len(labels), models), np.nan, np.float32)
        said[place] = chances
        return {
            "cells": cell_texts(cells, chances, [identity for identity, _ in names], len(table)),
            "proposals": labels.reshape(len(table), self.cap),
            "chances": said.reshape(len(table), self.cap * models),
            "top1": first,
            "agree": agree,
        }

    def figures(self, table: Table, ctx: Context) -> Mapping[str, Json]:
        """Count pictures whose label the models agree with, and labels that are proposed for a picture."""
        n = len(table)
        if not n:
            return {"pictures": 0}
        import pyarrow.compute as pc

        cells = pc.count_substring(table.column("cells"), '["').to_numpy().astype(np.int64)
        agree = table["agree"]
        return {
            "pictures": n,
            "models": len(required_models(self)),
            "agree": int(agree.sum()),
            "agree_share": round(float(agree.mean()), 4),
            "cells": int(cells.sum()),
            "cells_a_picture": round(float(cells.mean()), 2),
        }


def knows(alias: str, ctx: Context) -> Bools:
    """Return which of the edition's classes `[K]` a model knows."""
    model = ctx.models.get(alias)
    if hasattr(model, "temperature"):
        return np.ones(len(ctx.classes), bool)
    return output_columns(ctx.classes, tuple(getattr(model, "classes", ())), needed=()) >= 0


def edition_probabilities(alias: str, images: Sequence[Any], ctx: Context) -> Floats:
    """A model's probability of each of the edition's classes and, in a last column, of its likeliest other class.

    Returns:
        `[N, K + 1]`, NaN for a class that it doesn't know, -inf in the last column if it knows no other class.
    """
    model = ctx.models.get(alias)
    if hasattr(model, "temperature"):
        _, p = class_probabilities(model, images, ctx.classes, PHOTO)
        output = np.arange(p.shape[1])
    else:
        p = np.asarray(model(images), np.float64)
        output = output_columns(ctx.classes, tuple(getattr(model, "classes", ())), p.shape[1], needed=())
    known = np.where(output >= 0, p[:, output], np.nan)
    rest = np.delete(p, output[output >= 0], axis=1).max(axis=1, initial=-np.inf)
    return np.column_stack([known, rest])


def best_classes(p: Floats, k: int) -> tuple[Ints, Floats]:
    """The k likeliest classes of each picture, best first, and their probabilities.

    Args:
        p: `[N, K + 1]`, as from `edition_probabilities`.
        k: number of guesses.

    Returns:
        Both `[N, k]`. Another class than the edition's is -1; so is a guess that is missing, with a probability of 0.
    """
    ranked = np.where(np.isnan(p), -np.inf, p)
    number = min(k, ranked.shape[1])
    some = np.argpartition(-ranked, number - 1, axis=1)[:, :number]
    some.sort(axis=1)
    chosen = np.take_along_axis(ranked, some, axis=1)
    order = np.argsort(-chosen, axis=1, kind="stable")
    found, chances = np.take_along_axis(some, order, axis=1), np.take_along_axis(chosen, order, axis=1)
    missing = np.isneginf(chances)
    found = np.where(missing | (found == p.shape[1] - 1), -1, found)
    pad = ((0, 0), (0, k - number))
    return np.pad(found, pad, constant_values=-1), np.pad(np.where(missing, 0.0, chances), pad)


def class_indices(table: Table, name: str, classes: int) -> Ints:
    """A column of class indices `[N]`, -1 for none. Raises RecipeError for any other column."""
    values = table[name]
    if values.ndim != 1 or values.dtype.kind not in "if":
        raise RecipeError(f"curate.candidates: column {name} must hold a class index for each picture")
    index = np.where(np.isfinite(values), values, -1).astype(np.int64)
    if (index >= classes).any() or (index[np.isfinite(values)] != values[np.isfinite(values)]).any():
        raise RecipeError(f"curate.candidates: column {name} holds {values.max():g}, no index of {classes} classes")
    return np.maximum(index, -1)


def cell_probabilities(cells: Cells, top: Ints, p: Floats, given: Ints, given_p: Floats, known: Bools) -> Floats:
    """Return each model's probability of each cell, `[C, M]`: 0 for a class it doesn't guess, NaN for an unknown one.

    Args:
        cells: C cells.
        top: `[M, N, k]` guesses.
        p: `[M, N, k]` their probabilities.
        given: `[N]` first labels, -1 for none.
        given_p: `[N, M]` probabilities of those.
        known: `[M, K]` classes that each model knows.
    """
    found = np.zeros((len(cells), len(top)))
    is_given = cells.label == given[cells.picture]
    for model in range(len(top)):
        said = found[:, model]
        for guess in range(top.shape[2]):
            same = top[model, cells.picture, guess] == cells.label
            said[same] = p[model, cells.picture[same], guess]
        said[is_given] = given_p[cells.picture[is_given], model]
        said[~known[model][cells.label]] = np.nan
    return found


def by_support(cells: Cells, chances: Floats) -> tuple[Cells, Floats]:
    """Cells and what the models say of them, for each picture those with most proposals first, then the likelier."""
    order = np.lexsort((cells.label, -np.nan_to_num(chances).sum(axis=1), -cells.support, cells.picture))
    return cells.take(order), chances[order]


def cell_texts(cells: Cells, chances: Floats, ids: Sequence[str], n: int) -> list[str]:
    """The cells of each of n pictures, sorted by picture, as JSON."""
    import pyarrow as pa
    import pyarrow.compute as pc

    chances = np.round(chances, DIGITS)
    names = pa.array([f"[{json.dumps(identity)}," for identity in ids], pa.string()).take(cells.label)
    support = pa.array(cells.support).cast(pa.string())
    said = [
        pc.fill_null(pa.array(column, pa.float64(), from_pandas=True).cast(pa.string()), "null")
        for column in np.ascontiguousarray(chances.T)
    ]
    together = pc.binary_join_element_wise(*said, ",") if said else pa.repeat(pa.scalar(""), len(cells))
    texts = pc.binary_join_element_wise(names, support, ",[", together, "]]", "")
    starts = np.searchsorted(cells.picture, np.arange(n + 1)).astype(np.int32)
    lists = pa.ListArray.from_arrays(pa.array(starts), texts)
    return list(pc.binary_join_element_wise("[", pc.binary_join(lists, ","), "]", "").to_pylist())
