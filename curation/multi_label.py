"""Finds wrong and missing labels where pictures may have several: each class against the rest, then cleanlab's rule.

Every class gets a probability of its own, from heads that haven't seen the picture nor a copy of it. A class that a
picture has and is unlikely is perhaps wrong; one that it hasn't and is likely is perhaps missing. People are asked
about cells, a picture and a class: the likeliest mistake of either kind is named for each picture.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from curation.features import normalised, standardised
from curation.labels.folds import dealt_folds
from curation.labels.multilabel import cell_scores, picture_scores, pictures_with_issues
from schemas.canonical import Json
from schemas.component import Context, CurationStep
from schemas.errors import RecipeError
from variorum.columns import matrix, vector

if TYPE_CHECKING:
    import pyarrow as pa

Floats = NDArray[np.floating[Any]]
Flags = NDArray[np.bool_]


class MultiLabel(CurationStep):
    """Flags pictures with a label that is likely wrong or missing, and names the likeliest of each kind."""

    revision: ClassVar[int] = 2
    needs_labels: ClassVar[bool] = True
    scored_by: ClassVar[frozenset[str]] = frozenset({"grouped", "folds", "c"})

    grouped: bool = True
    """Whether the groups of the step `duplicates` stay in one fold, as variants of one photograph always do."""
    folds: int = Field(default=5, ge=2)
    """Heads a class; each is fitted on the other folds."""
    c: float = Field(default=1.0, gt=0)
    """Inverse strength of the L2 penalty, for standardised features over the square root of their number."""

    def needs(self) -> tuple[str, ...]:
        """The embeddings, and the groups of copies."""
        return ("features", "duplicates") if self.grouped else ("features",)

    def score(self, table: pa.Table, ctx: Context) -> Mapping[str, Any]:
        """Columns `score`, `flag`, `wrong`, `wrong_score`, `missing`, `missing_score`.

        `score` in [0, 1] is cleanlab's picture score, higher is more suspect; `flag` its default rule, class by class.
        `wrong` and `missing` are class ids, empty for none, with how suspect they are, NaN for none. A picture
        without any label or without a usable embedding isn't judged: an empty list may mean that nobody looked.

        Raises:
            RecipeError: no picture has a label.
        """
        n = table.num_rows
        given = [labels or [] for labels in table.column("labels").to_pylist()]
        classes = sorted({label for labels in given for label in labels})
        if n and not classes:
            raise RecipeError(f"curate.{self.component_name()}: no picture has a label; take the step out")
        score, flag = np.full(n, np.nan), np.zeros(n, dtype=bool)
        found: dict[str, list[str]] = {"wrong": [""] * n, "missing": [""] * n}
        worst = {"wrong": score.copy(), "missing": score.copy()}
        x = normalised(matrix(table, "features.embedding")) if n else np.zeros((0, 1), np.float32)
        rows = np.flatnonzero(np.array([bool(labels) for labels in given], dtype=bool) & ~np.isnan(x[:, 0]))
        rows = rows[np.argsort(vector(table, "id")[rows], kind="stable")]
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
            if not has.all():  # else there is nothing to tell the pictures apart by, and cleanlab refuses them
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

    def summarise(self, table: pa.Table) -> Mapping[str, Json]:
        """Pictures judged and flagged, and the classes that are most often suspected to be missing and to be wrong."""
        name = self.component_name()
        flag = vector(table, f"{name}.flag")
        figures: dict[str, Json] = {
            "judged": int((~np.isnan(vector(table, f"{name}.score"))).sum()),
            "flagged": int(flag.sum()),
        }
        for kind in ("wrong", "missing"):
            likely = flag & (vector(table, f"{name}.{kind}_score") > 0.5)
            counts = Counter(vector(table, f"{name}.{kind}")[likely].tolist())
            figures[f"most_often_{kind}"] = dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:5])
        return figures


def indicator(labels: Sequence[Sequence[int]], k: int) -> Flags:
    """Which picture has which class, `[N, K]`."""
    has = np.zeros((len(labels), k), dtype=bool)
    for row, own in enumerate(labels):
        has[row, list(own)] = True
    return has


def out_of_fold_cells(x: Floats, has: Flags, fold: NDArray[np.int64], c: float) -> Floats:
    """Probability `[N, K]` of each class by itself, by logistic regressions on the pictures of the other folds.

    Args:
        x: finite features `[N, d]`; they are standardised by the pictures that a head is fitted on.
        has: the given labels `[N, K]`.
        fold: `[N]`.
        c: inverse strength of the L2 penalty, for features of about unit length.

    Returns:
        Where all the other folds' pictures have a class, or none has, its share with one of each kind added.
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
