"""Signatures of editions: made by OpenSSH, checked here and by OpenSSH; moved, changed, missing and other people's."""

from __future__ import annotations

import base64
import shutil
import subprocess
from pathlib import Path

import pytest
from edition_to_pull import EDITION, RELEASE, make
from small_store import one_line

from variorum.edition.editions import folder_of, resolve
from variorum.edition.pulled import read_pulled
from variorum.edition.store import Store
from variorum.hub import signatures
from variorum.hub.layout import SIGNED_BY_IDENTITY, SIGNED_BY_KEY, layout
from variorum.hub.pull import edition_at, pull
from variorum.hub.signatures import Signer, Unchecked, identity_of, kept, sign, signer_of, statement
from variorum.schemas.errors import SourceError, StoreError, TemporaryError
from variorum.schemas.manifest import Manifest

DATA = Path(__file__).parent / "data"
WHEEL = DATA / "rfc8785-0.1.2-py3-none-any.whl"
"""A small package that its workflow signed; its bundle comes from the tests of sigstore (Apache-2.0), as does this."""
WORKFLOW = "https://github.com/trailofbits/rfc8785.py/.github/workflows/release.yml@refs/tags/v0.1.2"
ACTIONS = "https://token.actions.githubusercontent.com"

pytestmark = pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="OpenSSH isn't installed")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `edition_to_pull`, with the keys `mine`, `other` and `rsa`."""
    folder = tmp_path_factory.mktemp("made")
    for name, kind in (("mine", "ed25519"), ("other", "ed25519"), ("rsa", "rsa")):
        command = ["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(folder / name)]
        subprocess.run(command, check=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VARIORUM_CACHE", str(tmp_path_factory.mktemp("cache")))
        return make(folder)


@pytest.fixture
def manifest(made) -> Manifest:
    return resolve(EDITION, Store(str(made / "store"), writable=False))


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(str(tmp_path / "far" / "store"))


def published(made: Path, folder: Path, files: dict[str, bytes], name: str = EDITION) -> Path:
    """A copy of a published edition with these signatures."""
    copy = Path(shutil.copytree(made / name, folder / name))
    for path, data in files.items():
        (copy / path).write_bytes(data)
    return copy


def pulled(source: Path, store: Store, who: str = "", issuer: str = ""):
    found = edition_at(str(source))
    assert found
    return pull(str(source), *found, store, signer=Signer.named(who, issuer) if who else None)


def fingerprint(made: Path, name: str) -> str:
    """As OpenSSH shows it."""
    done = subprocess.run(["ssh-keygen", "-lf", str(made / name)], capture_output=True, check=True, text=True)
    return done.stdout.split()[1]


def test_openssh_checks_it_too(made, manifest, tmp_path):
    (tmp_path / "sig").write_bytes(sign(manifest, str(made / "mine"))[SIGNED_BY_KEY])
    (tmp_path / "allowed").write_text(f"me@lab.example {(made / 'mine.pub').read_text()}")
    line = f"variorum edition {manifest.dataset}@{manifest.version} {manifest.digest()}\n"
    command = ["ssh-keygen", "-Y", "verify", "-f", "allowed", "-I", "me@lab.example", "-n", "variorum", "-s", "sig"]
    done = subprocess.run(command, input=line.encode(), capture_output=True, cwd=tmp_path, check=True)
    assert b"Good" in done.stdout
    assert sign(manifest, str(made / "mine")) == sign(manifest, str(made / "mine"))


@pytest.mark.parametrize("who", ["a file", "a fingerprint", "one of several"])
def test_an_edition_by_its_signer(made, manifest, store, tmp_path, who):
    (tmp_path / "all").write_text(
        "# people\n" + "".join((made / f"{name}.pub").read_text() for name in ("other", "mine"))
    )
    signer = {"a file": str(made / "mine.pub"), "a fingerprint": fingerprint(made, "mine.pub")}
    place = published(made, tmp_path, sign(manifest, str(made / "mine")))
    got = pulled(place, store, signer.get(who, str(tmp_path / "all")))
    assert got.signed_by == read_pulled(manifest, store).signed_by == f"key {fingerprint(made, 'mine')}"
    assert signer_of(kept(manifest, store), manifest) == (got.signed_by, SIGNED_BY_KEY)
    assert {SIGNED_BY_KEY} <= {entry.path for entry in layout(manifest, store)}  # a mirror keeps it


def test_without_a_signer_it_is_said_and_kept(made, manifest, store, tmp_path):
    got = pulled(published(made, tmp_path, sign(manifest, str(made / "mine"))), store)
    assert got.signed_by == f"key {fingerprint(made, 'mine')}"
    again = pulled(made / EDITION, store)  # an unsigned copy of the same edition takes nothing away
    assert again.signed_by == ""
    assert read_pulled(manifest, store).signed_by == got.signed_by
    assert pulled(made / RELEASE, store).signed_by == ""


def test_an_edition_that_is_there_already_gets_its_signature(made, manifest, store, tmp_path):
    pulled(made / EDITION, store)
    assert kept(manifest, store) == {}
    pulled(published(made, tmp_path, sign(manifest, str(made / "mine"))), store, str(made / "mine.pub"))
    assert signer_of(kept(manifest, store), manifest)[1] == SIGNED_BY_KEY


def changed(signature: bytes) -> bytes:
    lines = signature.decode().split("\n")
    data = bytearray(base64.b64decode("".join(lines[1:-2])))
    data[-1] ^= 1
    return f"{lines[0]}\n{base64.b64encode(data).decode()}\n{lines[-2]}\n".encode()


FORGED = {
    "missing": (lambda made, edition: {}, "it isn't signed with a key"),
    "another person's": (lambda made, edition: sign(edition, str(made / "other")), "it is signed by key SHA256:"),
    "of another edition": (
        lambda made, edition: sign(resolve(RELEASE, Store(str(made / "store"), writable=False)), str(made / "mine")),
        "is of another edition",
    ),
    "changed": (
        lambda made, edition: {SIGNED_BY_KEY: changed(sign(edition, str(made / "mine"))[SIGNED_BY_KEY])},
        "is of another edition, or was changed",
    ),
    "none": (lambda made, edition: {SIGNED_BY_KEY: b"signed by me"}, "is none of an SSH key"),
    "empty": (lambda made, edition: {SIGNED_BY_KEY: b""}, "is none of an SSH key"),
    "too long": (lambda made, edition: {SIGNED_BY_KEY: bytes(1 << 20)}, "longer than"),
    "made for something else": (
        lambda made, edition: {SIGNED_BY_KEY: made_for(made / "mine", "git", statement(edition))},
        "is none of an SSH key",
    ),
    "an identity's": (lambda made, edition: {SIGNED_BY_IDENTITY: b"{}"}, "it isn't signed with a key"),
}


def made_for(key: Path, purpose: str, content: bytes) -> bytes:
    command = ["ssh-keygen", "-q", "-Y", "sign", "-n", purpose, "-f", str(key)]
    return subprocess.run(command, input=content, capture_output=True, check=True).stdout


@pytest.mark.parametrize("what", FORGED)
def test_a_signature_that_isnt_the_right_one(made, manifest, store, tmp_path, what):
    forge, says = FORGED[what]
    with pytest.raises(SourceError, match=says) as caught:
        pulled(published(made, tmp_path, forge(made, manifest)), store, str(made / "mine.pub"))
    assert one_line(str(caught.value))
    assert not store.listed("editions/*/*/manifest.json")
    assert not store.listed("objects/*")


@pytest.mark.parametrize("what", ["of another edition", "changed", "none"])
def test_a_broken_signature_is_refused_even_if_nobody_asks(made, manifest, store, tmp_path, what):
    with pytest.raises(SourceError, match="nothing was sealed"):
        pulled(published(made, tmp_path, FORGED[what][0](made, manifest)), store)


def test_signatures_of_an_edition_are_checked_again_later(made, manifest, store, tmp_path):
    pulled(published(made, tmp_path, sign(manifest, str(made / "mine"))), store)
    path = Path(folder_of(manifest, store), SIGNED_BY_KEY)
    path.write_bytes(changed(path.read_bytes()))
    with pytest.raises(SourceError, match="was changed"):
        signer_of(kept(manifest, store), manifest)


@pytest.mark.parametrize(
    ("who", "issuer", "says"),
    [
        ("mine", "", "no public SSH key"),
        ("nobody.pub", "", "no such file"),
        ("SHA256:short", "", "no such file"),
        ("someone@lab.example", "", "say who must vouch"),
    ],
)
def test_whom_nobody_can_check(made, monkeypatch, who, issuer, says):
    monkeypatch.chdir(made)
    with pytest.raises(SourceError, match=says):
        Signer.named(who, issuer)


def test_keys_that_cannot_sign(made, manifest, tmp_path, monkeypatch):
    monkeypatch.setenv("SSH_ASKPASS_REQUIRE", "never")
    for name, says in (("rsa", "another type"), ("nobody", "no such key"), ("photos", "no such key")):
        with pytest.raises(StoreError, match=says):
            sign(manifest, str(made / name))
    shutil.copy(made / "mine", tmp_path / "open")
    (tmp_path / "open").chmod(0o644)
    with pytest.raises(StoreError, match=r"ssh-keygen can't sign with it .*too open|accessible by others"):
        sign(manifest, str(tmp_path / "open"))


# ── identities ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_identity_of_sigstore():
    """A bundle of the public sigstore, checked against the trust root that the package brings, without any network."""
    verify = pytest.importorskip("sigstore.verify", reason="sigstore isn't installed")
    verifier, bundle = verify.Verifier.production(offline=True), Path(f"{WHEEL}.sigstore.json").read_bytes()
    assert identity_of(bundle, WHEEL.read_bytes(), verifier) == (WORKFLOW, ACTIONS)
    with pytest.raises(SourceError, match="is of another edition"):
        identity_of(bundle, b"another edition", verifier)
    for broken in (b"{}", b"]", b"", bundle[:500]):
        with pytest.raises(SourceError, match="is no bundle of sigstore"):
            identity_of(broken, WHEEL.read_bytes(), verifier)


@pytest.mark.parametrize(
    ("who", "issuer", "right"),
    [
        (WORKFLOW, ACTIONS, True),
        (WORKFLOW, "https://accounts.google.com", False),
        ("https://github.com/trailofbits/rfc8785.py", ACTIONS, False),
    ],
)
def test_whose_identity_it_must_be(manifest, monkeypatch, who, issuer, right):
    verify = pytest.importorskip("sigstore.verify", reason="sigstore isn't installed")
    offline = verify.Verifier.production(offline=True)
    monkeypatch.setattr(verify.Verifier, "production", lambda: offline)
    monkeypatch.setattr(signatures, "statement", lambda _: WHEEL.read_bytes())
    files = {SIGNED_BY_IDENTITY: Path(f"{WHEEL}.sigstore.json").read_bytes()}
    if right:
        assert signer_of(files, manifest, Signer.named(who, issuer)) == (f"{WORKFLOW} ({ACTIONS})", SIGNED_BY_IDENTITY)
    else:
        with pytest.raises(SourceError, match="not by whom"):
            signer_of(files, manifest, Signer.named(who, issuer))


def test_sigstore_without_a_network(made, manifest, store, tmp_path, monkeypatch, caplog):
    """Where sigstore can't be reached, who insists on an identity gets an error, and who doesn't gets a warning."""
    pytest.importorskip("sigstore", reason="sigstore isn't installed")
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_CACHE_HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    place = published(made, tmp_path, {SIGNED_BY_IDENTITY: Path(f"{WHEEL}.sigstore.json").read_bytes()})
    with pytest.raises(TemporaryError, match="sigstore can't be reached, or refuses") as caught:
        pulled(place, store, WORKFLOW, ACTIONS)
    assert one_line(str(caught.value))
    assert not store.listed("editions/*/*/manifest.json")
    with pytest.raises(Unchecked, match="sigstore can't be reached, or refuses"):
        sign(manifest, "sigstore")
    assert pulled(place, store).signed_by == ""
    assert "isn't checked: sigstore can't be reached" in caplog.text
    assert kept(manifest, store) == {}
