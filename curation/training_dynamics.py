"""Trains a small head on the embeddings against the given labels, and keeps what it does with every picture.

Wrong labels are learned late and against resistance. The head is regularised to stay with what it learned early
(`curation.dynamics.training`), or else it would memorise every wrong label within a few passes, and what it says
after that would count against the right ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from curation.dynamics.training import Dynamics, train
from curation.features import normalised, standardised
from curation.labels.classes import spread
from schemas.canonical import Json
from schemas.component import Context, CurationStep
from schemas.errors import RecipeError
from variorum.columns import given_labels, matrix, vector

if TYPE_CHECKING:
    import pyarrow as pa

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]


class TrainingDynamics(CurationStep):
    """The history of every picture's loss, its margin, what the head remembers of it, and when it was learned."""

    revision: ClassVar[int] = 2
    needs_labels: ClassVar[bool] = True
    scored_by: ClassVar[frozenset[str]] = frozenset(
        {"epochs", "hidden", "batch", "learning_rate", "elr", "elr_momentum", "fake_class"}
    )

    epochs: int = Field(default=60, ge=1)
    """Passes over the labelled pictures."""
    hidden: int = Field(default=256, ge=1)
    """Width of the head's two hidden layers."""
    batch: int = Field(default=128, ge=1)
    """Pictures a step."""
    learning_rate: float = Field(default=1e-4, gt=0)
    """Of Adam. A faster head memorises sooner."""
    elr: float = Field(default=7.0, ge=0)
    """Strength of early-learning regularisation; 0 trains by cross-entropy alone and leaves out `elr_target`."""
    elr_momentum: float = Field(default=0.9, ge=0, lt=1)
    """Of the running mean that the head is held to."""
    fake_class: bool = False
    """Whether to train a second head with some pictures put in a class that doesn't exist, for the cut of margins."""

    def needs(self) -> tuple[str, ...]:
        """The embeddings."""
        return ("features",)

    def score(self, table: pa.Table, ctx: Context) -> Mapping[str, Any]:
        """Columns as `columns` has them, `fake_margin` with `fake_class`; NaN and -1 where nothing can be said.

        Raises:
            RecipeError: no picture has a label.
        """
        n = table.num_rows
        y, classes = given_labels(table)
        k = max(len(classes), 1)
        if n and not len(classes):
            raise RecipeError(f"curate.{self.component_name()}: no picture has a label; take the step out")
        x = normalised(matrix(table, "features.embedding")) if n else np.zeros((0, 1), np.float32)
        y[np.isnan(x[:, 0])] = -1
        judged = np.flatnonzero(y >= 0)
        rows = judged[np.argsort(vector(table, "id")[judged], kind="stable")] if n else judged
        inputs, labels = standardised(x[rows], np.ones(len(rows), bool)), y[rows]
        found = columns(self.train(inputs, labels, k, ctx, "head"), labels, elr=self.elr > 0)
        if self.fake_class:
            fake, drawn = with_fake_class(labels, k, ctx.rng(self.component_name(), "", "fake class"))
            margin = self.train(inputs, fake, k + 1, ctx, "head of the fake class").margin
            found["fake_margin"] = np.where(drawn, margin, np.nan)
        return {name: spread(values, rows, n) for name, values in found.items()}

    def train(self, x: NDArray[np.float32], y: Ints, k: int, ctx: Context, purpose: str) -> Dynamics:
        """A head's dynamics with this step's settings."""
        return train(
            x,
            y,
            k,
            seed=ctx.seed_for(self.component_name(), "", purpose),
            epochs=self.epochs,
            hidden=self.hidden,
            batch=self.batch,
            learning_rate=self.learning_rate,
            elr=self.elr,
            elr_momentum=self.elr_momentum,
        )

    def summarise(self, table: pa.Table) -> Mapping[str, Json]:
        """How many pictures were judged, how far the head agreed with the labels, and how many it never learned."""
        agreement = vector(table, f"{self.component_name()}.agreement")
        judged = ~np.isnan(agreement)
        if not judged.any():
            return {"judged": 0}
        return {
            "judged": int(judged.sum()),
            "mean_agreement": round(float(agreement[judged].mean()), 4),
            "never_learned": int((agreement[judged] == 0).sum()),
        }


def columns(seen: Dynamics, y: Ints, *, elr: bool) -> dict[str, NDArray[Any]]:
    """What detectors read, from the dynamics of N labelled samples.

    Returns:
        `loss_history` `[N, E]` float16, `mean_loss` (over the epochs, in nats), `rank_in_class` (of `mean_loss`, in
        (0, 1)), `aum` (mean margin), `learning_time` (first epoch that got the given label, E for none), `forgets`
        (times it was got and then lost: Toneva et al., ICLR 2019, arXiv 1812.05159), `agreement` (share of epochs
        that got it), and with `elr` `elr_target` `[N, K]` float16.
    """
    mean_loss = seen.loss.mean(axis=1)
    got = seen.agrees
    found: dict[str, NDArray[Any]] = {
        "loss_history": seen.loss.astype(np.float16),
        "mean_loss": mean_loss,
        "rank_in_class": rank_in_class(mean_loss, y),
        "aum": seen.margin,
        "learning_time": np.where(got.any(axis=1), got.argmax(axis=1), got.shape[1]),
        "forgets": (got[:, :-1] & ~got[:, 1:]).sum(axis=1),
        "agreement": got.mean(axis=1),
    }
    return {**found, "elr_target": seen.target.astype(np.float16)} if elr else found


def rank_in_class(values: Floats, y: Ints) -> NDArray[np.float64]:
    """Rank `[N]` among the samples with the same label, in (0, 1); 0.5 for a class of one."""
    from scipy.stats import rankdata

    ranks = np.full(len(y), np.nan)
    order = np.argsort(y, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(y[order])) + 1):
        ranks[rows] = (rankdata(values[rows]) - 0.5) / max(len(rows), 1)
    return ranks


def with_fake_class(y: Ints, k: int, rng: np.random.Generator) -> tuple[Ints, NDArray[np.bool_]]:
    """The labels with `N / (k + 1)` samples, at least one, put in class k, and which those are.

    As their label is wrong for certain, their margins show how high a wrong label's margin gets (Pleiss et al.,
    NeurIPS 2020).
    """
    drawn = np.zeros(len(y), dtype=bool)
    drawn[rng.permutation(len(y))[: max(len(y) // (k + 1), 1)]] = True
    return np.where(drawn, k, y), drawn
