"""Photographs × configurations: planned, made, joined, sealed, opened and published dry, each step in a process.

The pictures are 8 × 8 pixels, because the subject is everything around them. The peer is the same edition in units of
32 photographs that aren't joined, which is how all editions were laid out before. `--photographs 50000` is ImageNet's
validation set: it takes 20 GB of disk and 40 minutes of CPU time. `--whole 50000` seals and opens as many in minutes:
units beyond those that were made are copies of their tables with other ids, and name the same shards.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from timing import peak_mb

from variorum.edition.editions import resolve
from variorum.edition.store import Store
from variorum.schemas.canonical import digest, short_digest
from variorum.schemas.component import ClassInfo, Context, Generator, Source
from variorum.schemas.manifest import Manifest
from variorum.schemas.recipe import Recipe
from variorum.schemas.sample import Sample

PICTURE = cv2.imencode(".png", np.full((8, 8, 3), 120, np.uint8))[1].tobytes()
UNIT, PART = 1024, 32
STEPS = ("plan", "make", "join", "seal", "card", "open", "load", "publish")
WHOLE = ("plan", "copy", "seal", "card", "open", "load")


class Grey(Source):
    """Small grey pictures that differ in their ids alone, of a thousand classes."""

    number: int

    def pin(self, ctx: Context) -> str:
        """Pin the pictures."""
        return digest(["grey", self.number])

    def size(self, ctx: Context) -> int:
        """Their number."""
        return self.number

    def read(self, start: int, stop: int, ctx: Context) -> Iterator[Sample]:
        """The pictures."""
        for place in range(start, stop):
            labels = (f"n{place % 1000:08d}",)
            yield Sample(
                short_digest(["grey", place]), PICTURE, labels, f"{place}", photograph=f"{place}", licence="CC0-1.0"
            )

    def classes(self, ctx: Context) -> tuple[ClassInfo, ...]:
        """Classes by number."""
        return tuple(ClassInfo(f"n{place:08d}", f"class {place}") for place in range(1000))


class Shades(Generator):
    """Each picture in other shades, one for each further configuration."""

    number: int

    def edit(self, sample: Sample, of: Any) -> Iterator[Sample]:
        """The picture, and its shades."""
        yield sample
        for shade in range(1, self.number):
            pixels = np.full((8, 8, 3), shade, np.uint8)
            yield of.made(pixels, variant=f"shade_{shade}", requested={"shade": shade})


def copy_units(job: Any, of: Manifest) -> int:
    """Give the units of a job receipts that are like those of another edition, in turns, with other ids of pictures."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from variorum.edition.tables import joined_rows, read_unit
    from variorum.edition.units import edition_units

    units = edition_units(of, job.store)
    for place, unit in enumerate(job.plan.units):
        like = units[place % len(units)]
        table = read_unit(job.store, like.rows)
        for name in ("id", "source"):
            rest = pc.utf8_slice_codeunits(table[name], 4)
            renamed = pc.binary_join_element_wise(f"{place:04x}", rest, "")
            table = table.set_column(table.column_names.index(name), pa.field(name, pa.string()), renamed)
        rows = joined_rows([table], range(len(table)), table["start"].to_pylist())
        info = job.store.keep_bytes(rows, ".parquet", samples=len(table))
        fields = {"unit": unit.key, "start": unit.start, "stop": unit.stop, "rows": info}
        job.store.put_receipt(like.model_copy(update=fields))
    return len(job.plan.units)


def recipe(photographs: int, configurations: int, form: str) -> Recipe:
    """The recipe, or that of the peer."""
    parts = form != "units"
    return Recipe(
        dataset=form,
        version="1.0.0",
        samples_per_shard=UNIT if parts else PART,
        samples_per_part=PART if parts else None,
        configs="variant",
        masters="original",
        source=Grey(number=photographs),
        generate=(Shades(number=configurations),),
    )


def one_step(step: str, what: Recipe, url: str) -> dict[str, Any]:
    """Do a step on what the steps before left in the store; some figures of it."""
    from variorum.pipeline import Job
    from variorum.stages.build import Build, seal_edition
    from variorum.stages.join import Join
    from variorum.stages.stage import Threads, complete

    job = Job(what, url)
    whole: Any = Join(job) if what.samples_per_part else Build(job)

    def seal() -> dict[str, Any]:
        manifest = seal_edition(job, [*filter(None, whole.kept(job.plan.units))])
        size = Path(url, "editions", what.dataset, what.version, "manifest.json").stat().st_size
        return {"shards": sum(map(len, manifest.shards.values())), "manifest_bytes": size}

    def card() -> dict[str, Any]:
        from variorum.reports.card import write_card

        write_card(what, sealed(), job.store)
        return {}

    def sealed() -> Manifest:
        return resolve(what.dataset, Store(url))

    def opened() -> dict[str, Any]:
        import variorum as va

        table = va.open(what.dataset, url).table(["id", "variant", "split", "status"])
        return {"rows": len(table)}

    def load() -> dict[str, Any]:
        import variorum as va

        rows = va.open(what.dataset, url).dataset("test", config="shade_3")
        return {"rows": len(rows)}

    def publish() -> dict[str, Any]:
        from variorum.hub.publish import publish

        found = publish(sealed(), job.store, "lab/shades", dry_run=True)
        assert found.new, found
        assert not found.refused, found.refused
        return {"files": len(found.changes), "bytes": found.size("upload")}

    steps: dict[str, Callable[[], dict[str, Any]]] = {
        "plan": lambda: {"parts": len(job.plan.parts), "units": len(job.plan.units)},
        "make": lambda: {"receipts": len(complete(Build(job), Threads()))},
        "copy": lambda: {"units": copy_units(job, resolve("parts", job.store))},
        "join": lambda: {"receipts": len(complete(whole, Threads()))},
        "seal": seal,
        "card": card,
        "open": opened,
        "load": load,
        "publish": publish,
    }
    return steps[step]()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--photographs", type=int, default=96)
    parser.add_argument("--configurations", type=int, default=96)
    parser.add_argument("--place", type=Path, help="an empty folder on a large disk; a temporary one by default")
    parser.add_argument("--without-peer", action="store_true")
    parser.add_argument("--whole", type=int, help="photographs of an edition whose further units are copies")
    parser.add_argument("--only", nargs=2, help="a step, and `parts`, `units` or `whole`, in this process")
    asked = parser.parse_args()
    if asked.only:
        step, form = asked.only
        what = recipe(asked.photographs, asked.configurations, form)
        began = time.monotonic()
        said = one_step(step, what, str(asked.place / "store"))
        used = resource.getrusage(resource.RUSAGE_SELF)
        cpu = round(used.ru_utime + used.ru_stime, 2)
        print(json.dumps({**said, "cpu_s": cpu, "wall_s": round(time.monotonic() - began, 2), "peak_mb": peak_mb()}))
        return
    with tempfile.TemporaryDirectory() as name:
        place = asked.place or Path(name)
        variables = {
            **os.environ,
            "VARIORUM_CACHE": str(place / "cache"),
            "HF_HOME": str(place / "hf"),
            "HF_HUB_OFFLINE": "1",
            "HF_DATASETS_CACHE": str(place / "hf"),
        }
        found: dict[str, Any] = {"photographs": asked.photographs, "configurations": asked.configurations}
        forms = {"parts": STEPS, "units": tuple(step for step in STEPS if step != "join"), "whole": WHOLE}
        left_out = {"units"} if asked.without_peer else set()
        left_out |= set() if asked.whole else {"whole"}
        for form in (one for one in forms if one not in left_out):
            number = asked.whole if form == "whole" else asked.photographs
            for step in forms[form]:
                given = [f"--photographs={number}", f"--configurations={asked.configurations}"]
                command = [sys.executable, __file__, *given, "--place", str(place), "--only", step, form]
                done = subprocess.run(command, env=variables, stdout=subprocess.PIPE, text=True, check=True)
                found.setdefault(form, {})[step] = json.loads(done.stdout.splitlines()[-1])
                print(form, step, done.stdout.splitlines()[-1], file=sys.stderr, flush=True)
        print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
