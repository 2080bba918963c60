"""Count what was proved of the regions around pictures, beside what an attack finds inside the same regions.

An attack that finds nothing proves nothing, and a region that is certified safe has nothing to find. So where PGD
(Madry et al., ICLR 2018, arXiv 1706.06083) fools the network inside such a region, the certificate is wrong.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from pydantic import Field, TypeAdapter

from variorum.generators.verification.safety_verification import (
    Certificate,
    Verdict,
    moved,
    values_of,
    wrong_about,
)
from variorum.kit.attacks import ascent, budget
from variorum.kit.attacks.opponents import Aim, Opponent, opponent, victims_of, with_outputs
from variorum.kit.predicted.answers import last_of, number_in
from variorum.kit.predicted.drops import Results
from variorum.kit.predicted.fields import Resampled
from variorum.models.device import float32, one_thread
from variorum.models.filters import contents_of
from variorum.schemas.canonical import Json
from variorum.schemas.component import Context, Row, Use
from variorum.schemas.errors import ModelFailed, RecipeError
from variorum.schemas.lookup import cut
from variorum.schemas.sample import Sample
from variorum.schemas.table import Table

if TYPE_CHECKING:
    from variorum.arrays import Bools, Pixels

LISTED = TypeAdapter(tuple[Certificate, ...])


class Certified(Resampled):
    """Shares of pictures whose regions are safe, unsafe or undecided, with bootstrap intervals over photographs.

    It reads editions of the generator `safety_verification`, and says nothing of other networks than the verified one.
    """

    adversary: str = "judge_adversary"
    """The network that was verified."""
    steps: int = Field(default=20, ge=1, le=1000)
    """Of PGD, and how many pictures of the region are drawn at random as its control."""

    def uses(self) -> list[Use]:
        """Return the network, which decided the verdicts and isn't compared with others."""
        return [Use(self.adversary, "adversary", describes=True)]

    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterator[Row]:
        """A row for each certificate, and one for each counterexample and control.

        `verdict` is `""` in the latter, `wrong` says whether the network is wrong about the stored picture, `l1` is the
        sum of the changes of its values in grey levels. Of a certificate `pgd` and `random` say whether those found a
        counterexample inside the region; `wrong` is False.

        Raises:
            RecipeError: a certificate isn't one, or is of another network.
            ModelFailed: there is a counterexample in a region that is certified safe.
        """
        for sample in samples:
            last, found = last_of(sample), certificates(sample)
            if not (found or last.requested.get("attack") in ("search", "control")):
                continue
            image: Any = sample.image
            model = opponent(self.adversary, ctx, f"{self.component_name()}.adversary", gradients=True)
            model = with_outputs(model, image, ctx)
            right = model.outputs(sample.labels)
            like = str(last.requested.get("like", sample.variant))
            row = {"photograph": sample.photograph, "region": like.removeprefix("wrong_"), "verdict": "", "pgd": False,
                   "random": False, "control": sample.variant != like, "wrong": False, "l1": 0.0}  # fmt: skip
            for one in found:
                if not contents_of(one.model) & contents_of(model.pin):
                    raise RecipeError(
                        f"{self.component_name()}.adversary: the certificates of picture {sample.id} are of "
                        f"{cut(repr(one.model))}, not of {cut(repr(self.adversary))}; name the network that was "
                        "verified"
                    )
                seed = ctx.seed_for(self.component_name(), sample.id, one.name)
                tried = [self._attacked(image, one, model, right, seed), *self._drawn(image, one, seed)]
                wrong = wrong_about(tried, model, right)
                by = {"pgd": bool(wrong[0]), "random": bool(wrong[1:].any())}
                if one.verdict == "safe" and any(by.values()):
                    raise ModelFailed(
                        f"{self.component_name()}: picture {sample.id} is certified safe in {one.name}, and "
                        f"{'pgd' if by['pgd'] else 'random'} finds a picture there about which "
                        f"{cut(repr(self.adversary))} is wrong; make the edition again on this machine, and report it "
                        "if this comes again"
                    )
                yield {**row, "region": one.name, "verdict": one.verdict, **by}
            if not found:
                fools = bool(wrong_about([image], model, right)[0])
                yield {**row, "wrong": fools, "l1": number_in(last.achieved.get("l1"))}

    def _attacked(self, image: Pixels, one: Certificate, model: Opponent, right: Bools, seed: int) -> Pixels:
        """What PGD makes of a picture inside a region."""
        import torch

        picture = torch.from_numpy(image.transpose(2, 0, 1)[None].astype(np.float32))
        where = torch.zeros(image.shape[:2], dtype=torch.bool)
        where[tuple(np.array(one.pixels, np.int64).reshape(-1, 2).T)] = True
        grey, draws = torch.tensor([budget.is_grey(image)]), [torch.Generator().manual_seed(seed)]
        far = one.levels * where
        low, high = (picture - far).clamp_min(0), (picture + far).clamp_max(255)
        slope = ascent.Slope(victims_of([model], [[Aim(right)]]), "ce", grey)
        with one_thread(), float32():
            start = ascent.random_start(picture, one.levels, draws, where, grey)
            end = ascent.climb(start, low, high, slope, steps=self.steps, step=max(1.0, one.levels / 4))
        return budget.inside(image, end[0].numpy().transpose(1, 2, 0), one.levels)

    def _drawn(self, image: Pixels, one: Certificate, seed: int) -> list[Pixels]:
        """Random pictures of a region, as many as PGD takes steps."""
        places = np.array(one.pixels, np.int64).reshape(-1, 2)
        values = values_of(image, places).ravel()
        drawn = np.random.default_rng(seed).integers(-one.levels, one.levels + 1, (self.steps, len(values)))
        return list(moved(image, places, np.clip(values + drawn, 0, 255) - values))

    def figures(self, table: Table, ctx: Context) -> dict[str, Json]:
        """By region: `n` pictures, the share of each verdict, of `pgd` and of `random`, in percent.

        `beyond` is how many more have a counterexample than PGD finds. Of the counterexamples there are the `number`,
        the median `l1`, and how many are `confirmed`, wrong as stored; of the `controls` those that `fool`.
        """
        if not len(table):
            return {"confidence": self.confidence, "regions": {}}
        photographs, source = np.unique(table["photograph"].astype(str), return_inverse=True)
        results = Results(self.resamples(len(photographs), ctx))
        verdict, region = table["verdict"].astype(str), table["region"].astype(str)
        control, wrong = table["control"].astype(bool), table["wrong"].astype(bool)
        pgd, judged, far = table["pgd"].astype(bool), verdict != "", np.asarray(table["l1"], np.float64)
        sure = np.isfinite(far)

        def share(hits: Any, among: Any, signed: bool = False) -> dict[str, Json]:
            top, bottom = (np.asarray(np.bincount(source, one), np.float64)[:, None] for one in (among * hits, among))
            return results.told(top, bottom, signed)

        found: dict[str, Json] = {}
        for name in dict.fromkeys(region[judged].tolist()):
            mine = judged & (region == name)
            own, noise = (~judged & (region == name) & (control == kind) for kind in (False, True))
            found[name] = {
                "n": int(mine.sum()),
                **{kind: share(verdict == kind, mine) for kind in get_args(Verdict)},
                "pgd": share(pgd, mine),
                "random": share(table["random"].astype(bool), mine),
                "beyond": share((verdict == "unsafe").astype(float) - pgd, mine, True),
                "number": int(own.sum()),
                "confirmed": int(wrong[own].sum()),
                "l1": float(np.median(far[own & sure])) if (own & sure).any() else None,
                "controls": int(noise.sum()),
                "fool": int(wrong[noise].sum()),
            }
        results.fill()
        return {"confidence": self.confidence, "regions": found}


def certificates(sample: Sample) -> list[Certificate]:
    """The certificates in a picture's record; none in those of other generators.

    Raises:
        RecipeError: one isn't as `safety_verification` writes them, or is of other pixels than the picture has.
    """
    given = last_of(sample).achieved.get("certificates")
    if given is None:
        return []
    sides = np.shape(sample.image)[:2]
    try:
        found = LISTED.validate_json(json.dumps(given))
        places = [place for one in found for place in one.pixels]
        if any(not 0 <= number < side for place in places for number, side in zip(place, sides, strict=True)):
            raise ValueError(f"a pixel is outside of a picture of {sides}")
    except ValueError as error:
        why = cut(" ".join(str(error).split()))
        raise RecipeError(f"certified: the record of picture {sample.id} has no valid certificates: {why}") from None
    return list(found)
