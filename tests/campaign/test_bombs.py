"""Bombs in editions that are pulled"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import resource
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edition_to_pull import EDITION, make
from faults import limited
from scene import words
from small_store import rewrite

from variorum.edition.shards import ShardWriter, read_shard

Members = dict[str, bytes]
Bomb = Callable[[Members], None]


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def zeros(size: int) -> bytes:
    """Zeros, packed."""
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(size >> 20)) + packer.flush()


def png(side: int, body: bytes, *more: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">2I5B", side, side, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(more) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def small() -> bytes:
    """The pixels of a picture of 64 pixels a side."""
    return zlib.compress(bytes(64 * (64 * 3 + 1)))


def wide(members: Members) -> None:
    """A PNG of 100,000 pixels a side."""
    swap(members, png(100_000, zeros(64 << 20)))


def more_than_said(members: Members) -> None:
    """A PNG of 64 pixels a side with 4 GB of pixels."""
    swap(members, png(64, zeros(4 << 30)))


def texts(members: Members) -> None:
    """A PNG with texts of 1 GB each, in zTXt and iTXt."""
    packed = zeros(1 << 30)
    swap(members, png(64, small(), chunk(b"zTXt", b"a\0\0" + packed), chunk(b"iTXt", b"b\0\1\0\0\0" + packed)))


def profile(members: Members) -> None:
    """A PNG with a colour profile of 1 GB."""
    swap(members, png(64, small(), chunk(b"iCCP", b"a\0\0" + zeros(1 << 30))))


def frames(members: Members) -> None:
    """A GIF that says 65,535 pixels a side."""
    body = struct.pack("<2H3B", 65535, 65535, 0x80, 0, 0) + bytes(6)
    swap(members, b"GIF89a" + body + b",\0\0\0\0\xff\xff\xff\xff\0\2\2L\1\0;", "gif")


def strips(members: Members) -> None:
    """A TIFF of 60,000 pixels a side, packed by deflate."""
    entries = [(256, 60_000), (257, 60_000), (258, 8), (259, 8), (262, 1), (273, 200), (278, 60_000), (279, 4)]
    body = struct.pack("<H", len(entries)) + b"".join(struct.pack("<2HII", tag, 4, 1, value) for tag, value in entries)
    swap(members, (b"II*\0" + struct.pack("<I", 8) + body + bytes(4)).ljust(200, b"\0") + zeros(64 << 20), "tif")


def swap(members: Members, image: bytes, ending: str = "") -> None:
    """Another picture in a sample, with its hash in the record."""
    old = next(name for name in members if name in ("png", "jpg"))
    members.pop(old)
    members[ending or "png"] = image
    record = json.loads(members["json"])
    record["sha256"] = hashlib.sha256(image).hexdigest()
    members["json"] = json.dumps(record).encode()


def long_record(members: Members) -> None:
    """A record of 300 MB."""
    members["json"] = json.dumps({**json.loads(members["json"]), "more": "a" * (300 << 20)}).encode()


def nested(members: Members) -> None:
    """Annotations of 64 MB of brackets."""
    members["annotations.json"] = b"[" * (64 << 20)


def lists(members: Members) -> None:
    """Annotations of 60 MB of empty lists, each of which takes twenty times as much in Python."""
    members["annotations.json"] = b'{"objects":[' + b"[]," * (20 << 20) + b"[]]}"


def array(members: Members) -> None:
    """A NumPy array that says 2^40 numbers."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f8", "fortran_order": False, "shape": (1 << 20, 1 << 20)})
    members["a.npy"] = stream.getvalue()


def arrays(members: Members) -> None:
    """A packed NumPy archive of 2 GB."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as made, made.open("a.npy", "w", force_zip64=True) as file:
        for _ in range(2048):
            file.write(bytes(1 << 20))
    members["a.npz"] = stream.getvalue()


def gzipped(members: Members) -> None:
    """A member in gzip, of 1 GB."""
    members["json.gz"] = gzip.compress(bytes(1 << 30))


def mask(members: Members) -> None:
    """A mask of 100,000 pixels a side."""
    members["mask.png"] = png(100_000, zeros(1 << 20))


BOMBS: tuple[Bomb, ...] = (
    *(wide, more_than_said, texts, profile, frames, strips, long_record, nested, lists, array, arrays, gzipped, mask),
)


def planted(edition: Path, bomb: Bomb) -> None:
    """Put a bomb into the last sample of a shard, with hashes and sizes as its author would have them."""
    path = min((edition / "data").rglob("*test*.tar"))
    samples = list(read_shard(path))
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    bomb(samples[-1][1])
    path.unlink()
    with ShardWriter(path) as shard:
        for key, members in samples:
            shard.write(key, members)
    size = path.stat().st_size

    def told(content: dict[str, Any]) -> None:
        for info in (info for infos in content["shards"].values() for info in infos):
            if info["sha256"] == before:
                info["sha256"], info["size"] = shard.sha256, size
        content["members"] = sorted({*content["members"], *samples[-1][1]})

    rewrite(edition / "manifest.json", told)


RECIPE = """\
dataset: mine
version: 1.0.0
max_failure_rate: 1.0
source: {name: edition, edition: street@1.0.0, store: STORE}
curate: [{name: quality}]
"""
MOST = 2 << 30
"""Bytes that a command may take, its libraries included."""


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An edition as it is published."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VARIORUM_CACHE", str(tmp_path_factory.mktemp("cache")))
        return make(tmp_path_factory.mktemp("made")) / EDITION


@pytest.mark.fire
def test_bombs_in_editions_that_are_pulled(scene, trials, tmp_path, street):
    """An edition whose pictures, records or extras unpack to gigabytes is refused in one line, or a row says so.

    Thirteen bombs with right hashes, each pulled, verified, loaded, viewed and built upon in 2 GiB.
    """
    recipe, number = tmp_path / "mine.yaml", iter(range(99))
    fault = partial(limited, resource.RLIMIT_DATA, MOST)

    def attack(bomb: Bomb) -> str:
        folder = tmp_path / str(next(number))
        edition, store = folder / "edition", folder / "store"
        shutil.copytree(street, edition)
        planted(edition, bomb)
        recipe.write_text(RECIPE.replace("STORE", str(store)))
        named = ["street@1.0.0", "--store", str(store)]
        commands = {
            "pull": ["pull", str(edition), "--store", str(store)],
            "verify": ["verify", *named],
            "load": ["verify", *named, "--load"],
            "view": ["view", *named, "--to", str(folder / "page.html")],
            "run": words("run", recipe, folder / "mine"),
        }
        wrong = []
        for name, command in commands.items():
            ended = scene.run(command, fault=fault)
            if why := ended.wrong(0, 1, *((75,) if bomb is array else ())):  # so much memory isn't to be had at once
                wrong.append(f"{name}: {why}")
        shutil.rmtree(folder)
        return "; ".join(wrong)

    trials(attack, BOMBS)
