"""Trains a small head on the embeddings and given labels, and records how it learns every picture.

Wrong labels are learned late. The head is regularised towards its early predictions (`curation.labels.training`);
otherwise it would memorise all wrong labels within a few passes, and later epochs would count against the right ones.

A large edition is dealt into halves, and a head is trained on a sample of each. What is recorded is how well it
predicts the other half, whose labels it never sees. So all pictures are recorded in the same way. The losses of
pictures that a head is trained on are smaller, and couldn't be compared with those of others. Pictures in a made-up
class are recorded by the head of the other half too. Variants of one photograph are in one half; copies may be in both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from variorum.curation.labels.training import Dynamics, observe, train
from variorum.kit.embeddings.rows import mean_and_deviation, normalised, standardised, usable_rows
from variorum.kit.labels.classes import FEWEST, LARGE, blank, id_ranks, same_share
from variorum.kit.labels.folds import dealt_folds
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Detector, column_kinds
from variorum.schemas.errors import RecipeError
from variorum.schemas.table import Table

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools, Floats, Ints, Reals, Singles


OBSERVED = 1 << 16
"""Pictures that a head observes at a time."""


class TrainingDynamics(Detector):
    """Each picture's loss history, margin, early-learning target, and when it was learned."""

    gives: ClassVar[Mapping[str, str]] = column_kinds(
        numbers="mean_loss rank_in_class aum learning_time forgets agreement fake_margin",
        others="loss_history elr_target",
    )
    """`loss_history` is the cross-entropy against the given label after each epoch, and `mean_loss` its mean in nats.
    `rank_in_class` is the rank of `mean_loss` among the pictures with the same label, in (0, 1). `aum` is the mean
    of the given label's logit minus the largest other logit. `elr_target` is the running mean after the last epoch.
    `learning_time` is the first epoch whose prediction was the given label, `forgets` how often it was predicted
    and then lost, `agreement` the share of epochs that predicted it. `fake_margin` has margins of the pictures
    moved to a made-up class."""
    revision: ClassVar[int] = 2
    needs_labels: ClassVar[bool] = True

    epochs: int = Field(default=60, ge=1)
    """Passes over the labelled pictures."""
    hidden: int = Field(default=256, ge=1)
    """Width of the head's two hidden layers."""
    batch: int = Field(default=128, ge=1)
    """Pictures per training step."""
    learning_rate: float = Field(default=1e-4, gt=0)
    """Learning rate of Adam. A higher one memorises sooner."""
    elr: float = Field(default=7.0, ge=0)
    """Strength of early-learning regularisation; 0 trains by cross-entropy alone and leaves out `elr_target`."""
    elr_momentum: float = Field(default=0.9, ge=0, lt=1)
    """Momentum of the running mean that the regulariser uses."""
    fake_class: bool = False
    """Whether to train a second head with some pictures in a made-up class, to calibrate a threshold of margins."""

    def needs(self) -> tuple[str, ...]:
        """The embeddings."""
        return ("features",)

    def score(self, table: Table, ctx: Context) -> Mapping[str, Any]:
        """Give each picture what was recorded of it; NaN and -1 for pictures that aren't judged.

        - `loss_history` `[N, E]` float16, the loss after each epoch; `mean_loss` over the epochs, in nats;
          `rank_in_class` of `mean_loss`, in (0, 1); `aum`, the mean margin (Pleiss et al., NeurIPS 2020);
        - `learning_time`: the first epoch that predicts the given label, E if none does; `forgets`: how often it is
          predicted and then lost (Toneva et al., ICLR 2019); `agreement`: share of epochs that predict it;
        - `elr_target` `[N, K]` float16 with `elr`: the running mean of the predictions;
        - `fake_margin` with `fake_class`: margins of the pictures that were moved to the made-up class.

        Raises:
            RecipeError: no picture has a label.
        """
        n = len(table)
        y, classes = table.labels()
        k = max(len(classes), 1)
        if n and not len(classes):
            raise RecipeError(f"curate.{self.component_name()}: no picture has a label; remove it from the recipe")
        embedding = table["features.embedding"] if n else np.zeros((0, 1), np.float32)
        rows = np.flatnonzero((y >= 0) & usable_rows(embedding))
        rows = rows[np.argsort(id_ranks(table)[rows])]
        given, found = y[rows], dict[str, Any]()
        learned: Iterable[tuple[Ints, dict[str, Array]]]
        if len(rows) > LARGE:
            learned = self.halves(table, embedding, rows, given, k, ctx)
        else:
            x = standardised(normalised(embedding, rows), np.ones(len(rows), bool))
            whole = columns(self.train(x, given, k, ctx, "head"), given, elr=self.elr > 0)
            if self.fake_class:
                fake, drawn = with_fake_class(given, k, ctx.rng(self.component_name(), "", "fake class"))
                margin = self.train(x, fake, k + 1, ctx, "head of the fake class").margin
                whole["fake_margin"] = np.where(drawn, margin, np.nan)
            learned = [(np.arange(len(rows)), whole)]
        for places, values in learned:
            for name, value in values.items():
                if name not in found:
                    found[name] = blank(value, n, ctx.store)
                found[name][rows[places]] = value
        found["rank_in_class"][rows] = rank_in_class(found["mean_loss"][rows], given)
        return found

    def halves(
        self, table: Table, embedding: Array, rows: Ints, y: Ints, k: int, ctx: Context
    ) -> Iterator[tuple[Ints, dict[str, Array]]]:
        """Train a head on a sample of each half, and give the columns of the other half, block by block.

        Args:
            table: the edition.
            embedding: `[N, d]` of all pictures.
            rows: `[M]` those that are judged, in the order of their ids.
            y: `[M]` their labels in 0..k-1.
            k: number of classes.
            ctx: gives the seeds.
        """
        name = self.component_name()
        labels = np.full(len(table), -1)
        labels[rows] = y
        half = dealt_folds(table, labels, 2, ctx.rng(name, "", "halves"), copies=False)[rows]
        fitted, fakes = list[Any](), list[Any]()
        for number in range(2):
            own = np.flatnonzero(half == number)
            fitted.append(own[same_share(y[own], LARGE, ctx.rng(name, "", f"half {number}"), FEWEST)])
            if self.fake_class:
                fakes.append(with_fake_class(y[fitted[number]], k, ctx.rng(name, "", f"fake class {number}")))
        for number in range(2):
            own, others = fitted[number], np.flatnonzero(half != number)
            x = normalised(embedding, rows[own])
            mean, deviation = mean_and_deviation(x)
            x = (x - mean) / deviation
            networks, of_fake = list[Any](), list[Any]()
            self.train(x, y[own], k, ctx, f"head {number}", networks)
            for start in range(0, len(others), OBSERVED):
                some = others[start : start + OBSERVED]
                x_some = (normalised(embedding, rows[some]) - mean) / deviation
                yield some, columns(observe(networks, x_some, y[some], k, self.elr_momentum), y[some], elr=self.elr > 0)
            if self.fake_class:
                self.train(x, fakes[number][0], k + 1, ctx, f"head of the fake class {number}", of_fake)
                some = fitted[1 - number][fakes[1 - number][1]]
                x = (normalised(embedding, rows[some]) - mean) / deviation
                margin = observe(of_fake, x, np.full(len(some), k), k + 1, self.elr_momentum).margin
                yield some, {"fake_margin": margin}

    def train(
        self, x: Singles, y: Ints, k: int, ctx: Context, purpose: str, networks: list[Any] | None = None
    ) -> Dynamics:
        """A head's dynamics with this detector's settings; `networks` as in `training.train`."""
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
            networks=networks,
        )

    def figures(self, table: Table, ctx: Context) -> Mapping[str, Json]:
        """Numbers judged and never learned, and the mean agreement of the head with the labels."""
        agreement = table["agreement"]
        judged = ~np.isnan(agreement)
        if not judged.any():
            return {"judged": 0}
        return {
            "judged": int(judged.sum()),
            "mean_agreement": round(float(agreement[judged].mean()), 4),
            "never_learned": int((agreement[judged] == 0).sum()),
        }


def columns(dynamics: Dynamics, y: Ints, *, elr: bool) -> dict[str, Array]:
    """Computes the columns of `TrainingDynamics.score` but `fake_margin` for N labelled samples."""
    mean_loss = dynamics.loss.mean(axis=1)
    got = dynamics.agrees
    found: dict[str, Array] = {
        "loss_history": dynamics.loss.astype(np.float16),
        "mean_loss": mean_loss,
        "rank_in_class": rank_in_class(mean_loss, y),
        "aum": dynamics.margin,
        "learning_time": np.where(got.any(axis=1), got.argmax(axis=1), got.shape[1]),
        "forgets": (got[:, :-1] & ~got[:, 1:]).sum(axis=1),
        "agreement": got.mean(axis=1),
    }
    return {**found, "elr_target": dynamics.target.astype(np.float16)} if elr else found


def rank_in_class(values: Reals, y: Ints) -> Floats:
    """Rank `[N]` among the samples with the same label, in (0, 1); 0.5 for a class of one."""
    from scipy.stats import rankdata

    ranks = np.full(len(y), np.nan)
    order = np.argsort(y, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(y[order])) + 1):
        ranks[rows] = (rankdata(values[rows]) - 0.5) / max(len(rows), 1)
    return ranks


def with_fake_class(y: Ints, k: int, rng: np.random.Generator) -> tuple[Ints, Bools]:
    """The labels with `N / (k + 1)` samples, at least one, moved to class k, and the mask of those samples.

    Their labels are certainly wrong, so their margins show how high a wrong label's margin gets (Pleiss et al.,
    NeurIPS 2020).
    """
    drawn = np.zeros(len(y), dtype=bool)
    drawn[rng.permutation(len(y))[: max(len(y) // (k + 1), 1)]] = True
    return np.where(drawn, k, y), drawn
