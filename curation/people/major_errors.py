"""The slice of major errors: pictures on which strong models are plainly wrong, as in ImageNet-Major.

A picture is in it if one of the selecting models predicts a class that is a major mistake with a probability of `SURE`
or more, by what people say and how reliable they are, and at least `least` of the models miss the picture. Vasudevan et
al. 2022 (arXiv 2205.04596) have a unanimous panel instead. The selecting models fail on it by construction, so they are
recorded as filters of the edition and no evaluation takes them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from pydantic import Field, model_validator

from variorum.curation.people.outputs import predicted_classes
from variorum.curation.people.panel.label_sets import LABELS, LabelSet, read_label_set
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Detector, Row, Use, column_kinds
from variorum.schemas.errors import RecipeError
from variorum.schemas.sample import Sample
from variorum.schemas.table import Table
from variorum.schemas.vote import CATEGORIES

SURE = 0.9
"""Least probability of a major mistake."""
MISSES = ("wrong", "unchecked", "")
"""States of a prediction that is neither right nor unclear."""
NOT_REVIEWED = (
    f"no picture has reviewed labels ({LABELS}); name a release with `consensus` and votes as the source, such as "
    "multi_label_review@1.0.0-r2"
)


class MajorErrors(Detector):
    """Marks the pictures of the slice, on a release whose pictures have the member `labels.json`."""

    gives: ClassVar[Mapping[str, str]] = column_kinds(
        numbers="missed", texts="judged missed_by prediction category", flags="in_slice problematic reviewed"
    )
    late: ClassVar[frozenset[str]] = frozenset({"least"})
    revision: ClassVar[int] = 3

    selectors: tuple[str, ...] = Field(default=("classifier_small", "classifier"), min_length=1)
    """Aliases of the models that select."""
    least: int = Field(default=2, ge=1)
    """Models that must miss a picture."""

    @model_validator(mode="after")
    def _enough_models(self) -> Self:
        if self.least > len(set(self.selectors)):
            raise ValueError(f"least is {self.least}, but there are only {len(set(self.selectors))} selectors")
        return self

    def uses(self) -> list[Use]:
        """Return the models that select."""
        return [Use(alias) for alias in self.selectors]

    def check(self, ctx: Context) -> None:
        """Raise RecipeError if the source's first picture, and so none, has the member with reviewed labels."""
        first = next(ctx.source.outline(0, 1, ctx), None) if ctx.source else None
        if first and LABELS not in first.extras:
            raise RecipeError(f"curate.major_errors: {NOT_REVIEWED}")

    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterator[Row]:
        """`judged`: JSON, by model its prediction and what people said of it; `problematic` and `reviewed`.

        Raises:
            RecipeError: a model knows none of the edition's classes.
            CorruptShard: a picture's reviewed labels can't be read.
        """
        known = [
            read_label_set(data, sample.id) if isinstance(data := sample.extras.get(LABELS), bytes) else LabelSet()
            for sample in samples
        ]
        rows = [number for number, one in enumerate(known) if one.reviewed]
        said: list[dict[str, list[Any]]] = [{} for _ in samples]
        for alias in dict.fromkeys(self.selectors):
            if not rows:
                break
            model = ctx.models.get(alias)
            p = model([samples[number].image for number in rows])
            names = predicted_classes(alias, model, ctx.classes, p.shape[1])
            for number, row in zip(rows, p, strict=True):
                guess = names[int(row.argmax())]
                rated = known[number].by_label.get(guess)
                told = [rated.state, rated.category, rated.major] if rated else ["", "", 0.0]
                said[number][alias] = [guess, *told]
        for one, found in zip(known, said, strict=True):
            yield {
                "judged": json.dumps(found, ensure_ascii=False),
                "problematic": one.problematic,
                "reviewed": one.reviewed,
            }

    def score(self, table: Table, ctx: Context) -> Mapping[str, Any]:
        """`in_slice`, `missed` (number of models), `missed_by` (their aliases), `prediction` and `category`.

        `prediction` is the class id of the mistake that puts a picture into the slice, the most frequent one of
        several.

        Raises:
            RecipeError: the slice is empty.
        """
        n = len(table)
        found = [self._of(json.loads(text)) for text in table.column("judged").to_pylist()]
        missed_by, prediction, category = ([one[place] for one in found] for place in range(3))
        missed = np.array([len(names) for names in missed_by], np.int64)
        reviewed, problematic = table["reviewed"], table["problematic"]
        wrong = np.array([name != "" for name in prediction], bool)
        in_slice = wrong & (missed >= self.least) & ~problematic
        if n and not in_slice.any():
            raise RecipeError(f"curate.major_errors: {self._why_empty(reviewed, wrong & ~problematic, missed)}")
        return {
            "in_slice": in_slice,
            "missed": missed,
            "missed_by": [" ".join(names) for names in missed_by],
            "prediction": prediction,
            "category": category,
        }

    def _of(self, judged: Mapping[str, Sequence[Any]]) -> tuple[list[str], str, str]:
        """The models that miss a picture, and the major mistake with its category; `""` for none."""
        missed = [alias for alias, (_, state, *_) in judged.items() if state in MISSES]
        major = [
            (guess, category) for guess, state, category, major in judged.values() if state == "wrong" and major >= SURE
        ]
        counts = Counter(guess for guess, _ in major)
        best = min(counts, key=lambda guess: (-counts[guess], guess)) if counts else ""
        return missed, best, dict(major).get(best, "")

    def _why_empty(self, reviewed: Any, wrong: Any, missed: Any) -> str:
        if not reviewed.any():
            return NOT_REVIEWED
        if not wrong.any():
            return (
                f"the slice is empty: of {int(reviewed.sum())} reviewed pictures, none has a prediction of "
                f"{', '.join(self.selectors)} that is surely a major mistake to people; have their mistakes "
                "reviewed (`models` of `candidates`), or name other selectors"
            )
        return (
            f"the slice is empty: {int(wrong.sum())} pictures have a major mistake, but at most "
            f"{int(missed[wrong].max())} of {', '.join(self.selectors)} miss the same one; lower "
            f"curate.major_errors.least, now {self.least}"
        )

    def figures(self, table: Table, ctx: Context) -> Mapping[str, Json]:
        """Size of the slice, by category, and who selected it."""
        inside = table["in_slice"]
        if not len(table):
            return {}
        size, reviewed = int(inside.sum()), int(table["reviewed"].sum())
        chosen = table["category"][inside].tolist()
        by_model = Counter(alias for names in table["missed_by"][inside] for alias in names.split())
        category: dict[str, Json] = {name: chosen.count(name) for name in CATEGORIES if name in chosen}
        return {
            "pictures": size,
            "reviewed": reviewed,
            "least": self.least,
            "selectors": {alias: by_model[alias] for alias in dict.fromkeys(self.selectors)},
            "category": category,
            "findings": [
                f"{size:,} of {reviewed:,} reviewed pictures have a major mistake, and at least {self.least} of "
                f"{', '.join(self.selectors)} miss them. These models selected the pictures and fail on them by "
                "construction, so their accuracy here says nothing and is not measured."
            ],
        }
