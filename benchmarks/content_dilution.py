"""Diluted captions: CPU seconds for 1,000 texts, beside YAKE and beside the limit of 5 seconds.

The texts are sentences of this project's documentation. Ours finds the keywords, writes the sentence, joins the texts,
checks all gates and measures, for the two sources of text that need no model; the 1,000 names of ImageNet's classes
are those that may not be added. No picture is encoded. YAKE (`pip install yake`, LGPL-3.0, so it is no dependency) only
finds keywords, so it is compared with that part of ours. All on one thread.
"""

from __future__ import annotations

import json
import re
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from variorum.generators.content_dilution.content_dilution import ContentDilution
from variorum.generators.content_dilution.words import keywords
from variorum.models.imagenet_classes import class_infos
from variorum.schemas.annotations import Annotations, Text
from variorum.schemas.component import ClassInfo, Context
from variorum.schemas.sample import Sample, source_id

TEXTS = 1000
LIMIT = 5.0
"""CPU seconds."""
ROUNDS = 5
SOURCES = ("text_keywords", "random_url")
KEYWORDS = 4


class Classes:
    """A source that has ImageNet's classes and nothing else."""

    def classes(self, ctx: Context) -> tuple[ClassInfo, ...]:
        """ImageNet's 1,000."""
        return class_infos()


def sentences() -> list[str]:
    """Sentences of the documentation, in the order of its files."""
    found: list[str] = []
    for page in sorted((Path(__file__).parents[1] / "docs").rglob("*.md")):
        plain = re.sub(r"```.*?```|`[^`]*`|\||[*#\[\]]|\(http\S*\)", " ", page.read_text("utf-8"), flags=re.DOTALL)
        found += [" ".join(part.split()) for part in re.split(r"(?<=[.!?])\s", plain)]
    return [text for text in found if 6 <= len(text.split()) <= 40][:TEXTS]


def seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def samples(texts: Iterable[str]) -> Iterator[Sample]:
    picture = np.zeros((32, 32, 3), np.uint8)
    for number, text in enumerate(texts):
        yield Sample(source_id("bench", str(number)), picture, annotations=Annotations(texts=(Text(text),)))


def main() -> None:
    texts = sentences()
    context = Context(0, None, None, Classes())  # type: ignore[arg-type]
    generator = ContentDilution(sources=SOURCES, keywords=KEYWORDS)
    try:
        import yake

        peer: Any = yake.KeywordExtractor(lan="en", n=3, top=KEYWORDS)
        release = version("yake")
    except (ModuleNotFoundError, PackageNotFoundError):
        peer, release = None, "not installed"
    whole, ours, theirs = [], [], []
    list(generator.generate(samples(texts[:10]), context))  # lists and tables are read once per process
    for _ in range(ROUNDS):
        whole.append(seconds(lambda: list(generator.generate(samples(texts), context))))
        ours.append(seconds(lambda: [keywords(text, KEYWORDS) for text in texts]))
        if peer is not None:
            theirs.append(seconds(lambda: [peer.extract_keywords(text) for text in texts]))
    seconds_whole, seconds_ours = statistics.median(whole), statistics.median(ours)
    report = {
        "what": f"{len(texts)} sentences diluted from {len(SOURCES)} sources each, one thread, CPU seconds",
        "diluted_s": round(seconds_whole, 3),
        "limit_s": LIMIT,
        "of_limit": round(seconds_whole / LIMIT, 3),
        "keywords_s": round(seconds_ours, 3),
        "yake_s": round(statistics.median(theirs), 3) if theirs else None,
        "ratio_to_yake": round(statistics.median(theirs) / seconds_ours, 1) if theirs else None,
        "yake": release,
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
