"""Editions that are signed, pulled by their signer, and tags that move, on a double of the Hub."""

import json
import shutil
import subprocess
import time

import pytest
from hub_server import environment

from variorum.schemas.canonical import digest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="OpenSSH isn't installed"),
]


@pytest.fixture
def keys(tmp_path):
    """A folder with the keys `mine` and `other`."""
    for name in ("mine", "other"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)], check=True)
    return tmp_path


@pytest.fixture
def variorum(hub, command):
    """Runs a command against the hub, which must succeed unless a code is given; gives what it prints."""
    hub.fresh()

    def call(*words, code=0):
        done = command(*map(str, words), **environment(hub))
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr if code == 0 else done.stderr

    return call


def test_a_signed_edition_and_who_pulls_it(variorum, hub, shots, keys):
    store = ("--store", shots / "store")
    assert "edition.sig" in variorum("publish", "shots@1.0.0", "lab/ours", *store, "--sign", "mine", "--dry-run")
    variorum("publish", "shots@1.0.0", "lab/ours", *store, "--sign", "mine")
    for more in ((), ("--sign", "mine")):
        assert "is published already" in variorum("publish", "shots@1.0.0", "lab/ours", *store, *more)
    assert "edition.sig" in hub.files("lab/ours")
    said = variorum("publish", "shots@1.0.0", "lab/ours", *store, "--sign", "other", code=1)
    assert "is published already without this signature" in said

    assert "not by whom --signed-by names" in variorum("pull", "lab/ours@1.0.0", "--signed-by", "other.pub", code=1)
    assert "no edition in store" in variorum("show")
    said = variorum("pull", "lab/ours@1.0.0")
    assert "signed by key SHA256:" in said
    assert "nobody has checked" in said
    assert "as asked" in variorum("pull", "lab/ours@1.0.0", "--signed-by", "mine.pub")
    assert "signed by key SHA256:" in variorum("verify", "shots", "--signed-by", "mine.pub")
    for words in (("show", "shots"), ("versions",)):
        said = variorum(*words)
        assert "was signed when pulled, by key SHA256:" in said
        assert "signed by" not in said
    assert "not by whom --signed-by names" in variorum("verify", "shots", "--signed-by", "other.pub", code=1)

    variorum("publish", "shots@1.0.0", "lab/mirrored")  # from the pulled copy, by somebody else
    assert "as asked" in variorum("pull", "lab/mirrored@1.0.0", "--signed-by", "mine.pub", "--store", "third")

    variorum("publish", "shots@1.1.0", "lab/ours", *store)
    assert "edition.sig" not in hub.files("lab/ours")  # it is of 1.0.0
    assert "isn't signed with a key" in variorum("pull", "lab/ours", "--signed-by", "mine.pub", code=1)
    said = variorum("publish", "shots@1.1.0", "lab/ours", *store, "--sign", "mine", code=1)
    assert "sign the next version" in said
    assert "is published already" in variorum("publish", "shots@1.0.0", "lab/ours", *store, "--sign", "mine")

    signature = hub.git("lab/ours", "show", "1.0.0:edition.sig").encode() + b"\n"
    hub.commit("lab/ours", "main", {"edition.sig": signature}, [], "move the signature")
    said = variorum("pull", "lab/ours", "--store", "fourth", code=1)
    assert "is of another edition, or was changed; nothing was sealed" in said
    assert len(said.strip().splitlines()) == 1


def test_a_tag_that_moves_is_told(variorum, hub, shots, keys):
    store, repo = ("--store", shots / "store"), f"lab/moving-{time.time_ns()}"  # a second try has the same hub
    variorum("publish", "shots@1.0.0", repo, *store)
    first = hub.head(repo, "1.0.0")
    variorum("pull", f"{repo}@1.0.0")
    assert "has moved" not in variorum("pull", f"{repo}@1.0.0")

    second = hub.commit(repo, "main", {"NOTES.md": b"only a note"}, [], "a note")
    hub.git(repo, "tag", "-f", "1.0.0", second)
    said = variorum("pull", f"{repo}@1.0.0")
    assert f"the tag 1.0.0 has moved from the commit {first[:12]} to {second[:12]}" in said
    assert "still the same" in said

    manifest = json.loads(hub.git(repo, "show", "1.0.0:manifest.json"))
    manifest.pop("digest")
    manifest["sources_edited"] = 1
    manifest = {"digest": digest(manifest), **manifest}
    third = hub.commit(repo, "main", {"manifest.json": json.dumps(manifest).encode()}, [], "another edition")
    hub.git(repo, "tag", "-f", "1.0.0", third)
    said = variorum("pull", f"{repo}@1.0.0", code=1)
    assert f"the tag 1.0.0 has moved from the commit {first[:12]} to {third[:12]} since it was pulled" in said
    assert "--store OTHER" in said
    assert len(said.strip().splitlines()) == 1
    assert "match their hashes" in variorum("verify", "shots@1.0.0")
