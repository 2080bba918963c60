"""An edition in PyTorch: what a `DataLoader` gets, in which order, and how it goes on where it stood."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from small_store import one_line
from torch.utils.data import DataLoader
from torchvision import transforms, tv_tensors
from torchvision.transforms import v2

import variorum as va
from variorum.edition.shards import sample_at
from variorum.schemas.errors import CorruptShard, StoreError


@pytest.fixture
def shapes(shared):
    """Twelve pictures of one size, with classes, boxes and captions, in shards of five."""
    return va.open("shapes@1.0.0")


def brightness(image: torch.Tensor) -> torch.Tensor:
    return image.float().mean()


# ── pictures and targets ─────────────────────────────────────────────────────────────────────────────────────────────


def test_pairs_are_the_samples(shapes):
    pictures = shapes.torch(variant="original", where=lambda row: row["width"] == 96)
    assert len(pictures) == len(shapes) == 12
    for (tensor, index), sample in zip(pictures, shapes, strict=True):
        assert tensor.dtype == torch.uint8
        assert np.array_equal(tensor.permute(1, 2, 0).numpy(), sample.image)
        assert (pictures.classes[index] if index >= 0 else None) == next(map(shapes.classes.get, sample.labels), None)
    release = va.open("mine")  # with a new label
    assert [release.torch().classes[index] for _, index in release.torch()] == [one.labels[0] for one in release]
    test = shapes.torch(split="test", label="circle")
    assert len(test) == len(list(shapes.samples(split="test", label="circle"))) > 0
    assert torch.equal(pictures[-1][0], pictures[11][0])
    with pytest.raises(IndexError, match="no picture 12 among 12"):
        pictures[12]


def test_objects_are_those_that_detectors_take(shapes):
    pictures = shapes.torch(target="objects")
    assert pictures.classes == ["__background__", *shapes.classes.values()]
    for (image, target), sample in zip(pictures, shapes, strict=True):
        boxes = [
            (left, top, left + wide, top + high)
            for left, top, wide, high in (o.box for o in sample.annotations.objects)
        ]
        assert isinstance(image, tv_tensors.Image)
        assert target["boxes"].shape == (len(boxes), 4)
        assert torch.equal(target["boxes"], torch.tensor(boxes).reshape(-1, 4))
        names = [pictures.classes[label] for label in target["labels"]]
        assert names == [shapes.classes[one.label] for one in sample.annotations.objects]
    flipped, turned = shapes.torch(v2.RandomHorizontalFlip(p=1), target="objects")[2]
    plain, straight = pictures[2]
    assert torch.equal(flipped.flip(-1), plain)
    assert torch.equal(turned["boxes"][:, 0], 96 - straight["boxes"][:, 2])


def test_captions_labels_records_and_pictures_alone(shapes):
    first = next(iter(shapes))
    assert shapes.torch(target="caption")[0][1] == first.annotations.caption()
    many = shapes.torch(target="labels")[0][1]
    assert [name for name, there in zip(shapes.classes, many.tolist(), strict=True) if there] == list(first.labels)
    assert shapes.torch(target="record")[0][1]["id"] == first.id
    assert shapes.torch(target=None)[0].shape == (3, 64, 96)


def test_what_is_not_there_is_refused_with_what_is(shapes, shared):
    for options, says in [
        ({"target": "klass"}, "no 'klass'; there are: class, labels, objects, mask, caption, record, and None"),
        ({"target": "mask"}, "nothing for target='mask'; its pictures have class, labels, objects, caption, record"),
        ({"transform": 3}, "transform: must be a function of a picture, not int"),
        ({"start": 13}, "start: must be a whole number from 0 to 12"),
        ({"shuffle": True}, "shuffle: must be a whole number"),
        ({"split": "tset"}, "did you mean test?"),
    ]:
        with pytest.raises(StoreError, match=says.replace("?", r"\?")) as error:
            shapes.torch(**options)
        assert one_line(str(error.value))


def test_masks_move_with_their_picture(tmp_path, photos, own_cache):
    """A picture with two regions in COCO's format, and one with a mask beside it, in an edition without classes."""
    size, store = {"width": 96, "height": 96}, tmp_path / "store"
    for name in ("in", "masks"):
        (tmp_path / name).mkdir()
    Image.open(next(photos.rglob("*.jpg"))).resize((96, 96)).save(tmp_path / "in" / "a.png")
    regions = [[8, 8, 40, 8, 40, 24, 8, 24], [50, 50, 90, 50, 90, 90, 50, 90]]
    objects = [
        {"id": k, "image_id": 1, "category_id": kind, "iscrowd": 0, "area": area, "bbox": box, "segmentation": [region]}
        for k, (kind, area, box, region) in enumerate(
            [(17, 512, [8, 8, 32, 16], regions[0]), (99, 1600, [50, 50, 40, 40], regions[1])], 1
        )
    ]
    categories = [{"id": 17, "name": "cat"}, {"id": 99, "name": "gizmo"}]
    images = [{"id": 1, "file_name": "a.png", **size}]
    found = {"images": images, "annotations": objects, "categories": categories}
    (tmp_path / "found.json").write_text(json.dumps(found))
    source = {"name": "coco", "annotations": str(tmp_path / "found.json"), "pictures": str(tmp_path / "in")}
    edition = va.run(dataset="regions", version="1.0.0", source=source, store=store, progress=False)
    pictures = edition.torch(v2.RandomVerticalFlip(p=1), target="objects")
    _, target = pictures[0]
    assert [pictures.classes[label] for label in target["labels"]] == ["cat", "gizmo"]
    assert target["labels"][0] == 17, "the number that detectors trained on COCO know"
    for mask, (left, top, right, bottom) in zip(target["masks"], target["boxes"].int().tolist(), strict=True):
        assert mask[top:bottom, left:right].float().mean() > 0.9
        assert mask.sum() < 1.1 * (bottom - top) * (right - left)

    Image.fromarray(np.pad(np.full((48, 96), 255, np.uint8), ((0, 48), (0, 0)))).save(tmp_path / "masks" / "a.png")
    source = {"name": "image_folder", "path": str(tmp_path / "in"), "masks": str(tmp_path / "masks")}
    edition = va.run(dataset="masked", version="1.0.0", source=source, store=store, progress=False)
    image, mask = edition.torch(v2.CenterCrop(32), target="mask")[0]
    assert (image.shape, mask.float().mean()) == ((3, 32, 32), 127.5)
    with pytest.raises(StoreError, match="has no classes; give target=None for the pictures alone"):
        edition.torch()


def test_a_damaged_picture_is_named(here):
    edition = va.open("shapes@1.0.0")
    pictures = edition.torch()
    row = edition._places.accepted(0)
    path = edition.store.path(edition.manifest.shards[row["group"]][row["shard"]])
    data = bytearray(path.read_bytes())
    _, members = sample_at(path, row["start"])
    place = data.index(next(members[name] for name in ("jpg", "png") if name in members)) + 200
    data[place] ^= 255
    path.chmod(0o644)
    path.write_bytes(data)
    with pytest.raises(CorruptShard, match="isn't the picture that its row names"):
        pictures[0]


# ── transforms and DataLoader ────────────────────────────────────────────────────────────────────────────────────────


def test_old_and_new_transforms_give_the_same_and_a_wrong_one_is_explained(shapes):
    old = transforms.Compose(
        [transforms.CenterCrop(32), transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.5] * 3)]
    )
    new = v2.Compose([v2.CenterCrop(32), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5] * 3, [0.5] * 3)])
    for (one, _), (other, _) in zip(shapes.torch(old), shapes.torch(new), strict=True):
        assert torch.allclose(one, other, atol=1e-6)
    with pytest.raises(TypeError) as error:
        shapes.torch(v2.Normalize([0.5] * 3, [0.5] * 3))[0]
    assert "the transform gets a uint8 tensor [3, H, W]" in error.value.__notes__[0]


def test_an_edition_itself_says_what_a_loader_takes(shapes):
    with pytest.raises(TypeError, match=r"give it edition\.torch\(transform\)"):
        next(iter(DataLoader(shapes)))
    assert len(next(iter(DataLoader(shapes, batch_size=5, collate_fn=list)))) == 5


@pytest.mark.parametrize("start", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_give_each_picture_once_and_in_order(shapes, start):
    pictures = shapes.torch(brightness, shuffle=5)
    alone = [float(value) for value, _ in pictures]
    loader = {"batch_size": 5, "num_workers": 2, "multiprocessing_context": start}
    together = [float(value) for values, _ in DataLoader(pictures, **loader) for value in values]
    assert together == alone
    streamed = [float(value) for values, _ in DataLoader(pictures.stream(), **loader) for value in values]
    assert sorted(streamed) == sorted(alone)


# ── order ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shuffle=st.none() | st.integers(0, 2**40), cut=st.integers(0, 12))
def test_any_cut_goes_on_with_the_same_sequence(shapes, shuffle, cut):
    def ids(pictures):
        return [record["id"] for _, record in pictures]

    options = {"target": "record", "shuffle": shuffle}
    whole = ids(shapes.torch(**options))
    assert sorted(whole) == sorted(sample.id for sample in shapes)
    assert ids(shapes.torch(**options, start=cut)) == whole[cut:]
    stream = shapes.torch(**options).stream()
    begun = [record["id"] for _, (_, record) in zip(range(cut), stream, strict=False)]
    again = pickle.loads(pickle.dumps(shapes.torch(**options))).stream()
    again.load_state_dict(stream.state_dict())
    assert begun + ids(again) == whole
    next(iter(again))
    assert ids(again) == whole, "without a state it begins at the beginning"


def test_a_seed_gives_an_order_of_its_own(shapes):
    orders = {tuple(label for _, label in shapes.torch(shuffle=seed, target="caption")) for seed in range(4)}
    assert len(orders) > 1
    stream = shapes.torch().stream()
    with pytest.raises(StoreError, match=r"a state of shapes@1\.0\.0 with 6 pictures isn't of"):
        stream.load_state_dict(shapes.torch(split="train").stream().state_dict())
