"""Names that nobody could tell apart: of reviewers, of models."""

from __future__ import annotations

import unicodedata

BLANK = "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\ufe0e\ufe0f\uffa0"
"""Invisible letters and marks, beside all characters of the category Cf."""
ALIKE = str.maketrans("авекмнорстухіјѕһԁԛԝαβεηικμνορτυχıɑɡ", "abekmhopctyxijshdqwabehikmvoptyxiag")
"""Cyrillic and Greek letters, small or capital, and variants of Latin ones, which look like these."""


def look(name: str) -> str:
    """Reduce a name to its look: without case, width, alphabet and invisible signs, so that look-alikes are equal."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold()).translate(ALIKE)
    return "".join(one for one in folded if unicodedata.category(one) != "Cf" and one not in BLANK and one != " ")
