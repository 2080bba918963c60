"""An edition and a release of format 3, made by the version that wrote it: both open, verify and release as before.

The archive has manifests, ledger and objects, but no receipts and no links. Its recipe: ten small pictures, a generator
`half` that darkens them and quarantines three, and `duplicates`, which drops a copy.
"""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest
import yaml

from variorum.edition.editions import find, folder_of, link_data, resolve, write_beside
from variorum.edition.ledgers import read_ledger
from variorum.edition.store import Store
from variorum.edition.units import edition_units
from variorum.edition.verify import verify
from variorum.pipeline import rollback
from variorum.reports.contact_sheet import contact_sheet
from variorum.reports.diff import change_counts, diff
from variorum.reports.hub_types import front_matter, read_back
from variorum.schemas.manifest import Manifest
from variorum.sources.edition import Edition

RELEASE = "98b9f7a7911f474a27fd3b355e358f12fa42d8512b40edf0137916318d956389"


@pytest.fixture
def store(tmp_path) -> Store:
    with tarfile.open(Path(__file__).with_name("format3.tar.xz")) as archive:
        archive.extractall(tmp_path, filter="data")
    return Store(str(tmp_path / "store"))


def test_its_digests_are_those_of_its_files(store):
    assert find("old", store).digest() == RELEASE
    manifest = resolve("old@1.0.0", store)
    assert manifest.format == 3
    assert manifest.digest() == read_ledger(manifest, store)[1].edition
    written = Path(folder_of(manifest, store), "manifest.json").read_text()
    assert json.loads(manifest.model_dump_json()) == json.loads(written)
    assert Manifest.model_validate_json(written) == manifest


@pytest.mark.parametrize("version", ["1.0.0", "1.0.0-r1"])
def test_it_verifies_and_loads(store, version):
    manifest = resolve(f"old@{version}", store)
    link_data(manifest, store)
    header = yaml.safe_dump(front_matter(manifest))
    write_beside(manifest, "README.md", f"---\n{header}---\n".encode(), store)
    assert verify(manifest, store) == []
    assert manifest.splits() == {"test": 17 if version == "1.0.0" else 15}
    assert manifest.configs() == {}
    found = read_back(folder_of(manifest, store), manifest)
    assert f'split="test"): {manifest.pictures()} rows' in found


def test_a_release_made_again_is_the_same_to_the_byte(store):
    before = resolve("old@1.0.0-r1", store)
    for group in before.shards.values():
        for info in group:
            kept = resolve("old@1.0.0", store).shards.values()
            if info not in [one for infos in kept for one in infos]:
                Path(store.object(info, ".tar")).unlink()
    again = rollback(resolve("old@1.0.0", store), store, 1)
    assert again.digest() == RELEASE
    assert verify(again, store) == []


def test_nothing_asks_its_receipts(store, monkeypatch):
    monkeypatch.setattr(Store, "receipt", lambda *_: pytest.fail("a receipt was asked for"))
    first, second = resolve("old@1.0.0", store), resolve("old@1.0.0-r1", store)
    assert change_counts(diff(first, second, store)) == [("dropped", "policy: copy", 2)]
    assert contact_sheet(second, store).startswith(b"\x89PNG")
    shards = {info.sha256 for unit in edition_units(first, store) for info in unit.shards.values()}
    assert shards == {info.sha256 for infos in first.shards.values() for info in infos}


def test_it_is_a_source_of_new_editions(store):
    source = Edition(edition="old@1.0.0", store=store.url)
    samples = list(source.read(0, source.size(None), None))
    assert len(samples) == 17
    assert {sample.split for sample in samples} == {""}
    assert not any(sample.annotations for sample in samples)
    assert all(io.BytesIO(sample.image).read(4) == b"\x89PNG" for sample in samples)
