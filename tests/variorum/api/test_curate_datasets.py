"""`va.curate` on datasets, tables, streams and tars: the same pictures and labels, or what is missing, by name."""

from __future__ import annotations

import tracemalloc
import zipfile
from contextlib import ExitStack
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import webdataset
from PIL import Image
from small_store import one_line
from torch.utils.data import DataLoader, Subset
from torchvision import transforms
from torchvision.datasets import DatasetFolder, ImageFolder

import variorum as va
from variorum.api.given import read_given
from variorum.api.given_items import of_items
from variorum.schemas.errors import SourceError

QUICK = {"curate.features": None, "curate.probabilities": None, "curate.training_dynamics": None}

pytestmark = pytest.mark.usefixtures("kept_apart")


@pytest.fixture(scope="module")
def files(photos) -> list[str]:
    return sorted(map(str, photos.rglob("*.jpg")))


@pytest.fixture(scope="module")
def labels(files) -> list[str]:
    return [Path(file).parent.name for file in files]


@pytest.fixture(scope="module")
def rows(files, labels) -> datasets.Dataset:
    """Pictures, classes with names, and a number."""
    found = datasets.Dataset.from_dict({"image": files, "label": labels, "id": list(range(len(files)))})
    names = datasets.ClassLabel(names=sorted(set(labels)))
    return found.cast_column("image", datasets.Image()).cast_column("label", names)


@pytest.fixture(scope="module")
def tars(files, labels, tmp_path_factory) -> str:
    """A pattern for three tars with a member `cls`, in the order of the files."""
    folder, number = tmp_path_factory.mktemp("tars"), {name: k for k, name in enumerate(sorted(set(labels)))}
    with webdataset.ShardWriter(f"{folder}/train-%03d.tar", maxcount=5, verbose=0) as writer:
        for k, (file, label) in enumerate(zip(files, labels, strict=True)):
            writer.write({"__key__": f"{k:03}", "jpg": Path(file).read_bytes(), "cls": number[label]})
    return f"{folder}/train-{{000..002}}.tar"


class Pairs(torch.utils.data.Dataset):
    """Pairs by position, as most datasets of torchvision have them."""

    def __init__(self, files, labels, read):
        self.classes = sorted(set(labels))
        self.files, self.labels, self.read = files, [self.classes.index(label) for label in labels], read

    def __len__(self):
        return len(self.files)

    def __getitem__(self, place):
        return self.read(self.files[place % len(self)]), self.labels[place % len(self)]


# ── the same whatever holds them ─────────────────────────────────────────────────────────────────────────────────────


def test_all_that_holds_files_gives_the_same(files, labels, rows, photos):
    bytes_of = [Path(file).read_bytes() for file in files]
    frame = pd.DataFrame({"path": files, "Label": labels, "score": 0.5})
    ways = {
        "paths": ([Path(file) for file in files], labels),
        "texts": (files, np.array(labels)),
        "bytes": (bytes_of, labels),
        "dataset": (rows,),
        "dataset in torch's format": (rows.with_format("torch"),),
        "dataset of paths": (rows.remove_columns("image").add_column("file", files),),
        "its named column": (rows.rename_column("label", "species"), "species"),
        "its stream": (rows.to_iterable_dataset(),),
        "a frame": (frame,),
        "its columns": (frame["path"], frame["Label"]),
        "an Arrow table": (pa.table({"image": bytes_of, "class": labels}),),
        "ImageFolder": (ImageFolder(photos),),
        "a part of it": (Subset(ImageFolder(photos), range(len(files))),),
        "pairs": (list(zip(files, labels, strict=True)),),
        "a stream of pairs": (zip(files, labels, strict=True),),
        "a stream and labels": (iter(files), labels),
        "rows": ([{"img": file, "target": label, "x": 1} for file, label in zip(files, labels, strict=True)],),
    }
    found = {name: read_given(*given) for name, given in ways.items()}
    first = found["paths"]
    for name, one in found.items():
        assert one.labels.texts() == labels, name
        unnamed = name in ("bytes", "an Arrow table")
        assert one.source == (found["bytes"] if unnamed else first).source, name
        assert one.paths == (None if unnamed else tuple(files)), name
    stored = [pq.read_table(one.source["files"]) for one in (first, found["bytes"])]
    assert stored[0]["image"].equals(stored[1]["image"])
    assert stored[0]["origin"].to_pylist() == ["/".join(Path(file).parts[-2:]) for file in files]


def test_all_that_holds_pixels_gives_the_same(files, labels, tmp_path):
    arrays = [np.asarray(Image.open(file)) for file in files]
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for k, file in enumerate(files):
            archive.write(file, f"{k}.jpg")
    packed = [{"path": f"zip://{k}.jpg::{tmp_path}/a.zip", "bytes": None} for k in range(len(files))]
    packed = datasets.Dataset.from_dict({"image": packed, "label": labels}).cast_column("image", datasets.Image())
    ways = {
        "arrays": (arrays, labels),
        "one array": (np.stack(arrays), labels),
        "images": ([Image.open(file) for file in files], labels),
        "pairs by position": (Pairs(files, labels, Image.open),),
        "a part of them": (Subset(Pairs(files, labels, Image.open), range(len(files))),),
        "a stream of rows": ({"picture": array, "y": y, "x": 1} for array, y in zip(arrays, labels, strict=True)),
    }
    ways["a stream of rows"] = (ways["a stream of rows"],)
    ways |= {"an archive": (packed,), "a stream from an archive": (packed.to_iterable_dataset(),)}
    found = {name: read_given(*given) for name, given in ways.items()}
    for name, one in found.items():
        assert one.labels.texts() == labels, name
        same = [pq.read_table(other.source["files"])["image"] for other in (one, found["arrays"])]
        assert same[0].equals(same[1]), name
        assert one.paths == (tuple(files) if name in ("images", "pairs by position", "a part of them") else None), name


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # webdataset leaves files open
def test_tars_and_pipelines(tars, files, labels, tmp_path):
    found = va.curate(tars, names=sorted(set(labels)), store=tmp_path / "store", progress=False, **QUICK)
    assert str(found).startswith("12 pictures, 12 labels in 3 classes: ")
    assert found.labels() == labels
    assert found.paths[5].endswith("train-001.tar/005")
    urls = list(webdataset.shardlists.expand_urls(tars))
    raw = read_given(webdataset.WebDataset(urls, shardshuffle=False))
    assert raw.paths[5] == f"{urls[1]}/005"
    decoded = webdataset.WebDataset(urls, shardshuffle=False).decode("pil")
    pairs = read_given(webdataset.WebDataset(urls, shardshuffle=False).decode("pil").to_tuple("jpg", "cls"))
    for one in (raw, read_given(decoded), pairs):
        assert [sorted(set(labels))[int(text)] for text in one.labels.texts()] == labels
    assert read_given(urls).source["shards"] == urls


def test_an_edition_is_curated_with_its_labels(files, labels, photos, tmp_path):
    """The edition itself is made of pairs."""
    pairs = zip(files, labels, strict=True)
    made = va.run(dataset="mine", version="1.0.0", source=pairs, store=tmp_path / "store", progress=False)
    assert [sample.labels[0] for sample in made] == labels
    found = va.curate(made, store=tmp_path / "store", progress=False, **QUICK)
    assert (found.labels(), len(found.release)) == (labels, 12)
    assert found.paths == ["/".join(Path(file).parts[-2:]) for file in files]
    with pytest.raises(SourceError, match=r"^source: pictures is of type int; it must be a folder, a dataset"):
        va.plan(dataset="mine", version="1.0.0", source=7)
    with pytest.raises(SourceError, match=r"^source: nowhere is not there; give a folder"):
        va.plan(dataset="mine", version="1.0.0", source="nowhere")
    assert va.plan(dataset="mine", version="1.0.0", source=photos).samples == 12


# ── labels, or none on purpose ───────────────────────────────────────────────────────────────────────────────────────


def test_none_are_taken_only_if_that_was_said(rows, photos, tmp_path):
    found = va.curate(ImageFolder(photos, transforms.ToTensor()), None, store=tmp_path, progress=False, **QUICK)
    assert str(found).startswith("12 pictures without labels, as asked: nothing found")
    assert set(found.labels()) == {""}
    assert found.notes[0] == "the dataset's transform isn't applied: the files are read as they are"
    assert found.notes[0] in str(found)
    assert read_given(rows, None).labels.names == ()
    assert read_given(photos, None).source["labels"] == "none"
    assert [read_given(one).unlabelled for one in (list(rows["image"]), photos, rows)] == [False] * 3


def test_what_is_not_understood_is_refused_by_name(files, labels, rows, photos, tars):
    text = rows.remove_columns("label").add_column("species", labels)
    tensors = DatasetFolder(str(photos), Image.open, ("jpg",), transform=transforms.ToTensor())
    frame = pd.DataFrame({"path": files, "species": labels})
    for given, says in [
        (
            (text,),
            "no column that is clearly the label, among: id, species; say which one, as in labels='species', or",
        ),
        ((rows.add_column("class", labels),), "several columns that may be the label: label, class; say which one"),
        ((rows, "lable"), "labels: pictures has no column 'lable'; did you mean 'label'?"),
        ((datasets.DatasetDict(train=rows, test=rows),), "several splits (train, test); give one: pictures['train']"),
        ((rows.remove_columns("image"),), "no column with pictures or with paths of them; its columns are label, id"),
        ((frame.assign(mask=files),), "2 columns with paths of pictures: path, mask; leave out all but one of them"),
        ((frame,), "say which one, as in labels='species'"),
        ((DataLoader(ImageFolder(photos)),), "a DataLoader, which gives batches of tensors; give its dataset"),
        (
            (tensors,),
            "pictures[0] is a tensor of torch.float32 [3, 64, 96], which a transform has made; give the dataset",
        ),
        ((iter([(files[0], "a"), files[1]]),), "pictures[1] is of type str; items must all be pairs"),
        (([(files[0], [{"bbox": [1]}])],), "a label is a number or a text, and labels=None takes none"),
        ((iter([]),), "pictures is empty"),
        (
            ("https://example.org/a.zip",),
            "https://example.org/a.zip can't be read; of URLs those of WebDataset tars can",
        ),
        ((tars, labels), "the labels of tars are in their members; name the member"),
    ]:
        with pytest.raises(SourceError) as error:
            read_given(*given)
        assert says in str(error.value)
        assert one_line(str(error.value))


def test_tars_without_the_usual_member_say_which_there_are(files, tmp_path):
    with webdataset.ShardWriter(f"{tmp_path}/a-%d.tar", verbose=0) as writer:
        writer.write({"__key__": "0", "jpg": Path(files[0]).read_bytes(), "json": {"label": "cat"}})
    with pytest.raises(SourceError, match="no member 'cls' with the labels; their members are jpg, json; name one"):
        read_given(f"{tmp_path}/a-0.tar")
    assert read_given(f"{tmp_path}/a-0.tar", None).source["label"] is None
    assert read_given(f"{tmp_path}/a-0.tar", "json.label").source["label"] == "json.label"


# ── memory ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_memory_does_not_grow_with_a_stream(tmp_path):
    """Pictures of 12 kB each, as they come and as they are read again."""
    rng = np.random.default_rng(0)

    def peak(number: int) -> int:
        pictures = ((rng.integers(0, 255, (64, 64, 3), np.uint8), k % 2) for k in range(number))
        tracemalloc.start()
        with ExitStack() as held:
            found = of_items(pictures, "auto", None, tmp_path, held)
            before = pa.total_allocated_bytes()
            arrow = max(pa.total_allocated_bytes() - before for _ in found.pictures)
        python = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(found.labels) == number
        return python + arrow

    peak(100)
    assert peak(800) < peak(100) + 700 * 12_288 / 2
