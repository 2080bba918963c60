"""`variorum publish` against a double of the Hub that the real client talks to."""

import hashlib
import io
import json
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hub_front import TOKEN
from hub_server import environment
from published_set import WARNING, loaded, made, opened
from warm_command import MAIN

from variorum.edition.editions import resolve
from variorum.edition.shards import read_shard
from variorum.edition.store import Store

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(shots, photos):
    """The store of `shots` with seen@1.0.0, which has a content warning, and free@1.0.0 under 0BSD."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VARIORUM_CACHE", str(shots / "cache"))
        made(shots / "store", photos, dataset="seen", warning=WARNING)
        source = {"name": "image_folder", "path": str(photos), "licence": "0BSD"}
        made(shots / "store", photos, dataset="free", source=source)
    return shots


@pytest.fixture
def publish(built, hub, command):
    """Runs the command against the hub; gives its exit code, its output and its errors."""
    hub.fresh()

    def call(edition, repo, *words, token=TOKEN, fresh=False, **more):
        variables = environment(hub, token=token) | {"HF_TOKEN": token, **more}
        done = command("publish", edition, repo, "--store", str(built / "store"), *words, fresh=fresh, **variables)
        assert "Traceback" not in done.stderr, done.stderr
        return done

    return call


def listed(done):
    """The report of `--json`."""
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_an_edition_goes_up_and_datasets_alone_loads_it_by_version(publish, hub, built, tmp_path):
    dry = listed(publish("shots@1.0.0", "lab/shots", "--dry-run", "--json"))
    assert {one["action"] for one in dry["files"]} == {"upload"}
    assert not hub.repo("lab/shots").exists()
    first = listed(publish("shots@1.0.0", "lab/shots", "--json"))
    assert [one["path"] for one in first["files"]] == [one["path"] for one in dry["files"]]
    assert hub.files("lab/shots") == sorted([".gitattributes", *(one["path"] for one in dry["files"])])
    assert hub.head("lab/shots", "1.0.0") == hub.head("lab/shots") == first["commit"]
    size_of_first, commits = sum(hub.sent.values()), hub.commits

    again = publish("shots@1.0.0", "lab/shots")
    assert again.returncode == 0
    assert "is published already" in again.stdout
    assert (sum(hub.sent.values()), hub.commits) == (size_of_first, commits)

    hub.sent.clear()
    second = listed(publish("shots@1.1.0", "lab/shots", "--json"))
    actions = {one["path"]: one["action"] for one in second["files"]}
    assert actions["data/test-00000-of-00003.tar"] == actions["data/test-00001-of-00003.tar"] == "copy"
    assert actions["data/test-00002-of-00003.tar"] == "upload"
    assert actions["data/test-00000-of-00002.tar"] == "delete"
    big = {one["path"] for one in second["files"] if one["action"] == "upload" and not one["path"].endswith(TEXTS)}
    assert len(hub.sent) == len(big)
    assert hub.head("lab/shots", "1.0.0") == first["commit"]
    assert hub.head("lab/shots", "1.1.0") == hub.head("lab/shots")

    code = """
from datasets import load_dataset
import hashlib
said = {}
for version in ("1.0.0", "1.1.0"):
    for streaming in (False, True):
        rows = load_dataset("lab/shots", "all", revision=version, streaming=streaming)["test"]
        rows = [dict(row) for row in rows]
        said[f"{version} {streaming}"] = sorted(
            (row["json"]["id"], hashlib.sha256(row["png"].convert("RGB").tobytes()).hexdigest()) for row in rows
        )
said["columns"] = sorted(load_dataset("lab/shots", revision="1.1.0", streaming=True)["test"].features)
"""
    said = loaded(hub, tmp_path / "other", code)
    assert said.pop("columns") == ["cls", "json", "png"]
    store = opened(built / "store")
    for version in ("1.0.0", "1.1.0"):
        wanted = sorted(pictures(store, version))
        assert said[f"{version} False"] == said[f"{version} True"] == [list(one) for one in wanted]
    card = hub.git("lab/shots", "show", "main:README.md")
    assert 'load_dataset("lab/shots", split="test", revision="1.1.0")' in card
    assert "Tested with `datasets` " in card
    code = """
from huggingface_hub import snapshot_download
import mlcroissant
folder = snapshot_download("lab/shots", repo_type="dataset", revision="1.1.0")
found = mlcroissant.Dataset(folder + "/croissant.json")
issues = found.metadata.ctx.issues
said = [found.metadata.url, *issues.warnings, *issues.errors, len(list(found.records("pictures")))]
"""
    pytest.importorskip("mlcroissant")
    assert loaded(hub, tmp_path / "other", code) == [f"{hub.url}/datasets/lab/shots", 12]


TEXTS = (".md", ".json", ".yaml", ".html")


def pictures(store, version):
    """(id, sha256 of the pixels) of an edition's accepted pictures."""
    from PIL import Image

    for _, shard in resolve(f"shots@{version}", store).accepted():
        for key, members in read_shard(store.path(shard)):
            image = Image.open(io.BytesIO(members["png"])).convert("RGB")
            yield key, hashlib.sha256(image.tobytes()).hexdigest()


def test_somebody_elses_commit_in_between_is_found_and_kept(publish, hub, built):
    listed(publish("shots@1.0.0", "lab/busy", "--json"))
    hub.pushes = [("LICENSE", b"free"), ("notes.txt", b"mine")]
    done = listed(publish("shots@1.1.0", "lab/busy", "--json"))
    assert {"LICENSE", "notes.txt"} < set(hub.files("lab/busy"))
    assert hub.head("lab/busy", "1.1.0") == done["commit"]
    messages = hub.git("lab/busy", "log", "--format=%s").split("\n")
    assert [one.split()[0] for one in messages[:3]] == ["shots", "somebody", "somebody"]

    hub.git("lab/busy", "tag", "-d", "1.1.0")  # as if the command had been killed before it set the tag
    commits = hub.commits
    listed(publish("shots@1.1.0", "lab/busy", "--json"))
    assert (hub.head("lab/busy", "1.1.0"), hub.commits) == (done["commit"], commits)

    card = built / "store/editions/shots/1.1.0/README.md"
    text = card.read_text()
    try:
        card.write_text(f"{text}\nA remark of its authors.\n")
        again = listed(publish("shots@1.1.0", "lab/busy", "--json"))
    finally:
        card.write_text(text)
    assert [one["path"] for one in again["files"] if one["action"] != "keep"] == ["README.md"]
    assert "A remark of its authors" in hub.git("lab/busy", "show", "main:README.md")
    assert hub.head("lab/busy", "1.1.0") == done["commit"]


def test_an_upload_that_is_killed_is_continued_and_shows_nothing_before(publish, hub, built, tmp_path):
    hub.uploads_until_hang, hub.hang = 3, threading.Event()
    words = ["publish", "shots@1.1.0", "lab/killed", "--store", str(built / "store")]
    variables = environment(hub) | {"VARIORUM_CACHE": str(tmp_path / "cache"), "USE_TORCH": "0"}
    running = subprocess.Popen([sys.executable, "-c", MAIN, *words], env=variables, stderr=subprocess.DEVNULL)
    wait(lambda: hub.uploads_until_hang < 0)
    running.send_signal(signal.SIGKILL)
    assert running.wait(20) == -signal.SIGKILL
    assert hub.files("lab/killed") == [".gitattributes"]
    hub.hang.set()
    time.sleep(0.2)
    before = dict(hub.sent)
    assert before
    done = listed(publish("shots@1.1.0", "lab/killed", "--json"))
    assert hub.head("lab/killed", "1.1.0") == done["commit"]
    assert all(hub.sent[oid] == size for oid, size in before.items()), "sent twice"


def test_a_full_quota_says_what_is_up_and_the_same_command_continues(publish, hub):
    hub.uploads_until_full = 4
    failed = publish("shots@1.1.0", "lab/full")
    assert failed.returncode == 1
    assert "no space left" in failed.stderr
    assert "the same command continues" in failed.stderr
    assert hub.files("lab/full") == [".gitattributes"]
    hub.uploads_until_full = None
    before = dict(hub.sent)
    listed(publish("shots@1.1.0", "lab/full", "--json"))
    assert all(hub.sent[oid] == size for oid, size in before.items())


def test_wrong_tokens_and_no_network_are_one_line_each(publish, hub, built, tmp_path):
    for token in ("", "hf_" + "wrongwrongwrongwrongwrong"):
        failed = publish("shots@1.0.0", "lab/locked", token=token)
        assert failed.returncode == 1
        assert "hf auth login" in failed.stderr
        assert not token or token not in failed.stderr + failed.stdout
    failed = publish("shots@1.0.0", "forbidden/shots")
    assert (failed.returncode, "may not do this" in failed.stderr) == (1, True)
    away = publish("shots@1.0.0", "lab/away", fresh=True, HF_ENDPOINT="http://127.0.0.1:9")
    assert (away.returncode, "can't be reached" in away.stderr) == (75, True)


def test_other_peoples_datasets_tags_and_newer_versions_stay(publish, hub):
    hub.create("lab/theirs", {"train.csv": b"a,b\n"})
    failed = publish("shots@1.0.0", "lab/theirs")
    assert (failed.returncode, "train.csv" in failed.stderr, "--replace" in failed.stderr) == (1, True, True)
    listed(publish("shots@1.0.0", "lab/theirs", "--replace", "--json"))
    assert "train.csv" not in hub.files("lab/theirs")

    hub.create("../models/lab/net")
    failed = publish("shots@1.0.0", "lab/net")
    assert (failed.returncode, "this is a model" in failed.stderr) == (1, True)

    hub.create("lab/tagged")
    hub.git("lab/tagged", "tag", "1.0.0")
    failed = publish("shots@1.0.0", "lab/tagged")
    assert (failed.returncode, "never changes" in failed.stderr) == (1, True)

    listed(publish("shots@1.1.0", "lab/newer", "--json"))
    failed = publish("shots@1.0.0", "lab/newer")
    assert (failed.returncode, "--branch v1.0.0" in failed.stderr) == (1, True)
    head = hub.head("lab/newer")
    listed(publish("shots@1.0.0", "lab/newer", "--branch", "v1.0.0", "--json"))
    assert hub.head("lab/newer") == head
    assert hub.head("lab/newer", "1.0.0") == hub.head("lab/newer", "v1.0.0")
    assert "data/test-00001-of-00002.tar" in hub.files("lab/newer", "1.0.0")


def test_licences_that_the_header_cannot_name_go_up_in_a_file(publish, hub):
    listed(publish("free@1.0.0", "lab/free", "--json"))
    header = hub.git("lab/free", "show", "main:README.md")
    assert "\nlicense: other\nlicense_name: 0bsd\nlicense_link: LICENSE.md\n" in f"\n{header}"
    said = hub.git("lab/free", "show", "main:LICENSE.md")
    assert "| 0BSD | 8 | <https://spdx.org/licenses/0BSD> |" in said
    first = said.partition("\n")[0]
    hub.commit("lab/free", "main", {"LICENSE.md": f"{first}, as it was".encode()}, [], "older")
    again = listed(publish("free@1.0.0", "lab/free", "--json"))
    assert [one["path"] for one in again["files"] if one["action"] != "keep"] == ["LICENSE.md"]
    assert hub.git("lab/free", "show", "main:LICENSE.md") == said

    for name, path in (("own", "LICENSE.md"), ("old", "Licence.txt")):
        hub.create(f"lab/{name}", {path: b"Ask me."})
        listed(publish("free@1.0.0", f"lab/{name}", "--json"))
        assert hub.git(f"lab/{name}", "show", f"main:{path}") == "Ask me."
        assert [one for one in hub.files(f"lab/{name}") if one.lower().startswith("licen")] == [path]
        assert "license_link: https://spdx.org/licenses/0BSD" in hub.git(f"lab/{name}", "show", "main:README.md")
    listed(publish("free@1.0.0", "lab/own", "--replace", "--json"))
    assert hub.git("lab/own", "show", "main:LICENSE.md") == said


def test_dev_versions_go_to_a_branch_and_get_no_tag(publish, hub):
    failed = publish("shots@1.2.0-dev", "lab/dev")
    assert (failed.returncode, "--branch dev" in failed.stderr) == (1, True)
    done = listed(publish("shots@1.2.0-dev", "lab/dev", "--branch", "dev", "--json"))
    assert (done["tag"], hub.git("lab/dev", "tag"), hub.head("lab/dev", "dev")) == ("", "", done["commit"])
    assert 'load_dataset("lab/dev", split="test", revision="dev")' in hub.git("lab/dev", "show", "dev:README.md")
    again = listed(publish("shots@1.2.0-dev", "lab/dev", "--branch", "dev", "--json"))
    assert (again["new"], again["commit"]) == (False, done["commit"])


def test_an_edition_with_a_warning_is_closed_before_anything_is_in_it(publish, hub, built, tmp_path):
    failed = publish("seen@1.0.0", "lab/seen")
    assert (failed.returncode, "--gated manual" in failed.stderr) == (1, True)
    assert not hub.repo("lab/seen").exists()
    listed(publish("seen@1.0.0", "lab/seen", "--gated", "manual", "--private", "--json"))
    assert hub.settings["lab/seen"] == {"private": True, "gated": "manual"}
    croissant = json.loads(hub.git("lab/seen", "show", "main:croissant.json"))
    assert WARNING in croissant["conditionsOfAccess"]
    code = """
from datasets import load_dataset
said = []
for token in (False, None):  # logged out, and with the token of the environment
    try:
        said.append(len(load_dataset("lab/seen", token=token)["test"]))
    except Exception as error:
        said.append(type(error).__name__)
"""
    assert loaded(hub, tmp_path / "other", code) == ["DatasetNotFoundError", 8]


def test_a_shard_that_changes_on_disk_is_not_published(publish, hub, built):
    store = Store(str(built / "store"), writable=False)
    shard = resolve("shots@1.0.0", store).accepted()[0][1]
    path = Path(store.object(shard, ".tar"))
    content = path.read_bytes()
    changed = bytes([content[0] ^ 1]) + content[1:]
    try:
        path.write_bytes(changed)
        failed = publish("shots@1.0.0", "lab/changed")
        assert (failed.returncode, "isn't published" in failed.stderr) == (1, True)
        assert not hub.repo("lab/changed").exists()

        path.write_bytes(content)
        hub.uploads_until_hang, hub.hang = 0, threading.Event()
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(publish, "shots@1.0.0", "lab/changed")
            wait(lambda: hub.uploads_until_hang < 0)
            path.write_bytes(changed)
            hub.hang.set()
            failed = running.result()
        assert (failed.returncode, "changed on disk" in failed.stderr) == (1, True)
        assert hub.files("lab/changed") == [".gitattributes"]
    finally:
        path.write_bytes(content)


def wait(until):
    """Wait for something that another process does."""
    end = time.monotonic() + 60
    while not until():
        assert time.monotonic() < end
        time.sleep(0.02)
