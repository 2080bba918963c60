"""No pixel of a restricted or withheld picture passes an exit, and every command of the command line is an exit or not.

An edition has pictures of random patches: ordinary ones, a restricted one, one that a verdict withholds, and one that
the build withheld. Whatever a command writes is searched for each of them, also shrunk and in archives.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import typer
from pixel_search import found, shows
from plausible_report import report
from served_panels import Browser, application, make_panel
from typer.testing import CliRunner

from variorum.api.edition import Edition
from variorum.edition.editions import resolve
from variorum.edition.store import Store
from variorum.exchange.formats import FORMATS
from variorum.flows.cli import app
from variorum.pipeline import Job, build, curate, release
from variorum.pixels import decode, encode_png
from variorum.reports.given import Sealed
from variorum.reports.profile.thumbnails import thumbnails
from variorum.reports.rows import edition_rows
from variorum.schemas.recipe import Recipe

NAMES = ("plain", "other", "restricted", "judged", "gated")
"""Two ordinary ones, one that is restricted, one that a verdict withholds, one that the build withheld."""
KEPT = ("restricted", "judged", "gated")
COMPONENTS = '''
import numpy as np

from variorum.pixels import encode_png
from variorum.schemas.annotations import Annotations, Object
from variorum.schemas.component import ClassInfo, Generator, Source
from variorum.schemas.sample import Sample, source_id


class Patches(Source):
    """Random patches, a picture a name."""

    label: str = "patch"

    def pin(self, ctx):
        return "1"

    def size(self, ctx):
        return 5

    def classes(self, ctx):
        return (ClassInfo("patch", "patch"), ClassInfo("other", "other"))

    def annotated(self, ctx):
        return True

    def read(self, start, stop, ctx):
        for n in range(start, stop):
            name = ("plain", "other", "restricted", "judged", "gated")[n]
            picture = np.random.default_rng(n).integers(0, 256, (8, 8, 3), np.uint8).repeat(12, 0).repeat(12, 1)
            metadata = {"restricted": True} if name == "restricted" else {}
            yield Sample(source_id("p", name), encode_png(picture), (self.label,), origin=name, licence="CC0-1.0",
                         metadata=metadata, annotations=Annotations((Object((8, 8, 40, 40), "patch"),)))
'''
GATE = '''
from variorum.schemas.component import Generator


class Gate(Generator):
    """Withholds one picture."""

    keeps_objects = True

    def edit(self, sample, of):
        yield sample.withheld("unsafe") if sample.origin == "gated" else sample
'''
SAYS_NOTHING = {
    "run": "calls build, curate, release, evaluate and card, whose only picture is the sheet of card",
    "demo": "calls run on pictures of packages",
    "plan": "makes no picture",
    "build": "fills the store",
    "curate": "writes tables into the store",
    "release": "fills the store",
    "evaluate": "writes figures; what components give beside a card is asked of `Sealed`",
    "new": "writes a recipe",
    "serve": "calls run",
    "report": "asks `thumbnails`, which is walked below",
    "leaderboard": "shows figures",
    "rollback": "moves a link",
    "verify": "writes text",
    "versions": "writes text",
    "gc": "removes files",
    "known": "writes hashes",
    "blocklist": "writes hashes",
    "pull": "fills the store",
    "votes": "writes answers",
    "components": "writes text",
    "doctor": "its trial makes pictures of packages",
    "keys": "makes a key",
}
"""Commands that emit no pixels, with the reason."""
OTHERS = {"imagenet_e", "unsafebench", "waves"}
"""Formats for editions of one kind, which refuse this one; they write what `Selection.pictures` gives, like all."""


def picture(name: str) -> Any:
    rng = np.random.default_rng(NAMES.index(name))
    return rng.integers(0, 256, (8, 8, 3), np.uint8).repeat(12, 0).repeat(12, 1)


def leaked(folder: Path) -> dict[str, list[str]]:
    """By name, where a picture lies below a folder."""
    return {name: where for name in NAMES if (where := found(folder, picture(name), encode_png(picture(name))))}


def check(folder: Path) -> None:
    """Ordinary pictures come through, and no other."""
    there = leaked(folder)
    assert not {name: there[name] for name in KEPT if name in there}
    assert {"plain", "other"} <= set(there)


@pytest.fixture(scope="module", params=["1.0.0", "1.0.0-r1"])
def edition(request, tmp_path_factory) -> Iterator[tuple[str, Path]]:
    """Name and store of an edition with a verdict that isn't carried out yet, and of its release."""
    folder = tmp_path_factory.mktemp("exits")
    (folder / "patches.py").write_text(COMPONENTS)
    (folder / "gate.py").write_text(GATE)
    (folder / "out.csv").write_text("origin\njudged\n")
    recipe: dict[str, Any] = {
        "dataset": "mixed",
        "version": "1.0.0",
        "source": {"name": str(folder / "patches.py")},
        "generate": [{"name": str(folder / "gate.py")}],
        "curate": [{"name": "opt_out", "list": str(folder / "out.csv")}],
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VARIORUM_CACHE", str(folder / "cache"))
        (folder / "mixed.yaml").write_text(json.dumps(recipe))
        job = Job(Recipe.parse(recipe), str(folder / "store"))
        manifest = build(job)
        judged = curate(job, manifest)
        if request.param.endswith("r1"):
            release(job, manifest, *judged)
        yield f"mixed@{request.param}", folder / "store"


def ask(*words: object) -> str:
    """The output of a command that succeeds."""
    ended = CliRunner().invoke(app, [str(word) for word in words])
    assert not ended.exit_code, ended.output
    return ended.output


def sheets(store: Path, to: Path) -> None:
    for number, path in enumerate(store.rglob("contact_sheet.png")):
        (to / f"{number}.png").write_bytes(path.read_bytes())


def view(name: str, store: Path, to: Path) -> str:
    return ask("view", name, "--store", store, "--to", to / "page.html", "--pictures", "--no-open")


def export(form: str) -> Callable[[str, Path, Path], str]:
    return lambda name, store, to: ask("export", name, "--as", form, "--store", store, "--to", to / "made")


def show(name: str, store: Path, to: Path) -> None:
    ask("show", name, "--store", store)
    sheets(store, to)


def notebook(name: str, store: Path, to: Path) -> None:
    (to / "cell.html").write_text(Edition(resolve(name, Store(str(store))), Store(str(store)))._repr_html_())


WALKS: dict[str, Callable[[str, Path, Path], str | None]] = {
    "view": view,
    "show": show,
    "notebook": notebook,
    **{f"export {form}": export(form) for form in ("coco", *FORMATS) if form not in OTHERS},
}
ELSEWHERE = {"card": "test_cards", "publish": "test_publish", "review": "test_review", "diff": "test_differences"}
"""Commands that a test of their own walks."""


def test_every_command_is_walked_or_emits_no_pixels():
    commands = set(typer.main.get_command(app).commands)
    walked = {walk.split()[0] for walk in WALKS} - {"notebook"} | set(ELSEWHERE)
    assert commands == walked | set(SAYS_NOTHING)
    assert not walked & set(SAYS_NOTHING)
    assert all(name in globals() for name in ELSEWHERE.values())


@pytest.mark.parametrize("walk", sorted(WALKS))
def test_exits(edition, walk, tmp_path):
    said = WALKS[walk](*edition, tmp_path)
    check(tmp_path)
    assert said is None or "1 restricted (may not leave this machine) left out" in " ".join(said.split())


def test_cards(edition, tmp_path):
    _, store = edition
    ask("card", store.parent / "mixed.yaml", "--store", store)
    sheets(store, tmp_path)
    check(tmp_path)


def test_differences(edition, tmp_path):
    """To an edition in which the same pictures have another label, so that all of them are changes."""
    name, store = edition
    recipe = json.loads((store.parent / "mixed.yaml").read_text()) | {"version": "2.0.0", "curate": []}
    recipe["source"]["label"] = "other"
    build(Job(Recipe.parse(recipe), str(store)))
    ask("diff", name, "mixed@2.0.0", "--store", store, "--to", tmp_path / "page.html")
    check(tmp_path)


def test_publish(edition):
    name, store = edition
    ended = CliRunner().invoke(app, ["publish", name, "lab/mixed", "--store", str(store), "--dry-run"])
    said = " ".join(ended.output.split())
    assert ended.exit_code == 1
    assert "1 restricted (may not leave this machine)" in said
    assert "publish a release in which a rule or an opt_out list withholds them" in said


def test_reports(edition):
    store = Store(str(edition[1]))
    manifest, plain = resolve(edition[0], store), report()
    rows = edition_rows(manifest, store, ("id", "origin")).to_pylist()
    ids = [row["id"] for row in rows]
    shown = []
    for row in plain.rows:
        pictures = [one.model_copy(update={"id": ids[at % 5]}) for at, one in enumerate(row.pictures)]
        shown.append(row.model_copy(update={"pictures": tuple(pictures)}))
    (key,) = {one.edition for row in shown for one in row.pictures}
    made = thumbnails(plain.model_copy(update={"rows": tuple(shown)}), {key: (manifest, store)})
    origins = {row["id"]: row["origin"] for row in rows}
    assert {origins[one] for _, one in made} == {"plain", "other"}


def test_what_components_draw(edition):
    """They get a grey picture of the same size."""
    store = Store(str(edition[1]))
    manifest = resolve(edition[0], store)
    rows = edition_rows(manifest, store, ("id", "sha256", "origin"))
    sealed = Sealed(manifest, rows, store)
    seen = {row["origin"]: decode(sealed.sample(row).image) for row in rows.to_pylist() if row["shard"] >= 0}
    assert {name for name, pixels in seen.items() if shows(pixels, picture(name))} == {"plain", "other"}
    assert seen["restricted"].shape == (96, 96, 3)


@pytest.mark.parametrize("afar", [False, True])
@pytest.mark.parametrize("edition", ["1.0.0"], indirect=True)  # nobody is asked about a release
def test_review(edition, afar):
    """Withheld pictures are shown to nobody; restricted ones on this machine only, and blurred until asked for."""
    store = Store(str(edition[1]))
    manifest = resolve(edition[0], store)
    origins = {row["origin"]: row["id"] for row in edition_rows(manifest, store, ("id", "origin")).to_pylist()}
    panel = make_panel(manifest, store, f"panel-{afar}".lower(), kinds=("safe",), votes=1)
    browser = Browser(application(panel, afar=afar), "ann")
    shown = {"plain", "other", *(() if afar else ("restricted",))}
    for name, identity in origins.items():
        for place in ("pictures", "thumbnails", "blurred"):
            answer = browser.get(f"/{place}/{identity}")
            assert answer.status_code == (200 if name in shown else 404), (name, place)
            if name in shown:
                assert shows(decode(answer.content), picture(name)) == (place != "blurred")
    tasks = browser.post("/api/next", {"number": 9, "holding": [], "kind": "safe"}).json()["tasks"]
    told = {next(name for name in NAMES if origins[name] == task["picture"]["id"]): task for task in tasks}
    assert set(told) == shown
    for name, task in told.items():
        assert task["veiled"] == (name == "restricted")
        first = "/blurred/" if name == "restricted" else "/thumbnails/"
        assert task["picture"]["thumbnail"].startswith(first)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
@pytest.mark.parametrize("edition", ["1.0.0"], indirect=True)
def test_the_command_knows_who_can_reach_it(edition, host):
    store = Store(str(edition[1]))
    rows = edition_rows(resolve(edition[0], store), store, ("id", "origin")).to_pylist()
    command = [
        Path(sys.executable).with_name("variorum"),
        "review",
        edition[0],
        "--store",
        edition[1],
        "--kind",
        "safe",
    ]
    command += ["--name", f"at-{host[0]}", "--host", host, "--port", 0, "--no-open", "--no-confirm", "--key", "k" * 24]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    words = [str(word) for word in command]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment) as one:
        try:
            assert one.stdout
            said = "".join(iter(lambda: line if "Ctrl-C" not in (line := one.stdout.readline()) else "", ""))
            joined = re.search(r"reviewers:\s+(http://[^/\s]+:(\d+))/", said)
            assert joined, said
            headers = {"Origin": joined[1], "Host": joined[1].removeprefix("http://")}
            with httpx.Client(base_url=f"http://127.0.0.1:{joined[2]}", headers=headers) as browser:
                answer = browser.post("/join", json={"name": "ann", "key": "k" * 24})
                assert answer.status_code == 200, answer.text
                cookies = {"Cookie": answer.headers["Set-Cookie"].split(";")[0]}
                shown = {
                    row["origin"]
                    for row in rows
                    if browser.get(f"/pictures/{row['id']}", headers=cookies).status_code == 200
                }
        finally:
            one.kill()
    assert shown == {"plain", "other", *(("restricted",) if host == "127.0.0.1" else ())}
    assert ("Restricted pictures are left out" in said) == (host != "127.0.0.1")
