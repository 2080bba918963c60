"""Measure what frozen embeddings carry over to an edition's classes: a linear probe, retrieval, and novel classes.

The linear probe is that of off-the-shelf features (Razavian et al., CVPR Workshops 2014, arXiv 1403.6382). Everything
is measured of the pictures' pixels too, in the same way: an encoder is worth what it gains over them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from pydantic import Field, field_validator

from variorum.evaluation.probes.probing import INNER, linear, never_seen, prepared, retrieval, unlike
from variorum.kit.copies.grouping import fold_groups
from variorum.kit.labels.folds import deal
from variorum.kit.pictures.thumbnails import averaged, luma
from variorum.kit.predicted.drops import Results
from variorum.kit.predicted.fields import Resampled
from variorum.kit.predicted.pairing import ORIGINAL, photographs
from variorum.kit.predicted.resamples import percent
from variorum.models.gives import embeddings
from variorum.models.imagenet_classes import table as imagenet
from variorum.schemas.canonical import Json, derive_seed
from variorum.schemas.component import Context, Row, Source, Use
from variorum.schemas.errors import RecipeError
from variorum.schemas.fields import each_once
from variorum.schemas.lookup import NestedSource, cut
from variorum.schemas.rows import Answers, Figure
from variorum.schemas.sample import Sample
from variorum.schemas.table import Table
from variorum.statistics import mean_ratio

if TYPE_CHECKING:
    from variorum.arrays import Array, Floats, Ints

PIXELS, SIDE, FOLDS = "pixels", 28, 5
FEW = f"no picture is of a class to learn, or fewer than two classes have {FOLDS} photographs, or {INNER} in `train`"


class TransferProbe(Resampled):
    """Accuracy of a linear probe, mean average precision and nearest picture by variant, and of classes never seen.

    Probes learn from originals, and from no picture of a photograph that they are asked about.
    """

    late: ClassVar[frozenset[str]] = frozenset({"train", "shots", "draws", "power", "bootstrap", "confidence"})
    offers: ClassVar[Mapping[str, Figure]] = {
        "linear": Figure("accuracy of a linear probe", needs=("embedding",)),
        "precision": Figure("mean average precision of retrieval", needs=("embedding",)),
        "first": Figure("nearest picture is of its class", needs=("embedding",)),
    }

    encoders: tuple[str, ...] = Field(default=("encoder",), min_length=1)
    """Aliases or names of models with embeddings."""
    train: NestedSource | None = None
    """Pictures to learn from, and to retrieve; null for those of the edition, in five folds by photograph."""
    novel: tuple[str, ...] = ()
    """Ids of two or more classes that the nearest mean of a few pictures recognises."""
    shots: tuple[Annotated[int, Field(ge=1)], ...] = (1, 5, 20)
    """How many pictures of a novel class, each number by itself."""
    draws: int = Field(default=50, ge=1, le=1000)
    """Draws of the pictures of novel classes."""
    power: bool = False
    """Whether embeddings are replaced by their signed square roots before they are scaled."""
    seen: bool = False
    """Allows novel classes that an encoder was trained on; the figures say so."""

    _each_once = field_validator("encoders", "novel", "shots")(each_once("must be there once each", bool))

    def uses(self) -> list[Use]:
        """Return the encoders."""
        return [Use(alias, "embedding") for alias in self.encoders]

    def references(self) -> Mapping[str, Source]:
        """`train`, if it is given."""
        return {} if self.train is None else {"train": self.train}

    def measure(self, samples: Sequence[Sample], ctx: Context) -> Iterator[Row]:
        """One row per picture: `embedding_0 [d]` and so on, `pixels [784]` in grey levels, `hash` of its pixels.

        Raises:
            RecipeError: an encoder gives no embedding, or `novel` can't be.
        """
        known, why = {one.id for one in ctx.classes}, ""
        if odd := [name for name in self.novel if name not in known]:
            why = f"{cut(repr(odd[0]))} is no class of the edition, such as {', '.join(sorted(known)[:5])}"
        elif self.novel and (len(self.novel) < 2 or len(known) < len(self.novel) + 2):
            why = "name two classes or more, and leave two others"
        elif taught := [] if self.seen else self._taught(ctx):
            why = f"{taught[0]}; name other classes or another encoder, or give `seen: true`, which the figures say"
        if why:
            raise RecipeError(f"transfer_probe.novel: {why}")
        images = [sample.image for sample in samples]
        found = [embeddings(alias, ctx.models.get(alias), images) for alias in self.encoders]
        for place, sample in enumerate(samples):
            image: Any = sample.image
            yield {
                "id": sample.id,
                "parent": sample.parent,
                "photograph": sample.photograph,
                "variant": sample.variant,
                "label": sample.labels[0] if len(sample.labels) == 1 else "",
                "hash": hashlib.sha256(repr(image.shape).encode() + image.tobytes()).hexdigest(),
                PIXELS: averaged(luma(image), SIDE).reshape(-1),
                **{f"embedding_{number}": rows[place] for number, rows in enumerate(found)},
            }

    def _taught(self, ctx: Context) -> list[str]:
        """A line for each encoder that was trained on novel classes, as far as that is known."""
        names, found = {one.id: one.name for one in ctx.classes}, list[str]()
        for alias in self.encoders if self.novel else ():
            classes, data = ctx.models.trained_on(alias)
            more = imagenet() if "imagenet" in data.casefold() else ()
            own = {text.casefold() for text in (*classes, *(text for one in more for text in (one.wnid, one.name)))}
            taught = [one for one in self.novel if {one.casefold(), names.get(one, one).casefold()} & own]
            found += [f"{cut(repr(alias))} was trained on {', '.join(taught)}"] if taught else []
        return found

    def figures(self, table: Table, ctx: Context) -> dict[str, Json]:
        """Shares in percent with intervals over photographs, by encoder and variant; `pixels` is the floor.

        `linear`, `precision` (mean average) and `first` (nearest picture) are the probes. Of novel classes, `among_5`
        is the accuracy by five pictures of each among these classes, `all_5` that among all, and `known` the AUROC of
        known against novel pictures by the nearest known mean. `…_gain` is the difference to `pixels`, paired.
        Novel classes have no figures if one has too few pictures. `left_out` counts pictures without one label or of
        classes with too few to learn from, `chance` is the share of the commonest class, and `seen` says which novel
        classes an encoder was trained on.
        """
        probed = Probed.of(table, self.train is not None, ctx.seed)
        if probed is None:
            return {"encoders": {}, "why_none": FEW}
        results = Results(self.resamples(len(probed.ids), ctx))
        floor = self._earned(probed, table, PIXELS, ctx)
        encoders: dict[str, Any] = {name: {one: {} for one in probed.variants} for name in (*self.encoders, PIXELS)}
        for number, name in enumerate(encoders):
            earned = floor if name == PIXELS else self._earned(probed, table, f"embedding_{number}", ctx)
            for probe, values in earned.items():
                (top, bottom), (gain, _) = probed.shares(values), probed.shares(values - floor[probe])
                for place in np.flatnonzero(bottom.any(axis=0)).tolist():
                    told, part = encoders[name][probed.variants[place]], np.s_[:, [place]]
                    told[probe] = results.told(top[part], bottom[part])
                    if name != PIXELS:
                        told[f"{probe}_gain"] = results.told(gain[part], bottom[part], True)
        results.fill()
        for told in (told for one in encoders.values() for told in one.values() if "known" in told):
            told["known"]["high"] = min(told["known"]["high"], 100.0)  # drawn sums may go beyond
        return {
            "confidence": self.confidence,
            "classes": len(probed.classes),
            "left_out": probed.left_out,
            "chance": percent(probed.chance),
            "encoders": encoders,
            "seen": list(self._taught(ctx) if self.seen else []),
        }

    def rows(self, table: Table, ctx: Context) -> Iterator[Answers]:
        """Yield each encoder's probes by variant; the note has what pixels get."""
        probed = Probed.of(table, self.train is not None, ctx.seed)
        if probed is None:
            yield from (Answers(probe, name, why_not=FEW) for name in self.encoders for probe in self.offers)
            return
        floor = self._earned(probed, table, PIXELS, ctx)
        for number, name in enumerate(self.encoders):
            earned = self._earned(probed, table, f"embedding_{number}", ctx)
            for probe in self.offers:
                by = tuple(probed.variants)
                pixels = 100 * mean_ratio(*(part.sum(axis=0) for part in probed.shares(floor[probe])))
                note = f"{len(probed.classes)} classes, pixels get {pixels:.1f} % over {len(by)} variants"
                shares = probed.shares(earned[probe])
                yield Answers(probe, name, probed.ids, *shares, by, {"variant": by}, floor=probed.chance, note=note)

    def _earned(self, probed: Probed, table: Table, column: str, ctx: Context) -> dict[str, Floats]:
        """What each asked picture earned, `[m]`, by figure; NaN where the figure isn't about it."""
        x, y, own = prepared(table[column], self.power), probed.y, probed.y[probed.asked]
        asked, said, score = x[probed.asked], np.full(len(own), -1), np.zeros(len(own))
        novel = [probed.classes.index(one) for one in self.novel if one in probed.classes]
        known, is_novel = np.setdiff1d(np.arange(len(probed.classes)), novel).tolist(), np.isin(own, novel)
        shots = self.shots if novel and known and len(novel) == len(self.novel) else ()
        found = {name: np.full(len(own), np.nan) for shot in shots for name in (f"among_{shot}", f"all_{shot}")}
        for learn, some in probed.splits:
            if len(some):
                said[some] = linear(x[learn], y[learn], asked[some])
                score[some] = unlike(x[learn], y[learn], known, asked[some]) if shots else 0
            rows = some[is_novel[some]]
            for shot in shots:
                rng, test = ctx.rng("transfer_probe", "", f"{shot}"), (asked[rows], own[rows])
                shares = never_seen((x[learn], y[learn]), test, (known, novel), shot, self.draws, rng)
                if shares is not None:
                    found[f"among_{shot}"][rows], found[f"all_{shot}"][rows] = shares
        if shots:
            found["known"] = np.full(len(own), np.nan)
            for place in range(len(probed.variants)):
                sides = [np.flatnonzero((probed.variant == place) & side) for side in (is_novel, ~is_novel)]
                more = score[sides[1]] - score[sides[0]][:, None]
                won = (more > 0) + 0.5 * (more == 0)
                for axis, rows in enumerate(sides if won.size else ()):  # their mean varies as the AUROC does
                    apart = (won.mean(axis=1 - axis) - won.mean()) * sum(map(len, sides)) / len(rows)
                    found["known"][rows] = won.mean() + apart
        gallery = np.unique(np.concatenate([learn for learn, _ in probed.splits]))
        groups = probed.group[probed.asked], probed.group[gallery]
        precision, first = retrieval(asked, x[gallery], (own, y[gallery]), groups)
        return {"linear": (said == own).astype(np.float64), "precision": precision, "first": first, **found}


@dataclass(frozen=True, eq=False)
class Probed:
    """By row of the table `[N]` the class `y`, -1 for none, and the `group` that photographs and equal pictures share.

    By picture that is `asked` `[m]`, `variant` and `owner`, indices in `variants` and `ids`. `splits` has rows to learn
    from, and indices in `asked` of those that are asked then.
    """

    classes: list[str]
    y: Ints
    group: Ints
    asked: Ints
    variant: Ints
    variants: list[str]
    owner: Ints
    ids: list[str]
    splits: list[tuple[Ints, Ints]]
    left_out: int

    @property
    def chance(self) -> float:
        """The share of the commonest class in what is asked."""
        return float(np.bincount(self.y[self.asked]).max() / len(self.asked))

    @classmethod
    def of(cls, table: Table, given: bool, seed: int) -> Probed | None:
        """From a table, `given` whether it has pictures of `train`; None as `FEW` says."""
        if not len(table):
            return None
        apart = table["set"] == "train" if given else np.zeros(len(table), bool)
        owners, label, variant = photographs(table), table["label"].astype(str), table["variant"].astype(str)
        group = fold_groups(np.unique(table["hash"].astype(str), return_inverse=True)[1].reshape(-1), owners.of_row)
        plain = variant == ORIGINAL if (variant[~apart] == ORIGINAL).any() else np.ones(len(table), bool)
        learn = (apart & ~np.isin(group, group[~apart]) if given else plain) & (label != "")
        least = INNER if given else FOLDS
        names = [name for name in sorted(set(label[learn])) if len(set(group[learn & (label == name)])) >= least]
        if len(names) < 2 or not (np.isin(label, names) & ~apart).any():
            return None
        y = np.where(np.isin(label, names), np.searchsorted(names, label), -1)
        order = np.argsort(table["id"].astype(str), kind="stable")
        rows, asked = order[(learn & (y >= 0))[order]], order[(~apart & (y >= 0))[order]]
        if given:
            splits = [(rows, np.arange(len(asked)))]
        else:
            rng = np.random.default_rng(derive_seed(seed, "transfer_probe"))
            fold = dict(zip(group[rows].tolist(), deal(y[rows], group[rows], FOLDS, rng).tolist(), strict=True))
            of = [np.array([fold.get(one, 0) for one in group[some].tolist()]) for some in (rows, asked)]
            splits = [(rows[of[0] != one], np.flatnonzero(of[1] == one)) for one in range(FOLDS)]
        variants = sorted(set(variant[asked]), key=lambda name: (name != ORIGINAL, name))
        units, owner = np.unique(owners.of_row[asked], return_inverse=True)
        place = np.array([variants.index(name) for name in variant[asked]], np.int64)
        ids, left_out = [owners.ids[unit] for unit in units], int((~apart).sum()) - len(asked)
        return cls(names, y, group, asked, place, variants, owner.reshape(-1), ids, splits, left_out)

    def shares(self, values: Array) -> tuple[Floats, Floats]:
        """Sums and numbers of the values `[m]` that aren't NaN, by photograph and variant, `[n, V]` both."""
        there, shape = np.isfinite(values), (len(self.ids), len(self.variants))
        cell = (self.owner * shape[1] + self.variant)[there]
        top, bottom = (np.bincount(cell, part, shape[0] * shape[1]) for part in (values[there], None))
        return top.reshape(shape).astype(np.float64), bottom.reshape(shape).astype(np.float64)
