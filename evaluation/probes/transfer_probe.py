"""Measure what frozen embeddings carry over to an edition's classes: a linear probe, retrieval, and novel classes.

The linear probe is that of off-the-shelf features (Razavian et al., CVPR Workshops 2014, arXiv 1403.6382). Everything
is measured of the pictures' pixels too, in the same way: an encoder is worth what it gains over them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, ClassVar

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
from variorum.models.imagenet_classes import index_of
from variorum.schemas.canonical import Json, derive_seed
from variorum.schemas.component import Context, Row, Source, Use
from variorum.schemas.errors import RecipeError
from variorum.schemas.fields import each_once
from variorum.schemas.lookup import NestedSource, cut
from variorum.schemas.rows import Answers, Figure, Shown
from variorum.schemas.sample import Sample
from variorum.schemas.table import Table

if TYPE_CHECKING:
    from variorum.arrays import Array, Bools, Floats, Ints, Singles

SIDE = 28
"""Of the grey pictures whose pixels are the floor."""
PIXELS = "pixels"
FOLDS = 5
PROBES = ("linear", "precision", "first")
FEW = f"fewer than two classes have {FOLDS} photographs"


class TransferProbe(Resampled):
    """Accuracy of a linear probe, mean average precision and nearest picture by variant, and of classes never seen.

    Probes learn from originals, and from no picture of a photograph that they are asked about.

    Attributes:
        encoders: aliases or names of models with embeddings, which are scaled to length 1.
        novel: ids of classes that the nearest mean of a few pictures is to recognise; none by default.
        shots: numbers of these pictures.
    """

    late: ClassVar[frozenset[str]] = frozenset({"train", "shots", "draws", "power", "bootstrap", "confidence"})
    offers: ClassVar[Mapping[str, Figure]] = {
        "linear": Figure("accuracy of a linear probe", needs=("embedding",)),
        "precision": Figure("mean average precision of retrieval", needs=("embedding",)),
        "first": Figure("nearest picture is of its class", needs=("embedding",)),
    }

    encoders: tuple[str, ...] = Field(default=("encoder",), min_length=1)
    train: NestedSource | None = None
    """Pictures to learn from, and to retrieve; null for those of the edition, in five folds by photograph."""
    novel: tuple[str, ...] = ()
    shots: tuple[Annotated[int, Field(ge=1)], ...] = (1, 5, 20)
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
            RecipeError: an encoder gives no embedding or was trained on a novel class; or `novel` has one class, or
                one that the edition doesn't have.
        """
        known = {one.id for one in ctx.classes}
        if odd := [name for name in self.novel if name not in known]:
            there = ", ".join(sorted(known)[:5])
            raise RecipeError(f"transfer_probe.novel: {cut(repr(odd[0]))} is no class of the edition, such as {there}")
        if self.novel and (len(self.novel) < 2 or len(known) < len(self.novel) + 2):
            raise RecipeError("transfer_probe.novel: name two classes or more, and leave two others")
        if (taught := self._taught(ctx)) and not self.seen:
            alias, names = next(iter(taught.items()))
            raise RecipeError(
                f"transfer_probe.novel: {cut(repr(alias))} was trained on {', '.join(names)}; name other classes or "
                "another encoder, or give `seen: true`, which the figures say"
            )
        images = [sample.image for sample in samples]
        found = [embeddings(alias, ctx.models.get(alias), images) for alias in self.encoders]
        for place, sample in enumerate(samples):
            image = sample.image
            assert not isinstance(image, bytes)
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

    def _taught(self, ctx: Context) -> dict[str, list[str]]:
        """By encoder, the novel classes that it was trained on, as far as that is known."""
        names = {one.id: one.name for one in ctx.classes}
        found: dict[str, list[str]] = {}
        for alias in self.encoders if self.novel else ():
            classes, data = ctx.models.trained_on(alias)
            own = {text.casefold() for text in classes}
            both = {one: {one.casefold(), names.get(one, one).casefold()} for one in self.novel}
            imagenet = "imagenet" in data.casefold()
            taught = [
                one
                for one, texts in both.items()
                if texts & own or (imagenet and any(index_of(text) is not None for text in texts))
            ]
            if taught:
                found[alias] = taught
        return found

    def figures(self, table: Table, ctx: Context) -> dict[str, Json]:
        """Shares in percent with intervals over photographs, by encoder and variant; `pixels` is the floor.

        `linear` is the accuracy of the probe, `precision` the mean average precision, `first` how often the nearest
        picture has the class; `gain` has what is above `pixels`, paired. `chance` is the accuracy of the commonest
        class. `left_out` counts pictures without one label, or of classes with too few pictures to learn from, `copies`
        pictures of `train` that are in the edition. `novel` has, by encoder and shots, the accuracy on novel classes
        `among` themselves and among `all` classes; `known` is the AUROC of known against novel pictures by the score
        of the nearest known mean; `seen` the novel classes that an encoder was trained on.
        """
        common: dict[str, Json] = {"confidence": self.confidence, "power": self.power, "encoders": {}, "why_none": FEW}
        probed = self._probed(table, ctx) if len(table) else None
        if probed is None:
            return common
        results = Results(self.resamples(len(probed.ids), ctx))
        names, floor = [*self.encoders, PIXELS], probed.values(table, PIXELS, self.power)
        encoders: dict[str, Json] = {}
        for number, name in enumerate(names):
            values = floor if name == PIXELS else probed.values(table, f"embedding_{number}", self.power)
            told: dict[str, Json] = {}
            for place, variant in enumerate(probed.variants):
                mine = probed.variant == place
                of: dict[str, Json] = {"n": int(mine.sum())}
                for probe in PROBES:
                    there = mine & np.isfinite(values[probe])
                    if there.any():
                        bottom = probed.summed(there)
                        gain = probed.summed(there, values[probe] - floor[probe])
                        of[probe] = results.told(probed.summed(there, values[probe]), bottom)
                        if name != PIXELS:
                            of[f"{probe}_gain"] = results.told(gain, bottom, True)
                told[variant] = of
            encoders[name] = told
        novel = {name: self._novel(probed, name, table, results, ctx) for name in names} if self.novel else {}
        results.fill()
        return {
            **common,
            "why_none": "",
            "learnt_from": "train" if self.train else f"the other {FOLDS - 1} of {FOLDS} folds",
            "classes": len(probed.classes),
            "left_out": probed.left_out,
            "copies": probed.copies,
            "chance": percent(np.bincount(probed.y[probed.asked]).max() / len(probed.asked)),
            "encoders": encoders,
            "novel": dict(novel),
            "seen": dict(self._taught(ctx)) if self.seen else {},
        }

    def _novel(self, probed: Probed, name: str, table: Table, results: Results, ctx: Context) -> dict[str, Json]:
        """Figures of novel classes, of the originals."""
        column = PIXELS if name == PIXELS else f"embedding_{self.encoders.index(name)}"
        x, novel = prepared(table[column], self.power), [probed.classes.index(one) for one in self.novel]
        known = [number for number in range(len(probed.classes)) if number not in novel]
        first = probed.variant == 0
        is_novel = np.isin(probed.y[probed.asked], novel)
        score, by_shot = np.zeros(len(probed.asked)), {}
        for shot in self.shots:
            among, every, rng = np.zeros(len(score)), np.zeros(len(score)), ctx.rng("transfer_probe", "", f"{shot}")
            for learn, asked in probed.splits:
                rows = asked[is_novel[asked] & first[asked]]
                at = probed.asked[rows]
                found = never_seen(
                    (x[learn], probed.y[learn]), (x[at], probed.y[at]), (known, novel), shot, self.draws, rng
                )
                if found is None:
                    break
                among[rows], every[rows] = found
            else:
                there = is_novel & first
                bottom = probed.summed(there)
                by_shot[str(shot)] = {
                    "among": results.told(probed.summed(there, among), bottom),
                    "all": results.told(probed.summed(there, every), bottom),
                }
        for learn, asked in probed.splits:
            score[asked] = unlike(x[learn], probed.y[learn], known, x[probed.asked[asked]])
        sides = [np.flatnonzero(first & ~is_novel), np.flatnonzero(first & is_novel)]
        return {
            "known": self._auroc(score, sides, probed, ctx),
            "chance": percent(1 / len(novel)),
            "shots": dict(by_shot),
        }

    def _auroc(self, score: Floats, sides: Sequence[Ints], probed: Probed, ctx: Context) -> dict[str, Json]:
        """How often a known picture has the higher score than a novel one, with its interval over photographs."""
        high, low = (score[rows] for rows in sides)
        more = (high[:, None] > low) + 0.5 * (high[:, None] == low)
        units = [probed.owner[rows] for rows in sides]
        drawn = [
            np.einsum("rk,kn,rn->r", counts[:, units[0]], more, counts[:, units[1]], optimize=True)
            / np.maximum(counts[:, units[0]].sum(1) * counts[:, units[1]].sum(1), 1)
            for part in self.resamples(len(probed.ids), ctx).weights()
            for counts in [part.astype(np.float64)]
        ]
        ends = np.quantile(np.concatenate(drawn), ((1 - self.confidence) / 2, (1 + self.confidence) / 2))
        return {"value": percent(more.mean()), "low": percent(ends[0]), "high": percent(ends[1])}

    def rows(self, table: Table, ctx: Context) -> Iterator[Answers]:
        """Yield each encoder's probes by variant; the note has what pixels get."""
        probed = self._probed(table, ctx) if len(table) else None
        for number, name in enumerate(self.encoders):
            if probed is None:
                yield from (Answers(probe, name, why_not=FEW) for probe in PROBES)
                continue
            floor = probed.values(table, PIXELS, self.power)
            values = probed.values(table, f"embedding_{number}", self.power)
            for probe in PROBES:
                yield probed.answers(name, probe, values, float(np.nanmean(floor[probe])), table, ctx)

    def _probed(self, table: Table, ctx: Context) -> Probed | None:
        """Who is asked and what is learnt from; None if fewer than two classes have enough pictures."""
        apart = table["set"] == "train" if self.train else np.zeros(len(table), bool)
        rng = np.random.default_rng(derive_seed(ctx.seed, "transfer_probe"))
        return Probed.of(table, apart, self.train is not None, rng)


@dataclass(frozen=True, eq=False)
class Probed:
    """Pictures that are asked about, and what is learnt for each of them.

    Attributes:
        classes: ids of the classes that count.
        y: class of each row of the table, -1 for one that doesn't count, `[N]`.
        group: of each row; photographs and equal pictures share one, `[N]`.
        asked: rows that are asked about, `[m]`.
        variant: of each of these, index in `variants`, `[m]`.
        variants: originals first.
        owner: of each of these, index in `ids`, `[m]`.
        ids: of their photographs, sorted.
        splits: rows to learn from, and indices in `asked` of those that are asked then.
        left_out: number of pictures of the edition that aren't asked about.
        copies: number of pictures to learn from that are in the edition, and don't count.
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
    copies: int

    @classmethod
    def of(cls, table: Table, apart: Bools, given: bool, rng: np.random.Generator) -> Probed | None:
        """From a table whose rows `apart [N]` are to be learnt from, if they are `given`."""
        owners, label, variant = photographs(table), table["label"].astype(str), table["variant"].astype(str)
        group = fold_groups(np.unique(table["hash"].astype(str), return_inverse=True)[1].reshape(-1), owners.of_row)
        plain = variant == ORIGINAL if (variant[~apart] == ORIGINAL).any() else np.ones(len(table), bool)
        copied = apart & np.isin(group, group[~apart])
        learn = (apart & ~copied if given else plain) & (label != "")
        names = [
            str(name)
            for name in np.unique(label[learn])
            if len(np.unique(group[learn & (label == name)])) >= (INNER if given else FOLDS)
        ]
        if len(names) < 2:
            return None
        index = {name: number for number, name in enumerate(names)}
        y = np.array([index.get(name, -1) for name in label], np.int64)
        order = np.argsort(table["id"].astype(str), kind="stable")
        rows, asked = order[(learn & (y >= 0))[order]], order[(~apart & (y >= 0))[order]]
        if given:
            splits = [(rows, np.arange(len(asked)))]
        else:
            fold = dict(zip(group[rows].tolist(), deal(y[rows], group[rows], FOLDS, rng).tolist(), strict=True))
            of = [np.array([fold.get(one, 0) for one in group[some].tolist()]) for some in (rows, asked)]
            splits = [(rows[of[0] != one], np.flatnonzero(of[1] == one)) for one in range(FOLDS)]
        variants = sorted(set(variant[asked]), key=lambda name: (name != ORIGINAL, name))
        units, owner = np.unique(owners.of_row[asked], return_inverse=True)
        return cls(
            names,
            y,
            group,
            asked,
            np.array([variants.index(name) for name in variant[asked]], np.int64),
            variants,
            owner.reshape(-1),
            [owners.ids[unit] for unit in units],
            splits,
            int((~apart).sum()) - len(asked),
            int(copied.sum()),
        )

    def values(self, table: Table, column: str, power: bool) -> dict[str, Array]:
        """By probe what each asked picture earned, `[m]`, NaN where that isn't defined; and what was `said`."""
        x: Singles = prepared(table[column], power)
        said = np.full(len(self.asked), -1)
        for learn, asked in self.splits:
            if len(asked):
                said[asked] = linear(x[learn], self.y[learn], x[self.asked[asked]])
        gallery = np.unique(np.concatenate([learn for learn, _ in self.splits]))
        precision, first = retrieval(
            x[self.asked],
            x[gallery],
            (self.y[self.asked], self.y[gallery]),
            (self.group[self.asked], self.group[gallery]),
        )
        right = (said == self.y[self.asked]).astype(np.float64)
        return {"said": said, "linear": right, "precision": precision, "first": first}

    def summed(self, pictures: Bools, values: Array | None = None) -> Floats:
        """Number, or sum of `values [m]`, of these asked pictures by photograph, `[n, 1]`."""
        weights = None if values is None else np.where(pictures, values, 0)[pictures]
        return np.bincount(self.owner[pictures], weights, len(self.ids)).astype(np.float64)[:, None]

    def answers(
        self, model: str, probe: str, values: Mapping[str, Array], floor: float, table: Table, ctx: Context
    ) -> Answers:
        """A model's row of one probe, with a column for each variant."""
        there = np.isfinite(values[probe])
        columns = [there & (self.variant == place) for place in range(len(self.variants))]
        called = {one.id: one.name for one in ctx.classes}
        names = [called.get(one, one) for one in self.classes]
        found = Answers(
            probe,
            model,
            self.ids,
            np.hstack([self.summed(one, values[probe]) for one in columns]),
            np.hstack([self.summed(one) for one in columns]),
            tuple(self.variants),
            {"variant": tuple(self.variants)},
            floor=1 / len(self.classes),
            note=f"{len(self.classes)} classes, pixels get {100 * floor:.1f} %",
        )
        if probe != "linear":
            return found
        shown = Shown(
            table["id"][self.asked].tolist(),
            self.owner,
            self.variant,
            np.full(len(self.asked), np.nan, np.float32),
            [names[one] for one in values["said"]],
            values["linear"] > 0,
            [names[one] for one in self.y[self.asked]],
        )
        return replace(found, pictures=shown)
