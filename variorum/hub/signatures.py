"""Who published an edition: a signature beside its manifest, over its name, version and digest.

There are two kinds. `edition.sig` is of an SSH key, as `ssh-keygen -Y sign` writes it, so that `ssh-keygen -Y verify`
checks it too. `edition.sigstore.json` is of an identity, an e-mail address or a workflow, for which sigstore vouches.
Both sign one line, so that a signature fits no other edition. A digest covers neither file.

A signature says that whoever has the key signed this edition. Whether that is its author, only the user can say.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from variorum.edition.editions import beside, read_beside, write_beside
from variorum.edition.pulled import read_pulled
from variorum.edition.store import Store
from variorum.hub.layout import SIGNATURES, SIGNED_BY_IDENTITY, SIGNED_BY_KEY
from variorum.schemas.errors import SourceError, StoreError, TemporaryError, VariorumError
from variorum.schemas.extras import needs
from variorum.schemas.lookup import cut
from variorum.schemas.manifest import Manifest

log = logging.getLogger(__name__)

SIGSTORE = "sigstore"
"""In place of a key's file: the user's identity signs."""
LARGEST = 64 << 10
"""Bytes of a signature, or of a file with public keys."""
NAMESPACE = b"variorum"
"""Of the signatures, so that one made for something else isn't taken for one of an edition."""
KIND = b"ssh-ed25519"
MAKE = "make one with: ssh-keygen -t ed25519"
PUBLIC = re.compile(rb"\bssh-ed25519 ([A-Za-z0-9+/]{68})(?![A-Za-z0-9+/=])")
ARMOUR = re.compile(r"-----BEGIN SSH SIGNATURE-----\n([A-Za-z0-9+/=\n]{1,4096})\n-----END SSH SIGNATURE-----\n?")
FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")
DIGEST = re.compile("[0-9a-f]{64}")
ISSUER = "1.3.6.1.4.1.57264.1.1"
"""Where sigstore's certificates say who vouches for the identity."""


class Unchecked(VariorumError):
    """A signature can't be made or checked here."""


class Unreachable(Unchecked, TemporaryError):
    """The same, for now."""


@dataclass(frozen=True, slots=True)
class Signer:
    """Who must have signed: one of these keys, by fingerprint, or an identity with who vouches for it."""

    keys: frozenset[str] = frozenset()
    identity: str = ""
    issuer: str = ""

    @classmethod
    def named(cls, who: str, issuer: str = "") -> Signer | None:
        """The signer that a user names: a file with SSH public keys, a fingerprint, an e-mail address or a URL.

        None for `""`, which names nobody.

        Raises:
            SourceError: it is none of these, or an identity without its issuer.
        """
        if not who:
            return None
        if FINGERPRINT.fullmatch(who):
            return cls(keys=frozenset({who}))
        identity = "://" in who or ("@" in who and os.sep not in who)  # whatever lies in the current folder
        if not identity and os.path.isfile(who):  # also for text that is too long for a path
            with Path(who).open("rb") as file:
                found = PUBLIC.findall(file.read(LARGEST))
            if not found:
                raise SourceError(
                    f"{cut(who)}: it has no public SSH key of type ed25519; give the file that ends in .pub"
                )
            return cls(keys=frozenset(map(_fingerprint, map(base64.b64decode, found))))
        if not identity:
            raise SourceError(
                f"{cut(who)}: no such file; a signer is a file with public SSH keys, a key's fingerprint, SHA256:…, or "
                f"an e-mail address or URL for which sigstore vouches"
            )
        if not issuer:
            raise SourceError(
                f"{cut(who)}: say who must vouch for this identity, such as --issuer https://accounts.google.com or "
                f"https://github.com/login/oauth"
            )
        return cls(identity=who, issuer=issuer)


def statement(manifest: Manifest) -> bytes:
    """The line that is signed."""
    return f"variorum edition {manifest.dataset}@{manifest.version} {manifest.digest()}\n".encode()


# ── signing ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def sign(manifest: Manifest, way: str) -> dict[str, bytes]:
    """The signature of an edition by its path in the repository.

    Args:
        manifest: the edition.
        way: the file of an SSH key, which only `ssh-keygen` reads and which may need a password; or `sigstore`.

    Raises:
        StoreError: the key can't sign.
        VariorumError: the package sigstore is missing.
        TemporaryError: sigstore can't be reached, or doesn't know the user.
    """
    if way == SIGSTORE:
        return {SIGNED_BY_IDENTITY: _sign_as_oneself(statement(manifest))}
    if not Path(way).is_file():
        raise StoreError(f"{cut(way)}: there is no such key to sign with; {MAKE}")
    command = ["ssh-keygen", "-q", "-Y", "sign", "-n", NAMESPACE.decode(), "-f", str(Path(way).absolute())]
    try:
        done = subprocess.run(command, input=statement(manifest), capture_output=True, check=False)  # noqa: S603
    except FileNotFoundError:
        raise StoreError("signing with a key needs the command ssh-keygen, of OpenSSH") from None
    if done.returncode:
        said = [line for line in done.stderr.decode(errors="replace").splitlines() if line.strip(" @")]
        raise StoreError(f"{cut(way)}: ssh-keygen can't sign with it ({cut('; '.join(said[-3:]))}); {MAKE}")
    try:
        _key_of(done.stdout, statement(manifest))
    except SourceError:
        raise StoreError(f"{cut(way)}: it is a key of another type than ed25519; {MAKE}") from None
    return {SIGNED_BY_KEY: done.stdout}


def _sign_as_oneself(content: bytes) -> bytes:
    """The bundle of sigstore for some content. A browser asks who one is, unless the machine knows, as in workflows."""
    with _sigstore():
        from sigstore.models import ClientTrustConfig
        from sigstore.oidc import IdentityToken, Issuer, detect_credential
        from sigstore.sign import SigningContext

        trust = ClientTrustConfig.production()
        known = detect_credential()
        token = IdentityToken(known) if known else Issuer(trust.signing_config.get_oidc_url()).identity_token()
        with SigningContext.from_trust_config(trust).signer(token) as signer:
            return signer.sign_artifact(content).to_json().encode()


# ── checking ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def signer_of(
    files: Mapping[str, bytes], manifest: Manifest, wanted: Signer | None = None, known: str = ""
) -> tuple[str, str]:
    """Who signed an edition, `key SHA256:…` or `somebody@lab.example (https://…)`, and the file that says so.

    Both are empty if nobody did.

    Args:
        files: those of `SIGNATURES` that lie beside the edition.
        manifest: the edition.
        wanted: who must have signed it; others' signatures don't count then.
        known: who signed earlier ones; of two signatures, that of the same kind counts.

    Raises:
        SourceError: a signature isn't of this edition, or `wanted` hasn't signed it.
        Unchecked: sigstore is missing or can't be reached.
    """
    name, content = f"{manifest.dataset}@{manifest.version}", statement(manifest)
    for kind in sorted(SIGNATURES, key=lambda kind: bool(known) and kind != _file_of(known)):
        if kind not in files or (wanted and bool(wanted.keys) != (kind == SIGNED_BY_KEY)):
            continue
        try:
            if kind == SIGNED_BY_KEY:
                found = _key_of(files[kind], content)
                who, right = f"key {found}", wanted is None or found in wanted.keys
            else:
                identity, issuer = identity_of(files[kind], content)
                right = wanted is None or (identity, issuer) == (wanted.identity, wanted.issuer)
                who = f"{identity} ({issuer})"
        except SourceError as error:
            raise SourceError(f"{name}: its signature {kind} {error}") from None
        if not right:
            raise SourceError(f"{name}: it is signed by {who}, and not by whom --signed-by names")
        return who, kind
    if wanted:
        what = "a key" if wanted.keys else "an identity"
        raise SourceError(f"{name}: it isn't signed with {what}, and so not by whom --signed-by names")
    return "", ""


def check_digest(manifest: Manifest, digest: str) -> None:
    """Raise SourceError if an edition has another digest than the one that it must have; `""` asks for none."""
    name, wanted = f"{manifest.dataset}@{manifest.version}", digest.lower()
    if wanted and not DIGEST.fullmatch(wanted):
        raise SourceError(f"digest {cut(digest)}: a digest has 64 hexadecimal digits")
    if wanted and wanted != manifest.digest():
        raise SourceError(
            f"{name} has the digest {manifest.digest()} there, not {wanted}: it is another edition of this name"
        )


def _file_of(who: str) -> str:
    return SIGNED_BY_KEY if who.startswith("key ") else SIGNED_BY_IDENTITY


def _key_of(signature: bytes, content: bytes) -> str:
    """Fingerprint of the key that signed some content, once. Raises SourceError: it says what is wrong."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    found = ARMOUR.fullmatch(signature.decode(errors="replace").replace("\r\n", "\n"))
    with suppress(ValueError):
        data = base64.b64decode(found[1]) if found else b""
        start = data.find(KIND) + len(KIND) + 4
        key, made = data[start : start + 32], data[-64:]
        if found and data == _framed(key, made):
            try:
                Ed25519PublicKey.from_public_bytes(key).verify(made, _signed(content))
            except InvalidSignature:
                raise SourceError("is of another edition, or was changed") from None
            return _fingerprint(_texts(KIND, key))
    raise SourceError("is none of an SSH key of type ed25519, made for `variorum`")


def _texts(*parts: bytes) -> bytes:
    """Texts as SSH frames them: each behind its length."""
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def _signed(content: bytes) -> bytes:
    """Return the bytes that an SSH signature of some content signs (OpenSSH, PROTOCOL.sshsig)."""
    return b"SSHSIG" + _texts(NAMESPACE, b"", b"sha512", hashlib.sha512(content).digest())


def _framed(key: bytes, made: bytes) -> bytes:
    """An SSH signature with its key."""
    parts = (_texts(KIND, key), NAMESPACE, b"", b"sha512", _texts(KIND, made))
    return b"SSHSIG" + (1).to_bytes(4, "big") + _texts(*parts)


def _fingerprint(key: bytes) -> str:
    """A public key as `ssh-keygen -l` shows it."""
    return f"SHA256:{base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip('=')}"


def identity_of(bundle: bytes, content: bytes, verifier: Any = None) -> tuple[str, str]:
    """The identity that signed some content, and who vouches for it.

    Args:
        bundle: of sigstore, as JSON.
        content: that must be signed.
        verifier: of sigstore; by default the public one, with trust roots fetched now.

    Raises:
        SourceError: it says what is wrong.
        Unchecked: sigstore is missing or can't be reached.
    """
    with _sigstore():
        from sigstore.errors import VerificationError
        from sigstore.models import Bundle, InvalidBundle
        from sigstore.verify import Verifier
        from sigstore.verify.policy import Identity

        try:
            parsed = Bundle.from_json(bundle)
            identity, issuer = _claims(parsed.signing_certificate)
        except (InvalidBundle, ValueError, LookupError):
            raise SourceError("is no bundle of sigstore with an identity") from None
        try:
            (verifier or Verifier.production()).verify_artifact(
                content, parsed, Identity(identity=identity, issuer=issuer)
            )
        except VerificationError as error:
            raise SourceError(f"is of another edition, or isn't what sigstore has seen ({cut(str(error))})") from None
        return identity, issuer


def _claims(certificate: Any) -> tuple[str, str]:
    """The one e-mail address or URL of a certificate, and who vouches for it; sigstore checks both."""
    from cryptography import x509

    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    (identity,) = [
        value for kind in (x509.RFC822Name, x509.UniformResourceIdentifier) for value in names.get_values_for_type(kind)
    ]
    issuer = certificate.extensions.get_extension_for_oid(x509.ObjectIdentifier(ISSUER)).value.value
    return str(identity), issuer.decode()


@contextmanager
def _sigstore() -> Iterator[None]:
    """Turn errors of sigstore and of its network into one line."""
    try:
        yield
    except VariorumError:
        raise
    except ImportError:
        raise Unchecked(needs("an identity", "sigstore")) from None
    except Exception as error:  # of the network, too, which have no common base
        why = cut(str(error) or type(error).__name__)
        raise Unreachable(f"sigstore can't be reached, or refuses ({why}); try again later, or use a key") from error


# ── beside an edition ────────────────────────────────────────────────────────────────────────────────────────────────


def kept(manifest: Manifest, store: Store) -> dict[str, bytes]:
    """The signatures beside an edition that was pulled."""
    return {name: data for name in SIGNATURES if (data := read_beside(manifest, name, store)) is not None}


def verified(manifest: Manifest, store: Store, wanted: Signer | None = None) -> tuple[str, list[str]]:
    """Who signed an edition by the signature beside it, and what is wrong, which is the one that it was pulled with.

    Raises:
        Unchecked: sigstore is missing or can't be reached, and somebody is `wanted`; else that is a warning.
    """
    name, files, pulled = f"{manifest.dataset}@{manifest.version}", kept(manifest, store), read_pulled(manifest, store)
    was = pulled.signed_by if pulled else ""
    if was and _file_of(was) not in files:
        place = beside(manifest, _file_of(was))
        return "", [f"{name}: its signature {place} is missing, by {was} when it was pulled; pull it again"]
    try:
        who, kind = signer_of(files, manifest, wanted, was)
    except SourceError as error:
        return "", [str(error)]
    except Unchecked as error:
        if wanted:
            raise
        log.warning("the signature of %s isn't checked: %s", name, error)
        return "", []
    if was and not wanted and who != was:
        return "", [f"{name}: its signature {beside(manifest, kind)} is by {who}, and by {was} when it was pulled"]
    return who, []


def keep(manifest: Manifest, files: Mapping[str, bytes], store: Store) -> None:
    """Keep these signatures beside an edition, and no others."""
    for name in SIGNATURES:
        if name in files:
            write_beside(manifest, name, files[name], store)
        elif read_beside(manifest, name, store) is not None:
            store.fs.rm_file(f"{store.root}/{beside(manifest, name)}")
