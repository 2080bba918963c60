"""Entries without a commit: they can't be used until the commit is looked up and written to the lock file."""

from __future__ import annotations

import json
import shutil
import tomllib
from dataclasses import dataclass

import httpx
import pytest
from huggingface_hub import HfApi, constants
from huggingface_hub.errors import OfflineModeIsEnabled, RepositoryNotFoundError

from variorum.models import ModelTable, doctor
from variorum.models.download import find_commit
from variorum.models.table_entries import HubRepo, Locked, read_lock
from variorum.schemas.errors import ModelUnavailable, RecipeError

FIRST, SECOND = "1" * 40, "2" * 40
FILES = ("model_index.json", "unet/config.json", "unet/model.safetensors")


@dataclass
class File:
    rfilename: str


@dataclass
class Info:
    sha: str
    siblings: list[File]


class Hub:
    """Answers `model_info` for its repositories, as `HfApi` does, and notes the questions."""

    def __init__(self, repos):
        self.repos, self.asked = repos, []

    def model_info(self, repo):
        self.asked.append(repo)
        if repo not in self.repos:
            gone = httpx.Response(404, request=httpx.Request("GET", "https://hub.test"))
            raise RepositoryNotFoundError(f"404: {repo}", response=gone)
        sha, files = self.repos[repo]
        return Info(sha, [File(name) for name in files])


TABLE = """
[mine]
name = "mine"
loader = "diffusion"
hub_repo = { repo = "gone/model", mirrors = ["here/model"], files = ["model_index.json", "unet/model.safetensors"] }
options = { task = "text_to_image" }
licence = "MIT"
source = "me"

[other]
name = "other"
loader = "diffusion"
hub_repo = { repo = "lost/model", files = ["model_index.json"] }
options = { task = "text_to_image" }
licence = "MIT"
source = "me"
"""


@pytest.fixture
def lock(tmp_path, monkeypatch):
    """Path of the lock file, with a table of two entries without a commit."""
    table = tmp_path / "mine.toml"
    table.write_text(TABLE)
    monkeypatch.setenv("VARIORUM_MODELS", str(table))
    monkeypatch.setenv("VARIORUM_LOCK", str(tmp_path / "folder" / "models.lock.toml"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path / "folder" / "models.lock.toml"


def test_an_open_entry_is_unusable_and_says_how_to_pin_it(lock):
    table = ModelTable("hub")
    for ask in (table.pin, table.get, table.fetch):
        with pytest.raises(ModelUnavailable, match=r"pin it with `variorum doctor \w+ --profile hub --pin`"):
            ask("mine")
    status = table.status("mine")
    assert (status.state, status.location) == ("unpinned", "gone/model at no commit yet")
    assert "--profile hub --pin" in status.way_out
    assert {row.alias: row.state for row in doctor(table)}["mine"] == "unpinned"


def test_the_first_repository_that_exists_is_pinned_and_stays(lock):
    hub = Hub({"here/model": (FIRST, FILES)})
    table = ModelTable("hub")
    problems = table.lock(["mine", "other", "zero_shot"], hub)
    assert hub.asked == ["gone/model", "here/model", "lost/model"]
    assert {alias: why.partition(",")[0] for alias, why in problems.items()} == {"other": "the Hub has no lost/model"}
    assert tomllib.loads(lock.read_text()) == {"mine": {"repo": "here/model", "revision": FIRST}}
    assert table.pin("mine") == f'mine@git:{FIRST}+diffusion.2;{{"task":"text_to_image"}}'
    assert table.status("mine").state == "missing"
    assert table.status("other").state == "unpinned"

    moved = Hub({"here/model": (SECOND, FILES), "lost/model": (SECOND, FILES)})
    again = ModelTable("hub")  # another process
    assert again.lock(["mine", "other"], moved) == {}
    assert moved.asked == ["lost/model"]
    assert read_lock() == {
        "mine": Locked(repo="here/model", revision=FIRST),
        "other": Locked(repo="lost/model", revision=SECOND),
    }
    assert again.entry("mine").hub_repo.revision == FIRST
    assert [item.name for item in lock.parent.iterdir()] == [lock.name]


def test_nothing_found_writes_nothing(lock):
    assert set(ModelTable("hub").lock(["mine", "other"], Hub({}))) == {"mine", "other"}
    assert not lock.exists()


def test_a_commit_without_the_files_is_no_pin():
    place = HubRepo(repo="a/b", files=FILES)
    with pytest.raises(ModelUnavailable, match=rf"a/b at {FIRST} has no unet/config\.json, unet/model\.safetensors$"):
        find_commit(place, Hub({"a/b": (FIRST, ("model_index.json",))}))
    pickled = ("model_index.json", "unet/config.json", "unet/model.bin", "vae/model.bin")
    with pytest.raises(ModelUnavailable, match=r"pickles \(unet/model\.bin\) are never.*docs/operate/models\.md"):
        find_commit(place, Hub({"a/b": (FIRST, pickled)}))


def test_a_hub_that_cannot_be_asked_is_no_missing_repository(monkeypatch):
    class Offline:
        def model_info(self, repo):
            raise OfflineModeIsEnabled("offline mode")

    with pytest.raises(ModelUnavailable, match="the Hub could not be asked about a/b: HF_HUB_OFFLINE is set"):
        find_commit(HubRepo(repo="a/b"), Offline())
    assert callable(HfApi().model_info)


def test_a_lock_for_another_repository_is_not_used(lock):
    lock.parent.mkdir()
    lock.write_text(f'[mine]\nrepo = "someone/else"\nrevision = "{FIRST}"\n')
    assert ModelTable("hub").status("mine").state == "unpinned"


def test_a_lock_never_moves_what_a_table_pins(lock):
    before = ModelTable("hub").pin("zero_shot")
    lock.parent.mkdir()
    lock.write_text(f'[zero_shot]\nrepo = "openai/clip-vit-large-patch14"\nrevision = "{FIRST}"\n')
    assert ModelTable("hub").pin("zero_shot") == before


@pytest.mark.parametrize("text", ["[mine]\nrepo = 'a/b'\nrevision = 'main'", "[mine", "[mine]\nrepo = 'a/b'"])
def test_a_wrong_lock_file_is_refused_by_name(lock, text):
    lock.parent.mkdir()
    lock.write_text(text)
    with pytest.raises(RecipeError, match=r"models\.lock\.toml"):
        ModelTable("hub")


def test_a_local_folder_has_a_pin_that_follows_its_content(tmp_path, monkeypatch, own_cache):
    folder = tmp_path / "checkpoint"
    (folder / "unet").mkdir(parents=True)
    (folder / "unet" / "config.json").write_text("{}")
    (folder / "README.md").write_text("a card")
    table = tmp_path / "mine.toml"
    lines = TABLE.split("[other]")[0].splitlines()
    local = f'local = {{ path = "{folder}" }}'
    table.write_text("\n".join(local if line.startswith("hub_repo") else line for line in lines))
    monkeypatch.setenv("VARIORUM_MODELS", str(table))
    first = ModelTable("hub").pin("mine")
    assert first.startswith("mine@sha256:")
    (folder / "README.md").write_text("another card")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "noted.json").write_text("when it was downloaded")
    assert ModelTable("hub").pin("mine") == first
    (folder / "unet" / "config.json").write_text('{"a": 1}')
    assert ModelTable("hub").pin("mine") != first
    (folder / "unet" / "model.safetensors").write_bytes(b"\x40\0\0\0\0\0\0\0{")
    assert "model.safetensors is cut off" in ModelTable("hub").status("mine").problem


def test_a_pinned_repository_is_found_in_the_hubs_cache_under_a_mirrors_name(tiny, tmp_path, monkeypatch):
    """Everything but the download, with random weights in place of a checkpoint."""
    snapshot = tmp_path / "hub" / "models--here--model" / "snapshots" / FIRST
    shutil.copytree(tiny / "text_to_image", snapshot)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    files = sorted(path.relative_to(snapshot).as_posix() for path in snapshot.rglob("*") if path.is_file())
    table = tmp_path / "mine.toml"
    place = f'repo = "gone/model", mirrors = ["here/model"], revision = "{FIRST}", files = {json.dumps(files)}'
    lines = TABLE.split("[other]")[0].splitlines()
    table.write_text("\n".join(f"hub_repo = {{ {place} }}" if line.startswith("hub_repo") else line for line in lines))
    monkeypatch.setenv("VARIORUM_MODELS", str(table))
    models = ModelTable("hub", tmp_path / "cache")
    assert models.status("mine").state == "ready"
    (picture,) = models.get("mine")(["a cat"], [""], [1], steps=2, guidance=2.0, size=None)
    assert picture.shape == (64, 64, 3)
    (snapshot / "unet" / "config.json").unlink()
    assert models.status("mine").state == "missing"
