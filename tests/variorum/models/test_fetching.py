"""What a download takes, said before it begins; and what the Hub can answer, each in a line with the way out."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import namedtuple
from types import SimpleNamespace

import pytest
from model_hub import TOKEN, serving, talk_to

from variorum.flows.endings import LATER, ending
from variorum.machine.progress import Progress
from variorum.models import ModelTable, fetching, hub_files
from variorum.schemas.errors import ModelOutOfReach, ModelUnavailable

COMMIT, OTHER = "1" * 40, "3" * 40
CONFIG, SHARED, OWN, FILE = b"{}", os.urandom(4000), os.urandom(500), os.urandom(700)
PINNED = hashlib.sha256(FILE).hexdigest()


def entry(alias, place, more=""):
    return (
        f'[{alias}]\nname = "{alias}"\nloader = "u2net"\nlicence = "MIT"\nsource = "me"\nsize = 9000\n{more}\n{place}\n'
    )


def repo(name="me/model", commit=COMMIT, files=("config.json", "shared.safetensors"), mirrors=()):
    named = ", ".join(f'"{file}"' for file in files)
    others = ", ".join(f'"{mirror}"' for mirror in mirrors)
    return f'hub_repo = {{ repo = "{name}", mirrors = [{others}], revision = "{commit}", files = [{named}] }}'


@pytest.fixture
def hub(tmp_path, tmp_path_factory, monkeypatch):
    with serving(tmp_path_factory.mktemp("hub")) as running:
        running.put("me/model", COMMIT, {"config.json": CONFIG, "shared.safetensors": SHARED, "own.safetensors": OWN})
        running.put("me/single", OTHER, {"w.pth": FILE})
        talk_to(running, tmp_path / "hub", monkeypatch)
        yield running


@pytest.fixture
def table(tmp_path, monkeypatch):
    """Makes a table of these entries."""

    def make(*entries: str) -> ModelTable:
        (tmp_path / "mine.toml").write_text("\n".join(entries))
        monkeypatch.setenv("VARIORUM_MODELS", str(tmp_path / "mine.toml"))
        return ModelTable("embedded", tmp_path / "cache")

    return make


class Noted(Progress):
    def __init__(self):
        self.phases = []

    def start(self, what, total, done=0):
        self.phases.append([what, total, 0])

    def advance(self, steps):
        self.phases[-1][2] += steps


def test_what_aliases_share_counts_once_and_what_is_here_not_at_all(hub, table):
    models = table(
        entry("first", repo()),
        entry("second", repo(files=("shared.safetensors", "own.safetensors")), 'uses = ["single"]'),
        entry("third", repo()),
        entry("single", f'hub_file = {{ repo = "me/single", file = "w.pth", sha256 = "{PINNED}" }}'),
    )
    found = models.downloads(["first", "second", "third"])
    assert [(one.alias, one.size) for one in found] == [
        ("first", 9000),
        ("second", 9000),
        ("single", 9000),
        ("third", 0),
    ]
    known = fetching.measured(found)
    shared = len(CONFIG) + len(SHARED)
    assert [one.size for one in known] == [shared, len(OWN), len(FILE), 0]
    ((what, text),) = fetching.announced(known, about=False)
    assert what == "to download"
    assert text.startswith("0.0 MB (first 0.0 MB, second 0.0 MB, single 0.0 MB, third shares files); ")
    seen = Noted()
    assert fetching.fetch_all(known, models.cache, seen) == {}
    assert seen.phases == [[f"fetching {one.alias}", one.size, one.size] for one in known if one.size]
    assert all(hub.given[name] == len(data) for name, data in (("shared.safetensors", SHARED), ("w.pth", FILE)))
    assert models.downloads(["first", "second", "third"]) == []
    assert {models.status(alias).state for alias in ("first", "second", "third", "single")} == {"ready"}


Usage = namedtuple("Usage", "total used free")


def test_a_disk_that_is_too_small_is_known_before_a_byte_comes(hub, table, monkeypatch):
    models = table(entry("first", repo()))
    known = fetching.measured(models.downloads(["first"]))
    assert fetching.without_room(known) == ""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**6, 10**6 - 3000, 3000))
    assert "no space left for this: 0.0 MB are to be downloaded, and 0.0 MB are free" in fetching.without_room(known)
    assert hub.given.get("shared.safetensors", 0) == 0


def refusal(models, alias="mine"):
    """The error of a download, which the survey before it says alike."""
    (asked,) = fetching.measured(models.downloads([alias]))
    with pytest.raises(ModelUnavailable) as raised:
        models.fetch(alias)
    assert len(str(raised.value).splitlines()) == 1
    assert str(asked.problem) == str(raised.value)
    return raised.value


def test_a_gated_repository_is_told_from_a_missing_one(hub, table):
    models = table(entry("mine", repo(), "gated = true"))
    hub.gated.add("me/model")
    terms = f"log in with `hf auth login` and accept its terms at {hub.url}/me/model"
    assert fetching.announced(models.downloads(["mine"]), about=True)[1] == ("gated", f"mine: {terms}")
    assert str(refusal(models)) == f"me/model is gated: {terms}"
    assert f"it is gated: {terms}" in models.status("mine").way_out
    hub.consented = True
    assert models.fetch("mine")
    lost = str(refusal(table(entry("mine", repo("me/lost", mirrors=["me/gone"])))))
    assert lost.startswith("the Hub has no me/lost or me/gone")
    assert "gated" not in lost


def test_a_login_that_the_hub_refuses(hub, table, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_" + "another" * 5)
    assert "log in with `hf auth login` again" in str(refusal(table(entry("mine", repo()))))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.lie = 403
    assert "the Hub refuses the login" in str(refusal(table(entry("mine", repo()))))


def test_a_closed_repository_needs_a_login(hub, table, monkeypatch):
    hub.closed.add("me/model")
    monkeypatch.setenv("HF_TOKEN", "")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_IMPLICIT_TOKEN", True)
    assert "or it is closed: check the name, or log in" in str(refusal(table(entry("mine", repo()))))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_IMPLICIT_TOKEN", False)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert table(entry("mine", repo())).fetch("mine")


def test_a_commit_or_a_file_that_isnt_there_is_named(hub, table):
    gone = refusal(table(entry("mine", repo(commit=OTHER))))
    assert str(gone).startswith(f"me/model has no commit {OTHER}; name another commit")
    lost = refusal(table(entry("mine", repo(files=("config.json", "a.safetensors", "b.safetensors")))))
    assert str(lost).startswith(f"me/model at {COMMIT} has no a.safetensors, b.safetensors; name another commit")
    assert not isinstance(lost, ModelOutOfReach)


@pytest.mark.parametrize(("status", "said"), [(429, "asks for a pause (429)"), (503, "fails for now (503)")])
def test_what_may_pass_ends_the_command_with_75(hub, table, status, said):
    hub.lie = status
    error = refusal(table(entry("mine", repo())))
    assert said in str(error)
    assert ending(error).code == LATER
    hub.lie = ""
    assert table(entry("mine", repo())).fetch("mine")


def test_an_answer_that_ends_early_is_asked_for_again(hub, table):
    hub.faults["shared.safetensors"] = ["cut", "cut"]
    assert (table(entry("mine", repo())).fetch("mine") / "shared.safetensors").read_bytes() == SHARED
    assert hub.faults["shared.safetensors"] == []


def test_answers_that_always_end_early_are_no_weights(hub, table):
    hub.faults["shared.safetensors"] = ["cut"] * 100
    models = table(entry("mine", repo()))
    with pytest.raises(ModelOutOfReach):
        models.fetch("mine")
    assert models.status("mine").state == "missing"
    hub.faults.clear()
    assert models.fetch("mine")


def test_without_a_network_the_hub_is_asked_once(table, hub, monkeypatch):
    from huggingface_hub import constants

    models = table(entry("mine", repo()), entry("other", repo("me/other")))
    hub.asked.clear()
    url = "http://127.0.0.1:9"
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    problems = [one.problem for one in fetching.measured(models.downloads(["mine", "other"]))]
    for problem, name in zip(problems, ("me/model", "me/other"), strict=True):
        assert str(problem).startswith(f"{name} could not be downloaded: {url} isn't within reach (")
        assert ending(problem).code == LATER


def test_the_client_looks_up_a_commit(hub, table, tmp_path, monkeypatch):
    monkeypatch.setenv("VARIORUM_LOCK", str(tmp_path / "models.lock.toml"))
    unpinned = repo("me/none", mirrors=["me/model"]).replace(f'revision = "{COMMIT}", ', "")
    models = table(entry("mine", unpinned))
    hub.closed.add("me/model")
    monkeypatch.setenv("HF_TOKEN", "hf_" + "another" * 5)
    assert "the Hub refuses the login" in models.lock(["mine"])["mine"]
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert models.lock(["mine"]) == {}
    assert models.entry("mine").hub_repo.revision == COMMIT
    assert models.fetch("mine")


def test_bytes_that_come_by_xet_count_once():
    reporting = pytest.importorskip("huggingface_hub.utils._xet_progress_reporting")
    seen = []
    with reporting.XetDownloadProgressReporter(
        reconstruction_desc="w", total=100, log_level=30, tqdm_class=hub_files._reporting(seen.append)
    ) as reporter:
        for received, written in ((60, 0), (100, 40), (100, 100)):
            reporter.update_progress(
                SimpleNamespace(
                    total_transfer_bytes_completed=received,
                    total_transfer_bytes_completion_rate=1.0,
                    total_bytes_completed=written,
                    total_bytes_completion_rate=1.0,
                    total_bytes=100,
                )
            )
    assert sum(seen) == 100
