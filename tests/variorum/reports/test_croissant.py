"""Editions as `croissant.json` describes them, read back by mlcroissant: another's reading of the vocabulary."""

import hashlib
import io
import json
import re
import shutil
from pathlib import Path

import mlcroissant
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mlcroissant._src.core.issues import GenerationError
from mlcroissant._src.operation_graph.operations import extract
from PIL import Image

from variorum.edition.editions import folder_of, link_data, read_manifest, write_beside
from variorum.edition.shards import read_shard
from variorum.edition.store import Store
from variorum.reports.card import write_card
from variorum.reports.croissant import FILE, check_croissant, croissant, encode, write_croissant
from variorum.reports.index_table import FILE as INDEX
from variorum.reports.index_table import OF_PICTURES
from variorum.reports.rows import edition_rows
from variorum.reports.verified import verify_edition
from variorum.schemas.manifest import ShardInfo
from variorum.schemas.recipe import Card

# mlcroissant uses an older interface of rdflib, and leaves the closing of files to the garbage collector
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning:rdflib",
    "ignore::DeprecationWarning:mlcroissant",
    "ignore:unclosed file",
    "ignore::pytest.PytestUnraisableExceptionWarning",
)
PAGE = (Path(__file__).parents[3] / "docs" / "guides" / "editions.md").read_text().partition("## Croissant")[2]
NO_DATE = 'Property "https://schema.org/datePublished" is recommended, but does not exist.'
NASTY = [
    "</script><script>alert(1)</script>",
    '"quotes" and \\ back',
    "line\nbreak\x00\x1b[2J",
    "@id",
    "cr:TestSplit",
    "http://mlcommons.org/croissant/",
    "ünïcödé \u2028 \u202e 😀",
    "{{7*7}} ${x} %s",
    " ",
]


@pytest.fixture(autouse=True)
def own_extracts(tmp_path, monkeypatch):
    """mlcroissant finds unpacked shards by relative name, so each test has a cache of its own."""
    monkeypatch.setattr(extract, "EXTRACT_PATH", extract.epath.Path(tmp_path / "extract"))


@pytest.fixture(scope="module")
def described(make):
    """An edition with splits, configurations, classes and two formats, a citation and a warning."""
    texts = {"title": "Shapes </script>", "summary": "Small <b>shapes</b>.", "citation": "@misc{shapes}"}
    return make(configs="place", warning="Squares & circles <i>", card=texts)


def problems_of(path):
    issues = mlcroissant.Dataset(path).metadata.ctx.issues
    return issues.errors, {re.sub(r"^\[.*?\] ", "", line) for line in issues.warnings}


def records(path, name):
    """The records of a set, without its name in their fields, and with texts decoded."""

    def plain(value):
        return (
            [plain(one) for one in value]
            if isinstance(value, list)
            else value.decode()
            if isinstance(value, bytes)
            else value
        )

    found = mlcroissant.Dataset(path).records(name)
    return [{key.partition("/")[2]: plain(value) for key, value in record.items()} for record in found]


def shard_pictures(manifest, store):
    """By id, the pictures as the shards have them."""
    found = {}
    for _, shard in manifest.accepted():
        for key, members in read_shard(store.path(shard)):
            found[key] = next(members[ending] for ending in ("jpg", "png") if ending in members)
    return found


def test_an_edition_is_valid_and_only_its_date_is_missing(described):
    job, manifest = described
    path = f"{folder_of(manifest, job.store)}/{FILE}"
    assert problems_of(path) == (set(), {NO_DATE})
    found = json.loads(Path(path).read_text())
    assert found["name"] == "Shapes </script>"
    assert found["identifier"] == manifest.digest()
    assert found["license"] == [
        "https://spdx.org/licenses/CC0-1.0" if one == "CC0-1.0" else one for one in manifest.licences
    ]
    assert found["rai:personalSensitiveInformation"] == ["Content warning: Squares & circles <i>"]
    said = {file["contentUrl"]: file["sha256"] for file in found["distribution"] if "sha256" in file}
    index = said.pop(INDEX)
    assert sorted(said.values()) == sorted(info.sha256 for shards in manifest.shards.values() for info in shards)
    assert index == hashlib.sha256((Path(path).parent / INDEX).read_bytes()).hexdigest()


def test_records_are_the_pictures_and_the_rows_of_the_edition(described):
    job, manifest = described
    path = f"{folder_of(manifest, job.store)}/{FILE}"
    rows = {row["id"]: row for row in edition_rows(manifest, job.store).to_pylist()}
    pictures, index = records(path, "pictures"), records(path, "index")
    stored = shard_pictures(manifest, job.store)
    assert {record["id"] for record in pictures} == set(stored) == {record["id"] for record in index} == set(rows)
    assert {record["image"].format for record in pictures} == {"JPEG", "PNG"}
    for record in pictures:
        row = rows[record["id"]]
        with Image.open(io.BytesIO(stored[record["id"]])) as wanted:
            assert np.array_equal(np.asarray(record["image"]), np.asarray(wanted))
        same = ("sha256", "labels", "split", "config", "variant", "licence", "origin", "width", "height")
        assert {name: record[name] for name in same} == {name: row[name] for name in same}
        assert record["label"] == ["circle", "square", *row["labels"]].index((row["labels"] or ["circle"])[0]) - (
            not row["labels"]
        )
    shards = {name: set() for name in {record["shard"] for record in index}}
    for record in index:
        shards[record["shard"]].add(record["id"])
    for name, ids in shards.items():
        assert {key for key, _ in read_shard(Path(folder_of(manifest, job.store), name))} == ids
    assert [(one["index"], one["id"], one["name"]) for one in records(path, "classes")] == [
        (place, *pair) for place, pair in enumerate(manifest.classes)
    ]
    assert {one["name"]: one["url"] for one in records(path, "splits")} == {
        "train": "cr:TrainingSplit",
        "validation": "cr:ValidationSplit",
        "test": "cr:TestSplit",
    }


def test_a_changed_shard_is_noticed_when_it_is_read(described, tmp_path):
    job, manifest = described
    shutil.copytree(folder_of(manifest, job.store), tmp_path / "copy")
    shard = next((tmp_path / "copy" / "data").rglob("*.tar"))
    content = bytearray(shard.read_bytes())
    content[700] ^= 1
    shard.write_bytes(content)
    with pytest.raises(GenerationError) as failed:
        records(tmp_path / "copy" / FILE, "pictures")
    name = str(shard.relative_to(tmp_path / "copy"))
    assert f"Download({name})" in str(failed.value)
    assert f"{name} is not identical with the reference" in str(failed.value.__cause__)


def test_the_page_reads_an_edition(described, tmp_path, monkeypatch):
    job, manifest = described
    shutil.copytree(folder_of(manifest, job.store), tmp_path / "store" / "editions" / "street" / "1.0.0")
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    names: dict = {}
    exec(code, names)
    assert len(names["pictures"]) == manifest.pictures()


def test_masks_are_no_pictures(make, photos):
    generate = [{"name": "probe", "mask": ".", "originals": False}]
    job, manifest = make(source={"name": "image_folder", "path": str(photos)}, generate=generate)
    path = f"{folder_of(manifest, job.store)}/{FILE}"
    assert "mask.png" in manifest.members
    pictures = records(path, "pictures")
    assert len(pictures) == manifest.pictures()
    assert all(record["image"].mode == "RGB" and record["sha256"] for record in pictures)
    assert problems_of(path)[0] == set()


def test_of_a_withheld_picture_there_are_hash_and_labels(make, tmp_path):
    (tmp_path / "list.txt").write_text("4.jpg\n")
    job, manifest = make(curate=[{"name": "opt_out", "list": str(tmp_path / "list.txt")}])
    path = Path(folder_of(manifest, job.store), FILE)
    rows = pq.read_table(path.with_name(INDEX)).to_pylist()
    (row,) = [row for row in rows if row["status"] == "withheld"]
    assert all(row[name] is None for name in OF_PICTURES)
    assert (len(row["sha256"]), row["labels"], row["reason"]) == (64, ["circle"], "opt_out")
    assert len(records(path, "index")) == len(rows) == 12
    assert len(records(path, "pictures")) == 11
    said = json.loads(path.read_text())
    assert "1 withheld (opt_out)" in said["rai:dataCollectionMissingData"]
    assert said["rai:dataPreprocessingProtocol"] == ["Curated by, in order: opt_out."]
    assert said["rai:dataLimitations"][0] == "1 picture was taken out because somebody asked for it."
    assert row["id"] not in path.read_text()
    assert "4.jpg" not in path.read_text()
    assert verify_edition(manifest, job.store) == []


def test_an_edition_of_format_3_has_one_too(format3):
    manifest = read_manifest("old", "1.0.0", format3)
    link_data(manifest, format3)
    rows = edition_rows(manifest, format3)
    write_croissant(Card(), manifest, rows, (), lambda name, data: write_beside(manifest, name, data, format3))
    path = f"{folder_of(manifest, format3)}/{FILE}"
    assert check_croissant(manifest, format3) == []
    assert len(records(path, "pictures")) == manifest.pictures()


def test_texts_from_data_stay_texts(described, tmp_path):
    manifest = described[1]
    changed = manifest.model_copy(
        update={
            "classes": [(name, f"{name}!") for name in NASTY],
            "licences": dict.fromkeys(NASTY, 1),
            "shards": {f"x+1.5_y-z/{group}": shards for group, shards in manifest.shards.items()},
        }
    )
    index = ShardInfo(sha256="0" * 64, size=1, samples=12)
    for text in NASTY:
        card = Card(title=text, summary=text, citation=text)
        data = encode(croissant(card, changed, index, (32,), NASTY))
        assert not set(data) & set(b"<>&\x00\x1b")
        (tmp_path / FILE).write_bytes(data)
        found = mlcroissant.Dataset(tmp_path / FILE)
        assert not found.metadata.ctx.issues.errors
        assert found.metadata.name == found.metadata.description == found.metadata.cite_as == text
        assert all(name.startswith("data/x+1.5_y-z/") for name in found.metadata.file_sets[0].contained_in)
        assert set(found.metadata.license) == {one for one in NASTY if one.strip()}
        assert set(found.metadata.data_limitations) >= set(NASTY)
    classes = records(tmp_path / FILE, "classes")
    assert [(one["id"], one["name"]) for one in classes] == changed.classes


def test_the_same_edition_gives_the_same_document(described, make, tmp_path):
    job, manifest = described
    folder = Path(folder_of(manifest, job.store))
    before = [(folder / name).read_bytes() for name in (FILE, INDEX)]
    write_card(job.recipe, manifest, job.store)
    assert [(folder / name).read_bytes() for name in (FILE, INDEX)] == before


def edited(path, change):
    found = json.loads(path.read_text())
    change(found)
    path.write_text(json.dumps(found))


def test_verify_compares_it_and_card_mends_it(make, tmp_path):
    job, manifest = make(Store(str(tmp_path / "store")))
    path = Path(folder_of(manifest, job.store), FILE)
    index = path.with_name(INDEX)
    whole = {one: one.read_bytes() for one in (path, index)}
    rows = pq.read_table(index)
    relabelled = rows.set_column(rows.column_names.index("label"), "label", pa.array([1] * len(rows), pa.int64()))

    def replaced(data):
        index.write_bytes(data)
        (part,) = [one for one in json.loads(whole[path])["distribution"] if one["@id"] == INDEX]
        said = {"sha256": hashlib.sha256(data).hexdigest(), "contentSize": str(len(data))}
        edited(path, lambda found: found["distribution"][found["distribution"].index(part)].update(said))

    def relabel():
        out = io.BytesIO()
        pq.write_table(relabelled, out)
        replaced(out.getvalue())

    shard = {"sha256": "0" * 64}
    cases = {
        "what it says of 'data": lambda: edited(path, lambda found: found["distribution"][0].update(shard)),
        "and 1 more": lambda: edited(path, lambda found: found["distribution"][0].update(contentUrl="../x")),
        "another edition": lambda: edited(path, lambda found: found.update(identifier="0" * 64)),
        "describes no edition": lambda: path.write_bytes(b"[" * 100_000),
        "no edition; write": lambda: path.write_text('{"identifier": 1, "distribution": [3]}'),
        "index.parquet: missing": index.unlink,
        "what it says of 'index.parquet'": lambda: index.write_bytes(whole[index] + b"x"),
        "its rows aren't the edition's": relabel,
        "rows aren't the edition's": lambda: replaced(b"PAR1 not really PAR1"),
    }
    for said, damage in cases.items():
        damage()
        (problem,) = verify_edition(manifest, job.store)
        assert said in problem
        assert "\n" not in problem
        if damage in (index.unlink, relabel):
            write_card(job.recipe, manifest, job.store)
            assert verify_edition(manifest, job.store) == []
            assert {one: one.read_bytes() for one in whole} == whole
        for one, data in whole.items():
            one.write_bytes(data)
    path.unlink()
    assert verify_edition(manifest, job.store) == [], "older editions have none"
