"""The secret behind an edition's watermarks: one file with one random secret, from which every key is derived.

The edition holds hashes of the keys, never the keys. Whoever has the file can find the marks, and forge them; without
it nobody can. So the file is made readable by its owner only, and its content goes into no log, error or record.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import secrets
import stat
import tempfile
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from variorum.machine.cache import config_dir
from variorum.schemas.errors import RecipeError, SourceError
from variorum.schemas.watermark import KEY_BYTES, payload_of

log = logging.getLogger(__name__)

VARIABLE = "VARIORUM_KEYS"
"""Environment variable with the path of the file, where a recipe names none."""
OTHERS = stat.S_IRWXG | stat.S_IRWXO
LARGEST = 4096
"""Bytes that are read of a file."""
WAY_OUT = "bring the file back, or make new keys for a new edition: variorum keys FILE"


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of an edition's watermarks.

    Attributes:
        id: a hash of the secret, 16 hexadecimal digits; it says which file an edition belongs to.
    """

    id: str
    _secret: bytes = field(repr=False)

    def of(self, mark: str, picture: str) -> bytes:
        """The key of a mark in one picture, 32 bytes."""
        return self._derived("picture", mark, picture)

    def shared(self, mark: str) -> bytes:
        """The one key that a mark with `keyed: shared` has in all pictures."""
        return self._derived("shared", mark, "")

    def wrong(self, mark: str, picture: str) -> bytes:
        """A key that nothing was marked with, to see what a detector says without its mark."""
        return self._derived("wrong", mark, picture)

    def _derived(self, purpose: str, mark: str, picture: str) -> bytes:
        said = json.dumps([purpose, mark, picture]).encode()
        return hmac.digest(self._secret, said, hashlib.sha256)


def read_keys(path: Path | None) -> Keys:
    """The keys in a file, or in the user's own file.

    A file that others can read is used, with a warning.

    Raises:
        SourceError: there is none, or it can't be read or holds something else. Its content is never quoted.
    """
    place = path.expanduser() if path else own_file()
    mode, content = _read(place)
    if mode & OTHERS:
        _warn(place)
    return _parsed(place, content)


@lru_cache(maxsize=16)  # once, though every unit reads the keys
def _warn(place: Path) -> None:
    log.warning("%s holds secret watermark keys and others can read it; run: chmod 600 %s", place, place)


def _read(place: Path) -> tuple[int, bytes]:
    """A file's mode and content."""
    try:
        if not stat.S_ISREG(place.stat().st_mode):
            raise SourceError(f"{place}: this is no file of watermark keys; {WAY_OUT}")
        with place.open("rb") as file:
            return os.fstat(file.fileno()).st_mode, file.read(LARGEST)
    except FileNotFoundError:
        raise SourceError(f"{place}: no such file of watermark keys; {WAY_OUT}") from None
    except OSError as error:
        raise SourceError(f"{place}: watermark keys can't be read: {error.strerror}") from None
    except ValueError as error:  # no path, with a zero byte in it
        raise SourceError(f"{str(place)!r}: watermark keys can't be read: {error}") from None


def _parsed(place: Path, content: bytes) -> Keys:
    try:
        secret = bytes.fromhex(json.loads(content)["secret"])
    except (ValueError, TypeError, KeyError, RecursionError):
        raise SourceError(f"{place}: this is no file of watermark keys; {WAY_OUT}") from None
    if len(secret) != KEY_BYTES:
        raise SourceError(f"{place}: its secret has {len(secret)} bytes and must have {KEY_BYTES}; {WAY_OUT}")
    return Keys(hashlib.sha256(b"variorum keys\0" + secret).hexdigest()[:16], secret)


def new_keys(path: Path) -> Keys:
    """Write a file with a new secret that only its owner can read, and return its keys.

    Raises:
        RecipeError: the file exists, or can't be written.
    """
    content = json.dumps({"about": "Secret keys of watermarks. Keep this file; without it no mark is found.",
                          "secret": secrets.token_hex(KEY_BYTES)})  # fmt: skip
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # with mode 0600
        try:
            with os.fdopen(handle, "w") as file:
                file.write(content + "\n")
                file.flush()
                os.fsync(handle)
            os.link(name, path)  # nobody sees half a file, and none is replaced
        finally:
            os.unlink(name)
    except FileExistsError:
        if not os.path.lexists(path):
            raise RecipeError(f"{path} can't be written: {path.parent} isn't a folder") from None
        raise RecipeError(f"{path} exists already; watermark keys are never overwritten") from None
    except ValueError as error:  # no path, with a zero byte in it
        raise RecipeError(f"{str(path)!r} can't be written: {error}") from None
    except OSError as error:
        raise RecipeError(f"{path} can't be written: {error.strerror}") from None
    return read_keys(path)


def own_keys() -> Keys:
    """The keys in the user's own file, which is made if there is none. A file that VARIORUM_KEYS names must exist.

    Raises:
        SourceError: as `read_keys`.
        RecipeError: it can't be made.
    """
    place = own_file()
    if os.environ.get(VARIABLE) or os.path.lexists(place):  # a link to nowhere is a lost file
        return read_keys(None)
    try:
        keys = new_keys(place)
    except RecipeError as error:
        if place.exists():  # another process has just made it
            return read_keys(None)
        raise RecipeError(f"{error}; name another file of keys in {VARIABLE}, made by: variorum keys FILE") from None
    log.warning("made new watermark keys: keep %s, without it nobody finds the marks again", place)
    return keys


def machine_secrets() -> dict[str, bytes]:
    """The secret in the user's own file, by what errors call it; nothing where there are no usable keys."""
    try:
        return {"the secret watermark key of this machine": _parsed(own_file(), _read(own_file())[1])._secret}
    except SourceError:
        return {}


def keys_id(path: Path | None) -> str | None:
    """The id of the keys in a file, or in the user's own file; None where there are no usable keys.

    So an edition whose keys are lost can still be named and read.
    """
    place = path.expanduser() if path else own_file()
    try:
        state = place.stat()
    except (OSError, ValueError):
        return None
    return _id(place, state.st_mtime_ns, state.st_size, state.st_ino)


@lru_cache(maxsize=16)
def _id(place: Path, *_state: int) -> str | None:
    try:
        return _parsed(place, _read(place)[1]).id
    except SourceError:
        return None


def own_file() -> Path:
    """The user's file: where VARIORUM_KEYS says, or `variorum/watermark.keys` in the user's configuration folder."""
    if named := os.environ.get(VARIABLE):
        return Path(named).expanduser()
    return config_dir() / "watermark.keys"


def key_hash(key: bytes) -> str:
    """Hash a key for an edition, 16 hexadecimal digits."""
    return hashlib.sha256(b"variorum key\0" + key).hexdigest()[:16]


def payload_hash(key: bytes, bits: int) -> str:
    """Hash a payload for an edition, 16 hexadecimal digits.

    It is keyed: 32 bits behind a plain hash could be found by trying them all.
    """
    return hmac.digest(key, b"payload\0" + payload_of(key, bits).tobytes(), hashlib.sha256).hex()[:16]
