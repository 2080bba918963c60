"""Bytes that go up when an edition is published again with 1 % of its source pictures changed.

The limit is the size of the shards that changed; the peer is a client that knows nothing of the repository and sends
all files. The Hub of the tests receives them, through the Hub's own client. The real Hub also stores pieces of files
once (Xet), which isn't measured here: the figures are those of whole files.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
import yaml
from PIL import Image

sys.path.append(str(Path(__file__).parents[1] / "tests" / "plugins"))

from hub_front import Hub
from hub_server import environment, olah, serving

UNITS = int(sys.argv[1]) if len(sys.argv) > 1 else 200
PER_UNIT = int(sys.argv[2]) if len(sys.argv) > 2 else 40
CROP = (375, 500)
"""Height and width of a picture."""
COMMAND = "from variorum.flows.cli import main; main()"


def main() -> None:
    command = olah()
    if command is None:
        print(json.dumps({"skipped": "olah isn't installed: make olah"}))
        return
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder), command) as hub:
        print(json.dumps(compare(Path(folder), hub), indent=1))


def compare(place: Path, hub: Hub) -> dict[str, object]:
    number = UNITS * PER_UNIT
    (place / "photos").mkdir()
    for k in range(number):
        write(place, k, seed=k)
    changed = number // 100
    found: dict[str, Any] = {"units": UNITS, "pictures": number, "changed_pictures": changed}
    found["first"] = publish(place, hub, "1.0.0")
    for k in range(changed):
        write(place, k, seed=number + k)  # together, in 1 % of the units
    found["changed_together"] = publish(place, hub, "2.0.0")
    for k in range(0, number, number // changed):
        write(place, k, seed=2 * number + k)  # scattered, one in every hundred
    found["changed_scattered"] = publish(place, hub, "3.0.0")
    found["again"] = publish(place, hub, "3.0.0", build=False)
    for name in ("changed_together", "changed_scattered", "again"):
        found[name]["share"] = round(found[name]["sent_bytes"] / found["first"]["sent_bytes"], 5)
    found["goal"] = "changed_together.share <= 0.02"
    found["peer"] = "all files: share 1"
    found["limit"] = "the changed shards alone: changed_shards_bytes"
    return found


def write(place: Path, k: int, *, seed: int) -> None:
    """A JPEG of 500 × 375 pixels: a crop of one of scikit-image's photographs, with noise that nothing else repeats."""
    random = np.random.default_rng(seed)
    photo = photographs()[seed % 3]
    top, left = (int(random.integers(0, side - crop)) for side, crop in zip(photo.shape, CROP, strict=False))
    crop = photo[top : top + CROP[0], left : left + CROP[1]]
    grain = random.normal(0, 6, crop.shape[:2])[..., None]
    out = io.BytesIO()
    Image.fromarray(np.clip(crop + grain, 0, 255).astype(np.uint8)).save(out, "JPEG", quality=90)
    (place / "photos" / f"{k:06d}.jpg").write_bytes(out.getvalue())


@cache
def photographs() -> list[np.ndarray]:
    """Photographs of 640 × 480 pixels and more."""
    found = [Image.fromarray(getattr(skimage.data, name)()) for name in ("astronaut", "chelsea", "coffee")]
    return [np.asarray(one.resize((700, 525))) for one in found]


def publish(place: Path, hub: Hub, version: str, *, build: bool = True) -> dict[str, Any]:
    """Build and publish a version; what went over the wire."""
    recipe = {
        "dataset": "noise",
        "version": version,
        "masters": "original",
        "samples_per_shard": PER_UNIT,
        "source": {"name": "image_folder", "path": str(place / "photos"), "licence": "CC0-1.0"},
    }
    (place / "noise.yaml").write_text(yaml.safe_dump(recipe))
    if build:
        run(place, hub, "run", "noise.yaml", "--runner", "threads")
    hub.fresh()
    began = time.perf_counter()
    said = json.loads(run(place, hub, "publish", f"noise@{version}", "lab/noise", "--json"))
    wall = round(time.perf_counter() - began, 1)
    by = {action: [one for one in said["files"] if one["action"] == action] for action in ("upload", "copy", "keep")}
    return {
        "sent_bytes": sum(hub.sent.values()) + hub.committed,
        "commit_bytes": hub.committed,
        "files": {action: len(files) for action, files in by.items()},
        "pictures_of_the_card_bytes": sum(one["bytes"] for one in by["upload"] if one["path"].endswith(".png")),
        "changed_shards_bytes": sum(one["bytes"] for one in by["upload"] if one["path"].endswith(".tar")),
        "wall_seconds": wall,
    }


def run(place: Path, hub: Hub, *words: str) -> str:
    variables = {**environment(hub, place / "home"), "VARIORUM_CACHE": str(place / "vcache")}
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *words], cwd=place, env=variables, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(done.stderr[-3000:])
    return done.stdout


if __name__ == "__main__":
    main()
