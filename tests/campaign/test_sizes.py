"""Growth: time and memory"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image
from scene import COMMAND, STEPS, Scene, words

RECIPE = """\
dataset: large
version: 1.0.0
samples_per_shard: UNIT
source: {name: image_folder, path: PHOTOS}
curate: [{name: quality}, {name: duplicates, embedding: false}]
"""


@dataclass(frozen=True)
class Cost:
    """CPU seconds and peak memory in MB of a command."""

    seconds: float
    megabytes: float


def cost(scene: Scene, arguments: list[str]) -> Cost:
    """Run a command, in a new interpreter, and measure it."""
    environment = {**os.environ, **scene.environment()}
    run = subprocess.Popen([*COMMAND, *arguments], cwd=scene.folder, env=environment, stdout=-3, stderr=-3)
    try:
        _, status, used = os.wait4(run.pid, 0)
    except BaseException:
        run.kill()
        raise
    run.returncode = os.waitstatus_to_exitcode(status)
    assert run.returncode == 0, arguments
    return Cost(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def large(scene: Scene, count: int, side: int = 40, unit: int = 64) -> list[list[str]]:
    """The commands on a folder of so many small pictures, parts of one photograph."""
    import skimage.data

    image, folder = skimage.data.astronaut(), scene.folder / f"large-{count}"
    rng = np.random.default_rng(count)
    for number in range(count):
        left, top = rng.integers(0, 512 - side, 2)
        place = folder / f"class_{number % 10}"
        place.mkdir(parents=True, exist_ok=True)
        crop = Image.fromarray(image[top : top + side, left : left + side])
        crop.save(place / f"{number}.jpg", quality=85)
    recipe = scene.folder / f"large-{count}.yaml"
    recipe.write_text(RECIPE.replace("PHOTOS", str(folder)).replace("UNIT", str(unit)))
    return [words(step, recipe, scene.folder / f"store-{count}") for step in STEPS[:3]]


@pytest.mark.fire
def test_four_times_as_many_pictures(scene, trials):
    """Four times as many pictures take at most four times as long, and little more memory.

    build, curate and release of 1000 and 4000 pictures, and each command again when its work is done.
    """
    small, big = large(scene, 1000), large(scene, 4000)

    def attack(case: tuple[str, int]) -> str:
        less, more = (cost(scene, commands[case[1]]) for commands in (small, big))
        if more.seconds > 4 * less.seconds:
            return f"{less.seconds:.1f} s of CPU, then {more.seconds:.1f} s"
        if more.megabytes > 1.3 * less.megabytes + 20:
            return f"{less.megabytes:.0f} MB, then {more.megabytes:.0f} MB"
        return ""

    trials(attack, [(f"{name}{again}", place) for place, name in enumerate(STEPS[:3]) for again in ("", " again")])


@pytest.mark.fire
def test_a_hundred_thousand_pictures(scene, trials):
    """A hundred thousand pictures are built, curated and released in a few minutes of one core and 1 GB of memory.

    Pictures of 32 pixels, 1000 a unit, with the detectors that need no model; limits on CPU seconds and peak memory.
    """
    commands = dict(zip(STEPS[:3], large(scene, 100_000, side=32, unit=1000), strict=True))

    def attack(case: tuple[str, int]) -> str:
        name, seconds = case
        took = cost(scene, commands[name])
        return str(took) if took.seconds > seconds or took.megabytes > 1000 else ""

    trials(attack, [("build", 150), ("curate", 300), ("release", 60)], longest=1800)
