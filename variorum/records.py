"""A sample as its shard keeps it, back to a `Sample`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from schemas.errors import CorruptShard
from schemas.sample import Sample

OWN = ("png", "json", "cls")
"""Members that every sample may have; what else there is are its extras."""


def read_sample(where: str, members: Mapping[str, bytes]) -> tuple[Sample, str]:
    """The sample of a shard's members, picture and extras still encoded, and the picture's sha256.

    Args:
        where: what to call it in an error: the shard and the key.
        members: file ending to content, as `read_shard` gives them.

    Raises:
        CorruptShard: the record can't be read, or names another picture.
    """
    try:
        image, record = members["png"], json.loads(members["json"])
        sample = Sample(
            id=record["id"],
            image=image,
            labels=tuple(record["labels"]),
            origin=record["origin"],
            licence=record["licence"],
            variant=record["variant"],
            parent=record["parent"],
            reason=record["reason"],
            extras={ending: data for ending, data in members.items() if ending not in OWN},
            ops=tuple(json.loads(record["ops"])),
        )
    except (KeyError, ValueError, TypeError) as error:
        raise CorruptShard(f"{where}: its record can't be read ({error!r})") from None
    sha256 = hashlib.sha256(image).hexdigest()
    if sha256 != record["sha256"]:
        raise CorruptShard(f"{where}: the picture isn't the one that its record names")
    return sample, sha256
