"""The code on the page docs/start/python.md works as it stands, and prints what the page says."""

import re
import shutil
from pathlib import Path

import datasets
import pytest

import variorum as va

PAGE = (Path(__file__).parents[2] / "docs" / "start" / "python.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def ran(photos, tmp_path_factory):
    """The names that the page's code leaves, and what each block printed, by the block's place."""
    import contextlib
    import io

    folder, names, printed = tmp_path_factory.mktemp("page"), {}, {}
    shutil.copytree(photos, folder / "photos")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("VARIORUM_CACHE", str(folder / "cache"))
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", str(folder / "hf"))
        datasets.disable_progress_bars()
        for place, (language, code) in enumerate(BLOCKS):
            if language == "python":
                with contextlib.redirect_stdout(io.StringIO()) as out:
                    exec(code, names)
                printed[place] = out.getvalue()
    return folder, names, printed


def test_the_blocks_print_what_the_page_says(ran):
    said = [place for place, (language, _) in enumerate(BLOCKS) if language == "text"]
    assert len(said) == 2
    for place in said:
        assert ran[2][place - 1] == BLOCKS[place][1]


def test_the_edition_is_the_one_that_the_page_describes(ran):
    folder, names, printed = ran
    edition = names["edition"]
    assert edition.name == "mine@1.0.0-r1"
    assert edition.splits["train"] == len(names["train"])
    assert sum(edition.splits.values()) == len(edition) == len(names["wide"])
    assert names["same"].id == names["first"].id
    assert names["frame"]["quality.score"].notna().sum() == 12
    assert (folder / "sheet.png").stat().st_size > 1000
    assert any(text.count("(64, 96, 3)") == edition.splits["test"] for text in printed.values())


def test_the_page_lists_all_public_names():
    listed = re.findall(r"^\| `va\.(\w+)\(", PAGE, re.MULTILINE)
    assert len(listed) == 11
    assert {*listed, "Edition", "errors"} == set(va.__all__)


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", PAGE):
        assert (Path(__file__).parents[2] / "docs" / "start" / target).is_file(), target
