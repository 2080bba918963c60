"""How much of the time a GPU works while ImageNet-E is made, on a simulated one.

The device sleeps for each batch as long as a GPU would work, one batch at a time, and does nothing else. All the rest
is real: photographs out of Python packages, masks by U²-Net, holes, edits, checks, the gate classifier, PNG, shards.
Windows of one after the other are the peer; the limit is the device's time alone.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from variorum.generators.imagenet_e import attribute_edit
from variorum.machine.memo import DiskMemo
from variorum.models import ModelTable
from variorum.models.loaders.holes import push_pull
from variorum.models.roles import Filled, Segmentation
from variorum.schemas.component import Context
from variorum.schemas.recipe import Recipe
from variorum.stages.build import Build
from variorum.stages.job import Job

RATES = {
    "diffusion, 50 steps": {"segment": 0.05, "fill": 2.2},
    "feed-forward": {"segment": 0.05, "fill": 0.1},
}
"""Seconds of the device per picture: a large SAM, and two inpainters."""
JUDGE = 0.001
"""Seconds of the device per picture for salience and the gate classifier, where they are on the device too."""
GOAL = 0.95


class Device:
    """Works on one batch after the other, in the order in which they come, without a pause while any is waiting."""

    def __init__(self) -> None:
        self.busy = self.steady = 0.0
        self.first = self.last = self._free = 0.0
        self._lock = threading.Lock()

    def work(self, seconds: float, *, large: bool = False) -> None:
        """Sleep until the batch is done. What follows the last `large` batch is the end of the run."""
        with self._lock:
            begins = max(time.perf_counter(), self._free)
            ends = self._free = begins + seconds
            self.busy += seconds
            self.first = self.first or begins
            if large:
                self.last, self.steady = ends, self.busy
        time.sleep(max(0.0, ends - time.perf_counter()))


class Models:
    """A table whose large models are on the device."""

    def __init__(self, device: Device, rates: dict[str, float], known: dict[bytes, Any] | None) -> None:
        self._device, self._rates, self._real, self._known = device, rates, ModelTable("embedded"), known

    def get(self, alias: str) -> Any:
        """The model."""
        return {"segmenter": self._segment, "inpainter": self._fill, "classifier_gate": self._classify}[alias]

    def pin(self, alias: str) -> str:
        """A pin for it."""
        return f"{alias}@simulated"

    def _asked(self, alias: str, images: Sequence[Any]) -> list[Any]:
        """A small model's answers: from the CPU, or, if it is on the device too, as it gave them beforehand."""
        model = self._real.get(alias)
        if self._known is None:
            return list(model(images))
        found = []
        for image in images:
            key = image.tobytes() + alias.encode()
            if key not in self._known:
                self._known[key] = model([image])[0]
            found.append(self._known[key])
        self._device.work(JUDGE * len(images))
        return found

    def _segment(self, images: Sequence[Any]) -> list[Segmentation]:
        """The salient object, which is what prompts SAM; then SAM's time."""
        found = self._asked("salience", images)
        self._device.work(self._rates["segment"] * len(images), large=True)
        return found

    def _fill(
        self, images: Sequence[Any], holes: Sequence[Any], seeds: Sequence[int], negatives: Sequence[str]
    ) -> list[Filled]:
        """A smooth fill, which costs the CPU next to nothing, after the inpainter's time."""
        self._device.work(self._rates["fill"] * len(images), large=True)
        return [Filled(push_pull(image, hole), "simulated") for image, hole in zip(images, holes, strict=True)]

    def _classify(self, images: Sequence[Any]) -> Any:
        return np.stack(self._asked("classifier_gate", images))


def photographs(folder: Path, number: int, given: Path | None) -> Path:
    """Copy as many photographs as wanted, so that the pool of plates has no others; or parts of packaged ones."""
    if given:
        folder.mkdir()
        for path in sorted(given.iterdir())[:number]:
            shutil.copy(path, folder)
        return folder
    import skimage.data

    rng = np.random.default_rng(0)
    pictures = [getattr(skimage.data, name)() for name in ("chelsea", "coffee", "astronaut", "rocket")]
    for place in range(number):
        picture = pictures[place % len(pictures)]
        side = round(min(picture.shape[:2]) * rng.uniform(0.7, 1))
        top, left = (int(rng.integers(0, size - side + 1)) for size in picture.shape[:2])
        target = folder / f"class {place % len(pictures)}" / f"{place:04}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(target), picture[top : top + side, left : left + side, ::-1])
    return folder


def made(
    place: Path, folder: Path, rates: dict[str, float], at_once: int, asked: Any, known: dict[bytes, Any] | None
) -> Any:
    """Build an edition; returns the device's share of the time, and what the CPU did."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    attribute_edit.AT_ONCE = at_once
    device = Device()
    recipe = Recipe.parse(
        {
            "dataset": "simulated",
            "version": "1.0.0",
            "samples_per_shard": asked.unit,
            "source": {"name": "image_folder", "path": str(folder), "licence": "none"},
            "generate": [{"name": "attribute_edit", "batch": 4}],
        }
    )
    ctx = Context(0, Models(device, rates, known), DiskMemo(place / "memo"), recipe.source)
    job = Job(recipe, str(place / "store"), ctx=ctx)
    number, units = asked.photographs, job.plan.units
    wall, cpu = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(asked.workers) as workers:
        receipts = list(workers.map(lambda unit: Build(job).make(unit, lambda _: None), units))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {
        "busy": round(device.steady / (device.last - device.first), 3),
        "busy, beginning and end included": round(device.busy / wall, 3),
        "wall s": round(wall, 1),
        "device s/photograph": round(device.busy / number, 3),
        "cpu s/photograph": round(cpu / number, 3),
        "cores that one device needs": round(cpu / device.busy, 2),
        "shards": sorted(info.sha256 for receipt in receipts for info in receipt.shards.values()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photographs", type=int, default=16)
    parser.add_argument("--unit", type=int, default=64, help="photographs in a unit: samples_per_shard")
    parser.add_argument("--workers", type=int, default=1, help="units at the same time")
    parser.add_argument("--folder", type=Path, help="of photographs; by default parts of packaged ones")
    parser.add_argument("--rates", nargs="*", default=list(RATES), choices=list(RATES))
    parser.add_argument("--small", choices=["cpu", "device"], default="device", help="where small models are")
    asked = parser.parse_args()
    cv2.setNumThreads(1)
    found: dict[str, Any] = {"cores": len(os.sched_getaffinity(0)), "goal": GOAL, **vars(asked)}
    found.pop("folder"), found.pop("rates")
    windows = attribute_edit.AT_ONCE
    place = Path(tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
    known: dict[bytes, Any] = {}
    try:
        folder = photographs(place / "photographs", asked.photographs, asked.folder)
        edition = place / "edition"
        none = {"segment": 0.0, "fill": 0.0}
        made(edition, folder, none, windows, asked, known)  # loads models, and asks beforehand
        for name in asked.rates:
            for label, at_once in (("one window", 1), (f"{windows} windows", windows)):
                answers = known if asked.small == "device" else None
                found[f"{name}, {label}"] = made(edition, folder, RATES[name], at_once, asked, answers)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    shards = {tuple(one.pop("shards")) for one in found.values() if isinstance(one, dict)}
    found["the same shards"] = len(shards) == 1
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
