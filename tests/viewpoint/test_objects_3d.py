"""Objects from folders and archives, whose names, paths and sizes are a stranger's."""

import io
import zipfile

import numpy as np
import pytest

from tests.viewpoint.conftest import CRATE, MTL, box_obj, write_table
from variorum.kit.surfels import MEMBER, SURFEL
from variorum.pixels import decode
from variorum.schemas.errors import SourceChanged, SourceError
from variorum.schemas.sample import Failure
from variorum.sources import objects_3d
from variorum.sources.meshes.wavefront import read_mesh, sample_surface
from variorum.sources.objects_3d import DEBIAN, Objects3d

PLAIN = b"v 0 0 0\nv 1 0 0\nv 0 1 0\n"


def surfels_of(sample):
    return np.load(io.BytesIO(sample.extras[MEMBER]))


def test_a_folder_and_an_archive_give_the_object_alike(source, ctx, folder):
    before = sorted(folder.rglob("*"))
    loose, packed = source.read(0, source.size(ctx), ctx)
    assert (loose.labels, loose.licence, loose.metadata) == ((CRATE,), "CC0-1.0", {"author": "Ada"})
    assert loose.origin == "box/box.obj by Ada"
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
    (folder / "box" / "paint.png").write_bytes(b"other")
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
        (b"v 0 0 0\nv 1 1 1\nv 2 2 2\nf 1 2 3\n", "no opaque surface"),
    ],
)
def test_a_broken_mesh_says_what_is_wrong(data, said):
    with pytest.raises(ValueError, match=r"OBJ|surface") as error:
        sample_surface(read_mesh(data, lambda name: b""), 100, np.random.default_rng(0))
    assert said in str(error.value)


@pytest.mark.parametrize(
    "name", ["../secret.png", "/etc/hostname", "a/../../secret.png", "..\\secret.png", "C:\\secret.png", "missing.png"]
)
@pytest.mark.parametrize("where", ["folder", "archive"])
def test_a_texture_outside_the_objects_folder_is_never_read(folder, ctx, name, where):
    (folder / "secret.png").write_bytes((folder / "box" / "paint.png").read_bytes())
    mtl = MTL.replace("paint.png", name)
    if where == "folder":
        (folder / "box" / "box.mtl").write_text(mtl)
        row = "box/box.obj"
    else:
        with zipfile.ZipFile(folder / "odd.zip", "w") as archive:
            archive.writestr("deep/box.obj", box_obj())
            archive.writestr("deep/box.mtl", mtl)
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
        archive.writestr("good.obj", PLAIN + b"f 1 2 3\n")
    (folder / "box" / "large.obj").write_bytes(b"#" * 6000)
    (folder / "no.zip").write_bytes(b"no archive")
    names = ["odd.zip/large.obj", "box/large.obj", "no.zip/good.obj", "odd.zip/lost.obj", "odd.zip/good.obj"]
    table = write_table(folder / "odd.csv", [(name, CRATE, "x", "") for name in names])
    *bad, good = Objects3d(path=folder, table=table, surfels=1000).read(0, 9, ctx)
    assert [one.reason for one in bad] == ["unreadable"] * 4
    assert not isinstance(good, Failure)
    assert "6,000 bytes" in bad[0].detail
    assert "5,000 bytes" in bad[1].detail
    assert "'lost.obj'" in bad[3].detail


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (("box/box.obj", "crate", "x", ""), "'crate' of box/box.obj isn't the wnid"),
        (("box/other.obj", CRATE, "x", ""), "has no object box/other.obj; correct its id"),
        (("../box.obj", CRATE, "x", ""), "has no object ../box.obj"),
        (("box/box.obj", CRATE, "", ""), "must have the columns id, wnid, licence, author"),
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
