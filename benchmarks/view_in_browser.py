"""The page of 10,000 pictures in a browser, against a plain page that holds the same thumbnails as lazy images.

Both are opened from a disk in headless Chromium without a GPU, in turn, and scrolled by the same number of pixels a
frame: `opened_s` is the time from navigation until the thumbnails in sight are decoded, `frames_per_second` is measured
with requestAnimationFrame. For the page also: the time from a change of filters or order until the second frame after
it, and the heap of JavaScript. Limits: 1.5 s to open, 50 frames a second, which the exit status tells.
"""

from __future__ import annotations

import argparse
import base64
import html
import io
import json
import os
import random
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import skimage.data
from PIL import Image

from variorum.reports.page.html import write_page

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--enable-precise-memory-info",
]
VARIANTS = ("original", "background_random", "size_0.1", "rotate_45", "snow", "fog", "plate", "control")
CLASSES = [f"class {number:04}" for number in range(1000)]
OPEN_S, FRAMES = 1.5, 50
STEPS = {"calm": 20, "fast": 60, "very_fast": 200}
"""Pixels a frame; at 60 frames a second, 60 are four screens a second."""

IN_SIGHT = """() => new Promise(done => {
  const seen = () => {
    const inside = [...document.images].filter(one => {
      const { top, bottom, width } = one.getBoundingClientRect();
      return width && bottom > 0 && top < innerHeight;
    });
    if (inside.length > 5 && inside.every(one => one.complete && one.naturalWidth)) {
      Promise.all(inside.map(one => one.decode())).then(() => done(performance.now() / 1000));
    } else setTimeout(seen, 5);
  };
  seen();
})"""
SCROLL = """([name, step, frames]) => new Promise(done => {
  const scroller = document.querySelector(name) ?? document.scrollingElement;
  scroller.scrollTop = 0;
  const times = [];
  const frame = time => {
    times.push(time);
    scroller.scrollTop += step;
    if (times.length <= frames) requestAnimationFrame(frame);
    else done([1000 * frames / (times.at(-1) - times[0]), Math.max(...times.slice(1).map((t, at) => t - times[at]))]);
  };
  requestAnimationFrame(() => requestAnimationFrame(frame));
})"""
CHANGES = """async () => {
  const { view } = Variorum.page;
  const changes = {
    search: () => (view.words = "class 00"),
    value: () => view.chosen.set("status", new Set([1])),
    clear: () => view.clear(),
    sort_numbers: () => (view.sort = "gate.iou"),
    sort_texts: () => (view.sort = "id"),
    range: () => view.ranges.set("gate.iou", [0.2, 0.6]),
  };
  const found = {};
  for (const [name, change] of Object.entries(changes)) {
    const start = performance.now();
    view.change(change);
    await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
    found[name] = performance.now() - start;
  }
  return found;
}"""


def thumbnails(number: int) -> list[bytes]:
    """Different crops of photographs, as WebP with the longer side 128."""
    rng = random.Random(0)
    photographs = [
        Image.fromarray(getattr(skimage.data, name)()) for name in ("astronaut", "chelsea", "coffee", "rocket")
    ]
    found = []
    for _ in range(number):
        photograph = rng.choice(photographs)
        width = rng.randrange(120, 290)
        height = int(width * rng.choice((0.75, 1)))
        left, top = rng.randrange(photograph.width - width), rng.randrange(photograph.height - height)
        crop = photograph.crop((left, top, left + width, top + height))
        crop.thumbnail((128, 128))
        stream = io.BytesIO()
        crop.save(stream, "WEBP", quality=80)
        found.append(stream.getvalue())
    return found


def table(rows: int) -> dict[str, Any]:
    """A table like an edition's, with 12 columns of texts and 20 of numbers."""
    rng = random.Random(0)
    edit, photograph = [row % 8 for row in range(rows)], [row // 8 for row in range(rows)]
    texts: dict[str, tuple[Sequence[str], list[int]]] = {
        "id": ([f"{row:032x}" for row in range(rows)], list(range(rows))),
        "origin": ([f"photos/{one:05}.jpg" for one in range(rows)], photograph),
        "variant": (VARIANTS, edit),
        "class": (CLASSES, [one % len(CLASSES) for one in photograph]),
        "status": (("accepted", "quarantined", "dropped"), [int(rng.random() < 0.1) for _ in range(rows)]),
        "split": (("train", "validation", "test"), [one % 3 for one in photograph]),
    }
    kinds = {name: [rng.randrange(6) for _ in range(rows)] for name in ("config", "reason", "action", "by", "given")}
    texts |= {name: ([f"{name} {value}" for value in range(6)], codes) for name, codes in kinds.items()}
    texts["licence"] = (["CC0-1.0"], [0] * rows)
    numbers: dict[str, list[float]] = {"source": [row - edit[row] for row in range(rows)]}
    numbers |= {name: [rng.random() for _ in range(rows)] for name in ("gate.iou", "gate.blank", "map.x", "map.y")}
    numbers |= {f"detector.{at}": [rng.gauss(0, 1) for _ in range(rows)] for at in range(15)}
    columns: list[dict[str, Any]] = [
        {"name": name, "kind": "text", "values": list(values), "codes": codes}
        for name, (values, codes) in texts.items()
    ]
    columns += [{"name": name, "kind": "number", "values": values} for name, values in numbers.items()]
    return {"rows": rows, "columns": columns}


def chunks(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), 100):
        yield items[start : start + 100]


def write_ours(path: Path, pictures: list[bytes]) -> None:
    facts = {"kind": "edition", "title": "many@1.0.0", "map": {"x": "map.x", "y": "map.y", "about": "random"}}
    step = {"name": "attribute_edit", "requested": {"strength": 20}, "seed": 2**60, "models": {"inpainter": "a" * 64}}
    records = [json.dumps({"id": f"{row:032x}", "row": row, "ops": [step, step]}) for row in range(len(pictures))]
    with path.open("wb") as file:
        write_page(file, facts, table(len(pictures)), chunks(pictures), chunks(records))


def write_peer(path: Path, pictures: list[bytes]) -> None:
    """Write a page as one would in ten lines: a grid of lazy images with their names."""
    with path.open("w") as file:
        file.write("<!doctype html><meta charset=utf-8><style>body { display: grid; gap: 12px; ")
        file.write("grid-template-columns: repeat(auto-fill, 170px) } img { width: 170px; height: 170px; ")
        file.write("object-fit: contain } figure { margin: 0 }</style>")
        for row, picture in enumerate(pictures):
            source = base64.b64encode(picture).decode()
            name = html.escape(f"{CLASSES[row // 8 % 1000]} {VARIANTS[row % 8]}")
            file.write(f'<figure><img loading=lazy src="data:image/webp;base64,{source}"><p>{name}</figure>')


def once(browser: Any, path: Path, scroller: str, frames: int) -> dict[str, Any]:
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.goto(path.as_uri(), wait_until="commit")
    found: dict[str, Any] = {"opened_s": page.evaluate(IN_SIGHT)}
    page.wait_for_load_state("load")
    found["loaded_s"] = page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd / 1000")
    page.wait_for_timeout(300)
    for name, step in STEPS.items():
        found[f"frames_{name}"], found[f"longest_ms_{name}"] = page.evaluate(SCROLL, [scroller, step, frames])
    if scroller == ".grid":
        found |= {f"{name}_ms": value for name, value in page.evaluate(CHANGES).items()}
        page.keyboard.press("o")
        found["frames_originals"], _ = page.evaluate(SCROLL, [scroller, STEPS["fast"], frames])
    found["heap_mb"] = page.evaluate("performance.memory.usedJSHeapSize / 1e6")
    page.close()
    return found


def medians(runs: list[dict[str, Any]]) -> dict[str, float]:
    return {name: round(statistics.median(run[name] for run in runs), 3) for name in runs[0]}


def main() -> int:
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--frames", type=int, default=150)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        ours, peer = Path(folder) / "ours.html", Path(folder) / "peer.html"
        pictures = thumbnails(options.pictures)
        write_ours(ours, pictures)
        write_peer(peer, pictures)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        runs: dict[str, list[dict[str, Any]]] = {"ours": [], "peer": []}
        for turn in range(options.rounds):
            for name in ("ours", "peer")[:: 1 if turn % 2 else -1]:
                path, scroller = (ours, ".grid") if name == "ours" else (peer, "html")
                runs[name].append(once(browser, path, scroller, options.frames))
        result = {
            "pictures": options.pictures,
            "cores": os.cpu_count(),
            "load": round(os.getloadavg()[0], 1),
            "chromium": browser.version,
            "page_mb": round(ours.stat().st_size / 1e6, 1),
            "limits": {"opened_s": OPEN_S, "frames_fast": FRAMES},
            "page": medians(runs["ours"]),
            "peer_lazy_images": medians(runs["peer"]),
        }
        browser.close()
    print(json.dumps(result, indent=2))
    page = result["page"]
    return int(page["opened_s"] > OPEN_S or page["frames_fast"] < FRAMES)  # type: ignore[index,operator]


if __name__ == "__main__":
    sys.exit(main())
