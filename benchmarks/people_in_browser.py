"""The review page in a browser on this machine: grid, next picture, and how soon the page can be used.

The real server with a real edition, to whose database many more questions are added, so that its queries meet a large
queue. Chromium is headless and without a GPU. Times are measured in the page with `performance.now()`:

- `grid_chosen_ms`: a class is chosen → 60 thumbnails are decoded, nothing fetched before;
- `grid_confirmed_ms`: a grid is confirmed → the next 60 thumbnails are decoded, fetched while one looks at the others;
- `next_picture_ms`: Enter → the next picture is decoded and a frame has passed;
- `page_usable_ms`: navigation → the first picture of the queue is decoded and takes answers;
- `bare_page_ms`, the limit: navigation → a page of nothing but the same 60 thumbnails from the same server is decoded.

Limits: a grid in 300 ms, the next picture in 100 ms, the page in 1 s, by medians, which the exit status tells.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import skimage.data
import uvicorn
from PIL import Image
from sqlalchemy import insert
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Mount, Route

from variorum.people.panel.panel import Panel, open_panel, publish
from variorum.people.panel.settings import Settings
from variorum.people.server.access import Access, Place
from variorum.people.server.app import create_app
from variorum.people.server.serve import listening
from variorum.people.server.served import Served
from variorum.people.votes.database import questions, tasks, writing
from variorum.people.votes.reviewers import by_secret
from variorum.pipeline import Job, run
from variorum.schemas.recipe import Recipe

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
CLASSES = ("astronaut", "chelsea", "coffee", "rocket")
GRID, LABELS = 60, 4
GRID_MS, PICTURE_MS, PAGE_MS = 300, 100, 1000

READY = "() => Variorum.gridMode.ready && Variorum.gridMode.coming.length"
MEASURED = "performance.getEntriesByName('grid').at(-1).duration"
NEXT = """async () => {
  const image = document.querySelector('.stage .sheet img');
  const before = image.src;
  const press = (key) => document.body.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true }));
  press('0');
  const start = performance.now();
  press('Enter');
  while (image.src === before) await new Promise(done => setTimeout(done, 1));
  await image.decode();
  await new Promise(done => requestAnimationFrame(done));
  return performance.now() - start;
}"""
USABLE = """async () => {
  for (;;) {
    const image = document.querySelector('.stage .sheet img');
    if (image?.src && document.querySelector('.answer')) {
      await image.decode();
      return performance.now();
    }
    await new Promise(done => setTimeout(done, 2));
  }
}"""
DECODED = "Promise.all([...document.images].map(one => one.decode())).then(() => performance.now())"


def edition(folder: Path, pictures: int) -> Job:
    """An edition of different crops of four photographs, as JPEGs of up to 500 pixels."""
    rng = random.Random(0)
    for name in CLASSES:
        photograph = Image.fromarray(getattr(skimage.data, name)())
        (folder / "photos" / name).mkdir(parents=True)
        for number in range(pictures // len(CLASSES)):
            width = rng.randrange(140, 290)
            height = int(width * rng.choice((0.75, 1)))
            left, top = rng.randrange(photograph.width - width), rng.randrange(photograph.height - height)
            crop = photograph.crop((left, top, left + width, top + height)).resize((500, 500 * height // width))
            crop.save(folder / "photos" / name / f"{number:05}.jpg", quality=88)
    source = {"name": "image_folder", "path": str(folder / "photos")}
    return Job(Recipe.parse({"dataset": "bench", "version": "1.0.0", "source": source}), str(folder / "store"))


def add_questions(panel: Panel, number: int) -> None:
    """Add open questions about pictures that nobody is going to be shown, behind all others."""
    first = 10_000_000
    with writing(panel.engine, panel.key) as connection:
        for start in range(0, number // LABELS, 50_000):
            numbers = range(first + start, first + min(start + 50_000, number // LABELS))
            connection.execute(
                insert(tasks),
                [
                    {"panel": panel.key, "task": task, "kind": "label", "id": f"{task:032x}", "sha256": f"{task:064x}"}
                    | {"why": "asked", "wanted": 3, "open": True}
                    for task in numbers
                ],
            )
            connection.execute(
                insert(questions),
                [
                    {"panel": panel.key, "question": f"{LABELS * task + at:032x}", "task": task, "kind": "label"}
                    | {"subject": f"class {(task + at) % 1000}", "why": "asked"}
                    for task in numbers
                    for at in range(LABELS)
                ],
            )


def bare(request: Request) -> HTMLResponse:
    """A page with thumbnails and nothing else; their addresses are in the query."""
    names = request.query_params["of"].split(" ")
    return HTMLResponse("<!doctype html>" + "".join(f'<img src="/thumbnails/{name}" width=96>' for name in names))


def measure(browser: Any, url: str, person: str, rounds: int) -> dict[str, list[float]]:
    """One person's way through the page."""
    found: dict[str, list[float]] = {
        name: []
        for name in ("grid_chosen_ms", "grid_confirmed_ms", "next_picture_ms", "page_usable_ms", "bare_page_ms")
    }
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.goto(url)
    page.get_by_label("Your name").fill(person)
    page.get_by_role("button", name="Join").click()
    page.wait_for_selector(".stage .sheet img[src]")
    for _ in range(rounds):
        page.goto("about:blank")
        page.goto(f"{url}/#picture", wait_until="commit")
        found["page_usable_ms"].append(page.evaluate(USABLE))
    for _ in range(4 * rounds):
        page.wait_for_timeout(400)  # a person looks
        found["next_picture_ms"].append(page.evaluate(NEXT))
    seen = list[str]()
    for name in CLASSES[: rounds + 1]:
        page.goto("about:blank")
        page.goto(f"{url}/#grid")
        page.locator(".class-choices li button").first.wait_for()
        page.get_by_label("Search classes").fill(name)
        page.locator(".class-choices li button", has_text=name).click()
        page.wait_for_function(READY)
        found["grid_chosen_ms"].append(page.evaluate(MEASURED))
        for _ in range(2):
            seen += page.evaluate("Variorum.gridMode.current.tasks.map(one => one.picture.thumbnail.split('/').at(-1))")
            page.wait_for_timeout(1000)
            page.keyboard.press("Enter")
            page.wait_for_function("() => Variorum.gridMode.ready")
            found["grid_confirmed_ms"].append(page.evaluate(MEASURED))
    fresh = context.new_page()
    for start in range(0, min(len(seen), GRID * rounds), GRID):
        session = fresh.context.new_cdp_session(fresh)
        session.send("Network.clearBrowserCache")
        fresh.goto(f"{url}/bare?of={'%20'.join(seen[start : start + GRID])}", wait_until="commit")
        found["bare_page_ms"].append(fresh.evaluate(DECODED))
    context.close()
    return found


def summary(values: list[float]) -> dict[str, float]:
    """Median, 95th percentile and number."""
    ordered = sorted(values)
    last = ordered[min(len(ordered) - 1, round(0.95 * (len(ordered) - 1)))]
    return {"p50": round(statistics.median(ordered), 1), "p95": round(last, 1), "n": len(ordered)}


def main() -> int:
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=1200)
    parser.add_argument("--queued", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        job = edition(Path(folder), options.pictures)
        manifest, store = run(job), job.store
        together = {one: tuple(other for other in CLASSES if other != one) for one in CLASSES}
        publish(manifest, store, Settings(collapsed=together))
        panel = open_panel(manifest, store)
        began = time.perf_counter()
        add_questions(panel, options.queued)
        added_s = time.perf_counter() - began
        with listening("127.0.0.1", 0) as taken:
            place = Place("127.0.0.1", taken.getsockname()[1])
            access = Access(
                panel.key, place, "", "not needed here", lambda secret: by_secret(panel.engine, panel.key, secret)
            )
            app = Starlette(routes=[Route("/bare", bare), Mount("/", create_app(Served.of(panel, {}), access))])
            config = uvicorn.Config(app, access_log=False, log_config=None, lifespan="off", ws="none")
            server = uvicorn.Server(config)
            thread = threading.Thread(target=server.run, kwargs={"sockets": [taken]})
            thread.start()
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
            try:
                found = measure(browser, place.url, "Ada", options.rounds)
                version = browser.version
            finally:
                browser.close()
                server.should_exit = True
                thread.join()
    times = {name: summary(values) for name, values in found.items()}
    result = {
        "pictures": options.pictures,
        "questions": panel.record.counts["questions"] + options.queued // LABELS * LABELS,
        "added_s": round(added_s, 1),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "chromium": version,
        "limits": {"grid_ms": GRID_MS, "next_picture_ms": PICTURE_MS, "page_usable_ms": PAGE_MS},
        **times,
    }
    print(json.dumps(result, indent=2))
    grids = max(times["grid_chosen_ms"]["p50"], times["grid_confirmed_ms"]["p50"])
    slow = times["next_picture_ms"]["p50"] > PICTURE_MS or times["page_usable_ms"]["p50"] > PAGE_MS
    return int(slow or grids > GRID_MS)


if __name__ == "__main__":
    sys.exit(main())
