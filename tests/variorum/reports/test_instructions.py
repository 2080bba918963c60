"""What the card says about loading works as it stands, with `datasets` and with `webdataset`."""

import gc
import re

import datasets
import pytest
import yaml
from annotated_set import CLASSES

from variorum.edition.editions import folder_of, link_data, resolve
from variorum.reports.card import render_card, write_card
from variorum.reports.hub_types import read_back
from variorum.schemas.recipe import Recipe

# webdataset leaves its last file open
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file", "ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def own_datasets_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "hf"))


@pytest.fixture(autouse=True, scope="module")
def closed():
    yield
    gc.collect()  # so that what webdataset leaves open is closed here and not in another file


def followed(text: str, folder: str) -> dict:
    """The names that the card's Python defines."""
    names: dict = {}
    for code in re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        exec(code.replace("path/to/this/folder", folder), names)
    return names


def of_edition(job, manifest) -> tuple[str, str]:
    return render_card(job.recipe, manifest, job.store), folder_of(manifest, job.store)


def test_of_an_edition_with_everything(everything):
    job, manifest = everything
    names = followed(*of_edition(job, manifest))
    assert {split: len(names[split]) for split in manifest.splits()} == manifest.splits()
    assert len(names["part"]) == manifest.configs()["hall"]["train"]
    assert names["picture"].size == (96, 64)
    streamed = [(picture.size, record["id"]) for picture, record in names["pictures"]]
    assert len(streamed) == 6
    assert {name for _, name in streamed} == {row["json"]["id"] for row in names["train"]}
    assert "quarantined" not in names


@pytest.mark.parametrize("template", ["default", "imagenet_e"])
def test_of_an_edition_of_one_split_with_quarantine(make, template):
    job, manifest = make(
        source={"splits": False, "formats": ["png"], "boxes": False, "captions": False, "states": False},
        masters="png",
        generate=[{"name": "probe", "quarantine": "1.png"}],
        card={"template": template},
    )
    names = followed(*of_edition(job, manifest))
    assert len(names["test"]) == manifest.pictures()
    assert [row["json"]["reason"] for row in names["quarantined"]] == ["asked_for"] * 2
    assert len(list(names["pictures"])) == manifest.pictures()
    assert not {"picture", "part", "train"} & names.keys()


@pytest.mark.parametrize("streaming", [False, True])
def test_boxes_captions_and_formats_load_typed_from_every_configuration(everything, streaming):
    job, manifest = everything
    folder, seen = folder_of(manifest, job.store), 0
    for config in (None, "hall", "street_5"):
        for split, rows in datasets.load_dataset(folder, config, streaming=streaming).items():
            for row in rows:
                seen += 1
                record, found = row["json"], row["annotations.json"]
                assert record["split"] == split
                assert [bool(row["jpg"]), bool(row["png"])] == [
                    record["origin"].endswith(end) for end in ("jpg", "png")
                ]
                assert len(found["objects"]["bbox"]) == int(record["origin"][:-4]) % 3
                assert row["txt"] == next(iter(found["texts"]["text"]), "")
            categories = rows.features["annotations.json"]["objects"]["category"].feature
            assert categories.names == list(CLASSES.values())
    assert seen == 24


def test_the_header_declares_what_the_edition_has(everything):
    text, _ = of_edition(*everything)
    header = yaml.safe_load(text.split("---\n", 2)[1])
    assert header["task_categories"] == ["object-detection", "image-to-text", "text-to-image", "image-classification"]
    assert [config["config_name"] for config in header["configs"]] == ["all", "hall", "street_5"]


def test_read_back_is_one_block(everything):
    job, manifest = everything
    folder = folder_of(manifest, job.store)
    assert read_back(folder, manifest).splitlines() == [
        "columns: annotations.json struct, cls ClassLabel, jpg Image, json struct, png Image, txt Value",
        "first row: 96×64 original of 0.jpg",
        f'load_dataset("{folder}", split="train"): 6 rows',
        f'load_dataset("{folder}", split="validation"): 3 rows',
        f'load_dataset("{folder}", split="test"): 3 rows',
        f'load_dataset("{folder}", "hall"): train 3, validation 3 rows',
        f'load_dataset("{folder}", "street_5"): train 3, test 3 rows',
    ]


def test_of_an_edition_of_format_3(format3):
    manifest = resolve("old@1.0.0-r1", format3)
    link_data(manifest, format3)
    source = {"name": "edition", "edition": "old@1.0.0", "store": format3.url}
    recipe = Recipe.parse({"dataset": "old", "version": "1.0.0", "source": source})
    text = write_card(recipe, manifest, format3)
    names = followed(text, folder_of(manifest, format3))
    assert len(names["test"]) == len(list(names["pictures"])) == manifest.pictures()
    assert "| `json` | the record: id, sha256, parent, variant, labels, origin, licence, reason, ops;" in text
    assert "annotations.json" not in text
    assert "digitalsourcetype" not in text
