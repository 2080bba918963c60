"""The editions of a report: those that are named, those that lie on the Hub, and those that a suite builds."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from variorum.api.edition import Edition, Named, name_of, opened
from variorum.edition.editions import editions as sealed_editions
from variorum.edition.editions import read_manifest
from variorum.edition.pulled import read_pulled
from variorum.edition.store import Store
from variorum.hub.signatures import Signer, check_digest, verified
from variorum.machine.progress import Progress
from variorum.schemas.errors import RecipeError, SourceError
from variorum.schemas.lookup import cut

if TYPE_CHECKING:
    from variorum.api.suite_editions import SuiteJob
    from variorum.schemas.manifest import Manifest
    from variorum.stages.job import Job
    from variorum.stages.stage import Runner

State = Literal["sealed", "to pull", "to build"]


@dataclass(frozen=True, eq=False)
class Held:
    """An edition of a report.

    Attributes:
        key: what rows call it.
        store: has it, or will have it.
        manifest: of the edition; None until it is built.
        state: whether its pictures are there.
        pictures: number that a model sees, at most where it isn't built yet; None if unknown.
        seconds: CPU-seconds that it takes to build; None if unknown.
        make: makes or fetches it.
        job: of an edition that is to be built.
    """

    key: str
    store: Store
    manifest: Manifest | None
    state: State = "sealed"
    pictures: int | None = None
    seconds: float | None = 0
    make: Callable[[Runner, Progress], Manifest] | None = None
    job: Job | None = None

    @property
    def name(self) -> str:
        """Dataset and version."""
        if self.manifest:
            return f"{self.manifest.dataset}@{self.manifest.version}"
        assert self.job
        return f"{self.job.recipe.dataset}@{self.job.recipe.version}"

    def made(self, runner: Runner, progress: Progress) -> Held:
        """Make it if it isn't there. Raises VariorumError if that fails."""
        if self.make is None:
            return self
        manifest = self.make(runner, progress)
        return replace(self, manifest=manifest, state="sealed", pictures=manifest.pictures(), seconds=0, make=None)


def named(
    editions: Named | Sequence[Named],
    store: str | os.PathLike[str] | Store,
    signer: Signer | None = None,
    digest: str = "",
) -> list[Held]:
    """The editions that somebody names. Of one on the Hub only the manifest is fetched.

    Args:
        editions: one or several: `va.Edition` objects, names, folders, or `owner/name@1.0.0` for one on the Hub.
        store: in which names are looked up, and into which editions of the Hub are pulled.
        signer: who must have signed each.
        digest: the one that the only edition must have.

    Raises:
        StoreError: there is no such store or edition.
        SourceError: an edition of the Hub has no tag, or isn't there; or one has another signer or digest.
        RecipeError: none is given, or one twice, or several with a digest.
    """
    single = isinstance(editions, str | os.PathLike | Edition)
    listed = [editions] if single else list(editions) if isinstance(editions, Iterable) else [editions]
    if not listed:
        raise RecipeError("report: no edition is given; name one, or a suite and a source of photographs")
    if digest and len(listed) > 1:
        raise RecipeError(f"report: {len(listed)} editions can't have one digest; name one edition, or leave it out")
    found = [_on_hub(one, store, signer, digest) or _opened(one, store) for one in listed]
    for one in found:
        assert one.manifest
        check_digest(one.manifest, digest)
        if one.state == "sealed" and signer and (wrong := verified(one.manifest, one.store, signer)[1]):
            raise SourceError(wrong[0])
    digests = [one.manifest.digest() if one.manifest else "" for one in found]
    for place, one in enumerate(found):
        if digests[place] in digests[:place]:
            raise RecipeError(f"report: the edition {one.name} is given twice; leave one out")
    return found


def _opened(edition: Any, store: str | os.PathLike[str] | Store) -> Held:
    found = opened(edition, store)
    return Held(found.manifest.dataset, found.store, found.manifest, pictures=found.manifest.pictures())


def _on_hub(edition: Any, store: str | os.PathLike[str] | Store, signer: Signer | None, digest: str) -> Held | None:
    """The edition on the Hub that a text names; None for anything else."""
    text = edition if isinstance(edition, str) else ""
    if "/" not in text or text.startswith((".", "/", "~")) or "/editions/" in text:
        return None
    from variorum.hub.pull import edition_at, pull
    from variorum.hub.pull_places import on_the_hub

    place = on_the_hub(text)
    if place is None or place["path"]:
        return None
    repository, tag = place["id"], place["revision"]
    if not tag:
        raise SourceError(
            f"{cut(text)}: name the version of an edition on the Hub, as in {cut(repository)}@1.0.0; without one it "
            "could be another edition next time"
        )
    where = store if isinstance(store, Store) else Store(name_of(store, "a store"))
    if (kept := _pulled(repository, tag, where)) and _sure(kept, where, signer):
        return Held(kept.dataset, where, kept, pictures=kept.pictures())
    there = edition_at(text)
    if there is None:
        raise SourceError(f"{cut(text)}: no edition of Variorum lies there; bring other tars in with: variorum pull")
    manifest, at = there

    def fetch(_runner: Runner, progress: Progress) -> Manifest:
        return pull(text, manifest, at, where, progress, digest=digest, signer=signer).manifest

    kept = read_manifest(manifest.dataset, manifest.version, where)
    if kept and kept.digest() == manifest.digest() and _sure(kept, where, signer):
        return Held(kept.dataset, where, kept, pictures=kept.pictures())
    return Held(manifest.dataset, where, manifest, "to pull", manifest.pictures(), None, fetch)


def _sure(manifest: Manifest, store: Store, signer: Signer | None) -> bool:
    """Whether the edition in the store is signed as it must be; its place may have a signature that isn't here."""
    return signer is None or not verified(manifest, store, signer)[1]


def _pulled(repository: str, tag: str, store: Store) -> Manifest | None:
    """The edition that was pulled from there at this tag, so that nothing is asked of the network again."""
    for dataset, version in sealed_editions(store):
        manifest = read_manifest(dataset, version, store)
        origin = manifest and read_pulled(manifest, store)
        if manifest and origin and tag in (origin.tag, origin.revision) and f"/{repository}@" in f"/{origin.place}@":
            return manifest
    return None


def of_suite(jobs: Sequence[SuiteJob]) -> dict[str, Held]:
    """By key, the editions of a suite that can be made, from `editions_of`'s jobs."""
    found: dict[str, Held] = {}
    for one in jobs:
        if one.job is None:
            continue
        state: State = "sealed" if one.sealed else "to build"
        make = None if one.sealed else one.build
        found[one.key] = Held(one.key, one.job.store, one.sealed, state, one.pictures, one.seconds, make, one.job)
    return found
