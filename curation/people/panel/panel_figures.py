"""Figures of a panel for the card: how well people answer and agree, and what their answers come to."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from variorum.curation.people.panel.weighing import CORRECT, NAMES, WRONG, Learnt, Weighing, consensus, states
from variorum.kit.raters.agreement import answer_counts, gwet_ac1, krippendorff_alpha
from variorum.kit.raters.dawid_skene import ANSWERS, Consensus
from variorum.kit.raters.valid_votes import Cells, Counted
from variorum.schemas.canonical import Json
from variorum.schemas.vote import BLIND
from variorum.statistics import wilson_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from variorum.arrays import Floats, Ints

BINS = (0.0, 0.2, 0.8, 1.0)
"""Ends of the bins in which probabilities are compared with known truths."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of answers, as the column `consensus.states` has it.

    Attributes:
        pictures: number of judged pictures.
        state: `[C]` number of each cell's state.
        models: `[M, C]` answers of models, -1 for none.
    """

    pictures: int
    state: Ints
    models: Ints

    @classmethod
    def read(cls, texts: Sequence[str | None]) -> Outcome:
        """From the column."""
        judged = [json.loads(text) for text in texts if text]
        cells = [cell for picture in judged for cell in picture]
        models = np.array([cell[-1] for cell in cells], np.int64).reshape(len(cells), -1 if cells else 0).T
        return cls(len(judged), np.array([NAMES.index(cell[1]) for cell in cells], np.int64), models)

    def count(self) -> dict[str, int]:
        """Number of cells by state."""
        return {name: int((self.state == place).sum()) for place, name in enumerate(NAMES)}


def panel_figures(
    counted: Counted, cells: Cells, out: Outcome, how: Weighing, models: Sequence[str], no_class: int
) -> dict[str, Json]:
    """Everything but the sentences."""
    one, own = (consensus(cells, out.models, how, by_label=by_label) for by_label in (False, True))
    without = consensus(cells, out.models, how, by_label=how.by_label, gold=False)
    names = list(models) if len(models) == len(out.models) else [f"model {n + 1}" for n in range(len(out.models))]
    return {
        "votes": {
            "in_file": counted.given,
            "used": len(counted.votes),
            "unknown_picture": counted.unknown,
            "picture_changed": counted.changed,
            "no_class": no_class,
        },
        "labels": out.count(),
        "people": len({*cells.rater.tolist()}),
        "agreement": agreement(cells),
        "discussion": discussion(cells),
        "cost": cost(cells, out.state),
        "priors": priors(cells, one.found, own.found, out.state, how),
        "known": int((~np.isnan(cells.gold) & (cells.number() > 0)).sum()),
        "mirror": round((own if how.by_label else one).mirror, 4),
        "calibration_on_gold": calibration(without.found.p, cells.gold),
        "raters": rater_figures(cells, out.models, names, own if how.by_label else one),
    }


def discussion(cells: Cells) -> dict[str, Json]:
    """Cells whose answers differ, those that were decided together, and those still to be discussed."""
    said = np.stack([cells.said(answer) for answer in range(ANSWERS)])
    differ = (said > 0).sum(axis=0) > 1
    together = cells.decided >= 0
    return {
        "not_unanimous": int(differ.sum()),
        "decided_together": int(together.sum()),
        "open": int((differ & ~together).sum()),
    }


def cost(cells: Cells, state: Ints) -> dict[str, Json]:
    """Answers in all and for each label that they settled, and people's time."""
    settled = int((np.isin(state, (WRONG, CORRECT)) & (cells.number() > 0)).sum())
    seconds: Any = cells.votes["seconds"].to_numpy()[cells.votes["round"].to_numpy() == BLIND]
    known = seconds[np.isfinite(seconds)]
    return {
        "answers": len(cells.cell),
        "answers_per_settled_label": round(len(cells.cell) / settled, 3) if settled else None,
        "hours": round(float(known.sum()) / 3600, 3) if len(known) else None,
        "seconds_per_answer": round(float(np.median(known)), 2) if len(known) else None,
    }


def priors(cells: Cells, one: Consensus, own: Consensus, state: Ints, how: Weighing) -> dict[str, Json]:
    """The share of right cells over all and its range over labels, and what the other choice would change.

    Args:
        cells: with people's answers.
        one: the consensus with one prior for all.
        own: that with a prior for each label.
        state: `[C]` the states with the prior in use.
        how: says which one that is.
    """
    known, other = cells.known(), (one if how.by_label else own).p
    there = states(cells, np.where(cells.open(), 0.5, np.where(np.isnan(known), other, known)), how)
    shares = np.zeros(0) if own.priors is None else own.priors
    return {
        "over_all": round(one.prior, 4),
        "by_label": [round(float(end), 4) for end in (shares.min(), shares.max())] if len(shares) else [],
        "in_use": "by_label" if how.by_label else "over_all",
        "labels_with_the_other": {name: int((there == place).sum()) for place, name in enumerate(NAMES)},
        "cells_that_differ": int((there != state).sum()),
    }


def agreement(cells: Cells) -> dict[str, Json]:
    """Krippendorff's α and Gwet's AC1 of people's blind answers; None if they can't be computed."""
    counts = answer_counts(cells.cell, cells.answer, len(cells), ANSWERS)
    found = {"krippendorff_alpha": krippendorff_alpha(counts), "gwet_ac1": gwet_ac1(counts)}
    return {name: None if np.isnan(value) else round(value, 4) for name, value in found.items()}


def rater_figures(cells: Cells, models: Ints, names: list[str], learnt: Learnt) -> dict[str, Json]:
    """Describe each rater: answers, their table given the truth, bits an answer, accuracy on gold, if below chance.

    People are called `person 1`, `person 2`, … by falling number of answers, because the figures are published with
    the edition; their names stay with the votes.

    Args:
        cells: with people's answers.
        models: `[M, C]` answers of models.
        names: of the models.
        learnt: has the tables of people and then models.
    """
    found = learnt.found
    bits = found.informativeness()
    counts = np.bincount(cells.rater, minlength=len(cells.people))
    order = np.argsort(-counts, kind="stable")
    listed = [(f"person {turn}", one) for turn, one in enumerate(order.tolist(), start=1) if counts[one]]
    listed += [(name, len(cells.people) + number) for number, name in enumerate(names)]
    figures: dict[str, Json] = {}
    for name, number in listed:
        if number >= len(bits):
            continue
        if number < len(cells.people):
            mine = cells.rater == number
            cell, answer = cells.cell[mine], cells.answer[mine]
        else:
            cell = np.flatnonzero(models[number - len(cells.people)] >= 0)
            answer = models[number - len(cells.people), cell]
        truth = cells.gold[cell]
        of = int((~np.isnan(truth)).sum())
        right = int((answer == truth * (ANSWERS - 1)).sum())
        low, high = wilson_interval(right, of)
        figures[name] = {
            "answers": len(cell),
            "confusion": [[round(float(share), 4) for share in row] for row in found.confusion[number]],
            "bits": round(float(bits[number]), 4),
            "below_chance": bool(learnt.below[number]),
            "gold": {"right": right, "of": of, "low": round(float(low), 4), "high": round(float(high), 4)},
        }
    return figures


def calibration(p: Floats, truth: Floats) -> list[Json]:
    """Probabilities beside known truths: by bin, number of cells, mean probability, share that is right."""
    known = ~np.isnan(truth)
    which = np.clip(np.digitize(p[known], BINS[1:-1]), 0, len(BINS) - 2)
    rows: list[Json] = []
    for number, (low, high) in enumerate(pairwise(BINS)):
        mine = which == number
        if mine.any():
            rows.append(
                {
                    "bin": f"{low:g} to {high:g}",
                    "cells": int(mine.sum()),
                    "p": round(float(p[known][mine].mean()), 4),
                    "right": round(float(truth[known][mine].mean()), 4),
                }
            )
    return rows
