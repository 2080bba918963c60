import gc
import shutil
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from variorum.machine.memo import DiskMemo
from variorum.pixels import decode_mask, encode_png
from variorum.schemas.component import Context
from variorum.schemas.errors import RecipeError, SourceError
from variorum.schemas.recipe import Recipe
from variorum.schemas.sample import Failure, Sample
from variorum.sources.image_folder import ImageFolder
from variorum.stages.job import models


@pytest.fixture
def ctx(tmp_path, own_cache) -> Context:
    return Context(0, models("embedded"), DiskMemo(tmp_path / "memo"))


def picture(path, value: int = 0, size=(16, 24)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), value, np.uint8)).save(path)
    return path


def test_class_folders_in_stable_order(tmp_path, ctx):
    root = tmp_path / "pets"
    for name in ("dog/b.png", "dog/a.PNG", "big_cat/x.jpg", "big_cat/.hidden.png", ".git/y.png"):
        picture(root / name)
    (root / "dog" / "notes.txt").write_text("not a picture")
    source = ImageFolder(path=root, licence="CC0-1.0")
    samples = list(source.read(0, source.size(ctx), ctx))
    assert [sample.origin for sample in samples] == ["big_cat/x.jpg", "dog/a.PNG", "dog/b.png"]
    assert [sample.labels for sample in samples] == [("big_cat",), ("dog",), ("dog",)]
    assert [(info.id, info.name) for info in source.classes(ctx)] == [("big_cat", "big cat"), ("dog", "dog")]
    assert {sample.licence for sample in samples} == {"CC0-1.0"}
    assert samples[0].image == (root / "big_cat" / "x.jpg").read_bytes()
    assert list(source.read(1, 2, ctx)) == samples[1:2]


def test_identity_does_not_depend_on_the_place(photos, tmp_path, ctx):
    here, there = ImageFolder(path=photos), ImageFolder(path=tmp_path / "moved")
    shutil.copytree(photos, there.path)
    assert here.fingerprint() == there.fingerprint()
    assert here.pin(ctx) == there.pin(ctx)
    assert [s.id for s in here.read(0, 99, ctx)] == [s.id for s in there.read(0, 99, ctx)]
    assert ImageFolder(path=photos, labels="none").fingerprint() != here.fingerprint()


def test_the_pin_moves_with_content_names_and_masks(tmp_path, ctx):
    root, masks = tmp_path / "a", tmp_path / "masks"
    picture(root / "x.png", 1)
    picture(masks / "x.png", 255)
    pins = [ImageFolder(path=root).pin(ctx), ImageFolder(path=root, masks=masks).pin(ctx)]
    picture(masks / "x.png", 0)
    pins.append(ImageFolder(path=root, masks=masks).pin(ctx))
    picture(root / "x.png", 2)
    pins.append(ImageFolder(path=root).pin(ctx))
    (root / "x.png").rename(root / "y.png")
    pins.append(ImageFolder(path=root).pin(ctx))
    assert len(set(pins)) == len(pins)


def test_wnids_in_file_names_or_folders_are_imagenet_classes(tmp_path, ctx):
    flat, tree = tmp_path / "flat", tmp_path / "tree"
    picture(flat / "n01440764_tench.jpg")
    picture(flat / "n02123045_12.jpg")
    picture(tree / "n01443537" / "n01440764_7.jpg")
    assert [s.labels for s in ImageFolder(path=flat).read(0, 2, ctx)] == [("n01440764",), ("n02123045",)]
    assert [s.labels for s in ImageFolder(path=tree).read(0, 1, ctx)] == [("n01443537",)]
    assert [s.labels for s in ImageFolder(path=tree, labels="wnid").read(0, 1, ctx)] == [("n01440764",)]
    for source in (ImageFolder(path=flat), ImageFolder(path=tree)):
        classes = source.classes(ctx)
        assert len(classes) == 1000
        assert classes[1].id == "n01443537"
    picture(flat / "other.jpg")
    assert ImageFolder(path=flat).classes(ctx) == ()
    assert [s.labels for s in ImageFolder(path=flat).read(0, 3, ctx)] == [()] * 3
    with pytest.raises(SourceError, match=r"other\.jpg doesn't start with"):
        list(ImageFolder(path=flat, labels="wnid").read(0, 3, ctx))


def test_masks_go_with_their_pictures(tmp_path, ctx):
    root, masks = tmp_path / "a", tmp_path / "m"
    for name in ("cat/good.jpg", "cat/lost.jpg", "cat/small.jpg", "cat/text.jpg"):
        picture(root / name)
    mask = np.zeros((16, 24), np.uint8)
    mask[3:9, 4:20] = 255
    (masks / "cat").mkdir(parents=True)
    (masks / "cat" / "good.png").write_bytes(encode_png(mask))
    (masks / "cat" / "text.png").write_text("no mask")
    picture(masks / "cat" / "small.png", size=(8, 24))
    good, lost, small, text = ImageFolder(path=root, masks=masks).read(0, 9, ctx)
    assert isinstance(good, Sample)
    np.testing.assert_array_equal(decode_mask(good.extras["mask.png"]), mask)
    for failure, reason in ((lost, "no_mask"), (small, "mask_size"), (text, "bad_mask")):
        assert isinstance(failure, Failure)
        assert failure.reason == reason
        assert failure.labels == ("cat",)


def test_a_mask_fits_the_upright_picture(tmp_path, ctx):
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "a").mkdir()
    Image.fromarray(np.zeros((24, 16, 3), np.uint8)).save(tmp_path / "a" / "x.jpg", exif=exif)
    picture(tmp_path / "m" / "x.png", size=(16, 24))
    (sample,) = ImageFolder(path=tmp_path / "a", masks=tmp_path / "m").read(0, 1, ctx)
    assert isinstance(sample, Sample)


def test_links_out_of_the_folder_are_not_followed(tmp_path, ctx, caplog):
    root, other = tmp_path / "a", tmp_path / "b"
    picture(root / "x.png")
    picture(other / "secret.png")
    (root / "out.png").symlink_to(other / "secret.png")
    (root / "folder").symlink_to(other)
    (root / "loop").symlink_to(root)
    (root / "inside.png").symlink_to(root / "x.png")
    source = ImageFolder(path=root)
    assert [sample.origin for sample in source.read(0, 9, ctx)] == ["inside.png", "x.png"]
    assert "3 links" in caplog.text


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        ([], "no picture in"),
        (["notes.txt"], "no picture in"),
        (["Cat/a.png", "cat /b.png"], "two folders with the same class name, Cat and cat "),
        (["big cat/a.png", "big_cat/b.png"], "two folders with the same class name"),
        (["train/Cat/a.png", "val/cat/b.png"], "two folders with the same class name, Cat and cat"),
        (["x/cat/a.png", "val/cat/b.png"], "two folders with the same class name, val/cat and x/cat"),
        (["cat/a.png", "b.png"], r"in folders and beside them \(b.png\)"),
        (["train/cat/a.png", "train/b.png", "test/c.png"], r"in folders and beside them \(train/b.png\)"),
    ],
)
def test_folders_that_make_no_dataset(tmp_path, ctx, names, problem):
    root = tmp_path / "a"
    root.mkdir()
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    source = ImageFolder(path=root)
    with pytest.raises(SourceError, match=problem):
        source.classes(ctx)


def splits_and_labels(source, ctx):
    samples = source.read(0, source.size(ctx), ctx)
    return {sample.origin: (sample.split, sample.labels) for sample in samples}


def test_folders_named_as_splits_are_splits(tmp_path, ctx):
    root = tmp_path / "pets"
    for name in ("train/cat/a.png", "train/big_dog/b.png", "VAL/cat/c.png", "testing/d.png"):
        picture(root / name)
    source = ImageFolder(path=root)
    assert splits_and_labels(source, ctx) == {
        "VAL/cat/c.png": ("validation", ("cat",)),
        "testing/d.png": ("test", ()),
        "train/big_dog/b.png": ("train", ("big_dog",)),
        "train/cat/a.png": ("train", ("cat",)),
    }
    assert [info.id for info in source.classes(ctx)] == ["big_dog", "cat"]
    assert [s.split for s in source.outline(0, 4, ctx)] == [s.split for s in source.read(0, 4, ctx)]
    assert [s.id for s in source.outline(0, 4, ctx)] == [
        s.id for s in ImageFolder(path=root, splits="none").outline(0, 4, ctx)
    ]
    with pytest.raises(SourceError, match=r"testing/d\.png lies in no folder"):
        ImageFolder(path=root, labels="folder").classes(ctx)
    with pytest.raises(SourceError, match="same class name, VAL/cat and train/cat"):
        ImageFolder(path=root, splits="none").classes(ctx)


def test_splits_without_classes_are_unlabelled(tmp_path, ctx):
    for name in ("train/a.png", "test/b.png"):
        picture(tmp_path / "x" / name)
    assert splits_and_labels(ImageFolder(path=tmp_path / "x"), ctx) == {
        "test/b.png": ("test", ()),
        "train/a.png": ("train", ()),
    }
    assert ImageFolder(path=tmp_path / "x").classes(ctx) == ()
    flat = ImageFolder(path=tmp_path / "x", splits="none")
    assert [info.id for info in flat.classes(ctx)] == ["test", "train"]


@pytest.mark.parametrize("other", ["bus/a.png", "c.png"])
def test_a_class_named_train_stays_a_class(tmp_path, ctx, other):
    for name in ("train/a.png", "test/b.png", other):
        picture(tmp_path / "x" / name)
    source = ImageFolder(path=tmp_path / "x", labels="none")
    assert {sample.split for sample in source.read(0, 3, ctx)} == {""}
    if "/" in other:
        assert [info.id for info in ImageFolder(path=tmp_path / "x").classes(ctx)] == ["bus", "test", "train"]


def test_masks_and_wnids_with_splits(tmp_path, ctx):
    picture(tmp_path / "a" / "train" / "n01440764_1.png")
    picture(tmp_path / "a" / "val" / "n02123045_2.png")
    picture(tmp_path / "m" / "train" / "n01440764_1.png", 255)
    good, lost = ImageFolder(path=tmp_path / "a", masks=tmp_path / "m").read(0, 2, ctx)
    assert (good.split, good.labels) == ("train", ("n01440764",))
    assert isinstance(lost, Failure)
    assert (lost.split, lost.labels, lost.reason) == ("validation", ("n02123045",), "no_mask")


def test_missing_folders_name_the_field(tmp_path, ctx):
    with pytest.raises(SourceError, match=r"path .*gone doesn't exist"):
        ImageFolder(path=tmp_path / "gone").size(ctx)
    picture(tmp_path / "a" / "x.png")
    with pytest.raises(SourceError, match=r"masks .*gone doesn't exist"):
        ImageFolder(path=tmp_path / "a", masks=tmp_path / "gone").size(ctx)
    with pytest.raises(SourceError, match="is a file"):
        ImageFolder(path=tmp_path / "a" / "x.png").size(ctx)
    with pytest.raises(RecipeError, match=r"source\.pth: no such field"):
        Recipe.parse({"dataset": "d", "version": "1.0.0", "source": {"name": "image_folder", "pth": "x"}})


def test_a_picture_costs_little_memory(tmp_path, ctx):
    held = []
    for turn in range(3):  # the first imports what is needed; in another, the interpreter's table of names may grow
        root = tmp_path / str(turn) / "class"
        root.mkdir(parents=True)
        for place in range(1_500):
            (root / f"{place:06}.png").write_bytes(b"%d" % place)
        source = ImageFolder(path=root.parent)
        tracemalloc.start()
        source.pin(ctx)
        gc.collect()
        held.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
    assert min(held) / 1_500 < 300  # bytes: name, place and content
