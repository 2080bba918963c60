"""Conversion of a sample to shard members and a row of the table, and of members back to a `Sample`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any

from variorum.machine.progress import Advance
from variorum.pixels import UndecodableImage, decode, decode_mask, encode_png
from variorum.schemas.canonical import Json
from variorum.schemas.errors import CorruptShard, RecipeError
from variorum.schemas.sample import Failure, Sample, check_op

OWN = ("png", "json", "cls")
"""Members that aren't extras."""


def encode_sample(sample: Sample, index: Mapping[str, int]) -> tuple[dict[str, bytes], dict[str, Any]]:
    """A sample as shard members (`png`, `json`, `cls` where there are classes, extras) and as a row of the table.

    Args:
        sample: with pixels or encoded bytes.
        index: class id to class index.

    Raises:
        RecipeError: it has no picture, pixels that PNG can't hold, or an incomplete op.
    """
    for op in sample.ops:
        check_op(op)
    maker = sample.ops[-1]["name"] if sample.ops else sample.origin or sample.id
    image = _encoded(sample.image, f"{maker}: the picture")
    if not image:
        raise RecipeError(f"sample {sample.origin or sample.id} has no picture yet; generate must make one of it")
    label = index.get(sample.labels[0], -1) if sample.labels else -1
    record: dict[str, Json] = {
        "id": sample.id,
        "sha256": hashlib.sha256(image).hexdigest(),
        "parent": sample.parent,
        "variant": sample.variant,
        "labels": list(sample.labels),
        "origin": sample.origin,
        "licence": sample.licence,
        "reason": sample.reason,
        # one string: loaders infer a struct's fields from the first rows and drop or refuse what comes later
        "ops": json.dumps(sample.ops, sort_keys=True, allow_nan=False),
    }
    members = {ending: _encoded(value, f"{maker}: {ending}") for ending, value in sample.extras.items()}
    members["png"] = image
    members["json"] = encode_record(record)
    if index:
        members["cls"] = b"%d" % label
    gates = sample.ops[-1]["gates"] if sample.ops else {}
    row = {**record, "label": label, "status": "quarantined" if sample.reason else "accepted"}
    return members, row | _gate_columns(gates)


def encode_record(record: Mapping[str, Json]) -> bytes:
    """The `json` member of a sample."""
    return json.dumps(record, sort_keys=True, ensure_ascii=False, allow_nan=False).encode()


def failure_row(failure: Failure) -> dict[str, Any]:
    """The row of a picture that wasn't made: without hash and shard, with the gates that it reached."""
    row = {name: value for name, value in asdict(failure).items() if name != "gates"}
    row.update(labels=list(failure.labels), label=-1, sha256="", ops="[]", start=-1)
    return row | _gate_columns(failure.gates)


def read_sample(where: str, members: Mapping[str, bytes]) -> tuple[Sample, str]:
    """The sample of a shard's members, with picture and extras still encoded, and the picture's sha256.

    Args:
        where: shard and key, for errors.
        members: file ending to content, as `read_shard` gives them.

    Raises:
        CorruptShard: the record can't be read, or belongs to another picture.
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


def decoded(items: Iterable[Sample | Failure], advance: Advance) -> Iterator[Sample | Failure]:
    """A source's samples with pixels.

    A picture that can't be decoded becomes a Failure. A sample with only a prompt is passed on.
    """
    for item in items:
        prompt = not isinstance(item, Failure) and isinstance(item.image, bytes) and not item.image and item.extras
        if isinstance(item, Failure) or not isinstance(item.image, bytes) or prompt:
            yield item
        else:
            try:
                extras = {ending: _decoded_extra(ending, data) for ending, data in item.extras.items()}
                yield replace(item, image=decode(item.image), extras=extras)
            except UndecodableImage as error:
                yield Failure(
                    id=item.id,
                    parent="",
                    status="failed",
                    reason=error.reason,
                    labels=item.labels,
                    origin=item.origin,
                    licence=item.licence,
                    detail=str(error),
                )
        advance(1)


def _encoded(value: Any, what: str) -> bytes:
    if isinstance(value, bytes):
        return value
    try:
        return encode_png(value)
    except (ValueError, AttributeError):
        kind = f"{value.dtype} {list(value.shape)}" if hasattr(value, "dtype") else type(value).__name__
        raise RecipeError(
            f"{what} is {kind}; it must be a NumPy array, uint8 [H, W, 3] or [H, W]: values.round().astype(np.uint8)"
        ) from None


def _decoded_extra(ending: str, data: Any) -> Any:
    if not isinstance(data, bytes) or not ending.endswith("png"):
        return data
    return decode_mask(data) if ending.endswith("mask.png") else decode(data)


def _gate_columns(gates: Mapping[str, Any]) -> dict[str, float]:
    return {f"gate.{name}": float(gate["value"]) for name, gate in gates.items()}
