"""The one rule for pixels that leave: `restricted` and withheld pictures are on nothing that others may get.

Whatever shows or sends a picture asks here: pages, sheets, reports, exports, servers, the Hub, models elsewhere.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from variorum.schemas.canonical import Json
from variorum.schemas.sample import RESTRICTED

WITHHELD = "withheld"
MEANING = {RESTRICTED: "may not leave this machine", WITHHELD: "nobody is shown them"}


class Outgoing:
    """Says which pictures stay, and remembers those that it was asked about.

    Args:
        withheld: ids of pictures that a verdict withholds; those that an edition withholds have no pixels in it.

    Attributes:
        kept: by id, why each picture stays.
    """

    def __init__(self, withheld: Collection[str] = ()) -> None:
        self.withheld = frozenset(withheld)
        self.kept: dict[str, str] = {}

    def why_not(self, identity: str, metadata: Mapping[str, Json]) -> str:
        """Why a picture may not leave: `withheld`, `restricted`, or `""` if it may."""
        why = WITHHELD if identity in self.withheld else RESTRICTED if metadata.get(RESTRICTED) else ""
        if why:
            self.kept[identity] = why
        return why

    def counts(self) -> dict[str, int]:
        """The number of pictures that stay, by reason and what it means."""
        reasons = [*self.kept.values()]
        return {f"{why} ({means})": reasons.count(why) for why, means in MEANING.items() if why in reasons}

    def said(self) -> str:
        """The same in words; `""` if all may leave."""
        return ", ".join(f"{number:,} {why}" for why, number in self.counts().items())
