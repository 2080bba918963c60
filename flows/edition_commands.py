"""The commands on a sealed edition: show, view, diff, leaderboard, rollback, verify, blocklist."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from variorum.edition.opening import existing
from variorum.flows import terminal, terminal_editions
from variorum.flows.options import (
    CONFIDENCE,
    AsJson,
    Confidence,
    Digest,
    Edition,
    Issuer,
    Profile,
    ProfileName,
    SignedBy,
    StoreUrl,
    examples,
)

commands = typer.Typer()


@commands.command(epilog=examples("variorum show", "variorum show imagenet_e@1.0.0"))
def show(
    edition: Annotated[str, typer.Argument(help="dataset, or dataset@version; lists all if omitted.")] = "",
    store: StoreUrl = "store",
    as_json: AsJson = False,
) -> None:
    """List the editions of a store, or summarise one and make its contact sheet."""
    from variorum.edition.editions import editions, find, read_beside, write_beside

    where = existing(store)
    if not edition:
        known = [f"{dataset}@{version}" for dataset, version in editions(where)]
        if as_json:
            terminal.print_json(known)
        elif known:
            terminal.say("\n".join(known))
        else:
            terminal.say(f"no edition in {store} yet; make one with: variorum run imagenet_e")
        return
    manifest = find(edition, where)
    if read_beside(manifest, "contact_sheet.png", where) is None and where.can_write():
        from variorum.reports.contact_sheet import contact_sheet

        write_beside(manifest, "contact_sheet.png", contact_sheet(manifest, where), where)
    if as_json:
        terminal.print_json(terminal_editions.summary(manifest, where))
    else:
        terminal_editions.print_summary(manifest, where)
        if who := terminal_editions.was_signed_by(manifest, where):
            terminal.say(terminal_editions.was_signed(f"{manifest.dataset}@{manifest.version}", who))


@commands.command(
    epilog=examples(
        "variorum view imagenet_e",
        "variorum view imagenet_e@1.0.0 imagenet_e@1.0.0-r1 --to changes.html",
        "variorum view street --search 'a red car' --profile hub",
    )
)
def view(
    edition: Edition,
    second: Annotated[
        str, typer.Argument(metavar="[SECOND]", help="A later edition: shows what changed, before and after.")
    ] = "",
    store: StoreUrl = "store",
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="Write here; by default to the edition's folder.")
    ] = None,
    most: Annotated[int, typer.Option("--most", min=1, max=100_000, help="How many pictures to show.")] = 10_000,
    no_map: Annotated[bool, typer.Option("--no-map", help="Leave out the map of similar pictures.")] = False,
    blur: Annotated[bool, typer.Option("--blur", help="Blur pictures until they are looked at.")] = False,
    pictures: Annotated[
        bool,
        typer.Option("--pictures", help="With --to: write larger versions of all pictures into a folder beside it."),
    ] = False,
    search: Annotated[
        list[str] | None,
        typer.Option(
            "--search",
            metavar="PHRASE|FILE.txt",
            help="Sort by how well pictures fit a phrase. Needs a model of pictures and texts: --profile hub. May be "
            "repeated.",
        ),
    ] = None,
    profile: ProfileName = Profile.embedded,
    no_open: Annotated[bool, typer.Option("--no-open", help="Don't open it in a browser.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a page to look at an edition, one HTML file: pictures with their records, to filter and sort.

    It needs no server and no network. With a terminal and a display, it is opened in the browser.
    """
    from dataclasses import asdict

    from variorum.edition.opening import open_edition
    from variorum.flows.browser import open_page
    from variorum.models.imagenet_classes import class_infos
    from variorum.reports.limits import unstored
    from variorum.reports.page.phrases import check_phrases, phrases_of
    from variorum.reports.page.write import write_view
    from variorum.stages.job import models as models_of

    phrases = phrases_of(search or ())
    models = models_of(profile.value) if phrases else None
    check_phrases(phrases, models)
    first, other = open_edition(edition, store), open_edition(second, store) if second else (None, None)
    with terminal.progress() as progress:
        written = write_view(
            *first,
            *other,
            to=to,
            most=most,
            with_map=not no_map,
            blur=blur,
            known=class_infos(),
            pictures=pictures,
            phrases=phrases,
            models=models,
            progress=progress,
        )
    if as_json:
        terminal.print_json(asdict(written))
        return
    terminal.say(written.said())
    if said := unstored(first[0]):
        terminal.say(said)
    if not no_open:
        open_page(written.path)


@commands.command(
    epilog=examples(
        "variorum diff imagenet_e@1.0.0 imagenet_e@1.0.0-r1",
        "variorum diff imagenet_e@1.0.0 imagenet_e@1.0.0-r1 --to changes.html",
    )
)
def diff(
    first: Edition,
    second: Edition,
    store: StoreUrl = "store",
    most: Annotated[int, typer.Option("--list", min=0, help="How many changed pictures to list.")] = 20,
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="FILE.html", help="Also write a page with the pictures side by side."),
    ] = None,
    former: Annotated[Path | None, typer.Option("--page", hidden=True)] = None,
    as_json: AsJson = False,
) -> None:
    """Show the differences between two editions: pictures added, dropped, changed, relabelled, moved or annotated.

    Moved pictures are in another split or configuration, annotated ones have other boxes, texts or label states. Of
    withheld ones, only a row is left. The last line says whether this is a major, minor or patch change, and why. With
    --json, one line per changed picture, one of the kind `page` if there is a page, and a last one of the kind `rank`.
    """
    from dataclasses import asdict

    from variorum.edition.editions import find
    from variorum.reports.diff import diff as find_changes
    from variorum.reports.page.write import write_view
    from variorum.reports.ranks import rank_of

    page = to or former
    where = existing(store)
    one, other = find(first, where), find(second, where)
    changes = find_changes(one, other, where)
    rank = rank_of(one, other, changes)
    written = None
    if page is not None:
        with terminal.progress() as progress:
            written = write_view(one, where, other, to=page, progress=progress)
    if as_json:
        for change in changes:
            terminal.print_json(asdict(change))
        if written:
            terminal.print_json({"kind": "page", **asdict(written)})
        terminal.print_json(terminal_editions.rank_record(rank))
    else:
        terminal_editions.print_diff(changes, most)
        if written:
            terminal.say(written.said())
        terminal_editions.print_rank(rank, other)


@commands.command(
    epilog=examples("variorum leaderboard imagenet_e", "variorum leaderboard imagenet_e theirs/ --to leaderboard.html")
)
def leaderboard(
    edition: Edition,
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILES...]", help="Other people's results, or folders with them.")
    ] = None,
    store: StoreUrl = "store",
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE.html", help="Write here; by default to the edition's folder.")
    ] = None,
    confidence: Confidence = CONFIDENCE,
    as_json: AsJson = False,
) -> None:
    """Compare models on an edition: a table here, and a page with Markdown and JSON beside it.

    It takes the results of `variorum evaluate --model` beside the edition and those that you name. All figures are
    recomputed from the answers in them.
    """
    from variorum.flows.results import make_leaderboard

    make_leaderboard(edition, files or (), store, to, confidence, as_json=as_json)


@commands.command(epilog=examples("variorum rollback imagenet_e", "variorum rollback imagenet_e@1.0.0 --to 1"))
def rollback(
    edition: Edition,
    store: StoreUrl = "store",
    to: Annotated[
        int | None, typer.Option("--to", min=1, help="The release to go back to; by default the previous one.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make an older release the current one. Missing files are rebuilt from its ledger."""
    from variorum.edition.editions import resolve
    from variorum.pipeline import rollback as go_back

    where = existing(store, writable=True)
    released = go_back(resolve(edition, where), where, to)
    if as_json:
        terminal.print_json(terminal_editions.summary(released, where))
        return
    terminal.say(f"in use: {released.dataset}@{released.version}, digest {released.digest()[:16]}")
    terminal_editions.print_paths(released, where)


@commands.command(
    epilog=examples("variorum verify imagenet_e --load", "variorum verify street@1.0.0 --digest 98b9f7a7…")
)
def verify(
    edition: Edition,
    store: StoreUrl = "store",
    digest: Digest = "",
    signed_by: SignedBy = "",
    issuer: Issuer = "",
    load: Annotated[bool, typer.Option("--load", help="Also load it with datasets, as its users will.")] = False,
    as_json: AsJson = False,
) -> None:
    """Recompute every hash of an edition, and check who signed it; exits with 1 if anything doesn't match."""
    from variorum.edition.editions import find, folder_of
    from variorum.hub import signatures
    from variorum.reports.hub_types import read_back
    from variorum.reports.limits import unstored
    from variorum.reports.verified import verify_edition

    signer = signatures.Signer.named(signed_by, issuer)
    where = existing(store)
    manifest = find(edition, where)
    shards = [shard for split in manifest.shards.values() for shard in split]
    with terminal.progress("bytes") as progress:
        problems = verify_edition(manifest, where, progress, digest)
    who, wrong = signatures.verified(manifest, where, signer)
    problems += wrong
    name, pictures = f"{manifest.dataset}@{manifest.version}", sum(shard.samples for shard in shards)
    if as_json:
        terminal.print_json(
            {"edition": name, "shards": len(shards), "pictures": pictures, "signed_by": who, "problems": problems}
        )
    for problem in () if as_json else problems:
        typer.secho(terminal.plain(problem), fg="red", err=True)
    if problems:
        raise typer.Exit(1)
    if not as_json:
        signed = f", signed by {who}, over this digest" if who else ""
        terminal.say(f"{name}: {len(shards)} shards and {pictures} pictures match their hashes{signed}")
        if said := unstored(manifest):
            terminal.say(said)
    if load:
        terminal.say(read_back(folder_of(manifest, where), manifest), err=as_json)
