"""Build PerspectiveVision's training set: conversations that teach a vision-language model to check given categories.

    python -m training.perspective_vision --folder UnsafeBench --seed 2405 --out conversations.jsonl

After Qu et al., UnsafeBench (CCS 2025, arXiv 2405.03486). Which categories are listed, how many and in which order is
drawn for each conversation, so the model learns to read the list. Each unsafe picture also comes with a list that lacks
its category, and the answer is then "Safe". All lists have definitions, those of negative copies too: lists that differ
in form would give the answer away. Every draw is seeded, which in the authors' code only the last shuffle is.

The result names files and holds no picture. A `.jsonl` file has a conversation per line, a `.json` file a list, which
is what LLaVA's training reads.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from variorum.machine.cache import cache_dir
from variorum.machine.memo import DiskMemo
from variorum.models import ModelTable
from variorum.schemas.canonical import derive_seed
from variorum.schemas.component import Context, Source
from variorum.schemas.errors import SourceError, VariorumError
from variorum.schemas.safety import Category
from variorum.schemas.sample import Sample
from variorum.sources.edition import Edition
from variorum.sources.unsafebench import Unsafebench

QUESTION = """Is the picture unsafe according to one of the categories that are listed here? No other category counts.

<BEGIN UNSAFE CATEGORIES>
{listed}
<END UNSAFE CATEGORIES>

Answer in this form:
- if the picture is safe: "Safety Status: Safe, Unsafe Category: None"
- if it is unsafe: "Safety Status: Unsafe, Unsafe Category: X", where X is the name of the category"""
SAFE = "Safety Status: Safe, Unsafe Category: None"
UNSAFE = "Safety Status: Unsafe, Unsafe Category: {name}"


class Judged(NamedTuple):
    """A picture that people judged in one category.

    Attributes:
        id: unique.
        image: path of the file below the folder of pictures, or an id.
        category: id.
        unsafe: what they said.
    """

    id: str
    image: str
    category: str
    unsafe: bool


class Conversation(NamedTuple):
    """One question with its answer.

    Attributes:
        id: of the picture, with what was done: `#negative`, `#again3`.
        image: as in `Judged`.
        listed: ids of the categories in the question, in their order.
        question: with LLaVA's mark for the picture.
        answer: in the form that the question asks for.
    """

    id: str
    image: str
    listed: tuple[str, ...]
    question: str
    answer: str

    def record(self) -> dict[str, object]:
        """In LLaVA's form."""
        turns = [{"from": "human", "value": self.question}, {"from": "gpt", "value": self.answer}]
        return {"id": self.id, "image": self.image, "conversations": turns}


def conversation(
    judged: Judged, categories: Sequence[Category], seed: int, *, purpose: str = "", negative: bool = False
) -> Conversation:
    """A question about a picture, with its answer.

    Args:
        judged: the picture.
        categories: all that there are, two at least.
        seed: of the training set.
        purpose: what tells this conversation from others about the picture.
        negative: whether to leave the picture's own category out, so that the answer is "Safe".

    Raises:
        SourceError: the picture's category isn't among them.
    """
    known = {one.id: one for one in categories}
    if judged.category not in known:
        raise SourceError(
            f"perspective_vision: {judged.id} has the category {judged.category!r}; there are: {', '.join(known)}"
        )
    rng = np.random.default_rng(derive_seed(seed, "perspective_vision", judged.id, purpose, int(negative)))
    others = [name for name in known if name != judged.category]
    number = int(rng.integers(1, len(others) + 1))
    listed = [others[place] for place in rng.permutation(len(others))[:number]]
    if not negative:
        listed.insert(int(rng.integers(0, number + 1)), judged.category)
    lines = [f"{known[name].name}: the picture shows {known[name].definition}" for name in listed]
    unsafe = judged.unsafe and not negative
    suffix = f"#{purpose}" if purpose else ""
    return Conversation(
        f"{judged.id}{suffix}",
        judged.image,
        tuple(listed),
        f"<image>\n{QUESTION.format(listed=chr(10).join(lines))}",
        UNSAFE.format(name=known[judged.category].name) if unsafe else SAFE,
    )


def training_set(judged: Sequence[Judged], categories: Sequence[Category], seed: int) -> list[Conversation]:
    """All conversations, shuffled: one per picture, a negative one per unsafe picture, and unsafe ones again.

    Unsafe pictures are drawn again, with replacement and each time with another list, until as many answers are
    "Unsafe" as are "Safe". What is drawn for a picture depends on nothing but the seed and its id.

    Raises:
        SourceError: no picture is unsafe, or there are fewer than two categories.
    """
    unsafe = [one for one in judged if one.unsafe]
    if not unsafe or len(categories) < 2:
        raise SourceError("perspective_vision: it takes an unsafe picture, and two categories to draw lists from")
    found = [conversation(one, categories, seed) for one in judged]
    found += [conversation(one, categories, seed, purpose="negative", negative=True) for one in unsafe]
    rng = np.random.default_rng(derive_seed(seed, "perspective_vision", "again"))
    times: dict[str, int] = {}
    for _ in range(len(found) - 2 * len(unsafe)):  # "Safe" answers beyond the "Unsafe" ones
        one = unsafe[int(rng.integers(len(unsafe)))]
        times[one.id] = times.get(one.id, 0) + 1
        found.append(conversation(one, categories, seed, purpose=f"again{times[one.id]}"))
    return [found[place] for place in rng.permutation(len(found))]


def judged_of(samples: Iterable[Sample]) -> Iterator[Judged]:
    """The judged pictures among samples, without those of the splits `validation` and `test`."""
    for sample in samples:
        if sample.split in ("validation", "test") or sample.reason:
            continue
        for state in sample.annotations.labels:
            if state.state in ("correct", "wrong"):
                image = sample.origin.partition("#")[0] or sample.id
                yield Judged(f"{sample.id}/{state.label}", image, state.label, state.state == "correct")


def write(conversations: Iterable[Conversation], file: Path) -> None:
    """Write a `.json` file with a list, or any other with a record per line."""
    records = [one.record() for one in conversations]
    lines = [json.dumps(record, ensure_ascii=False) for record in records]
    file.write_text(
        json.dumps(records, ensure_ascii=False, indent=1)
        if file.suffix == ".json"
        else "".join(f"{one}\n" for one in lines),
        "utf-8",
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = parser.add_mutually_exclusive_group(required=True)
    data.add_argument("--folder", type=Path, help="judged pictures, as the source unsafebench reads them")
    data.add_argument("--edition", help="name@version of an edition with judged pictures")
    parser.add_argument("--store", default="store", help="of the edition")
    parser.add_argument("--seed", type=int, default=2405)
    parser.add_argument("--out", type=Path, required=True, help="a .jsonl or .json file")
    given = parser.parse_args(arguments)
    known = Unsafebench(path=given.folder)
    source: Source = known if given.folder else Edition(edition=given.edition, store=given.store)
    ctx = Context(given.seed, ModelTable("embedded"), DiskMemo(cache_dir() / "memo"))
    try:
        source.pin(ctx)
        judged = list(judged_of(source.outline(0, source.size(ctx), ctx)))
        found = training_set(judged, known.categories, given.seed)
        write(found, given.out)
    except VariorumError as wrong:
        raise SystemExit(str(wrong)) from None
    print(f"{len(found)} conversations about {len(judged)} pictures in {given.out}")


if __name__ == "__main__":
    main()
