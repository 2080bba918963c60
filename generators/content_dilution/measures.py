"""Measure how a text that was added relates to the original one."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from variorum.generators.content_dilution.words import contains, words

ORDERS = 4
"""Longest run of words that BLEU compares."""


def keyword_recall(added: str, keywords: Sequence[str]) -> float | None:
    """Share of the keywords that are in the text that was added; None without keywords."""
    found = words(added)
    return sum(contains(found, words(one)) for one in keywords) / len(keywords) if keywords else None


def share_new(added: str, original: str) -> float:
    """Share of the added words that aren't in the original text; 1 for a text without words, such as an address."""
    before, now = set(words(original)), words(added)
    return sum(word not in before for word in now) / len(now) if now else 1.0


def bleu(candidate: str, reference: str) -> float:
    """BLEU of one text against another, over runs of up to four words (Papineni et al., ACL 2002), in [0, 1].

    Counts of runs of two and more words are raised by 1, as is usual for single sentences (Lin and Och, ACL 2004). Runs
    longer than the candidate are left out.
    """
    mine, other = words(candidate), words(reference)
    if not mine or not other:
        return 0.0
    logarithms = []
    for order in range(1, min(ORDERS, len(mine)) + 1):
        counts, known = (
            Counter(tuple(text[place : place + order]) for place in range(len(text) - order + 1))
            for text in (mine, other)
        )
        smooth = int(order > 1)
        hits, total = sum((counts & known).values()) + smooth, sum(counts.values()) + smooth
        if not hits:
            return 0.0
        logarithms.append(math.log(hits / total))
    brevity = min(1.0, math.exp(1 - len(other) / len(mine)))
    return brevity * math.exp(sum(logarithms) / len(logarithms))
