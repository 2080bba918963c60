"""Words for classes in questions: the name with its article, and definitions that fit ImageNet's pictures."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from variorum.kit.prompts.prompts import takes_an
from variorum.models.imagenet_classes import table

PLURAL = re.compile(r"[a-z]{3,}(?<![aiosuy])s", re.ASCII)
"""Last words that are plurals, as far as spelling tells; a word in -as, -is, -os, -ss, -us or -ys is none."""
_NO_ARTICLE = """
    sunglasses glasses clothes skis scissors
    brass velvet wool thatch hay guacamole broccoli cauliflower consomme eggnog espresso dough corn rapeseed carbonara
    honeycomb lotion perfume sunscreen mail powder tissue spray wine sauce potato cream
    water snow sand grass food bread rice meat fruit coffee tea milk beer juice soup cheese butter chocolate honey
    furniture jewelry clothing"""
NO_ARTICLE = frozenset(_NO_ARTICLE.split())
"""Last words that are plurals though they don't look it, or stuff that isn't counted."""
COUNTED = frozenset({"flandres", "lens", "pyrenees", "triceratops"})
"""Last words that look like plurals and are none."""
OURS: Mapping[str, str] = {
    "n01560419": "songbird of Africa and Asia, often with a crest",
    "n01749939": "long, slender, bright green venomous snake that lives in trees in eastern Africa",
    "n02834397": "piece of cloth or plastic tied under the chin, mostly of a baby, to protect its clothes",
    "n02950826": "heavy gun on a carriage or a mount, mostly an old one",
    "n03045698": "loose outer garment without sleeves that hangs from the shoulders",
    "n03259280": "heavy cooking pot, mostly of cast iron, with a lid that fits tightly",
    "n03710637": "woman's one-piece bathing suit: ImageNet shows the same as under maillot (bathing suit)",
    "n03782006": "screen of a computer",
    "n03933933": "platform on pillars that reaches from the shore into the water",
    "n04041544": "device that receives radio broadcasts",
    "n04330267": "appliance for cooking, or for heating a room",
    "n04355933": "spectacles with dark lenses: ImageNet shows the same as under sunglasses",
    "n04404412": "device with a screen that shows television broadcasts",
    "n04599235": "yarn or fabric made from the hair of sheep",
    "n06359193": "page of a web site as a screen shows it",
    "n07930864": "small open container for drinking, mostly with a handle",
    "n11879895": "plant with bright yellow flowers, grown in fields for the oil in its seeds",
    "n12144580": "maize: its ears with their grains, or the plant",
}
"""Definitions by wnid where WordNet's is of another sense of the word than ImageNet's pictures show."""


def phrase(name: str, identity: str = "") -> str:
    """A class's name as it stands in a question: `a tench`, `an orange`, `sunglasses`, `a kite (bird)`.

    A name that isn't known to be a noun is quoted: `“happy”`. Of several names, separated by commas, the first one has
    the article and the others follow in parentheses.

    Args:
        name: of the class.
        identity: its id; a name of ImageNet's thousand classes is a noun in any case.
    """
    first, _, others = name.strip().replace("_", " ").partition(", ")
    plain = re.sub(r"\s*\(.*\)$", "", first)
    words = plain.split()
    last = words[-1].casefold() if words else ""
    stem = re.sub(r"(?<=[^s])s$", "", last)
    if not words or (identity not in _wnids() and not {last, stem, last.rpartition("-")[2]} & _nouns()):
        return f"“{name}”"
    whole = f"{first} ({others})" if others else first
    if last in NO_ARTICLE or (last not in COUNTED and PLURAL.fullmatch(last)):
        return whole
    return f"{'an' if takes_an(words[0]) else 'a'} {whole}"


@lru_cache(maxsize=1)
def _wnids() -> frozenset[str]:
    return frozenset(one.wnid for one in table())


@lru_cache(maxsize=1)
def _nouns() -> frozenset[str]:
    """The last words of all names and hypernyms of the thousand classes, and some that are none of them."""
    names = (re.sub(r"\s*\(.*\)$", "", name) for one in table() for name in (one.name, one.hypernym))
    return frozenset(name.split()[-1].casefold() for name in names if name) | NO_ARTICLE | COMMON


_COMMON = """
    person man woman child face hand car truck bus bicycle motorcycle aeroplane airplane helicopter boat ship train
    cat dog horse cow sheep bear bird fish frog deer snake tree flower plant leaf apple pear house building bridge road
    street sky sea river lake beach mountain forest field chair sofa couch bed table clock book phone shirt t-shirt
    trouser pullover coat sneaker boot dress bag shoe scratch crack dent hole tumour tumor cell"""
COMMON = frozenset(_COMMON.split())
"""Nouns that datasets have as classes, and ImageNet has not."""
