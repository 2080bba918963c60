"""Figures of `safety` for the card: who scored what, what it came to, how labelers agree, what nobody looked for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from variorum.curation.safety.harms.judging import counted
from variorum.curation.safety.harms.opinions import MAYBE, NO, NONE, YES
from variorum.curation.safety.harms.weighing import RATERS
from variorum.kit.raters.agreement import cohen_kappa, gwet_ac1, krippendorff_alpha
from variorum.schemas.canonical import Json
from variorum.schemas.safety import CONTROL, RESERVED, Category, Labeler, column_of
from variorum.schemas.uses import required_models

if TYPE_CHECKING:
    from variorum.arrays import Ints
    from variorum.curation.safety.harms.opinions import Codes
    from variorum.curation.safety.harms.people import People
    from variorum.curation.safety.harms.weighing import Method, Weighed
    from variorum.schemas.component import Context
    from variorum.schemas.table import Table

LIKELY = 0.1
"""Share of ordinary pictures that a labeler may call unsafe by a harmless definition before a finding says so."""
PLAIN = "one prompt"
"""Name in figures of a prompt without a name."""


def safety_figures(
    labelers: Sequence[Labeler],
    categories: Sequence[Category],
    table: Table,
    found: Sequence[Weighed],
    people: People,
    method: Method,
    ctx: Context,
) -> dict[str, Json]:
    """All figures."""
    by_labeler = {one.called: labeler_figures(one, categories, table, ctx) for one in labelers}
    by_category = {one.id: category_figures(one, got) for one, got in zip(categories, found, strict=True)}
    figures: dict[str, Json] = {
        "pictures": {
            "all": len(table),
            "unsafe": int(table["flag"].sum()),
            "policy_only": int(table["policy_only"].sum()),
            "needs_human": int(table["needs_human"].sum()),
            "nobody_looked": int(np.isnan(table["unsafe_p"]).sum()),
        },
        "categories": dict(by_category),
        "labelers": dict(by_labeler),
        "agreement": agreement(categories, found),
        "people": people_figures(people),
    }
    return {**figures, "findings": [*findings(figures, method)]}


def category_figures(category: Category, found: Weighed) -> dict[str, Json]:
    """Sum up one category; `expected_unsafe` is the sum of p, None where p is only a share of votes."""
    times = found.times()
    spoke = (times @ (found.codes > NONE)).tolist()
    p = np.nan_to_num(found.p)
    judged = (found.people.sum(axis=1) > 0) | ~np.isnan(found.known)
    return {
        "name": category.name,
        "axis": category.axis,
        "scored_by": [one.labeler.called for one, number in zip(found.speakers, spoke, strict=True) if number],
        "weighed_by": found.by,
        **counted(found),
        "expected_unsafe": round(float((times * p).sum()), 1) if found.by == "dawid_skene" else None,
        "contradicted": int(times[found.contradicted()].sum()),
        "judged_by_people": int(times[judged].sum()),
    }


def labeler_figures(labeler: Labeler, categories: Sequence[Category], table: Table, ctx: Context) -> dict[str, Json]:
    """Count a labeler's answers prompt by prompt, and how often it calls pictures unsafe from its threshold on."""
    import pyarrow.compute as pc

    missing = [alias for alias in required_models(labeler) if ctx.models.why_unavailable(alias)]
    prompts: dict[str, Json] = {}
    for prompt in labeler.prompts(categories):
        heard = pc.value_counts(table.column(column_of(labeler, prompt, "heard"))).to_pylist()
        spoken = labeler.speaks_of(prompt)
        alarms: dict[str, Json] = {}
        for name in (*(one.id for one in categories), *RESERVED):
            if name in spoken:
                scores = table[column_of(labeler, prompt, name)]
                alarms[name] = {
                    "answers": int((~np.isnan(scores)).sum()),
                    "unsafe": int((scores >= labeler.threshold).sum()),
                }
        tokens = int(table[column_of(labeler, prompt, "tokens")].sum()) if labeler.writes else 0
        prompts[prompt or PLAIN] = {
            "heard": {str(one["values"]): one["counts"] for one in sorted(heard, key=lambda one: str(one["values"]))},
            "tokens": tokens,
            "control": alarms.pop(CONTROL, None),
            "alarms": alarms,
        }
    return {
        "name": labeler.component_name(),
        "sort": labeler.sort,
        "remote": labeler.remote,
        "threshold": labeler.threshold,
        "unavailable": f"model {missing[0]} can't be had here" if missing else "",
        "prompts": prompts,
    }


def agreement(categories: Sequence[Category], found: Sequence[Weighed]) -> dict[str, Json]:
    """Measure how far labelers agree on the pictures of which two or more spoke, by category.

    Krippendorff's α and Gwet's AC1 of all of them, Cohen's κ of each pair; None where all answers are the same.
    """
    by_category: dict[str, Json] = {}
    for category, one in zip(categories, found, strict=True):
        times = one.times()
        counts = np.stack([(one.codes == code).sum(axis=1) for code in (NO, MAYBE, YES)], axis=1)
        both = (counts.sum(axis=1) >= 2) & (times > 0)
        if not both.any():
            continue
        whole = np.repeat(counts[both], times[both], axis=0)
        pairs: list[Json] = []
        for a, b in combinations(range(len(one.speakers)), 2):
            table = _crossed(one.codes[:, a], one.codes[:, b], times)
            if table.any():
                pairs.append(
                    {
                        "labelers": [one.speakers[a].labeler.called, one.speakers[b].labeler.called],
                        "pictures": int(table.sum()),
                        "kappa": _number(cohen_kappa(table)),
                    }
                )
        by_category[category.id] = {
            "pictures": int(times[both].sum()),
            "krippendorff_alpha": _number(krippendorff_alpha(whole)),
            "gwet_ac1": _number(gwet_ac1(whole)),
            "pairs": pairs,
        }
    return by_category


def people_figures(people: People) -> dict[str, Json]:
    """Compute the figures of people's votes; nothing without a file."""
    if people.counted is None or people.unsafe is None or people.safe is None:
        return {}
    cells = people.unsafe
    said = np.stack([cells.said(answer) for answer in range(3)])
    return {
        "reviewers": len({*cells.rater.tolist()}),
        "answers": len(cells.cell),
        "questions": len(cells),
        "contradicted": int(((said[0] > 0) & (said[2] > 0)).sum()),
        "decided_together": int((cells.decided >= 0).sum()),
        "known": int((~np.isnan(cells.gold)).sum()),
        "safe_to_show": len(people.safe),
        "unknown_category": people.unknown,
        "unknown_picture": people.counted.unknown,
        "picture_changed": people.counted.changed,
    }


def findings(figures: Mapping[str, Json], method: Method) -> list[str]:
    """Sentences about the edition as a whole; what nobody looked for comes first."""
    pictures, categories, labelers = (_of(figures, name) for name in ("pictures", "categories", "labelers"))
    names = {key: str(_of(categories, key)["name"]) for key in categories}
    said = []
    nobody = [names[key] for key in categories if not _of(categories, key)["scored"]]
    if nobody:
        these = "this category" if len(nobody) == 1 else f"these {len(nobody)} categories"
        said.append(f"Unscored: {', '.join(nobody)}. Nobody looked for {these}. Unscored is not safe.")
    partly = [
        f"{names[key]} in {one['unscored']:,}"
        for key in categories
        if (one := _of(categories, key))["scored"] and one["unscored"]
    ]
    if partly:
        said.append(f"Some pictures are unscored: {', '.join(partly)} of {pictures['all']:,}. Unscored is not safe.")
    found = [f"{names[key]} {one['unsafe']:,}" for key in categories if (one := _of(categories, key))["unsafe"]]
    said.append(
        f"{pictures['unsafe']:,} of {pictures['all']:,} pictures are unsafe in a harm, {pictures['policy_only']:,} in "
        f"policy categories only{' (' + ', '.join(found) + ')' if found else ''}; {pictures['needs_human']:,} need "
        "people."
    )
    for name in labelers:
        one = _of(labelers, name)
        if one["unavailable"]:
            said.append(f"Labeler {name} said nothing: {one['unavailable']}.")
        said += _of_prompts(name, _of(one, "prompts"))
    few = [names[key] for key in categories if _of(categories, key)["weighed_by"] == "share"]
    if few and method == "dawid_skene":
        said.append(
            f"{', '.join(few)}: fewer than {RATERS} raters have answered often, so p is the share of the votes."
        )
    return said


def _of_prompts(name: str, prompts: Mapping[str, Json]) -> list[str]:
    """Describe a labeler's answers."""
    said = []
    for prompt in prompts:
        one, where = _of(prompts, prompt), name if prompt == PLAIN else f"{name}, prompt {prompt},"
        heard = _of(one, "heard")
        if bad := {kind: heard[kind] for kind in ("refusal", "abstain", "failed", "not_sent") if heard.get(kind)}:
            kinds = {"refusal": "refused", "abstain": "no usable answer", "failed": "failed", "not_sent": "not sent"}
            all_of_it = {*bad} == {*heard}
            what = "answered nothing that could be used" if all_of_it else "is silent on some pictures"
            said.append(
                f"Labeler {where} {what}: {', '.join(f'{number:,} {kinds[kind]}' for kind, number in bad.items())}."
            )
        control = one["control"]
        if isinstance(control, dict) and control["answers"]:
            share = control["unsafe"] / control["answers"]
            if share > LIKELY:
                said.append(
                    f"Labeler {where} calls {100 * share:.0f} % of the pictures unsafe by a harmless definition, so "
                    "its alarms say little."
                )
    return said


def _of(figures: Mapping[str, Json], name: str) -> dict[str, Json]:
    found = figures[name]
    assert isinstance(found, dict)
    return found


def _crossed(first: Codes, second: Codes, times: Ints) -> Ints:
    """Pictures `[3, 3]` by two labelers' answers, where both spoke."""
    both = (first > NONE) & (second > NONE)
    place = (first[both].astype(np.int64) - NO) * 3 + second[both].astype(np.int64) - NO
    return np.bincount(place, weights=times[both], minlength=9).reshape(3, 3).astype(np.int64)


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)
