"""Files that differ on the Hub from those beside the manifest: the card, `croissant.json`, pictures drawn anew."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime

from variorum.edition.store import Store
from variorum.report.contact_sheet import contact_sheet
from variorum.report.croissant import encode
from variorum.report.rows import edition_rows
from variorum.report.strips import FILE as STRIPS
from variorum.report.strips import mark_strips
from variorum.schemas.manifest import Manifest

SHEET = "contact_sheet.png"
HERE = "path/to/this/folder"
"""What a card calls the folder that it lies in."""
LOADED = re.compile(rf'load_dataset\("{HERE}"([^)\n]*)\)')
DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def pictures(manifest: Manifest, store: Store) -> dict[str, bytes]:
    """The contact sheet and the strips of an edition, drawn anew, so that nobody's unblurred ones are published."""
    rows = edition_rows(manifest, store)
    found = {SHEET: contact_sheet(manifest, store, rows)}
    strips = mark_strips(manifest, store, rows)
    return found if strips is None else {**found, STRIPS: strips}


def published_card(text: str, repo: str, manifest: Manifest, tested: str) -> str:
    """The card as it stands on the Hub: it loads the dataset by name and version, and says how to get other versions.

    Args:
        text: the card beside the manifest.
        repo: `org/name`.
        manifest: the edition.
        tested: the version of `datasets` with which it was loaded before it was published; `""` if it wasn't.
    """
    revision = manifest.version
    loaded = LOADED.sub(rf'load_dataset("{repo}"\1, revision="{revision}")', text)
    test = f"Tested with `datasets` {tested}: every configuration has the declared columns. " if tested else ""
    said = (
        f"The tag `{revision}` always has this edition, digest `{manifest.digest()}`; `main` has the newest version. "
        f"{test}`variorum pull {repo}@{revision}` brings it into a store and checks every hash."
    )
    return f"{loaded.rstrip()}\n\n## Versions on the Hub\n\n{said}\n"


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
