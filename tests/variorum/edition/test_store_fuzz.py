"""Records, tables and shards of a real store, changed at random: each ends in one clear line, or is the same edition.

VARIORUM_FUZZ multiplies the number of examples; without it there are half as many.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from small_store import one_line, snapshot

from variorum.edition.editions import current, resolve
from variorum.edition.ledgers import read_ledger
from variorum.edition.shards import read_shard
from variorum.edition.store import Store
from variorum.edition.tables import filled_rows
from variorum.edition.verify import verify
from variorum.flows import terminal_editions
from variorum.machine.progress import QUIET
from variorum.reports.card import render_card
from variorum.reports.contact_sheet import contact_sheet
from variorum.reports.diff import diff
from variorum.reports.hub_types import check_header
from variorum.reports.page.diff_page import diff_page
from variorum.reports.page.edition_page import edition_page
from variorum.reports.page.html import write_page
from variorum.reports.page.parts import Parts
from variorum.reports.rows import edition_rows
from variorum.schemas.canonical import digest
from variorum.schemas.errors import VariorumError
from variorum.schemas.manifest import Manifest
from variorum.schemas.recipe import Recipe
from variorum.sources.edition import Edition
from variorum.stages.recipe_files import load_recipe
from variorum.stages.release import added_content, release_units
from variorum.stages.score import curated_table

TIMES = float(os.environ.get("VARIORUM_FUZZ") or 0.25)
BASE, RELEASE = "small@1.0.0", "small@1.0.0-r1"
PRECIOUS = b"precious" * 64
Change = Callable[[st.DataObject, Any], Any]


def fuzz(examples: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """So many examples, and random ones where there are many."""
    return settings(
        max_examples=max(1, int(examples * TIMES)),
        derandomize=TIMES <= 1,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
    )


@pytest.fixture(scope="module")
def place(made, tmp_path_factory) -> Iterator[Path]:
    """The folder of a copy of the store, with precious files around it."""
    folder = tmp_path_factory.mktemp("fuzz")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VARIORUM_CACHE", str(folder / "cache"))
        shutil.copytree(made / "store", folder / "far" / "store")
        shutil.copy(made / "small.yaml", folder)
        for path in (folder, folder / "far"):
            for name in ("x", "x.tar", "x.parquet", "x.json"):
                (path / name).write_bytes(PRECIOUS)
        yield folder / "far" / "store"


@pytest.fixture(scope="module")
def known(place) -> dict[str, str]:
    """Digests of the editions as they were made."""
    return {name: resolve(name, Store(str(place), writable=False)).digest() for name in (BASE, RELEASE)}


# ── what is done with a store ────────────────────────────────────────────────────────────────────────────────────────


def reading(place: Path, recipe: Recipe, said: list[str], *, card: bool) -> None:
    """Do everything that reads a store; each step works, or raises one line."""
    store, found = Store(str(place), writable=False), list[Manifest]()
    for name in (BASE, RELEASE):
        with said_in_one_line(said):
            found.append(resolve(name, store))
    for manifest in found:
        folder = f"{place}/editions/{manifest.dataset}/{manifest.version}"
        steps: list[Callable[..., object]] = [
            lambda m: said.extend(verify(m, store)),
            lambda m: edition_rows(m, store),
            lambda m: terminal_editions.summary(m, store),
            lambda m: current(m, store),
            lambda m: diff(m, found[-1], store),
            lambda m: read_all(Edition(edition=f"{m.dataset}@{m.version}", store=str(place))),
            lambda m: write_to_nowhere(edition_page(m, store, QUIET, most=100, with_map=True, blur=False)),
            lambda m: write_to_nowhere(diff_page((m, store), (found[0], store), most=100, blur=False)),
        ]
        if card:
            steps += [lambda m: contact_sheet(m, store, rows=2, cell=24), lambda m: render_card(recipe, m, store)]
            steps += [lambda m: check_header(folder, m)]  # noqa: B023 - called in this turn of the loop
        for step in steps:
            with said_in_one_line(said):
                step(manifest)
    with said_in_one_line(said):
        base = resolve(BASE, store)
        _, ledger = read_ledger(base, store)
        with said_in_one_line(said):
            curated_table(base, ledger, ["duplicates"], store)
        for unit in release_units(base, ledger, store):
            added_content(ledger, unit, store)
        for info in (*(one for parts in ledger.measured.values() for one in parts), *ledger.scored.values()):
            filled_rows(store, info, "bright.note")


@contextmanager
def said_in_one_line(said: list[str]) -> Iterator[None]:
    try:
        yield
    except VariorumError as error:
        said.append(str(error))


def write_to_nowhere(parts: Parts) -> None:
    write_page(io.BytesIO(), parts.facts, parts.table, *parts.streams(QUIET))


def read_all(source: Edition) -> None:
    for sample in source.read(0, min(source.size(None), 100), None):  # type: ignore[arg-type]
        assert sample.id


@contextmanager
def changed(place: Path, files: dict[Path, bytes]) -> Iterator[None]:
    """The store with these files in the place of others, put back afterwards. Nothing outside may change meanwhile."""
    kept = {path: path.read_bytes() if path.exists() else None for path in files}
    outside = snapshot(place.parents[1], place)
    inside = None
    try:
        for path, content in files.items():
            path.unlink(missing_ok=True)
            path.write_bytes(content)
        inside = snapshot(place)
        yield
        assert snapshot(place) == inside
        assert snapshot(place.parents[1], place) == outside
    finally:
        for path, content in kept.items():
            path.unlink(missing_ok=True)
            if content is not None:
                path.write_bytes(content)


def judge(data: st.DataObject, place: Path, known: dict[str, str], files: dict[Path, bytes]) -> None:
    """Read a changed store. An edition of which nothing is said must be the one that was made."""
    recipe = load_recipe(str(place.parents[1] / "small.yaml"), (), None)
    said: list[str] = []
    with changed(place, files):
        reading(place, recipe, said, card=data.draw(st.integers(0, 4)) == 0)
        if not said:
            store = Store(str(place), writable=False)
            assert {name: resolve(name, store).digest() for name in (BASE, RELEASE)} == known
    assert all(one_line(line) for line in said), said


# ── changes ──────────────────────────────────────────────────────────────────────────────────────────────────────────

DEEP: Any = json.loads("[" * 80 + "]" * 80)
JUNK = st.one_of(
    st.sampled_from([None, True, -1, 0, 1, 2**53, 10**30, -(2**63), 1e308, float("nan"), float("inf"), 0.5]),
    st.sampled_from(
        ["", "../../x", "/etc/passwd", "..", "\x1b[2J\x9b", "\u202egnp", "<img src=x>", "](x)", "a" * 70_000]
    ),
    st.sampled_from(["\ud800", "train", "test", "quarantine", "png", "cls", "0" * 64, "NaN", "`|*{{x}}", "%s", "a\0b"]),
    st.sampled_from([[], {}, DEEP, [[]], {"": 1}, {"a": {"b": []}}, [None], ["x", 1]]).map(deepcopy),  # may be changed
    st.text(max_size=20),
    st.integers(),
)


def nodes(value: Any) -> list[tuple[Any, ...]]:
    """Paths of the values inside of a JSON value, down to eight levels."""
    found, below = list[tuple[Any, ...]](), [((), value)]
    for path, item in below:  # grows while it is read
        pairs = item.items() if isinstance(item, dict) else enumerate(item) if isinstance(item, list) else ()
        if len(path) < 8:
            below += [((*path, key), inner) for key, inner in pairs]
        found += [path] if path else []
    return found


def mutated(data: st.DataObject, value: Any) -> Any:
    """The value with one to three changes: another value, one less, one more, two exchanged."""
    value = json.loads(json.dumps(value))
    for _ in range(data.draw(st.integers(1, 3))):
        paths = nodes(value)
        if not paths:
            return data.draw(JUNK)
        path, other = data.draw(st.sampled_from(paths)), data.draw(st.sampled_from(paths))
        holder, last = held(value, path), path[-1]
        match data.draw(st.sampled_from(["set", "set", "remove", "add", "swap", "rename"])):
            case "set":
                holder[last] = data.draw(JUNK)
            case "remove":
                del holder[last]
            case "add" if isinstance(holder, dict):
                holder[data.draw(st.text(max_size=9))] = data.draw(JUNK)
            case "add":
                holder.append(json.loads(json.dumps(holder[last])))
            case "swap":
                holder[last] = json.loads(json.dumps(held(value, other)[other[-1]]))
            case "rename" if isinstance(holder, dict):
                holder[data.draw(st.sampled_from(["../x", "<b>", "", "a\nb", "train", "accepted"]))] = holder.pop(last)
    return value


def held(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path[:-1]:
        value = value[key]
    return value


def as_record(data: st.DataObject, content: Any) -> bytes:
    """JSON with the digest of what it has become, or none; the attacker knows the format too."""
    if isinstance(content, dict):
        content.pop("digest", None)
        if data.draw(st.booleans()):
            with suppress(TypeError, ValueError, RecursionError, UnicodeEncodeError):
                content = {"digest": digest(content), **content}
    return json.dumps(content).encode()


def noised(data: st.DataObject, content: bytes) -> bytes:
    """Bytes with a bit flipped, a part removed, repeated, zeroed or exchanged."""
    start = data.draw(st.integers(0, max(0, len(content) - 1)))
    stop = min(len(content), start + data.draw(st.sampled_from([1, 8, 512, 4096])))
    match data.draw(st.sampled_from(["flip", "cut", "remove", "repeat", "zero", "swap", "empty"])):
        case "flip" if content:
            return content[:start] + bytes([content[start] ^ 1 << data.draw(st.integers(0, 7))]) + content[start + 1 :]
        case "cut":
            return content[:start]
        case "remove":
            return content[:start] + content[stop:]
        case "repeat":
            return content[:stop] + content[start:]
        case "zero":
            return content[:start] + bytes(stop - start) + content[stop:]
        case "swap":
            return content[stop:] + content[start:stop] + content[:start]
    return b""


def manifest_of(place: Path, name: str) -> Path:
    return place.joinpath("editions", *name.split("@"), "manifest.json")


def kept_as(place: Path, content: bytes, suffix: str) -> tuple[Path, dict[str, Any]]:
    """Place and name of an object with this content."""
    sha256 = hashlib.sha256(content).hexdigest()
    return place / "objects" / (sha256 + suffix), {"sha256": sha256, "size": len(content)}


# ── records ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@fuzz(25)
@given(data=st.data())
def test_manifests(place, known, data):
    path = manifest_of(place, data.draw(st.sampled_from([BASE, RELEASE])))
    judge(data, place, known, {path: as_record(data, mutated(data, json.loads(path.read_text())))})


@fuzz(15)
@given(data=st.data())
def test_ledgers_receipts_pointers_and_figures(place, known, data):
    folder = manifest_of(place, BASE).parent
    paths = [folder / "ledgers" / "0001.json", folder / "current.json"]
    paths += sorted(place.glob("editions/small/1.0.0-r1/evaluation-*.json"))
    paths += sorted(place.glob("units/*.json"))[:2] + sorted(place.glob("measures/*.json"))[:2]
    path = data.draw(st.sampled_from(paths))
    judge(data, place, known, {path: as_record(data, mutated(data, json.loads(path.read_text())))})


@fuzz(20)
@given(data=st.data())
def test_bytes_of_any_file(place, known, data):
    files = sorted(
        path
        for path in place.rglob("*")
        if path.is_file() and path.suffix != ".png" and "data" not in str(path.parent.name)
    )
    path = data.draw(st.sampled_from(files))
    judge(data, place, known, {path: noised(data, path.read_bytes())})


# ── tables ───────────────────────────────────────────────────────────────────────────────────────────────────────────

KINDS = (
    pa.string(),
    pa.int64(),
    pa.float64(),
    pa.bool_(),
    pa.binary(),
    pa.list_(pa.string()),
    pa.list_(pa.int64()),
    pa.null(),
)


def other_table(data: st.DataObject, content: bytes) -> tuple[bytes, int]:
    """A parquet file with another column, value or number of rows; and how many rows it is said to have."""
    table = pq.read_table(io.BytesIO(content))
    for _ in range(data.draw(st.integers(1, 2))):
        number = data.draw(st.integers(0, table.num_columns - 1))
        name, column = table.column_names[number], table.column(number)
        match data.draw(
            st.sampled_from(["drop", "rename", "retype", "value", "null", "rows", "twice", "order", "none"])
        ):
            case "drop" if table.num_columns > 1:
                table = table.remove_column(number)
            case "rename":
                names = list(table.column_names)
                names[number] = data.draw(st.sampled_from(["id", "x", "", "gate.x", "../x", "a\nb", names[0]]))
                table = table.rename_columns(names)
            case "retype":
                kind = data.draw(st.sampled_from(KINDS))
                table = table.set_column(number, name, pa.nulls(len(table), kind))
                with suppress(pa.ArrowException):
                    table = table.set_column(number, name, column.cast(kind))
            case "value" if len(table):
                values, row = column.to_pylist(), data.draw(st.integers(0, len(table) - 1))
                values[row] = data.draw(JUNK)
                with suppress(pa.ArrowException, OverflowError, UnicodeEncodeError, TypeError, ValueError):
                    table = table.set_column(number, name, pa.array(values, column.type))
            case "null":
                table = table.set_column(number, name, pa.nulls(len(table), column.type))
            case "rows":
                table = table.slice(0, data.draw(st.integers(0, len(table))))
            case "twice":
                with suppress(pa.ArrowException):
                    table = pa.concat_tables([table, table])
            case "order":
                table = table.take(pa.array(range(len(table) - 1, -1, -1), pa.int64()))
            case "none":
                table = table.slice(0, 0)
    out = io.BytesIO()
    pq.write_table(table, out)
    return out.getvalue(), data.draw(st.sampled_from([len(table), len(table), len(table), len(table) + 1, 10**9]))


@fuzz(25)
@given(data=st.data())
def test_tables_of_units(place, known, data):
    path = manifest_of(place, data.draw(st.sampled_from([BASE, RELEASE])))
    content = json.loads(path.read_text())
    rows = data.draw(st.integers(0, len(content["rows"]) - 1))
    before = (place / "objects" / f"{content['rows'][rows]['sha256']}.parquet").read_bytes()
    raw, samples = other_table(data, before) if data.draw(st.booleans()) else (noised(data, before), 6)
    where, info = kept_as(place, raw, ".parquet")
    content["rows"][rows] = {**info, "samples": samples}
    judge(data, place, known, {where: raw, path: as_record(data, content)})


@fuzz(20)
@given(data=st.data())
def test_tables_of_ledgers(place, known, data):
    path = manifest_of(place, BASE).parent / "ledgers" / "0001.json"
    content = json.loads(path.read_text())
    infos = [
        content["verdicts"],
        *content["scored"].values(),
        *(one for parts in content["measured"].values() for one in parts),
    ]
    info = data.draw(st.sampled_from(infos))
    before = (place / "objects" / f"{info['sha256']}.parquet").read_bytes()
    raw, samples = other_table(data, before)
    where, new = kept_as(place, raw, ".parquet")
    info.update(new, samples=samples)
    judge(data, place, known, {where: raw, path: as_record(data, content)})


# ── shards ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def bomb() -> bytes:
    out = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(out, "PNG")
    return out.getvalue()


BOMB = bomb()


def member(name: str, content: bytes, size: int | None = None) -> bytes:
    from variorum.edition.shards import _header

    return _header(name, len(content) if size is None else size) + content + bytes(-len(content) % 512)


def other_shard(data: st.DataObject, path: Path) -> bytes:
    """A tar in which a sample has another record, class, picture, annotations, key or other members."""
    samples = [(key, dict(members)) for key, members in read_shard(path)]
    place = data.draw(st.integers(0, len(samples) - 1))
    key, members = samples[place]
    image = next(ending for ending in members if ending in ("png", "jpg"))
    record = json.loads(members["json"])
    match data.draw(
        st.sampled_from(["record", "record", "ops", "annotations", "cls", "picture", "member", "key", "lost", "size"])
    ):
        case "record":
            record = mutated(data, record)
        case "ops":
            record["ops"] = json.dumps(mutated(data, json.loads(record["ops"])))
        case "annotations":
            members["annotations.json"] = json.dumps(mutated(data, json.loads(members["annotations.json"]))).encode()
        case "cls":
            members["cls"] = data.draw(st.sampled_from([b"", b"x", b"99", b"-2", b"\xff", b"1" * 99]))
        case "picture":
            members[image] = data.draw(st.sampled_from([b"", BOMB, members[image][:50], b"GIF89a", members["json"]]))
        case "member":
            members[data.draw(st.sampled_from(["x", "mask.png", "webp", "../x", "X"]))] = b"x"
        case "key":
            key = data.draw(st.sampled_from(["../../x", "", "a b", "x" * 90, samples[0][0], "a\x1b[2J"]))
        case "lost":
            del members[data.draw(st.sampled_from(sorted(members)))]
    if isinstance(record, dict) and image in members and data.draw(st.booleans()):
        record["sha256"] = hashlib.sha256(members[image]).hexdigest()
    if "json" in members:
        members["json"] = json.dumps(record).encode()
    samples[place] = key, members
    raw = [member(f"{k}.{ending}"[:100], content) for k, ms in samples for ending, content in sorted(ms.items())]
    if data.draw(st.integers(0, 9)) == 0:
        raw.insert(place, member("a.png", b"", data.draw(st.sampled_from([1, 512, 8**11 - 1]))))
    return b"".join(raw) + bytes(1024)


@fuzz(25)
@given(data=st.data())
def test_shards(place, known, data):
    path = manifest_of(place, data.draw(st.sampled_from([BASE, RELEASE])))
    content = json.loads(path.read_text())
    info = data.draw(st.sampled_from([one for shards in content["shards"].values() for one in shards]))
    before = place / "objects" / f"{info['sha256']}.tar"
    raw = other_shard(data, before) if data.draw(st.integers(0, 3)) else noised(data, before.read_bytes())
    where, new = kept_as(place, raw, ".tar")
    info.update(new)
    judge(data, place, known, {where: raw, path: as_record(data, content)})
