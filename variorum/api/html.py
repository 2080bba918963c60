"""Small HTML for notebooks: tables and pictures whose text comes from data and so is escaped.

Colours are those of the notebook, light or dark.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence

from variorum.reports.figures import seen
from variorum.schemas.secrets import without_secrets

LONGEST = 500
"""Characters of a cell."""


def text(value: object) -> str:
    """A value as HTML text: escaped, without secrets, and with � for invisible characters."""
    plain = seen(without_secrets(str(value)))
    return html.escape(plain if len(plain) <= LONGEST else f"{plain[:LONGEST]}…")


def table(head: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> str:
    """A table; columns of numbers are aligned to the right."""
    found = list(rows)
    sides = ["right" if _is_number(value) else "left" for value in found[0]] if found else ["left"] * len(head)
    caption = f'<caption style="text-align:left;font-weight:bold">{text(title)}</caption>' if title else ""
    heads = "".join(_cell("th", name, side) for name, side in zip(head, sides, strict=True)) if head else ""
    body = "".join(
        f"<tr>{''.join(_cell('td', value, side) for value, side in zip(row, sides, strict=True))}</tr>" for row in found
    )
    return f"<table>{caption}{f'<thead><tr>{heads}</tr></thead>' if heads else ''}<tbody>{body}</tbody></table>"


def _cell(tag: str, value: object, side: str) -> str:
    return f'<{tag} style="text-align:{side};padding:2px 8px">{text("" if value is None else value)}</{tag}>'


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def line(value: object) -> str:
    """A line of text."""
    return f"<p>{text(value)}</p>"


def picture(encoded: bytes, about: str) -> str:
    """A picture inside the HTML.

    Args:
        encoded: a PNG or a JPEG.
        about: what it shows, as alternative text.
    """
    kind, data = "png" if encoded.startswith(b"\x89PNG") else "jpeg", base64.b64encode(encoded).decode()
    return f'<img alt="{text(about)}" style="max-width:100%" src="data:image/{kind};base64,{data}">'
