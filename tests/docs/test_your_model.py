"""The code and the commands on the page docs/start/your_model.md work as they stand."""

import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from answering import CLASSES, edition
from torchvision.models import get_model

from variorum.flows.cli import main
from variorum.models.brought import from_function

PAGE = (Path(__file__).parents[2] / "docs" / "start" / "your_model.md").read_text()
CODE = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = re.findall(r"^(variorum .*?)(?: +#.*)?$", PAGE, re.MULTILINE)


def test_the_page_in_its_order(photos, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("VARIORUM_CACHE", str(tmp_path / "cache"))
    edition(photos, "store")
    network, module, calls, embed, finds = CODE
    random = get_model("resnet18", weights=None, num_classes=3)
    torch.save(random.state_dict(), "best.pth")
    exec(network)
    Path("mine.py").write_text(module)
    Path("classes.txt").write_text("\n".join(CLASSES))
    names: dict = {}
    exec(calls, names)
    sys.modules.pop("mine")
    assert [path.name for path in Path("mine").iterdir()] == [names["results"].files["channels"].file_name()]
    Path("mine").rename("theirs")
    ran = [words for words in map(shlex.split, COMMANDS) if words[2] == "shots"]
    assert len(ran) == 3
    for words in ran:
        with pytest.raises(SystemExit) as ended:
            main(words[1:])
        assert not ended.value.code, capsys.readouterr().err
    said = capsys.readouterr().out
    assert "channels" in said
    assert "module:mine.py:load" in said
    assert Path("leaderboard.html").is_file()
    given = {"scores": lambda images: np.ones((len(images), 2)), "body": np.stack, "prepare": list}
    exec(embed, given)
    picture = np.zeros((4, 5, 3), np.uint8)
    assert from_function(given["scores"]).features([picture]).shape == (1, 60)
    given = {"detect": lambda image: ([[0, 0, 2, 2]], [0.5], [2])}
    exec(finds, given)
    assert from_function(given["find"])([picture], ["dog"])[0].texts.tolist() == [0]
