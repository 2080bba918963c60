"""Download files of Hub repositories, and say in one line why that fails and what to do.

A repository's files stay in the Hub's own cache; a single file that is pinned by its sha256 goes to this project's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, TypeVar

from variorum.machine.progress import QUIET, Advance
from variorum.models.table_entries import HubFile, HubRepo
from variorum.models.weights import blob_of, blob_verified, pin_command
from variorum.schemas.errors import ModelOutOfReach, ModelUnavailable, causes
from variorum.schemas.secrets import without_secrets

T = TypeVar("T")
AGAIN = "run the same command again later"
LOG_IN = "log in with `hf auth login`"
OTHERS = "name another commit or other files in a table of your own ($VARIORUM_MODELS)"
TOO_MANY = 429
UNREACHED = frozenset(("TransportError", "ConnectionError", "TimeoutError"))
"""Kinds of errors of a network; httpx's have a common base."""
PAUSES = frozenset((408, 429, 500, 502, 503, 504))
"""HTTP statuses that say something of the moment."""


def page(repo: str) -> str:
    """The address of a repository's page, where its terms are accepted."""
    from huggingface_hub import constants

    return f"{constants.ENDPOINT}/{repo}"


def consent(repo: str) -> str:
    """What to do to get the files of a gated repository."""
    return f"{LOG_IN} and accept its terms at {page(repo)}"


def cache_folder() -> Path:
    """The folder in which the Hub's client keeps the files of repositories."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def sizes(place: HubRepo | HubFile) -> dict[str, int]:
    """Ask the Hub for the bytes of the files that aren't here yet.

    Returns:
        Bytes by a name that is the same for all aliases of one repository at one commit.

    Raises:
        ModelUnavailable: as `fetch_repo`.
    """
    if isinstance(place, HubFile):
        found = _download(place.repo, place.file, place.revision, dry_run=True)
        return {f"{place.repo}/{place.sha256}": found.file_size or 0}
    asked = _of_all(place, lambda repo, name: _download(repo, name, place.revision, dry_run=True))
    missing = {name: found for name, found in asked.items() if found.will_download}
    return {f"{place.repo}@{place.revision}/{name}": found.file_size or 0 for name, found in missing.items()}


def fetch_file(place: HubFile, folder: Path, advance: Advance = QUIET.advance) -> Path:
    """Download one file of a repository into a folder, and give its path; its content isn't checked.

    Raises:
        ModelUnavailable: as `fetch_repo`.
    """
    progress_bar = _reporting(advance)
    return Path(_download(place.repo, place.file, place.revision, local_dir=folder, tqdm_class=progress_bar))


def fetch_repo(place: HubRepo, wrong: Collection[str] = (), advance: Advance = QUIET.advance) -> Path:
    """Download what is missing of a repository, and what is damaged, and give the folder of its files.

    Args:
        place: names the repository, its commit and its files.
        wrong: names of damaged files, which are replaced.
        advance: gets the bytes that arrive.

    Raises:
        ModelOutOfReach: the network or the Hub fails for now.
        ModelUnavailable: there is no such repository, commit or file, it is closed to who asks, or other content came.
    """
    progress_bar = _reporting(advance)

    def fetched(repo: str, name: str) -> Path:
        again = name in wrong
        file = Path(_download(repo, name, place.revision, force_download=again, tqdm_class=progress_bar))
        folder = file.parents[len(Path(name).parts) - 1]
        if folder.name != place.revision or not blob_verified(file):
            for wrong_one in (blob_of(file), file, folder.parent.parent / "refs" / str(place.revision)):
                wrong_one.unlink(missing_ok=True)
            raise ModelUnavailable(
                f"{repo}: what came for {name} isn't the file of {place.revision}; it was discarded: {AGAIN}"
            )
        return folder

    return next(iter(_of_all(place, fetched).values()))


def _of_all(place: HubRepo, get: Callable[[str, str], T]) -> dict[str, T]:
    """What `get` gives for each file of a repository, under the first of its ids that exists."""
    if place.revision is None:
        raise ModelUnavailable(f"{place.repo} has no commit yet; {pin_command()}")
    absent = ""
    for repo in place.repos:
        found, missing = dict[str, T](), list[str]()
        for name in place.files:
            try:
                found[name] = get(repo, name)
            except _NoFile:
                missing.append(name)
            except NoCommit as error:
                absent = str(error)
                break
            except NoRepository:
                break
        else:
            if missing:
                raise ModelUnavailable(f"{repo} at {place.revision} has no {', '.join(missing)}; {OTHERS}")
            return found
    raise ModelUnavailable(absent or no_repository(place.repos))


def no_repository(repos: Sequence[str]) -> str:
    """Say that the Hub has no repository of these names."""
    return f"the Hub has no {' or '.join(repos)}, or it is closed: check the name, or {LOG_IN}"


class NoRepository(ModelUnavailable):
    """There is no such repository for who asks."""


class NoCommit(ModelUnavailable):
    """A repository has no such commit."""


class _NoFile(ModelUnavailable):
    """A repository has no such file."""


def _download(repo: str, name: str, revision: str | None, **options: Any) -> Any:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()  # it would write a line for each attempt
    try:
        return hf_hub_download(repo, name, revision=revision, **options)
    except Exception as error:
        raise refused(error, repo, revision, name) from error
    finally:
        logging.set_verbosity(level)


def refused(error: Exception, repo: str, revision: str | None = None, name: str = "") -> Exception:
    """The error that says in one line what the Hub's client met; the same one if this machine's disk failed."""
    from huggingface_hub import constants, errors

    chain: list[Any] = list(causes(error))
    status = next((one.response.status_code for one in chain if getattr(one, "response", None) is not None), None)
    what = f"{repo} could not be downloaded" if name else f"the Hub could not be asked about {repo}"

    def met(kind: type[BaseException]) -> bool:
        return any(isinstance(one, kind) for one in chain)

    if met(errors.GatedRepoError):  # before RepositoryNotFoundError, whose subclass it is
        return ModelUnavailable(f"{repo} is gated: {consent(repo)}")
    if met(errors.RemoteEntryNotFoundError):
        return _NoFile(f"{repo} at {revision or 'main'} has no {name}; {OTHERS}")
    if met(errors.RevisionNotFoundError):
        return NoCommit(f"{repo} has no commit {revision}; {OTHERS}")
    if met(errors.RepositoryNotFoundError):
        return NoRepository(no_repository([repo]))
    if met(errors.OfflineModeIsEnabled):
        return ModelOutOfReach(f"{what}: HF_HUB_OFFLINE is set: unset it, or copy the files into {cache_folder()}")
    if status in (401, 403):
        return ModelUnavailable(f"{what}: the Hub refuses the login ({short(error)}); {LOG_IN} again")
    if status in PAUSES:
        why = "asks for a pause" if status == TOO_MANY else "fails for now"
        return ModelOutOfReach(f"{what}: the Hub {why} ({status}); {AGAIN}")
    if any(cls.__name__ in UNREACHED for one in chain for cls in type(one).__mro__):
        why = short(chain[-1])
        return ModelOutOfReach(f"{what}: {constants.ENDPOINT} isn't within reach ({why}); check the network")
    if "Consistency check failed" in str(error):
        return ModelOutOfReach(f"{what}: {name} ended early; {AGAIN}")
    if isinstance(error, OSError) and error.errno is not None:
        return error
    return ModelUnavailable(f"{what}: {short(error)}")


def short(reason: object) -> str:
    """A reason that others gave, without their line breaks, at most 300 characters, and without secrets."""
    text = " ".join(without_secrets(str(reason) or type(reason).__name__).split())
    return text if len(text) <= 300 else f"{text[:300]}…"


def _reporting(advance: Advance) -> Any:
    """A progress bar for the Hub's client that shows nothing and passes the bytes on."""
    from tqdm import tqdm

    class Reporting(tqdm):  # type: ignore[misc]
        def __init__(self, *_: object, initial: int = 0, **__: object) -> None:
            super().__init__(disable=True)
            advance(initial)

        def update(self, n: float | None = 1) -> None:
            advance(int(n or 0))

        def update_transfer(self, *_: object, **__: object) -> None:
            """Ignore bytes that Xet has received and not written yet: `update` gets them too, later."""

        set_transfer_postfix_str = set_postfix_str = update_transfer

    return Reporting
