"""Finds wrong and missing labels of pictures that may have several: one head per class, then cleanlab's rules.

Each class gets its own probability, from heads fitted without the picture and its copies. A class that the labels have
but the heads find unlikely may be wrong; one that the labels lack but the heads find likely may be missing. For each
picture the most suspect class of either kind is named, as people are best asked about one picture and one class.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from variorum.curation.people.cells import cell_scores, picture_scores, pictures_with_issues
from variorum.kit.embeddings.rows import normalised, standardised
from variorum.kit.labels.classes import id_ranks
from variorum.kit.labels.folds import dealt_folds
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Detector, column_kinds
from variorum.schemas.errors import RecipeError
from variorum.schemas.table import Table

if TYPE_CHECKING:
    from variorum.arrays import Bools, Ints, Reals


class MultiLabel(Detector):
    """Flags pictures with a label that is likely wrong or missing, and names the most suspect class of each kind."""

    gives: ClassVar[Mapping[str, str]] = column_kinds(
        numbers="score wrong_score missing_score", texts="wrong missing", flags="flag"
    )
    revision: ClassVar[int] = 2
    needs_labels: ClassVar[bool] = True

    grouped: bool = True
    """Whether each group of `duplicates` stays in one fold; variants of one photograph always do."""
    folds: int = Field(default=5, ge=2)
    """Heads per class; each is fitted on the other folds."""
    c: float = Field(default=1.0, gt=0)
    """Inverse strength of the L2 penalty, for standardised features divided by the square root of their number."""

    def needs(self) -> tuple[str, ...]:
        """The embeddings and, if `grouped`, the groups of copies."""
        return ("features", "duplicates") if self.grouped else ("features",)

    def score(self, table: Table, ctx: Context) -> Mapping[str, Any]:
        """Columns `score`, `flag`, `wrong`, `wrong_score`, `missing`, `missing_score`.

        `score` in [0, 1] is one minus cleanlab's picture score, higher is more suspect; `flag` is its default rule,
        class by class. `wrong` and `missing` are class ids (empty for none) and their scores how suspect they are
        (NaN for none). A picture without labels isn't judged, as an empty list may mean that nobody looked; nor is
        one without a usable embedding.

        Raises:
            RecipeError: no picture has a label.
        """
        n = len(table)
        given = [labels or [] for labels in table.column("labels").to_pylist()]
        classes = sorted({label for labels in given for label in labels})
        if n and not classes:
            raise RecipeError(f"curate.{self.component_name()}: no picture has a label; remove it from the recipe")
        score, flag = np.full(n, np.nan), np.zeros(n, dtype=bool)
        found: dict[str, list[str]] = {"wrong": [""] * n, "missing": [""] * n}
        worst = {"wrong": score.copy(), "missing": score.copy()}
        x = normalised(table["features.embedding"]) if n else np.zeros((0, 1), np.float32)
        rows = np.flatnonzero(np.array([bool(labels) for labels in given], dtype=bool) & ~np.isnan(x[:, 0]))
        rows = rows[np.argsort(id_ranks(table)[rows])]
        if len(rows):
            index = {label: place for place, label in enumerate(classes)}
            labels = [sorted({index[label] for label in given[row]}) for row in rows]
            has = indicator(labels, len(classes))
            first = np.full(n, -1)
            first[rows] = [own[0] for own in labels]
            rng = ctx.rng(self.component_name(), "", "folds")
            fold = dealt_folds(table, first, self.folds, rng, copies=self.grouped)[rows]
            p = out_of_fold_cells(x[rows], has, fold, self.c)
            score[rows] = 0.0
            if not has.all():  # otherwise the labels don't differ, and cleanlab refuses them
                score[rows], flag[rows] = picture_scores(labels, p), pictures_with_issues(labels, p)
            cells = cell_scores(labels, p)
            for kind, possible in (("wrong", has), ("missing", ~has)):
                suspect = np.where(possible, cells, -1.0)
                top = suspect.argmax(axis=1)
                for row, label, value in zip(rows, top, suspect[np.arange(len(rows)), top], strict=True):
                    if value >= 0:
                        found[kind][row], worst[kind][row] = classes[label], value
        return {
            "score": score,
            "flag": flag,
            "wrong": found["wrong"],
            "wrong_score": worst["wrong"],
            "missing": found["missing"],
            "missing_score": worst["missing"],
        }

    def figures(self, table: Table, ctx: Context) -> Mapping[str, Json]:
        """Numbers judged and flagged, and the classes most often suspected to be wrong and to be missing."""
        flag = table["flag"]
        figures: dict[str, Json] = {
            "judged": int((~np.isnan(table["score"])).sum()),
            "flagged": int(flag.sum()),
        }
        for kind in ("wrong", "missing"):
            likely = flag & (table[f"{kind}_score"] > 0.5)
            counts = Counter(table[kind][likely].tolist())
            figures[f"most_often_{kind}"] = dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:5])
        return figures


def indicator(labels: Sequence[Sequence[int]], k: int) -> Bools:
    """Mask `[N, K]` of the classes that each picture has."""
    has = np.zeros((len(labels), k), dtype=bool)
    for row, own in enumerate(labels):
        has[row, list(own)] = True
    return has


def out_of_fold_cells(x: Reals, has: Bools, fold: Ints, c: float) -> Reals:
    """Probability `[N, K]` of each class by itself, from logistic regressions on the other folds.

    Args:
        x: finite features `[N, d]`; they are standardised over the pictures that a head is fitted on.
        has: the given labels `[N, K]`.
        fold: `[N]`.
        c: inverse strength of the L2 penalty, for features of about unit length.

    Returns:
        Probabilities; if all pictures of the other folds have a class, or none has, its share with one picture of each
        kind added.
    """
    from sklearn.linear_model import LogisticRegression

    p = np.full(has.shape, 0.5)
    for held_out in np.unique(fold):
        test, train = fold == held_out, fold != held_out
        scaled = standardised(x, train) * np.float32(x.shape[1] ** -0.5) if train.any() else x
        positive = has[train].sum(axis=0)
        for k in range(has.shape[1]):
            if 0 < positive[k] < train.sum():
                head = LogisticRegression(C=c, max_iter=1000).fit(scaled[train], has[train, k])
                p[test, k] = head.predict_proba(scaled[test])[:, 1]
            else:
                p[test, k] = (positive[k] + 1) / (train.sum() + 2)
    return p
