"""Ask a vision-language model for a text to add, and read its answer."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from variorum.kit.prompts.subjects import listed
from variorum.schemas.errors import RecipeError
from variorum.schemas.lookup import cut

NUMBERS = ("one short sentence", "two short sentences", "three short sentences")
TOKENS = 2
"""A word, at most, for the length of an answer; English takes fewer."""
QUOTES = "\"'\u201c\u201d\u2018\u2019 "


def question(text: str, keywords: Sequence[str], sentences: int, max_words: int) -> str:
    """Return the question that the model is asked, beside the picture."""
    return (
        f"Somebody wrote about this picture: {text}\n"
        f"Write {NUMBERS[sentences - 1]} that could follow, on the same topic, with the words {listed(keywords)}. "
        f"Don't repeat what was written and don't contradict it. Use at most {max_words} words. "
        "Answer with the new text alone."
    )


def answered(answer: str, max_words: int) -> str:
    """The first words of an answer, in one line and without quotation marks around it; `""` for none."""
    return " ".join(answer.strip(QUOTES).split()[:max_words])


def writing(alias: str, model: Any) -> Any:
    """The model. Raises RecipeError unless it answers questions about pictures, with a limit on the answer."""
    try:
        known = "most_tokens" in inspect.signature(model).parameters
    except (TypeError, ValueError):
        known = False
    if not known:
        raise RecipeError(
            f"content_dilution: the writer {cut(repr(alias))} isn't a vision-language model; name one, such as vlm in "
            "profile hub, or null"
        )
    return model
