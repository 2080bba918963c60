"""Content credentials of a published edition: a C2PA manifest, signed with the publisher's key, as a sidecar.

C2PA binds a signature to a picture, and has no binding for tar files. So the contact sheet is signed, and the signed
manifest states the edition's digest and the sha256 of every shard: who trusts the signer can trust each file. Nothing
is embedded, because a picture's bytes are its identity. (C2PA specification 2.x, "External manifests".)
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from variorum.edition.editions import read_beside, readable
from variorum.edition.store import Store
from variorum.reports.contents import contents
from variorum.reports.rows import edition_rows
from variorum.schemas.errors import StoreError, VariorumError
from variorum.schemas.extras import needs
from variorum.schemas.manifest import Manifest

SHEET = "contact_sheet.png"
FILE = "contact_sheet.c2pa"
"""The sidecar beside the contact sheet; readers look for a file of the same name."""
ASSERTION = "org.variorum.edition"
"""Label of the assertion with the edition's digest and the hashes of its files."""
TERMS = "http://cv.iptc.org/newscodes/digitalsourcetype/"
GENERATED = ("trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia")
"""Terms that say that a picture, or part of it, was made by a trained model."""
LARGEST = 1 << 20
"""Bytes of a key or a chain that are read."""


def sidecars(
    manifest: Manifest, store: Store, key: Path, chain: Path, *, sheet: bytes | None = None
) -> dict[str, bytes]:
    """The sidecar of an edition, by its path in the repository; another one at each call, as signatures differ.

    Args:
        manifest: the edition.
        store: its store; has the contact sheet.
        key: private key in PEM, not encrypted: EC (P-256, P-384, P-521), Ed25519 or RSA. It is used and nothing else:
            no message, log or file has any of it.
        chain: certificates in PEM, the signer's first.
        sheet: the contact sheet that is published, if it isn't the one beside the manifest.

    Raises:
        StoreError: no contact sheet, no usable key or chain, or a key that isn't the certificate's.
        VariorumError: the package c2pa-python is missing.
    """
    sheet = sheet or read_beside(manifest, SHEET, store)
    if sheet is None:
        raise StoreError(f"{manifest.dataset}@{manifest.version} has no {SHEET} to sign; make it with: variorum card")
    c2pa = _library()
    algorithm, private, certificates = signer(key, chain)
    builder = c2pa.Builder(json.dumps(_claim(manifest, store)))
    builder.set_no_embed()
    try:
        signing = c2pa.Signer.from_info(
            c2pa.C2paSignerInfo(alg=algorithm.encode(), sign_cert=certificates, private_key=private, ta_url=None)
        )
        made = bytes(builder.sign(signing, "image/png", io.BytesIO(sheet), io.BytesIO()))
    except c2pa.C2paError as error:
        raise StoreError(
            f"{chain}: {type(error).__name__} while signing; C2PA wants a certificate for signing (key usage "
            "digitalSignature, extended key usage such as emailProtection) that an authority has issued"
        ) from None
    return {FILE: made}


def _claim(manifest: Manifest, store: Store) -> dict[str, Any]:
    """The C2PA manifest before it is signed: what the sheet is, and what the edition is."""
    kinds = dict(contents(edition_rows(manifest, store)).kinds)
    term = "compositeWithTrainedAlgorithmicMedia" if {*GENERATED} & kinds.keys() else "composite"
    edition = {
        "dataset": manifest.dataset,
        "version": manifest.version,
        "digest": manifest.digest(),
        "pictures": manifest.pictures(),
        "digitalSourceTypes": {name or "unknown": number for name, number in kinds.items()},
        "sha256": {name: info.sha256 for name, (info, _) in readable(manifest).items()},
    }
    return {
        "claim_generator_info": [{"name": "variorum"}],
        "title": f"Contact sheet of {manifest.dataset}@{manifest.version}",
        "assertions": [
            {
                "label": "c2pa.actions",
                "data": {"actions": [{"action": "c2pa.created", "digitalSourceType": f"{TERMS}{term}"}]},
            },
            {"label": ASSERTION, "data": edition},
        ],
    }


def _library() -> Any:
    try:
        import c2pa
    except ImportError:
        raise VariorumError(needs("signing", "c2pa")) from None
    return c2pa


def holds(data: bytes, sheet: bytes, manifest: Manifest) -> bool:
    """Return whether a sidecar is of this contact sheet and edition, and unchanged since it was signed.

    Whom the certificate belongs to, and whether they can be trusted, isn't asked.
    """
    c2pa = _library()
    try:
        with c2pa.Reader("image/png", io.BytesIO(sheet), data) as reader:
            if reader.get_validation_state() not in ("Valid", "Trusted"):
                return False
            found = reader.get_active_manifest()["assertions"]
        return any(one["label"] == ASSERTION and one["data"].get("digest") == manifest.digest() for one in found)
    except (c2pa.C2paError, ValueError, LookupError, TypeError, AttributeError):
        return False


def signer(key: Path, chain: Path) -> tuple[str, bytes, bytes]:
    """Name of the signature's algorithm, the key and the certificates in PEM, checked before anything else is done.

    Raises:
        StoreError: no usable key or chain, or a key that isn't the certificate's.
        VariorumError: the package c2pa-python is missing.
    """
    _library()
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    private, certificates = _read(key), _read(chain)
    try:
        loaded = serialization.load_pem_private_key(private, None)
    except (ValueError, TypeError):  # the message may repeat what is in the file
        raise StoreError(f"{key}: no private key in PEM without a password") from None
    try:
        leaf = x509.load_pem_x509_certificates(certificates)[0]
    except ValueError:
        raise StoreError(f"{chain}: no certificates in PEM, the signer's first") from None
    algorithm = _algorithm(loaded)
    if algorithm is None:
        raise StoreError(
            f"{key}: use a key that C2PA knows: EC P-256, P-384 or P-521, Ed25519, RSA of 2048 bits or more"
        )
    if loaded.public_key() != leaf.public_key():
        raise StoreError(f"{key}: isn't the key of the first certificate in {chain}")
    return algorithm, private, certificates


def _algorithm(key: Any) -> str | None:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(key, ec.EllipticCurvePrivateKey):
        curves: Mapping[str, str] = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
        return curves.get(key.curve.name)
    if isinstance(key, rsa.RSAPrivateKey):
        return "ps256" if key.key_size >= 2048 else None
    return "ed25519" if isinstance(key, ed25519.Ed25519PrivateKey) else None


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(LARGEST)
    except OSError as error:
        raise StoreError(f"{path}: can't be read: {error.strerror}") from None
