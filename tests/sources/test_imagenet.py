import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from variorum.machine.memo import DiskMemo
from variorum.models.imagenet_classes import index_of, is_wnid, name_of, table
from variorum.pixels import decode_mask
from variorum.schemas.component import Context
from variorum.schemas.errors import SourceError
from variorum.schemas.sample import Failure
from variorum.sources import imagenet
from variorum.sources.imagenet import MERGED, ImageNet
from variorum.stages.job import models


@pytest.fixture
def ctx(tmp_path, own_cache) -> Context:
    return Context(0, models("embedded"), DiskMemo(tmp_path / "memo"))


def test_the_table_is_imagenets_order_with_unique_names():
    classes = table()
    assert [item.index for item in classes] == list(range(1000))
    assert [item.wnid for item in classes] == sorted({item.wnid for item in classes})
    assert len({item.name.casefold() for item in classes}) == 1000
    assert all(item.gloss and item.name == item.name.strip() for item in classes)


def test_the_table_agrees_with_torchvisions_categories():
    from torchvision.models import ResNet18_Weights

    categories = ResNet18_Weights.IMAGENET1K_V1.meta["categories"]
    unchanged = {item.index for item in table() if item.name == categories[item.index]}
    assert len(unchanged) > 940


@pytest.mark.parametrize(
    ("label", "index"),
    [
        ("n01440764", 0),
        ("tench", 0),
        ("Tabby Cat", 281),
        (" crane (bird) ", 134),
        ("CRANE (machine)", 517),
        ("toilet tissue", 999),
        ("crane", None),
        ("n00000000", None),
        ("", None),
    ],
)
def test_index_of(label, index):
    assert index_of(label) == index


def test_names_and_merged_classes():
    assert name_of("n02012849") == "crane (bird)"
    assert len({name_of(wnid) for pair in MERGED.items() for wnid in pair}) == 10
    with pytest.raises(KeyError, match="no wnid"):
        name_of("tench")
    assert not is_wnid("tench")


def picture(path, pixels=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((16, 24, 3), np.uint8) if pixels is None else pixels).save(path)


def test_a_tree_of_wnid_folders(tmp_path, ctx):
    picture(tmp_path / "val" / "n02123045" / "ILSVRC2012_val_00000001.JPEG")
    picture(tmp_path / "val" / "n01440764" / "ILSVRC2012_val_00000002.JPEG")
    source = ImageNet(path=tmp_path / "val")
    assert [sample.labels for sample in source.read(0, 2, ctx)] == [("n01440764",), ("n02123045",)]
    assert {sample.split for sample in source.read(0, 2, ctx)} == {""}
    assert source.size(ctx) == 2
    assert source.classes(ctx) == imagenet.class_infos()
    assert source.fingerprint() == ImageNet(path=tmp_path).fingerprint()
    picture(tmp_path / "val" / "cats" / "x.png")
    with pytest.raises(SourceError, match=r"cats/x\.png .* doesn't lie in a wnid folder"):
        ImageNet(path=tmp_path / "val").size(ctx)


def test_rows_without_a_picture_are_failures(tmp_path, ctx):
    import datasets

    label = datasets.ClassLabel(names=[item.name for item in table()])
    features = datasets.Features({"image": datasets.Image(), "label": label})
    cells = [None, {"bytes": None, "path": "/etc/hostname"}]
    (tmp_path / "data").mkdir()
    rows = datasets.Dataset.from_dict({"image": cells, "label": [281, 0]}, features=features)
    rows.to_parquet(str(tmp_path / "data" / "test-00000.parquet"))
    empty, foreign = ImageNet(dataset=str(tmp_path / "data"), split="test").read(0, 2, ctx)
    assert [failure.reason for failure in (empty, foreign)] == ["no_picture", "unreadable"]
    assert [failure.split for failure in (empty, foreign)] == ["test", "test"]
    assert [failure.labels for failure in (empty, foreign)] == [("n02123045",), ("n01440764",)]


def test_imagenet_s_masks_become_binary(tmp_path, ctx):
    def mask(number: int, other: int = 0) -> np.ndarray:
        ids = np.zeros((16, 24), np.int64)
        ids[2:10, 2:12] = number
        ids[12:14] = other
        ids[0] = 1000
        return np.stack([ids % 256, ids // 256, 0 * ids], axis=-1).astype(np.uint8)

    for name, pixels in {"a": mask(300), "b": mask(300, other=7), "c": mask(7)}.items():
        picture(tmp_path / "val" / "n01440764" / f"{name}.JPEG")
        picture(tmp_path / "masks" / "n01440764" / f"{name}.png", pixels)
    picture(tmp_path / "val" / "n01440764" / "d.JPEG")
    a, b, c, d = ImageNet(path=tmp_path / "val", masks=tmp_path / "masks").read(0, 4, ctx)
    for sample in (a, b):
        values = decode_mask(sample.extras["mask.png"])
        assert values.sum() == 255 * 8 * 10
        assert (values[2:10, 2:12] == 255).all()
    for failure in (c, d):
        assert isinstance(failure, Failure)
        assert failure.reason == "no_mask"


def test_one_place_only(tmp_path):
    with pytest.raises(ValidationError, match="give either path"):
        ImageNet()
    with pytest.raises(ValidationError, match="give either path"):
        ImageNet(path=tmp_path, dataset="x/y")
    with pytest.raises(ValidationError, match="masks need a path"):
        ImageNet(dataset="x/y", masks=tmp_path)


def test_a_dataset_with_imagenets_indices(tmp_path, ctx):
    import datasets

    data = tmp_path / "data"
    data.mkdir()
    picture(tmp_path / "x.png")
    cell = {"bytes": (tmp_path / "x.png").read_bytes(), "path": None}
    label = datasets.ClassLabel(names=[item.name for item in table()])
    features = datasets.Features({"image": datasets.Image(), "label": label})
    rows = datasets.Dataset.from_dict({"image": [cell] * 3, "label": [281, 0, -1]}, features=features)
    rows.to_parquet(str(data / "validation-00000.parquet"))
    source = ImageNet(dataset=str(data))
    samples = list(source.read(0, source.size(ctx), ctx))
    assert [sample.labels for sample in samples] == [("n02123045",), ("n01440764",), ()]
    assert samples[0].image == cell["bytes"]
    assert {sample.split for sample in samples} == {"validation"}
    assert [sample.split for sample in source.outline(0, 3, ctx)] == ["validation"] * 3
    few = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    rows = datasets.Dataset.from_dict({"image": [cell], "label": [1]}, features=few)
    rows.to_parquet(str(data / "validation-00000.parquet"))
    with pytest.raises(SourceError, match="2 names that aren't wnids"):
        list(ImageNet(dataset=str(data)).read(0, 1, ctx))
