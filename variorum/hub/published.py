"""Files that differ on the Hub from those beside the manifest, or are only there.

The card and `croissant.json` differ, and the pictures of an edition with a content warning; `LICENSE.md` is only there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime

from variorum.edition.store import Store
from variorum.hub.layout import LICENCE, PAGE
from variorum.reports.class_plot import FILE as CLASSES
from variorum.reports.class_plot import class_counts, class_plot
from variorum.reports.contact_sheet import contact_sheet
from variorum.reports.croissant import encode
from variorum.reports.given import Sealed, given_pictures
from variorum.reports.licence_facts import facts_of, parts_of
from variorum.reports.licences import terms_of
from variorum.reports.rows import edition_rows
from variorum.reports.templates import render
from variorum.schemas.manifest import Manifest

SHEET = "contact_sheet.png"
HERE = "path/to/this/folder"
"""What a card calls the folder that it lies in."""
VERSIONS = "## Versions on the Hub"
PULLED = re.compile(rf"\n{VERSIONS}\n\n[^\n]*`variorum pull ([A-Za-z0-9._-]+/[A-Za-z0-9._-]+)@[^\n]*\n?")
"""The section of a published card about versions; such a card lies beside an edition that was pulled."""
SHOWN = re.compile(r"^!\[[^\n]*\]\(contact_sheet\.png\)\n", re.MULTILINE)
VIEWED = re.compile(r"^`variorum view [^`\n]*` writes a page[^\n]*\n\n?", re.MULTILINE)
"""The line of a card about the page of an edition in a store, which readers of the Hub have to pull first."""
LINKED = re.compile(rf"^\[`{re.escape(PAGE)}`\][^\n]*\n\n?", re.MULTILINE)
"""The line of a published card about the page."""
LICENSED = re.compile(r"LICEN[CS]E(?:\.[A-Za-z]+)?", re.IGNORECASE)
"""A file with the licence of a repository."""
OWN_LICENCE = b"# Licences of the pictures of "
"""How a `LICENSE.md` begins that is written here."""
TARS = f'import webdataset\n\nfiles = sorted(glob("{HERE}/'
DOWNLOADED = "import webdataset\nfrom huggingface_hub import snapshot_download"
"""How a card's code for readers of WebDataset begins beside the files, and on the Hub."""
DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def pictures(manifest: Manifest, store: Store) -> dict[str, bytes]:
    """The card's pictures without plots of evaluations, drawn anew, so that no unblurred one is published."""
    rows = edition_rows(manifest, store)
    drawn = {
        **given_pictures(Sealed(manifest, rows, store)),
        SHEET: contact_sheet(manifest, store, rows),
        CLASSES: class_plot(class_counts(manifest, rows)),
    }
    return {name: content for name, content in drawn.items() if content is not None}


def published_card(text: str, repo: str, revision: str, manifest: Manifest, tested: str, shown: int = 0) -> str:
    """The card as it stands on the Hub: it loads the dataset by name and version, and says how to get other versions.

    Args:
        text: the card beside the manifest; that of a pulled edition may be one that was published elsewhere.
        repo: `org/name`.
        revision: the edition's tag, or the branch of a -dev version.
        manifest: the edition.
        tested: the version of `datasets` with which it was loaded before it was published; `""` if it wasn't.
        shown: number of pictures on the page beside the card, which is linked below the contact sheet; 0 without one.
    """
    name, names = f"{manifest.dataset}@{manifest.version}", {HERE, *PULLED.findall(text)}
    loaded = _loading(VIEWED.sub("", LINKED.sub("", PULLED.sub("", text))), names, repo, revision)
    if shown:
        line = (
            f"[`{PAGE}`]({PAGE}) shows {_several(shown, manifest)} with their records: download this file "
            f"and open it in a browser."
        )
        loaded = SHOWN.sub(lambda found: f"{found[0]}\n{line}\n", loaded, count=1)
    test = f"Tested with `datasets` {tested}: every configuration has the declared columns. " if tested else ""
    where = (
        f"The tag `{revision}` always has this edition, digest `{manifest.digest()}`; `main` has the newest version."
        if revision == manifest.version
        else f"The branch `{revision}` has this edition, digest `{manifest.digest()}`, until another takes its place."
    )
    said = (
        f"{where} {test}`variorum pull {repo}@{revision}` brings it into a store and checks every hash; "
        f"`variorum view {name}` then writes a page to look through it."
    )
    return f"{loaded.rstrip()}\n\n{VERSIONS}\n\n{said}\n"


def _loading(text: str, names: Iterable[str], repo: str, revision: str) -> str:
    """A card whose code, where it reads one of these names, reads a version of a repository."""
    known = "|".join(map(re.escape, sorted(names)))
    call = re.compile(
        rf'\b(load_dataset|snapshot_download)\("(?:{known})"((?:, (?!revision=)[^,)\n]*)*)(?:, revision="[^"\n]*")?\)'
    )
    text = call.sub(lambda found: f'{found[1]}("{repo}"{found[2]}, revision="{revision}")', text)
    folder = f'folder = snapshot_download("{repo}", repo_type="dataset", revision="{revision}")'
    return text.replace(TARS, f'{DOWNLOADED}\n\n{folder}\nfiles = sorted(glob(f"{{folder}}/')


def _several(shown: int, manifest: Manifest) -> str:
    every = sum(shard.samples for shards in manifest.shards.values() for shard in shards)
    return f"{shown:,} of {every:,} pictures" if shown < every else "all pictures"


def licence_text(manifest: Manifest) -> bytes:
    """`LICENSE.md`: every licence with the number of its pictures and the address of its text, and what they ask."""
    pages = {licence: list(_pages(licence)) for licence in manifest.licences}
    text = render("parts/license_file", manifest=manifest, terms=terms_of(manifest), pages=pages)
    assert text.encode().startswith(OWN_LICENCE)
    return text.encode()


def _pages(licence: str) -> Iterable[str]:
    """SPDX ids of the licences that an expression names, each of which has a page at spdx.org."""
    found = (facts_of(part) for choice in parts_of(licence) for part in choice)
    return dict.fromkeys(facts.spdx for facts in found if facts and facts.spdx)


def asks_for_licence(card: str) -> bool:
    """Return whether a card's header says `license: other`; the Hub then wants a file with the terms."""
    return "\nlicense: other\n" in card.partition("\n---\n")[0] + "\n"


def with_licence(card: str) -> str:
    """A card whose header names `LICENSE.md` as the place of the terms."""
    header, end, body = card.partition("\n---\n")
    lines = [line for line in header.split("\n") if not line.startswith("license_link:")]
    last = max(number for number, line in enumerate(lines) if line.startswith("license"))
    return "\n".join([*lines[: last + 1], f"license_link: {LICENCE}", *lines[last + 1 :]]) + end + body


def published_croissant(data: bytes, before: bytes | None, url: str, conditions: str) -> bytes:
    """`croissant.json` with page, date and conditions of access.

    Args:
        data: the document beside the manifest.
        before: the published document; its date is kept if it is about the same edition, so that publishing it again
            changes nothing.
        url: the dataset's page.
        conditions: of access; `""` for none.
    """
    found, date = json.loads(data), datetime.now(UTC).date().isoformat()
    try:
        old = json.loads(before or b"{}")
        if old["identifier"] == found["identifier"] and DATE.fullmatch(old["datePublished"]):
            date = old["datePublished"]
    except (ValueError, TypeError, LookupError):
        pass  # it isn't one of ours
    own = {"url": url, "datePublished": date, **({"conditionsOfAccess": conditions} if conditions else {})}
    return encode({**found, **own})
