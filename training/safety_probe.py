"""Train a linear probe for unsafe pictures: one logistic regression per category over an encoder's embeddings.

    python -m training.safety_probe --folder UnsafeBench --encoder clip_embedding --profile hub --out checkpoints/probe
    python -m training.safety_probe --edition judged@1.0.0 --store store --encoder encoder --out checkpoints/probe

Pictures of the split `test` measure the result once, and all others are learned from. The same data give the same file,
to the byte on one kind of machine. docs/guides/labelers.md says how to use it as a labeler.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from variorum.edition.samples import decoded
from variorum.evaluation.safety.truths import CONTRADICTED, truth_of
from variorum.kit.harms.categories import unsafebench
from variorum.machine.cache import cache_dir
from variorum.machine.memo import DiskMemo
from variorum.machine.prefetch import batched
from variorum.models import ModelTable
from variorum.models.loaders.embedding_head import FILE, HeadHeader, encoder_id, save_head
from variorum.schemas.component import Context, Source
from variorum.schemas.errors import SourceError, VariorumError
from variorum.schemas.sample import Failure, Sample
from variorum.sources.edition import Edition
from variorum.sources.unsafebench import Unsafebench

if TYPE_CHECKING:
    from variorum.arrays import Bools, Floats, Singles

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Inverse strengths of the L2 penalty that are tried."""
HELD_OUT = 4
"""One photograph in this many chooses the penalty and calibrates; the others are fitted."""
LEAST = 5
"""Unsafe and safe pictures that a category needs among the fitted ones, and two of each among those held out."""
BATCH = 32


class Data(NamedTuple):
    """N judged pictures.

    Attributes:
        embeddings: `[N, d]`.
        truths: `[N, K]`: 1 for unsafe, 0 for safe, NaN for not judged, by category.
        categories: K ids.
        photographs: what a picture has in common with its copies.
        splits: of each picture, `""` for none.
    """

    embeddings: Singles
    truths: Floats
    categories: tuple[str, ...]
    photographs: tuple[str, ...]
    splits: tuple[str, ...]


class Result(NamedTuple):
    """The result of one category.

    Attributes:
        why: why there is no probe; `""` if there is one.
        weight: `[d]`, calibration and standardisation included.
        bias: of it.
        penalty: the inverse penalty that was chosen.
        learned: safe and unsafe pictures that it learned from, those held out among them.
        figures: on pictures that it never saw: `auroc`, `precision`, `recall`, `safe` and `unsafe`; empty without.
    """

    why: str
    weight: Floats
    bias: float = 0.0
    penalty: float = 0.0
    learned: tuple[int, int] = (0, 0)
    figures: Mapping[str, float] = {}


def read_data(source: Source, ctx: Context, encoder: str, categories: Sequence[str]) -> Data:
    """The judged pictures of a source, embedded.

    Args:
        source: its samples have `annotations.labels`, as those of `unsafebench` and of editions made from it do.
        ctx: has the encoder.
        encoder: its alias.
        categories: ids.

    Raises:
        SourceError: no picture is judged in any of the categories.
    """
    embeddings: list[Singles] = []
    truths, photographs, splits = [], [], []
    model = ctx.models.get(encoder)
    pairs = ((sample, truths_of(sample, categories)) for sample in _judged(source, ctx))
    for batch in batched(((sample, row) for sample, row in pairs if not np.isnan(row).all()), BATCH):
        embeddings.append(np.asarray(model([sample.image for sample, _ in batch]), np.float32))
        truths += [row for _, row in batch]
        photographs += [sample.photograph or sample.id for sample, _ in batch]
        splits += [sample.split for sample, _ in batch]
    if not embeddings:
        raise SourceError(f"safety_probe: no picture of {source.place()} is judged in {', '.join(categories)}")
    return Data(np.concatenate(embeddings), np.array(truths), tuple(categories), tuple(photographs), tuple(splits))


def fit(data: Data) -> dict[str, Result]:
    """A probe for each category that has enough judged pictures.

    Classes are weighted by their rarity. The penalty is the one with the least balanced log loss on held-out
    photographs, which also calibrate the logits by Platt's method, so that a score of .5 means even odds at the data's
    own rates.
    """
    from threadpoolctl import threadpool_limits

    test = np.array([split == "test" for split in data.splits])
    held = ~test & np.array([_number(name) % HELD_OUT == 0 for name in data.photographs])
    with threadpool_limits(1, user_api="blas"):  # the number of threads changes sums of floats
        return {
            name: _fitted(data.embeddings.astype(np.float64), data.truths[:, k], ~test & ~held, held, test)
            for k, name in enumerate(data.categories)
        }


def _fitted(x: Floats, y: Floats, fitted: Bools, held: Bools, test: Bools) -> Result:
    """The probe of one category, or why there is none."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss
    from sklearn.utils.class_weight import compute_sample_weight

    judged = ~np.isnan(y)
    fitted, held, test = fitted & judged, held & judged, test & judged
    for rows, least, where in ((fitted, LEAST, "to learn from"), (held, 2, "held out")):
        counts = [int((y[rows] == value).sum()) for value in (0, 1)]
        if min(counts) < least:
            why = f"{counts[0]} safe and {counts[1]} unsafe pictures {where}; it takes {least} of each"
            return Result(why, np.zeros(x.shape[1]))
    mean, scale = x[fitted].mean(0), np.maximum(x[fitted].std(0), 1e-6)
    z = (x - mean) / scale
    best: tuple[float, float, LogisticRegression] | None = None
    weights = compute_sample_weight("balanced", y[held])
    for penalty in PENALTIES:
        model = LogisticRegression(C=penalty, class_weight="balanced", max_iter=5000).fit(z[fitted], y[fitted])
        loss = float(log_loss(y[held], model.predict_proba(z[held])[:, 1], sample_weight=weights))
        if best is None or loss < best[0]:
            best = loss, penalty, model
    assert best is not None
    _, penalty, model = best
    platt = LogisticRegression(C=1.0).fit(model.decision_function(z[held])[:, None], y[held])
    slope, shift = float(platt.coef_[0, 0]), float(platt.intercept_[0])
    if slope <= 0:
        return Result("on held-out pictures its scores say nothing", np.zeros(x.shape[1]))
    weight = model.coef_[0] / scale
    bias = float(model.intercept_[0]) - float(weight @ mean)
    learned = tuple(int((y[fitted | held] == value).sum()) for value in (0, 1))
    weight, bias = slope * weight, slope * bias + shift
    return Result("", weight, bias, penalty, (learned[0], learned[1]), figures(x[test] @ weight + bias, y[test]))


def figures(logits: Floats, truths: Floats) -> dict[str, float]:
    """Measure logits on unseen pictures; empty unless there are safe and unsafe ones."""
    from sklearn.metrics import precision_score, recall_score, roc_auc_score

    counts = {"safe": float((truths == 0).sum()), "unsafe": float((truths == 1).sum())}
    if not all(counts.values()):
        return {}
    said = logits >= 0
    return {
        "auroc": float(roc_auc_score(truths, logits)),
        "precision": float(precision_score(truths, said, zero_division=0)),
        "recall": float(recall_score(truths, said, zero_division=0)),
        **counts,
    }


def save(results: Mapping[str, Result], folder: Path, *, encoder: str, about: str) -> Path:
    """Write the probe and its model card.

    Args:
        results: by category; those with a `why` are left out.
        folder: gets `head.safetensors` and `README.md`.
        encoder: `encoder_id` of the encoder.
        about: a line on the data.

    Raises:
        SourceError: no category has a probe.
    """
    made = {name: one for name, one in results.items() if not one.why}
    if not made:
        reasons = "; ".join(f"{name}: {one.why}" for name, one in results.items())
        raise SourceError(f"safety_probe: there is enough data for no category: {reasons}")
    header = HeadHeader(kind="linear", outputs={name: place for place, name in enumerate(made)}, encoder=encoder)
    weight, bias = np.stack([one.weight for one in made.values()]), np.array([one.bias for one in made.values()])
    save_head(folder / FILE, header, {"weight": weight, "bias": bias})
    (folder / "README.md").write_text(card(results, encoder=encoder, about=about), "utf-8")
    return folder / FILE


def card(results: Mapping[str, Result], *, encoder: str, about: str) -> str:
    """The model card."""
    lines = [
        "# A linear probe for unsafe pictures",
        "",
        f"Logistic regressions over the embeddings of `{encoder}`, one per category, trained on {about}. Each was "
        "fitted with weighted classes; its penalty was chosen, and its scores calibrated, on held-out photographs.",
        "",
        "| category | safe, unsafe learned | inverse penalty | AUROC | precision | recall | safe, unsafe tested |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, one in results.items():
        if one.why:
            continue
        tested = [f"{one.figures[key]:.3f}" for key in ("auroc", "precision", "recall")] if one.figures else ["–"] * 3
        counts = f"{one.figures['safe']:.0f}, {one.figures['unsafe']:.0f}" if one.figures else "none"
        learned = f"{one.learned[0]}, {one.learned[1]}"
        lines.append(f"| {name} | {learned} | {one.penalty:g} | {' | '.join(tested)} | {counts} |")
    if left := {name: one.why for name, one in results.items() if one.why}:
        lines += ["", "Without a probe, so unscored by it:", ""]
        lines += [f"- {name}: {why}" for name, why in left.items()]
    lines += [
        "",
        "Precision and recall are at a score of .5, on the split `test`, which nothing was learned from. The figures "
        "hold for pictures like these. A picture unlike those that the probe learned from can get any score, and a low "
        "score isn't a proof that a picture is safe. The licence follows from the encoder and from the data.",
        "",
    ]
    return "\n".join(lines)


def truths_of(sample: Sample, categories: Sequence[str]) -> Floats:
    """Return the truth about a picture by category: 1 unsafe, 0 safe, NaN for not judged, or judged both ways."""
    found = np.array([truth_of(sample, name) for name in categories])
    return np.where(found == CONTRADICTED, np.nan, found)


def _judged(source: Source, ctx: Context) -> Iterator[Sample]:
    """The accepted pictures of a source, decoded; what can't be read is left out."""
    source.pin(ctx)
    for item in decoded(source.read(0, source.size(ctx), ctx)):
        if not isinstance(item, Failure) and not item.reason:
            yield item


def _number(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")


def train(source: Source, folder: Path, *, encoder: str, table: ModelTable) -> dict[str, Result]:
    """Read, fit and save; see `read_data`, `fit` and `save`."""
    ctx = Context(0, table, DiskMemo(cache_dir() / "memo"))
    categories = [info.id for info in source.classes(ctx)] or [one.id for one in unsafebench()]
    data = read_data(source, ctx, encoder, categories)
    results = fit(data)
    about = f"{len(data.photographs)} judged pictures of the source `{source.component_name()}`"
    save(results, folder, encoder=encoder_id(table.pin(encoder)), about=about)
    return results


ENTRY = """[{alias}]
name = "{alias}"
loader = "embedding_head"
local = {{ path = "{path}" }}
licence = "unknown"
source = "trained by training.safety_probe"
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = parser.add_mutually_exclusive_group(required=True)
    data.add_argument("--folder", type=Path, help="judged pictures, as the source unsafebench reads them")
    data.add_argument("--edition", help="name@version of an edition with judged pictures")
    parser.add_argument("--store", default="store", help="of the edition")
    parser.add_argument("--encoder", default="encoder", help="alias of the encoder")
    parser.add_argument("--profile", default="embedded", help="of models: embedded or hub")
    parser.add_argument("--out", type=Path, required=True, help="folder for the probe and its card")
    given = parser.parse_args(arguments)
    try:
        source: Source = (
            Unsafebench(path=given.folder) if given.folder else Edition(edition=given.edition, store=given.store)
        )
        results = train(source, given.out, encoder=given.encoder, table=ModelTable(given.profile))
    except VariorumError as wrong:
        raise SystemExit(str(wrong)) from None
    for name, one in results.items():
        print(
            f"{name}: {one.why or ', '.join(f'{key} {value:.3g}' for key, value in one.figures.items()) or 'trained'}"
        )
    print("\nadd this to the table that VARIORUM_MODELS names:\n")
    print(ENTRY.format(alias=given.out.name, path=given.out.absolute()))


if __name__ == "__main__":
    main()
