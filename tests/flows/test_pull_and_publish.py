"""Somebody else's WebDataset repository is pulled, curated, published back and pulled again, by the Hub's client."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import skimage.data
import webdataset
import yaml
from hub_server import environment
from PIL import Image
from published_set import loaded

from variorum.edition.editions import resolve
from variorum.edition.store import Store

pytestmark = pytest.mark.slow

CARD = """\
---
license: cc-by-4.0
pretty_name: Wild pictures
dataset_info:
  features:
  - name: jpg
    dtype: image
  - name: cls
    dtype:
      class_label:
        names:
          '0': cat
          '1': cup
---
# Wild pictures
"""


@pytest.fixture(scope="module")
def wild(hub, tmp_path_factory) -> Path:
    """`lab/wild` on the hub: eight photographs in two tars, one of them twice; and a home of the client."""
    folder = tmp_path_factory.mktemp("wild")
    (folder / "up" / "data").mkdir(parents=True)
    (folder / "up" / "README.md").write_text(CARD)
    pictures = [Image.fromarray(getattr(skimage.data, name)()) for name in ("chelsea", "coffee")]
    with webdataset.ShardWriter(f"{folder}/up/data/train-%03d.tar", maxcount=4, verbose=0) as writer:
        for number in range(8):
            left = 20 * (number if number < 7 else 6)
            out = io.BytesIO()
            pictures[number % 2 if number < 7 else 0].crop((left, left, left + 160, left + 120)).save(out, "JPEG")
            writer.write({"__key__": f"w{number}", "jpg": out.getvalue(), "cls": number % 2 if number < 7 else 0})
    code = f"""
from huggingface_hub import HfApi
api = HfApi()
api.create_repo("lab/wild", repo_type="dataset")
said = api.upload_folder(repo_id="lab/wild", repo_type="dataset", folder_path={str(folder / "up")!r}).oid
"""
    assert len(loaded(hub, folder / "home", code)) == 40
    return folder


@pytest.fixture
def variorum(hub, wild, command):
    """Runs a command against the hub, which must succeed unless a code is given; gives what it prints."""

    def call(*words, code=0, **more):
        done = command(*map(str, words), **{**environment(hub), **more})
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout if code == 0 else done.stderr

    return call


def test_a_curated_copy_of_somebody_elses_set_goes_back(variorum, hub, wild, tmp_path):
    said = json.loads(variorum("pull", "lab/wild", "--json"))
    assert (said["edition"], said["tars"], said["licence"]) == ("wild@1.0.0", 2, "CC-BY-4.0")
    assert said["place"] == f"hf://datasets/lab/wild@{hub.head('lab/wild')}"
    assert said["splits"] == {"train": 8}
    again = json.loads(variorum("pull", "lab/wild", "--revision", "main", "--json"))
    assert (again["digest"], again["fetched"], again["kept"]) == (said["digest"], 0, said["fetched"])

    recipe = {
        "dataset": "wild_clean",
        "version": "1.0.0",
        "masters": "original",
        "source": {"name": "edition", "edition": "wild@1.0.0", "store": str(tmp_path / "store")},
        "curate": [
            {"name": "quality"},
            {"name": "duplicates", "embedding": False},
            {
                "name": "policy",
                "rules": [
                    {
                        "when": [{"column": "duplicates.flag", "equals": True}],
                        "action": "drop",
                        "reason": "copy",
                        "guarded": False,
                    }
                ],
            },
        ],
    }
    (tmp_path / "clean.yaml").write_text(yaml.safe_dump(recipe))
    variorum("run", "clean.yaml", "--runner", "threads")
    clean = resolve("wild_clean@1.0.0-r1", Store(str(tmp_path / "store"), writable=False))
    assert clean.pictures() == 7
    variorum("publish", "wild_clean@1.0.0-r1", "lab/wild-clean")

    code = """
from datasets import load_dataset
rows = load_dataset("lab/wild-clean", split="train", revision="1.0.0-r1")
said = [len(rows), rows.features["cls"].names, rows[0]["jpg"].size, sorted({row["licence"] for row in rows["json"]})]
"""
    assert loaded(hub, tmp_path / "other", code) == [7, ["cat", "cup"], [160, 120], ["CC-BY-4.0"]]

    # somebody else pulls it by its tag, with the digest that the author told
    theirs = ("--store", tmp_path / "theirs")
    said = json.loads(
        variorum("pull", "lab/wild-clean", "--revision", "1.0.0-r1", "--digest", clean.digest(), *theirs, "--json")
    )
    assert (said["edition"], said["digest"], said["card"]) == ("wild_clean@1.0.0-r1", clean.digest(), "author")
    variorum("verify", "wild_clean", *theirs)
    variorum("show", "wild_clean", *theirs)
    variorum("diff", "wild_clean@1.0.0-r1", "wild_clean@1.0.0-r1", *theirs)
    assert "view.html" in hub.files("lab/wild-clean")
    assert not list((tmp_path / "theirs").rglob("*.html"))
    published = len(hub.files("lab/wild-clean"))
    variorum("publish", "wild_clean@1.0.0-r1", "lab/mirror", *theirs)
    assert "lab/wild-clean" not in hub.git("lab/mirror", "show", "main:README.md")
    assert len(hub.files("lab/mirror")) == published
    assert hub.git("lab/mirror", "show", "main:manifest.json") == hub.git(
        "lab/wild-clean", "show", "main:manifest.json"
    )


def test_two_published_versions_are_pulled_and_shown_side_by_side(variorum, hub, shots, tmp_path):
    for version in ("1.0.0", "1.1.0"):
        variorum("publish", f"shots@{version}", "lab/pair", "--store", shots / "store")
    for version in ("1.1.0", "1.0.0"):
        variorum("pull", f"lab/pair@{version}")
    said = variorum("diff", "shots@1.0.0", "shots@1.1.0", "--to", "changes.html", "--json")
    changes = [json.loads(line) for line in said.splitlines()]
    assert [one["kind"] for one in changes] == [*["added"] * 4, "page", "rank"]
    assert changes[-2]["pictures"] == 4
    assert "shots@1.1.0" in (tmp_path / "changes.html").read_text()
    card = (tmp_path / "store/editions/shots/1.1.0/README.md").read_text()
    assert 'load_dataset("lab/pair", split="test", revision="1.1.0")' in card


def test_what_the_hub_refuses_is_one_line(variorum, hub, wild, tmp_path):
    hub.create("lab/closed", {"manifest.json": b"{}", "x.tar": b"x"})
    hub.create("lab/tables", {"train.csv": b"a,b\n"})
    for setting in ("gated", "private"):
        hub.settings["lab/closed"] = {setting: True}
        said = variorum("pull", "lab/closed", code=1, HF_TOKEN="")
        assert "hf auth login" in said
        assert len(said.strip().splitlines()) == 1
    for words, code, says in (
        (("lab/none",), 1, "there is no such dataset"),
        (("lab/wild", "--revision", "9.9.9"), 1, "lab/wild@9.9.9"),
        (("lab/tables",), 1, "it has .csv"),
        (("lab/wild", "--digest", "0" * 64), 2, "no edition lies there"),
    ):
        assert says in variorum("pull", *words, code=code)
    part = json.loads(
        variorum("pull", "hf://datasets/lab/wild@main/data/*-000.tar", "--as", "part", "--only-fetch", "--json")
    )
    assert part["tars"] == 1
    wrong = "hf_" + "wrongwrongwrongwrongwrong"
    said = variorum("pull", "lab/wild", code=1, HF_TOKEN=wrong)
    assert wrong not in said
