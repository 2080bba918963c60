"""Objects from archives, whose names, paths, numbers and sizes are a stranger's."""

import io
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from tests.viewpoint.conftest import CRATE, MTL, pack, paint, write_table
from variorum.kit.surfels import MEMBER, SURFEL
from variorum.pixels import decode
from variorum.schemas.errors import SourceChanged, SourceError
from variorum.schemas.sample import Failure
from variorum.sources import objects_3d
from variorum.sources.meshes import wavefront
from variorum.sources.meshes.wavefront import read_mesh, sample_surface
from variorum.sources.objects_3d import DEBIAN, Objects3d

PLAIN = b"v 0 0 0\nv 1 0 0\nv 0 1 0\n"


def surfels_of(sample):
    return np.load(io.BytesIO(sample.extras[MEMBER]))


def test_objects_are_read_without_unpacking_archives(source, ctx, folder):
    before = sorted(folder.rglob("*"))
    loose, packed = source.read(0, source.size(ctx), ctx)
    assert (loose.labels, loose.licence, loose.metadata) == ((CRATE,), "CC0-1.0", {"author": "Ada"})
    assert loose.origin == "box/one.zip/deep/box.obj by Ada"
    assert packed.origin == "boxes.zip/deep/box.obj"
    for sample in (loose, packed):
        found = surfels_of(sample)
        assert found.dtype == SURFEL
        assert len(found) == 40_000
        front, side = (found[found["normal"][:, axis] > 100]["colour"] for axis in (2, 0))
        assert (front == (200, 30, 30)).all()
        assert (side == np.round(255 * np.array([0.12, 0.12, 0.78]))).all()
        assert np.abs(found["point"]).max() == pytest.approx(3**-0.5, abs=0.01)  # without the glass around it
        assert decode(sample.image).shape == (256, 256, 3)
    assert sorted(folder.rglob("*")) == before
    assert [one.id for one in source.outline(0, 2, ctx)] == [loose.id, packed.id]


def test_the_same_bytes_in_any_order_and_another_pin_for_another_texture(source, ctx, folder):
    pin, (first, second) = source.pin(ctx), list(source.read(0, 2, ctx))
    (again,) = Objects3d(path=folder, table=folder / "objects.csv", surfels=40_000).read(1, 2, ctx)
    assert (again.id, again.image, again.extras) == (second.id, second.image, second.extras)
    assert first.id != again.id
    pack(folder / "box" / "one.zip", **{"paint.png": b"other"})
    with pytest.raises(SourceChanged):
        list(source.read(0, 1, ctx))
    assert Objects3d(path=folder, table=folder / "objects.csv").pin(ctx) != pin


def test_points_lie_evenly_by_area():
    mesh = read_mesh(PLAIN + b"v 0 0 5\nv 2 0 5\nv 0 2 5\nf 1 2 3\nf 4 5 6\n", lambda name: b"")
    found = sample_surface(mesh, 10_000, np.random.default_rng(0))
    near = found["point"][:, 2] < 0
    assert near.sum() in (1999, 2000, 2001)
    corner = found["point"][~near]
    cells = np.floor((corner - corner.min(axis=0)) / np.ptp(corner, axis=0).max() * 9.999).astype(int)
    counts = np.bincount(cells[:, 0] * 10 + cells[:, 1], minlength=100).reshape(10, 10)
    whole = counts[np.add.outer(np.arange(10), np.arange(10)) < 9]
    assert whole.min() > 0.85 * whole.mean()
    assert whole.max() < 1.15 * whole.mean()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no face"),
        (PLAIN, "no face"),
        (PLAIN + b"f 1 2 4\n", "line 4 of the OBJ file can't be read (4 of 3)"),
        (PLAIN + b"f 1 2 -4\n", "(-4 of 3)"),
        (PLAIN + b"vt 0 0\nf 1 /1 3\n", "a corner without a vertex"),
        (PLAIN + b"f 1 2 3x\n", "line 4"),
        (b"v 0 0 nan\n" + PLAIN + b"f 1 2 3\n", "aren't finite"),
        (b"v 0 0 0\nv 1e200 0 0\nv 0 1e200 0\nf 1 2 3\n", "beyond 1e+30"),
        (PLAIN + b"vn 1e308 1 1\nf 1//1 2//1 3//1\n", "beyond 1e+30"),
        (PLAIN + b"f" + b" 1" * 500_000 + b"\n", "a line has more than 1,000,000 bytes"),
        (PLAIN + b"".join(b"usemtl %d\nf 1 2 3\n" % number for number in range(1001)), "1,000 materials"),
        (PLAIN + b"mtllib a\nusemtl a\nf 1 2 3\n", "line 2 of the MTL file"),
        (b"v 0 0 0\nv 1 1 1\nv 2 2 2\nf 1 2 3\n", "no opaque surface"),
    ],
)
def test_a_broken_mesh_says_what_is_wrong(data, said):
    with pytest.raises(ValueError, match=r"OBJ|surface|line|MTL|materials") as error:
        sample_surface(read_mesh(data, lambda name: b"newmtl a\nKd nan 0 0\n"), 100, np.random.default_rng(0))
    assert said in str(error.value)


@pytest.mark.parametrize(
    "name", ["../secret.png", "/etc/hostname", "a/../../secret.png", "..\\secret.png", "C:\\secret.png", "missing.png"]
)
def test_a_texture_outside_the_archive_is_never_read(folder, ctx, name):
    (folder / "secret.png").write_bytes(paint())
    pack(folder / "odd.zip", **{"box.mtl": MTL.replace("paint.png", name)})
    row = "odd.zip/deep/box.obj"
    table = write_table(folder / "odd.csv", [(row, CRATE, "x", "")])
    (found,) = Objects3d(path=folder, table=table, surfels=1000).read(0, 1, ctx)
    assert isinstance(found, Failure)
    assert (found.status, found.reason) == ("failed", "unreadable")
    assert "secret" in found.detail or "hostname" in found.detail or "missing" in found.detail


def test_large_and_damaged_members_fail_alone(folder, ctx, monkeypatch):
    monkeypatch.setattr(objects_3d, "LARGEST", 5000)
    with zipfile.ZipFile(folder / "odd.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("large.obj", b"#" * 6000)
        archive.writestr("both.obj", PLAIN + b"mtllib a.mtl\nf 1 2 3\n" + b"#" * 3000)
        archive.writestr("a.mtl", b"#" * 3000)
        archive.writestr("odd.obj", PLAIN, zipfile.ZIP_BZIP2)
        archive.writestr("good.obj", PLAIN.replace(b" ", b"\t") + b"f 1 2 \\\r\n 3\r\n")
    (folder / "no.zip").write_bytes(b"no archive")
    keys = ["odd.zip/large", "odd.zip/both", "odd.zip/odd", "no.zip/good", "odd.zip/lost", "odd.zip/good"]
    table = write_table(folder / "odd.csv", [(f"{key}.obj", CRATE, "x", "") for key in keys])
    *bad, good = Objects3d(path=folder, table=table, surfels=1000).read(0, 9, ctx)
    assert [one.reason for one in bad] == ["unreadable"] * 5
    assert not isinstance(good, Failure)
    for one, said in zip(
        bad, ["6,000 bytes", "'a.mtl' unpacks", "neither stored", "not a zip", "'lost.obj'"], strict=True
    ):
        assert said in one.detail


def test_a_member_that_lies_about_its_size_is_not_unpacked(folder, ctx):
    file = folder / "lie.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.obj", bytes(50_000_000))
    data = bytearray(file.read_bytes())
    place = data.find(b"PK\x01\x02") + 24
    data[place : place + 4] = struct.pack("<I", 1000)
    file.write_bytes(data)
    table = write_table(folder / "odd.csv", [("lie.zip/a.obj", CRATE, "x", "")])
    source = Objects3d(path=folder, table=table, surfels=1000)
    source.size(ctx)
    tracemalloc.start()
    (found,) = source.read(0, 1, ctx)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(found, Failure)
    assert peak < 10_000_000


def test_a_face_of_which_a_corner_has_no_place_on_the_texture_has_its_plain_colour():
    mtl = b"newmtl a\nKd 0 0 1\nmap_Kd a.png\n"
    data = PLAIN + b"vt 0 0\nvt 0.1 0\nmtllib a.mtl\nusemtl a\nf 1/1 2/2 3\n"
    mesh = read_mesh(data, lambda name: mtl if name == "a.mtl" else paint())
    assert (sample_surface(mesh, 100, np.random.default_rng(0))["colour"] == (0, 0, 255)).all()
    with pytest.raises(ValueError, match=r"line 3 of the MTL file can't be read \(it has options\)"):
        read_mesh(data, lambda name: mtl.replace(b"map_Kd", b"map_Kd -s 2 2 1"))


def test_textures_have_so_many_pixels_together(monkeypatch):
    monkeypatch.setattr(wavefront, "PIXELS", 100)
    mtl = b"newmtl a\nmap_Kd a.png\nnewmtl b\nmap_Kd ./a.png\n"
    data = PLAIN + b"mtllib a.mtl\nusemtl a\nf 1 2 3\nusemtl b\nf 1 2 3\n"
    with pytest.raises(ValueError, match="more than 100 pixels"):
        read_mesh(data, lambda name: mtl if name == "a.mtl" else paint())


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (("boxes.zip/deep/box.obj", "crate", "x", ""), "'crate' of boxes.zip/deep/box.obj isn't the wnid"),
        (("box/other.obj", CRATE, "x", ""), "has no object box/other.obj; an id is a zip archive"),
        (("boxes.zip", CRATE, "x", ""), "has no object boxes.zip"),
        (("../box.obj", CRATE, "x", ""), "has no object ../box.obj"),
        (("boxes.zip/deep/box.obj", CRATE, "", ""), "must have the columns id, wnid, licence, author"),
    ],
)
def test_a_wrong_table_is_refused_before_work(folder, ctx, row, said):
    table = write_table(folder / "odd.csv", [row])
    with pytest.raises(SourceError) as error:
        Objects3d(path=folder, table=table).size(ctx)
    assert said in str(error.value)


def test_without_the_package_it_says_what_to_install(tmp_path, ctx):
    with pytest.raises(SourceError, match="install Debian's package sweethome3d-furniture, or give path and table"):
        Objects3d(path=tmp_path).size(ctx)


@pytest.mark.slow
@pytest.mark.skipif(not DEBIAN.is_dir(), reason="Debian's package sweethome3d-furniture isn't installed")
def test_all_objects_of_the_package_can_be_read(ctx):
    source = Objects3d(surfels=2000)
    assert not [one for one in source.read(0, source.size(ctx), ctx) if isinstance(one, Failure)]
