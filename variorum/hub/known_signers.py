"""Who signed the first edition that this user pulled from a place, so that another signer later is noticed.

It is a file of the user's own, as `known_hosts` is of OpenSSH: a signature alone doesn't say whose it is, but the same
signer again is most likely the same author.
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

from variorum.hub.pull_fetch import held
from variorum.hub.pull_places import Place
from variorum.machine.cache import config_dir
from variorum.machine.workplace import workplace
from variorum.schemas.errors import SourceError
from variorum.schemas.manifest import Manifest

log = logging.getLogger(__name__)

VARIABLE = "VARIORUM_SIGNERS"
"""Environment variable with the path of the file."""


def own_file() -> Path:
    """The user's file: where VARIORUM_SIGNERS says, or `known_signers.json` in the user's configuration folder."""
    named = os.environ.get(VARIABLE)
    return Path(os.path.realpath(os.path.expanduser(named) if named else config_dir() / "known_signers.json"))


def origin(place: Place, manifest: Manifest) -> str:
    """What has one signer: `owner/name` on the Hub, elsewhere the folder or URL without the edition's version."""
    if place.revision:
        return place.name.partition("@")[0].removeprefix("hf://datasets/").lower()
    above, _, last = place.name.rpartition("/")
    return above if last == manifest.version else place.name


def known(name: str) -> str:
    """Who signs what comes from there, if that is remembered, else `""`. Raises SourceError: see `_read`."""
    return _read(own_file()).get(name, "")


def settle(name: str, who: str, *, replace: bool) -> str:
    """Remember who signs what comes from there, if nobody is remembered yet; returns who was, `""` for nobody.

    Args:
        name: from `origin`.
        who: signed it; `""` remembers nothing.
        replace: also in place of another signer.

    Raises:
        SourceError: the file can't be read.
    """
    before, path = known(name), own_file()
    if not who or before == who or (before and not replace):
        return before
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with held(path, 0o600):  # of two processes, the second reads what the first has written
            found = _read(path)
            before = found.get(name, "")
            if replace or not before:
                with workplace(path.parent) as folder:
                    fresh = folder / path.name
                    with open(fresh, "w", opener=lambda file, flags: os.open(file, flags, 0o600)) as file:
                        json.dump({**found, name: who}, file, indent=1, sort_keys=True)
                        file.flush()
                        os.fsync(file.fileno())
                    fresh.replace(path)
    except OSError as error:
        log.warning("%s can't be written (%s), so the signer of %s isn't remembered", path, error.strerror, name)
    return before


def _read(path: Path) -> dict[str, str]:
    """The file's content. Raises SourceError if it is none, as without it any signer would do."""
    try:
        found = json.loads(path.read_bytes() or b"{}")  # empty before it is first written
        if isinstance(found, dict) and all(isinstance(who, str) for who in found.values()):
            return found
        why = "it is no list of signers"
    except FileNotFoundError:
        return {}
    except OSError as error:
        why = str(error.strerror)
    except (ValueError, RecursionError):
        why = "it is no JSON"
    raise SourceError(f"{path}: {why}; bring it back as it was, or delete it to forget all signers")
