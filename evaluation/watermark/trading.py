"""Compute the quality that an attack costs until a mark is lost: Q at 95 % and 70 % of the performance, and their mean.

Performance P and loss of quality Q make a curve over the strengths of an attack (WAVES, An et al., ICML 2024, arXiv
2401.08573). An attack is strong if P falls at a small Q.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from variorum.schemas.canonical import Json

LEVELS = {"q_at_95": 0.95, "q_at_70": 0.7}
NEVER = "never"
AT_MOST = "at most"
BETWEEN = "between"


def quality_at(curve: Sequence[tuple[float, float]], level: float, clean: float) -> dict[str, Json]:
    """The loss of quality at which performance falls to a share `level` of what it is without an attack.

    Args:
        curve: (Q, P) by rising strength.
        level: in (0, 1).
        clean: P without an attack.

    Returns:
        `value` and `how`: `between` two strengths, on the straight line that joins them; `at most`, if the weakest
        strength is enough; `never`, with None, if none is.
    """
    limit = level * clean
    for number, (loss, found) in enumerate(curve):
        if found > limit:
            continue
        if number == 0:
            return {"value": round(loss, 4), "how": AT_MOST}
        before, higher = curve[number - 1]
        share = (higher - limit) / (higher - found)
        return {"value": round(before + share * (loss - before), 4), "how": BETWEEN}
    return {"value": None, "how": NEVER}


def ranked(attacks: dict[str, dict[str, Any]]) -> list[str]:
    """Names of attacks, the strongest first: by Q at 95 %, then Q at 70 %, then by mean P.

    Those that never bring P down come last.
    """

    def place(name: str) -> tuple[float, ...]:
        found = attacks[name]
        ends = [found[level]["value"] for level in LEVELS]
        return *(float("inf") if end is None else float(end) for end in ends), float(found["mean_p"])

    return sorted(attacks, key=lambda name: (place(name), name))
