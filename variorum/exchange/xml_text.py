"""Text from data in XML: markup is escaped, and characters that XML can't hold become U+FFFD."""

from __future__ import annotations

import re
from xml.sax.saxutils import escape, quoteattr

REFUSED = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 can't represent."""


def quoted(text: object) -> str:
    """A text as the value of an attribute, with its quotes."""
    return quoteattr(REFUSED.sub("\ufffd", str(text)))


def escaped(text: object) -> str:
    """A text as the content of an element."""
    return escape(REFUSED.sub("\ufffd", str(text)))
