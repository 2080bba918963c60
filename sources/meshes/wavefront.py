"""Read a textured mesh out of Wavefront's OBJ and MTL files, and sample its surface.

Names of materials, libraries and textures in such files are a stranger's: they are looked up through the caller's
function, which decides what may be read.
"""

from __future__ import annotations

import io
import math
import posixpath
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from variorum.kit.surfels import SURFEL
from variorum.pixels import DAMAGED, open_header
from variorum.schemas.lookup import cut

if TYPE_CHECKING:
    from variorum.arrays import Array, Floats, Ints, Pixels

MOST = 12_000_000
"""Coordinates of a kind, and indices of corners, at most; the latter are nine for a triangle."""
FEW = 1000
"""Materials, and libraries of them, at most."""
PIXELS = 200_000_000
"""Of all textures together, at most."""
LONGEST = 1_000_000
"""Bytes of a line, at most."""
FAR = 1e30
"""Coordinates are nearer than this, so that areas can be computed."""
CLEAR = 0.5
"""Surfaces with less opacity are left out, such as panes."""
SIDE = 2048
"""Longest side of a texture in pixels; larger ones are thinned out."""

Files = Callable[[str], bytes]
"""The content of a file by its path beside the OBJ. Raises OSError or ValueError if it can't be had."""


@dataclass(slots=True)
class Material:
    """How a surface looks: RGB and opacity in [0, 1], and the path of its texture, `""` for none."""

    colour: tuple[float, float, float] = (0.7, 0.7, 0.7)
    opacity: float = 1.0
    texture: str = ""


@dataclass(slots=True)
class Mesh:
    """Triangles: for each corner, indices of point, place on the texture and normal, -1 for none, `[F, 3, 3]`.

    `material` has an index for each triangle; `materials` have the RGBA `[h, w, 4]` uint8 of their texture, if any.
    """

    points: Floats
    places: Floats
    normals: Floats
    corners: Ints
    material: Ints
    materials: list[tuple[Material, Pixels | None]]


def read_mesh(data: bytes, read: Files) -> Mesh:
    """The mesh of an OBJ file, whose libraries and textures `read` gives; larger faces become fans of triangles.

    Raises:
        ValueError: it isn't such a file, refers to what isn't there, has no triangle, or is beyond a limit above.
        OSError: a library or texture can't be read.
    """
    wide = {b"v": 3, b"vt": 2, b"vn": 3}
    vectors = {kind: array("d") for kind in wide}
    corners, material = array("q"), array("q")
    names: dict[str, int] = {}
    libraries: dict[str, None] = {}
    now = ""
    for number, (kind, rest) in enumerate(_lines(data), 1):
        try:
            if kind in wide:
                values = [float(one) for one in rest.split(maxsplit=wide[kind])[: wide[kind]]]
                vectors[kind].extend(values + [0.0] * (wide[kind] - len(values)))
            elif kind == b"f":
                sizes = [len(vectors[one]) // size for one, size in wide.items()]
                found = [_corner(word, sizes) for word in rest.split()]
                for one, other in pairwise(found[1:]):
                    corners.extend((*found[0], *one, *other))
                    material.append(names.setdefault(now, len(names)))
            elif kind == b"usemtl":
                now = rest.decode(errors="replace")
            elif kind == b"mtllib":
                libraries[rest.decode(errors="replace")] = None
        except ValueError as error:
            raise ValueError(f"line {number} of the OBJ file can't be read ({error})") from None
        if max(len(corners), *map(len, vectors.values())) > MOST or max(len(names), len(libraries)) > FEW:
            raise ValueError(f"it has more than {MOST:,} coordinates or indices, or {FEW:,} materials; simplify it")
    if not corners:
        raise ValueError("the OBJ file has no face")
    points, places, normals = (np.array(vectors[kind]).reshape(-1, wide[kind]) for kind in wide)
    if not all((np.abs(one) < FAR).all() for one in (points, places, normals)):
        raise ValueError(f"the OBJ file has numbers that aren't finite, or beyond {FAR:g}")
    known: dict[str, Material] = {}
    for name in libraries:
        known |= read_materials(read(name), posixpath.dirname(name.replace("\\", "/")))
    left = PIXELS
    textures: dict[str, Pixels] = {}
    materials: list[tuple[Material, Pixels | None]] = []
    for name in names:
        look = known.get(name, Material())
        if look.texture and look.texture not in textures and look.opacity >= CLEAR:
            textures[look.texture], left = _texture(look.texture, read(look.texture), left)
        materials.append((look, textures.get(look.texture)))
    return Mesh(points, places, normals, np.array(corners).reshape(-1, 3, 3), np.array(material), materials)


def read_materials(data: bytes, folder: str) -> dict[str, Material]:
    """The materials of an MTL file by name; `folder` is where it lies, seen from the OBJ. Other entries are ignored."""
    found: dict[str, Material] = {}
    now = Material()
    for number, (kind, rest) in enumerate(_lines(data), 1):
        try:
            if kind == b"newmtl":
                now = found.setdefault(rest.decode(errors="replace"), Material())
            elif kind == b"Kd":
                red, green, blue = (_share(one) for one in rest.split(maxsplit=3)[:3])
                now.colour = red, green, blue
            elif kind == b"d":
                now.opacity = _share(rest.split()[-1])
            elif kind == b"map_Kd":
                if rest.startswith(b"-"):
                    raise ValueError("it has options")
                now.texture = posixpath.join(folder, rest.decode(errors="replace").replace("\\", "/"))
        except (ValueError, IndexError) as error:
            raise ValueError(f"line {number} of the MTL file can't be read ({cut(str(error))})") from None
        if len(found) > FEW:
            raise ValueError(f"the MTL file has more than {FEW:,} materials")
    return found


def _lines(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The first word of each line, and the rest. Raises ValueError for one that is too long."""
    for line in io.BytesIO(data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\\\n", b" ")):
        if len(line) > LONGEST:
            raise ValueError(f"a line has more than {LONGEST:,} bytes")
        kind, *rest = line.split(maxsplit=1)[:2] or [b""]
        yield kind, rest[0].strip() if rest else b""


def _share(word: bytes) -> float:
    value = float(word)
    if not math.isfinite(value):
        raise ValueError("it isn't finite")
    return min(max(value, 0.0), 1.0)


def _corner(word: bytes, sizes: list[int]) -> tuple[int, int, int]:
    """Indices of a corner from 0, -1 for none. Raises ValueError if one isn't there."""
    parts = word.split(b"/")
    if len(parts) > len(sizes):
        raise ValueError(f"the corner {cut(repr(word.decode(errors='replace')))}")
    found = [-1, -1, -1]
    for place, (part, size) in enumerate(zip(parts, sizes, strict=False)):
        if not part:
            continue
        index = int(part)
        found[place] = index - 1 if index > 0 else size + index
        if not 0 <= found[place] < size:
            raise ValueError(f"{index} of {size}")
    if found[0] < 0:
        raise ValueError("a corner without a vertex")
    return found[0], found[1], found[2]


def _texture(name: str, data: bytes, left: int) -> tuple[Pixels, int]:
    """RGBA of a texture, and how many of the pixels that are `left` it leaves."""
    try:
        image = open_header(data, 1)
        left -= image.width * image.height
        if left < 0:
            raise ValueError(f"the textures have more than {PIXELS:,} pixels")
        pixels = np.asarray(image.convert("RGBA"))
    except DAMAGED as error:
        raise ValueError(f"its texture {cut(repr(name))} can't be decoded ({cut(str(error))})") from None
    step = -(-max(pixels.shape[:2]) // SIDE)
    return pixels[::step, ::step].copy(), left


def sample_surface(mesh: Mesh, number: int, rng: np.random.Generator) -> Array:
    """Points evenly over a mesh's opaque surface, moved and scaled into the unit ball about the origin, y up.

    Each triangle gets as many as its area asks for, spread by an additive recurrence with irrational steps, which
    leaves fewer gaps than independent draws.

    `rng` shifts that of each triangle. There are at most `number`, of type `SURFEL`.

    Raises:
        ValueError: all triangles are transparent, or have no area.
    """
    opaque = np.array([one.opacity >= CLEAR for one, _ in mesh.materials])[mesh.material]
    corners, material = mesh.corners[opaque], mesh.material[opaque]
    first, second, third = (mesh.points[corners[:, place, 0]] for place in range(3))
    flat = np.cross(second - first, third - first)
    area = np.sqrt((flat**2).sum(axis=1)) / 2
    if not area.sum() > 0:
        raise ValueError("it has no opaque surface")
    ends = np.floor(np.cumsum(area) / np.cumsum(area)[-1] * number + rng.random()).astype(np.int64)
    counts = np.diff(ends, prepend=0)
    of = np.repeat(np.arange(len(area)), counts)
    turn = np.arange(len(of)) - np.repeat(ends - counts, counts)
    shift = rng.random((2, len(area)))[:, of]
    across, along = ((shift[one] + turn * step) % 1.0 for one, step in enumerate(STEPS))
    folded = across + along > 1
    across, along = np.where(folded, 1 - across, across), np.where(folded, 1 - along, along)
    weights = np.stack([1 - across - along, across, along], axis=1)

    def mixed(values: Floats, kind: int) -> Floats:
        index = corners[of, :, kind]
        return np.asarray((values[index] * weights[..., None]).sum(axis=1))

    colours, kept = _colours(
        mesh, material[of], mixed(mesh.places, 1) if len(mesh.places) else None, corners[of, :, 1].min(axis=1)
    )
    normals = flat[of]
    if len(mesh.normals):
        smooth = mixed(mesh.normals, 2)
        normals = np.where(
            (corners[of, :, 2] >= 0).all(axis=1)[:, None] & (smooth != 0).any(axis=1)[:, None], smooth, normals
        )
    normals = normals / np.maximum(np.sqrt((normals**2).sum(axis=1)), 1e-30)[:, None]
    points = mixed(mesh.points, 0)
    if not kept.any():
        raise ValueError("it has no opaque surface")
    points, normals, colours = points[kept], normals[kept], colours[kept]
    points -= (points.max(axis=0) + points.min(axis=0)) / 2
    found = np.empty(len(points), SURFEL)
    found["point"] = points / np.sqrt((points**2).sum(axis=1).max())
    found["normal"] = np.round(normals * 127)
    found["colour"] = colours
    return found


STEPS = 0.7548776662466927, 0.5698402909980532
"""1 / p and 1 / p² for the root p of x³ = x + 1, whose multiples fill a square evenly (Roberts' R2 sequence)."""


def _colours(mesh: Mesh, material: Ints, places: Floats | None, textured: Ints) -> tuple[Pixels, Array]:
    """RGB of each point `[N, 3]`, and whether its texture is opaque there."""
    colours, kept = np.empty((len(material), 3), np.uint8), np.ones(len(material), bool)
    for number, (one, texture) in enumerate(mesh.materials):
        mine = np.flatnonzero(material == number)
        colours[mine] = np.round(255 * np.array(one.colour))
        if texture is None or places is None:
            continue
        mine = mine[textured[mine] >= 0]
        height, width = texture.shape[:2]
        across = np.floor(places[mine, 0] % 1 * width).astype(np.int64) % width
        down = np.floor(-places[mine, 1] % 1 * height).astype(np.int64) % height
        found = texture[down, across]
        colours[mine], kept[mine] = found[:, :3], found[:, 3] >= 255 * CLEAR
    return colours, kept
