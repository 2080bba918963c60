"""Detectors see an edition with more than 200,000 pictures in parts; here the limit is lower."""

import errno

import numpy as np
import pytest
from embedded_edition import edition, scored, scores, with_columns
from label_noise import digits, symmetric
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score

from variorum.curation.labels import neighbours, probabilities, training, training_dynamics
from variorum.curation.labels.early_learning import EarlyLearning, against_targets
from variorum.curation.labels.neighbours import Neighbours
from variorum.curation.labels.probabilities import Probabilities
from variorum.curation.labels.small_loss import SmallLoss
from variorum.curation.labels.training_dynamics import TrainingDynamics
from variorum.curation.quality import out_of_distribution
from variorum.curation.quality.out_of_distribution import OutOfDistribution
from variorum.kit.embeddings import nearest as search
from variorum.kit.embeddings.nearest import clusters, nearest, nearest_in_clusters
from variorum.kit.embeddings.rows import normalised
from variorum.kit.labels.classes import same_share
from variorum.machine import scratch
from variorum.schemas.component import Context
from variorum.schemas.errors import StoreError

CTX = Context(seed=0, models=None, memo=None)
BRIEF = {"epochs": 8, "hidden": 64, "batch": 32, "learning_rate": 4e-3}


@pytest.fixture(scope="module")
def noisy():
    x, true = digits()
    given = symmetric(true, 0.1, 10, np.random.default_rng(0))
    return edition(x, given, {"duplicates.group": np.arange(len(x))}), given != true


@pytest.fixture
def small(monkeypatch):
    """A limit of 450 pictures, and large arrays in files."""
    for module in (probabilities, training_dynamics, out_of_distribution):
        monkeypatch.setattr(module, "LARGE", 450)
    monkeypatch.setattr(neighbours, "EXACT", 450)
    monkeypatch.setattr(scratch, "IN_MEMORY", 1 << 12)


@pytest.mark.parametrize(
    ("step", "column", "sign", "loss"),
    [
        (Neighbours(), "score", 1, 0.01),
        (Probabilities(grouped=False, c=1, fit_on=450), "self_confidence", -1, 0.03),
        (TrainingDynamics(**BRIEF), "mean_loss", 1, 0.03),
    ],
)
def test_parts_find_what_the_whole_finds(noisy, request, step, column, sign, loss):
    table, wrong = noisy
    whole = average_precision_score(wrong, sign * scores(step, table)[column])
    request.getfixturevalue("small")
    split = scores(step, table)
    assert whole > 0.85
    assert average_precision_score(wrong, sign * split[column]) > whole - loss
    assert all(np.isfinite(values).all() for values in split.values() if values.dtype.kind == "f")


def test_distances_of_a_large_edition_follow_those_of_the_whole(noisy, request):
    table, _ = noisy
    step = OutOfDistribution(grouped=False)
    whole = scores(step, table)
    request.getfixturevalue("small")
    split = scores(step, table)
    assert np.abs(whole["label_share"] - split["label_share"]).mean() < 0.2
    for name in ("relative", "mahalanobis", "neighbour_distance"):
        assert spearmanr(whole[name], split[name])[0] > 0.7, name
    assert (whole["agrees"] == split["agrees"]).mean() > 0.95


@pytest.mark.parametrize(
    "step",
    [Neighbours(), Probabilities(grouped=False, c=1), TrainingDynamics(**{**BRIEF, "epochs": 2}), OutOfDistribution()],
)
def test_neither_the_order_of_the_rows_nor_the_size_of_blocks_matters(noisy, small, monkeypatch, step):
    table, _ = noisy
    first = scores(step, table)
    order = np.random.default_rng(1).permutation(len(table))
    monkeypatch.setattr(probabilities, "JUDGED", 100)
    monkeypatch.setattr(neighbours, "VOTERS", 100)
    again = scores(step, table.take(order))
    for name, values in first.items():
        if name == "knn_index":
            assert (np.sort(order[again[name]], axis=1) == np.sort(values[order], axis=1)).mean() > 0.99
        elif values.dtype.kind == "f":
            np.testing.assert_allclose(again[name], values[order], rtol=1e-3, atol=1e-4, err_msg=name)
        else:
            assert (again[name] == values[order]).mean() > 0.999, name


def test_a_sample_has_some_of_every_class_whatever_its_size():
    y = np.repeat([0, 1, 2], [2400, 560, 30])
    taken = same_share(y, 1000, np.random.default_rng(0), 50)
    assert np.bincount(y[taken]).tolist() == [802, 187, 30]
    many = np.repeat(np.arange(500), 60)  # fewer of each, if there are very many classes
    assert set(np.bincount(many[same_share(many, 1000, np.random.default_rng(0), 50)])) == {4}


def test_rare_classes_are_known_as_well_as_by_models_of_the_whole(request):
    x, true = digits()
    common = true < 7
    rare = np.concatenate([np.flatnonzero(true == c)[:12] for c in (7, 8, 9)])
    rows = np.concatenate([np.flatnonzero(common), rare])
    table, few = edition(x[rows], true[rows]), ~common[rows]
    step, distances = Probabilities(grouped=False, c=10, fit_on=260), OutOfDistribution(grouped=False)
    agrees = scores(distances, table)["agrees"]
    request.getfixturevalue("small")
    found = scores(distances, table)
    assert (scores(step, table)["predicted"] == true[rows])[few].mean() > 0.5
    assert found["agrees"][few].mean() > agrees[few].mean() - 0.1
    assert found["flag"][few].sum() <= 1


def test_the_reference_of_a_large_edition_is_in_the_sample_however_small_it_is(small):
    x, true = digits()
    table = edition(x, true)
    variant = np.where(np.arange(len(x)) % 30 == 0, "original", "blurred")
    found = scores(OutOfDistribution(grouped=False, reference="original"), table.append_column("variant", [variant]))
    assert np.isfinite(found["to_given_label"]).all()


def test_margins_of_a_made_up_class_are_those_of_the_half_that_is_not_trained_on(noisy, small):
    table, wrong = noisy
    step = TrainingDynamics(**BRIEF, fake_class=True)
    flag = scores(SmallLoss(method="fake_class"), scored(step, table).arrow)["flag"]
    assert flag[wrong].mean() > 0.9
    assert flag[~wrong].mean() < 0.1


def test_no_head_records_a_picture_that_it_has_seen(noisy, small, monkeypatch):
    """With a whole half as the sample, every picture is trained on by one head and recorded by the other."""
    table, _ = noisy
    seen, recorded = [], []

    def trained(x, y, k, **settings):
        seen.append(x.copy())
        return training.train(x, y, k, **settings)

    def observed(networks, x, y, k, momentum):
        recorded.append(x.copy())
        return training.observe(networks, x, y, k, momentum)

    monkeypatch.setattr(training_dynamics, "LARGE", 900)
    monkeypatch.setattr(training_dynamics, "train", trained)
    monkeypatch.setattr(training_dynamics, "observe", observed)
    scores(TrainingDynamics(**{**BRIEF, "epochs": 1}), table)
    assert [len(x) for x in seen] == [len(x) for x in reversed(recorded)]
    assert sum(map(len, recorded)) == len(table)
    for one, other in zip(seen, recorded, strict=True):
        assert not {row.tobytes() for row in one.round(3)} & {row.tobytes() for row in other.round(3)}


def test_targets_are_judged_block_by_block(monkeypatch):
    rng = np.random.default_rng(0)
    y, target = rng.integers(-1, 5, 300), rng.random((300, 5)).astype(np.float16)
    target[::7] = 0
    whole = against_targets(y, target)
    monkeypatch.setattr("variorum.curation.labels.early_learning.JUDGED", 64)
    for name, values in against_targets(y, target).items():
        assert np.array_equal(values, whole[name], equal_nan=True), name


@pytest.mark.parametrize("n", [1, 2, 11, 2500])
def test_the_recall_is_that_of_the_exact_neighbours(n, monkeypatch):
    monkeypatch.setattr(search, "BLOCK", 64)
    monkeypatch.setattr(search, "NEAR", 3)
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(30, 12))[rng.integers(0, 30, n)] + 0.7 * rng.normal(size=(n, 12))).astype(np.float16)
    by_id = rng.permutation(n)
    index, similarity, recall = nearest_in_clusters(clusters(x, np.arange(n), by_id, rng), 10)
    unit = normalised(x)
    exact, _ = nearest(unit, 10)
    found = [len(set(mine[mine >= 0]) & set(true[true >= 0])) for mine, true in zip(index, exact, strict=True)]
    assert recall == pytest.approx(np.sum(found) / max(1, n * min(10, n - 1)), abs=0.02)
    assert n < 2500 or 0.6 < recall < 0.999
    there = index >= 0
    rows = np.broadcast_to(np.arange(n)[:, None], index.shape)
    np.testing.assert_allclose((unit[rows] * unit[index]).sum(axis=2)[there], similarity[there], atol=1e-5)
    assert not (index == rows)[there].any()
    assert np.isnan(similarity[~there]).all()


def test_all_clusters_near_are_exact(monkeypatch):
    monkeypatch.setattr(search, "NEAR", 10_000)
    x = np.random.default_rng(0).normal(size=(900, 8)).astype(np.float16)
    _, similarity, recall = nearest_in_clusters(
        clusters(x, np.arange(900), np.arange(900), np.random.default_rng(0)), 5
    )
    np.testing.assert_allclose(similarity, nearest(normalised(x), 5)[1], atol=1e-6)
    assert recall == 1


def test_the_recall_is_a_figure_and_a_sentence_for_the_card(noisy, small):
    figures = Neighbours().figures(scored(Neighbours(), noisy[0]), CTX)
    assert 0.9 < figures["recall"] <= 1
    assert f"{100 * figures['recall']:.1f}"[:3] in figures["findings"][0]


def test_large_columns_lie_in_files_and_read_the_same(noisy, small, tmp_path):
    ctx = Context(seed=0, models=None, memo=None, store=str(tmp_path))
    found = scores(TrainingDynamics(**{**BRIEF, "epochs": 2}), noisy[0], ctx)["elr_target"]
    assert isinstance(found.base, np.memmap)
    assert not list(tmp_path.iterdir())  # the file has no name
    read = scores(EarlyLearning(), with_columns(noisy[0], {"training_dynamics.elr_target": found}), ctx)
    assert np.array_equal(read["proposed"], found.argmax(axis=1))


def test_a_store_that_is_only_read_has_no_file_of_an_array(tmp_path, monkeypatch, small):
    monkeypatch.setattr(scratch.tempfile, "tempdir", str(tmp_path))
    for store in ("/proc", "/proc/none", "s3://bucket/store", ""):
        monkeypatch.setenv("VARIORUM_CACHE", str(tmp_path / "cache"))
        found = scratch.scratch((1 << 13,), np.uint8, store)
        assert isinstance(found.base, np.memmap)
        found[:] = 1


def test_a_full_disk_is_told_before_the_work(tmp_path):
    with pytest.raises(StoreError, match="GiB of disk are needed"):
        scratch.scratch((1 << 45,), np.uint8, str(tmp_path))


def test_on_a_full_disk_a_modest_array_is_in_memory(tmp_path, monkeypatch, small):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(scratch.os, "posix_fallocate", full)
    monkeypatch.setattr(scratch, "MODEST", 1 << 13)
    assert not isinstance(scratch.scratch((1 << 13,), np.uint8, str(tmp_path)).base, np.memmap)
    with pytest.raises(StoreError, match="No space left on device"):
        scratch.scratch((1 << 14,), np.uint8, str(tmp_path))
