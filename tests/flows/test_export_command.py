"""`variorum export` on the command line."""

import json
import os

import pytest
from detecting import edition

from variorum.flows.cli import main


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exporting")
    edition(folder)
    return folder


@pytest.fixture
def say(workplace, monkeypatch, capsys, own_cache):
    """A function: exit code and both outputs of a command in the folder."""
    monkeypatch.chdir(workplace)
    monkeypatch.setenv("COLUMNS", "120")

    def call(*words):
        with pytest.raises(SystemExit) as ended:
            main(words)
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return call


def test_every_variant_gets_a_folder_and_a_second_time_is_fine(say, workplace, tmp_path):
    out = tmp_path / "out"
    for _ in range(2):
        code, said, err = say("export", "shapes", "--to", str(out), "--as", "coco")
        assert code == 0, err
        assert f"{out}/lost_one_half: 12 pictures, 12 boxes" in said
    assert (out / "dark/annotations/instances_val2017.json").is_file()
    assert len(os.listdir(out / "dark/val2017")) == 12


def test_json_for_scripts(say, tmp_path):
    code, said, _ = say("export", "shapes@1.0.0", str(tmp_path / "out"), "--as", "coco", "--variant", "dark", "--json")
    assert code == 0
    found = json.loads(said)
    (one,) = found["exported"]
    assert (found["as"], one["variant"], one["pictures"], one["left_out"]) == ("coco", "dark", 12, {})


def test_missing_objects_count_if_asked(say, tmp_path):
    crowds = {}
    for words in ((), ("--count-missing",)):
        out = tmp_path / f"out{len(words)}"
        code, _, err = say("export", "shapes", str(out), "--as", "coco", "--variant", "lost one/half", *words)
        assert code == 0, err
        found = json.loads((out / "lost_one_half/annotations/instances_val2017.json").read_bytes())["annotations"]
        crowds[words] = sum(one["iscrowd"] for one in found), len(found)
    assert crowds == {(): (8, 12), ("--count-missing",): (0, 12)}


@pytest.mark.parametrize("form", ["image_folder", "fiftyone", "cvat"])
def test_other_formats(say, tmp_path, form):
    code, said, err = say(
        "export", "shapes", str(tmp_path / "out"), "--as", form, "--variant", "dark", "--split", "test"
    )
    assert code == 0, err
    assert said.strip() == f"{tmp_path}/out: 3 pictures, 3 boxes"
    assert json.loads((tmp_path / "out" / "export.json").read_bytes())["as"] == form


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("shapes", "--to", "out"), 2, "--as"),
        (("shapes", "--as", "coco"), 2, "--to PATH"),
        (("shapes", "out", "--to", "out", "--as", "coco"), 2, "--to PATH"),
        (("shapes", "out", "--as", "voc"), 2, "coco"),
        (("shapes", "out", "--as", "cvat", "--count-missing"), 2, "only for --as coco"),
        (("shapes", "out", "--as", "waves"), 1, "no marked pictures"),
        (("shapse", "out", "--as", "coco"), 1, "did you mean shapes"),
        (("shapes", "out", "--as", "coco", "--variant", "night"), 1, "it has: original"),
        (("shapes", "out", "--as", "coco", "--split", "val"), 1, "no split 'val'"),
        (("shapes", "store", "--as", "coco"), 1, "other files in it; give a new folder"),
        (("shapes", "out", "--as", "coco", "--store", "stor"), 1, "did you mean store"),
    ],
)
def test_what_cannot_work_is_one_line(say, workplace, words, code, said):
    found, _, err = say("export", *words)
    assert found == code
    assert said in err
    assert code == 2 or len(err.strip().splitlines()) == 1
    assert not (workplace / "out").exists()


def test_help_has_an_example(say):
    code, said, _ = say("export", "--help")
    assert code == 0
    assert "variorum export coco_o" in said
