"""What embeddings carry over: known clusters, chance, and a real encoder on an edition."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from variorum.evaluation.probes.probing import never_seen, prepared, retrieval
from variorum.evaluation.probes.transfer_probe import FEW, TransferProbe
from variorum.kit.resampling.separation import Draws, Separation
from variorum.models import ModelTable
from variorum.reports.card import _render
from variorum.schemas.component import ClassInfo, Context
from variorum.schemas.errors import RecipeError
from variorum.schemas.sample import Sample
from variorum.schemas.table import Table
from variorum.sources.fashion_mnist import DEBIAN, FashionMnist

NAMES = ("ant", "bee", "cat", "dog")
CTX = Context(3, None, None, classes=tuple(ClassInfo(name, name.upper()) for name in NAMES))
TRAIN = {"name": "fashion_mnist"}


def table(per_class=10, noise=0.3, seed=0, names=NAMES, belongs=None, variants=("original",), scale=1.0):
    """Pictures around orthogonal middles in `embedding_0`; pixels are noise. Each photograph has all variants."""
    rng, rows = np.random.default_rng(seed), []
    for k, name in enumerate(names):
        for number in range(per_class):
            for variant in variants:
                x = np.eye(len(names), 8)[k] + (noise if variant == "original" else 3 * noise) * rng.normal(size=8)
                rows.append(
                    {
                        "id": f"{belongs or ''}{name}{number:03}{variant}",
                        "parent": "" if variant == "original" else f"{belongs or ''}{name}{number:03}original",
                        "photograph": "",
                        "variant": variant,
                        "label": name,
                        "hash": f"{belongs or ''}{name}{number}{variant}",
                        "pixels": rng.integers(0, 255, 16),
                        "embedding_0": scale * x,
                        **({} if belongs is None else {"set": belongs}),
                    }
                )
    return rows


def arrow(rows):
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    for name in ("pixels", "embedding_0"):
        values = np.asarray(columns[name], np.float32)
        columns[name] = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
    return Table(pa.table(columns), "transfer_probe")


def figures(rows, **fields):
    return TransferProbe(encoders=("e",), bootstrap=100, **fields).figures(arrow(rows), CTX)


def test_blobs_are_told_apart_and_pixels_of_noise_are_not():
    found = figures(table(noise=0.05))
    one, floor = (found["encoders"][name]["original"] for name in ("e", "pixels"))
    assert [one[probe]["value"] for probe in ("linear", "precision", "first")] == [100.0] * 3
    assert floor["linear"]["value"] < 60
    assert one["linear_gain"]["value"] == pytest.approx(100 - floor["linear"]["value"])
    assert one["linear_gain"]["low"] > 0
    assert (found["chance"], found["classes"], found["left_out"]) == (25.0, 4, 0)
    card = _render("_transfer_probe", figures=found, order=["original"])
    assert "| e | original | linear probe, % | 40 | 100.0 [" in card


def test_retrieval_of_random_labels_is_at_the_class_share():
    rng = np.random.default_rng(0)
    x, y = prepared(rng.normal(size=(600, 16)), False), rng.integers(0, 5, 600)
    precision, first = retrieval(x, x, (y, y), (np.arange(600),) * 2)
    assert precision.mean() == pytest.approx(0.2, abs=0.02)
    assert first.mean() == pytest.approx(0.2, abs=0.06)
    similar = (x[7:8] @ x.T)[0]
    others = np.arange(600) != 7
    assert precision[7] == pytest.approx(average_precision_score(y[others] == y[7], similar[others]))


def test_the_length_of_embeddings_and_the_order_of_rows_change_nothing():
    rows = table(noise=0.5, variants=("original", "edit"))
    found = figures(rows)
    assert figures(table(noise=0.5, variants=("original", "edit"), scale=7.0)) == found
    assert figures(rows[::-1]) == found
    assert figures(rows, power=True)["encoders"]["e"] != found["encoders"]["e"]
    values = [found["encoders"]["e"][name]["linear"]["value"] for name in ("original", "edit")]
    assert values[0] > values[1]


def test_nothing_is_learnt_from_a_picture_that_is_asked_about():
    """Each photograph has a direction of its own, so only its own pictures would give its label away."""
    rows = table(per_class=15, variants=("original", "edit"))
    for number, row in enumerate(rows):
        row["embedding_0"] = np.random.default_rng(number // 2).normal(size=8)
    copies = [{**row, "id": f"copy {row['id']}", "parent": "", "variant": "original"} for row in rows[::2]]
    for found in (figures(rows), figures(rows + copies)):
        for variant in found["encoders"]["e"].values():
            assert all(variant[probe]["value"] < 45 for probe in ("linear", "first", "precision"))
    given = [{**row, "set": ""} for row in rows] + [{**row, "set": "train"} for row in rows]
    given += table(per_class=15, belongs="train", seed=5)
    found = figures(given, train=TRAIN)
    assert found["encoders"]["e"]["edit"]["linear"]["value"] < 45


def test_classes_with_too_few_photographs_are_left_out_and_told():
    rows = [row for row in table(per_class=6) if row["label"] != "dog" or row["id"] < "dog004"]
    rows.append({**rows[0], "id": "x", "label": "", "hash": "x"})
    found = figures(rows)
    assert (found["classes"], found["left_out"]) == (3, 5)
    assert "5 photographs" in figures(table(per_class=4))["why_none"]
    assert TransferProbe(encoders=("e",)).figures(Table(pa.table({})), CTX)["encoders"] == {}
    answers = list(TransferProbe(encoders=("e",)).rows(arrow(table(per_class=4)), CTX))
    assert {one.why_not for one in answers} == {FEW}
    alone = table(belongs="train")  # and no accepted picture
    assert figures(alone, train=TRAIN)["why_none"] == FEW


def test_rows_of_a_report_are_the_figures():
    rows = table(noise=0.5, variants=("original", "edit"))
    found = figures(rows)["encoders"]["e"]
    for one in TransferProbe(encoders=("e",)).rows(arrow(rows), CTX):
        shares = 100 * one.top.sum(axis=0) / one.bottom.sum(axis=0)
        assert shares == pytest.approx([found[name][one.figure]["value"] for name in one.columns], abs=0.01)
        assert one.columns == ("original", "edit")
        assert one.floor == 0.25
        assert "pixels get" in one.note


# ── novel classes ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_novel_classes_are_harder_among_all_than_among_themselves():
    rng = np.random.default_rng(2)
    middles = np.eye(4, 6)
    middles[3] = middles[0] + 0.1 * middles[3]  # a novel class beside a known one
    y, asked_y = np.arange(200) % 4, 2 + np.arange(100) % 2
    x, asked = (prepared(middles[one] + 0.05 * rng.normal(size=(len(one), 6)), False) for one in (y, asked_y))
    among, every = never_seen((x, y), (asked, asked_y), ([0, 1], [2, 3]), 5, 20, np.random.default_rng(0))
    assert among.mean() == 1
    assert every[asked_y == 2].mean() == 1
    assert every[asked_y == 3].mean() < 1
    assert never_seen((x, y), (asked, asked_y), ([0, 1], [2, 3]), 51, 20, np.random.default_rng(0)) is None


def test_figures_of_novel_classes():
    found = figures(table(per_class=30, noise=0.4), novel=("cat", "dog"), shots=(1, 10, 40), draws=20)
    found = found["encoders"]["e"]["original"]
    assert "among_40" not in found  # there aren't so many to learn from
    for shot in (1, 10):
        assert found[f"all_{shot}"]["value"] < found[f"among_{shot}"]["value"] <= 100
        assert found[f"among_{shot}"]["photographs"] == 60
    assert found["all_1"]["value"] < found["all_10"]["value"]
    assert found["among_10_gain"]["low"] > 20
    assert 50 < found["known"]["low"] < found["known"]["value"] < found["known"]["high"]


def test_the_auroc_is_that_of_scikit_learn():
    rows = [{**row, "set": ""} for row in table(per_class=12, noise=0.5, seed=8)]
    rows += table(per_class=12, noise=0.5, seed=9, belongs="train")
    probe = TransferProbe(encoders=("e",), train=TRAIN, novel=("cat", "dog"), shots=(1,), bootstrap=2000)
    found = probe.figures(arrow(rows), CTX)["encoders"]["e"]["original"]["known"]
    x, label, of = (np.array([row[name] for row in rows]) for name in ("embedding_0", "label", "set"))
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    means = np.stack([x[(of == "train") & (label == name)].mean(axis=0) for name in ("ant", "bee")])
    nearest = np.linalg.norm(x[of == ""][:, None] - means, axis=2).min(axis=1)
    known = np.isin(label[of == ""], ("ant", "bee"))
    assert found["value"] == pytest.approx(100 * roc_auc_score(known, -nearest), abs=0.01)
    both = Separation(-nearest[known], -nearest[~known], np.flatnonzero(known), np.flatnonzero(~known))
    drawn = both.resampled_auroc(Draws(len(known), 2000, 0.95, 1))  # of known and of novel pictures
    assert found["high"] - found["low"] == pytest.approx(100 * (drawn["high"] - drawn["low"]), rel=0.05)


def test_novel_classes_with_too_few_pictures_have_no_figures():
    """Among one class alone every answer would be right."""
    rows = [row for row in table(per_class=10) if row["label"] != "dog" or row["id"] < "dog004"]
    assert set(figures(rows, novel=("cat", "dog"))["encoders"]["e"]["original"]) == {
        *("linear", "precision", "first"),
        *("linear_gain", "precision_gain", "first_gain"),
    }


def test_chance_is_the_share_of_the_commonest_class():
    rows = [row for row in table(per_class=20) if row["label"] == "ant" or row["id"][3:6] < "010"]
    assert {one.floor for one in TransferProbe(encoders=("e",)).rows(arrow(rows), CTX)} == {0.4}


@pytest.fixture(scope="module")
def clothes():
    """Six pictures of each of Fashion-MNIST's classes, and a context that knows them."""
    ctx = Context(1, ModelTable("embedded"), lambda key, compute: compute())
    source = FashionMnist(part="test", per_class=6)
    return list(source.read(0, source.size(ctx), ctx)), replace(ctx, classes=source.classes(ctx))


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="needs Debian's package dataset-fashion-mnist")
def test_classes_that_an_encoder_knows_are_refused_as_novel(clothes):
    samples, ctx = clothes
    novel = ("shirt", "sneaker")
    with pytest.raises(RecipeError, match=r"'gate_encoder' was trained on shirt, sneaker; .*`seen: true`"):
        list(TransferProbe(encoders=("gate_encoder",), novel=novel).measure(samples[:1], ctx))
    probe = TransferProbe(encoders=("gate_encoder",), novel=novel, seen=True, bootstrap=100, shots=(1,), draws=3)
    found = probe.figures(arrow(list(probe.measure(samples, ctx))), ctx)
    assert found["seen"] == ["'gate_encoder' was trained on shirt, sneaker"]
    one, floor = (found["encoders"][name]["original"]["linear"]["value"] for name in ("gate_encoder", "pixels"))
    assert one > floor > found["chance"]
    ants = replace(ctx, classes=tuple(ClassInfo(name, name) for name in ("n02206856", "n02219486", "bow", "x", "y")))
    with pytest.raises(RecipeError, match="'encoder' was trained on n02219486;"):  # its table says ImageNet-1k
        list(TransferProbe(novel=("n02219486", "x")).measure(samples[:1], ants))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"novel": ("ant", "eel")}, "'eel' is no class of the edition, such as ant, bee, cat, dog"),
        ({"novel": ("ant",)}, "name two classes or more, and leave two others"),
        ({"novel": ("ant", "bee", "cat")}, "name two classes or more, and leave two others"),
    ],
)
def test_novel_classes_that_cannot_be_are_one_line(fields, message):
    with pytest.raises(RecipeError, match=message):
        list(TransferProbe(**fields).measure([Sample("0" * 32, np.zeros((32, 32, 3), np.uint8))], CTX))
    with pytest.raises(ValueError, match="once each"):
        TransferProbe(encoders=("encoder", "encoder"))
