"""Check that tars have the members that a recipe names, and explain samples without a picture."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

from variorum.schemas.errors import SourceError
from variorum.sources.tars.bytes import LARGEST_PICTURE, LARGEST_VALUE, read_members
from variorum.sources.tars.index import Entry
from variorum.sources.tars.members import Contents, MemberPath
from variorum.sources.tars.set import TarSet

log = logging.getLogger(__name__)

PROBE = 20
"""Samples in which a value is looked for."""
SHOWN = 12
"""Names that a message lists."""


def check_members(tars: TarSet, pictures: Sequence[str], fields: Mapping[str, MemberPath]) -> None:
    """Raise SourceError if there is no sample, or none has a picture or a member that a field names.

    A value in JSON that the first samples don't have is only worth a warning: it may be rare, or its path mistyped.

    Args:
        tars: the tars.
        pictures: endings of pictures.
        fields: what must be there, by the field that names it.
    """
    summary = tars.summary()
    if not summary.firsts[-1]:
        raise SourceError(f"webdataset: there is no sample in {some(shard.shown for shard in tars.shards)}")
    there = some(sorted(summary.endings))
    if not summary.endings.intersection(pictures):
        raise SourceError(f"webdataset: image: no sample has a member {some(pictures)}; there are: {there}")
    for field, path in fields.items():
        if path.ending not in summary.endings:
            raise SourceError(f"webdataset: {field}: no sample has a member {path.ending}; there are: {there}")
    missing = {field: path for field, path in fields.items() if path.keys}
    wanted = {path.ending for path in missing.values()}
    for number, low, high in tars.parts(0, PROBE) if missing else ():
        index = tars.index(number)
        with tars.open(number, index.end(high)) as tar:
            for entry in index.entries(low, high):
                places = {name: entry.members[name] for name in wanted & entry.members.keys()}
                contents = Contents(read_members(tar, {name: at for name, at in places.items() if fits(at)}))
                missing = {field: path for field, path in missing.items() if not contents.has(path)}
    for field in missing:
        log.warning("webdataset: %s: none of the first %d samples has this value; is it mistyped?", field, PROBE)


def fits(place: tuple[int, int], *, picture: bool = False) -> bool:
    """Return whether a member, by offset and size, is small enough to be read."""
    return place[1] <= (LARGEST_PICTURE if picture else LARGEST_VALUE)


def no_picture(entry: Entry, pictures: Sequence[str]) -> str:
    """Make the failure of a sample without a picture."""
    dots = any("." in name and name.rpartition(".")[2] in pictures for name in entry.members)
    why = "; a name is split at its first dot, so a key can't have a dot in it" if dots else ""
    return f"{entry.key}: its members are {listed(entry)}; a picture's ending must be one of {some(pictures)}{why}"


def listed(entry: Entry) -> str:
    """The endings of a sample's members."""
    return some([*entry.members, *(f"{name} (a link)" for name in entry.links)])


def some(names: Iterable[str]) -> str:
    """The first of these names."""
    first = list(islice(names, SHOWN + 1))
    return ", ".join(first[:SHOWN]) + (", …" if len(first) > SHOWN else "") or "none"
