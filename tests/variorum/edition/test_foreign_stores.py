"""A store that somebody else made to do harm: it is noticed, and nothing outside of it is read, written or removed."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_store import one_line, problems, rewrite, snapshot
from typer.main import get_command

from variorum.edition.editions import resolve
from variorum.edition.store import Store
from variorum.edition.verify import verify
from variorum.flows.cli import app
from variorum.schemas.errors import CorruptShard, VariorumError

PROGRAM = get_command(app)
PATHS = ("../../../precious", "/etc/passwd", "..", "a/../../../precious", "precious\0", "~/precious")
COMMANDS = (
    ("show",),
    ("show", "small"),
    ("show", "small@1.0.0-r1", "--json"),
    ("verify", "small@1.0.0"),
    ("verify", "small@1.0.0-r1", "--load"),
    ("diff", "small@1.0.0", "small@1.0.0-r1"),
    ("versions", "small"),
    ("gc", "--unfinished", "--older", "0"),
    ("view", "small@1.0.0-r1", "--no-open"),
    ("view", "small@1.0.0", "small@1.0.0-r1", "--no-open"),
    ("blocklist", "small@1.0.0", "{work}/list.parquet"),
    ("plan", "{work}/small.yaml"),
    ("card", "{work}/small.yaml"),
    ("curate", "{work}/small.yaml", "--runner", "threads"),
    ("release", "{work}/small.yaml", "--runner", "threads"),
    ("evaluate", "{work}/small.yaml", "--runner", "threads"),
    ("rollback", "small", "--to", "1"),
    ("run", "{work}/small.yaml", "--runner", "threads"),
    ("build", "{work}/reading.yaml", "--runner", "threads"),
    ("gc", "--unfinished", "--older", "0", "--delete"),
)


def copied(made: Path, folder: Path) -> Path:
    """A copy of the store below a folder. Objects are links, so a test replaces them and never changes one."""

    def copy(source: str, target: str) -> None:
        (os.link if source.endswith((".tar", ".parquet", ".png")) else shutil.copy2)(source, target)

    shutil.copytree(made / "store", folder / "far" / "away" / "store", copy_function=copy)
    return folder / "far" / "away" / "store"


@pytest.fixture(scope="module")
def tampered(made, tmp_path_factory) -> Path:
    """A copy of the store for tests that change its manifests alone and put them back."""
    return copied(made, tmp_path_factory.mktemp("tampered"))


@pytest.fixture
def store(made, tmp_path) -> Path:
    """A copy of the store to be tampered with."""
    return copied(made, tmp_path)


def manifest_of(store: Path, name: str) -> Path:
    return store.joinpath("editions", *name.split("@"), "manifest.json")


def test_the_store_is_whole(made):
    for name in ("small@1.0.0", "small@1.0.0-r1", "other@1.0.0"):
        assert problems(made / "store", name) == []
    manifest = resolve("small@1.0.0-r1", Store(str(made / "store"), writable=False))
    assert {"quarantine", "hall/train", "street_5/test"} & set(manifest.shards)
    assert manifest.plan
    assert manifest.ledger.members == {"note.txt": "bright.note"}


# ── what is tampered with is noticed ─────────────────────────────────────────────────────────────────────────────────


def at(*path: Any, to: Any) -> Callable[[Any], None]:
    """A change of the value at a path; `to` may be a function of the present value."""

    def change(content: Any) -> None:
        for part in path[:-1]:
            content = content[next(iter(content))] if part == "first" else content[part]
        last = next(iter(content)) if path[-1] == "first" else path[-1]
        content[last] = to(content[last]) if callable(to) else to

    return change


def swapped(one: str, other: str) -> Callable[[Any], None]:
    def change(content: Any) -> None:
        content["shards"][one], content["shards"][other] = content["shards"][other], content["shards"][one]

    return change


def groups(content: Any) -> list[str]:
    return [group for group in content["shards"] if group != "quarantine"]


def swap_groups(content: Any) -> None:
    one, other = groups(content)[:2]
    swapped(one, other)(content)


def rename_group(content: Any) -> None:
    content["shards"]["cellar/train"] = content["shards"].pop(groups(content)[0])


def count(content: Any) -> None:
    counts = content["counts"]["original"]
    counts["accepted"] += 1


NUMBER = r"number of at|less than|greater than|whole number"
BASE: list[tuple[str, Callable[[Any], Any], str]] = [
    (
        "samples of a shard: 10^12",
        at("shards", "first", 0, "samples", to=10**12),
        "pictures, and the manifest says 1000",
    ),
    ("samples of a shard: one more", at("shards", "first", 0, "samples", to=lambda n: n + 1), "and the manifest says"),
    ("samples: below 0", at("shards", "first", 0, "samples", to=-1), "samples"),
    ("samples: 2^53", at("shards", "first", 0, "samples", to=2**53), "samples"),
    ("samples: text", at("shards", "first", 0, "samples", to="3"), "samples"),
    ("samples: true", at("shards", "first", 0, "samples", to=True), "samples"),
    ("size of a shard", at("shards", "first", 0, "size", to=lambda n: n + 512), "bytes should be"),
    ("rows of a table", at("rows", 0, "samples", to=lambda n: n + 1), "rows, and"),
    ("format 99", at("format", to=99), "format"),
    ("format 3", at("format", to=3), "of format 3"),
    ("no units", lambda m: m.update(units=[], rows=[], shards={}), "units"),
    ("a unit less", lambda m: m["units"].pop(), "units"),
    ("a unit twice", lambda m: m["units"].__setitem__(0, m["units"][1]), "twice"),
    ("a unit's name", at("units", 0, to="../x"), "units"),
    ("units swapped", lambda m: m["units"].reverse(), "README|current"),
    ("rows swapped between units", lambda m: m["rows"].reverse(), "no row of the unit says so"),
    ("a table twice", lambda m: m["rows"].__setitem__(0, m["rows"][1]), "no row of the unit says so"),
    ("shards of two groups swapped", swap_groups, "no row of the unit says so|no row is about|shards"),
    ("another group", rename_group, "no row|more units|cellar"),
    ("a shard of another unit", at("shards", "first", 0, "unit", to=lambda n: 1 - n), "shard"),
    ("a shard of no unit", at("shards", "first", 0, "unit", to=7), "belongs to none"),
    ("a shard without unit", lambda m: next(iter(m["shards"].values()))[0].pop("unit"), "belongs to none"),
    ("no shard in a group", at("shards", "first", to=[]), "shards"),
    ("classes: other names", lambda m: m.update(classes=[["circle", "cat"], ["square", "dog"]]), "README|current"),
    ("classes: other ids", lambda m: m.update(classes=[["square", "square"], ["circle", "a circle"]]), "class number"),
    ("classes: none", lambda m: m.update(classes=[]), "class|label"),
    ("classes: one twice", lambda m: m["classes"].__setitem__(1, m["classes"][0]), "two classes"),
    ("counts", count, "numbers of pictures"),
    ("counts: another status", lambda m: m["counts"]["original"].update(hidden=3), "counts"),
    ("counts: dropped", lambda m: m["counts"]["original"].update({"dropped:x": 0}), "dropped"),
    ("licences", lambda m: m.update(licences={"CC0-1.0": sum(m["licences"].values())}), "by licence"),
    ("sources: 10^12", at("sources", to=10**12), "sources"),
    ("sources: one less", at("sources", to=lambda n: n - 1), "README|current"),
    ("edited sources", at("sources_edited", to=0), "edited sources"),
    ("members: one more", lambda m: m["members"].append("zip"), "members"),
    ("members: one less", lambda m: m["members"].remove("cls"), "members"),
    ("members: an ending", lambda m: m["members"].insert(0, "../x"), "members"),
    ("profile", at("profile", to="hub"), "README|current"),
    ("models", lambda m: m["models"].update(segmenter="another@sha256:00"), "README|current"),
    ("filters", lambda m: m["filters"].append("another@sha256:00"), "README|current"),
    ("fingerprint", at("fingerprint", to="0" * 64), "README|current"),
    ("recipe: dataset", at("recipe", "dataset", to="other"), "recipe"),
    ("recipe: version", at("recipe", "version", to="2.0.0"), "recipe"),
    ("recipe: seed", at("recipe", "seed", to=7), "README|current"),
    ("recipe: size of units", at("recipe", "samples_per_shard", to=2), "units of 2"),
    ("recipe: masters", at("recipe", "masters", to="png"), "the recipe makes PNGs"),
    ("recipe: configs", lambda m: m["recipe"].pop("configs"), "configs"),
    ("recipe: splits", at("recipe", "splits", to={"validation": 1.0}), "splits"),
    ("recipe: source", at("recipe", "source", "name", to="<img src=x>"), "recipe"),
    ("recipe: deep", at("recipe", "source", to=json.loads("[" * 90 + "]" * 90)), "nested"),
    ("recipe: infinite", at("recipe", "seed", to=float("inf")), "not a manifest"),
    ("plan: none", at("plan", to=None), "plan.parquet"),
    ("plan: rows", at("plan", "samples", to=99), "rows, and 99"),
    ("a ledger", at("ledger", to={}), "ledger"),
    ("another dataset", at("dataset", to="../../x"), "dataset"),
    ("another version", at("version", to="1.0.0/../../x"), "version"),
    ("an unknown field", lambda m: m.update(extra=1), "extra"),
]
RELEASED: list[tuple[str, Callable[[Any], Any], str]] = [
    ("ledger: counts", lambda m: m["ledger"]["counts"]["drop"].update(too_bright=2), "numbers of verdicts"),
    ("ledger: figures", at("ledger", "figures", "bright", "darkest", to=0.0), "fingerprint"),
    ("ledger: models", lambda m: m["ledger"]["models"].update(encoder="another"), "fingerprint"),
    ("ledger: filters", lambda m: m["ledger"]["models"].update(encoder="another"), "filters lack"),
    ("ledger: edition", at("ledger", "edition", to="0" * 64), "fingerprint"),
    ("ledger: steps", lambda m: m["ledger"]["curate"].pop(), "fingerprint"),
    ("ledger: an action", lambda m: m["ledger"]["counts"].update(burn={"x": 1}), "counts"),
    ("ledger: a column", at("ledger", "members", "note.txt", to="bright.`x`"), "members"),
    ("ledger: no table", at("ledger", "members", "note.txt", to="nobody.x"), "no table"),
    ("ledger: copies", at("ledger", "copies", to=["nobody.x"]), "no table"),
    ("ledger: a step's name", lambda m: m["ledger"]["figures"].update({"../x": {}}), "figures"),
    ("ledger: none", at("ledger", to=None), "ledger"),
    ("ledger: verdicts", lambda m: m["ledger"].update(verdicts=m["rows"][0]), "verdicts"),
]


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        *(pytest.param("small@1.0.0", change, says, id=what) for what, change, says in BASE),
        *(pytest.param("small@1.0.0-r1", change, says, id=what) for what, change, says in RELEASED),
    ],
)
def test_a_manifest_that_was_tampered_with_is_noticed(tampered, name, change, says):
    place = manifest_of(tampered, name)
    kept, known = place.read_text(), resolve(name, Store(str(tampered), writable=False)).digest()
    try:
        try:
            rewrite(place, change)
        except TypeError:  # such a value has no digest
            rewrite(place, change, restate=False)
        found = problems(tampered, name)
        assert any(re.search(says, line) for line in found), found
        assert all(one_line(line) for line in found)
        assert any("digest" in line or "manifest.json" in line for line in problems(tampered, name, known))
    finally:
        place.write_text(kept)


def test_a_record_without_a_digest_is_refused(store):
    """Only those of format 3 never had one."""
    path = manifest_of(store, "small@1.0.0")
    rewrite(path, lambda _: None, restate=False)
    with pytest.raises(CorruptShard, match=r"manifest\.json: this manifest states no digest of its content"):
        resolve("small@1.0.0", Store(str(store), writable=False))


def test_a_manifest_that_was_changed_without_its_digest_is_not_even_read(store):
    path = manifest_of(store, "small@1.0.0")
    path.write_text(path.read_text().replace("a circle", "a cat"))
    assert ["has changed" in line for line in problems(store, "small@1.0.0")] == [True]


def test_only_a_digest_from_elsewhere_tells_an_edition_from_one_that_was_rewritten_to_fit(store):
    name = "small@1.0.0"
    known = resolve(name, Store(str(store), writable=False)).digest()
    rewrite(manifest_of(store, name), lambda m: m["classes"][0].__setitem__(1, "a cat"))
    opened = Store(str(store), writable=False)
    manifest = resolve(name, opened)
    card = manifest_of(store, name).with_name("README.md")
    card.write_text(card.read_text().replace(known, manifest.digest()))
    (manifest_of(store, name).parent / "current.json").unlink()
    assert verify(manifest, opened) == []
    assert verify(manifest, opened, digest=manifest.digest().upper()) == []
    for expected, says in ((known, "another edition"), (known[:16], "64 hexadecimal digits"), ("x\x1b" * 99, "64")):
        (line,) = verify(manifest, opened, digest=expected)
        assert says in line
        assert one_line(line)


def replace_with_link(path: Path, target: Path) -> None:
    path.unlink()
    path.symlink_to(target)


def swap_data(folder: Path) -> None:
    one, other = sorted(folder.glob("data/*/*.tar"))[:2]
    one.rename(folder / "x")
    other.rename(one)
    (folder / "x").rename(other)


def other_plan(folder: Path) -> None:
    (folder / "plan.parquet").unlink()
    shutil.copy(folder.parents[1] / "other" / "1.0.0" / "plan.parquet", folder)


FILES: list[tuple[str, Callable[[Path], Any], str]] = [
    ("data swapped", swap_data, "content isn't the shard's"),
    (
        "data: one more",
        lambda f: (f / "data" / "evil-00000-of-00001.tar").write_bytes(b"x"),
        "no shard of this edition",
    ),
    ("data: one less", lambda f: next(f.glob("data/*/*.tar")).unlink(), "missing"),
    ("data: a link", lambda f: replace_with_link(next(f.glob("data/*/*.tar")), Path("/etc/passwd")), "no regular file"),
    ("data: a pipe", lambda f: (next(f.glob("data/*/*.tar")).unlink(), os.mkfifo(f / "data" / "x.tar")), "no regular"),
    ("plan of another", lambda f: other_plan(f), "content isn't"),
    ("card of another", lambda f: shutil.copy(f.parents[1] / "other" / "1.0.0" / "README.md", f), "the card names"),
    ("card without digest", lambda f: (f / "README.md").write_text("# x"), "the card names the digest none"),
    ("current of none", lambda f: (f / "current.json").write_text('{"release": 9}'), "current.json"),
    ("current of a path", lambda f: (f / "current.json").write_text('{"release": "../../x"}'), "current.json"),
]


@pytest.mark.parametrize(("change", "says"), [pytest.param(change, says, id=what) for what, change, says in FILES])
def test_files_beside_the_manifest_that_were_tampered_with_are_noticed(store, change, says):
    change(manifest_of(store, "small@1.0.0").parent)
    found = problems(store, "small@1.0.0")
    assert any(says in line for line in found), found
    assert all(one_line(line) for line in found)


def test_the_plan_of_another_edition_is_noticed(store):
    plan = json.loads(manifest_of(store, "other@1.0.0").read_text())["plan"]
    rewrite(manifest_of(store, "small@1.0.0"), at("plan", to=plan))
    # picture 4 and 5 differ, and the other edition has fewer: its requests are some of this one's
    assert problems(store, "small@1.0.0")
    plan = json.loads(manifest_of(store, "small@1.0.0").read_text())["rows"][0]
    rewrite(manifest_of(store, "other@1.0.0"), at("plan", to=plan))
    assert problems(store, "other@1.0.0")


# ── nothing outside is touched ───────────────────────────────────────────────────────────────────────────────────────


def strings(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of all texts of a JSON value."""
    if isinstance(value, str):
        return [path]
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, item in pairs for found in strings(item, (*path, key))]


@pytest.fixture
def work(made, tmp_path, monkeypatch) -> Path:
    """A folder with precious files at the places that hostile stores name, and the recipes."""
    monkeypatch.setenv("VARIORUM_CACHE", str(made / "cache"))
    monkeypatch.chdir(tmp_path)
    for name in ("asked.py", "small.yaml", "other.yaml"):
        shutil.copy(made / name, tmp_path)
    (tmp_path / "planted.py").write_text("open('ran', 'w').close()\n")
    text = (tmp_path / "small.yaml").read_text().replace(str(made), str(tmp_path))
    (tmp_path / "small.yaml").write_text(text)
    source = {"name": "edition", "edition": "small@1.0.0", "store": str(tmp_path / "far" / "away" / "store")}
    reading = {"dataset": "reading", "version": "1.0.0", "source": source}
    (tmp_path / "reading.yaml").write_text(json.dumps(reading))
    for folder in (tmp_path, tmp_path / "far", tmp_path / "far" / "away", tmp_path / "precious"):
        folder.mkdir(exist_ok=True)
        for ending in ("", ".tar", ".parquet", ".json", "-00000-of-00001.tar"):
            (folder / f"gem{ending}").write_bytes(b"gem" * 100)
    return tmp_path


def ran(arguments: tuple[str, ...], store: Path, work: Path) -> str:
    """Run a command in this process; returns its error, which is one line, or `""`."""
    words = [word.format(work=work) for word in arguments]
    target = work / "mine" if "reading" in "".join(words) else store
    said = list[str]()
    try:
        code = PROGRAM.main([*words, "--store", str(target)], prog_name="variorum", standalone_mode=False)
        assert code in (None, 0, 1), words
    except VariorumError as error:
        said.append(str(error))
    assert all(map(one_line, said)), (words, said)
    return "".join(said)


def all_commands(store: Path, work: Path) -> list[str]:
    """Run every command on a store; what they say. Nothing outside of the store may have changed then."""
    before = snapshot(work, store)
    said = [ran(arguments, store, work) for arguments in COMMANDS]
    for mine in (work / "mine", work / "list.parquet"):
        shutil.rmtree(mine) if mine.is_dir() else mine.unlink(missing_ok=True)
    assert snapshot(work, store) == before
    return said


def test_every_command_works_on_the_store_as_it_was_made(store, work):
    assert all_commands(store, work) == [""] * len(COMMANDS)


def link(store: Path, place: str, work: Path) -> None:
    """Put a link that leads out of the store in the place of a file or folder, whose content moves there."""
    path, target = next(store.glob(place)), work / "precious" / "moved"
    if path.is_dir():
        shutil.copytree(path, target)  # a moved file would be a hard link of an object
        shutil.rmtree(path)
        (target / "gem-00000-of-00001.tar").write_bytes(b"gem")
    else:
        shutil.copy(path, target)
        path.unlink()
    path.symlink_to(target)


@pytest.mark.parametrize(
    "place",
    [
        pytest.param("objects", marks=pytest.mark.slow),
        pytest.param("editions", marks=pytest.mark.slow),
        pytest.param("editions/small", marks=pytest.mark.slow),
        pytest.param("editions/small/1.0.0", marks=pytest.mark.slow),
        "editions/small/1.0.0/data",
        pytest.param("editions/small/1.0.0/data/hall", marks=pytest.mark.slow),
        pytest.param("editions/small/1.0.0/ledgers", marks=pytest.mark.slow),
        "units",
        pytest.param("measures", marks=pytest.mark.slow),
        pytest.param("tmp", marks=pytest.mark.slow),
        pytest.param("objects/*.tar", marks=pytest.mark.slow),
        "objects/*.parquet",
        "editions/small/1.0.0/README.md",
        pytest.param("editions/small/1.0.0/plan.parquet", marks=pytest.mark.slow),
    ],
)
def test_links_that_lead_out_of_the_store_are_not_followed_for_writing(store, work, place):
    link(store, place, work)
    all_commands(store, work)


@pytest.mark.parametrize("path", PATHS)
def test_no_text_of_a_manifest_leads_out_of_the_store(store, work, path):
    before = snapshot(work, store)
    place = manifest_of(store, "small@1.0.0-r1")
    kept, opened = place.read_text(), Store(str(store), writable=False)
    said = list[str]()
    for where in strings(json.loads(kept)):
        rewrite(place, at(*where, to=path))
        try:
            manifest = resolve("small@1.0.0-r1", opened)
        except VariorumError as error:
            said.append(str(error))
        else:
            assert {manifest.dataset, manifest.version} == {"small", "1.0.0-r1"}
    place.write_text(kept)
    assert snapshot(work, store) == before
    assert len(said) > 40
    assert all(map(one_line, said))


PLANT = {"name": "./planted.py", "file": "planted.py", "model": "module:planted.py:s"}
PLANTED = {
    "source": {**PLANT, "name": "planted"},
    "generate": [{**PLANT, "name": "planted"}],
    "curate": [PLANT],
    "evaluate": [PLANT],
    "card": {"template": "planted.md.j2", "title": "{{ cycler.__init__.__globals__.os.mkdir('ran') }}"},
}
HOSTILE: dict[str, Callable[[Path], Any]] = {
    "rows outside": lambda s: rewrite(
        manifest_of(s, "small@1.0.0"), at("rows", 0, to={"sha256": "../../../gem", "size": 300, "samples": 1})
    ),
    "shard outside": lambda s: rewrite(
        manifest_of(s, "small@1.0.0"), at("shards", "first", 0, "sha256", to="../../../gem")
    ),
    "name outside": lambda s: rewrite(
        manifest_of(s, "small@1.0.0"), lambda m: m.update(dataset="../../../precious", version="gem")
    ),
    "ledger outside": lambda s: rewrite(
        s / "editions/small/1.0.0/ledgers/0001.json", lambda m: m["verdicts"].update(sha256="../../../gem")
    ),
    "pointers outside": lambda s: [
        path.write_text(json.dumps({"release": "../../x", "ledger": "../../x", "of": "../../gem"}))
        for path in (*s.glob("curations/*"), s / "editions/small/1.0.0/current.json")
    ],
    "receipts outside": lambda s: [
        rewrite(path, lambda m: m["rows"].update(sha256="../../../gem")) for path in s.glob("units/*")
    ],
    "measures outside": lambda s: [
        rewrite(path, lambda m: [one.update(sha256="../../../gem") for one in m.get("tables", {"": m}).values()])
        for path in s.glob("measures/*")
    ],
    "source outside": lambda s: (s / "editions/small/1.0.0/source.txt").write_text(
        "x path=/etc/passwd \x1b[2J\n\n" * 9
    ),
    "names": lambda s: [
        (s / "editions" / "small" / name).mkdir()
        or (s / "editions" / "small" / name / "manifest.json").write_text("{}")
        for name in ("1.0.0-rx", "1.0.0-r" + "9" * 200, "\x1b[2J", "...", "1.0.0-r0", "9.9.9")
    ],
    "ledgers": lambda s: [
        (s / "editions/small/1.0.0/ledgers" / name).write_text("{}")
        for name in ("x.json", "-1.json", "9" * 200 + ".json")
    ],
    "code in manifests": lambda s: [
        rewrite(manifest_of(s, name), lambda m: m["recipe"].update(PLANTED))
        for name in ("small@1.0.0", "small@1.0.0-r1")
    ],
    "code in a ledger": lambda s: rewrite(
        s / "editions/small/1.0.0/ledgers/0001.json", lambda m: m.update(curate=PLANTED["curate"])
    ),
    "code in names": lambda s: [
        shutil.copy(path, path.with_name(f"evaluation-{name}.json"))
        for path in s.glob("editions/small/*/evaluation-*.json")
        for name in ("planted.py", "planted", "variorum.planted")
    ],
}


def blocked(path: Path) -> None:
    """A pipe in the place of a file: who opens it waits for ever."""
    path.unlink()
    os.mkfifo(path)


BESIDE = (
    "1.0.0/current.json",
    "1.0.0/source.txt",
    "1.0.0/README.md",
    "1.0.0-r1/README.md",
    "1.0.0-r1/contact_sheet.png",
)
HOSTILE["pipes"] = lambda s: (
    [blocked(s / "editions" / "small" / name) for name in BESIDE]
    + [blocked(path) for path in (*s.glob("units/*"), *s.glob("measures/*"), *s.glob("curations/*"))]
)
HOSTILE["endless"] = lambda s: replace_with_link(manifest_of(s, "small@1.0.0-r1"), Path("/dev/zero"))


MORE = ("shard outside", "name outside", "ledger outside", "measures outside", "source outside", "ledgers", "endless")
"""Those that are much like others."""


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(change, id=what, marks=[pytest.mark.slow] if what in MORE else [])
        for what, change in HOSTILE.items()
    ],
)
def test_every_command_on_a_store_that_names_files_outside(store, work, change):
    change(store)
    all_commands(store, work)
