"""Prints what pages take from the code: the README's table of datasets, and docs/reference.

`python docs/printed.py` writes both; `make docs` calls it, and a test compares them with what is committed.
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- printed from the recipes by `make docs` -->\n", "<!-- end -->"
DATASETS = (
    *("imagenet_e", "imagenet_c", "coco_o", "imagenet_g", "translation", "natural_transformation", "low_light"),
    *("cue_conflict", "few_shot", "box_noise", "content_dilution", "tileable_texture", "watermark", "ai_detection"),
    *("safety", "cnn_filters"),
)
"""In the order of the table."""
RECIPES = {"safety": "unsafebench"}
"""Datasets whose recipe has another name."""


def table() -> str:
    """The datasets: a link to each page, what it asks by its recipe's comment, and a thumbnail."""
    lines = ["|dataset|what it asks||", "|---|---|---|"]
    for name in DATASETS:
        recipe = (ROOT / "recipes" / f"{RECIPES.get(name, name)}.yaml").read_text(encoding="utf-8")
        (asks,) = re.findall(r"^# Asks: (.+)$", recipe, re.MULTILINE)
        lines.append(f"|[{name}](docs/datasets/{name}.md)|{asks}|![](docs/thumbnails/{name}.jpg)|")
    return "\n".join(lines) + "\n"


def readme() -> str:
    """The README with the table of today's recipes."""
    before, rest = (ROOT / "README.md").read_text(encoding="utf-8").split(BEGIN)
    return before + BEGIN + table() + END + rest.partition(END)[2]


if __name__ == "__main__":
    from variorum.flows.reference import write

    (ROOT / "README.md").write_text(readme(), encoding="utf-8")
    write(ROOT / "docs" / "reference")
