"""Splits and configurations: what decides them, that they never part a photograph from what is made of it, loaders."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from datasets import load_dataset
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from variorum.edition.editions import folder_of
from variorum.edition.samples import picture_ending
from variorum.edition.shards import read_shard
from variorum.edition.store import Store
from variorum.edition.tables import read_table
from variorum.edition.verify import verify
from variorum.pipeline import Job, Threads, build, run
from variorum.schemas.errors import RecipeError
from variorum.schemas.manifest import QUARANTINE, group_of
from variorum.schemas.recipe import Recipe
from variorum.schemas.sample import SPLITS
from variorum.sources.edition import Edition
from variorum.stages.splits import config_name, drawn_split

pytestmark = pytest.mark.usefixtures("own_cache")

HALF = '''
import numpy as np
from variorum.schemas.component import Generator

class Half(Generator):
    """The picture, and a darker and a lighter one; very dark ones are quarantined."""

    def edit(self, sample, of):
        yield sample
        for domain, share in (("dark", 0.5), ("oil painting", 0.9)):
            image = (sample.image * share).astype(np.uint8)
            value = float(image.mean())
            gate = {"value": value, "limit": ">= 20", "passed": value >= 20}
            requested = {"domain": domain, "share": share}
            yield of.made(image, variant=f"half_{share}", requested=requested, gates={"bright": gate})
'''


@pytest.fixture(scope="module")
def forty(tmp_path_factory) -> Path:
    """Forty pictures of noise; 39 has the bytes of 0, and 38 nearly the pixels of 1."""
    folder = tmp_path_factory.mktemp("forty")
    rng = np.random.default_rng(5)
    for number in range(40):
        scale = 30 if number % 9 == 0 else 255
        base = rng.integers(0, scale, (6, 8, 3)).astype(np.uint8)
        picture = Image.fromarray(base).resize((64, 48), Image.Resampling.BICUBIC)
        (folder / "ab"[number % 2]).mkdir(exist_ok=True)
        picture.save(folder / "ab"[number % 2] / f"{number:02d}.png")
    shutil.copy(folder / "a" / "00.png", folder / "b" / "39.png")
    Image.open(folder / "b" / "01.png").save(folder / "a" / "38.jpg", quality=95)
    (folder / "a" / "38.png").unlink()
    return folder


@pytest.fixture
def half(tmp_path) -> str:
    file = tmp_path / "half.py"
    file.write_text(HALF)
    return str(file)


def recipe(folder: Path, **fields) -> Recipe:
    source = {"name": "image_folder", "path": str(folder)}
    return Recipe.parse({"dataset": "d", "version": "1.0.0", "samples_per_shard": 16, "source": source, **fields})


def records(manifest, store) -> dict[str, tuple[str, dict]]:
    """Group and record of each picture, by id."""
    return {
        key: (group, json.loads(members["json"]))
        for group, shards in manifest.shards.items()
        for info in shards
        for key, members in read_shard(store.path(info))
    }


# ── the rule ─────────────────────────────────────────────────────────────────────────────────────────────────────────

shares = st.fixed_dictionaries({}, optional=dict.fromkeys(("validation", "test"), st.floats(0, 0.5)))


@given(shares, st.text("0123456789abcdef", min_size=1))
def test_a_photograph_has_one_split_and_a_larger_share_takes_nothing_from_those_before_it(shares, photograph):
    split = drawn_split(shares, photograph)
    assert split in SPLITS
    assert split == "train" or shares.get(split, 0) > 0
    if split == "test":
        assert drawn_split({**shares, "validation": 0.5}, photograph) == "test"
    assert drawn_split({"test": 1.0}, photograph) == "test"
    assert drawn_split({"validation": 0.9999999999, "test": 1e-10}, photograph) in ("validation", "test")


def test_shares_come_out_as_asked():
    found = Counter(drawn_split({"validation": 0.1, "test": 0.2}, str(number)) for number in range(20_000))
    assert {split: round(number / 20_000, 2) for split, number in found.items()} == {
        "train": pytest.approx(0.7, abs=0.011),
        "validation": pytest.approx(0.1, abs=0.011),
        "test": pytest.approx(0.2, abs=0.011),
    }


@pytest.mark.parametrize(
    ("splits", "says"),
    [
        ({"validation": 0.8, "test": 0.3}, "sum to 1.1"),
        ({"train": 0.5, "test": 0.3}, "must sum to 1"),
        ({"dev": 0.5}, "splits"),
        ({"test": -0.1}, "splits.test"),
        ({"test": True}, "numbers between 0 and 1"),
        ({"test": "0.7", "validation": "0.7"}, "splits.test"),
        ("half", "splits"),
    ],
)
def test_shares_that_make_no_sense_are_refused(splits, says):
    with pytest.raises(RecipeError, match=says):
        Recipe.parse({"dataset": "d", "version": "1.0.0", "source": {"name": "samples"}, "splits": splits})


# ── in an edition ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def edited(forty, half, tmp_path):
    """An edition of forty photographs and their edits, in three splits and configurations by what was asked for."""
    store = Store(str(tmp_path / "store"))
    what = recipe(forty, splits={"validation": 0.2, "test": 0.3}, configs="domain", generate=[{"name": half}])
    return build(Job(what, store), Threads(2)), store


def test_splits_never_part_a_photograph_from_its_edits_or_copies(edited):
    manifest, store = edited
    splits: dict[str, set[str]] = {}
    photographs: dict[str, set[str]] = {}
    for _, record in records(manifest, store).values():
        splits.setdefault(record["photograph"], set()).add(record["split"])
        photographs.setdefault(record["origin"], set()).add(record["photograph"])
    assert len(splits) == 39  # two of the forty files have the same bytes
    assert all(len(found) == 1 for found in splits.values())
    assert photographs["a/00.png"] == photographs["b/39.png"]
    assert set().union(*splits.values()) == set(SPLITS)
    assert verify(manifest, store) == []


def test_pictures_lie_where_their_rows_say(edited):
    manifest, store = edited
    assert set(manifest.configs()) == {"none", "dark", "oil_painting"}
    assert QUARANTINE in manifest.shards
    found = records(manifest, store)
    for row in read_table(store, manifest.rows).to_pylist():
        group, record = found.pop(row["id"])
        quarantined = row["status"] == "quarantined"
        assert group == (QUARANTINE if quarantined else group_of(row["config"], row["split"]))
        assert record["split"] == row["split"]
        assert (row["width"], row["height"], row["objects"], row["annotated"]) == (64, 48, 0, "")
    assert not found
    sizes = {name: sum(splits.values()) for name, splits in manifest.configs().items()}
    assert sum(sizes.values()) == manifest.pictures() == sum(manifest.splits().values())


def test_batches_and_runners_give_the_same_edition(edited, forty, half, tmp_path):
    manifest, _ = edited
    what = recipe(forty, splits={"validation": 0.2, "test": 0.3}, configs="domain", generate=[{"name": half}])
    assert build(Job(what, str(tmp_path / "other")), Threads(1)).digest() == manifest.digest()


def test_an_edition_of_an_edition_keeps_the_photographs_together(edited, tmp_path):
    """Edits are photographs of their own to a recipe that reads them, but not to its splits."""
    manifest, store = edited
    source = {"name": "edition", "edition": "d@1.0.0", "store": store.url}
    what = Recipe.parse(
        {"dataset": "e", "version": "1.0.0", "source": source, "splits": {"test": 0.5}, "samples_per_shard": 7}
    )
    made = build(Job(what, str(tmp_path / "second")))
    splits: dict[str, set[str]] = {}
    for _, record in records(made, Store(str(tmp_path / "second"))).values():
        splits.setdefault(record["photograph"], set()).add(record["split"])
    assert made.pictures() == manifest.pictures()
    assert max(map(len, splits.values())) == 1
    without = Recipe.parse({"dataset": "f", "version": "1.0.0", "source": source})
    assert build(Job(without, str(tmp_path / "second"))).splits() == manifest.splits()


def test_an_edition_is_read_by_split_and_configuration(edited):
    manifest, store = edited

    def size(**fields) -> int:
        return Edition(edition="d@1.0.0", store=store.url, **fields).size(None)

    assert size() == manifest.pictures()
    assert size(split="train") == manifest.splits()["train"]
    assert size(subset="dark", split="test") == manifest.configs()["dark"]["test"]
    assert size(split="quarantine") == sum(info.samples for info in manifest.shards[QUARANTINE])


def test_a_folder_of_splits_says_it_itself(forty, tmp_path):
    for number, split in enumerate(("train", "val", "test")):
        for file in sorted((forty / "a").iterdir())[number * 4 : number * 4 + 4]:
            (tmp_path / "photos" / split / "cat").mkdir(parents=True, exist_ok=True)
            shutil.copy(file, tmp_path / "photos" / split / "cat")
    store = Store(str(tmp_path / "store"))
    made = build(Job(recipe(tmp_path / "photos"), store))
    assert made.splits() == {"train": 4, "validation": 4, "test": 4}
    assert [name for _, name in made.classes] == ["cat"]
    over = recipe(tmp_path / "photos", splits={"test": 1.0}, dataset="o")
    assert build(Job(over, store)).splits() == {"test": 12}


def test_a_configuration_that_no_picture_has_is_refused(forty, tmp_path):
    with pytest.raises(RecipeError, match="no picture has the field 'domain'"):
        build(Job(recipe(forty, configs="domain", limit=2), str(tmp_path / "store")))


@pytest.mark.parametrize(
    ("value", "name"),
    [
        *[(None, "none"), ("", "none"), (0.05, "0.05"), (3, "3"), (True, "true"), ("oil painting", "oil_painting")],
        *[(-0.5, "minus_0.5"), (0.5, "0.5"), (-1, "minus_1"), ("-1", "minus_1"), (-float("inf"), "minus_inf")],
        *[("../../etc", "etc"), ("a/b", "a_b"), (1.0, "1"), ("..", None), ("all", None), ([1], None), ("é", None)],
    ],
)
def test_names_of_configurations_are_safe(value, name):
    if name is None:
        with pytest.raises(RecipeError, match="configs: domain"):
            config_name("domain", value)
    else:
        assert config_name("domain", value) == name


def test_values_that_would_share_a_configuration_are_refused(forty, tmp_path):
    file = tmp_path / "two.py"
    file.write_text(
        "from variorum.schemas.component import Generator\n"
        "class Two(Generator):\n"
        "    def edit(self, sample, of):\n"
        "        for value in ('a b', 'a/b'):\n"
        "            yield of.made(sample.image, variant='v', requested={'domain': value})\n"
    )
    with pytest.raises(RecipeError, match=r"values 'a b' and 'a/b', which both become the configuration 'a_b'"):
        build(Job(recipe(forty, configs="domain", generate=[{"name": str(file)}]), str(tmp_path / "store")))


@pytest.mark.parametrize("change", ["split='dev'", "split=''", "photograph=''"])
def test_a_generator_leaves_split_and_photograph_alone(forty, tmp_path, change):
    file = tmp_path / "sly.py"
    file.write_text(
        "from dataclasses import replace\n"
        "from variorum.schemas.component import Generator\n"
        "class Sly(Generator):\n"
        "    def edit(self, sample, of):\n"
        f"        yield replace(of.made(sample.image, variant='v', requested={{}}), {change})\n"
    )
    with pytest.raises(RecipeError, match="sly: gives a picture the split"):
        build(Job(recipe(forty, generate=[{"name": str(file)}]), str(tmp_path / "store")))


def test_a_dev_version_that_moves_leaves_nothing_behind(forty, half, tmp_path):
    store = Store(str(tmp_path / "store"))
    for fields in ({"configs": "domain"}, {}, {"configs": "variant", "splits": {"test": 0.3}}, {"configs": "licence"}):
        what = recipe(forty, version="1.0.0-dev", generate=[{"name": half}], **fields)
        manifest = build(Job(what, store))
        data = Path(folder_of(manifest, store), "data")
        folders = {group.rpartition("/")[0] for group in manifest.shards} - {""}
        assert {path.name for path in data.iterdir() if path.is_dir()} == folders
        assert verify(manifest, store) == []


# ── after curation ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_release_brings_copies_to_one_side_with_all_that_is_made_of_them(forty, half, tmp_path):
    """`01.png` and `38.jpg` are the same picture with other bytes, so only curation can know."""
    store = Store(str(tmp_path / "store"))
    keep = {"when": [{"column": "variant", "equals": "original"}], "action": "keep", "reason": "all"}
    steps = [{"name": "duplicates", "embedding": False}, {"name": "policy", "rules": [keep]}]

    def sides(manifest) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for _, record in records(manifest, store).values():
            if record["reason"] == "":
                found.setdefault(record["origin"], set()).add(record["split"])
        return {origin: found[origin] for origin in ("a/38.jpg", "b/01.png")}

    for share in np.arange(0.05, 1, 0.05):
        what = recipe(forty, splits={"test": float(share)}, generate=[{"name": half}], curate=steps, dataset="c")
        if drawn_split(what.splits, _sha256(forty / "a/38.jpg")) != drawn_split(
            what.splits, _sha256(forty / "b/01.png")
        ):
            break
    job = Job(what, store)
    manifest = build(job)
    assert len(set.union(*sides(manifest).values())) == 2
    released = run(job)
    assert list(sides(released).values()) == [{"test"}, {"test"}]
    assert released.pictures() == manifest.pictures()
    assert verify(released, store) == []
    unmoved = {key: pair for key, pair in records(manifest, store).items() if "38" not in pair[1]["origin"]}
    after = records(released, store)
    assert all(after[key] == pair for key, pair in unmoved.items() if "01" not in pair[1]["origin"])


@pytest.mark.parametrize("dropped", ["38", "01"])
def test_what_is_made_of_a_dropped_copy_moves_too(forty, half, tmp_path, dropped):
    """The usual case: a copy goes, and the edits that were made of it stay."""
    store = Store(str(tmp_path / "store"))
    file = tmp_path / "drop_copy.py"
    file.write_text(
        "from variorum.schemas.component import Decider\n"
        "class Drop(Decider):\n"
        "    def decide(self, table, ctx):\n"
        "        for row, (origin, variant) in enumerate(zip(table['origin'], table['variant'])):\n"
        f"            if origin[2:4] == {dropped!r} and variant == 'original':\n"
        "                yield table.verdict(row, 'drop', 'copy')\n"
    )
    steps = [{"name": "duplicates", "embedding": False}, {"name": str(file)}]
    first, second = _sha256(forty / "a/38.jpg"), _sha256(forty / "b/01.png")
    share = next(
        x for x in np.arange(0.05, 1, 0.05) if len({drawn_split({"test": x}, y) for y in (first, second)}) == 2
    )
    what = recipe(forty, splits={"test": float(share)}, generate=[{"name": half}], curate=steps, dataset="c")
    released = run(Job(what, store))
    found = [pair[1] for pair in records(released, store).values() if pair[1]["photograph"] in (first, second)]
    assert {record["photograph"] for record in found} == {first, second}
    assert len({record["split"] for record in found}) == 1
    assert verify(released, store) == []


def _sha256(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_loaders_see_splits_and_configurations(edited, forty, half, tmp_path):
    manifest, store = edited
    what = recipe(forty, splits={"validation": 0.2, "test": 0.3}, configs="domain", generate=[{"name": half}])
    made = run(Job(what, store))
    folder = folder_of(made, store)
    rows = load_dataset(folder, "oil_painting", split="test")
    assert set(rows.unique("cls")) <= {0, 1}
    assert {row["json"]["variant"] for row in rows} == {"half_0.9"}
    assert len(rows) == manifest.configs()["oil_painting"]["test"]
    everything = load_dataset(folder)
    assert {split: len(rows) for split, rows in everything.items()} == manifest.splits()
    streamed = load_dataset(folder, "dark", split="validation", streaming=True)
    assert streamed.features == rows.features
    assert sum(1 for _ in streamed) == manifest.configs()["dark"]["validation"]
    for shards in manifest.shards.values():
        for info in shards:
            for _, members in read_shard(store.path(info)):
                assert picture_ending(members) == "png"


def test_a_source_of_pixels_has_splits_too(tmp_path):
    """Its pictures have no bytes of their own, so copies are known by their pixels."""
    file = tmp_path / "noise.py"
    file.write_text(
        "import numpy as np\n"
        "from variorum.schemas.component import Source\n"
        "from variorum.schemas.sample import Sample, source_id\n"
        "class Noise(Source):\n"
        "    def pin(self, ctx): return 'noise'\n"
        "    def size(self, ctx): return 20\n"
        "    def classes(self, ctx): return ()\n"
        "    def read(self, start, stop, ctx):\n"
        "        for k in range(start, stop):\n"
        "            pixels = np.full((16, 16, 3), k // 2, np.uint8)\n"
        "            yield Sample(source_id('noise', str(k)), pixels, origin=str(k))\n"
    )
    basic = {"dataset": "n", "version": "1.0.0", "source": {"name": str(file)}}
    store = Store(str(tmp_path / "store"))
    assert build(Job(Recipe.parse(basic), store)).splits() == {"test": 20}
    drawn = build(Job(Recipe.parse({**basic, "dataset": "m", "splits": {"test": 0.5}}), store))
    sides = {record["origin"]: record["split"] for _, record in records(drawn, store).values()}
    assert all(sides[str(k)] == sides[str(k + 1)] for k in range(0, 20, 2))
    assert set(sides.values()) == {"train", "test"}


def test_a_split_that_loaders_do_not_know_is_refused(forty, tmp_path):
    file = tmp_path / "odd.py"
    file.write_text(
        "from dataclasses import replace\n"
        "from variorum.sources.image_folder import ImageFolder as Folder\n"
        "class Odd(Folder):\n"
        "    def read(self, start, stop, ctx):\n"
        "        return (replace(item, split='dev') for item in super().read(start, stop, ctx))\n"
    )
    source = {"name": str(file), "path": str(forty)}
    what = Recipe.parse({"dataset": "d", "version": "1.0.0", "source": source})
    with pytest.raises(RecipeError, match=r"a/00\.png is in the split 'dev'; a source gives one of train"):
        build(Job(what, str(tmp_path / "store")))


def test_a_field_with_a_value_for_every_picture_is_no_configuration(forty, tmp_path, monkeypatch):
    monkeypatch.setattr("variorum.stages.build.MOST_GROUPS", 9)
    with pytest.raises(
        RecipeError, match=r"more than 9 configurations and splits in one unit, the last 'a_18\.png/test'"
    ):
        build(Job(recipe(forty, configs="origin"), str(tmp_path / "store")))


def test_an_edition_has_a_limited_number_of_configurations(forty, tmp_path, monkeypatch):
    """Small units never reach the limit of a unit, so a value for every picture would pass unnoticed."""
    monkeypatch.setattr("variorum.stages.splits.MOST_CONFIGS", 9)
    with pytest.raises(RecipeError, match="configs: origin has 40 values; choose a field with 9 at most"):
        build(Job(recipe(forty, configs="origin", samples_per_shard=4), str(tmp_path / "store")))


def test_a_picture_that_cannot_be_read_has_the_split_of_its_folder(forty, tmp_path):
    photos = tmp_path / "photos"
    shutil.copytree(forty / "a", photos / "train" / "a")
    (photos / "train" / "labels.csv").write_text("file_name,label\na/00.png,x\ngone.png,y\n")
    store = Store(str(tmp_path / "store"))
    made = build(Job(recipe(photos), store))
    (row,) = [row for row in read_table(store, made.rows).to_pylist() if row["status"] == "failed"]
    assert (row["origin"], row["reason"], row["split"]) == ("train/gone.png", "unreadable", "train")
