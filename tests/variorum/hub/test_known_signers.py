"""The first signer of what comes from a place is remembered, and another one later is refused, as OpenSSH does it."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from edition_to_pull import EDITION, make

import variorum as va
from variorum.edition.editions import folder_of, resolve
from variorum.edition.store import Store
from variorum.hub.known_signers import settle
from variorum.hub.layout import SIGNED_BY_KEY
from variorum.hub.pull import edition_at, pull
from variorum.hub.signatures import Signer, sign, verified
from variorum.schemas.errors import SourceError

pytestmark = pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="OpenSSH isn't installed")
AT_ONCE = """
import sys
from variorum.hub.known_signers import settle
for number in range(20):
    settle(f"{sys.argv[1]}/{number}", f"key {sys.argv[1]}", replace=False)
settle("both", f"key {sys.argv[1]}", replace=False)
"""
KILLED = """
import os, signal
from pathlib import Path
from variorum.hub.known_signers import settle
Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
settle("lab/ours", "key a", replace=False)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `edition_to_pull`, with the keys `mine` and `other`."""
    folder = tmp_path_factory.mktemp("made")
    for name in ("mine", "other"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VARIORUM_CACHE", str(tmp_path_factory.mktemp("cache")))
        return make(folder)


@pytest.fixture
def place(made, tmp_path) -> Path:
    """A published edition, which `signed` signs."""
    return Path(shutil.copytree(made / EDITION, tmp_path / EDITION))


def signed(made: Path, place: Path, key: str) -> None:
    manifest = resolve(EDITION, Store(str(made / "store"), writable=False))
    (place / SIGNED_BY_KEY).write_bytes(sign(manifest, str(made / key))[SIGNED_BY_KEY])


def pulled(place: Path, store: Store, **more):
    found = edition_at(str(place))
    assert found
    return pull(str(place), *found, store, **more)


def fingerprint(made: Path, name: str) -> str:
    done = subprocess.run(["ssh-keygen", "-lf", str(made / name)], capture_output=True, check=True, text=True)
    return f"key {done.stdout.split()[1]}"


def test_the_first_signer_is_remembered_and_another_is_refused(made, place, tmp_path, own_signers):
    mine, other = fingerprint(made, "mine"), fingerprint(made, "other")
    signed(made, place, "mine")
    for _ in range(2):
        assert pulled(place, Store(str(tmp_path / "one"))).signed_by == mine
    assert json.loads(own_signers.read_bytes()) == {str(place): mine}
    assert stat.S_IMODE(own_signers.stat().st_mode) == 0o600

    signed(made, place, "other")
    later = Store(str(tmp_path / "two"))
    with pytest.raises(SourceError, match="nothing was stored") as caught:
        pulled(place, later)
    for word in (str(place), mine, other, "--signed-by", "compare"):
        assert word in str(caught.value)
    assert not later.listed("objects/*")
    (place / SIGNED_BY_KEY).unlink()
    with pytest.raises(SourceError, match=r"is unsigned; nothing was stored.*--unsigned"):
        pulled(place, later)
    assert not later.listed("objects/*")
    assert json.loads(own_signers.read_bytes()) == {str(place): mine}

    assert pulled(place, later, unsigned=True).signed_by == ""
    signed(made, place, "other")
    with pytest.raises(SourceError, match="nothing was stored"):
        pulled(place, Store(str(tmp_path / "three")), unsigned=True)
    assert (
        pulled(place, Store(str(tmp_path / "three")), signer=Signer.named(str(made / "other.pub"))).signed_by == other
    )
    assert json.loads(own_signers.read_bytes()) == {str(place): other}


def test_a_signature_that_does_not_hold_is_not_remembered(place, tmp_path, own_signers):
    (place / SIGNED_BY_KEY).write_bytes(b"signed by me")
    with pytest.raises(SourceError):
        pulled(place, Store(str(tmp_path / "one")))
    assert not own_signers.exists()


def test_two_processes_lose_nothing(own_signers):
    both = [subprocess.Popen([sys.executable, "-c", AT_ONCE, name]) for name in ("a", "b")]
    assert [one.wait() for one in both] == [0, 0]
    found = json.loads(own_signers.read_bytes())
    assert found.pop("both") in ("key a", "key b")
    assert found == {f"{name}/{number}": f"key {name}" for name in "ab" for number in range(20)}


def test_a_process_that_is_killed_leaves_the_file_as_it_was(own_signers):
    settle("lab/theirs", "key b", replace=False)
    assert subprocess.run([sys.executable, "-c", KILLED]).returncode == -9
    assert json.loads(own_signers.read_bytes()) == {"lab/theirs": "key b"}
    assert settle("lab/ours", "key a", replace=False) == ""
    assert json.loads(own_signers.read_bytes()) == {"lab/theirs": "key b", "lab/ours": "key a"}


@pytest.mark.parametrize("content", ["[]", "{", '{"a": 1}'])
def test_a_damaged_file_is_named(own_signers, content):
    own_signers.parent.mkdir()
    own_signers.write_text(content)
    with pytest.raises(SourceError, match=str(own_signers)):
        settle("lab/ours", "key a", replace=False)


def test_a_signature_that_went_missing_or_was_replaced_is_found(made, place, tmp_path):
    signed(made, place, "mine")
    store = Store(str(tmp_path / "one"))
    manifest = pulled(place, store).manifest
    assert va.verify(EDITION, store=store, progress=False) == []
    file = Path(folder_of(manifest, store), SIGNED_BY_KEY)
    file.write_bytes(sign(manifest, str(made / "other"))[SIGNED_BY_KEY])
    (said,) = va.verify(EDITION, store=store, progress=False)
    assert SIGNED_BY_KEY in said
    file.unlink()
    (said,) = va.verify(EDITION, store=store, progress=False)
    assert f"{SIGNED_BY_KEY} is missing" in said
    assert verified(manifest, store)[0] == ""
