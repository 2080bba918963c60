"""The pages as they are sent: markup, styles and scripts in one answer, with a policy that allows nothing else.

A page's HTML names its styles and scripts in reading order as it would name files: `<link rel="stylesheet"
href="/assets/style.css">` and `<script defer src="/assets/elements.js"></script>`. Their content is put into the page,
so that a browser asks once and the Content-Security-Policy can name each by its hash. A file lies in the assets of this
package or, if it doesn't exist, in those of `variorum.reports.page`, which has the parts that both pages share.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources

from variorum.reports.page.html import hashed

PAGES = ("page.html", "admin.html")
"""The reviewers' page and the administrator's."""
ASSETS = ("variorum.people.server", "variorum.reports.page")
"""Packages whose folder `assets` is searched, in this order."""
STYLE = re.compile(r'^<link rel="stylesheet" href="/assets/([a-z_]+\.css)">\n', re.MULTILINE)
SCRIPT = re.compile(r'^<script defer src="/assets/([a-z_]+\.js)"></script>\n', re.MULTILINE)
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src {script}",
        "style-src {style}",
        "img-src 'self' blob: data:",
        "connect-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
"""Content-Security-Policy of a page. Trusted types make the browser refuse markup from text, such as `innerHTML`."""


@dataclass(frozen=True, slots=True)
class Shell:
    """A page, and the Content-Security-Policy that it needs."""

    page: bytes
    policy: str


@cache
def shell(name: str) -> Shell:
    """One of `PAGES`, whole.

    Raises:
        ValueError: it names no style or no script, or a script would end its element before its end.
    """
    page = _asset(name)
    styles, scripts = STYLE.findall(page), SCRIPT.findall(page)
    if not styles or not scripts:
        raise ValueError(f"{name} names no styles or no scripts")
    style, script = ("\n".join(map(_asset, names)) for names in (styles, scripts))
    if "</style" in style.lower() or "</script" in script.lower() or "<!--" in script:
        raise ValueError(f"{name}: one of its styles or scripts would end too early in HTML")
    head, body = SCRIPT.sub("", STYLE.sub("", page)).split("</head>", 1)
    body, end = body.rsplit("</body>", 1)  # scripts run when the page has been read, as `defer` says
    whole = f"{head}<style>{style}</style>\n</head>{body}<script>{script}</script>\n</body>{end}"
    return Shell(whole.encode(), POLICY.format(script=hashed(script), style=hashed(style)))


def _asset(name: str) -> str:
    """Text of one of the assets, with line ends as browsers make them before they hash."""
    for package in ASSETS:
        file = resources.files(package) / "assets" / name
        if file.is_file():
            return file.read_text(encoding="utf-8").replace("\r\n", "\n")
    raise FileNotFoundError(f"no asset {name}")
