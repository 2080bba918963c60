"""Secrets of this machine, and how they are found in bytes that would be published; none is ever quoted.

Looked for are the secrets of installed generators, the token of the Hub and the secrets of the environment in all
bytes, and whatever looks like a token, or like a URL with a password, in texts.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import component_class, component_names
from variorum.schemas.more import HasSecrets
from variorum.schemas.secrets import LEAST, VARIABLE, looks_secret

MAY_BE = re.compile(
    rb"hf_[A-Za-z0-9]{16}|A[KS]IA[A-Z0-9]{16}|gh[pousr]_[A-Za-z0-9]{20}|github_pat_|glpat-|xox[abeprs]-|AIza"
    rb"|sk-[A-Za-z0-9_\-]{20}|PRIVATE KEY-----|://"
)
"""Without one of these a text holds nothing that `looks_secret` finds."""


@dataclass(frozen=True, slots=True)
class Needle:
    """A secret to look for: what it is, and its bytes."""

    what: str
    content: bytes = field(repr=False)


def needles() -> list[Needle]:
    """The secrets that this machine knows of."""
    found = list(_of_generators())
    with suppress(ImportError):
        from huggingface_hub import get_token

        if token := get_token():
            found.append(Needle("your token of the Hub", token.encode()))
    for name, value in os.environ.items():
        if VARIABLE.search(name) and len(value) >= LEAST and not value.startswith(("/", ".")):
            found.append(Needle(f"the value of the environment's {name}", value.encode()))
    return found


def _of_generators() -> Iterator[Needle]:
    """The secrets of installed generators as they could be written: raw, as hexadecimal digits, as base64."""
    for name in component_names("generate"):
        with suppress(RecipeError):  # a plugin that can't be used
            generator: object = component_class("generate", name)
            if isinstance(generator, HasSecrets):
                for what, secret in generator.machine_secrets().items():
                    coded = base64.b64encode(secret).rstrip(b"=")
                    forms = (secret, secret.hex().encode(), secret.hex().upper().encode(), coded)
                    yield from (Needle(what, one) for one in forms if len(secret) >= LEAST)


def found_in(content: bytes, known: Sequence[Needle]) -> str:
    """Find one of these secrets in bytes; `""` if there is none."""
    return next((needle.what for needle in known if needle.content in content), "")


def suspicious(content: bytes) -> str:
    """Find what looks like a secret in a text; `""` if nothing does."""
    if not MAY_BE.search(content) or not looks_secret(content.decode(errors="replace")):
        return ""
    return "what looks like a token, or a URL with a password"
