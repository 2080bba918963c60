"""Conversion of a sample to shard members and a row of the table, and of members back to a `Sample`."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from variorum.edition.lenders import keys_of
from variorum.edition.shards import ANNOTATIONS, KEY, PICTURES
from variorum.picture_facts import picture_facts
from variorum.pixels import UndecodableImage, decode, decode_mask, encode_png, need_memory, upright_size
from variorum.schemas.annotations import CHECKS, STATES, Annotations, LabelState, Object, Text
from variorum.schemas.canonical import Json, as_json
from variorum.schemas.errors import CorruptShard, RecipeError, cut
from variorum.schemas.sample import LABEL_STATES, MADE_OF, SPLITS, Encoded, Failure, Sample, checked_op

OWN = (*PICTURES, "json", "cls", ANNOTATIONS)
"""Members that aren't extras."""
CAPTION = "txt"
"""Member with the first caption, where the source has captions; WebDataset readers look for it there."""
TABLED = (
    "id",
    "sha256",
    "parent",
    "photograph",
    "variant",
    "labels",
    "origin",
    "licence",
    "reason",
    "ops",
    "split",
    "width",
    "height",
    "digital_source_type",
    "credentials",
)
"""Fields of the record that are columns of the table too."""


FAILED = ("id", "sha256", "parent", "status", "reason", "variant", "origin", "licence", "detail", "split", "photograph")
"""Fields of a `Failure` that are columns of the table too."""
LARGEST_JSON = 32 << 20
"""Bytes of a JSON member, which in memory takes up to thirty times as much."""
DIGITS = 300
"""Of a whole number; one of more is no float."""
RECORD: Mapping[str, type] = {
    **dict.fromkeys(("id", "sha256", "parent", "variant", "origin", "licence", "reason", "ops"), str),
    "labels": list,
    **dict.fromkeys(("split", "photograph", "metadata", "digital_source_type", "profile"), str),
    **dict.fromkeys(("width", "height", "orientation"), int),
    "credentials": bool,
}
"""Types of the record's fields."""
OLDEST = ("id", "sha256", "parent", "variant", "origin", "licence", "reason", "ops", "labels")
"""Fields that every record has, those of format 3 too."""
ANNOTATED: Mapping[str, Mapping[str, tuple[type, ...]]] = {
    "objects": {
        "bbox": (list,),
        "label": (str,),
        "area": (int, float),
        "crowd": (bool,),
        "id": (str,),
        "score": (int, float, type(None)),
        "origin": (str,),
        "mask": (str,),
        "check": (str,),
    },
    "texts": {"text": (str,), "role": (str,)},
    "states": {"label": (str,), "state": (str,)},
}
"""Types of the values in the lists of `annotations.json`."""


def encode_sample(
    sample: Sample,
    index: Mapping[str, int],
    *,
    original: bool = False,
    captioned: bool = False,
    annotated: bool = False,
) -> tuple[dict[str, bytes], dict[str, Any]]:
    """A sample as shard members (picture, `json`, `cls` where there are classes, extras) and as a row of the table.

    Args:
        sample: with pixels or encoded bytes.
        index: class id to class index.
        original: whether an unchanged picture keeps its own bytes; otherwise each picture becomes a PNG.
        captioned: whether to add the member `txt`.
        annotated: whether to add the member `annotations.json`.

    Raises:
        RecipeError: it has no picture, pixels that PNG can't hold, an incomplete op, metadata or annotations that JSON
            can't hold, or annotations in an edition without.
    """
    ops = [checked_op(op) for op in sample.ops]
    maker = sample.ops[-1]["name"] if sample.ops else sample.origin or sample.id
    try:
        metadata = as_json(sample.metadata, "metadata")
    except TypeError as error:
        raise RecipeError(f"{maker}: {error}") from None
    if sample.encoded is not None and sample.encoded.pixels is not sample.image:
        sample = replace(sample, encoded=None)  # a component gave it other pixels
    kept = sample.encoded if original and sample.encoded and sample.encoded.ending in PICTURES else None
    ending, image, sha256 = (kept.ending, kept.data, kept.sha256) if kept else _png(sample, maker)
    height, width = upright_size(image) if isinstance(sample.image, bytes) else sample.image.shape[:2]
    label = index.get(sample.labels[0], -1) if sample.labels else -1
    record: dict[str, Json] = {
        "id": sample.id,
        "sha256": sha256,
        "parent": sample.parent,
        "photograph": sample.photograph,
        "split": sample.split,
        "variant": sample.variant,
        "labels": list(sample.labels),
        "origin": sample.origin,
        "licence": sample.licence,
        "reason": sample.reason,
        "width": int(width),
        "height": int(height),
        "orientation": kept.orientation if kept else 1,
        "profile": kept.profile if kept else "",
        "digital_source_type": sample.digital_source_type,
        "credentials": sample.credentials,
        # two strings: loaders infer a struct's fields from the first rows and drop or refuse what comes later
        "metadata": json.dumps(metadata, sort_keys=True, ensure_ascii=False, allow_nan=False),
        "ops": json.dumps(ops, sort_keys=True, allow_nan=False),
    }
    members = {name: _encoded(value, f"{maker}: {name}") for name, value in sample.extras.items()}
    if odd := next((name for name in members if name in OWN), None):
        raise RecipeError(f"{maker}: an extra can't have the ending {odd!r}, which is the sample's own; write a.{odd}")
    members[ending] = image
    members["json"] = _recorded(record, f"{maker}: its record")
    if index:
        members["cls"] = b"%d" % label
    if annotated:
        members[ANNOTATIONS] = _annotated(sample.annotations, index, maker)
    elif sample.annotations:
        raise RecipeError(
            f"{maker}: gives annotations, which its `annotated` must say, because all samples of an edition are alike"
        )
    if captioned:
        members.setdefault(CAPTION, sample.annotations.caption().encode())
    gates = ops[-1]["gates"] if ops else {}
    row: dict[str, Any] = {
        **{name: record[name] for name in TABLED},
        "label": label,
        "status": "quarantined" if sample.reason else "accepted",
        "detail": sample.detail,
        "objects": len(sample.annotations.objects),
        "captions": sum(text.role == "caption" for text in sample.annotations.texts),
        "states": len(sample.annotations.labels),
        "annotated": annotation_digest(members) if sample.annotations else "",
    }
    if lenders := sample.made_of():
        row[MADE_OF] = keys_of(lenders)
    return members, row | _gate_columns(gates)


def encode_record(record: Mapping[str, Json]) -> bytes:
    """The `json` member of a sample."""
    return json.dumps(record, sort_keys=True, ensure_ascii=False, allow_nan=False).encode()


def _recorded(record: Mapping[str, Json], what: str) -> bytes:
    try:
        data = encode_record(record)
        if len(data) > LARGEST_JSON:
            raise ValueError(f"it would take more than {LARGEST_JSON >> 20} MiB")
        return data
    except (ValueError, TypeError) as error:  # half a surrogate pair, NaN, a value that isn't JSON's
        raise RecipeError(f"{what} can't be written as JSON: {error}") from None


def _annotated(annotations: Annotations, index: Mapping[str, int], maker: str) -> bytes:
    what = f"{maker}: its annotations"
    names = [name for one in annotations.objects for name in (one.label, one.id, one.origin, one.mask)]
    names += [name for text in annotations.texts for name in (text.text, text.role)]
    if odd := [name for name in (*names, *(one.label for one in annotations.labels)) if not isinstance(name, str)]:
        raise RecipeError(f"{what} have {cut(repr(odd[0]))} where a text belongs")
    if unknown := [one.state for one in annotations.labels if one.state not in STATES]:
        raise RecipeError(f"{what} have the state {unknown[0]!r}; there are: {', '.join(STATES)}")
    if odd_checks := [one.check for one in annotations.objects if one.check not in CHECKS]:
        raise RecipeError(f"{what} have the check {odd_checks[0]!r}; there are: {', '.join(CHECKS[1:])}")
    if any(len(one.box) != 4 for one in annotations.objects):
        raise RecipeError(f"{what} have a box that isn't left, top, width and height")
    try:
        fields = annotation_fields(annotations, index)
    except (ValueError, TypeError, OverflowError) as error:
        raise RecipeError(f"{what} have a number that can't be read: {error}") from None
    return _recorded(fields, what)


def annotation_fields(annotations: Annotations, index: Mapping[str, int]) -> dict[str, Json]:
    """Objects, texts and states of labels as lists by field, the form of object detection sets for `datasets`.

    It is the same for all samples, with empty lists where there is nothing. `category` is the index of the class that
    `label` names, -1 for none.
    """
    found, texts, states = annotations.objects, annotations.texts, annotations.labels
    return {
        "objects": {
            "bbox": [list(map(float, one.box)) for one in found],
            "category": [index.get(one.label, -1) for one in found],
            "label": [one.label for one in found],
            "area": [float(one.box[2] * one.box[3] if one.area is None else one.area) for one in found],
            "crowd": [bool(one.crowd) for one in found],
            "id": [one.id for one in found],
            "score": [None if one.score is None else float(one.score) for one in found],
            "origin": [one.origin for one in found],
            "mask": [one.mask for one in found],
            "check": [one.check for one in found],
        },
        "texts": {"text": [one.text for one in texts], "role": [one.role for one in texts]},
        "states": {
            "category": [index.get(one.label, -1) for one in states],
            "label": [one.label for one in states],
            "state": [one.state for one in states],
        },
    }


def annotation_digest(members: Mapping[str, bytes]) -> str:
    """16 hexadecimal digits for a sample's annotations, which its row has unless they are empty."""
    return hashlib.sha256(members.get(ANNOTATIONS, b"")).hexdigest()[:16]


def failure_row(failure: Failure, index: Mapping[str, int]) -> dict[str, Any]:
    """The row of a picture that the edition doesn't hold: without a shard, with the gates that it reached.

    One that was never made has no hash and no class. A withheld one has both.
    """
    row: dict[str, Any] = {name: getattr(failure, name) for name in FAILED}
    row.update(labels=list(failure.labels), label=-1, ops="[]", start=-1)
    if failure.status == "withheld":
        row.update(label=index.get(failure.labels[0], -1) if failure.labels else -1)
        row.update(digital_source_type=failure.digital_source_type)
        row.update({LABEL_STATES: list(failure.states)} if failure.states else {})
    return row | _gate_columns(failure.gates)


def without_pixels(failure: Failure) -> Failure:
    """A withheld picture's record without its pixels: only their hash stays, and the photograph that they are.

    Raises:
        RecipeError: PNG can't hold the pixels.
    """
    picture = failure.picture
    if picture is None:
        return failure
    data = picture if isinstance(picture, bytes) else _encoded(picture, f"{failure.origin or failure.id}: the picture")
    photograph = failure.photograph or photograph_of(Sample(failure.id, picture))
    return replace(failure, sha256=hashlib.sha256(data).hexdigest(), photograph=photograph, picture=None)


def picture_ending(members: Iterable[str]) -> str:
    """The member with the picture. Raises CorruptShard unless there is exactly one."""
    found = [ending for ending in members if ending in PICTURES]
    if len(found) != 1:
        raise CorruptShard(f"a sample has {', '.join(found) or 'no picture'}; it must have one picture")
    return found[0]


def read_sample(where: str, members: Mapping[str, bytes], *, check: bool = True) -> tuple[Sample, str]:
    """The sample of a shard's members, with picture and extras still encoded, and the picture's sha256.

    Args:
        where: shard and key, for errors.
        members: file ending to content, as `read_shard` gives them.
        check: whether to hash the picture; without it the sha256 is what the record says. That takes a tenth of the
            time of decoding, and a shard that has been hashed as a whole doesn't need it.

    Raises:
        CorruptShard: the record can't be read, or belongs to another picture.
    """
    try:
        image, record = members[picture_ending(members)], read_record(members)
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
            ops=_ops(record["ops"]),
            # editions of format 3 have none of the following
            split=record.get("split", ""),
            photograph=record.get("photograph", ""),
            annotations=_annotations(strict_json(members.get(ANNOTATIONS, b"{}"))),
            metadata=_mapping(strict_json(record.get("metadata", "{}")), "metadata"),
            digital_source_type=record.get("digital_source_type", ""),
            credentials=record.get("credentials", False),
        )
    except CorruptShard as error:
        raise CorruptShard(f"{where}: {error}") from None
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise CorruptShard(f"{where}: its record can't be read ({cut(ascii(error))})") from None
    sha256: str = hashlib.sha256(image).hexdigest() if check else record["sha256"]
    if sha256 != record["sha256"]:
        raise CorruptShard(f"{where}: the picture isn't the one that its record names")
    return sample, sha256


def read_record(members: Mapping[str, bytes]) -> dict[str, Any]:
    """The record of a sample, whose fields have the types that `encode_sample` gives them.

    Raises:
        CorruptShard: there is none, or it has other fields.
    """
    try:
        record = _mapping(strict_json(members["json"]), "the record")
        for name, kind in RECORD.items():
            value = record[name] if name in OLDEST else record.get(name, kind())
            if type(value) is not kind:
                raise ValueError(f"{name} is {cut(ascii(value))}")
        if not KEY.fullmatch(record["id"]):
            raise ValueError(f"id is {cut(ascii(record['id']))}")
        if any(not isinstance(label, str) for label in record["labels"]):
            raise ValueError("labels must be texts")
        if record.get("split", "") not in ("", *SPLITS):
            raise ValueError(f"split is {cut(ascii(record['split']))}")
    except (KeyError, ValueError) as error:
        raise CorruptShard(f"its record can't be read ({cut(str(error))})") from None
    return record


def strict_json(data: bytes | str) -> Any:
    """A JSON value without NaN, numbers too large for a float, and halves of surrogate pairs.

    Raises:
        ValueError: it isn't one.
    """

    def number(text: str) -> float:
        if not math.isfinite(value := float(text)):
            raise ValueError(f"the number {cut(text)}")
        return value

    def whole(text: str) -> int:
        if len(text) > DIGITS:
            raise ValueError(f"the number {text[:20]}…")
        return int(text)

    if len(data) > LARGEST_JSON:
        raise ValueError(f"more than {LARGEST_JSON >> 20} MiB")
    try:
        value = json.loads(data, parse_constant=number, parse_float=number, parse_int=whole)
        if (b"\\u" if isinstance(data, bytes) else "\\u") in data:  # type: ignore[operator]
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("too many levels") from None
    return value


def picture_pixels(where: str, data: Any, *, mask: bool = False) -> Any:
    """Pixels of a sample's picture or mask, whose content has the right hash.

    Raises:
        CorruptShard: it can't be decoded. No edition is sealed with such a picture.
    """
    try:
        return decode_mask(data) if mask else decode(data)
    except UndecodableImage as error:
        raise CorruptShard(f"{where}: the {'mask' if mask else 'picture'} can't be decoded ({error})") from None


def _ops(text: str) -> tuple[Any, ...]:
    found = strict_json(text)
    if not isinstance(found, list) or not all(isinstance(op, dict) for op in found):
        raise ValueError("ops must be a list of steps")
    for op in found:
        try:
            checked_op(op)
        except RecipeError as error:
            raise ValueError(str(error)) from None
    return tuple(found)


def _mapping(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{what} must be a mapping")
    return value


def decoded(items: Iterable[Sample | Failure]) -> Iterator[Sample | Failure]:
    """A source's samples with pixels, and with what their files say of them.

    A picture that can't be decoded becomes a Failure. A sample with only a prompt is passed on.
    """
    for item in items:
        if isinstance(item, Failure):
            yield without_pixels(item)
        elif isinstance(item.image, bytes) and (item.image or not item.extras):
            yield _decoded(item, item.image)
        else:
            yield replace(item, photograph=photograph_of(item))


def photograph_of(sample: Sample) -> str:
    """Identify a sample's photograph, which its copies share, unless the source does: by a hash of bytes or pixels.

    A sample without a picture has only its id.
    """
    if sample.photograph or not len(sample.image):
        return sample.photograph or sample.id
    if isinstance(sample.image, bytes):
        return hashlib.sha256(sample.image).hexdigest()
    shape = "x".join(map(str, sample.image.shape))
    return hashlib.sha256(shape.encode() + sample.image.tobytes()).hexdigest()


def _decoded(item: Sample, data: bytes) -> Sample | Failure:
    sha256 = hashlib.sha256(data).hexdigest()
    photograph = item.photograph or sha256
    try:
        extras = {ending: _decoded_extra(ending, value) for ending, value in item.extras.items()}
        pixels, facts = decode(data), picture_facts(data)
    except UndecodableImage as error:
        need_memory(len(data))  # without memory, a decoder may call a good picture broken
        return replace(item, photograph=photograph).failure(error.reason, str(error))
    return replace(
        item,
        image=pixels,
        extras=extras,
        photograph=photograph,
        digital_source_type=item.digital_source_type or facts.digital_source_type,
        credentials=item.credentials or facts.credentials,
        encoded=Encoded(data, sha256, pixels, facts.ending, facts.orientation, facts.profile),
    )


def _png(sample: Sample, maker: str) -> tuple[str, bytes, str]:
    """Ending, bytes and sha256 of the picture as PNG."""
    image = _encoded(sample.image, f"{maker}: the picture")
    if not image:
        raise RecipeError(f"sample {sample.origin or sample.id} has no picture yet; generate must make one of it")
    return "png", image, hashlib.sha256(image).hexdigest()


def _annotations(record: Any) -> Annotations:
    parts = {
        part: {
            name: _listed(_mapping(record, ANNOTATIONS).get(part, {}), part, name, kinds) for name, kinds in of.items()
        }
        for part, of in ANNOTATED.items()
    }
    if "check" not in record.get("objects", {"check": []}):  # written before there were checks
        parts["objects"]["check"] = [""] * len(parts["objects"]["bbox"])
    objects, texts, states = (list(zip(*part.values(), strict=True)) for part in parts.values())
    if wrong := [box for box, *_ in objects if len(box) != 4 or not all(type(side) in (int, float) for side in box)]:
        raise ValueError(f"bbox has {cut(ascii(wrong[0]))}")
    if unknown := [check for *_, check in objects if check not in CHECKS]:
        raise ValueError(f"check has {cut(ascii(unknown[0]))}")
    if unknown := [state for _, state in states if state not in STATES]:
        raise ValueError(f"state has {cut(ascii(unknown[0]))}")
    return Annotations(
        tuple(Object((box[0], box[1], box[2], box[3]), *rest) for box, *rest in objects),
        tuple(Text(*pair) for pair in texts),
        tuple(LabelState(*pair) for pair in states),
    )


def _listed(part: Any, name: str, field: str, kinds: tuple[type, ...]) -> list[Any]:
    """A field of all objects, texts or states of a sample."""
    found = _mapping(part, name).get(field, [])
    if not isinstance(found, list):
        raise ValueError(f"{name}.{field} must be a list")
    if wrong := [value for value in found if type(value) not in kinds]:
        raise ValueError(f"{name}.{field} has {cut(ascii(wrong[0]))}")
    return found


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
