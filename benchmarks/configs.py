"""Samples per CPU second when one variant of an edition is loaded: by its configuration, or by reading everything.

The peer is the same edition without configurations, which is how all editions were laid out before. Its rate is
counted in samples read (`ratio_per_sample`) and in samples wanted (`ratio_per_wanted`). The limit is a plain read of
the configuration's bytes.
"""

from __future__ import annotations

import glob
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from timing import median, ratio, rounds

VARIANTS = 5
PICTURES = int(sys.argv[1]) if len(sys.argv) > 1 else 400
GENERATOR = f"""
from variorum.schemas.component import Generator

class Variants(Generator):
    def edit(self, sample, of):
        yield sample
        for k in range(1, {VARIANTS}):
            yield of.made(sample.image // 2 + k, variant=f"v{{k}}", requested={{"k": k}})
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        os.environ["HF_HOME"] = f"{name}/hf"
        os.environ["VARIORUM_CACHE"] = f"{name}/cache"
        print(json.dumps(compare(Path(name)), indent=1))


def compare(place: Path) -> dict[str, object]:
    import datasets
    import webdataset

    from variorum.edition.shards import read_shard

    datasets.disable_progress_bars()
    rng = np.random.default_rng(0)
    for number in range(PICTURES):
        folder = place / "photos" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        blocks = np.kron(rng.integers(0, 255, (12, 12, 3)), np.ones((12, 12, 1)))
        Image.fromarray(blocks.astype(np.uint8)).save(folder / f"{number}.png")
    (place / "variants.py").write_text(GENERATOR)
    plain, split = edition(place, None), edition(place, "variant")

    def shards(folder: str, config: str) -> list[str]:
        return sorted(glob.glob(f"{folder}/data/{config}/*.tar" if config else f"{folder}/data/*.tar"))

    def ours(folder: str, config: str = "") -> Callable[[], int]:
        return lambda: sum(1 for file in shards(folder, config) for _ in read_shard(Path(file)))

    def theirs(folder: str, config: str = "") -> Callable[[], int]:
        return lambda: sum(1 for _ in webdataset.WebDataset(shards(folder, config), shardshuffle=False))

    def streamed(folder: str, config: str | None = None) -> Callable[[], int]:
        def count() -> int:
            rows = datasets.load_dataset(folder, config, split="test", streaming=True)
            return sum(1 for _ in rows.cast_column("png", datasets.Image(decode=False)))

        return count

    work = {
        "ours_all": ours(plain),
        "ours_config": ours(split, "v2"),
        "webdataset_all": theirs(plain),
        "webdataset_config": theirs(split, "v2"),
        "datasets_all": streamed(plain),
        "datasets_config": streamed(split, "v2"),
        "bytes": lambda: [Path(file).read_bytes() for file in shards(split, "v2")],
    }
    numbers = {name: call() for name, call in work.items() if name != "bytes"}
    timed = rounds(work, 5)
    found: dict[str, object] = {"pictures": PICTURES * VARIANTS, "wanted": PICTURES}
    for reader in ("ours", "webdataset", "datasets"):
        whole, part = f"{reader}_all", f"{reader}_config"
        wanted = ratio(timed, whole, part)
        found[reader] = {
            "samples_per_cpu_second_all": round(numbers[whole] / median(timed, whole)),
            "samples_per_cpu_second_config": round(numbers[part] / median(timed, part)),
            "ratio_per_sample": round(wanted * numbers[part] / numbers[whole], 3),
            "ratio_per_wanted": wanted,
        }
    found["times_the_limit"] = ratio(timed, "ours_config", "bytes")
    return found


def edition(place: Path, configs: str | None) -> str:
    """Build an edition of the photographs and their variants; returns its folder."""
    from variorum.edition.editions import folder_of
    from variorum.pipeline import Job, build
    from variorum.reports.card import write_card
    from variorum.schemas.recipe import Recipe

    what = {
        "dataset": "with" if configs else "without",
        "version": "1.0.0",
        "samples_per_shard": 200,
        "configs": configs,
        "source": {"name": "image_folder", "path": str(place / "photos")},
        "generate": [{"name": str(place / "variants.py")}],
    }
    recipe = Recipe.parse(what)
    job = Job(recipe, str(place / "store"))
    manifest = build(job)
    write_card(recipe, manifest, job.store)
    return folder_of(manifest, job.store)


if __name__ == "__main__":
    main()
