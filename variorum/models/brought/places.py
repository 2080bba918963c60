"""Files, folders and Hub snapshots that a model's name can point to."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from variorum.models.brought.found import NotFetched
from variorum.models.weights import blob_intact
from variorum.schemas.errors import ModelUnavailable, RecipeError
from variorum.schemas.extras import needs, there
from variorum.schemas.lookup import cut

log = logging.getLogger(__name__)

MOST_BYTES = 2**24
"""Of a JSON file beside weights."""


def local(text: str, name: str, kind: str) -> Path:
    """The file or folder that a name gives the path of, relative to the current folder; `~` is the home folder.

    Raises:
        ModelUnavailable: it doesn't exist or is something else.
    """
    if not text:
        raise ModelUnavailable(f"model {name!r}: the path of its {kind} is missing")
    try:
        path = Path(text).expanduser().absolute()
        there, right = path.exists(), path.is_file() if kind == "file" else path.is_dir()
    except (OSError, RuntimeError, ValueError) as error:
        raise ModelUnavailable(f"model {name!r}: {cut(text)}: {cut(str(error))}") from None
    if not there:
        raise ModelUnavailable(f"model {name!r}: {path} doesn't exist; a path is relative to the current folder")
    if not right:
        raise ModelUnavailable(f"model {name!r}: {path} isn't a {kind}")
    return path


def need(package: str, name: str) -> None:
    """Raise ModelUnavailable, with the command, unless a package is installed."""
    if not there(package):
        raise ModelUnavailable(needs(f"model {name!r}", package))


def read_json(path: Path, name: str) -> dict[str, Any]:
    """An object from a JSON file. Raises ModelUnavailable if the file holds something else."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"it has more than {MOST_BYTES >> 20} MiB")
        data = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelUnavailable(f"model {name!r}: {path} can't be read as JSON: {cut(str(error))}") from None
    if not isinstance(data, dict):
        raise ModelUnavailable(f"model {name!r}: {path} must hold an object, {{…}}, not a {type(data).__name__}")
    return data


def read_config(folder: Path, name: str) -> dict[str, Any]:
    """A network's config.json, which must describe no larger network than its weights hold.

    Libraries build what it describes before they look at the weights, with a billion layers if it says so.

    Raises:
        ModelUnavailable: it can't be read, or has a whole number larger than the weights have bytes.
    """
    path = folder / "config.json"
    config, held = read_json(path, name), sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    left: list[Any] = [config]
    while left:
        value = left.pop()
        left += value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        if isinstance(value, int) and value > held:
            raise ModelUnavailable(
                f"model {name!r}: {path} says {cut(str(value))}, but its weights have {held} bytes; save both again"
            )
    return config


def snapshot(
    place: str, name: str, files: Sequence[str], lacks: Callable[[Path], str], *, fetch: bool
) -> tuple[Path, str]:
    """Folder and commit of a Hub repository in the Hub's own cache; downloaded first if it doesn't exist.

    Args:
        place: `owner/name`, or with `@` and a commit, branch or tag; by default the branch main as the cache knows it.
        name: of the model, for errors.
        files: patterns of the files to download.
        lacks: what a snapshot's folder lacks to be loaded, as a line; `""` if nothing.
        fetch: download it if it doesn't exist.

    Raises:
        NotFetched: it isn't there, and `fetch` is false.
        ModelUnavailable: it can't be downloaded, or can't be loaded.
        RecipeError: that can't be a repository's name.
    """
    from huggingface_hub import snapshot_download, try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    repo, _, revision = place.partition("@")
    try:
        validate_repo_id(repo)
    except HFValidationError:
        raise RecipeError(f"model {name!r}: {cut(repo)!r} is no repository; the Hub's are named owner/name") from None
    if "/" not in repo or not re.fullmatch(r"[\w./-]*", revision, re.ASCII) or ".." in revision:
        raise RecipeError(f"model {name!r}: give a repository of the Hub as owner/name or owner/name@commit")
    cached = try_to_load_from_cache(repo, "config.json", revision=revision or None)
    folder = Path(cached).parent if isinstance(cached, str) else None
    if folder is None or lacks(folder):
        at = f" at {revision}" if revision else ""
        if not fetch:
            raise NotFetched(f"{repo}{at} isn't in the Hub's cache; it is downloaded when it is first used")
        log.warning("model %r: downloading %s%s from the Hugging Face Hub", name, repo, at)
        try:
            folder = Path(snapshot_download(repo, revision=revision or None, allow_patterns=list(files)))
        except Exception as error:  # its own classes, and those of the network
            said = " ".join(str(error).split())[:200]
            raise ModelUnavailable(
                f"model {name!r}: {repo}{at} isn't in the Hub's cache and can't be downloaded "
                f"({type(error).__name__}: {said}); where there is a network, `hf download {repo}` fetches it, or give "
                "the path of a folder"
            ) from error
        if problem := lacks(folder):
            raise ModelUnavailable(f"model {name!r}: {repo}{at} in {folder}: {problem}")
    for file in (file for pattern in files for file in folder.glob(pattern)):
        if not blob_intact(file):
            raise ModelUnavailable(f"model {name!r}: {file} is damaged; delete {folder} and run again to fetch it")
    return folder, folder.name
