"""What is refused before anything leaves the machine, the files of a repository, and what a commit changes."""

import base64
import io
import json
import shutil
import subprocess
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import HfApi
from PIL import ExifTags, Image
from published_set import made, opened

from variorum.edition.editions import beside, folder_of
from variorum.edition.shards import ShardWriter
from variorum.edition.store import Store
from variorum.generators.watermark.watermarking.keys import own_file, own_keys
from variorum.hub import checks
from variorum.hub.commit import changes
from variorum.hub.layout import BESIDE, OURS, Entry, in_memory, layout, objects
from variorum.hub.publish import Terms, publish
from variorum.hub.published import (
    asks_for_licence,
    licence_text,
    published_card,
    published_croissant,
    with_licence,
)
from variorum.hub.repository import File, Remote, explained, git_blob
from variorum.hub.secret_bytes import Needle, needles
from variorum.pipeline import Job, build
from variorum.schemas.errors import StoreError, TemporaryError
from variorum.schemas.recipe import Recipe


@pytest.fixture(scope="module")
def built(photos, tmp_path_factory):
    """A store with shots@1.0.0, and its manifest."""
    folder = tmp_path_factory.mktemp("checked")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VARIORUM_CACHE", str(folder / "cache"))
        return folder / "store", made(folder / "store", photos, evaluate=[{"name": "brightness"}])


@pytest.fixture
def edition(built, tmp_path):
    """The manifest and a copy of the store, for a test to change."""
    shutil.copytree(built[0], tmp_path / "store")
    return built[1], Store(str(tmp_path / "store"))


def with_(manifest, **fields):
    return manifest.model_copy(update=fields)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"version": "1.0.0-dev"}, "--branch dev"),
        ({"version": "1.0.0-dev-r1"}, "--branch dev"),
        ({"licences": {"unknown": 8}}, "unknown"),
        ({"licences": {"CC-BY-ND-4.0": 8}}, "CC-BY-ND-4.0"),
        ({"recipe": {"warning": "Spiders."}}, "--gated manual"),
        ({"shards": {}}, "no accepted picture"),
    ],
)
def test_terms_that_forbid_it(built, fields, says):
    if "CC-BY-ND-4.0" in fields.get("licences", ()):
        fields = {**fields, "sources_edited": 3}
    (refused,) = checks.refused_terms(with_(built[1], **fields), "main", closed=False)
    assert refused.startswith("shots@")
    assert says in refused


def test_terms_that_allow_it(built):
    allowed = [
        *checks.refused_terms(built[1], "main", closed=False),
        *checks.refused_terms(with_(built[1], version="1.0.0-dev"), "dev", closed=False),
        *checks.refused_terms(with_(built[1], recipe={"warning": "Spiders."}), "main", closed=True),
        *checks.refused_terms(with_(built[1], licences={"unknown": 8}), "main", closed=False, checked="me, by mail"),
    ]
    assert not allowed


@pytest.fixture
def offline(monkeypatch):
    """The Hub's client asks an address at which nothing answers."""
    monkeypatch.setattr("variorum.hub.publish.hub", lambda: HfApi(endpoint="http://127.0.0.1:9"))


def test_a_dry_run_works_offline(built, offline):
    dry = publish(built[1], opened(built[0]), "lab/shots", dry_run=True)
    assert dry.refused == ()
    assert dry.new
    assert "127.0.0.1" in dry.url
    assert "can't be reached" in dry.unasked
    sizes = {change.path: change.size for change in dry.changes if change.action == "upload"}
    assert {"README.md", "manifest.json", "view.html"} < set(sizes)
    assert sum(path.endswith(".tar") for path in sizes) == sum(map(len, built[1].shards.values()))
    assert all(sizes.values())


def test_a_dry_run_says_all_refusals_and_lists_the_files(photos, tmp_path, own_cache, offline):
    source = {"name": "image_folder", "path": str(photos), "licence": "unknown"}
    manifest = made(tmp_path / "store", photos, "1.0.0-dev", source=source)
    dry = publish(manifest, opened(tmp_path / "store"), "lab/shots", dry_run=True)
    of_version, of_licence = dry.refused
    assert "--branch dev" in of_version
    assert "--licences-checked" in of_licence
    assert {change.action for change in dry.changes} == {"upload"}


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (": 8 pictures", ": 9 pictures", "9 pictures in"),
        ("| original | 8 |", "| original | 80 |", "| original | 80 |"),
        ("| CC0-1.0 | 8 |", "| CC0-1.0 | 7 |", "| CC0-1.0 | 7 |"),
        ("num_examples: 8", "num_examples: 7", "header"),
    ],
)
def test_a_card_whose_numbers_are_not_the_manifests(edition, old, new, says):
    manifest, store = edition
    checks.refuse_damage(manifest, store)
    path = Path(folder_of(manifest, store), "README.md")
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(StoreError) as refused:
        checks.refuse_damage(manifest, store)
    assert says in str(refused.value)


def test_a_damaged_shard_or_no_card(edition):
    manifest, store = edition
    path = Path(store.object(manifest.accepted()[0][1], ".tar"))
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"x")
    with pytest.raises(StoreError, match="isn't published"):
        checks.refuse_damage(manifest, Store(store.url, writable=False))
    path.write_bytes(content)
    Path(folder_of(manifest, store), "README.md").unlink()
    with pytest.raises(StoreError, match=r"no README\.md; write it with `variorum card`"):
        checks.refuse_damage(manifest, store)


def test_secrets_are_found_in_texts_shards_and_tables_and_never_quoted(edition, monkeypatch):
    import pyarrow as pa
    import pyarrow.parquet as pq

    manifest, store = edition
    own_keys()
    secret = json.loads(own_file().read_text())["secret"]
    token = "hf_" + "abcdefghijklmnopqrstuvwx"
    monkeypatch.setenv("MY_SECRET", "correct horse battery")
    known = needles()
    raw = bytes.fromhex(secret)
    table = io.BytesIO()
    pq.write_table(pa.table({"a": [["x", f"see {token}"]], "b": [{"c": raw}]}), table)
    coded = io.BytesIO()
    pq.write_table(pa.table({"a": pa.array(["x", f"see {token}"]).dictionary_encode()}), coded)
    keyed = io.BytesIO()
    pq.write_table(pa.table({"b": [{"c": b"00" + raw}]}), keyed)

    def shard(ending, content, record=b"{}"):
        with store.temporary(".tar") as path:
            with ShardWriter(path) as writer:
                writer.write("one", {"json": record, ending: content})
            info = store.keep(path, sha256=writer.sha256, samples=1)
        return Entry("data/test-00000-of-00001.tar", info.sha256, info.size, info=info, suffix=".tar")

    found = [
        in_memory("README.md", f"my key is {secret.upper()}".encode()),
        in_memory("README.md", b"from s3://me:password1@bucket/x"),
        in_memory("recipe.yaml", f"note: {token}".encode()),
        in_memory("contact_sheet.png", b"\x89PNG" + raw),
        in_memory("index.parquet", table.getvalue()),
        in_memory("index.parquet", keyed.getvalue()),
        in_memory("index.parquet", coded.getvalue()),
        in_memory("manifest.json", b'"correct horse battery"'),
        shard("txt", f"a cat {token}".encode()),
        shard("png", b"\x89PNG" + base64.b64encode(raw)),
        shard("txt", b"", json.dumps({"metadata": json.dumps({"restricted": True})}).encode()),
    ]
    for entry in found:
        with pytest.raises(StoreError, match=r"shots@1\.0\.0: ") as refused:
            checks.refuse_contents(manifest, store, [entry], known)
        assert all(one not in str(refused.value) for one in (secret, secret.upper(), token, "password1", "battery"))
    assert "restricted" in str(refused.value)
    harmless = json.dumps({"metadata": json.dumps({"restricted": False})}).encode()
    checks.refuse_contents(manifest, store, [*layout(manifest, store), shard("txt", b"a cat", harmless)], known)
    assert repr(Needle("what", b"secret")) == "Needle(what='what')"


def test_pictures_that_say_where_they_were_taken_are_counted_and_need_an_option(edition):
    manifest, store = edition
    with store.temporary(".tar") as path:
        with ShardWriter(path) as writer:
            for number, placed in enumerate((True, False, True, True, True)):
                exif = Image.Exif()
                exif[ExifTags.Base.Artist] = "Ann"
                if placed:
                    exif[ExifTags.IFD.GPSInfo] = {1: "N", 2: (48.0, 8.0, 14.0), 3: "E", 4: (11.0, 34.0, 31.0)}
                packed = io.BytesIO()
                Image.new("RGB", (8, 8)).save(packed, "JPEG", exif=exif)
                record = json.dumps({"origin": f"photo{number}.jpg"}).encode()
                writer.write(f"key{number}", {"json": record, "jpg": packed.getvalue()})
        info = store.keep(path, sha256=writer.sha256, samples=5)
    shard = Entry("data/test-00000-of-00001.tar", info.sha256, info.size, info=info, suffix=".tar")
    with pytest.raises(StoreError, match=r"4 of its pictures .* photo0\.jpg, photo2\.jpg, photo3\.jpg; .*--with-posi"):
        checks.refuse_contents(manifest, store, [shard], ())
    assert checks.refuse_contents(manifest, store, [shard], (), positions=True) == 4
    assert checks.refuse_contents(manifest, store, layout(manifest, store), ()) == 0


def test_the_files_of_a_repository(edition):
    manifest, store = edition
    Path(folder_of(manifest, store), "stray.png").write_bytes(b"nobody shows this")
    found = {entry.path: entry for entry in layout(manifest, store)}
    small = {path for path, entry in found.items() if entry.data is not None}
    assert {path for path in small if not path.endswith(".png")} == set(BESIDE)
    assert "contact_sheet.png" in small
    assert {path for path, entry in found.items() if entry.data is None} == set(objects(manifest))
    assert all(OURS.fullmatch(path) for path in found)
    assert {"stray.png", "source.txt", "current.json", "evaluation-brightness.json"}.isdisjoint(found)
    for entry in found.values():
        if place := entry.local(store):
            assert place.stat().st_size == entry.size


def test_a_picture_that_nobody_blurred_is_refused(edition):
    manifest, store = edition
    warned = with_(manifest, recipe={"warning": "Spiders."})
    sheet, stray = in_memory("contact_sheet.png", b"blurred"), in_memory("spider.png", b"sharp")
    checks.refuse_contents(warned, store, [sheet], ())
    checks.refuse_contents(manifest, store, [stray], ())
    with pytest.raises(StoreError, match=r"spider\.png isn't a plot"):
        checks.refuse_contents(warned, store, [sheet, stray], ())


def test_only_what_differs_is_changed_and_only_ours_is_deleted(edition):
    manifest, store = edition
    entries = layout(manifest, store)
    (one, two, *_) = [entry for entry in entries if entry.suffix == ".tar"]
    card = next(entry for entry in entries if entry.path == "README.md")
    there = {
        card.path: File(card.size, blob=git_blob(card.data)),
        "recipe.yaml": File(3, blob="0" * 40),
        one.path: File(one.size, sha256=one.sha256),
        "data/old-00007-of-00009.tar": File(two.size, sha256=two.sha256),
        "LICENSE": File(5, blob="0" * 40),
        ".gitattributes": File(5, blob="0" * 40),
    }
    remote = Remote("lab/shots", "main", there=True, head="1" * 40, files=there)
    found = {change.path: change for change in changes(entries, remote, store)}
    assert found["README.md"].action == found[one.path].action == "keep"
    assert found["recipe.yaml"].action == "upload"
    assert (found[two.path].action, found[two.path].source) == ("copy", "data/old-00007-of-00009.tar")
    assert [path for path, change in found.items() if change.action == "delete"] == ["data/old-00007-of-00009.tar"]
    every = {change.path: change.action for change in changes(entries, remote, store, everything=True)}
    assert (every["LICENSE"], ".gitattributes" in every) == ("delete", False)


def quarantined(folder, licence, reason):
    """An edition with one good picture and one in quarantine."""
    rng = np.random.default_rng(0)
    (folder / "photos").mkdir()
    for name in ("good", "bad"):
        Image.fromarray(rng.integers(0, 255, (32, 32, 3), np.uint8)).save(folder / "photos" / f"{name}.png")
    lines = [{"file_name": "good.png", "license": "CC0-1.0"}, {"file_name": "bad.png", "license": licence}]
    (folder / "photos" / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "check.py").write_text(CHECK.format(reason))
    source = {"name": "image_folder", "path": str(folder / "photos")}
    job = Job(
        Recipe.parse(
            {"dataset": "held", "version": "1.0.0", "source": source, "generate": [{"name": str(folder / "check.py")}]}
        ),
        str(folder / "store"),
    )
    return build(job), job.store


CHECK = '''"""Pictures called bad don't pass."""

from dataclasses import replace

from variorum.schemas.component import Generator


class Check(Generator):
    """Passes all but one."""

    keeps_objects = True

    def edit(self, sample, of):
        yield replace(sample, reason="{0}" if "bad" in sample.origin else "")
'''


@pytest.mark.parametrize(
    ("licence", "reason", "says"),
    [
        ("ImageNet terms of access", "too_dark", "its quarantine, .* has 1 picture with 'ImageNet terms of access'"),
        ("unknown", "too_dark", "its quarantine, .* has 1 picture with 'unknown'"),
        ("CC0-1.0", "faces_left", "1 pictures with faces that aren't blurred"),
        ("CC0-1.0", "too_dark", ""),
    ],
)
def test_what_is_in_quarantine_goes_up_too(tmp_path, own_cache, licence, reason, says):
    manifest, store = quarantined(tmp_path, licence, reason)
    assert dict(manifest.licences) == {"CC0-1.0": 1}
    assert not list(checks.refused_terms(manifest, "main", closed=False))
    with pytest.raises(StoreError, match=says) if says else nullcontext():
        checks.refuse_quarantine(manifest, store)
    if licence == "unknown":
        checks.refuse_quarantine(manifest, store, "me, by mail")


def test_the_hash_of_a_blob_is_gits(tmp_path):
    (tmp_path / "file").write_bytes(b"some text\n" * 1000)
    said = subprocess.run(["git", "hash-object", str(tmp_path / "file")], capture_output=True, text=True, check=True)
    assert git_blob(tmp_path / "file") == git_blob((tmp_path / "file").read_bytes()) == said.stdout.strip()


@pytest.mark.parametrize(
    "branch", ["1.0.0", "1.0.0-r1", "2.0.0-dev", "a..b", "HEAD", "main.lock", "main.", "-x", "a/b", ""]
)
def test_branches_that_no_edition_goes_to(built, branch):
    with pytest.raises(StoreError, match=r"is no branch's name|the name of a version's tag; use v"):
        publish(built[1], opened(built[0]), "lab/shots", Terms(branch=branch))


def test_other_datasets_and_newer_versions_are_not_replaced(built):
    manifest = built[1]

    def remote(*paths, there=None, branch="main", tags=()):
        files = {path: File(1, blob="0" * 40) for path in paths}
        return Remote("lab/x", branch, True, "1" * 40, files, dict.fromkeys(tags, "2" * 40), manifest=there)

    checks.refuse_repository(manifest, remote(".gitattributes", "README.md", "LICENSE"), replaced=False)
    checks.refuse_repository(manifest, remote("manifest.json", there=with_(manifest, version="0.9.0")), replaced=False)
    newer = with_(manifest, version="1.0.0-r1")
    checks.refuse_repository(manifest, remote("manifest.json", there=newer, branch="old"), replaced=False)
    checks.refuse_repository(manifest, remote("manifest.json", there=newer, tags=["1.0.0"]), replaced=False)
    with pytest.raises(StoreError, match=r"--branch v1\.0\.0"):
        checks.refuse_repository(manifest, remote("manifest.json", there=newer), replaced=False)
    with pytest.raises(StoreError, match=r"other files, such as a\.csv"):
        checks.refuse_repository(manifest, remote("a.csv"), replaced=False)
    other = remote("manifest.json", there=with_(manifest, dataset="birds"))
    with pytest.raises(StoreError, match="the dataset birds"):
        checks.refuse_repository(manifest, other, replaced=False)
    checks.refuse_repository(manifest, other, replaced=True)


class Answer(Exception):
    """An error of a client with the Hub's answer."""

    def __init__(self, status, message=""):
        super().__init__(message)
        self.response = type("Response", (), {"status_code": status, "headers": {"x-error-message": message}})


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (Answer(401), StoreError, "hf auth login"),
        (Answer(403, "no rights"), StoreError, "your token may not do this"),
        (Answer(403, "Private repository storage limit reached"), StoreError, "no space left"),
        (Answer(507), StoreError, "no space left"),
        (Answer(503, "try later"), TemporaryError, "503"),
        (Answer(429, "slow down"), TemporaryError, "429"),
        (ConnectionError("refused"), TemporaryError, "can't be reached"),
        (ValueError("odd\nlast line"), StoreError, "last line"),
    ],
)
def test_errors_of_the_hub_are_one_line(error, kind, says):
    with pytest.raises(kind) as said, explained("lab/x", done="2 of 3 files are up"):
        raise RuntimeError("Error while uploading") from error
    assert says in str(said.value)
    assert "2 of 3 files are up" in str(said.value)
    assert "\n" not in str(said.value)


def test_the_published_card_and_croissant(built):
    folder, manifest = built
    store = opened(folder)
    text = store.read(beside(manifest, "README.md")).decode()
    card = published_card(text, "lab/shots", "1.0.0", manifest, "5.2.0")
    assert 'test = load_dataset("lab/shots", split="test", revision="1.0.0")' in card
    assert "Tested with `datasets` 5.2.0" in card
    assert ": 8 pictures in 2 shards" in card
    assert 'folder = snapshot_download("lab/shots", repo_type="dataset", revision="1.0.0")' in card
    assert "path/to/this/folder" not in card
    assert "](view.html)" not in card
    shown = published_card(text, "lab/shots", "1.0.0", manifest, "5.2.0", 8)
    assert "(contact_sheet.png)\n\n[`view.html`](view.html) shows all pictures with their records: download" in shown
    assert "](view.html) shows 4 of 8 pictures" in published_card(text, "lab/shots", "1.0.0", manifest, "", 4)
    dev = published_card(text, "lab/shots", "dev", with_(manifest, version="1.0.0-dev"), "5.2.0", 8)
    assert 'load_dataset("lab/shots", split="test", revision="dev")' in dev
    assert "The branch `dev` has this edition" in dev
    # of an edition that was pulled from there
    mirror = published_card(shown, "lab/mirror", "1.0.0", manifest, "5.2.0", 8)
    assert mirror == published_card(text, "lab/mirror", "1.0.0", manifest, "5.2.0", 8)
    assert "lab/shots" not in mirror
    mine = text + '\nOthers have load_dataset("lab/else") and `variorum view else@1`.\n'
    assert 'load_dataset("lab/else") and `variorum view else@1`.' in published_card(
        mine, "a/b", "1.0.0", manifest, "", 8
    )
    data = store.read(beside(manifest, "croissant.json"))
    first = json.loads(published_croissant(data, None, "https://huggingface.co/datasets/lab/shots", ""))
    assert set(first) - set(json.loads(data)) == {"url", "datePublished"}
    old = json.dumps({**first, "datePublished": "2020-02-02"}).encode()
    again = json.loads(published_croissant(data, old, first["url"], "Ask first."))
    assert (again["datePublished"], again["conditionsOfAccess"]) == ("2020-02-02", "Ask first.")
    other = json.dumps({**first, "identifier": "else", "datePublished": "2020-02-02"}).encode()
    assert json.loads(published_croissant(data, other, first["url"], ""))["datePublished"] == first["datePublished"]


def test_licences_that_no_header_can_say_stand_in_a_file(built):
    folder, manifest = built
    card = opened(folder).read(beside(manifest, "README.md")).decode()
    assert not asks_for_licence(card)
    licences = {"GPL-2.0-or-later AND CC-BY-2.0": 5, "MIT": 2, "a | text <b> [x](http://x)": 1}
    text = licence_text(with_(manifest, licences=licences)).decode()
    assert text.startswith("# Licences of the pictures of shots@1.0.0\n")
    first = "| <https://spdx.org/licenses/GPL-2.0-or-later>, <https://spdx.org/licenses/CC-BY-2.0> |"
    assert f"| GPL-2.0-or-later AND CC-BY-2.0 | 5 {first}" in text
    assert "| MIT | 2 | <https://spdx.org/licenses/MIT> |" in text
    assert "| name the authors and the licence, and say what was changed | 5 |" in text
    assert "<b>" not in text
    assert "](http" not in text
    other = card.replace("license: cc0-1.0\n", "license: other\nlicense_name: x\nlicense_link: https://a.b\n", 1)
    assert asks_for_licence(other)
    said = with_licence(other)
    assert said == other.replace("license_link: https://a.b\n", "license_link: LICENSE.md\n")
    assert with_licence(said) == said
