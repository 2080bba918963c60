"""The command that brings an edition, or other people's tars, into a store: pull."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from variorum.flows import terminal, terminal_editions
from variorum.flows.options import AsJson, Digest, Issuer, SignedBy, StoreUrl, Workers, examples

if TYPE_CHECKING:
    from variorum.edition.store import Store
    from variorum.hub.pull_places import Place
    from variorum.schemas.manifest import Manifest

commands = typer.Typer()


@commands.command(
    epilog=examples(
        "variorum pull org/street --revision 1.2.0 --digest 98b9f7a7…",
        "variorum pull org/street --revision 1.2.0 --signed-by author.pub",
        "variorum pull https://example.org/store/editions/street/1.2.0",
        "variorum pull org/some-webdataset --as theirs@1.0.0",
        "variorum pull 'https://example.org/train-{000..009}.tar' --as theirs",
    )
)
def pull(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="A dataset on the Hub, org/name; an edition's folder or URL; URLs of tars."
        ),
    ],
    revision: Annotated[
        str, typer.Option("--revision", "--version", metavar="REV", help="Tag, branch or commit on the Hub: 1.2.0.")
    ] = "",
    named: Annotated[
        str,
        typer.Option(
            "--as", metavar="NAME[@VERSION]", help="Name of the edition that is made from other people's tars."
        ),
    ] = "",
    digest: Digest = "",
    signed_by: SignedBy = "",
    issuer: Issuer = "",
    unsigned: Annotated[
        bool, typer.Option("--unsigned", help="Take an unsigned edition where earlier ones were signed.")
    ] = False,
    only_fetch: Annotated[
        bool, typer.Option("--only-fetch", help="Only download other people's tars and write the recipe.")
    ] = False,
    store: StoreUrl = "store",
    workers: Workers = 1,
    as_json: AsJson = False,
) -> None:
    """Download an edition into a store, or make one from anybody's WebDataset tars.

    Every file is compared with its hash, and the edition is verified before it is sealed. Files that the store has
    aren't downloaded again, so the same command continues a pull that was stopped.
    """
    from variorum.edition.store import Store
    from variorum.hub.pull import edition_at
    from variorum.hub.signatures import Signer

    signer = Signer.named(signed_by, issuer)
    if signer and unsigned:
        raise typer.BadParameter("give --signed-by or --unsigned, not both")
    found = edition_at(source, revision)
    if found:
        wanted = {"digest": digest, "signer": signer, "unsigned": unsigned}
        _pull_edition(source, *found, Store(store), named, wanted, as_json=as_json)
    else:
        if signer:
            raise typer.BadParameter("--signed-by is for editions, and no edition lies there")
        _pull_tars(source, revision, Store(store), named, digest, workers, only_fetch=only_fetch, as_json=as_json)


def _pull_edition(
    source: str,
    manifest: Manifest,
    place: Place,
    store: Store,
    named: str,
    wanted: dict[str, Any],
    *,
    as_json: bool,
) -> None:
    from variorum.hub.pull import pull as pull_edition

    if named and named != manifest.dataset and named != f"{manifest.dataset}@{manifest.version}":
        raise typer.BadParameter(
            f"--as is for tars: this is the edition {manifest.dataset}@{manifest.version}, and its digest covers its "
            f"name; for a name of your own use it as the source `edition` of a recipe"
        )
    with terminal.progress("bytes") as progress:
        got = pull_edition(source, manifest, place, store, progress, **wanted)
    if as_json:
        come = {"place": place.name, "revision": place.revision, "fetched": got.fetched, "kept": got.kept}
        summary = terminal_editions.summary(manifest, store)
        terminal.print_json(
            {**summary, **come, "tables_without": got.without, "card": got.card, "signed_by": got.signed_by}
        )
        return
    terminal.say(f"{manifest.dataset}@{manifest.version} from {place.name}: {_amounts(got.fetched, got.kept)}")
    compared = ", as expected" if wanted["digest"] else "; compare it with the one that its author gives"
    terminal.say(f"digest {manifest.digest()}{compared}")
    if got.signed_by:
        first = (
            f"whose that is, nobody has checked: {got.origin} is now known by it, and --signed-by insists on a signer"
        )
        asked = "as asked" if wanted["signer"] else f"as {got.origin} was before" if got.known else first
        terminal.say(f"signed by {got.signed_by}, over this digest; {asked}")
    if got.without:
        terminal.say(f"{got.without} tables of its ledger aren't published; nothing but a review of them needs these")
    terminal_editions.print_summary(manifest, store)


def _pull_tars(
    source: str,
    revision: str,
    store: Store,
    named: str,
    digest: str,
    workers: int,
    *,
    only_fetch: bool,
    as_json: bool,
) -> None:
    from variorum.hub.pull_foreign import bring, find_tars

    tars = find_tars(source, revision)
    if digest:
        raise typer.BadParameter("--digest is for editions, and no edition lies there")
    with terminal.progress("bytes") as progress:
        brought = bring(tars, named, store, progress)
    come: dict[str, Any] = {
        "place": brought.place,
        "tars": brought.tars,
        "fetched": brought.fetched,
        "kept": brought.kept,
        "licence": brought.licence,
        "recipe": str(brought.recipe),
    }
    if not as_json:
        terminal.say(f"{brought.tars} tars from {brought.place}: {_amounts(brought.fetched, brought.kept)}")
        terminal.say(f"licence: {brought.licence}; class names in the card: {brought.classes or 'none'}")
        terminal.say(f"recipe: {brought.recipe}")
    if only_fetch:
        if as_json:
            terminal.print_json(come)
        return
    _make(brought.recipe, store, workers, come, as_json=as_json)


def _make(recipe: Any, store: Store, workers: int, come: dict[str, Any], *, as_json: bool) -> None:
    """Make the edition of a recipe that was written for tars."""
    from variorum.pipeline import Job, Threads, run
    from variorum.schemas.errors import VersionDrift
    from variorum.stages.recipe_files import load_recipe

    job = Job(load_recipe(str(recipe)), store)
    unused = _unused(job)
    try:
        with terminal.progress() as progress:
            manifest = run(job, Threads(workers), progress)
    except VersionDrift:
        name = f"{job.recipe.dataset}@{job.recipe.version}"
        raise VersionDrift(
            f"{name} is in {store} already, of other tars or another revision; give this one a version or a name "
            f"of its own: --as {job.recipe.dataset}@{_next(job.recipe.version)}"
        ) from None
    if as_json:
        terminal.print_json({**terminal_editions.summary(manifest, store), **come, "unused": unused})
        return
    if not manifest.classes:
        terminal.say("labels: no tar has a member `cls`; if a JSON member has them, set source.label in the recipe")
    if unused:
        terminal.say(f"members that the edition doesn't have: {', '.join(unused)}; see source.metadata")
    terminal_editions.print_summary(manifest, store)


def _unused(job: Any) -> list[str]:
    """Endings of members that no field of the source names."""
    source = job.recipe.source
    used = {*source.image, *(name for name in (source.label, source.caption, source.mask) if name)}
    return sorted(source.endings() - used)


def _next(version: str) -> str:
    major, minor, _ = version.partition("-")[0].split(".")
    return f"{major}.{int(minor) + 1}.0"


def _amounts(fetched: int, kept: int) -> str:
    said = f"{fetched / 1e6:,.1f} MB fetched"
    return f"{said}, {kept / 1e6:,.1f} MB were there" if kept else said
