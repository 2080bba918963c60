"""cleanlab's Datalab with the same embeddings and probabilities, and rankings of its functions."""

from __future__ import annotations

import contextlib
import io

import numpy as np
from planted_parts.judge import Figures, Truth, ranking, share

from variorum.arrays import Floats, Ints, Reals


def datalab(truth: Truth, embedding: Reals, y: Ints, p: Reals) -> dict[str, Figures]:
    """Figures of Datalab by ranking; `datalab` has those of its flags too.

    Datalab looks for wrong labels, outliers and near duplicates with its default settings. It isn't given the pictures,
    only what it would compute from them otherwise. `datalab` ranks by the smaller of its label and outlier scores,
    `self_confidence` by its label score, which is the probability of the given label.

    Args:
        truth: of the set.
        embedding: `[N, d]`.
        y: `[N]` given labels.
        p: `[N, K]` out-of-sample probabilities. Pictures without any get even ones.
    """
    from cleanlab import Datalab
    from cleanlab.rank import get_label_quality_scores

    even = np.where(np.isnan(p), 1 / p.shape[1], p).astype(np.float64)
    even /= even.sum(axis=1, keepdims=True)
    features = np.nan_to_num(embedding.astype(np.float32))
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        lab = Datalab({"label": y.tolist()}, label_name="label", verbosity=0)
        kinds = {"label": {}, "outlier": {}, "near_duplicate": {}}
        lab.find_issues(features=features, pred_probs=even, issue_types=kinds)
        margin = get_label_quality_scores(y, even, method="normalized_margin")
    issues = lab.get_issues()
    label, outlier = issues["label_score"].to_numpy(), issues["outlier_score"].to_numpy()
    wrong, odd, near = (issues[f"is_{kind}_issue"].to_numpy() for kind in kinds)
    flagged, copies = wrong | odd | near, truth.copy_of >= 0
    original = np.where(copies, truth.copy_of, 0)
    flags: Figures = {
        "asked": share(flagged, np.ones(len(y), bool)),
        "clean_asked": share(flagged, truth.clean),
        "flips_found": share(wrong | odd, truth.flipped),
        "foreign_found": share(wrong | odd, truth.foreign),
        "copies_found": share(near | near[original], copies),
        "blurred_found": share(flagged, truth.kind == "blurred"),
    }
    orders = {
        "datalab": -np.minimum(label, outlier),
        "datalab_outlier": -outlier,
        "self_confidence": -label,
        "normalized_margin": -margin,
    }
    found = {name: ranked(truth, score) for name, score in orders.items()}
    found["datalab"] = {**flags, **found["datalab"]}
    return found


def ranked(truth: Truth, score: Floats) -> Figures:
    """Figures of a ranking of all pictures, the most suspect highest. Faults within the budget count as found."""
    seen = np.zeros(len(score), bool)
    seen[np.argsort(-score, kind="stable")[: truth.budget]] = True
    return {
        "found_in_budget": share(seen, truth.faulty),
        "flips_found_in_budget": share(seen, truth.flipped),
        "foreign_found_in_budget": share(seen, truth.foreign),
        **ranking(truth, score),
    }
