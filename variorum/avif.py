"""Read the frame sizes of an AVIF file from the AV1 data, before anything is decoded.

The size that such a file states outside of that data is one more claim: a file of two kilobytes that says 8 × 8 can
hold a frame of 16,384 × 16,384, which the decoder makes before it is shrunk.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

MOST = 20_000
"""Units (OBUs) of AV1 data, and items of a file, that are looked at. A frame has at most 4096 tiles."""
INSIDE = {b"moov", b"trak", b"mdia", b"minf", b"stbl"}
SEQUENCE, FRAMES = 1, (3, 6, 7)
"""Kinds of units: what holds for all frames, and those that begin with a frame's header."""

Box = tuple[bytes, memoryview]


class Sequence(NamedTuple):
    """A sequence header's facts about frames.

    Attributes:
        size: the largest width and height that are usual.
        room: width and height that a frame can state for itself; `(0, 0)` if it can't.
        timed: bits of a time in a frame's header.
        tools, vectors: whether frames have screen content tools and whole motion vectors; 2 if each says so itself.
        number: bits of a frame's number.
    """

    size: tuple[int, int]
    room: tuple[int, int]
    timed: int
    tools: int
    vectors: int
    number: int


def largest_frame(data: bytes) -> tuple[int, int]:
    """Width and height of the largest frame that is decoded for the first picture of a file.

    Raises:
        ValueError: a part has no AV1 data that can be read, or too much of it.
    """
    found = []
    try:
        for kind, payload in _payloads(memoryview(data)):
            sizes = [_grid(payload)] if kind == b"grid" else _sizes(payload)
            if not sizes:
                raise ValueError("a part of it has no sequence header")
            found += sizes
    except IndexError:
        raise ValueError("a part of it is cut off") from None
    if not found:
        raise ValueError("it has no AV1 data")
    return max(found, key=lambda size: size[0] * size[1])


# ── the container ────────────────────────────────────────────────────────────────────────────────────────────────────


def _payloads(data: memoryview) -> Iterator[Box]:
    """The items `av01` and `grid`, and the first sample of each track of AV1."""
    for kind, box in _boxes(data):
        if kind == b"meta":
            parts = list(_boxes(box[4:]))
            kinds = {found for name, part in parts if name == b"iinf" for found in _kinds(part)}
            stored = next((part for name, part in parts if name == b"idat"), memoryview(b""))
            for part in (part for name, part in parts if name == b"iloc"):
                for item, payload in islice(_items(part, data, stored), MOST):
                    yield from ((kind, payload) for kind in (b"av01", b"grid") if (item, kind) in kinds)
        elif kind == b"moov":
            for track in (track for name, track in _boxes(box) if name == b"trak"):
                yield from _first_sample(list(_deep(track)), data)


def _boxes(data: memoryview) -> Iterator[Box]:
    """Kind and content of each box, up to the first that is cut off."""
    at = 0
    while at + 8 <= len(data):
        size, start = _number(data[at : at + 4]), at + 8
        if size == 1:
            size, start = _number(data[at + 8 : at + 16]), at + 16
        end = at + size if size else len(data)
        if end < start or end > len(data):
            return
        yield bytes(data[at + 4 : at + 8]), data[start:end]
        at = end


def _deep(data: memoryview) -> Iterator[Box]:
    """The boxes in a track, those of its parts too."""
    for kind, box in _boxes(data):
        yield from _deep(box) if kind in INSIDE else [(kind, box)]


def _kinds(box: memoryview) -> Iterator[tuple[int, bytes]]:
    """The kind of each item."""
    for kind, one in _boxes(box[8 if box[0] else 6 :]):
        wide = 4 if one[0] == 3 else 2
        if kind == b"infe":
            yield _number(one[4 : 4 + wide]), bytes(one[6 + wide : 10 + wide])


def _items(box: memoryview, file: memoryview, stored: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Number and content of each item."""
    version, sizes, more = box[0], box[4], box[5]
    wide = 4 if version == 2 else 2
    read = _Bytes(box, 6)
    for _ in range(read(wide)):
        item = read(wide)
        source = stored if version and read(2) & 15 == 1 else file
        read(2)
        base, parts = read(more >> 4), []
        for _ in range(read(2)):
            read(more & 15 if version else 0)
            start, length = base + read(sizes >> 4), read(sizes & 15)
            parts.append(source[start : start + length] if length else source[start:])
        yield item, parts[0] if len(parts) == 1 else memoryview(b"".join(parts))


def _first_sample(boxes: list[Box], file: memoryview) -> Iterator[Box]:
    if not any(kind == b"stsd" and b"av01" in bytes(box) for kind, box in boxes):
        return
    places = [_number(box[8 : 16 if kind == b"co64" else 12]) for kind, box in boxes if kind in (b"stco", b"co64")]
    sizes = [_number(box[4:8]) or _number(box[12:16]) for kind, box in boxes if kind == b"stsz"]
    for start in places or [0]:
        yield from ((b"av01", file[start : start + size]) for size in sizes or [0])


def _grid(payload: memoryview) -> tuple[int, int]:
    """Width and height of a picture that is put together from tiles."""
    wide = 4 if payload[1] & 1 else 2
    return _number(payload[4 : 4 + wide]), _number(payload[4 + wide : 4 + 2 * wide])


def _number(data: memoryview | bytes) -> int:
    return int.from_bytes(data, "big")


class _Bytes:
    """Whole numbers one after the other. Raises ValueError at the end of the data."""

    def __init__(self, data: memoryview, at: int) -> None:
        self._data, self._at = data, at

    def __call__(self, size: int) -> int:
        self._at += size
        if self._at > len(self._data):
            raise ValueError("the list of its parts is cut off")
        return _number(self._data[self._at - size : self._at])


# ── AV1 ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _sizes(payload: memoryview) -> list[tuple[int, int]]:
    """The sizes that the sequence headers of AV1 data state, and those that its frames can have beside these."""
    found, last = [], None
    for number, (kind, unit) in enumerate(_units(payload)):
        if number >= MOST:
            raise ValueError(f"it has more than {MOST} units of AV1 data")
        if kind == SEQUENCE:
            last = _sequence(_Bits(unit))
            found.append(last.size)
        elif kind in FRAMES and last and last.room > (0, 0) and _own_size(_Bits(unit), last):
            found.append(last.room)
    return found


def _units(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    at = 0
    while at < len(data):
        header, at = data[at], at + (2 if data[at] & 4 else 1)
        size = len(data) - at
        if header & 2:
            size = shift = 0
            while at < len(data) and shift < 56:
                size |= (data[at] & 127) << shift
                shift, at = shift + 7, at + 1
                if data[at - 1] < 128:
                    break
        yield header >> 3 & 15, data[at : at + size]
        at += size


def _sequence(bits: _Bits) -> Sequence:
    """A `sequence_header_obu`, up to what frames need."""
    bits(4)
    still, timed, times_in_frames = bits(1), 0, False
    if still:
        bits(5)
    else:
        if has_timing := bits(1):
            bits(64)
            times_in_frames = not bits(1)
            if not times_in_frames:
                bits.exponent()
        delays = 0
        if has_timing and bits(1):
            delays = bits(5) + 1
            bits(32 + 5)
            timed = (bits(5) + 1) * times_in_frames
        shown = bits(1)
        for _ in range(bits(5) + 1):
            bits(12)
            if bits(5) > 7:
                bits(1)
            if delays and bits(1):
                bits(2 * delays + 1)
            if shown and bits(1):
                bits(4)
    across, down = bits(4) + 1, bits(4) + 1
    size = bits(across) + 1, bits(down) + 1
    number = 0
    if not still and bits(1):
        number = bits(4) + bits(3) + 3
    bits(3)
    tools = vectors = 2
    if not still:
        bits(4)
        if bits(1):
            bits(2)
        tools = 2 if bits(1) else bits(1)
        vectors = 2 if not tools or bits(1) else bits(1)
    return Sequence(size, (0, 0) if still else (1 << across, 1 << down), timed, tools, vectors, number)


def _own_size(bits: _Bits, sequence: Sequence) -> bool:
    """Return whether a frame has a size of its own, by the start of its `uncompressed_header`."""
    if bits(1):  # shows a frame that is there
        return False
    kind, shown = bits(2), bits(1)
    bits(sequence.timed if shown else 1)
    if kind == 3:  # a switch frame always has one
        return True
    if kind or not shown:
        bits(1)
    bits(1)
    tools = bits(1) if sequence.tools == 2 else sequence.tools
    if tools and sequence.vectors == 2:
        bits(1)
    bits(sequence.number)
    return bool(bits(1))


class _Bits:
    """Whole numbers of some bits each. Raises ValueError at the end of the data."""

    def __init__(self, data: memoryview) -> None:
        self._data, self._at = data, 0

    def __call__(self, size: int) -> int:
        start, self._at = self._at, self._at + size
        if self._at > 8 * len(self._data):
            raise ValueError("a header of AV1 data is cut off")
        part = _number(self._data[start // 8 : (self._at + 7) // 8])
        return part >> -self._at % 8 & (1 << size) - 1

    def exponent(self) -> None:
        """Skip a number of variable length (`uvlc`)."""
        zeros = 0
        while not self(1):
            zeros += 1
        self(zeros if zeros < 32 else 0)
