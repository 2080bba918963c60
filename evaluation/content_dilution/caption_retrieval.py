"""Measure what captions still say after a change: by their words, and where there is one, by a model of both.

After Verma et al. (EMNLP 2022, arXiv 2211.02646), who ask it of classifiers of pictures with their texts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from variorum.evaluation.content_dilution.editions import labels_of
from variorum.evaluation.content_dilution.figures import Pictures, Relevance
from variorum.generators.content_dilution.neighbours import caption_of
from variorum.generators.content_dilution.words import stopwords, words
from variorum.kit.predicted.fields import Resampled
from variorum.kit.predicted.pairing import ORIGINAL, roots
from variorum.kit.predicted.resamples import Resamples
from variorum.kit.prompts.prompts import articled
from variorum.schemas.canonical import Json, derive_seed
from variorum.schemas.component import ClassInfo, Context, Row, Use
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import cut
from variorum.schemas.plot import IntervalPlot, Plot, point
from variorum.schemas.sample import Sample
from variorum.schemas.table import Table

if TYPE_CHECKING:
    from variorum.arrays import Array, Floats, Singles

MOST_WORDS = 2048
"""Words of the originals that are compared, the most frequent ones."""
PARTS = ("picture", "text", "both")
RELEVANCES: tuple[Relevance, ...] = ("parent", "label")


class CaptionRetrieval(Resampled):
    """Whether a caption still finds its own and its class, by its words alone, and by a judge of pictures and texts.

    The gallery has the originals of the edition: their captions, and for the judge their pictures. Figures are given
    for the original captions too, so that a drop can be seen.
    """

    judge: str | None = None
    """Alias of a zero-shot model of pictures and texts, such as `zero_shot` in profile `hub`; null for words alone."""

    def uses(self) -> list[Use]:
        """Return the judge, if there is one."""
        return [] if self.judge is None else [Use(self.judge)]

    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterator[Row]:
        """One row per picture: `id`, `parent`, `variant`, `labels` as JSON and `caption`.

        With a judge also `picture_at` and `caption_at`, their embeddings, and whether its likeliest class is one of the
        picture's: for the picture, for its caption, and for the mean of the probabilities of both. They are NaN without
        labels.

        Raises:
            RecipeError: the judge isn't a model of pictures and texts.
        """
        captions = [caption_of(sample) for sample in samples]
        judged = [{} for _ in samples] if self.judge is None else self._judged(samples, captions, ctx)
        for sample, caption, one in zip(samples, captions, judged, strict=True):
            yield {
                "id": sample.id,
                "parent": sample.parent,
                "variant": sample.variant,
                "labels": json.dumps(sorted(sample.labels)),
                "caption": caption,
                **one,
            }

    def _judged(self, samples: Sequence[Sample], captions: Sequence[str], ctx: Context) -> list[dict[str, Any]]:
        assert self.judge is not None
        model = ctx.models.get(self.judge)
        if not samples:
            return []
        if not (hasattr(model, "embed_texts") and hasattr(model, "embed_pictures")):
            raise RecipeError(
                f"caption_retrieval: {cut(repr(self.judge))} gives no embeddings of pictures and texts; name a "
                "zero-shot model, such as zero_shot in profile hub, or null"
            )
        pictures, texts = model.embed_pictures([one.image for one in samples]), model.embed_texts(captions)
        right = _right(pictures, texts, model, samples, ctx.classes)
        return [
            {"picture_at": picture, "caption_at": text, **dict(zip(PARTS, row, strict=True))}
            for picture, text, row in zip(pictures, texts, right.tolist(), strict=True)
        ]

    def figures(self, table: Table, ctx: Context) -> dict[str, Json]:
        """Percentages with intervals by variant, in the order of `names`.

        `own` and `own_mrr`: the caption's own original is first, and the mean of 1/rank up to 10; equal captions share
        their ranks. `label`: the most similar caption of another photograph has a common class. With a judge `shown`:
        its own picture is first; `picture`, `text` and `both`: the likeliest class is right. `lost` has what an edit's
        captions have less than the originals of the same photographs, in points. A figure is None where no picture has
        it.
        """
        common: dict[str, Json] = {"judge": self.judge or "", "confidence": self.confidence}
        if not len(table) or not (table["variant"] == ORIGINAL).any():
            return {**common, "gallery": 0, "names": [], "variants": {}}
        photograph, asked = _asked(table)
        photographs, seed = int(photograph.max()) + 1, derive_seed(ctx.seed, "caption_retrieval")
        resamples = Resamples(photographs, self.bootstrap, self.confidence, seed)
        variant = table["variant"]
        names = [ORIGINAL, *sorted({*variant.tolist()} - {ORIGINAL})]
        lost = {what: _clean(values, photograph, variant) - values for what, values in asked.items()}
        found: dict[str, Json] = {}
        for name in names:
            rows = variant == name
            shares, less = (
                {
                    what: _share(one[rows], photograph[rows], resamples, photographs, signed)
                    for what, one in values.items()
                }
                for values, signed in ((asked, False), (lost, True))
            )
            found[name] = {"n": int(rows.sum()), **shares, "lost": None if name == ORIGINAL else less}
        return {**common, "gallery": int((variant == ORIGINAL).sum()), "names": list(names), "variants": found}

    def plots(self, figures: Mapping[str, Any]) -> dict[str, Plot]:
        """`captions`: how many captions find their own and their class, by variant."""
        rows = {name: figures["variants"][name] for name in figures["names"]}
        if not rows:
            return {}
        named = {"own caption first": "own", "class of the nearest": "label", "own picture first": "shown"}
        named |= {f"class by {part}": part for part in PARTS}
        series = {
            title: tuple(point(one[what]) if one[what] else None for one in rows.values())
            for title, what in named.items()
            if any(one.get(what) for one in rows.values())
        }
        return {"captions": IntervalPlot("What captions still say", "percent", tuple(rows), series)}


def _asked(table: Table) -> tuple[Array, dict[str, Floats]]:
    """By row, the photograph `[N]`, and what it found, `[N]` each; NaN where nothing could be found."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    tops = roots(dict(zip(table["id"].tolist(), table["parent"].tolist(), strict=True)))
    photograph = np.unique([tops[one] for one in table["id"].tolist()], return_inverse=True)[1]
    original = np.asarray(table["variant"] == ORIGINAL)
    captions = table["caption"].tolist()
    has = labels_of(table["labels"])
    counting = TfidfVectorizer(analyzer=_said, max_features=MOST_WORDS, dtype=np.float32)
    try:
        counting.fit([caption for caption, first in zip(captions, original, strict=True) if first])
    except ValueError:  # no original has a word
        return photograph, {}
    texts = Pictures(counting.transform(captions).toarray(), photograph, has)
    own, label = (texts.retrieved(texts.at(original), relevance) for relevance in RELEVANCES)
    found = {"own": (own, own.first), "own_mrr": (own, own.reciprocal), "label": (label, label.first)}
    judged: dict[str, Floats] = {}
    if "caption_at" in table:
        asking, there = (Pictures(table[column], photograph, has) for column in ("caption_at", "picture_at"))
        shown = asking.retrieved(there.at(original), "parent")
        found["shown"] = shown, shown.first
        judged = {part: np.asarray(table[part], np.float64) for part in PARTS}
    return photograph, {what: np.where(one.answerable, said, np.nan) for what, (one, said) in found.items()} | judged


def _said(caption: str) -> list[str]:
    """The words that say something."""
    return [word for word in words(caption) if word not in stopwords()]


def _clean(values: Floats, photograph: Array, variant: Array) -> Floats:
    """By row, the value of its photograph's original; NaN without one, `[N]`."""
    clean = np.full(int(photograph.max()) + 1, np.nan)
    original = variant == ORIGINAL
    clean[photograph[original]] = values[original]
    return np.asarray(clean[photograph])


def _share(
    values: Floats, photograph: Array, resamples: Resamples, photographs: int, signed: bool
) -> dict[str, Json] | None:
    """Mean of the values that are numbers, in percent; None without any."""
    there = np.isfinite(values)
    if not there.any():
        return None
    top, bottom = (
        np.bincount(photograph[there], part, photographs)[:, None].astype(np.float64)
        for part in (values[there], np.ones(int(there.sum())))
    )
    return resamples.mean_of_ratios(top, bottom, signed=signed)


def _right(
    pictures: Singles, texts: Singles, model: Any, samples: Sequence[Sample], classes: Sequence[ClassInfo]
) -> Floats:
    """Whether the likeliest class is right, by picture, text and both, `[N, 3]`; NaN without labels."""
    from scipy.special import softmax

    right = np.full((len(samples), len(PARTS)), np.nan)
    if not classes:
        return right
    prompts = model.embed_texts([articled(f"a photo of a {one.name.replace('_', ' ')}") for one in classes])
    by_part = [softmax((model.temperature * part @ prompts.T).astype(np.float64), 1) for part in (pictures, texts)]
    for column, chances in enumerate([*by_part, np.add(*by_part)]):
        for row, (sample, place) in enumerate(zip(samples, chances.argmax(axis=1), strict=True)):
            if sample.labels:
                right[row, column] = classes[int(place)].id in sample.labels
    return right
