"""A page to look at an edition, or at the differences between two: `variorum.view`."""

from __future__ import annotations

import html
import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from variorum.api.arguments import from_here, path_of, whole_number
from variorum.api.edition import Named, opened
from variorum.api.html import text
from variorum.api.progress import shown
from variorum.edition.store import Store
from variorum.models.imagenet_classes import class_infos
from variorum.reports.page.parts import LIMIT, MOST
from variorum.reports.page.write import Written, write_view
from variorum.schemas.errors import VariorumError

if TYPE_CHECKING:
    from variorum.machine.progress import Progress

HEIGHT = 720
"""Of the frame in a notebook, in pixels."""


class Page(Written):
    """A page that was written. A notebook shows it as a link, and in a frame if it can reach the file."""

    @property
    def url(self) -> str:
        """Return the address that a browser opens."""
        return self.path if "://" in self.path else Path(self.path).as_uri()

    def open(self) -> bool:
        """Open it in a browser; returns whether there was one."""
        import webbrowser

        return webbrowser.open(self.url)

    def _repr_html_(self) -> str:
        """A link; and a frame if the file lies below the working folder, from where a notebook's server serves it."""
        inside = from_here(self.path)
        address = html.escape(quote(os.fsencode(inside)) if inside else self.url, quote=True)
        said = f"{self.pictures:,} pictures, {self.size / 1e6:.1f} MB"
        link = f'<a href="{address}" target="_blank">{text(inside or self.path)}</a> ({said})'
        if not inside:
            return link
        return f'{link}<br><iframe src="{address}" width="100%" height="{HEIGHT}" loading="lazy"></iframe>'


def view(
    edition: Named,
    other: Named | None = None,
    *,
    store: str | os.PathLike[str] | Store = "store",
    to: str | Path | None = None,
    most: int = MOST,
    map: bool = True,
    blur: bool = False,
    open: bool = False,
    progress: bool | Progress = True,
) -> Page:
    """Write the page of an edition, or of what differs in another one, as one HTML file.

    Args:
        edition: opened, or its name or folder.
        other: a later edition, to see what changed and how it looked before.
        store: folder or URL of the store in which names are looked up.
        to: file to write, ending in `.html`; by default `view.html` beside the edition's manifest.
        most: maximum number of pictures. Of a larger edition, those with a verdict are shown first, then others from
            all variants and classes.
        map: whether to arrange the pictures by their embeddings; only an edition that was curated with `features` has
            some.
        blur: whether pictures are blurred until somebody looks at them. Those of an edition with a content warning are
            blurred in the file itself.
        open: whether to open it in a browser.
        progress: whether to show bars, or your own object that gets phases and steps.

    Raises:
        StoreError: no such store or edition, or the file can't be written; set `to` to write another one.
        CorruptShard: a table, a shard or a picture of the edition is damaged.
        VariorumError: `most` is out of range, or `to` doesn't end in `.html`.

    >>> import variorum as va
    >>> page = va.view("mine", progress=False)
    >>> page.path, page.pictures
    ('.../store/editions/mine/1.0.0-r1/view.html', 24)
    """
    first = opened(edition, store)
    second = None if other is None else opened(other, store)
    place = None if to is None else path_of("to", to)
    pictures = whole_number("most", most, 1, LIMIT, VariorumError)
    with shown(progress) as reports:
        found = write_view(
            first.manifest,
            first.store,
            second.manifest if second else None,
            second.store if second else None,
            to=place,
            most=pictures,
            with_map=map,
            blur=blur,
            known=class_infos(),
            progress=reports,
        )
    path = found.path if "://" in found.path else os.path.abspath(found.path)
    page = Page(path, found.rows, found.pictures, found.size)
    if open:
        page.open()
    return page
