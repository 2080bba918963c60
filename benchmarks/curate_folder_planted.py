"""Recipe `curate_folder`, unchanged, on sets of real pictures with planted faults: what its user is left with.

The sets are folders of pictures out of Python and Debian packages (`planted_parts/sets.py`), in which labels are
changed and copies, foreign and blurred pictures are added. For each set the report says how many pictures people are
asked about, which faults they see, which labels are changed rightly, and which correct pictures are harmed. The budget
is twice the number of wrong labels and foreign pictures. Pictures that are relabelled rightly cost none of it.

Peer: cleanlab's Datalab with the same embeddings and probabilities, ranked by the smaller of its label and outlier
scores; and rankings by its parts alone, of which the label score (`self_confidence`) is the strongest. It changes
nothing, so people have to look at everything that it finds.

Seeds 0 to 9 are for tuning, seeds from 100 for reports. No threshold may be tuned on sets marked as held out.
"""

from __future__ import annotations

import os

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # before NumPy is loaded

import argparse
import csv
import io
import json
import tempfile
import time
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from planted_parts.judge import Figures, Outcome, Truth, left_with
from planted_parts.peer import datalab
from planted_parts.pools import NotInstalled
from planted_parts.sets import REPORT, SETS, PlantedSet, photographs, write

from variorum import pipeline
from variorum.edition.editions import read_beside
from variorum.edition.verdicts import read_verdicts, settle
from variorum.schemas.manifest import Ledger, Manifest
from variorum.schemas.table import Table
from variorum.stages.job import Job
from variorum.stages.recipe_files import load_recipe
from variorum.stages.score import curated_table

LEAST_GAIN = 0.01
"""Mean average precision to exceed the best peer's by."""
RANDOM = ("drawn", "gold")
"""Reasons of lines in the queue that don't rest on a doubt."""
PEERS = ("datalab", "self_confidence", "normalized_margin", "datalab_outlier")


def curated(folder: Path, settings: list[str]) -> tuple[Job, Manifest, int, Ledger]:
    """The pictures in `folder/photos` after `curate_folder`. What was measured in `folder/store` is used again."""
    source = ["source.name=image_folder", f"source.path={folder / 'photos'}"]
    job = Job(load_recipe("curate_folder", [*source, *settings]), str(folder / "store"))
    manifest = pipeline.build(job)
    return job, manifest, *pipeline.curate(job, manifest)


def columns(job: Job, manifest: Manifest, ledger: Ledger) -> Table:
    """All that the detectors say."""
    return curated_table(manifest, ledger, [*ledger.measured, *ledger.scored], job.store)


def truth_of(folder: Path, table: Table) -> tuple[Truth, dict[str, int]]:
    """The truth about the pictures in the order of the table, and the number of each class."""
    with (folder / "truth.csv").open(newline="") as file:
        by_path = {row["path"]: row for row in csv.DictReader(file)}
    paths = table["origin"].tolist()
    row_of = {path: number for number, path in enumerate(paths)}
    said = [by_path[path] for path in paths]
    y, _ = table.labels()
    classes = {row["given"]: int(k) for row, k in zip(said, y, strict=True)}
    unknown = {name: len(classes) + place for place, name in enumerate(sorted({row["true"] for row in said} - {""}))}
    number = {**unknown, **classes, "": -1}  # a class that lost its only picture has no number
    truth = Truth(
        given=y,
        true=np.array([number[row["true"]] for row in said], np.int64),
        kind=np.array([row["kind"] for row in said]),
        copy_of=np.array([row_of.get(row["copy_of"], -1) for row in said], np.int64),
    )
    return truth, classes


def outcome_of(
    job: Job, manifest: Manifest, number: int, ledger: Ledger, table: Table, classes: dict[str, int]
) -> Outcome:
    """Record what a ledger does, and in which order people are asked."""
    row_of = {name: row for row, name in enumerate(table["id"].tolist())}
    dropped, new = np.zeros(len(row_of), bool), np.full(len(row_of), -1)
    for verdict in settle(read_verdicts(ledger.verdicts, job.store)).to_pylist():
        row = row_of[verdict["id"]]
        dropped[row] = verdict["action"] == "drop"
        if verdict["action"] == "relabel":
            new[row] = classes[verdict["labels"][0]]
    text = (read_beside(manifest, f"ledgers/{number:04d}.review.csv", job.store) or b"").decode()
    queue = [row_of[row["id"]] for row in csv.DictReader(io.StringIO(text)) if row["reason"] not in RANDOM]
    ranks = "suspicion.score" in table.arrow.column_names
    return Outcome(dropped, new, np.array(queue, np.int64), table["suspicion.score"] if ranks else None)


def judged(name: str, made: PlantedSet, seed: int, folder: Path, settings: list[str]) -> dict[str, Any]:
    """The figures of one set: of the recipe, and of its peers."""
    started = time.process_time()
    if not (folder / "truth.csv").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        write(name, made, seed, folder)
    job, manifest, number, ledger = curated(folder, settings)
    table = columns(job, manifest, ledger)
    truth, classes = truth_of(folder, table)
    outcome = budgeted = outcome_of(job, manifest, number, ledger, table, classes)
    if truth.budget and any(step.component_name() == "review" for step in job.recipe.curate):
        again = curated(folder, [*settings, f"curate.review.budget={truth.budget}"])
        budgeted = outcome_of(*again, table, classes)
    took = time.process_time() - started
    peers = datalab(truth, table["features.embedding"], truth.given, table["probabilities.p"])
    return {
        "set": name,
        "seed": seed,
        "what": made.what,
        "held_out": made.held_out,
        "pictures": len(truth.given),
        "classes": len(classes),
        "planted": {str(kind): many for kind, many in sorted(Counter(truth.kind.tolist()).items()) if kind},
        "budget": truth.budget,
        "reasons": {action: dict(reasons) for action, reasons in ledger.counts.items()},
        "cpu_s": round(took, 1),
        "curate_folder": rounded(left_with(truth, outcome, budgeted)),
        **{peer: rounded(figures) for peer, figures in peers.items()},
    }


def rounded(figures: Figures) -> Figures:
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in figures.items()}


def means(found: list[dict[str, Any]]) -> dict[str, Figures]:
    """Means over sets of the shares, sums of the counts; sets without such pictures don't count."""
    result: dict[str, Figures] = {}
    for which in ("curate_folder", *PEERS):
        figures: Figures = {}
        for name in found[0][which]:
            values = [one[which][name] for one in found if one[which][name] is not None]
            whole = all(isinstance(value, int) for value in values)
            figures[name] = None if not values else sum(values) if whole else float(np.mean(values))
        result[which] = rounded(figures)
    return result


def markdown(report: dict[str, Any]) -> str:
    """The report as a table, the recipe's figures and after a slash Datalab's."""
    heads = (
        "set (pictures, classes, faults)",
        "asked",
        "clean asked",
        "flips found",
        "foreign found",
        "copies found",
        "blurred found",
        "relabelled, right",
        "clean harmed, dropped",
        "found in budget",
        "precision at planted",
        "AP",
        "AP of self_confidence",
    )
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for one in report["sets"]:
        faults = sum(many for kind, many in one["planted"].items() if kind not in ("copy", "blurred"))
        mark = ", held out" if one["held_out"] else ""
        name = f"{one['set']} {one['seed']} ({one['pictures']}, {one['classes']}, {faults}{mark})"
        lines.append(line(name, one))
    for which, found in report["means"].items():
        lines.append(line(f"**{which}**", found))
    return "\n".join(lines)


def line(name: str, one: dict[str, Any]) -> str:
    ours, theirs = one["curate_folder"], one["datalab"]

    def pair(key: str) -> str:
        return f"{short(ours[key])} / {short(theirs[key])}"

    pairs = ("asked", "clean_asked", "flips_found", "foreign_found", "copies_found", "blurred_found")
    ranks = ("found_in_budget", "precision_at_planted", "ap")
    cells = [
        name,
        *map(pair, pairs),
        f"{ours['relabelled']}, {ours['relabelled_right']}",
        f"{ours['clean_harmed']}, {ours['clean_dropped']}",
        *map(pair, ranks),
        short(one["self_confidence"]["ap"]),
    ]
    return f"| {' | '.join(cells)} |"


def short(value: float | None) -> str:
    if value is None:
        return "–"
    text = f"{value:.2f}"
    return text.removeprefix("0") if text.startswith("0") else text.removesuffix(".00")


def report_of(found: list[dict[str, Any]], left_out: dict[str, str]) -> dict[str, Any]:
    """The report: sets, means over all of them, over those held out and over the others, and whether goals are met."""
    held_out = [one for one in found if one["held_out"]]
    parts = {"all": found, "held out": held_out, "others": [one for one in found if not one["held_out"]]}
    average = {name: means(some) for name, some in parts.items() if some}
    gains = {key: gain(average["all"], key) for key in ("ap", "found_in_budget")}
    return {
        "what": "curate_folder and cleanlab's Datalab on sets of real pictures with planted faults",
        "goal": f"gain_in_ap >= {LEAST_GAIN}, gain_in_found_in_budget >= 0",
        "draws": sorted({"report" if one["seed"] >= REPORT else "tune" for one in found}),
        "sets": found,
        "left_out": left_out,
        "means": average,
        **{f"gain_in_{key}": value for key, value in gains.items()},
        "met": gains["ap"] >= LEAST_GAIN and gains["found_in_budget"] >= 0,
        "versions": {name: version(name) for name in ("cleanlab", "numpy", "scikit-learn")},
    }


def gain(average: dict[str, Figures], key: str) -> float:
    """By how much the recipe's mean exceeds that of the best of the peers' rankings."""
    ours, *others = (average[which][key] or 0.0 for which in ("curate_folder", *PEERS))
    return round(ours - max(others), 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[REPORT], help="draws; from 100 for reports")
    parser.add_argument("--tune", action="store_true", help="the draws 0 and 1 instead")
    parser.add_argument("--sets", nargs="+", help="names of sets; all by default")
    parser.add_argument("--quick", action="store_true", help="a short choice of sets")
    parser.add_argument("--photographs", type=Path, help="a folder of ImageNet's photographs, for one set more")
    parser.add_argument("--store", type=Path, help="keep sets and measurements here, and use those that are here")
    parser.add_argument("--set", action="append", default=[], help="a setting of the recipe, as for variorum")
    parser.add_argument("--markdown", action="store_true", help="print a table in place of JSON")
    parser.add_argument("--from", dest="done", type=Path, nargs="+", help="print these reports as one, measure nothing")
    options = parser.parse_args()
    known = SETS | ({"photographs": photographs(options.photographs)} if options.photographs else {})
    chosen = options.sets or [name for name, made in known.items() if made.quick or not options.quick]
    if unknown := sorted(set(chosen) - set(known)):
        parser.error(f"no set {unknown[0]}; there are: {', '.join(known)}")
    if options.done:
        done = [json.loads(path.read_text()) for path in options.done]
        sets = [one for report in done for one in report["sets"]]
        report = report_of(sets, {name: why for one in done for name, why in one["left_out"].items()})
    else:
        with tempfile.TemporaryDirectory() as temporary:
            store, found, left_out = options.store or Path(temporary), list[dict[str, Any]](), dict[str, str]()
            for seed in [0, 1] if options.tune else options.seeds:
                for name in chosen:
                    try:
                        found.append(judged(name, known[name], seed, store / f"{name}_{seed}", options.set))
                    except NotInstalled as error:
                        left_out[name] = str(error)
        if not found:
            raise SystemExit("; ".join(dict.fromkeys(left_out.values())))
        report = report_of(found, left_out)
    print(markdown(report) if options.markdown else json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
