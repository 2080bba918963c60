"""Say what the licences of models ask, before work with them begins."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from variorum.models import ModelTable
from variorum.models.fetching import announced
from variorum.reports.licence_facts import BLOCKING, NON_COMMERCIAL
from variorum.reports.licences import conditions
from variorum.stages.job import Job
from variorum.stages.needs import needs_of

NOT_FOR_MONEY = re.compile(r"non-?commercial|\bnc\b|research[ -]only", re.IGNORECASE)
"""In names of licences whose terms aren't known here."""


def model_terms(table: ModelTable, aliases: Iterable[str], makers: Collection[str] = ()) -> list[tuple[str, str]]:
    """What and text of the licences of models, and of each whose weights aren't for every use."""
    named = dict.fromkeys(aliases)
    licences = dict[str, list[str]]()
    for alias in named:
        licences.setdefault(table.licence(alias), []).append(alias)
    lines = [("licence", f"{licence or 'none given'}: {', '.join(of)}") for licence, of in licences.items()]
    return lines + [found for alias in named if (found := _warning(alias, table.licence(alias), alias in makers))]


def terms_of_job(job: Job) -> list[tuple[str, str]]:
    """The same of all models that a job uses, and what of them is to be downloaded.

    Optional models that are unavailable here are left out.
    """
    table = job.ctx.models
    if not isinstance(table, ModelTable):
        return []
    used, makers = _used(job, table)
    return model_terms(table, used, makers) + announced(table.downloads(used), about=True)


def warnings_of_job(job: Job) -> list[str]:
    """One line for each model of a job whose weights aren't for every use."""
    table = job.ctx.models
    if not isinstance(table, ModelTable):
        return []
    used, makers = _used(job, table)
    return [f"{what}: {text}" for what, text in model_terms(table, used, makers) if what != "licence"]


def _used(job: Job, table: ModelTable) -> tuple[list[str], frozenset[str]]:
    needs = needs_of(job.recipe, table)
    there = [alias for alias in needs.optional if not table.why_unavailable(alias)]
    return [*needs.required, *there], needs.makers


def _warning(alias: str, licence: str, makes: bool) -> tuple[str, str] | None:
    asked = conditions(licence)
    if NON_COMMERCIAL in asked or NOT_FOR_MONEY.search(licence):
        then = (
            "the pictures go out under `source.licence`, so set that now: it is part of what makes the edition"
            if makes
            else "no picture takes that on, as the model only judges"
        )
        return "non-commercial", f"{alias} ({licence}): its weights allow no commercial use; {then}"
    if asked & BLOCKING.keys():
        return "licence unclear", f"{alias} ({licence or 'none given'}): find out whether you may use its weights"
    return None
