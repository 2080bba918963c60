"""Other tools read an export with their own readers, and see the same pictures, labels, boxes and masks.

FiftyOne, Datumaro and Label Studio's library lie in an environment of their own, `make peers`.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from exchanging import samples_of, shapes

from variorum.annotations import decode_mask
from variorum.exchange.export import export
from variorum.exchange.selection import Selection
from variorum.pixels import decode

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[3]
PYTHON = Path(os.environ.get("VARIORUM_PEERS") or ROOT / ".cache/peers/bin/python")
FORMS = ("image_folder", "parquet", "fiftyone", "label_studio", "cvat", "cleanlab")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("for_peers")
    job, manifest = shapes(folder)
    for form in FORMS:
        export(Selection(manifest, job.store), folder / form, form)
    return folder, Selection(manifest, job.store), samples_of(job, manifest)


def read_by(tool: str, folder: Path) -> dict:
    """What a tool's own reader says."""
    if not PYTHON.is_file():
        pytest.skip("FiftyOne, Datumaro and Label Studio's library aren't installed: make peers")
    script = Path(__file__).with_name("peers.py")
    home = {"HOME": str(folder.parent / "home"), "PATH": os.environ["PATH"], "FIFTYONE_DO_NOT_TRACK": "true"}
    Path(home["HOME"]).mkdir(exist_ok=True)
    done = subprocess.run([PYTHON, script, tool, str(folder)], capture_output=True, text=True, env=home, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def area(item) -> int:
    return int(decode_mask(item, 64, 96).astype(bool).sum())


def test_torchvision(made):
    from torchvision.datasets import ImageFolder

    folder, asked, before = made
    seen = 0
    for part in ("train", "validation", "test"):
        found = ImageFolder(str(folder / "image_folder" / "original" / part))
        assert set(found.classes) <= {*asked.names, "unlabelled"}
        for path, label in found.samples:
            old = before[Path(path).stem]
            assert found.classes[label] == (old.labels[0] if old.labels else "unlabelled")
            assert old.split == part
            assert np.array_equal(np.asarray(found.loader(path)), decode(old.image))
            seen += 1
    assert seen == 12


def test_the_imagefolder_of_datasets(made, tmp_path):
    from datasets import load_dataset

    folder, _, before = made
    found = load_dataset(
        "imagefolder", data_dir=str(folder / "image_folder" / "original"), cache_dir=str(tmp_path / "cache")
    )
    assert {part: len(rows) for part, rows in found.items()} == {"train": 6, "validation": 3, "test": 3}
    for part, rows in found.items():
        for row in rows:
            old = before[row["id"]]
            assert (row["label"], row["license"], part) == (next(iter(old.labels), None), old.licence, old.split)
            assert np.array_equal(np.asarray(row["image"].convert("RGB")), decode(old.image))
            assert row["objects"]["bbox"] == [list(one.box) for one in old.annotations.objects]
            assert row["objects"]["category"] == [one.label for one in old.annotations.objects]


@pytest.mark.parametrize("streaming", [False, True])
def test_the_parquet_of_datasets(made, tmp_path, streaming):
    from datasets import ClassLabel, Image, load_dataset

    folder, asked, before = made
    out = folder / "parquet"
    for place, more in ((str(out), {}), ("parquet", {"data_files": {"train": f"{out}/data/train-*.parquet"}})):
        rows = load_dataset(place, split="train", streaming=streaming, cache_dir=str(tmp_path / "cache"), **more)
        assert isinstance(rows.features["image"], Image)
        assert isinstance(rows.features["label"], ClassLabel)
        assert rows.features["label"].names == list(asked.names.values())
        assert rows.features["objects"]["category"].feature.names == list(asked.names.values())
        count = 0
        for row in rows:
            old = before[row["id"]]
            assert row["label"] == (asked.index[old.labels[0]] if old.labels else -1)
            assert np.array_equal(np.asarray(row["image"].convert("RGB")), decode(old.image))
            assert row["objects"]["bbox"] == [list(one.box) for one in old.annotations.objects]
            assert row["split"] == old.split == "train"
            count += 1
        assert count == 12


def test_cleanlab_datalab(made, tmp_path):
    """Datalab audits the exported table, and its own issues come back as metadata."""
    import warnings

    import pandas
    from exchanging import come_back

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from cleanlab import Datalab

        folder, asked, before = made
        table = pandas.read_csv(folder / "cleanlab" / "metadata.csv", keep_default_na=False)
        assert len(table) == len(before) == 24
        assert all(before[row.id].licence == row.license for row in table.itertuples())
        labelled = table[table.label != ""].reset_index(drop=True)
        labelled = labelled.sort_values("labels", ignore_index=True).iloc[[0, -1, *range(1, len(labelled) - 1)]]
        labelled["label"] = np.where(labelled.labels.str.contains("square"), "square", "circle")
        audit = Datalab({"label": list(labelled.label)}, label_name="label", verbosity=0)
        sure = np.where(labelled.label.to_numpy()[:, None] == np.array(sorted(asked.names)), 0.9, 0.1)
        sure[:2] = sure[:2, ::-1]  # the model disagrees about a circle and a square
        audit.find_issues(pred_probs=sure, issue_types={"label": {}})
        issues = audit.get_issues()
    labelled.to_csv(folder / "cleanlab" / "labelled.csv", index=False)
    issues.to_csv(folder / "cleanlab" / "found.csv")
    _, found = come_back("cleanlab", path=folder / "cleanlab", table="labelled.csv", issues="found.csv")
    assert [one.metadata["issues"]["is_label_issue"] for one in found] == issues.is_label_issue.tolist()
    assert issues.label_score.tolist()[:3] == pytest.approx([0.1, 0.1, 0.9])
    assert [one.metadata["issues"]["label_score"] for one in found] == pytest.approx(issues.label_score.tolist())


def test_fiftyone(made):
    """Its importer of samples; its database, MongoDB, isn't needed for that."""
    folder, asked, before = made
    found = read_by("fiftyone", folder / "fiftyone")
    assert found["info"] == {"edition": "shapes@1.0.0", "digest": asked.manifest.digest()}
    assert {one["id"] for one in found["samples"]} == before.keys()
    for one in found["samples"]:
        old = before[one["id"]]
        assert one["there"]
        assert one["tags"] == [old.split]
        assert one["label"] == (asked.names[old.labels[0]] if old.labels else None)
        assert one["license"] == old.licence
        for (label, *box, inside), item in zip(one["boxes"], old.annotations.objects, strict=True):
            assert label == asked.names[item.label]
            assert np.array(box) * [96, 64, 96, 64] == pytest.approx(item.box)
            assert inside == area(item)


def test_cvat_by_datumaro(made):
    folder, asked, before = made
    found = read_by("cvat", folder / "cvat")
    assert found["names"] == list(asked.names.values())
    assert {one["id"] for one in found["samples"]} == before.keys()
    for one in found["samples"]:
        old, items = before[one["id"]], before[one["id"]].annotations.objects
        assert (one["subset"], one["size"]) == (old.split, [64, 96])
        assert one["label"] == [asked.names[label] for label in old.labels]
        assert one["bbox"] == [[asked.names[item.label], *item.box] for item in items]
        assert one["mask"] == [[asked.names[item.label], area(item), *item.box] for item in items]


def test_label_studio(made):
    """Its library finds no error in the tasks and the predictions under the exported configuration."""
    folder, asked, before = made
    found = read_by("label_studio", folder / "label_studio")
    assert found["names"] == sorted(asked.names.values())
    assert len(found["tasks"]) == 24
    assert all(found["tasks"])
    assert (
        len(found["predictions"]) == sum(bool(old.labels or old.annotations.objects) for old in before.values()) == 16
    )
    assert all(found["predictions"])
    assert not any(found["errors"])
