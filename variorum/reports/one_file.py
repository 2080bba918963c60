"""Render a page as one HTML file: a template with one style and one script, which its policy allows by their hashes.

Names and sentences on such a page come from strangers' files. The template escapes them all, what can't be seen is
shown as �, and the page's policy allows nothing else to run and nothing from a network.
"""

from __future__ import annotations

import importlib.resources
import re
from functools import cache
from typing import Any

from variorum.reports.figures import UNSEEN, seen
from variorum.reports.page.html import POLICY, hashed

BREAKS = re.compile("[\t-\r\x85\u2028\u2029]")


def one_file(name: str, /, *, images: str = "'none'", like: str = "", scripted: bool = True, **values: Any) -> str:
    """Render `<name>.html.j2` of the assets with `<name>.css` and `<name>.js`. Equal values give equal bytes.

    Args:
        name: of the template, its style and its script.
        images: where pictures come from, as the policy says it: `data:` for those that are in the page.
        like: another page, whose style comes before this one's.
        scripted: whether it has a script.
        values: what the template shows.
    """
    from markupsafe import Markup

    style = (_asset(f"{like}.css") if like else "") + _asset(f"{name}.css")
    script = _asset(f"{name}.js") if scripted else ""
    policy = POLICY.format(images=images, script=hashed(script), style=hashed(style))
    template = _environment().from_string(_asset(f"{name}.html.j2"))
    own = {"style": style, "script": script, "policy": policy}
    safe = {name: Markup(text) for name, text in own.items()}  # noqa: S704 - files of this project
    return str(template.render(**safe, **values))


def breaking(name: str) -> Any:
    """A name that may be broken after `_`, `:` and the like, as in a narrow column."""
    from markupsafe import Markup, escape

    return Markup("<wbr>").join(escape(part) for part in re.split(r"(?<=[_:/@-])|(?<=[.])(?!\d)", seen(name)))


@cache
def _asset(name: str) -> str:
    text = (importlib.resources.files("variorum.reports") / "assets" / name).read_text(encoding="utf-8")
    return text.replace("\r\n", "\n")  # browsers hash what they parse, and parsing makes line ends alike


@cache
def _environment() -> Any:
    import jinja2
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.filters["breaking"] = breaking
    return environment


def _shown(value: object) -> object:
    """A text with its line breaks as spaces and � for what can't be seen; all else, and markup, as it is."""
    if not isinstance(value, str) or hasattr(value, "__html__"):
        return value
    return UNSEEN.sub("\ufffd", BREAKS.sub(" ", value))
