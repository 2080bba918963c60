"""The command that publishes an edition on the Hugging Face Hub: publish."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from variorum.flows import terminal
from variorum.flows.options import AsJson, Edition, StoreUrl, examples

if TYPE_CHECKING:
    from variorum.hub.publish import Published
    from variorum.schemas.manifest import Manifest

commands = typer.Typer()

SIGNS = {"upload": "+", "copy": "~", "keep": "=", "delete": "-"}
COUNTED = {"upload": "to upload", "copy": "there under another name", "keep": "unchanged", "delete": "to delete"}
DONE = COUNTED | {"upload": "uploaded", "delete": "deleted"}


class Gated(StrEnum):
    """The way in which people get a gated dataset."""

    auto = "auto"
    manual = "manual"


@commands.command(
    epilog=examples(
        "variorum publish imagenet_e my-lab/imagenet-e --dry-run",
        "variorum publish imagenet_e@1.0.0 my-lab/imagenet-e --private --sign ~/.ssh/id_ed25519",
    )
)
def publish(
    edition: Edition,
    repo: Annotated[
        str, typer.Argument(metavar="ORG/NAME", help="The dataset on the Hub; created if it doesn't exist.")
    ],
    store: StoreUrl = "store",
    private: Annotated[bool, typer.Option("--private", help="Only members of the organisation see it.")] = False,
    gated: Annotated[
        Gated | None,
        typer.Option("--gated", help="People ask for access: auto gives it to everybody who agrees, manual asks you."),
    ] = None,
    branch: Annotated[
        str, typer.Option("--branch", help="Another branch than main, for -dev versions and for older ones.")
    ] = "main",
    replace: Annotated[
        bool,
        typer.Option("--replace", help="Also delete all other files in the repository, such as another dataset's."),
    ] = False,
    checked: Annotated[
        str,
        typer.Option(
            "--licences-checked",
            metavar="TEXT",
            help="Who found out, and how, that pictures with unknown licences may be redistributed.",
        ),
    ] = "",
    sign: Annotated[
        str,
        typer.Option(
            "--sign",
            metavar="KEY|sigstore",
            help="Sign the edition with an SSH key (ssh-keygen -t ed25519), or as yourself through sigstore.",
        ),
    ] = "",
    with_positions: Annotated[
        bool,
        typer.Option("--with-positions", help="Also publish pictures that say where they were taken (GPS)."),
    ] = False,
    sign_key: Annotated[
        Path | None,
        typer.Option(
            "--sign-key", metavar="KEY.pem", help="Sign the contact sheet and all hashes with this key (C2PA)."
        ),
    ] = None,
    sign_cert: Annotated[
        Path | None,
        typer.Option("--sign-cert", metavar="CHAIN.pem", help="The key's certificate, and those of its authorities."),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Only check, and list the files that would be uploaded, the licences and all refusals; works offline.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Publish an edition as a dataset of the Hugging Face Hub: one commit, and a tag with the version.

    Nothing leaves this machine before the edition is verified and its licences, its card and all texts in it are
    checked. Only missing files are uploaded, and the same command continues an upload that was stopped. Log in first:
    hf auth login
    """
    from variorum.edition.opening import open_edition
    from variorum.hub.publish import Terms
    from variorum.hub.publish import publish as send

    if (sign_key is None) != (sign_cert is None):
        raise typer.BadParameter("give both --sign-key and --sign-cert")
    manifest, where = open_edition(edition, store)
    terms = Terms(
        private=private,
        gated=gated.value if gated else "",
        branch=branch,
        replace=replace,
        checked=checked.strip(),
        positions=with_positions,
        sign=(sign_key, sign_cert) if sign_key and sign_cert else None,
        signed=sign,
    )
    with terminal.progress("bytes") as progress:
        done = send(manifest, where, repo, terms, dry_run=dry_run, progress=progress)
    if as_json:
        terminal.print_json({**record(done, dry_run=dry_run), "licences": dict(manifest.licences)})
    else:
        _show(manifest, done, dry_run=dry_run, branch=branch)
    for refusal in done.refused:
        typer.secho(f"refused: {terminal.plain(refusal)}", fg="red", err=True)
    if done.refused:
        raise typer.Exit(1)


def _show(manifest: Manifest, done: Published, *, dry_run: bool, branch: str) -> None:
    """Print what was published, or would be."""
    if dry_run:
        for change in done.changes:
            terminal.say(f"{SIGNS[change.action]} {change.size:14,} bytes  {change.path}")
        for licence, number in sorted(manifest.licences.items(), key=lambda one: (-one[1], one[0])):
            terminal.say(f"licence: {licence or 'none'}, {number} pictures")
    name = f"{manifest.dataset}@{manifest.version}"
    counted = ", ".join(
        f"{number} {word} ({done.size(action) / 1e6:.1f} MB)"
        for action, word in (COUNTED if dry_run else DONE).items()
        if (number := sum(change.action == action for change in done.changes))
    )
    if done.positions:
        terminal.say(f"{done.positions} pictures say where they were taken")
    place = f"{done.url}/tree/{done.tag or branch}"
    if done.unasked:
        terminal.say(
            f"{done.unasked}; until then its files, versions and readers, and your token, aren't checked", err=True
        )
    if not done.new:
        terminal.say(f"{name} is published already: {place}; nothing to do")
    elif dry_run:
        counted = counted or "nothing to upload"
        terminal.say(f"dry run of {name} at {place}: {counted}")
    else:
        terminal.say(f"{name}: {place}, commit {done.commit[:12]}: {counted}")


def record(done: Published, *, dry_run: bool) -> dict[str, Any]:
    """Return what was published as JSON values."""
    return {
        "repo": done.repo,
        "url": done.url,
        "commit": done.commit,
        "tag": done.tag,
        "dry_run": dry_run,
        "new": done.new,
        "positions": done.positions,
        "refused": list(done.refused),
        "unasked": done.unasked,
        "files": [{"path": one.path, "action": one.action, "bytes": one.size} for one in done.changes],
    }
