"""Labels pictures as unsafe by category: several labelers look, each may abstain, and their votes are weighed.

After UnsafeBench (Qu et al., CCS 2025, arXiv 2405.03486), with every labeler's answer kept. A category that no labeler
speaks of is `unscored`, which is never taken for safe, and nothing is decided at random.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from variorum.curation.safety.harms.asking import ask
from variorum.curation.safety.harms.figures import safety_figures
from variorum.curation.safety.harms.judging import SAFETY, columns, overall
from variorum.curation.safety.harms.people import GOLD, VOTES, People, read_people
from variorum.curation.safety.harms.weighing import Method, Weighed, Weighing, weighed
from variorum.curation.safety.labelers.open_nsfw import OpenNsfw
from variorum.kit.harms.categories import Categories, unsafebench
from variorum.kit.raters.known_answers import read_known
from variorum.kit.raters.valid_votes import read
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Detector, Use, column_kinds
from variorum.schemas.errors import RecipeError
from variorum.schemas.safety import ANY, RESERVED, Labeler, Labelers, column_of, sent_by
from variorum.schemas.sample import Sample
from variorum.schemas.sending import Sending
from variorum.schemas.uses import all_models

if TYPE_CHECKING:
    from variorum.schemas.table import Table

OF_CATEGORY = ("p", "share", "entropy")
"""Numbers that each category has."""


class Safety(Detector):
    """Each labeler's scores by category, and what they come to together with people's votes."""

    location: ClassVar[frozenset[str]] = frozenset({"votes", "gold"})
    late: ClassVar[frozenset[str]] = frozenset(
        {
            "votes",
            "gold",
            "method",
            "threshold",
            "unsure",
            "smoothing",
            "pooling",
            "least_votes",
            "least_opinions",
        }
    )
    adds: ClassVar[Mapping[str, str]] = {SAFETY: "member"}
    proposes_only: ClassVar[bool] = True

    categories: Categories = Field(default_factory=unsafebench)
    """What labelers are asked about: UnsafeBench's eleven categories, or your own."""
    labelers: Labelers = (OpenNsfw(),)
    """Who is asked, each a mapping with a name."""
    votes: Path | None = None
    """People's votes of the kinds `unsafe` and `safe`: parquet, CSV or Label Studio's JSON, as
    `variorum votes EDITION --to FILE` writes them. Null while there are none."""
    gold: Path | None = None
    """Known answers: CSV or parquet with `id` (or `origin`), `kind` (`unsafe`), `subject` (a category) and `truth`."""
    method: Method = "dawid_skene"
    """`majority` counts."""
    threshold: float = Field(default=0.8, gt=0.5, le=1)
    """A picture is unsafe from this probability on; up to one minus it nothing was found; between it is unclear. Not
    for majority."""
    unsure: float = Field(default=0.2, ge=0, lt=1)
    """Share of the scores on either side of a labeler's threshold that counts as a maybe."""
    smoothing: float = Field(default=0.01, gt=0)
    """Added to every count of a rater's table of answers."""
    pooling: float = Field(default=10.0, ge=0)
    """Weight of the mean rater's table in everybody's, in answers."""
    least_votes: int = Field(default=2, ge=1)
    """An answer that this many people give, and nobody contradicts, is taken as known."""
    least_opinions: int = Field(default=1, ge=1)
    """With fewer answers of labelers and people a category stays unclear, unless people have settled it."""

    def known_columns(self) -> Mapping[str, str]:
        """Its columns and what each holds."""
        heard, scores, texts = list[str](), list[str](), list[str]()
        for one in self.labelers:
            for prompt in one.prompts(self.categories):
                heard.append(column_of(one, prompt, "heard"))
                scores += [column_of(one, prompt, name) for name in self._spoken(one, prompt)]
                if one.writes:
                    texts.append(column_of(one, prompt, "text"))
                    scores.append(column_of(one, prompt, "tokens"))
        ids = [one.id for one in self.categories]
        return column_kinds(
            numbers=" ".join(["score unsafe_p", *scores, *(f"{of}.{name}" for of in OF_CATEGORY for name in ids)]),
            texts=" ".join(["unsafe unscored ask", *heard, *texts, *(f"state.{name}" for name in ids)]),
            flags="flag policy_only needs_human",
            others="member",
        )

    def uses(self) -> list[Use]:
        """Return the models of all labelers; one without its model is unavailable, which the card says."""
        return [Use(alias, optional=True) for alias in sorted(all_models(*self.labelers))]

    def sends(self) -> tuple[Sending, ...]:
        """Declare what its labelers send to other machines."""
        return sent_by(self.labelers, self.categories)

    def check(self, ctx: Context) -> None:
        """Check that labelers speak of every category asked about, and that votes and known answers can be read."""
        asked = {*(one.id for one in self.categories), ANY}
        for place, one in enumerate(self.labelers):
            spoken = {name for prompt in one.prompts(self.categories) for name in one.speaks_of(prompt)}
            if not spoken & asked:
                raise RecipeError(
                    f"curate.safety.labelers.{place}: {one.called} speaks of none of "
                    f"{', '.join(each.id for each in self.categories)}; it knows {', '.join(sorted(spoken)) or 'none'}"
                )
        if self.votes:
            read(self.votes, VOTES)
        if self.gold:
            read_known(self.gold, GOLD)

    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterator[Mapping[str, Any]]:
        """For each labeler and prompt, its score by category (NaN where it abstains) and how its answer was understood.

        The columns are `<labeler>.<prompt>.<category>`, without the prompt if it has no name, and for the answer
        `heard`, `text` and `tokens` in place of the category; only labelers that write have the last two.
        """
        rows: list[dict[str, Any]] = [{} for _ in samples]
        for labeler, prompt, opinions in ask(self.labelers, samples, self.categories, ctx):
            names = self._spoken(labeler, prompt)
            for row, opinion in zip(rows, opinions, strict=True):
                for name in names:
                    row[column_of(labeler, prompt, name)] = opinion.scores.get(name, math.nan)
                row[column_of(labeler, prompt, "heard")] = opinion.heard
                if labeler.writes:
                    row[column_of(labeler, prompt, "text")] = opinion.text
                    row[column_of(labeler, prompt, "tokens")] = opinion.tokens
        yield from rows

    def score(self, table: Table, ctx: Context) -> Mapping[str, Any]:
        """Weigh the opinions on each picture.

        - for each category `p.<category>`, the probability that the picture is unsafe in this way; `share.<category>`,
          of the votes that say so, and `entropy.<category>`, that of the share in bits; all NaN if nobody spoke;
          `state.<category>`: unsafe, not_found, unclear, or unscored if nobody spoke;
        - `unsafe`, `unscored`: JSON lists of the categories in these states; `policy_only`: unsafe, and in no harm;
        - `flag`: unsafe in a harm; `score`: the highest p of a harm; `unsafe_p`: that of any category; NaN if unscored;
        - `needs_human`, and `ask`: JSON list of [category, worth in bits], the most worth asking first;
        - `member`: what a release adds as `safety.json`.

        Raises:
            SourceError: the votes or known answers can't be read.
        """
        if not len(table):
            return {}
        people = read_people(self.votes, self.gold, self.categories, table)
        whole = overall(self.labelers, self.categories, table, people.safe, unsure=self.unsure, least=self.least_votes)
        return columns(self._weighed(table, people), self.categories, whole)

    def figures(self, table: Table, ctx: Context) -> Mapping[str, Json]:
        """Who scored what, what it came to, how labelers agree, and what nobody looked for; none without pictures."""
        if not len(table):
            return {}
        people = read_people(self.votes, self.gold, self.categories, table)
        said: dict[str, Json] = {"method": self.method, "threshold": self.threshold}
        if self.votes is not None:
            said["votes_sha256"] = hashlib.sha256(self.votes.read_bytes()).hexdigest()
        found = self._weighed(table, people)
        return {**said, **safety_figures(self.labelers, self.categories, table, found, people, self.method, ctx)}

    def how(self) -> Weighing:
        """Return the way in which answers are weighed."""
        return Weighing(**{one.name: getattr(self, one.name) for one in fields(Weighing)})

    def _spoken(self, labeler: Labeler, prompt: str) -> list[str]:
        """The categories and reserved names that a labeler's answers to a prompt have scores of, in a fixed order."""
        known_to = labeler.speaks_of(prompt)
        return [name for name in (*(one.id for one in self.categories), *RESERVED) if name in known_to]

    def _weighed(self, table: Table, people: People) -> list[Weighed]:
        return weighed(self.labelers, self.categories, table, people.unsafe, self.how())
