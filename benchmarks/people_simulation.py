"""Simulated panels: does the truth come out, and who is found out?

digits      scikit-learn's digits, four panels of raters with known accuracies. Majority vote, with ties broken by an
            out-of-fold model, Dawid–Skene over the ten classes, the model alone, CROWDLAB, and Dawid–Skene of cells
            ("is it a 3?") with the model as one more rater, beside the accuracies of an earlier simulation of the same
            set-ups. The area under the ROC curve is that of CROWDLAB's quality, and of the agreement of the raters, for
            whether the consensus is right.
dispatch    one of the panels at smaller size through the real dispatch, ballots and database: a rater says yes to one
            digit and no to the others. The same figures as from votes that are drawn directly.
clickers    share of raters, by how they answer, whom the test suspects after their first 30 answers, after 100 on
            gold, and at any time until then.
panels      questions with three votes, for a fifth of which yes is right, and a tenth on top whose answer is known. All
            people are honest; or a fifth of them, two at least, guess, always say yes, take yes for no, fade from their
            best to guessing, or copy one another where two are asked. Share of questions that the consensus settles, of
            these that are right (mean and worst run), of right labels that are found, and the largest probability of
            the mirror image, with the known answers and without. Beside it the majority, and as the limit whoever knows
            everybody's true table.
major       the panels of honest people, who also say of each wrong label whether the mistake is major, and are right
            about it in .65 to .85 or in .75 to .95 of the cases. Of the labels that are major mistakes by
            `major_errors`, by another probability, or because all said no and most of them major: share that are none
            (mean and worst run), and share of all major mistakes that are among them.
hasty       share of them who are warned and who are paused, all being fast, at any time within 60 answers on gold, and
            after how many (median of those who are).
"""

from __future__ import annotations

import os

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # before NumPy is loaded

import argparse
import json
import tempfile
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sqlalchemy import Engine, insert

from variorum.arrays import Floats, Ints
from variorum.curation.people.major_errors import SURE
from variorum.curation.people.panel.crowdlab import crowdlab
from variorum.curation.people.panel.raters import BOUND, LEAST, evidence_of_clicking
from variorum.curation.people.panel.weighing import CORRECT, WRONG, Weighing, consensus, majors, states, unanimous
from variorum.kit.raters.dawid_skene import dawid_skene, model_votes
from variorum.kit.raters.valid_votes import Cells
from variorum.people.panel.dispatch import next_tasks
from variorum.people.panel.gold import gold_target
from variorum.people.panel.haste import PAUSED, WARNED
from variorum.people.votes.ballots import cast, counted, join
from variorum.people.votes.database import open_database, panels, questions, tasks, writing
from variorum.schemas.vote import Vote, question_key

PEOPLE: dict[str, tuple[int, int, Callable[[np.random.Generator], Floats]]] = {
    "3 people": (400, 3, lambda rng: even(rng.uniform(0.88, 0.98, 3))),
    "5 people": (400, 5, lambda rng: even(rng.uniform(0.88, 0.98, 5))),
    "12 people": (600, 12, lambda rng: even(rng.uniform(0.88, 0.98, 12))),
    "30 cautious": (1000, 30, lambda rng: np.stack([rng.dirichlet(20 * row, 30) for row in REAL], axis=1)),
}
"""Questions, people, and their tables."""
REAL = np.array([[0.899, 0.06, 0.041], [0.32, 0.17, 0.51]])
"""The pooled rater of ReaL (Beyer et al. 2020)."""
CASTS = "honest", "coins", "always yes", "adversaries", "drifting", "colluding"
VOTES, RIGHT, GOLD = 3, 0.2, 0.1
PANEL, NOW, K = "digits@1.0.0/main", 1_000_000.0, 10
COLUMNS = "majority", "majority_model_ties", "dawid_skene_of_classes", "model", "crowdlab", "auroc", "auroc_agreement"
SETUPS: dict[str, tuple[Callable[[np.random.Generator], Floats], float, tuple[float, ...]]] = {
    "5 good, 3 votes": (lambda rng: rng.uniform(0.80, 0.95, 5), 3, (0.955, 0.976, 0.965, 0.919, 0.994, 0.975, 0.868)),
    "20 mixed, 2 votes": (
        lambda rng: rng.uniform(0.45, 0.95, 20), 2, (0.716, 0.884, 0.724, 0.806, 0.919, 0.876, 0.681),
    ),
    "20 mixed, 3 votes": (
        lambda rng: rng.uniform(0.42, 0.95, 20), 3, (0.841, 0.909, 0.881, 0.887, 0.968, 0.928, 0.750),
    ),
    "50 spammy, 1.5 votes": (
        lambda rng: np.where(rng.random(50) < 0.25, 0.1, rng.uniform(0.5, 0.95, 50)), 1.5,
        (0.648, 0.740, 0.529, 0.813, 0.879, 0.869, 0.550),
    ),
}  # fmt: skip
"""Accuracies of the raters, votes a picture, and what is expected in each column."""
RATERS: dict[str, list[list[float]]] = {
    "coin": [[0.5, 0, 0.5]] * 2,
    "always yes": [[0, 0, 1]] * 2,
    "always no": [[1, 0, 0]] * 2,
    "three answers": [[1 / 3] * 3] * 2,
    "always unclear": [[0, 1, 0]] * 2,
    "reversed .85": [[0.15, 0, 0.85], [0.85, 0, 0.15]],
    "right .85, never unclear": [[0.85, 0, 0.15], [0.15, 0, 0.85]],
    "right .85, unclear .10": [[0.85, 0.10, 0.05], [0.05, 0.10, 0.85]],
    "right .90": [[0.90, 0, 0.10], [0.10, 0, 0.90]],
    "right .95": [[0.95, 0, 0.05], [0.05, 0, 0.95]],
    "right .80, unclear .10": [[0.80, 0.10, 0.10], [0.10, 0.10, 0.80]],
    "right .70, unclear .25": [[0.70, 0.25, 0.05], [0.05, 0.25, 0.70]],
    "right .65, unclear .30": [[0.65, 0.30, 0.05], [0.05, 0.30, 0.65]],
    "cautious with yes": [[0.95, 0.04, 0.01], [0.12, 0.23, 0.65]],
    "pooled rater of ReaL": [[0.899, 0.06, 0.041], [0.32, 0.17, 0.51]],
    "right .80, never unclear": [[0.80, 0, 0.20], [0.20, 0, 0.80]],
}


def publish(engine: Engine, wanted: Ints) -> None:
    """A panel that asks about all ten digits for each picture."""
    with writing(engine, PANEL) as connection:
        connection.execute(
            insert(panels), {"panel": PANEL, "edition": "e", "questions": "q", "paused": False, "made": NOW}
        )
        row = {"panel": PANEL, "kind": "label", "why": "asked"}
        known = [{"id": f"p{number}", "sha256": f"{number:064x}"} for number in range(len(wanted))]
        connection.execute(
            insert(tasks),
            [
                {**row, **one, "task": number, "wanted": int(wanted[number]), "open": True, "disputed": False}
                for number, one in enumerate(known)
            ],
        )
        connection.execute(
            insert(questions),
            [
                {**row, "question": question_key("label", one["id"], one["sha256"], str(k)), "task": number,
                 "subject": str(k)}
                for number, one in enumerate(known)
                for k in range(K)
            ],
        )  # fmt: skip


def review(engine: Engine, y: Ints, accuracy: Floats, rng: np.random.Generator) -> None:
    """Everybody asks for the next pictures in a random order until nothing is left."""
    names = [f"r{number}" for number in range(len(accuracy))]
    for name in names:
        join(engine, PANEL, name, NOW)
    busy = list(range(len(names)))
    while busy:
        for rater in rng.permutation(busy).tolist():
            found = next_tasks(engine, PANEL, names[rater], number=10, now=NOW, gold=0)
            if not found:
                busy.remove(rater)
            given = []
            for task in found:
                truth = y[task.task]
                said = truth if rng.random() < accuracy[rater] else (truth + rng.integers(1, K)) % K
                given += [
                    Vote(str(uuid.UUID(bytes=rng.bytes(16))), "label", task.id, task.sha256, one.subject, names[rater],
                         "yes" if int(one.subject) == said else "no")
                    for one in task.questions
                ]  # fmt: skip
            results = cast(engine, PANEL, given, NOW)
            assert {one.state for one in results} <= {"kept"}


def out_of_fold(x: Floats, labels: Ints) -> Floats:
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    found = cross_val_predict(LogisticRegression(max_iter=300), x, labels, cv=folds, method="predict_proba")
    return np.asarray(found, np.float64)


def drawn(y: Ints, accuracy: Floats, wanted: Ints, rng: np.random.Generator) -> Floats:
    """Votes `[N, J]` of random raters, NaN for none."""
    votes = np.full((len(y), len(accuracy)), np.nan)
    for number, truth in enumerate(y):
        who = rng.choice(len(accuracy), wanted[number], replace=False)
        wrong = (truth + rng.integers(1, K, len(who))) % K
        votes[number, who] = np.where(rng.random(len(who)) < accuracy[who], truth, wrong)
    return votes


def dispatched(y: Ints, accuracy: Floats, wanted: Ints, rng: np.random.Generator) -> Floats:
    """The same through `next_tasks`, `cast` and `counted`."""
    with tempfile.TemporaryDirectory() as folder:
        engine = open_database(str(Path(folder) / "votes.sqlite"))
        publish(engine, wanted)
        review(engine, y, accuracy, rng)
        table = counted(engine, PANEL)
        engine.dispose()
    picture = np.array([int(one[1:]) for one in table["id"].to_pylist()])
    assert (np.bincount(picture, minlength=len(y)) == wanted * K).all(), "every question has exactly its votes"
    votes = np.full((len(y), len(accuracy)), np.nan)
    for row in table.select(["id", "reviewer", "subject", "answer"]).to_pylist():
        if row["answer"] == "yes":
            votes[int(row["id"][1:]), int(row["reviewer"][1:])] = int(row["subject"])
    return votes


def of_classes(picture: Ints, rater: Ints, said: Ints, counts: Floats, raters: int) -> Ints:
    """Labels by Dawid and Skene's model with a table of K x K for each rater, 50 steps."""
    p = counts / counts.sum(axis=1, keepdims=True)
    for _ in range(50):
        table = np.full((raters, K, K), 0.01)
        np.add.at(table.transpose(0, 2, 1), (rater, said), p[picture])
        table /= table.sum(axis=2, keepdims=True)
        logs = np.log(np.maximum(p.mean(axis=0), 1e-9)) + np.zeros_like(p)
        np.add.at(logs, picture, np.log(table)[rater, :, said])
        p = np.exp(logs - np.logaddexp.reduce(logs, axis=1, keepdims=True))
    return np.asarray(p.argmax(axis=1))


def figures(x: Floats, y: Ints, votes: Floats, accuracy: Floats) -> dict[str, float]:
    """Every column of a panel, and how well its raters are known."""
    picture, rater = np.nonzero(~np.isnan(votes))
    said = votes[picture, rater].astype(np.int64)
    counts = np.stack([(votes == k).sum(axis=1) for k in range(K)], axis=1).astype(float)
    leading = counts == counts.max(axis=1, keepdims=True)
    first = out_of_fold(x, counts.argmax(axis=1))
    p = out_of_fold(x, crowdlab(votes, first).labels)
    found = crowdlab(votes, p)
    right = found.labels == y
    share = counts[np.arange(len(y)), found.labels] / counts.sum(axis=1)

    cell = (picture[:, None] * K + np.arange(K)).ravel()
    answer = np.where(said[:, None] == np.arange(K), 2, 0).ravel()
    cells = np.concatenate([cell, np.arange(len(y) * K)])
    who = np.concatenate([np.repeat(rater, K), np.full(len(y) * K, len(accuracy))])
    both = dawid_skene(cells, who, np.concatenate([answer, model_votes(p.reshape(-1))]), pooling=10)
    labels = of_classes(picture, rater, said, counts, len(accuracy))
    columns = [
        (leading[np.arange(len(y)), y] / leading.sum(axis=1)).mean(),
        (np.where(leading, first, -1).argmax(axis=1) == y).mean(),
        (labels == y).mean(),
        (first.argmax(axis=1) == y).mean(),
        right.mean(),
        roc_auc_score(right, found.quality),
        roc_auc_score(right, share),
    ]
    return {
        **dict(zip(COLUMNS, map(float, columns), strict=True)),
        "cells_with_model": float((both.p.reshape(-1, K).argmax(axis=1) == y).mean()),
        "rater_quality_correlation": float(np.corrcoef(found.rater_quality, accuracy)[0, 1]),
        "bits_correlation": float(np.corrcoef(both.informativeness()[: len(accuracy)], accuracy)[0, 1]),
    }


def panel(name: str, seed: int, make: Callable[..., Floats], pictures: int | None = None) -> dict[str, float]:
    """The figures of a set-up with votes that `make` makes."""
    x, y = load_digits(return_X_y=True)
    x, y, rng = x[:pictures] / 16, y[:pictures], np.random.default_rng(seed)
    accuracies, votes, _ = SETUPS[name]
    accuracy = accuracies(rng)
    wanted = int(votes) + (rng.random(len(y)) < votes % 1)
    return figures(x, y, make(y, accuracy, wanted, rng), accuracy)


def mean(found: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: round(float(np.mean([one[name] for one in found])), 3) for name in found[0]}


def digits(seeds: int) -> dict[str, Any]:
    """Means of all set-ups, beside what is expected."""
    report = dict[str, Any]()
    for name, (_, _, expected) in SETUPS.items():
        found = mean([panel(name, seed, drawn) for seed in range(seeds)])
        beside = {column: [found.pop(column), one] for column, one in zip(COLUMNS, expected, strict=True)}
        report[name] = {**beside, **found}
    return report


def clickers(people: int) -> dict[str, Any]:
    """Shares of simulated raters whom the test suspects."""
    report: dict[str, Any] = {"gold_among_the_first_30": LEAST, "bound": BOUND}
    for place, (name, table) in enumerate(RATERS.items()):
        rng = np.random.default_rng([2026, place])
        report[name] = {}
        for answers, column in ((LEAST, "suspect_after_30_answers"), (100, "suspect_after_100_gold_answers")):
            yes = rng.binomial(answers, 0.5, people)
            counts = np.stack([rng.multinomial(answers - yes, table[0]), rng.multinomial(yes, table[1])], axis=1)
            suspect = evidence_of_clicking(counts)[0] > np.log(BOUND)
            report[name][column] = round(float(suspect.mean()), 4)
        some = np.stack([rng.multinomial(1, table[number], (people // 20, 100)) for number in (0, 1)], axis=2)
        some[rng.random(some.shape[:2]) < 0.5, 0] = 0
        some[some[:, :, 0].any(axis=-1), 1] = 0
        ever = evidence_of_clicking(some.cumsum(axis=1)[:, LEAST - 1 :])[0] > np.log(BOUND)
        report[name]["suspect_at_any_time_until_then"] = round(float(ever.any(axis=1).mean()), 4)
    return report


def even(right: Floats, unclear: float = 0.05) -> Floats:
    """Tables `[R, 2, 3]` of people who are as good at yes as at no."""
    sure = (1 - unclear) * right
    no = np.stack([sure, np.full(len(right), unclear), 1 - unclear - sure], axis=1)
    return np.stack([no, no[:, ::-1]], axis=1)


def played(name: str, cast_: str, seed: int) -> tuple[Cells, Ints, int, Floats]:
    """A panel's answers, the truth of each cell, how many cells have no known answer, and everybody's table."""
    number, people, make = PEOPLE[name]
    rng = np.random.default_rng([seed, *name.encode(), *cast_.encode()])
    tables, odd = make(rng), np.arange(max(2, people // 5))
    special = {"coins": RATERS["coin"], "always yes": RATERS["always yes"]}
    if cast_ in special:
        tables[odd] = special[cast_]
    if cast_ == "adversaries":
        tables[odd] = tables[odd, ::-1]
    known = int(number * GOLD)
    truth = np.append(rng.random(number) < RIGHT, np.arange(known) % 2).astype(np.int64)
    who = rng.permuted(np.tile(np.arange(people), (number, 1)), axis=1)[:, :VOTES]
    cell, rater = np.repeat(np.arange(number), VOTES), who.ravel()
    for one, asked in enumerate(np.bincount(rater, minlength=people)):
        some = rng.permutation(known)[: int(gold_target(int(asked), GOLD))] + number
        cell, rater = np.append(cell, some), np.append(rater, np.full(len(some), one))
    order = rng.permutation(len(cell))
    cell, rater = cell[order], rater[order]
    shares = tables[rater, truth[cell]]
    if cast_ == "drifting":
        for one in odd:
            mine = np.flatnonzero(rater == one)
            late = np.linspace(0, 1, len(mine))[:, None]
            shares[mine] = (1 - late) * shares[mine] + late * np.array(RATERS["coin"][0])
    answer = (rng.random(len(cell))[:, None] > shares.cumsum(axis=1)).sum(axis=1).clip(0, 2)
    if cast_ == "colluding":
        for one, other in zip(odd[::2], odd[1::2], strict=False):
            said = dict(zip(cell[rater == one].tolist(), answer[rater == one].tolist(), strict=True))
            for place in np.flatnonzero((rater == other) & np.isin(cell, list(said))):
                answer[place] = said[int(cell[place])]
    gold = np.where(np.arange(len(truth)) < number, np.nan, truth)
    nobody = np.full(len(truth), -1)
    names = [str(one) for one in range(people)]
    return Cells(nobody, nobody, cell, rater, answer, names, nobody, gold, None), truth, number, tables


def panels_of(runs: int) -> dict[str, Any]:
    """The outcome of every cast."""
    nothing, report = np.zeros((0, 0), np.int64), dict[str, Any]()
    for name, cast_ in product(PEOPLE, CASTS):
        found: dict[str, list[tuple[float, float, float, float]]] = {}
        for seed in range(runs):
            cells, truth, number, tables = played(name, cast_, seed)
            free = replace(cells, gold=np.full(len(truth), np.nan))
            logs = np.log(np.maximum(tables, 1e-9))[cells.rater, :, cells.answer]
            odds = np.bincount(cells.cell, logs[:, 1] - logs[:, 0]) + np.log(RIGHT / (1 - RIGHT))
            known, alone = (
                consensus(one, nothing.reshape(0, len(truth)), Weighing(), by_label=False) for one in (cells, free)
            )
            for column, p, how, mirror in (
                ("known answers", known.found.p, Weighing(), known.mirror),
                ("none known", alone.found.p, Weighing(), alone.mirror),
                ("majority", alone.found.p, Weighing("majority"), 0.0),
                ("limit", 1 / (1 + np.exp(-odds)), Weighing(), 0.0),
            ):
                state = states(free, p, how)[:number]
                settled, right = np.isin(state, (CORRECT, WRONG)), truth[:number] == 1
                share = float(((state == CORRECT) == right)[settled].mean()) if settled.any() else np.nan
                row = float(settled.mean()), share, float((state[right] == CORRECT).mean()), mirror
                found.setdefault(column, []).append(row)
        report[f"{name}, {cast_}"] = {}
        for column, rows in found.items():
            settled, share, got, mirror = np.array(rows).T
            some = share[~np.isnan(share)]
            report[f"{name}, {cast_}"][column] = {
                "settled": round(float(settled.mean()), 3),
                "right": round(float(some.mean()), 3) if len(some) else None,
                "right_worst": round(float(some.min()), 3) if len(some) else None,
                "found": round(float(got.mean()), 3),
                "mirror_most": round(float(mirror.max()), 3),
            }
    return report


def major_of(runs: int) -> dict[str, Any]:
    """What is taken for a major mistake, by how well people tell one and how many there are."""
    report = dict[str, Any]()
    for name, skill, share in product(("3 people", "12 people"), ((0.65, 0.85), (0.75, 0.95)), (0.2, 0.5)):
        found: dict[str, list[tuple[float, float]]] = {}
        for seed in range(runs):
            cells, truth, number, tables = played(name, "honest", seed)
            rng = np.random.default_rng([seed, 77])
            is_major, right = rng.random(len(truth)) < share, rng.uniform(*skill, len(tables))[cells.rater]
            said = np.where(rng.random(len(right)) < right, is_major[cells.cell], ~is_major[cells.cell])
            said = np.where(truth[cells.cell] == 1, rng.random(len(said)) < 0.1, said)
            severity = np.where(cells.answer == 0, np.where(said, "major", "minor"), "")
            columns = {"cell": cells.cell, "reviewer": cells.rater.astype(str), "severity": severity}
            cells = replace(cells, votes=pa.table({**columns, "round": ["blind"] * len(said)}))
            p = consensus(cells, np.zeros((0, len(truth)), np.int64), Weighing(), by_label=False).found.p
            state = states(cells, p, Weighing())
            chance = majors(cells, p, state)[:number]
            most = np.bincount(cells.cell, np.where(severity == "major", 1, np.where(severity == "minor", -1, 0))) > 0
            taken = {f"probability {least}": chance >= least for least in (0.8, SURE, 0.95)}
            taken["all said no"] = (unanimous(cells, state) & (state == WRONG) & most)[:number]
            real = ((truth == 0) & is_major)[:number]
            for how, chosen in taken.items():
                wrong = float((chosen & ~real).sum() / max(chosen.sum(), 1))
                found.setdefault(how, []).append((wrong, float((chosen & real).sum() / real.sum())))
        report[f"{name}, right in {skill[0]} to {skill[1]}, {share} are major"] = {
            how: [round(float(one), 3) for one in (*np.mean(rows, axis=0), np.max(rows, axis=0)[0])]
            for how, rows in found.items()
        }
    return {"columns": ["wrong", "found", "wrong_worst"], **report}


def hasty(people: int, answers: int = 60) -> dict[str, Any]:
    """Shares of fast simulated raters who are warned and paused, and when."""
    report: dict[str, Any] = {}
    for place, (name, table) in enumerate(RATERS.items()):
        rng = np.random.default_rng([2027, place])
        some = np.stack([rng.multinomial(1, table[number], (people, answers)) for number in (0, 1)], axis=2)
        is_yes = rng.random((people, answers)) < 0.5
        some[is_yes, 0] = 0
        some[~is_yes, 1] = 0
        factor = evidence_of_clicking(some.cumsum(axis=1))[0]
        report[name] = {}
        for column, (least, bound) in (("warned", WARNED), ("paused", PAUSED)):
            over = factor[:, least - 1 :] > np.log(bound)
            ever = over.any(axis=1)
            after = float(np.median(over[ever].argmax(axis=1) + least)) if ever.any() else None
            report[name] |= {column: round(float(ever.mean()), 4), f"{column}_after": after}
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2, help="panels of each set-up")
    parser.add_argument("--runs", type=int, default=12, help="of each cast")
    parser.add_argument("--pictures", type=int, default=300, help="of the panel through the dispatch")
    parser.add_argument("--people", type=int, default=20_000, help="simulated raters of each sort")
    options = parser.parse_args()
    name = "20 mixed, 2 votes"
    report = {
        "what": "simulated panels; pairs are ours and what is expected",
        "digits": digits(options.seeds),
        "dispatch": {
            "set_up": f"{name}, {options.pictures} pictures",
            "through_the_database": mean([panel(name, 0, dispatched, options.pictures)]),
            "drawn": mean([panel(name, seed, drawn, options.pictures) for seed in range(options.seeds)]),
        },
        "clickers": clickers(options.people),
        "hasty": hasty(options.people),
        "panels": panels_of(options.runs),
        "major": major_of(options.runs),
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
