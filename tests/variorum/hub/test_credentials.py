"""The sidecar with content credentials, read back by the C2PA library's own reader."""

import io
import json

import pytest
from annotated_set import ANNOTATED
from cryptography.hazmat.primitives.asymmetric import ec
from signing_keys import certificate, pem, write_signer

from variorum.edition.editions import read_beside, readable
from variorum.hub.credentials import ASSERTION, FILE, SHEET, holds, sidecars
from variorum.pipeline import Job, run
from variorum.schemas.errors import StoreError, VariorumError
from variorum.schemas.recipe import Recipe

c2pa = pytest.importorskip("c2pa", reason="c2pa-python isn't installed")


@pytest.fixture(scope="module")
def signed(tmp_path_factory):
    """An edition, its store, and a folder with a key and its certificates."""
    folder = tmp_path_factory.mktemp("signed")
    write_signer(folder)
    recipe = {"dataset": "shapes", "version": "1.0.0", "samples_per_shard": 5, "masters": "original"}
    job = Job(Recipe.parse({**recipe, "source": ANNOTATED}), str(folder / "store"))
    return run(job), job.store, folder


def test_the_sidecar_is_valid_and_names_every_file(signed):
    manifest, store, folder = signed
    sheet = read_beside(manifest, SHEET, store)
    made = sidecars(manifest, store, folder / "key.pem", folder / "chain.pem")
    assert list(made) == [FILE]
    reader = c2pa.Reader("image/png", io.BytesIO(sheet), made[FILE])
    assert reader.get_validation_state() == "Valid"
    said = {one["label"]: one["data"] for one in reader.get_active_manifest()["assertions"]}
    assert said[ASSERTION]["digest"] == manifest.digest()
    assert said[ASSERTION]["sha256"] == {name: info.sha256 for name, (info, _) in readable(manifest).items()}
    assert sum(said[ASSERTION]["digitalSourceTypes"].values()) == manifest.pictures()
    (action,) = said["c2pa.actions.v2"]["actions"]
    assert action["digitalSourceType"].endswith("/composite")
    assert reader.get_active_manifest()["signature_info"]["issuer"] == "Publisher"
    assert read_beside(manifest, SHEET, store) == sheet  # nothing is embedded
    assert holds(made[FILE], sheet, manifest)


def test_another_sheet_or_a_changed_claim_is_found(signed):
    manifest, store, folder = signed
    sheet = bytearray(read_beside(manifest, SHEET, store))
    made = sidecars(manifest, store, folder / "key.pem", folder / "chain.pem")[FILE]
    sheet[len(sheet) // 2] ^= 1
    assert c2pa.Reader("image/png", io.BytesIO(bytes(sheet)), made).get_validation_state() == "Invalid"
    digest = manifest.digest().encode()
    assert digest in made
    forged = made.replace(digest, b"0" * 64)
    reader = c2pa.Reader("image/png", io.BytesIO(read_beside(manifest, SHEET, store)), forged)
    assert reader.get_validation_state() == "Invalid"
    right = read_beside(manifest, SHEET, store)
    assert not holds(made, bytes(sheet), manifest)
    assert not holds(forged, right, manifest)
    assert not holds(b"no sidecar", right, manifest)
    assert not holds(made, right, manifest.model_copy(update={"sources": manifest.sources + 1}))


def test_a_key_is_never_shown(signed, tmp_path, caplog):
    manifest, store, folder = signed
    other = ec.generate_private_key(ec.SECP256R1())
    secret = pem(other).decode().splitlines()[1]
    broken = tmp_path / "broken.pem"
    for content, told in [
        (pem(other), "isn't the key of the first certificate"),
        (pem(other, b"password"), "without a password"),
        (pem(other)[:-60], "no private key in PEM"),
        (pem(ec.generate_private_key(ec.SECP256K1())), "use a key that C2PA knows"),
    ]:
        broken.write_bytes(content)
        with pytest.raises(StoreError, match=told) as caught:
            sidecars(manifest, store, broken, folder / "chain.pem")
        assert secret not in str(caught.value)
    with pytest.raises(StoreError, match=r"gone\.pem: can't be read"):
        sidecars(manifest, store, tmp_path / "gone.pem", folder / "chain.pem")
    with pytest.raises(StoreError, match="no certificates in PEM"):
        sidecars(manifest, store, folder / "key.pem", folder / "key.pem")
    assert secret not in caplog.text


def test_a_certificate_that_c2pa_does_not_take_is_said_so(signed, tmp_path):
    manifest, store, _ = signed
    key = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "key.pem").write_bytes(pem(key))
    (tmp_path / "chain.pem").write_bytes(certificate(key, key, "Me", "Me", "key_cert_sign", authority=True))
    with pytest.raises(VariorumError, match=r"chain\.pem"):
        sidecars(manifest, store, tmp_path / "key.pem", tmp_path / "chain.pem")
    assert json.dumps(manifest.model_dump(mode="json")).count("PRIVATE") == 0
