"""Editions in a bucket as their users read them: `datasets`, `webdataset`, samples one by one."""

from __future__ import annotations

from pathlib import Path

import pytest
from s3_server import BUCKET, Server, use

import variorum as va
from variorum.schemas.errors import StoreError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def edition(s3_server: Server, photos: Path, tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VARIORUM_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("HF_HOME", str(tmp_path_factory.mktemp("hf")))
        use(patch, s3_server)
        yield va.run(
            dataset="far",
            version="1.0.0",
            samples_per_shard=4,
            splits={"train": 0.7, "test": 0.3},
            masters="original",
            source={"name": "image_folder", "path": str(photos)},
            store=f"s3://{BUCKET}/read",
            progress=False,
        )


def ids(rows) -> set[str]:
    return {row["json"]["id"] for row in rows}


@pytest.mark.parametrize("streaming", [False, True])
def test_datasets_reads_it(edition, streaming):
    all_ids = {one.id for one in edition}
    found = edition.dataset(streaming=streaming)
    assert set(found) == {"train", "test"} == set(edition.splits)
    assert ids(found["train"]).isdisjoint(ids(found["test"]))
    assert ids(found["train"]) | ids(found["test"]) == all_ids
    (row,) = list(edition.dataset("train", streaming=streaming).take(1))
    assert row["jpg"].size == (96, 64)
    assert row["cls"] in range(3)
    assert edition.dataset("test", streaming=streaming).features["cls"].names == ["astronaut", "chelsea", "coffee"]


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # webdataset leaves its pipes to the garbage collector
def test_webdataset_reads_links(edition):
    import webdataset

    links = edition.links("train")
    assert all(link.startswith("http://127.0.0.1:") and "X-Amz-Expires=3600" in link for link in links)
    found = [key["json"] for key in webdataset.WebDataset(links, shardshuffle=False, empty_check=False).decode()]
    assert {one["id"] for one in found} == ids(edition.dataset("train"))


def test_what_links_there_are(edition):
    with pytest.raises(StoreError, match=r"far@1\.0\.0 has no split 'nosuch'; there are: train, test"):
        edition.links("nosuch")
    with pytest.raises(StoreError, match="valid for 1 to 604800 seconds"):
        edition.links("train", seconds=10**7)
    assert edition.url == f"s3://{BUCKET}/read/editions/far/1.0.0"
    assert va.open(edition.url).digest == edition.digest
    assert va.verify("far", f"s3://{BUCKET}/read") == []
    assert "isn't in a folder of this machine" in va.verify("far", f"s3://{BUCKET}/read", load=True)[0]
