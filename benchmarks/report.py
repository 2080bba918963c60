"""`variorum.report` of six editions and three models, compared with their own forward passes; asked again; the page.

The peer calls the same three models on the same pictures, in batches of 32, and times nothing else: no decoding, no
answers. Editions are made before, so that both sides only ask. The photographs are those of installed packages.

The page: answers to 100,000 pictures by each of three models. Real answers are repeated under other ids; the tables go
through the evaluations, the statistics and the page as those of a report do, and the pictures are real.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import yaml

import variorum as va
from variorum.api.report_checks import requested
from variorum.api.report_work import Asking
from variorum.api.report_writing import written
from variorum.edition.samples import picture_ending, picture_pixels
from variorum.edition.shards import read_shard
from variorum.evaluation.classifiers.evaluator import Evaluator
from variorum.machine.prefetch import batched
from variorum.machine.progress import QUIET
from variorum.pipeline import THREAD
from variorum.stages.job import models as table_of
from variorum.stages.suite_files import load_suite

BATCH = 32
EDITIONS = ("edits", "corrupted", "dark", "moved", "relit", "cues")
ALIASES = ("classifier_gate", "classifier_small", "classifier")
SOURCE = {"name": "samples", "stamps": "required", "masks": False}
GOALS = {"wall and CPU": 1.1, "page, CPU-s": 20, "again, CPU-s": 1}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photographs", type=int, default=40)
    parser.add_argument("--answers", type=int, default=100_000, help="of each model, on the page")
    parser.add_argument("--again", nargs=2, metavar=("STORE", "SUITE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.again:
        again(*options.again)
        return
    with tempfile.TemporaryDirectory() as place:
        print(json.dumps(benchmark(Path(place), options.photographs, options.answers), indent=1))


def benchmark(place: Path, photographs: int, answers: int) -> dict[str, Any]:
    store, suite = str(place / "store"), str(place / "six.yaml")
    write_suite(Path(suite), photographs)
    models = {f"own_{alias}": Counted(alias) for alias in ALIASES}
    held = built(models, suite, store)
    pictures = sum(one.manifest.pictures() for one in held.values())
    for model in models.values():
        model(next(decoded(held)))  # sessions are open, and code is imported, on both sides
    bare = spent(lambda: None)
    for batch in decoded(held):
        for model in models.values():
            bare += spent(lambda model=model, batch=batch: model.network(batch))
    for model in models.values():
        model.seen = 0
    report = spent(lambda: va.report(models, suite=suite, source=SOURCE, store=store, progress=False))
    seen = [model.seen for model in models.values()]
    kept = spent(lambda: va.report(models, suite=suite, source=SOURCE, store=store, progress=False))
    command = [sys.executable, __file__, "--again", store, suite]
    process = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return {
        "photographs": photographs,
        "editions": len(held),
        "pictures": pictures,
        "passes_by_model": seen,  # one more each, to try it before the work
        "forward_cpu_s": round(bare[0], 2),
        "report_cpu_s": round(report[0], 2),
        "cpu_ratio": round(report[0] / bare[0], 3),
        "wall_ratio": round(report[1] / bare[1], 3),
        "again_cpu_s": round(kept[0], 3),
        "again_in_a_new_process_cpu_s": process,
        "page": page(models, suite, store, answers),
        "goals": GOALS,
    }


class Counted:
    """An embedded classifier as a function whose answers are kept; it counts the pictures that it sees."""

    preprocessing = "Its own."

    def __init__(self, alias: str) -> None:
        self.revision, self.seen = alias, 0

    @cached_property
    def network(self) -> Any:
        """Return the classifier, loaded when it is asked first."""
        return table_of("embedded").get(self.revision)

    def __call__(self, images: list[np.ndarray]) -> np.ndarray:
        """Probabilities, `[N, 1000]`."""
        self.seen += len(images)
        return self.network(images)


def write_suite(file: Path, photographs: int) -> None:
    """The six editions of `robustness` that are asked about by classifiers' answers alone, with their rows."""
    suite = load_suite("robustness").model_dump(mode="json", exclude_defaults=True)
    suite |= {
        "suite": "six",
        "most": photographs,
        "editions": {key: suite["editions"][key] for key in EDITIONS},
        "rows": [row for row in suite["rows"] if row["edition"] in EDITIONS and "groups" not in row.get("needs", ())],
    }
    file.write_text(yaml.safe_dump(suite))


def built(models: Mapping[str, Counted], suite: str, store: str) -> dict[str, Any]:
    """The editions, whose pictures are made if they aren't there."""
    request = requested(models, suite=suite, source=SOURCE, store=store)
    return {key: one.made(THREAD, QUIET) for key, one in request.held.items()}


def decoded(held: Mapping[str, Any]) -> Iterator[list[np.ndarray]]:
    """Batches of pictures, edition by edition."""
    for one in held.values():
        for _, shard in one.manifest.accepted():
            members = read_shard(one.store.path(shard))
            yield from batched((picture_pixels(key, found[picture_ending(found)]) for key, found in members), BATCH)


def spent(work: Callable[[], object]) -> np.ndarray:
    """CPU and wall seconds of this process."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return np.array([time.process_time() - cpu, time.perf_counter() - wall])


def again(store: str, suite: str) -> None:
    """Ask for the report that is there, in a process of its own; print its CPU seconds, imports included."""
    models = {f"own_{alias}": Counted(alias) for alias in ALIASES}
    va.report(models, suite=suite, source=SOURCE, store=store, progress=False)
    print(json.dumps(round(time.process_time(), 3)))


def page(models: Mapping[str, Counted], suite: str, store: str, answers: int) -> dict[str, Any]:
    """CPU seconds of everything behind the answers, for so many of each model; those that are there are repeated."""
    request = requested(models, suite=suite, source=SOURCE, store=store)
    ask, pictures = Evaluator.ask, sum(one.manifest.pictures() for one in request.held.values())
    times = -(-answers // pictures)
    with ExitStack() as stack:
        asking = request.asking(stack)
        tables = {id(group): group.ask(THREAD, QUIET) for one in asking.values() for group in groups(one)}
        more = {one: {name: repeated(table, times) for name, table in found.items()} for one, found in tables.items()}
        Evaluator.ask = lambda self, runner, progress: more[id(self)]
        try:
            cpu, wall = spent(lambda: written(request, asking, THREAD, QUIET))
        finally:
            Evaluator.ask = ask
    return {"answers_of_each_model": times * pictures, "cpu_s": round(cpu, 2), "wall_s": round(wall, 2)}


def groups(asking: Asking) -> list[Evaluator]:
    """Who asks."""
    return [one for one in vars(asking)["_groups"] if isinstance(one, Evaluator)]


def repeated(table: pa.Table, times: int) -> pa.Table:
    """The answers to so many copies of the photographs. Copies aren't the ones on which models differ most."""
    copies = [table]
    for number in range(1, times):
        copy = table
        for name in ("id", "parent", "photograph"):
            if name in copy.column_names:
                texts = [text and f"{text}+{number:04}" for text in copy[name].to_pylist()]
                copy = copy.set_column(
                    copy.column_names.index(name), name, pa.array(texts, copy.schema.field(name).type)
                )
        place = copy.column_names.index("p_label")
        half = pa.array(np.full(len(copy), 0.5), copy.schema.field("p_label").type)
        copies.append(copy.set_column(place, "p_label", half))
    return pa.concat_tables(copies)


if __name__ == "__main__":
    main()
