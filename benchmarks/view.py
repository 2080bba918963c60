"""Making the page of a large edition: CPU seconds, size of the file, peak memory.

The peer makes nothing but the thumbnails, in a plain loop: Pillow opens each JPEG, `thumbnail`, `save` as WebP with
Pillow's defaults. The limit is the least that a page with thumbnails takes: each JPEG decoded by libjpeg-turbo at the
smallest fraction of its size that suffices, resized and encoded once, with the same settings as the page's. An edition
with embeddings has a map, too; it is timed apart, on the pixels of tiny versions, and made once for each edition.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import simplejpeg
from many_pictures import many_pictures
from PIL import Image
from timing import peak_mb

from variorum.arrays import Reals
from variorum.edition.editions import find
from variorum.edition.store import Store
from variorum.machine.progress import Progress
from variorum.reports.page.embedding_map import places
from variorum.reports.page.thumbnails import METHOD, QUALITY, thumbnail_side
from variorum.reports.page.write import write_view


def peer(files: list[Path], side: int) -> int:
    """Bytes of the thumbnails of a plain Pillow loop."""
    total = 0
    for file in files:
        with Image.open(file) as image:
            image.thumbnail((side, side))
            out = io.BytesIO()
            image.save(out, "WEBP", quality=QUALITY)
        total += len(out.getvalue())
    return total


def limit(files: list[Path], side: int) -> int:
    """Bytes of the thumbnails where nothing is done but decoding, resizing and encoding."""
    total = 0
    for file in files:
        data = file.read_bytes()
        height, width, *_ = simplejpeg.decode_jpeg_header(data)
        scale = side / max(height, width)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        pixels = simplejpeg.decode_jpeg(data, min_width=size[0], min_height=size[1], min_factor=1)
        out = io.BytesIO()
        small = Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR)
        small.save(out, "WEBP", quality=QUALITY, method=METHOD)
        total += len(out.getvalue())
    return total


def tiny(files: list[Path]) -> Reals:
    """The pixels of each picture at 16 × 16, `[N, 768]`, as embeddings."""
    rows = [np.asarray(Image.open(file).convert("RGB").resize((16, 16))).ravel() for file in files]
    return np.stack(rows).astype(np.float32)


def timed(work: Callable[[], object]) -> float:
    """CPU seconds of all threads."""
    began = time.process_time()
    work()
    return time.process_time() - began


def page_alone(store: str, to: str, most: int) -> None:
    """Make the page in a process of its own, and print its peak memory."""
    where = Store(store, writable=False)
    before = peak_mb()
    written = write_view(find("crops", where), where, to=to, most=most)
    print(json.dumps({"before": before, "peak": peak_mb(), "pictures": written.pictures, "size": written.size}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--alone", nargs=2, metavar=("STORE", "FILE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        page_alone(*options.alone, options.pictures)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        manifest, store = many_pictures(folder, options.pictures)
        files, side = sorted(folder.rglob("*.jpg")), thumbnail_side(options.pictures)
        page = folder / "page.html"
        work = {
            "page": lambda: write_view(manifest, store, to=page, most=options.pictures),
            "pillow_loop": lambda: peer(files, side),
            "limit": lambda: limit(files, side),
        }
        vectors = tiny(files)
        arranging = timed(lambda: places(vectors, Progress()))
        seconds = {kind: list[float]() for kind in work}
        kinds = list(work)
        for turn in range(options.rounds):
            for kind in kinds[turn % len(kinds) :] + kinds[: turn % len(kinds)]:
                seconds[kind].append(timed(work[kind]))
        memory = {}
        for most in (options.pictures // 4, options.pictures):
            arguments = [sys.executable, __file__, "--pictures", str(most), "--alone", store.url, str(page)]
            memory[most] = json.loads(subprocess.run(arguments, capture_output=True, check=True, text=True).stdout)
        made = page.read_bytes()
        thumbnails = peer(files, side)
    print(
        json.dumps(
            {
                "what": f"page of a release of {options.pictures} photographs, thumbnails of {side} pixels",
                "rounds": options.rounds,
                "cpu_seconds": {kind: round(median(found), 2) for kind, found in seconds.items()},
                "map_cpu_seconds": round(arranging, 2),
                "ratio_to_pillow_loop": _ratio(seconds, "pillow_loop"),
                "ratio_to_limit": _ratio(seconds, "limit"),
                "mb": round(len(made) / 1e6, 1),
                "mb_of_pillow_thumbnails": round(thumbnails / 1e6, 1),
                "peak_mb": {most: round(found["peak"]) for most, found in memory.items()},
                "pictures": memory[options.pictures]["pictures"],
            },
            indent=1,
        )
    )


def _ratio(seconds: dict[str, list[float]], kind: str) -> float:
    return round(median(one / other for one, other in zip(seconds["page"], seconds[kind], strict=True)), 3)


if __name__ == "__main__":
    main()
