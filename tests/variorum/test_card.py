import io
import shutil
import string
import uuid
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from schemas.recipe import Recipe
from variorum.card import render_card, table_cell, write_card
from variorum.contact_sheet import contact_sheet
from variorum.context import open_context
from variorum.engine import build
from variorum.store import Store

pytestmark = pytest.mark.usefixtures("own_cache")

NASTY = ["a|b", "<script>alert(1)<", "tick`s`", "[x](y)", "line\nbreak", "---", "a: b", "long " * 30, "ünïcödé", "$(x)"]


@pytest.fixture
def edition(photos, tmp_path):
    """An edition whose class names and paths try to break out, with quarantined and failed pictures."""
    folder = tmp_path / "nasty"
    for name in NASTY:
        (folder / name).mkdir(parents=True)
        shutil.copy(photos / "coffee" / "0.jpg", folder / name / "a|b <b>\n`x`.jpg")
    (folder / NASTY[0] / "broken|\n<i>.jpg").write_bytes(b"\xff\xd8\xff")
    recipe = Recipe.parse(
        {
            "dataset": "d",
            "version": "1.0.0",
            "samples_per_shard": 4,
            "source": {"name": "image_folder", "path": str(folder), "licence": "CC0 | <b>"},
            "generate": [{"name": "probe", "quarantine": "tick", "fail": "long"}],
            "card": {"title": "T: 'x' # y"},
        }
    )
    store = Store(str(tmp_path / "store"))
    return recipe, build(recipe, open_context(recipe, "embedded"), store, profile="embedded"), store


def test_markup_in_data_stays_text(edition):
    text = render_card(*edition)
    _, header, body = text.split("---\n", 2)
    data = yaml.safe_load(header)
    assert data["pretty_name"] == "T: 'x' # y"
    (info,) = [info for info in data["dataset_info"] if info["config_name"] == "default"]
    (cls,) = [column for column in info["features"] if column["name"] == "cls"]
    names = set(cls["dtype"]["class_label"]["names"].values())
    assert names == {" ".join(name.split()) for name in NASTY}
    assert "<script" not in body
    tables = [line for line in body.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in tables if "negative" in line or "original" in line}) == 1


@given(st.text(string.printable + "ü|<>`[]\u2028", max_size=40))
def test_a_cell_is_one_line_without_markup(text):
    cell = table_cell(text)
    assert not set(cell) & set("|<>`[\n\r\x0b\x0c\u2028")


def test_the_contact_sheet_shows_all(edition):
    _, manifest, store = edition
    sheet = Image.open(io.BytesIO(contact_sheet(manifest, store)))
    assert sheet.format == "PNG"
    assert sheet.width > 120 + 2 * 144
    assert contact_sheet(manifest, store) == contact_sheet(manifest, store)


def test_the_card_and_its_files_lie_beside_the_manifest(edition):
    recipe, manifest, store = edition
    text = write_card(recipe, manifest, store)
    assert store.read_beside(manifest, "README.md").decode() == text
    kept = yaml.safe_load(store.read_beside(manifest, "recipe.yaml"))
    assert kept["dataset"] == "d"
    assert "path" not in kept["source"]


@pytest.mark.parametrize("streaming", [False, True])
def test_datasets_reads_the_edition_with_its_types(edition, tmp_path, monkeypatch, streaming):
    import datasets

    recipe, manifest, store = edition
    write_card(recipe, manifest, store)
    folder = store.edition_path(manifest)
    cache = str(tmp_path / "hf")
    data = datasets.load_dataset(folder, split="test", streaming=streaming, cache_dir=cache)
    assert isinstance(data.features["cls"], datasets.ClassLabel)
    assert data.features["cls"].names == [name for _, name in manifest.classes]
    assert isinstance(data.features["png"], datasets.Image)
    rows = list(data)
    assert len(rows) == sum(shard.samples for shard in manifest.shards["test"])
    ids = {class_id: index for index, (class_id, _) in enumerate(manifest.classes)}
    assert all(ids[row["json"]["labels"][0]] == row["cls"] for row in rows)
    assert rows[0]["png"].size == (96, 64)
    quarantine = datasets.load_dataset(folder, "quarantine", split="quarantine", streaming=streaming, cache_dir=cache)
    assert [row["json"]["reason"] for row in quarantine] == ["asked_for"]


def test_another_edition_of_the_same_version_is_not_answered_from_the_cache(photos, tmp_path):
    import datasets

    found = []
    for place, limit in (("one", 3), ("two", 5)):
        source = {"name": "image_folder", "path": str(photos)}
        recipe = Recipe.parse({"dataset": "d", "version": "1.0.0-dev", "limit": limit, "source": source})
        store = Store(str(tmp_path / place))
        manifest = build(recipe, open_context(recipe, "embedded"), store, profile="embedded")
        write_card(recipe, manifest, store)
        rows = datasets.load_dataset(store.edition_path(manifest), split="test", cache_dir=str(tmp_path / "hf"))
        assert manifest.digest() in rows.info.description
        found.append(len(rows))
    assert found == [3, 5]


def test_a_card_of_a_memory_store(photos):
    recipe = Recipe.parse({"dataset": "d", "version": "1.0.0", "source": {"name": "image_folder", "path": str(photos)}})
    store = Store(f"memory://{uuid.uuid4().hex}")
    manifest = build(recipe, open_context(recipe, "embedded"), store, profile="embedded")
    assert write_card(recipe, manifest, store)
    assert not Path(store.root).exists()
