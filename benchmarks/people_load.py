"""The review server under load: twenty people who vote at once, the next picture, a grid, and a million questions.

The edition is made of the pictures of a folder. Its table is then repeated, so that a panel has a million questions
about 125,000 pictures, each of which lies somewhere in the edition's real shards. The server is a process of its own,
`variorum review`, and is asked over loopback by other processes that share the machine's cores with it.

After the load each vote that was acknowledged is looked up: it must be in the database once, on the question and with
the answer that were sent, and no one may have two that count on a question.

Measured beside it, on the same disk in the same run:

    limit   commits of one row with SQLite's C library and the same settings; the picture's bytes read out of the tar
    peer    a plain Starlette handler that inserts what it is sent, without cookies, checks, tasks and counters
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

DATASET, NAME, LABELS = "tiled", "load", 8
VARIORUM = str(Path(sys.executable).with_name("variorum"))


def main() -> None:
    """Print the figures as JSON."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("pictures", type=Path, help="a folder with pictures, as image_folder reads it")
    options.add_argument("--cells", type=int, default=1_000_000, help="questions of the panel")
    options.add_argument("--reviewers", type=int, default=20)
    options.add_argument("--seconds", type=float, default=60.0, help="of voting at once")
    options.add_argument("--next", type=int, default=200, help="next pictures that are asked for one by one")
    options.add_argument("--grids", type=int, default=5)
    options.add_argument("--processes", type=int, default=4, help="that the reviewers are spread over")
    asked = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="review-load-") as folder:
        print(json.dumps(measure(asked, Path(folder)), indent=1))


def measure(asked: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All figures; see the module."""
    store = folder / "store"
    report: dict[str, Any] = {"cells": asked.cells, "reviewers": asked.reviewers, "cores": os.cpu_count()}
    report["set_up"] = make_panel(asked.pictures, store, asked.cells)
    report["set_up"]["load_at_start"] = round(os.getloadavg()[0], 2)
    database = next(store.glob(f"panels/*/*/{NAME}/votes.sqlite"))
    with server(store) as (address, seconds, process):
        report["start_s"] = round(seconds, 2)
        report["first"] = first(address)
        begun = cpu_seconds(process)
        report["next_ms"] = next_pictures(address, asked.next)
        report["next_ms"]["server_cpu_per_vote_and_next"] = round(
            1000 * (cpu_seconds(process) - begun) / max(1, asked.next), 1
        )
        begun = cpu_seconds(process)
        report["grid_ms"] = grids(address, asked.grids)
        report["grid_ms"]["server_cpu_per_grid"] = round(1000 * (cpu_seconds(process) - begun) / max(1, asked.grids), 1)
        begun = cpu_seconds(process)
        report["voting"] = voting(address, asked.reviewers, asked.processes, asked.seconds, database)
        report["voting"]["server_cpu_s"] = round(cpu_seconds(process) - begun, 1)
    report["load_at_end"] = round(os.getloadavg()[0], 2)
    report["limit"] = {
        "commits_per_s": commits_per_second(folder, 3.0),
        "raw_picture_ms": raw_pictures(store, asked.next),
    }
    with naive(folder) as address:
        found = spread(address, asked.reviewers, asked.processes, min(asked.seconds, 20.0), plain=True)
        report["peer"] = rates(found, min(asked.seconds, 20.0))
    report["voting"]["of_peer"] = round(report["voting"]["requests_per_s"] / report["peer"]["requests_per_s"], 3)
    report["voting"]["of_limit"] = round(report["voting"]["requests_per_s"] / report["limit"]["commits_per_s"], 3)
    return report


# ── the panel ────────────────────────────────────────────────────────────────────────────────────────────────────────


def make_panel(pictures: Path, store: Path, cells: int) -> dict[str, Any]:
    """An edition of a folder's pictures, its table repeated, and a panel with this many questions."""
    import hashlib

    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from variorum.edition.editions import seal
    from variorum.edition.records import to_json
    from variorum.edition.tables import keep_file, read_table
    from variorum.people.panel.panel import folder_of, open_panel, parquet_of
    from variorum.people.panel.queue import schema
    from variorum.people.panel.settings import PanelRecord, Settings
    from variorum.pipeline import Job, build
    from variorum.schemas.recipe import Recipe
    from variorum.stages.stage import Threads

    begun = time.perf_counter()
    source = {"name": "image_folder", "path": str(pictures)}
    fields = {"dataset": "real", "version": "1.0.0", "masters": "original", "source": source}
    job = Job(Recipe.parse({**fields, "samples_per_shard": 100_000}), str(store))
    manifest = build(job, Threads(os.cpu_count() or 1), quiet_progress())
    real = read_table(job.store, manifest.rows)
    real = real.filter(pc.equal(real["status"], "accepted"))
    number = -(-cells // LABELS)
    row = np.arange(number) % len(real)
    tiled = real.take(row)
    ids = pa.array([hashlib.sha256(b"%d" % one).hexdigest()[:32] for one in range(number)])
    tiled = tiled.set_column(tiled.schema.get_field_index("id"), "id", ids)
    tiled = tiled.set_column(tiled.schema.get_field_index("source"), "source", ids)

    def write(file: Any) -> None:
        pq.write_table(tiled, file, compression="zstd")

    rows = keep_file(job.store, number, write)
    manifest = manifest.model_copy(
        update={
            "dataset": DATASET,
            "rows": [rows],
            "sources": number,
            "recipe": {**manifest.recipe, "dataset": DATASET},
        }
    )
    manifest = seal(manifest, job.store)
    classes = [identity for identity, _ in manifest.classes][: max(LABELS, cells // 200)]  # each is asked about often
    chosen = np.arange(number)[:, None] * 7 + np.arange(LABELS)[None] * 13
    subject = pa.array(classes).take(pa.array(chosen.reshape(-1) % len(classes)))
    task = np.repeat(np.arange(number, dtype=np.int32), LABELS)
    questions = pa.table(
        {
            "task": task,
            "kind": pa.array(["label"]).take(pa.array(np.zeros(len(task), np.int64))),
            "id": ids.take(pa.array(task)),
            "sha256": tiled["sha256"].combine_chunks().take(pa.array(task)),
            "subject": subject,
            "why": pa.array(["asked"]).take(pa.array(np.zeros(len(task), np.int64))),
            "truth": pa.array([""]).take(pa.array(np.zeros(len(task), np.int64))),
            "worth": np.ones(len(task)),
            "presumed": np.zeros(len(task), bool),
        }
    )
    questions = questions.cast(schema()).slice(0, cells)
    data = parquet_of(questions)
    record = PanelRecord(
        name=NAME,
        dataset=DATASET,
        version="1.0.0",
        edition=manifest.digest(),
        ledger="",
        gold="",
        settings=Settings(),
        questions=hashlib.sha256(data).hexdigest(),
        counts={"tasks": number, "questions": len(questions)},
    )
    job.store.put(f"{folder_of(record)}/questions-{record.questions[:16]}.parquet", data)
    job.store.put(f"{folder_of(record)}/panel.json", to_json(record))
    made = time.perf_counter()
    panel = open_panel(manifest, job.store, name=NAME)
    panel.engine.dispose()
    loaded = time.perf_counter()
    return {
        "pictures": number,
        "distinct_pictures": len(real),
        "make_s": round(made - begun, 1),
        "load_questions_s": round(loaded - made, 1),
    }


def quiet_progress() -> Any:
    """A progress that says nothing."""
    from variorum.machine.progress import QUIET

    return QUIET


# ── servers ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def server(store: Path) -> Iterator[tuple[str, float, int]]:
    """`variorum review` on a free port: its address, seconds from the start to the first page, and its process."""
    words = [VARIORUM, "review", f"{DATASET}@1.0.0", "--store", str(store), "--name", NAME, "--port", "0", "--no-open"]
    with _running(words, r"reviewers:\s+http://([\d.:]+)/") as found:
        yield found


@contextmanager
def naive(folder: Path) -> Iterator[str]:
    """A plain handler that inserts what it is sent."""
    with _running([sys.executable, __file__, "naive", str(folder / "naive.sqlite")], r"http://([\d.:]+)") as found:
        yield found[0]


@contextmanager
def _running(words: list[str], says: str) -> Iterator[tuple[str, float, int]]:
    begun = time.perf_counter()
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}) as one:
        try:
            assert one.stdout
            found = next((hit for line in one.stdout if (hit := re.search(says, line))), None)
            if found is None:
                raise SystemExit(f"{words} ended without an address")
            Asking(found[1]).get("/")
            yield found[1], time.perf_counter() - begun, one.pid
        finally:
            one.send_signal(signal.SIGINT)
            try:
                one.wait(30)
            except subprocess.TimeoutExpired:
                one.kill()


def cpu_seconds(process: int) -> float:
    """CPU time that a process has taken, which says more than the clock while others use the machine's cores."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def serve_naive(database: str) -> None:
    """The peer: one handler, the same database settings, and no checks."""
    import socket

    import uvicorn
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.requests import Request
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    local, lock = threading.local(), threading.Lock()

    def insert(votes: list[dict[str, Any]]) -> None:
        if not hasattr(local, "connection"):
            local.connection = _sqlite(database)
        rows = [(one["vote"], one["question"], one["answer"], json.dumps(one)) for one in votes]
        with lock:
            local.connection.execute("BEGIN IMMEDIATE")
            local.connection.executemany("INSERT OR IGNORE INTO votes VALUES (?, ?, ?, ?)", rows)
            local.connection.execute("COMMIT")

    async def votes(request: Request) -> JSONResponse:
        found = (await request.json())["votes"]
        await run_in_threadpool(insert, found)
        return JSONResponse({"results": [{"vote": one["vote"], "state": "kept", "why": ""} for one in found]})

    _sqlite(database).execute("CREATE TABLE IF NOT EXISTS votes (vote PRIMARY KEY, question, answer, whole)")
    on = socket.create_server(("127.0.0.1", 0), backlog=512)
    print(f"http://127.0.0.1:{on.getsockname()[1]}", flush=True)
    app = Starlette(routes=[Route("/api/votes", votes, methods=["POST"]), Route("/", lambda _: JSONResponse({}))])
    uvicorn.Server(uvicorn.Config(app, access_log=False, log_level="error", lifespan="off")).run(sockets=[on])


def _sqlite(database: str) -> sqlite3.Connection:
    connection = sqlite3.connect(database, isolation_level=None, check_same_thread=False)
    for setting in ("busy_timeout=30000", "journal_mode=WAL", "synchronous=FULL"):
        connection.execute(f"PRAGMA {setting}")
    return connection


# ── browsers ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class Asking:
    """A browser's connection: cookie, token, JSON."""

    def __init__(self, address: str, name: str = "") -> None:
        self.address, self.headers = address, {"Origin": f"http://{address}"}
        self.connection = http.client.HTTPConnection(address, timeout=120)
        if name:
            self.post("/join", {"name": name})
            self.me = json.loads(self.get("/api/me"))
            self.headers["X-Variorum-Csrf"] = self.me["csrf"]

    def another(self) -> Asking:
        """A further connection of the same browser."""
        made = Asking(self.address)
        made.headers = dict(self.headers)
        return made

    def get(self, path: str) -> bytes:
        """Content of an address."""
        return self._ask("GET", path, None)

    def post(self, path: str, body: Any) -> Any:
        """The answer to JSON."""
        return json.loads(self._ask("POST", path, json.dumps(body).encode()))

    def _ask(self, method: str, path: str, body: bytes | None) -> bytes:
        headers = self.headers if body is None else {**self.headers, "Content-Type": "application/json"}
        self.connection.request(method, path, body, headers)
        answer = self.connection.getresponse()
        data = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{method} {path.split('?')[0]}: {answer.status} {data[:200]!r}")
        if cookie := answer.getheader("Set-Cookie"):
            self.headers["Cookie"] = cookie.split(";")[0]
        return data


def votes_on(task: dict[str, Any], answer: str) -> list[dict[str, Any]]:
    """A vote on each question of a task, as the page sends it."""
    picture = task["picture"]
    shared = {"task": task["task"], "kind": task["kind"], "id": picture["id"], "sha256": picture["sha256"]}
    return [
        {**shared, "vote": str(uuid.uuid4()), "question": one["question"], "subject": one["subject"], "answer": answer}
        for one in task["questions"]
    ]


# ── measurements ─────────────────────────────────────────────────────────────────────────────────────────────────────


def first(address: str) -> dict[str, float]:
    """Milliseconds of what a page asks when it is opened, the first time after the start."""
    found = {}
    found["page"] = timed(lambda: Asking(address).get("/"))[0]
    found["join_and_me"], person = timed(lambda: Asking(address, "first"))
    found["next"], answer = timed(lambda: person.post("/api/next", {"mode": "picture", "number": 3}))
    found["picture"] = timed(lambda: person.get(answer["tasks"][0]["picture"]["url"]))[0]
    return {name: round(value, 1) for name, value in {**found, "all": sum(found.values())}.items()}


def next_pictures(address: str, number: int) -> dict[str, float]:
    """Milliseconds from a vote that is kept to the bytes of the next picture."""
    person, taken = Asking(address, "one by one"), []
    (task,) = person.post("/api/next", {"mode": "one", "number": 1})["tasks"]
    for _ in range(number):
        person.post("/api/votes", {"votes": votes_on(task, "no")})

        def ask() -> Any:
            (found,) = person.post("/api/next", {"mode": "one", "number": 1})["tasks"]
            person.get(found["picture"]["url"])
            return found

        seconds, task = timed(ask)
        taken.append(seconds)
    return quantiles(taken)


def grids(address: str, number: int) -> dict[str, Any]:
    """Milliseconds of 60 tasks about one class and their thumbnails, over six connections; never seen, and seen."""
    person = Asking(address, "grid")
    subjects = json.loads(person.get("/api/subjects?kind=label"))["subjects"]
    lines = [person.another() for _ in range(6)]
    cold, warm, held = list[float](), list[float](), list[int]()
    with ThreadPoolExecutor(len(lines)) as pool:

        def thumbnails(tasks: list[Any]) -> None:
            def some(place: int) -> None:
                for task in tasks[place :: len(lines)]:
                    lines[place].get(task["picture"]["thumbnail"])

            list(pool.map(some, range(len(lines))))

        for place in range(number):
            body = {
                "mode": "grid",
                "number": 60,
                "kind": "label",
                "subject": subjects[place][0],
                "holding": held[-120:],
            }

            def ask(body: dict[str, Any] = body) -> Any:
                tasks = person.post("/api/next", body)["tasks"]
                thumbnails(tasks)
                return tasks

            seconds, tasks = timed(ask)
            assert len(tasks) == 60
            held += [task["task"] for task in tasks]
            cold.append(seconds)
            warm.append(timed(partial(thumbnails, tasks))[0])
    return {"cold": quantiles(cold), "thumbnails_again": quantiles(warm)}


def voting(address: str, reviewers: int, processes: int, seconds: float, database: Path) -> dict[str, Any]:
    """Rates and latencies of people who vote at once, and what became of their votes."""
    found = spread(address, reviewers, processes, seconds)
    sent = [vote for one in found for vote in one["kept"]]
    connection = sqlite3.connect(database)
    columns = "vote, question, answer, reviewer, counts"
    rows = connection.execute(f"SELECT {columns} FROM votes WHERE reviewer LIKE 'load %'").fetchall()
    by_id = Counter(row[0] for row in rows)
    there = {row[0]: row[1:4] for row in rows}
    return {
        **rates(found, seconds),
        "acknowledged": len(sent),
        "stored": len(rows),
        "lost": sum(vote not in there for vote, *_ in sent),
        "misfiled": sum(there.get(vote, tuple(rest)) != tuple(rest) for vote, *rest in sent),
        "doubled": sum(number > 1 for number in by_id.values())
        + sum(number > 1 for number in Counter((row[1], row[3]) for row in rows if row[4]).values()),
        "refused": sum(one["refused"] for one in found),
    }


def spread(
    address: str, reviewers: int, processes: int, seconds: float, *, plain: bool = False
) -> list[dict[str, Any]]:
    """Reviewers, one thread each, in several processes."""
    groups = [[n for n in range(reviewers) if n % processes == place] for place in range(processes)]
    with ProcessPoolExecutor(processes) as pool:
        work = [pool.submit(_group, address, group, seconds, plain) for group in groups if group]
        return [one for future in work for one in future.result()]


def _group(address: str, numbers: list[int], seconds: float, plain: bool) -> list[dict[str, Any]]:
    with ThreadPoolExecutor(len(numbers)) as pool:
        return list(pool.map(lambda number: _reviewer(address, number, seconds, plain), numbers))


def _reviewer(address: str, number: int, seconds: float, plain: bool) -> dict[str, Any]:
    """One person who asks for three tasks, votes on each in one request, and asks again."""
    name = f"load {number}"
    person = Asking(address, "" if plain else name)
    found: dict[str, Any] = {"kept": [], "refused": 0, "votes_ms": [], "next_ms": []}
    answers, end = ("yes", "no", "unclear"), time.monotonic() + seconds
    while time.monotonic() < end:
        if plain:
            tasks = [_made_up(number) for _ in range(3)]
        else:
            taken, answer = timed(lambda: person.post("/api/next", {"mode": "picture", "number": 3}))
            tasks = answer["tasks"]
            found["next_ms"].append(taken)
        for task in tasks:
            votes = votes_on(task, answers[len(found["kept"]) % 3])
            taken, answer = timed(partial(person.post, "/api/votes", {"votes": votes}))
            found["votes_ms"].append(taken)
            for vote, result in zip(votes, answer["results"], strict=True):
                if result["state"] == "refused":
                    found["refused"] += 1
                else:
                    found["kept"].append((vote["vote"], vote["question"], vote["answer"], name))
    return found


def _made_up(number: int) -> dict[str, Any]:
    questions = [{"question": uuid.uuid4().hex, "subject": f"n{place:08d}"} for place in range(LABELS)]
    picture = {"id": uuid.uuid4().hex, "sha256": "0" * 64}
    return {"task": number, "kind": "label", "picture": picture, "questions": questions}


def rates(found: list[dict[str, Any]], seconds: float) -> dict[str, Any]:
    """Votes and requests a second, and latencies in milliseconds."""
    requests = [taken for one in found for taken in one["votes_ms"]]
    told = {
        "seconds": seconds,
        "votes_per_s": round(sum(len(one["kept"]) for one in found) / seconds, 1),
        "requests_per_s": round(len(requests) / seconds, 1),
        "votes_ms": quantiles(requests),
    }
    asked = [taken for one in found for taken in one["next_ms"]]
    return {**told, "next_ms": quantiles(asked)} if asked else told


def commits_per_second(folder: Path, seconds: float) -> float:
    """Of one row each, with the settings of the votes' database, by one writer on the same disk."""
    connection = _sqlite(str(folder / "bare.sqlite"))
    connection.execute("CREATE TABLE votes (vote PRIMARY KEY, whole)")
    number, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        connection.execute("INSERT INTO votes VALUES (?, ?)", (uuid.uuid4().hex, "x" * 200))
        number += 1
    return round(number / (time.perf_counter() - begun), 1)


def raw_pictures(store: Path, number: int) -> dict[str, float]:
    """Milliseconds to read a picture's bytes at its place in the tar."""
    from variorum.edition.editions import resolve
    from variorum.edition.shards import sample_at
    from variorum.edition.store import Store
    from variorum.reports.rows import edition_rows

    opened = Store(str(store), writable=False)
    manifest = resolve("real@1.0.0", opened)
    rows = edition_rows(manifest, opened).to_pylist()
    places = [(opened.path(manifest.shards[row["group"]][row["shard"]], check=False), row["start"]) for row in rows]
    found = []
    for path, start in places:
        size = len(next(data for name, data in sample_at(path, start)[1].items() if name in ("jpg", "png", "webp")))
        found.append((path, start, size))

    def read(path: Path, start: int, size: int) -> None:
        with path.open("rb") as file:
            file.seek(start + 512)
            file.read(size)

    taken = [timed(partial(read, *one))[0] for one in found * (number // len(found) + 1)]
    return quantiles(taken)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Milliseconds of a call, and what it returns."""
    begun = time.perf_counter()
    found = work()
    return 1000 * (time.perf_counter() - begun), found


def quantiles(values: list[float]) -> dict[str, float]:
    """Median, 95th percentile and maximum."""
    if not values:
        return {}
    ordered = sorted(values)
    return {
        "p50": round(statistics.median(ordered), 2),
        "p95": round(ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))], 2),
        "max": round(ordered[-1], 2),
    }


if __name__ == "__main__":
    if sys.argv[1:2] == ["naive"]:
        serve_naive(sys.argv[2])
    else:
        main()
